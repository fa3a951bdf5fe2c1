"""Who asks in an operator's lab: clients at cities, in countries, at coordinates, or as real addresses.  Pure.

    Tokyo            a city below, or a region of the file of regions
    DE               a country: its middle, and all we know is the country
    home=48.1,11.6   a point in degrees; with its country: home=48.1,11.6,DE
    home=DE, home=Tokyo
    home=203.0.113.7 whatever the zone takes for the place of that address, with its AS and the mirrors it is pinned to

A client by address is how `only`, `prefer`, `never` and pins are tried out, since they go by origin and prefix.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mirrornet.data.countries import COUNTRIES
from mirrornet.model.address import Address, parse_address
from mirrornet.model.errors import InputError
from mirrornet.model.names import suggest
from mirrornet.model.place import Evidence, Place

CLIENTS: Final = 30
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f=/]{1,40}")
_POINT: Final = re.compile(r"(-?[0-9]+(?:\.[0-9]+)?)\s*,\s*(-?[0-9]+(?:\.[0-9]+)?)\s*(?:,\s*([A-Z]{2})\s*)?")
# Large cities, one a continent first: the clients of who names none.
CITIES: Final[Mapping[str, tuple[float, float, str]]] = {
    "Tokyo": (35.68, 139.69, "JP"),
    "Frankfurt": (50.11, 8.68, "DE"),
    "New York": (40.71, -74.01, "US"),
    "São Paulo": (-23.55, -46.63, "BR"),
    "Johannesburg": (-26.20, 28.05, "ZA"),
    "Sydney": (-33.87, 151.21, "AU"),
    "Singapore": (1.35, 103.82, "SG"),
    "Mumbai": (19.08, 72.88, "IN"),
    "Seoul": (37.57, 126.98, "KR"),
    "Dubai": (25.20, 55.27, "AE"),
    "London": (51.51, -0.13, "GB"),
    "Moscow": (55.76, 37.62, "RU"),
    "Los Angeles": (34.05, -118.24, "US"),
    "Mexico City": (19.43, -99.13, "MX"),
    "Bogotá": (4.71, -74.07, "CO"),
    "Lagos": (6.45, 3.39, "NG"),
    "Cairo": (30.04, 31.24, "EG"),
    "Nairobi": (-1.29, 36.82, "KE"),
    "Auckland": (-36.85, 174.76, "NZ"),
}
CONTINENTS: Final = tuple(CITIES)[:6]


@dataclass(frozen=True, slots=True)
class Client:
    """`place`: where it is; None where that is for the zone to say of `address`.  `pins`: the mirrors it is sent to."""

    name: str
    place: Place | None
    address: Address | None = None
    pins: tuple[str, ...] = ()


def read_clients(texts: Sequence[str], regions: Mapping[str, tuple[float, float]]) -> tuple[Client, ...]:
    """The clients that `--client` names, in order; without any, one a continent.  Raises InputError."""
    found: dict[str, Client] = {}
    for text in texts or CONTINENTS:
        name, equals, where = text.strip().partition("=")
        name = name.strip()
        if not _NAME.fullmatch(name) or not name.isprintable():
            raise InputError(f"--client {text!r}: its name is 1 to 40 characters, without = and /")
        if name in found:
            raise InputError(f"--client {text}: there are two of the name {name}")
        found[name] = _client(name, where.strip() if equals else name, text, regions)
    if len(found) > CLIENTS:
        raise InputError(f"--client: {len(found)} clients are more than a lab holds: {CLIENTS} at most")
    return tuple(found.values())


def _client(name: str, where: str, text: str, regions: Mapping[str, tuple[float, float]]) -> Client:
    point = _POINT.fullmatch(where)
    if point is not None:
        latitude, longitude, country = float(point[1]), float(point[2]), point[3] or ""
        if abs(latitude) > 90 or abs(longitude) > 180:
            raise InputError(f"--client {text}: latitude is -90 to 90 and longitude -180 to 180")
        if country and country not in COUNTRIES:
            raise InputError(f"--client {text}: there is no country {country}")
        return Client(name, _at(latitude, longitude, country))
    if where in COUNTRIES:
        middle = COUNTRIES[where]
        place = Place(
            country=where,
            latitude=middle.latitude,
            longitude=middle.longitude,
            radius_km=middle.radius_km,
            country_from=Evidence.OPERATOR,
            coordinates_from=Evidence.CENTROID,
        )
        return Client(name, place)
    if where in regions:
        return Client(name, _at(*regions[where], ""))
    if where in CITIES:
        return Client(name, _at(*CITIES[where]))
    try:
        return Client(name, None, parse_address(where))
    except ValueError:
        hint = (
            suggest(where, [*CITIES, *regions]) or "write NAME=LATITUDE,LONGITUDE, a country such as DE, or an address"
        )
        raise InputError(f"--client {text}: {where!r} is no place that is known here; {hint}") from None


def _at(latitude: float, longitude: float, country: str) -> Place:
    country_from = Evidence.OPERATOR if country else Evidence.NONE
    return Place(0, country, latitude, longitude, 0, False, country_from, Evidence.OPERATOR)
