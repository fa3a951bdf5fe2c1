"""A world: sites with places on Earth or round-trip times between them, and the addresses they get.  Pure.

Round trips come from a table where it has the pair, else from the great circle: light in fibre takes 0.0098 ms a
kilometre there and back, cables are longer than the great circle and routers take their time, which together gives
0.0165 ms a kilometre over published measurements between cities; SAME_CITY_MS is what even neighbours need.

The number of a site is in its addresses: site 7 has 198.18.7.0/24 and 2001:db8:7::/48, of which .1 and ::1 are the
first.  So a client's prefix for ECS is his site's, and `places:` of a zone file can tell where it is.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from mirrornet.model.errors import InputError
from mirrornet.model.place import great_circle_km

SAME_CITY_MS: Final = 2.0
MS_PER_KM: Final = 0.0165
SITES: Final = 255
LONGEST_MS: Final = 60_000.0


@dataclass(frozen=True, slots=True)
class Site:
    """`latitude` and `longitude` in degrees, None where only the table of round trips knows the site."""

    name: str
    latitude: float | None = None
    longitude: float | None = None
    country: str = ""


@dataclass(frozen=True, slots=True)
class World:
    """Sites, and what is known of the ways between them; `rate` in Mbit/s for every path.

    `round_trips`: ms by pairs of names, either way round.  Raises InputError where a pair has neither a round trip nor
    two places, or a name comes twice.
    """

    sites: tuple[Site, ...]
    round_trips: Mapping[tuple[str, str], float] = field(default_factory=dict)
    rate: float = 200.0

    def __post_init__(self) -> None:
        names = [site.name for site in self.sites]
        if len(set(names)) != len(names):
            raise InputError(f"lab: two sites have one name: {', '.join(sorted(names))}")
        if len(names) > SITES:
            raise InputError(f"lab: {len(names)} sites, and addresses are for {SITES}")
        for index, one in enumerate(names):
            for other in names[:index]:
                self.rtt(one, other)

    def rtt(self, one: str, other: str) -> float:
        """The round trip between two sites, ms.  Raises InputError."""
        found = self.round_trips.get((one, other), self.round_trips.get((other, one)))
        if found is not None:
            return found
        ends = [self.site(name) for name in (one, other)]
        points = [(end.latitude, end.longitude) for end in ends]
        (latitude1, longitude1), (latitude2, longitude2) = points
        if latitude1 is None or longitude1 is None or latitude2 is None or longitude2 is None:
            raise InputError(f"lab: {one} and {other} have neither a round trip nor both a place")
        return SAME_CITY_MS + MS_PER_KM * great_circle_km(latitude1, longitude1, latitude2, longitude2)

    def site(self, name: str) -> Site:
        """The site of this name.  Raises InputError."""
        for site in self.sites:
            if site.name == name:
                return site
        raise InputError(f"lab: there is no site {name!r}")

    def address(self, name: str, family: int = 4, number: int = 1) -> str:
        """An address of the site: its first, or another `number` of its prefix."""
        index = self.sites.index(self.site(name)) + 1
        return f"198.18.{index}.{number}" if family == 4 else f"2001:db8:{index:x}::{number:x}"

    def prefixes(self, name: str) -> tuple[str, str]:
        """The IPv4 and the IPv6 prefix of the site."""
        index = self.sites.index(self.site(name)) + 1
        return f"198.18.{index}.0/24", f"2001:db8:{index:x}::/48"

    def addresses(self) -> dict[str, tuple[str, ...]]:
        """Both first addresses of every site, as network.Network wants them."""
        return {site.name: (self.address(site.name), self.address(site.name, 6)) for site in self.sites}


def read_round_trips(lines: Iterable[str], name: str) -> dict[tuple[str, str], float]:
    """Round trips out of a CSV file with a heading and the columns from, to, ms.  Raises InputError with the line."""
    found: dict[tuple[str, str], float] = {}
    for number, row in enumerate(csv.reader(lines), 1):
        if number == 1 or not row:
            continue
        try:
            one, other, ms = row[:3]
            found[one, other] = float(ms)
            if not 0 <= found[one, other] <= LONGEST_MS:
                raise ValueError
        except ValueError:
            raise InputError(f"{name}:{number}: expected from,to,ms") from None
    return found


def read_regions(lines: Iterable[str], name: str) -> dict[str, tuple[float, float]]:
    """Where regions are, in degrees: a CSV file with a heading and the columns region, latitude, longitude.

    Raises InputError with the line.
    """
    found: dict[str, tuple[float, float]] = {}
    for number, row in enumerate(csv.reader(lines), 1):
        if number == 1 or not row:
            continue
        try:
            region, latitude, longitude = row[0], float(row[1]), float(row[2])
            if not (abs(latitude) <= 90 and abs(longitude) <= 180):
                raise ValueError
        except (ValueError, IndexError):
            raise InputError(f"{name}:{number}: expected region,latitude,longitude") from None
        found[region] = latitude, longitude
    return found
