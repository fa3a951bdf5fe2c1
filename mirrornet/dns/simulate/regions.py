"""Whom each mirror serves by a plan: its share of all addresses, and of each country's, for the map of the status page.

Counted as `simulate` counts load (see the decisions of this room): announced space only, and an answer of several
mirrors in equal shares.  A country's share goes by IPv4, whose addresses say more about people than /48s do.
"""

from __future__ import annotations

import numpy as np

from mirrornet.dns.planning.ground import Floats, Numbers
from mirrornet.dns.ranking.nearest import FAMILIES
from mirrornet.dns.simulate.sides import Set, Side
from mirrornet.dns.simulate.space import Pieces, Space, pieces
from mirrornet.model.address import Family
from mirrornet.model.regions import Regions

Spaces = dict[Family, Space]


def regions(side: Side, spaces: Spaces) -> Regions:
    """The regions of the mirrors of `side`, counted in `spaces` (space.space())."""
    shares: dict[Family, dict[str, float]] = {}
    countries: dict[str, dict[str, float]] = {}
    for family in FAMILIES:
        some = pieces(family, spaces[family], side.borders(family))
        if some.total == 0:
            continue
        sets, numbers = side.sent(family, some.values)
        whole = np.bincount(numbers, weights=some.weights, minlength=len(sets)) / some.total
        shares[family] = _dealt(sets, whole.tolist())
        for country, weights in _by_country(side, family, some, numbers, len(sets)):
            if country not in countries:
                countries[country] = _dealt(sets, (weights / some.total).tolist())
    return Regions(shares, countries)


def _by_country(side: Side, family: Family, some: Pieces, numbers: Numbers, count: int) -> list[tuple[str, Floats]]:
    """(country, the weight that each of the `count` sets has in it)."""
    layer, columns = side.survey.ground.layers[family], side.survey.ground.columns
    places = layer.places[np.searchsorted(layer.starts, some.values, side="right") - 1]
    codes, rows = np.unique(columns.countries[places], return_inverse=True)
    weights = np.bincount(rows * count + numbers, weights=some.weights, minlength=len(codes) * count)
    letters = [code.to_bytes(2, "big").decode("ascii", "replace").strip("\0") for code in codes.tolist()]
    return list(zip(letters, weights.reshape(len(codes), count), strict=True))


def _dealt(sets: list[Set], weights: list[float]) -> dict[str, float]:
    """The weight of each mirror, where each set's is dealt out evenly."""
    dealt: dict[str, float] = {}
    for mirrors, weight in zip(sets, weights, strict=True):
        for mirror in mirrors if weight else ():
            dealt[mirror] = dealt.get(mirror, 0.0) + weight / len(mirrors)
    return dealt
