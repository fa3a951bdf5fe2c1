"""What each mirror carries: the share of the world's addresses that are sent to it.

Of IPv4 addresses count, of IPv6 /48s, and both families alike, as simulate/ has it.  Each place's part goes to the
mirrors of its A (or AAAA) in equal parts, for resolvers shuffle; where it has none, to the first of its list.

All is in whole numbers that a double holds exactly, so that a sum does not depend on its order, and two name servers
with the same world and the same verdicts come to the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import Final

import numpy as np
import numpy.typing as npt

from mirrornet.dns.planning.dealing import Dealt, deal_near
from mirrornet.dns.planning.ground import Flags, Floats, Ground, Numbers
from mirrornet.dns.planning.spots import Spots
from mirrornet.dns.planning.standing import Standing
from mirrornet.dns.planning.views import View
from mirrornet.dns.ranking.closing import UNIT_BITS
from mirrornet.dns.ranking.nearest import FAMILIES
from mirrornet.model.address import Family, width
from mirrornet.model.zone import Select

SETS: Final = 840  # every number of answers up to 8 divides it
WHOLE: Final = SETS << 40  # all addresses of a family, about
SITE: Final = 1 << 16  # addresses of the map in a /48
GREATEST: Final = 1 << 16  # /48s of one IPv6 range that count at most: a /32 (simulate/__init__.py says why)
FARTHEST: Final = np.iinfo(np.int64).max

Table = npt.NDArray[np.int16]
Demand = Mapping[Family, Floats]  # of each row of a ground; whole numbers that a double holds exactly


def demand_of(ground: Ground, placed: Numbers) -> Demand:
    """What the rows `placed` of `ground` weigh, in parts of WHOLE for each family."""
    found: dict[Family, Floats] = {}
    count = int(max((layer.places.max(initial=0) for layer in ground.layers.values()), default=0)) + 1
    counts = np.zeros(max(count, len(ground.columns)), np.bool_)
    counts[placed] = True
    for family, layer in ground.layers.items():
        ends = np.append(layer.starts[1:] - np.uint64(1), np.uint64((1 << width(family)) - 1))
        inside = ends - layer.starts
        if family == 6:
            inside = np.minimum(inside // np.uint64(SITE), np.uint64(GREATEST - 1))
        sizes = inside.astype(np.float64) + 1
        here = counts[layer.places]
        weights = np.bincount(layer.places[here], weights=sizes[here], minlength=len(counts))
        whole = float(weights.sum())
        scale = int(WHOLE // SETS // whole) * SETS if whole else 0
        found[family] = weights.astype(np.float64) * scale
    return found


class Carried:
    """Who carries which row's part: for each family a table of mirrors, a column for each of `view.rows` (-1: none)."""

    def __init__(self, spots: Spots, demand: Demand, dealt: Dealt) -> None:
        self.spots, self.count = spots, len(spots.mirrors)
        self.tables = _sent(dealt, spots, None)
        self._weights = {f: demand[f][dealt.view.rows] for f in FAMILIES}
        self._parts = {f: self._weights[f] / _members(self.tables[f]) for f in FAMILIES}
        self._nearest = {f: _nearest(spots, dealt.view, self.tables[f]) for f in FAMILIES}

    def lump(self) -> float:
        """The largest part of one row that a mirror carries."""
        return max(float(parts.max(initial=0)) for parts in self._parts.values())

    def put(self, select: Select, standing: Standing, view: View) -> None:
        """The rows of `view` (positions among ours) are sent where they get to by it."""
        rows, near = view.rows, deal_near(self.spots, select, standing, view)
        for family, table in _sent(Dealt(view, near, None), self.spots, standing).items():
            self.tables[family][:, rows] = table
            self._parts[family][rows] = self._weights[family][rows] / _members(table)  # exact: see WHOLE
            self._nearest[family][rows] = _nearest(self.spots, view, table)

    def touched(self, mirror: int, far: Numbers) -> Flags:
        """Which rows, being so `far` from the mirror of this index, may get others where it closes to them.

        It is where it carries some of them; or is the nearest, for who is near-equal goes by that.
        """
        found = np.zeros(len(far), np.bool_)
        for family in FAMILIES:
            found |= far <= self._nearest[family]
            for line in self.tables[family]:
                found |= line == mirror
        return found

    def loads(self) -> Floats:
        """What each mirror carries."""
        found = np.zeros(self.count + 1)
        for family in FAMILIES:
            for line in self.tables[family]:
                found += np.bincount(line + 1, weights=self._parts[family], minlength=self.count + 1)
        return found[1:]

    def of_each(self, mirrors: Sequence[int]) -> dict[int, tuple[Numbers, Floats]]:
        """By mirror: (the rows that it has a part in, that part)."""
        lines = [(family, line) for family in FAMILIES for line in self.tables[family]]
        who = np.concatenate([line for _, line in lines])
        part = np.concatenate([self._parts[family] for family, _ in lines])
        order = np.argsort(who, kind="stable")
        begins = np.searchsorted(who[order], mirrors, side="left")
        ends = np.searchsorted(who[order], mirrors, side="right")
        count = len(lines[0][1])
        found: dict[int, tuple[Numbers, Floats]] = {}
        for mirror, begin, end in zip(mirrors, begins.tolist(), ends.tolist(), strict=True):
            hits = order[begin:end]
            rows, of_hit = np.unique(hits % count, return_inverse=True)
            found[mirror] = rows, np.bincount(of_hit, weights=part[hits], minlength=len(rows)).astype(np.float64)
        return found


def _any(flags: Iterable[Flags]) -> Flags:
    return reduce(np.logical_or, flags)


def _members(table: Table) -> Numbers:
    found = np.zeros(table.shape[1], np.int64)
    for line in table:
        found += line >= 0
    return np.maximum(found, 1)


def _sent(dealt: Dealt, spots: Spots, standing: Standing | None) -> dict[Family, Table]:
    """For each family and row of the view the mirrors that it is sent to: A or AAAA, else A, else the list's first.

    Lists that `dealt` lacks are made by `standing` where they are needed.
    """
    near = {family: dealt.sets(family).T for family in FAMILIES}
    lines = max(len(table) for table in near.values())
    found: dict[Family, Table] = {}
    for family in FAMILIES:
        table = np.full((lines, near[family].shape[1]), -1, np.int16)
        table[: len(near[family])] = near[family]
        none = ~_any(line >= 0 for line in table)
        if family == 6:
            table[:, none] = found[4][:, none]
        elif none.any():
            ranked = dealt.ranked
            if ranked is None:
                assert standing is not None
                ranked = spots.ranked(standing, dealt.view)
            table[0, none] = ranked[dealt.view.of_row[none], 0]
        found[family] = table
    return found


def _nearest(spots: Spots, view: View, table: Table) -> Numbers:
    """How far each row is from the nearest of those it is sent to: tier and estimate, as in closing.turn()."""
    of_row = view.spot_of_row
    found = np.full(len(of_row), FARTHEST, np.int64)
    for line in table:
        there = np.flatnonzero(line >= 0)
        spot, which = of_row[there], line[there]
        far = spots.tiers[spots.kind[spot], which] << UNIT_BITS | spots.estimates[spot, which]
        found[there] = np.minimum(found[there], far)
    return found
