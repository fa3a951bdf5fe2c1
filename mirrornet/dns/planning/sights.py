"""The ground as it is seen through what is barred (ranking/barring.py).

Where that goes by prefixes the ranges are cut once more, and rows added for places that lie on both sides of a border.
A row keeps the spot of the row it comes from, so that an observation of this minute is laid over a world that took
seconds to prepare, and is taken off again.

Rejected: what is barred as one more item of `never` (all estimates would be made anew for every observation).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mirrornet.dns.planning.ground import Ground, Numbers, cut
from mirrornet.dns.planning.kinds import kinds_of
from mirrornet.dns.planning.rows import distinct
from mirrornet.dns.planning.spots import Spots
from mirrornet.dns.planning.views import View, packed, view_of
from mirrornet.dns.planning.wards import wards_of
from mirrornet.dns.ranking.barring import NOBODY, Barring, Names
from mirrornet.dns.ranking.policy import Held


@dataclass(frozen=True, slots=True)
class Sight:
    """A ground, and what of it an observation tells apart.

    `kinds`: what policy says and what is barred, of the rows that have no spot; `kind_of`: of each row (0 elsewhere).
    """

    ground: Ground
    view: View
    kinds: Sequence[tuple[Held, Names]]
    kind_of: Numbers


def plain_sight(ground: Ground, spots: Spots) -> Sight:
    """With nobody barred."""
    return Sight(ground, view_of(spots.spot_of, spots.keys), [(held, NOBODY) for held in spots.kinds], spots.kind_of)


def barred_sight(ground: Ground, spots: Spots, barring: Barring) -> Sight:
    """With what `barring` bars from the addresses and places of `ground`, whose rows those of `spots` are."""
    wards = wards_of(barring.policy)
    count = len(ground.columns)
    sources, theirs = np.arange(count), np.zeros(count, np.int64)
    if len(wards.held) > 1:
        layers, rows, numbers = cut(count, ground.layers, wards)
        ground = Ground(ground.columns, layers, ground.wards)
        sources, theirs = np.concatenate([sources, rows]), np.concatenate([theirs, numbers])
    asked = replace(ground.columns, wards=theirs[:count]).warded(sources[count:], theirs[count:])
    told, told_of = kinds_of(asked, barring.policy, wards.held)
    return _sight(ground, spots, sources, [barring.names(held) for held in told], told_of, barring)


def sight_of_each(ground: Ground, spots: Spots, names: Sequence[Names], barring: Barring) -> Sight:
    """With these `names` barred to each row."""
    numbers: dict[Names, int] = {}
    told_of = np.array([numbers.setdefault(one, len(numbers)) for one in names], np.int64)
    return _sight(ground, spots, np.arange(len(names)), list(numbers), told_of, barring)


def _sight(
    ground: Ground, spots: Spots, sources: Numbers, names: Sequence[Names], told_of: Numbers, barring: Barring
) -> Sight:
    """`sources`: the row of `spots` of each row; `told_of`: the number of what is barred to it among `names`."""
    spot_of, kind_of = spots.spot_of[sources], spots.kind_of[sources]
    unplaced = np.flatnonzero(spot_of < 0)
    combined = np.zeros(len(sources), np.int64)
    kinds: list[tuple[Held, Names]] = [(held, NOBODY) for held in spots.kinds[:1]]
    if len(unplaced):
        first, combined[unplaced] = distinct([kind_of[unplaced], told_of[unplaced]])
        kinds = [(spots.kinds[kind_of[row]], names[told_of[row]]) for row in unplaced[first].tolist()]
    view = view_of(spot_of, spots.keys[sources])
    if any(names):
        flags = np.array([[m.name in one for m in barring.mirrors] for one in names], np.bool_)
        view = view.split(barred=packed(flags)[told_of[view.rows]])
    return Sight(ground, view, kinds, combined)
