"""How far a mirror probably is from a place, in milliseconds, and why we think so.

    way       the great circle and the detour between the two regions (data/detours.py), in km
    spread    a place that is only a country is not a point: √(way² + (radius/2)²)
    line      20 ms + 0.0125 ms a kilometre
    table     from 500 km on, an operator's round-trip table weighs in, from 1,500 km on by half
    hops      5 ms for each AS hop, where relationships are known
    same AS   10 ms less
    measured  what clients measured in this place, kept within half and one and a half times all that

Cables do not follow great circles: from Brazil to South Africa a packet goes by way of Europe, from Korea to Sweden by
way of Suez or America, while across an ocean the way is nearly straight.  So the detour is the term that matters where
a great circle is wrong (p95 of what the first choice loses: 37 ms by great circle, 9 ms so; `make bench-nearest`).
It is never more than thrice the great circle, so that two neighbours at a border of two regions stay neighbours.

Estimates are whole numbers of 1/64 ms (about one kilometre).  Finer would be pretence, and whole numbers make the
planner's arrays and the plain code here agree to the last bit: no margin or tie depends on how a sine was rounded.

Rejected: floating point milliseconds (numpy's sine and the C library's differ in the last place, so that two engines
would order two equal mirrors differently); a speed for every region (a fit to whoever measured); max(way, radius/2) for
a country (it makes everything within half the radius equal, which it is not).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from mirrornet.data.countries import COUNTRIES
from mirrornet.dns.ranking.rendezvous import place_key
from mirrornet.dns.ranking.terms import NO_TERMS, Terms, hops_between, region_of, round_trip, words_of
from mirrornet.model.place import EARTH_RADIUS_KM, Evidence, Place, great_circle_km

UNIT: Final = 64  # estimates are counted in 1/64 ms
BASE_MS: Final = 20.0  # access lines and servers at both ends
MS_PER_KM: Final = 0.0125  # fibre there and back takes 0.0098, and no cable is straight
MOST_DETOUR: Final = 3.0  # times the great circle
LEAST_DETOUR: Final = -1 / 3  # times the great circle: what a correction may take off
SAME_AS_UNITS: Final = 10 * UNIT  # taken off: traffic that stays on one network is usually shorter and cheaper
HOP_UNITS: Final = 5 * UNIT  # for each AS hop; 3 and 8 ms were tried elsewhere and are equally good
TABLE_KM: Final = (500.0, 1500.0)  # where a round-trip table begins to count, and where it counts in full
TABLE_SHARE: Final = 0.5
FARTHEST_KM: Final = math.pi * EARTH_RADIUS_KM  # for a mirror of which nothing is known
ANYCAST_KM: Final = 1000.0  # a mirror behind anycast is usually no farther than this from anybody
NEAR_UNITS: Final = 10 * UNIT  # near-equals: within 10 ms
NEAR_PART: Final = 10  # or a tenth of the best
MOST_UNITS: Final = 1000 * UNIT


@dataclass(frozen=True, slots=True)
class Estimate:
    """The estimated round trip between a place and a mirror, term by term.

    `units`: 1/64 ms, what rankings compare.  `km`: great circle, None where one end is unknown or anycast.
    `detour_km`: what the way is longer.  `spread_km`: half the radius of an end that is only a country, else 0.
    `distance_ms`: the line's value for these three.  `table_ms`: what an operator's table says, None: nothing;
    `table_share`: how much of it counts.  `hops`: AS hops, None: no relationships known.  `same_as`: the bonus for one
    network was taken off.  `measured_ms`: what clients reported, None: nothing.
    """

    units: int
    km: float | None
    distance_ms: float
    same_as: bool
    detour_km: float = 0.0
    spread_km: float = 0.0
    table_ms: float | None = None
    table_share: float = 0.0
    hops: int | None = None
    measured_ms: float | None = None

    @property
    def ms(self) -> float:
        return self.units / UNIT


def to_units(ms: float) -> int:
    """`ms` as the nearest whole number of 1/64 ms."""
    return math.floor(ms * UNIT + 0.5)


def margin(units: int) -> int:
    """How much more than `units` still counts as near-equal: 10 ms or a tenth, whichever is more (in 1/64 ms)."""
    return max(NEAR_UNITS, units // NEAR_PART)


def located(place: Place) -> Place:
    """`place` with the middle of its country (and that country's radius) where it has no coordinates."""
    if place.latitude is not None and place.longitude is not None:
        return place
    country = COUNTRIES.get(place.country)
    if country is None:
        return place
    return replace(
        place,
        latitude=country.latitude,
        longitude=country.longitude,
        radius_km=country.radius_km,
        coordinates_from=Evidence.CENTROID,
    )


def estimate(place: Place, mirror_place: Place, terms: Terms = NO_TERMS, mirror: str = "") -> Estimate:
    """The estimate between `place` and `mirror_place`, both as located() gives them; `mirror`: the mirror's name."""
    km: float | None = None
    detour = 0.0
    table_ms, table_share = None, 0.0
    if mirror_place.anycast:
        assumed = ANYCAST_KM
    elif not place.known or not mirror_place.known:
        assumed = FARTHEST_KM
    else:
        assert place.latitude is not None and place.longitude is not None
        assert mirror_place.latitude is not None and mirror_place.longitude is not None
        km = great_circle_km(place.latitude, place.longitude, mirror_place.latitude, mirror_place.longitude)
        assumed = km
        here, there = region_of(place.latitude, place.longitude), region_of(*_point(mirror_place))
        detour = max(LEAST_DETOUR * km, min(float(terms.detours[here][there]), MOST_DETOUR * km))
        if terms.round_trips:
            table_ms = round_trip(terms.round_trips, words_of(place), words_of(mirror_place))
            table_share = 0.0 if table_ms is None else share_of_table(km)
    radius = max(place.radius_km if place.known else 0, mirror_place.radius_km if mirror_place.known else 0)
    spread = radius / 2
    way = assumed + detour
    distance_ms = BASE_MS + MS_PER_KM * math.sqrt(way * way + spread * spread)
    units = to_units(distance_ms if table_ms is None else distance_ms + table_share * (table_ms - distance_ms))
    hops = hops_between(terms.hops, place.asn, mirror_place.asn)
    units += HOP_UNITS * (hops or 0)
    same_as = place.asn != 0 and place.asn == mirror_place.asn
    units = min(units - (SAME_AS_UNITS if same_as else 0), MOST_UNITS)
    measured_ms = terms.measured.get(place_key(place), {}).get(mirror) if terms.measured else None
    if measured_ms is not None:
        units = min(max(to_units(measured_ms), units - units // 2), units + units // 2, MOST_UNITS)
    return Estimate(units, km, distance_ms, same_as, detour, spread, table_ms, table_share, hops, measured_ms)


def share_of_table(km: float) -> float:
    """How much a round-trip table counts for places `km` apart, from 0 to TABLE_SHARE."""
    first, full = TABLE_KM
    return TABLE_SHARE * max(0.0, min(1.0, (km - first) / (full - first)))


def _point(place: Place) -> tuple[float, float]:
    assert place.latitude is not None and place.longitude is not None
    return place.latitude, place.longitude
