"""What the rows of a view get: the near-equals of A and AAAA, and the ranked list.

Whoever planned for all mirrors up, or with some full, asks for it once more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mirrornet.dns.planning.ground import Numbers
from mirrornet.dns.planning.rows import Rows
from mirrornet.dns.planning.spots import Spots
from mirrornet.dns.planning.standing import Standing
from mirrornet.dns.planning.views import View, lots, packed
from mirrornet.dns.ranking.closing import UNIT_BITS, Limits
from mirrornet.dns.ranking.nearest import FAMILIES
from mirrornet.dns.ranking.rendezvous import LOT_BITS
from mirrornet.model.address import Family
from mirrornet.model.zone import Select


@dataclass(frozen=True, slots=True)
class Dealt:
    """For each family (distinct sets, the number of each row's of `view.rows`); each view spot's list, if asked."""

    view: View
    near: dict[Family, tuple[Rows, Numbers]]
    ranked: Rows | None

    def sets(self, family: Family) -> Rows:
        """The set of each row."""
        sets, numbers = self.near[family]
        return sets[numbers]


def deal(spots: Spots, select: Select, standing: Standing, view: View) -> Dealt:
    """What the rows of `view` get under `select`."""
    return Dealt(view, deal_near(spots, select, standing, view), spots.ranked(standing, view))


def deal_near(spots: Spots, select: Select, standing: Standing, view: View) -> dict[Family, tuple[Rows, Numbers]]:
    """Their near-equals alone."""
    near = {}
    for family in FAMILIES:
        within = 4 if family == 6 and select.ipv6 == "near" else 0
        near[family] = spots.near(standing, view, family, select.answers, within)
    return near


def shed(spots: Spots, standing: Standing, view: View) -> View:
    """`view` where each mirror that has but a share of its weight is closed to the places that left (closing.py)."""
    shedding = np.flatnonzero(standing.usable & (standing.share < 1)).tolist()
    if not shedding or not len(view.rows):
        return view
    closed = np.zeros((len(view.rows), len(spots.mirrors)), np.bool_)
    for index in shedding:
        limit = float(standing.share[index]) * (1 << LOT_BITS)
        closed[:, index] = lots(view.keys, int(spots.mirror_keys[index])) >= limit
    return view.split(closed=packed(closed))


def limited(spots: Spots, standing: Standing, view: View, limits: Limits) -> View:
    """`view` where each mirror that is full is closed to the places beyond its limit."""
    names = [m.name for m in spots.mirrors]
    full = [names.index(name) for name in limits if standing.usable[names.index(name)]]
    if not full:
        return view
    closed = np.zeros((len(view.rows), len(names)), np.bool_)
    for index in full:
        closed[:, index] = turns(spots, view, index, np.arange(len(view.rows))) >= limits[names[index]]
    return view.split(closed=packed(closed))


def turns(spots: Spots, view: View, index: int, rows: Numbers) -> Numbers:
    """closing.turn() of `rows` (positions among the view's) before the mirror of this index."""
    far = farness(spots, view.spots[view.of_row[rows]], index)
    return far << LOT_BITS | lots(view.keys[rows], int(spots.mirror_keys[index]))


def farness(spots: Spots, some: Numbers, index: int) -> Numbers:
    """Tier and estimate of `some` spots before the mirror of this index: all of a turn but the lot."""
    found: Numbers = spots.tiers[spots.kind[some], index] << UNIT_BITS | spots.estimates[some, index].astype(np.int64)
    return found
