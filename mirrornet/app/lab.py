"""`mirrornet lab`: an operator's own zone, tried on this machine, before and after a mirror is cut off.

    zone file → proven → a world of sites → the zone with a lab's addresses → everything started and tried → a report

The rooms that the lab may not know lend it what it needs: config proves the zone and gives it back as it was written,
image makes and signs something to read, dns says what it would estimate.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from mirrornet.app.server.worlds.world import load_world
from mirrornet.config.load import as_written, load_zone
from mirrornet.dns.planning.hops import graph_of, terms_of
from mirrornet.dns.ranking.estimate import estimate, located
from mirrornet.dns.ranking.whereabouts import NOWHERE, placed_mirrors, whereabouts
from mirrornet.image.publishing.publish import publish
from mirrornet.image.trust.keys import keygen
from mirrornet.lab.blueprint import Blueprint, RoundTrips, blueprint
from mirrornet.lab.clients import Client, read_clients
from mirrornet.lab.namespaces import missing
from mirrornet.lab.network import Network
from mirrornet.lab.report import Report
from mirrornet.lab.rewriting import lab_url, lab_zone, patience_of
from mirrornet.lab.trial import Order, Trial, lacking, parts
from mirrornet.lab.world import read_regions, read_round_trips
from mirrornet.model.address import Address, parse_address
from mirrornet.model.errors import InputError, LocalError
from mirrornet.model.table import Match, WorldTable
from mirrornet.model.units import format_duration
from mirrornet.model.zone import Select, Zone

IMAGE: Final = "image"  # the name of what is published where the zone names no images
PAGE: Final = 4096
LARGEST_READ: Final = 64 << 20
FILE_LIMIT: Final = 16 << 20  # bytes of a table of round trips


@dataclass(frozen=True, slots=True)
class LabOptions:
    """The command line.  `rate` in Mbit/s, `read_bytes` of each client's reads, `wait` in seconds."""

    zone_file: Path
    clients: tuple[str, ...] = ()
    select: str = ""
    kill: str = ""
    rtt: Path | None = None
    regions: Path | None = None
    rate: float = 200.0
    read_bytes: int = 8 << 20
    wait: float = 120.0


def lab(options: LabOptions, tell: Callable[[str], None]) -> Report:
    """Tries the zone; `tell` hears what is being done.  Raises InputError, LocalError."""
    if not 1 << 20 <= options.read_bytes <= LARGEST_READ:
        raise InputError("--size: clients read 1M to 64M")
    options = replace(options, read_bytes=options.read_bytes // PAGE * PAGE)
    world = load_world([options.zone_file], rootless=True)
    zone, table = world.zones[0], world.table
    select = _select(zone, options.select)
    known = [mirror.name for mirror in zone.mirrors]
    if options.kill and options.kill not in known:
        raise InputError(f"--kill: {zone.file} has no mirror {options.kill!r}: its mirrors are {', '.join(known)}")
    plan = _blueprint(zone, table, options)
    if why := missing() or lacking():
        raise LocalError(f"lab: {why}")
    with Network(plan.world.addresses()) as network:
        return Trial(network, plan, _order(zone, table, select, plan, options, network.folder), tell).run()


def _select(zone: Zone, name: str) -> Select:
    for select in zone.select:
        if name in ("", select.name, zone.select_fqdn(select)):
            return select
    names = ", ".join(select.name for select in zone.select)
    raise InputError(f"--select: {zone.file} has no select {name!r}: there are {names}")


def _blueprint(zone: Zone, table: WorldTable | None, options: LabOptions) -> Blueprint:
    def find(address: Address) -> Match:
        return NOWHERE if table is None else table.match(address)

    def placed(client: Client) -> Client:
        """A client by address with what the zone says of it."""
        if client.address is None:
            return client
        pins = [pin for pin in zone.pins if client.address in pin.prefix]
        longest = max(pins, key=lambda pin: pin.prefix.length, default=None)
        place = located(whereabouts(zone, find, client.address).place)
        return replace(client, place=place, pins=longest.mirrors if longest else ())

    regions = read_regions(_lines(options.regions), str(options.regions)) if options.regions else {}
    trips = read_round_trips(_lines(options.rtt), str(options.rtt)) if options.rtt else {}
    clients = [placed(client) for client in read_clients(options.clients, regions)]
    return blueprint(zone, placed_mirrors(zone, find), clients, RoundTrips(trips, regions), options.rate)


def _order(
    zone: Zone, table: WorldTable | None, select: Select, plan: Blueprint, options: LabOptions, folder: Path
) -> Order:
    """What the lab is to try, with an image, a repository and a zone file made in `folder`."""
    named = set(zone.repository.images if zone.repository else ()) | (select.images or set())
    named |= {image for mirror in zone.mirrors for image in mirror.holds or ()}
    image = sorted(select.images or named or {IMAGE})[0]
    made = folder / "made"
    made.mkdir()
    content = made / "image"
    _write_image(content, options.read_bytes)
    keygen(made / "keys", passphrase=None)
    for name in sorted(named | {image}):
        publish(content, name, made / "repo", made / "keys", now=time.time())
    root = made / "keys" / "root.json"
    there = zone.world if zone.world is not None and zone.world.exists() else None
    found = {mirror.name: mirror for mirror in placed_mirrors(zone, lambda _: NOWHERE)}
    if table is not None:
        found = {mirror.name: mirror for mirror in placed_mirrors(zone, table.match)}
    text = lab_zone(as_written(zone.file), zone, found, plan, root, there)
    (made / "zone.yaml").write_text(text)
    notes = []
    if (patience := patience_of(zone, plan)) is not None:
        notes.append(
            f"health: timeout: {format_duration(zone.health.timeout)} is too short for the farthest mirror; "
            f"this lab waits {format_duration(patience)}"
        )
    return Order(
        zone.name,
        zone.select_fqdn(select),
        text,
        {name: lab_url(plan.world, mirror) for name, mirror in found.items()},
        _estimates(made / "zone.yaml", table, plan),
        image,
        made / "repo",
        root,
        options.read_bytes,
        options.kill,
        options.wait,
        f"{options.rtt} for {plan.measured} of {plan.ways} ways, else great circles"
        if options.rtt
        else "great circles",
        tuple(notes),
    )


def _write_image(path: Path, read_bytes: int) -> None:
    """The image of a trial: a third of it does not compress, as in a system's own files.  Raises OSError."""
    dice = random.Random(1)
    with path.open("wb") as file:
        for offset, length in parts(read_bytes):
            file.seek(offset)
            for _ in range(length // PAGE):
                file.write(dice.randbytes(PAGE // 3).ljust(PAGE, b"."))


def _estimates(file: Path, table: WorldTable | None, plan: Blueprint) -> dict[str, dict[str, float]]:
    """What the name server will estimate, ms, by client's site and mirror.  Raises ConfigError."""
    zone = load_zone(file)
    find = (lambda _: NOWHERE) if table is None else table.match
    mirrors = placed_mirrors(zone, find)
    terms = terms_of(zone, mirrors, graph_of(table))
    found = {}
    for site in plan.clients:
        from_here = located(whereabouts(zone, find, _address(plan, site)).place)
        found[site] = {one.name: estimate(from_here, one.place, terms, one.name).ms for one in mirrors}
    return found


def _address(plan: Blueprint, site: str) -> Address:
    return parse_address(plan.world.address(site))


def _lines(path: Path) -> list[str]:
    """The lines of a small text file.  Raises InputError."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(FILE_LIMIT + 1)
    except UnicodeDecodeError:
        raise InputError(f"{path}: this is no text: a CSV file is wanted") from None
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    if len(text) > FILE_LIMIT:
        raise InputError(f"{path}: larger than {FILE_LIMIT >> 20} MiB, so it cannot be meant")
    return text.splitlines()
