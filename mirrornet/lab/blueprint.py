"""From an operator's zone to a world: mirrors, name servers and clients as sites, and the ways between them.  Pure.

Mirrors stand where the zone says, or where its table knows their addresses.  Where name servers stand no zone tells,
and it hardly matters (resolvers keep answers, probes are patient): each stands beside one of the mirrors.  A mirror
behind anycast is as near to everybody as such mirrors usually are.

Round trips come from the operator's table where it has both ends, under a site's own name or that of the region within
NEAR_KM of it; else from the great circle (world.py).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mirrornet.lab.clients import Client
from mirrornet.lab.world import MS_PER_KM, SAME_CITY_MS, Site, World
from mirrornet.model.errors import InputError
from mirrornet.model.place import Place, great_circle_km
from mirrornet.model.zone import Mirror, Zone

MIRRORS: Final = 60
NAMESERVERS: Final = 4
NEAR_KM: Final = 100.0
ANYCAST_KM: Final = 1000.0  # as far as an anycast network's nearest site usually is


@dataclass(frozen=True, slots=True)
class RoundTrips:
    """An operator's measurements: ms by pairs of regions, and where the regions are (degrees), if he said so."""

    table: Mapping[tuple[str, str], float]
    regions: Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A lab to be.  `clients` and `nameservers`: sites by name; a mirror's site has its name.

    `measured`: how many of the ways are from the operator's table, of `ways`.
    """

    world: World
    mirrors: tuple[str, ...]
    clients: Mapping[str, Client]
    nameservers: Mapping[str, str]
    measured: int
    ways: int

    def nearest(self, client: str) -> tuple[str, float]:
        """The mirror with the shortest round trip from the site `client`, and that in ms."""
        return min(((name, self.world.rtt(client, name)) for name in self.mirrors), key=lambda found: found[1])


def blueprint(
    zone: Zone, mirrors: Sequence[Mirror], clients: Sequence[Client], trips: RoundTrips, rate: float = 200.0
) -> Blueprint:
    """The world of `zone`; `mirrors`: its mirrors with all that is known of their places; `rate` in Mbit/s.

    Every client has its place.  Raises InputError where a mirror's place is not known, or there are too many.
    """
    if len(mirrors) > MIRRORS:
        raise InputError(f"{zone.file}: {len(mirrors)} mirrors are more than a lab holds: {MIRRORS} at most")
    sites, standing = [], {}
    for mirror in mirrors:
        if not (mirror.place.known or mirror.place.anycast or _named(mirror.name, trips)):
            raise InputError(
                f"{zone.file}: nobody knows where {mirror.name} stands: give it a `place`, or rows in --rtt"
            )
        sites.append(_site(mirror.name, mirror.place))
        standing[mirror.name] = mirror.place
    asking = {}
    for number, client in enumerate(clients, 1):
        place = client.place
        if place is None or not (place.known or _named(client.name, trips)):
            raise InputError(f"--client {client.name}: nobody knows where that is: write {client.name}=LAT,LON")
        site = f"client.{number}"
        asking[site] = client
        sites.append(_site(site, place))
        standing[site] = place
    names = [name for name, addresses in zone.nameservers.items() if addresses][:NAMESERVERS] or ["a name server"]
    fixed = [mirror.name for mirror in mirrors if not mirror.place.anycast] or [mirror.name for mirror in mirrors]
    beside = {f"server.{number}": fixed[number * len(fixed) // len(names)] for number in range(len(names))}
    for site, mirror_name in beside.items():
        sites.append(_site(site, standing[mirror_name]))
        standing[site] = standing[mirror_name]
    called = {site: _called(site, asking, beside) for site in standing}
    regions = {site: _region(called[site], place, trips) for site, place in standing.items()}
    found: dict[tuple[str, str], float] = {}
    measured = 0
    for one, other in itertools.combinations(standing, 2):
        way = _way(regions[one], regions[other], trips)
        if way is not None:
            measured += 1
        elif standing[one].anycast or standing[other].anycast:
            way = SAME_CITY_MS + MS_PER_KM * ANYCAST_KM
        elif not (standing[one].known and standing[other].known):
            raise InputError(f"--rtt: {called[one]} and {called[other]} have neither a round trip nor both a place")
        if way is not None:
            found[one, other] = way
    world = World(tuple(sites), found, rate)
    return Blueprint(
        world,
        tuple(mirror.name for mirror in mirrors),
        asking,
        dict(zip(beside, names, strict=True)),
        measured,
        len(standing) * (len(standing) - 1) // 2,
    )


def _called(site: str, clients: Mapping[str, Client], beside: Mapping[str, str]) -> str:
    return clients[site].name if site in clients else beside.get(site, site)


def _site(name: str, place: Place) -> Site:
    if not place.known:
        return Site(name)
    return Site(name, place.latitude, place.longitude, place.country)


def _named(name: str, trips: RoundTrips) -> bool:
    return any(name in pair for pair in trips.table)


def _region(name: str, place: Place, trips: RoundTrips) -> str:
    """What the table calls a site: its own name, or the region that is near; "" where neither is."""
    if _named(name, trips) or not place.known:
        return name
    assert place.latitude is not None and place.longitude is not None
    here = place.latitude, place.longitude
    near = [(great_circle_km(*here, *there), region) for region, there in trips.regions.items()]
    km, region = min(near, default=(NEAR_KM, ""))
    return region if km < NEAR_KM else ""


def _way(one: str, other: str, trips: RoundTrips) -> float | None:
    if not one or not other:
        return None
    if one == other:
        return SAME_CITY_MS if _named(one, trips) else None
    return trips.table.get((one, other), trips.table.get((other, one)))
