"""One plan as columns: which mirrors each address is sent to, and how far they are by estimate.

Everything is read from the plan that the server would publish (its partitions and the notes of who stands in which
answer), so what is simulated is what would be answered; the estimates are the planner's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mirrornet.dns.message import rrset
from mirrornet.dns.message.rrset import name_to_wire
from mirrornet.dns.planning.ground import Keys, Numbers
from mirrornet.dns.planning.plan import TYPE_NAMES, Survey
from mirrornet.dns.planning.planfile import Entry, Plan, Ranges
from mirrornet.dns.ranking import estimate as est
from mirrornet.dns.simulate.space import Pieces
from mirrornet.model.address import Family
from mirrornet.model.table import WorldTable
from mirrornet.model.zone import Select, Zone

Set = tuple[str, ...]
NOBODY = Entry((None,), (-1,))


@dataclass(frozen=True, slots=True)
class Side:
    """A zone as it is planned under one set of verdicts; `survey` is its planner's."""

    zone: Zone
    select: Select
    plan: Plan
    survey: Survey
    table: WorldTable | None

    @property
    def fqdn(self) -> str:
        return self.zone.select_fqdn(self.select)

    def owner(self, rtype: int) -> str:
        """The name at which the select's records of `rtype` stand."""
        return f"_http._tcp.{self.fqdn}" if rtype == rrset.URI else self.fqdn

    def entry(self, rtype: int) -> Entry:
        """The entry of A, AAAA or URI."""
        node = self.plan.nodes.get(name_to_wire(self.owner(rtype)))
        return NOBODY if node is None else node.entries.get(rtype, NOBODY)

    def sets(self, rtype: int) -> list[Set]:
        """The mirrors of each answer, in order; the answer's number is the index."""
        if self.entry(rtype).partition < 0:
            return [()]
        return [tuple(names) for names in self.plan.notes["answers"][f"{self.owner(rtype)} {TYPE_NAMES[rtype]}"]]

    def ranges(self, rtype: int, family: Family) -> Ranges | None:
        """The map to answers; None where everybody gets the same."""
        number = self.entry(rtype).partition
        return None if number < 0 else self.plan.partitions[number].family(family)

    def borders(self, family: Family) -> list[Keys]:
        """Where something may change: starts of the ranges of answers and of places."""
        maps = [self.ranges(rtype, family) for rtype in (rrset.A, rrset.AAAA, rrset.URI)]
        starts = [np.asarray(ranges.starts).astype(np.uint64) for ranges in maps if ranges is not None]
        return [*starts, self.survey.ground.layers[family].starts]

    def numbers(self, rtype: int, family: Family, values: Keys) -> Numbers:
        """The number of the answer that each address gets."""
        ranges = self.ranges(rtype, family)
        if ranges is None:
            return np.zeros(len(values), np.int64)
        starts = np.asarray(ranges.starts).astype(np.uint64)
        found = np.asarray(ranges.answers)[np.searchsorted(starts, values, side="right") - 1]
        result: Numbers = found.astype(np.int64)
        return result

    def sent(self, family: Family, values: Keys) -> tuple[list[Set], Numbers]:
        """(sets, the number of each address's): the mirrors that a client of `family` is sent to."""
        order = (rrset.A, rrset.URI) if family == 4 else (rrset.AAAA, rrset.A, rrset.URI)
        lists = [self.sets(rtype) for rtype in order]
        code = np.zeros(len(values), np.int64)
        for rtype, sets in zip(order, lists, strict=True):
            code = code * len(sets) + self.numbers(rtype, family, values)
        distinct, inverse = np.unique(code, return_inverse=True)
        numbers: dict[Set, int] = {}
        chosen = []
        for one in distinct.tolist():
            picked: list[Set] = []
            for sets in reversed(lists):
                one, number = divmod(one, len(sets))
                picked.insert(0, sets[number])
            picked[-1] = picked[-1][:1]
            used = next((found for found in picked if found), ())
            chosen.append(numbers.setdefault(used, len(numbers)))
        return list(numbers), np.array(chosen, np.int64)[inverse]

    def spots(self, family: Family, values: Keys) -> Numbers:
        """The row of `survey.estimates` for each address; -1 where distance says nothing."""
        layer = self.survey.ground.layers[family]
        places = layer.places[np.searchsorted(layer.starts, values, side="right") - 1]
        result: Numbers = self.survey.spot_of[places]
        return result


@dataclass(frozen=True, slots=True)
class Yardstick:
    """Milliseconds by the estimates of `after`; of mirrors that it does not have, by those of `before`."""

    before: Side
    after: Side

    @property
    def mirrors(self) -> list[str]:
        """Every mirror of either side, by name."""
        return sorted({m.name for side in (self.before, self.after) for m in side.survey.mirrors})

    def places(self, family: Family, pieces: Pieces) -> tuple[Numbers, Numbers]:
        """The spots of each piece: after, and before."""
        after = self.after.spots(family, pieces.values)
        return after, after if self.before is self.after else self.before.spots(family, pieces.values)

    def ms(self, spots: tuple[Numbers, Numbers], mirrors: Numbers) -> npt.NDArray[np.float64]:
        """The estimate of each (place, mirror): `mirrors` are numbers in `self.mirrors`.  NaN where there is none."""
        result = np.full(len(mirrors), np.nan)
        names = self.mirrors
        there = [m.name for m in self.after.survey.mirrors]
        for side, rows, mine in (
            (self.after, spots[0], [there.index(name) if name in there else -1 for name in names]),
            (self.before, spots[1], _only(names, there, [m.name for m in self.before.survey.mirrors])),
        ):
            columns = np.array(mine, np.int64)[mirrors]
            known = (rows >= 0) & (columns >= 0)
            result[known] = side.survey.estimates[rows[known], columns[known]] / est.UNIT
        return result


def _only(names: list[str], there: list[str], here: list[str]) -> list[int]:
    return [here.index(name) if name in here and name not in there else -1 for name in names]
