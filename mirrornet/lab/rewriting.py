"""An operator's zone file, rewritten for his lab: other addresses, and where they are; all else as he wrote it.  Pure.

What changes: the addresses of mirrors and name servers (and of a URL that names one by address), `repository: root`
(the lab's own images are signed by the lab's own keys), the sockets under `server`, and `places`, which gains a prefix
for each client: with his place, his AS and the mirrors he is pinned to.  Mirrors that are offered by a name alone get
addresses here, since probes refuse a name that leads to a private network, and a lab is one.

And `health: timeout` where no probe could keep it: a block from 160 ms away takes a second, which is nothing to be
down for.  That is said, for it is true of the real servers as well.

What does not: names, URLs, paths and ports, weights, `only`, `prefer`, `never`, thresholds of `health`, TTLs,
records, the table.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from mirrornet.lab.blueprint import Blueprint
from mirrornet.lab.world import World
from mirrornet.model.address import Address, bracketed, parse_address
from mirrornet.model.place import Evidence, Place
from mirrornet.model.zone import Mirror, Zone

KEPT_OF_SERVER: Final = ("rate_limit", "nsid")
# Round trips that a probe takes: a handshake, the timestamp, and a block of some 100 KB through TCP's slow start.
PROBE_TRIPS: Final = {"block": 8, "http": 3, "tcp": 2, "none": 0}
TLS_TRIPS: Final = 2


def lab_zone(
    written: Mapping[str, Any],
    zone: Zone,
    mirrors: Mapping[str, Mirror],
    blueprint: Blueprint,
    root: Path,
    world: Path | None,
) -> str:
    """The zone file of the lab, as JSON, which is YAML.

    `written`: the zone file as it was written, strings, lists and mappings.  `zone`: what it means.  `mirrors`: those
    of the zone by name, with all that is known of their places.  `root`: the lab's root.json.  `world`: the table, None
    where there is none.
    """
    at = blueprint.world
    new: dict[str, Any] = dict(written)
    new["nameservers"] = {
        name: [at.address(site), at.address(site, 6)] if site else []
        for name, site in _sites_of(zone, blueprint).items()
    }
    for key, path in (("world", world), ("records", zone.records), ("round_trips", zone.round_trips_file)):
        new.pop(key, None)
        if path is not None:
            new[key] = str(path.absolute())
    if (patience := patience_of(zone, blueprint)) is not None:
        interval = max(zone.health.interval, patience * 1.25)
        new["health"] = {**(written.get("health") or {}), "timeout": f"{patience:g}s", "interval": f"{interval:g}s"}
    if zone.repository is not None:
        new["repository"] = {**written["repository"], "root": str(root)}
    new["mirrors"] = {name: {**written["mirrors"][name], **_moved(at, mirror)} for name, mirror in mirrors.items()}
    new["places"] = _places(written.get("places") or {}, blueprint)
    server = written.get("server") or {}
    new["server"] = {key: server[key] for key in KEPT_OF_SERVER if key in server}
    return json.dumps(new, indent=1, ensure_ascii=False)


def patience_of(zone: Zone, blueprint: Blueprint) -> float | None:
    """The timeout that probes need in the lab, in seconds, where the zone's is shorter; else None."""
    trips = PROBE_TRIPS[zone.health.probe]
    needed = max(
        blueprint.world.rtt(server, mirror.name) * (trips + (TLS_TRIPS if trips and mirror.tls else 0)) / 1000
        for mirror in zone.mirrors
        for server in blueprint.nameservers
    )
    return math.ceil(needed * 10) / 10 if needed > zone.health.timeout else None


def lab_url(world: World, mirror: Mirror) -> str:
    """Where `mirror` serves in the lab: at its own URL, but for an address in it."""
    parts = urlsplit(mirror.url)
    try:
        address: Address = parse_address(mirror.host)
    except ValueError:
        return mirror.url
    here = bracketed(parse_address(world.address(mirror.name, address.version)))
    return mirror.url.replace(parts.netloc, here + (f":{parts.port}" if parts.port else ""), 1)


def _moved(world: World, mirror: Mirror) -> dict[str, Any]:
    families = sorted({address.version for address in mirror.addresses}) or [4, 6]
    moved: dict[str, Any] = {
        "url": lab_url(world, mirror),
        "addresses": [world.address(mirror.name, family) for family in families],
    }
    if place := _described(mirror.place):
        moved["place"] = place
    return moved


def _described(place: Place) -> dict[str, Any]:
    """A place as a zone file writes it; empty where nothing is known."""
    described: dict[str, Any] = {"anycast": True} if place.anycast else {}
    if place.country:
        described["country"] = place.country
    if place.known and place.coordinates_from != Evidence.CENTROID:  # a middle is what the country stands for anyway
        described |= {"latitude": place.latitude, "longitude": place.longitude}
    if place.asn:
        described["asn"] = place.asn
    return described


def _places(written: Mapping[str, Any], blueprint: Blueprint) -> dict[str, Any]:
    ours: dict[str, Any] = {}
    for site, client in blueprint.clients.items():
        place = _described(client.place) if client.place is not None else {}
        if client.pins:
            place["mirrors"] = list(client.pins)
        if place:
            ours |= dict.fromkeys(blueprint.world.prefixes(site), place)
    taken = [ip_network(prefix) for prefix in ours]

    def free(prefix: str) -> bool:
        network = ip_network(prefix, strict=False)
        return not any(network.version == one.version and network.overlaps(one) for one in taken)

    return {prefix: place for prefix, place in written.items() if free(prefix)} | ours


def _sites_of(zone: Zone, blueprint: Blueprint) -> dict[str, str]:
    """The zone's name servers, each with its site; "" for those outside of the zone, which have no addresses in it."""
    sites = {name: site for site, name in blueprint.nameservers.items()}
    return {name: sites.get(name, "") for name, addresses in zone.nameservers.items() if name in sites or not addresses}
