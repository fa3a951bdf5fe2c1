"""Where an address is, as far as anyone knows, and how far apart two places are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

EARTH_RADIUS_KM = 6371.0088  # mean radius, IUGG


class Evidence(IntEnum):
    """Where a country or a pair of coordinates came from, from worthless to best.  Stored in world.table."""

    NONE = 0
    AUT_NUM = 1  # `country:` of the origin's aut-num: the seat of the holder
    DELEGATED = 2  # RIR delegated statistics
    INETNUM = 3  # `country:` or `geoloc:` of an inetnum or inet6num
    GEOFEED = 4  # RFC 8805
    CENTROID = 5  # coordinates only: the population-weighted middle of the country
    MMDB = 6  # a MaxMind-format database
    OPERATOR = 7  # `places:` of the zone file, or an --anycast list


@dataclass(frozen=True, slots=True)
class Place:
    """What we know of where an address is.

    `asn` 0: origin unknown.  `country`: ISO 3166-1 alpha-2 in capitals, "" unknown.  `latitude`, `longitude` in
    degrees, None where unknown (both or neither).  `radius_km`: the address is probably within it; 0 for a point.
    `anycast`: the prefix is announced from many places, so coordinates mean nothing for its users.
    """

    asn: int = 0
    country: str = ""
    latitude: float | None = None
    longitude: float | None = None
    radius_km: int = 0
    anycast: bool = False
    country_from: Evidence = Evidence.NONE
    coordinates_from: Evidence = Evidence.NONE

    @property
    def known(self) -> bool:
        """Whether distance from here means anything."""
        return self.latitude is not None and not self.anycast


UNKNOWN = Place()


def great_circle_km(latitude1: float, longitude1: float, latitude2: float, longitude2: float) -> float:
    """Kilometres between two points given in degrees, by the haversine formula (well-conditioned for small ones)."""
    phi1, phi2 = math.radians(latitude1), math.radians(latitude2)
    half_phi = (phi2 - phi1) / 2
    half_lambda = math.radians(longitude2 - longitude1) / 2
    haversine = math.sin(half_phi) ** 2 + math.cos(phi1) * math.cos(phi2) * math.sin(half_lambda) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(min(1.0, haversine)))
