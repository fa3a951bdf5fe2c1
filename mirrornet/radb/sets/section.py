"""The section "sets" of a table in the making: what was gathered, resolved, compared with the table before it, told."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from mirrornet.model.sets import SetFlag, Sets, encode, is_route_set
from mirrornet.radb.sets.changes import EVERYTHING, Changes, compare
from mirrornet.radb.sets.gather import Gathered
from mirrornet.radb.sets.resolve import resolve

TOLD: Final = 100  # held sets that a report names


@dataclass(slots=True)
class SetsReport:
    """What an import made of sets.  `held`: each set that keeps its former content, with both counts of members."""

    as_sets: int = 0
    route_sets: int = 0
    empty: int = 0
    odd: int = 0  # words in member lists that are no members
    missing: int = 0  # names that sets refer to and no source has
    claimed: int = 0  # members by their own word (mbrs-by-ref)
    refused: int = 0  # claims that no set allows
    dropped: int = 0  # beyond what an import takes in
    held_count: int = 0
    held: list[dict[str, Any]] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)  # confirmed
    vain: list[str] = field(default_factory=list)  # confirmed, and had nothing to confirm

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For a person; none where no dump had sets."""
        if not (self.as_sets or self.route_sets or self.held_count or self.vain):
            return []
        found = [
            f"{self.as_sets:,} as-sets and {self.route_sets:,} route-sets, {self.empty:,} of them empty; they name "
            f"{self.missing:,} that no source has, and {self.odd:,} members that are none"
        ]
        if self.claimed or self.refused:
            found.append(f"{self.claimed:,} members by their own word (mbrs-by-ref); {self.refused:,} claims refused")
        if self.dropped:
            found.append(f"warning: {self.dropped:,} sets or claims beyond what an import takes in were dropped")
        for one in self.held[:5]:
            gone = ", for it is in no dump any more" if one["gone"] else ""
            found.append(
                f"held back: {one['name']} (members kept {one['kept']:,}, now {one['offered']:,}{gone}): "
                f"import again with --confirm {one['name']} to accept that"
            )
        if self.held_count > 5:
            found.append(
                f"held back: {self.held_count - 5:,} more sets; the report names them, --confirm all takes all"
            )
        if self.accepted:
            found.append(f"confirmed: {len(self.accepted):,} sets, such as {self.accepted[0]}")
        found.extend(f"warning: --confirm {name}: nothing of that name was held back" for name in self.vain)
        return found


def make(
    gathered: Gathered,
    rank: Callable[[str], int],
    old: Sets | None,
    confirmed: Collection[str] = (),
) -> tuple[bytes, SetsReport]:
    """(the section, or b"" where there is no set; what to tell).  `old`: the sets of the table that it is to replace.

    `rank`: of a source (../sources.py).  `confirmed`: names of sets whose new content is accepted, or EVERYTHING.
    """
    wanted = {name if name == EVERYTHING else name.upper() for name in confirmed}
    resolved = resolve(gathered, rank)
    changes = compare(resolved.sets, old, wanted)
    report = SetsReport(claimed=resolved.claimed, refused=resolved.refused, dropped=gathered.dropped)
    _count(changes, report)
    report.accepted = changes.accepted
    report.vain = sorted(wanted - {EVERYTHING, *changes.accepted})
    return (encode(changes.sets.values()) if changes.sets else b""), report


def _count(changes: Changes, report: SetsReport) -> None:
    named: set[str] = set()
    for one in changes.sets.values():
        if is_route_set(one.name):
            report.route_sets += 1
        else:
            report.as_sets += 1
        report.empty += not (one.asns or one.sets or one.prefixes)
        report.odd += one.odd
        named.update(one.sets)
    report.missing = len(named - changes.sets.keys())
    report.held_count = len(changes.held)
    for name in changes.held[:TOLD]:
        one = changes.sets[name]
        gone = bool(one.flags & SetFlag.GONE)
        report.held.append({"name": name, "kept": one.kept, "offered": one.offered, "gone": gone})
