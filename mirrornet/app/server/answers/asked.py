"""Which mirrors the answers named, added up from what workers count by class (dns/serving/hits.py).  Pure.

A class's number means something only together with its plan, so each plan's list of classes is kept as long as a worker
may still count by it, taken apart into columns: a plan of 500 mirrors has 49,000 classes, and they are added up
whenever somebody looks at the status page.  What is added up survives plans and workers, but not this process, like
every counter here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_KEPT: Final = 3  # plans whose classes are remembered: a worker has two banks, and takes up a new plan in milliseconds
_KINDS: Final = {4: "A", 6: "AAAA"}
Numbers = npt.NDArray[Any]
Key = tuple[str, str, str]  # zone, mirror, kind of records


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes of one plan, a row for each mirror that one names: which class, which key, and its part of it."""

    described: Sequence[Mapping[str, Any]]
    keys: dict[Key, int]
    of_class: Numbers
    of_key: Numbers
    part: Numbers


@dataclass(slots=True)
class Asked:
    """`keys`: zone, mirror and kind of records ("A", "AAAA", "list"), each with its number.

    `named`, by that number: how many answers named the mirror.  `parts`: answers with addresses, each divided among the
    mirrors it named: what a mirror may expect of clients that take one of them by chance.
    """

    keys: dict[Key, int] = field(default_factory=dict)
    named: Numbers = field(default_factory=lambda: np.zeros(0))
    parts: Numbers = field(default_factory=lambda: np.zeros(0))
    _plans: dict[int, Classes] = field(default_factory=dict)
    _before: dict[int, dict[int, Numbers]] = field(default_factory=dict)  # by worker, epoch

    def prepare(self, classes: Sequence[Mapping[str, Any]]) -> Classes:
        """A plan's notes["describe"] in columns: a third of a second for 500 mirrors.  Changes nothing here."""
        rows, keys = [], dict(self.keys)
        for number, one in enumerate(classes):
            kind = _KINDS.get(one["family"], "list")
            part = 0.0 if kind == "list" else 1 / max(1, len(one["mirrors"]))
            for mirror in one["mirrors"]:
                rows.append((number, keys.setdefault((one["zone"], mirror, kind), len(keys)), part))
        columns = np.array(rows, np.float64).reshape(-1, 3).T
        of_class, of_key = (column.astype(np.int64) for column in columns[:2])
        return Classes(classes, keys, of_class, of_key, columns[2])

    def know(self, generation: int, classes: Classes) -> None:
        """The classes of the plan of `generation`, as prepared."""
        missing = len(classes.keys) - len(self.named)
        self.named, self.parts = (np.concatenate([column, np.zeros(missing)]) for column in (self.named, self.parts))
        self.keys = classes.keys
        self._plans[generation] = classes
        for old in sorted(self._plans)[:-_KEPT]:
            del self._plans[old]

    def mirrors(self, generation: int, slot: int) -> Sequence[str]:
        """The mirrors of one class; none where it is not known."""
        plan = self._plans.get(generation)
        if plan is None or not 0 <= slot < len(plan.described):
            return ()
        found: Sequence[str] = plan.described[slot]["mirrors"]
        return found

    def add(self, worker: int, banks: Iterable[tuple[int, int, bytes]]) -> None:
        """What `worker` has counted so far, as Hits.read() tells it; only what is new since the last time is added."""
        before, now = self._before.get(worker, {}), {}
        for epoch, generation, octets in banks:
            plan = self._plans.get(generation)
            if plan is None:
                continue
            counts = np.frombuffer(octets, np.uint32)[: len(plan.described)]
            now[epoch] = counts
            new = counts - before[epoch] if epoch in before else counts  # unsigned: right where they have wrapped
            if new.any():
                times = new.astype(np.float64)[plan.of_class]
                size = len(self.named)
                self.named = self.named + np.bincount(plan.of_key, times, size)
                self.parts = self.parts + np.bincount(plan.of_key, times * plan.part, size)
        self._before[worker] = now

    def of_zone(self, zone: str) -> dict[str, float]:
        """By mirror, its part of all answers with addresses, 0 to 1."""
        shares: dict[str, float] = {}
        for (where, mirror, kind), number in self.keys.items():
            if where == zone and kind != "list" and self.parts[number]:
                shares[mirror] = shares.get(mirror, 0.0) + float(self.parts[number])
        total = sum(shares.values())
        return {mirror: share / total for mirror, share in shares.items()}

    def kinds_of(self, zone: str) -> dict[tuple[str, str], int]:
        """By mirror and kind of records, how many answers named the mirror; those that none did are left out."""
        return {
            (mirror, kind): int(self.named[number])
            for (where, mirror, kind), number in self.keys.items()
            if where == zone and self.named[number]
        }
