"""Which mirrors the answers named, added up from what workers count by class (dns/serving/hits.py).

A class's number means something only together with its plan, so each plan's list of classes is kept as long as a worker
may still count by it.  What is added up survives plans and workers, but not this process, like every counter here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

_KEPT: Final = 8  # plans whose classes are remembered: a worker has two banks, and takes up a new plan in milliseconds


@dataclass(slots=True)
class Asked:
    """`answers`: by zone, mirror and kind of records ("A", "AAAA", "list"), how many answers named the mirror.

    `shares`: by zone and mirror, answers with addresses, each divided among the mirrors it named: what a mirror may
    expect of clients that take one of them by chance.
    """

    answers: dict[tuple[str, str, str], int] = field(default_factory=dict)
    shares: dict[tuple[str, str], float] = field(default_factory=dict)
    _classes: dict[int, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    _before: dict[int, dict[int, list[int]]] = field(default_factory=dict)  # by worker, generation

    def know(self, generation: int, classes: Sequence[Mapping[str, Any]]) -> None:
        """The classes of the plan of `generation`: its notes["describe"]."""
        self._classes[generation] = classes
        for old in sorted(self._classes)[:-_KEPT]:
            del self._classes[old]

    def mirrors(self, generation: int, slot: int) -> Sequence[str]:
        """The mirrors of one class; none where it is not known."""
        classes = self._classes.get(generation, ())
        return classes[slot]["mirrors"] if 0 <= slot < len(classes) else ()

    def of_zone(self, zone: str) -> dict[str, float]:
        """By mirror, its part of all answers with addresses, 0 to 1."""
        shares = {mirror: share for (where, mirror), share in self.shares.items() if where == zone}
        total = sum(shares.values())
        return {mirror: share / total for mirror, share in shares.items()} if total else {}

    def kinds_of(self, zone: str) -> dict[tuple[str, str], int]:
        """By mirror and kind of records, how many answers named the mirror."""
        return {(mirror, kind): times for (where, mirror, kind), times in self.answers.items() if where == zone}

    def add(self, worker: int, banks: Iterable[tuple[int, list[int]]]) -> None:
        """What `worker` has counted so far; only what is new since the last time is added."""
        before = self._before.get(worker, {})
        now: dict[int, list[int]] = {}
        for generation, counts in sorted(banks):
            classes = self._classes.get(generation, ())
            counts = counts[: len(classes)]
            if generation in now:  # a worker was replaced: its successor counts in the other bank from zero
                counts = [one + other for one, other in zip(counts, now[generation], strict=True)]
            now[generation] = counts
        for generation, counts in now.items():
            classes = self._classes.get(generation, ())
            old = before.get(generation) or [0] * len(counts)
            for slot, (count, last) in enumerate(zip(counts, old, strict=False)):
                if count != last:
                    self._give(classes[slot], max(0, count - last))
        self._before[worker] = now

    def _give(self, named: Mapping[str, Any], times: int) -> None:
        kind = {4: "A", 6: "AAAA"}.get(named["family"], "list")
        for mirror in named["mirrors"]:
            key = named["zone"], mirror, kind
            self.answers[key] = self.answers.get(key, 0) + times
            if kind != "list":
                self.shares[key[:2]] = self.shares.get(key[:2], 0.0) + times / len(named["mirrors"])
