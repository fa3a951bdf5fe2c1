"""How far a mirror probably is from a place, in milliseconds, and why we think so.

Measured round-trip times between cities follow `20 ms + 0.0165 ms a kilometre` of great circle closely enough that the
nearest by this line is within 10 ms of the true best in four cases of five (two published sets of city pairs).  AS
hops alone do no better than chance, so they are not here.  A place that is only a country is not a point: whoever is
in Russia may be 3,000 km from its middle, so the estimate never falls below that of half its radius.

Estimates are whole numbers of 1/64 ms (about one kilometre).  Finer would be pretence, and whole numbers make the
planner's arrays and the plain code here agree to the last bit: no margin or tie depends on how a sine was rounded.

Rejected: floating point milliseconds (numpy's sine and the C library's differ in the last place, so that two engines
would order two equal mirrors differently); a table of round-trip times by country pair (comes with a later step).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from mirrornet.data.countries import COUNTRIES
from mirrornet.model.place import EARTH_RADIUS_KM, Evidence, Place, great_circle_km

UNIT: Final = 64  # estimates are counted in 1/64 ms
BASE_MS: Final = 20.0  # access lines and servers at both ends
MS_PER_KM: Final = 0.0165  # fibre there and back, detours included
SAME_AS_UNITS: Final = 10 * UNIT  # taken off: traffic that stays on one network is usually shorter and cheaper
FARTHEST_KM: Final = math.pi * EARTH_RADIUS_KM  # for a mirror of which nothing is known
ANYCAST_KM: Final = 1000.0  # a mirror behind anycast is usually no farther than this from anybody
NEAR_UNITS: Final = 10 * UNIT  # near-equals: within 10 ms or 20 % of the best


@dataclass(frozen=True, slots=True)
class Estimate:
    """The estimated round trip between a place and a mirror.

    `units`: 1/64 ms, what rankings compare.  `km`: great circle, None where one end is unknown or anycast.
    `distance_ms`: the line's value; `floor_ms`: what an end that is only a country imposes (0: both are points);
    `same_as`: the bonus for one network was taken off.
    """

    units: int
    km: float | None
    distance_ms: float
    floor_ms: float
    same_as: bool

    @property
    def ms(self) -> float:
        return self.units / UNIT


def to_units(ms: float) -> int:
    """`ms` as the nearest whole number of 1/64 ms."""
    return math.floor(ms * UNIT + 0.5)


def margin(units: int) -> int:
    """How much more than `units` still counts as near-equal: 10 ms or 20 %, whichever is more (in 1/64 ms)."""
    return max(NEAR_UNITS, units // 5)


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


def estimate(place: Place, mirror_place: Place) -> Estimate:
    """The estimate between `place` and `mirror_place`, both as located() gives them."""
    km: float | None = None
    if mirror_place.anycast:
        assumed = ANYCAST_KM
    elif not place.known or not mirror_place.known:
        assumed = FARTHEST_KM
    else:
        assert place.latitude is not None and place.longitude is not None
        assert mirror_place.latitude is not None and mirror_place.longitude is not None
        km = great_circle_km(place.latitude, place.longitude, mirror_place.latitude, mirror_place.longitude)
        assumed = km
    radius = max(place.radius_km if place.known else 0, mirror_place.radius_km if mirror_place.known else 0)
    distance_ms = BASE_MS + MS_PER_KM * assumed
    floor_ms = BASE_MS + MS_PER_KM * (radius / 2) if radius else 0.0
    same_as = place.asn != 0 and place.asn == mirror_place.asn
    units = max(to_units(distance_ms), to_units(floor_ms)) - (SAME_AS_UNITS if same_as else 0)
    return Estimate(units, km, distance_ms, floor_ms, same_as)
