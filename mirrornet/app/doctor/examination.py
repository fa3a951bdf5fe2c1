"""The whole examination of one zone: what is looked at, in which order, and what is asked again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mirrornet.app.doctor import delegation, here, look, machine, mirrors, servers
from mirrornet.app.doctor.delegation import Heard, Parent
from mirrornet.app.doctor.finding import Finding, fault
from mirrornet.app.doctor.resolver import Endpoint, addresses_of, ask
from mirrornet.app.doctor.servers import Asked, Seen
from mirrornet.app.server.worlds.world import examine_all, open_table
from mirrornet.dns.asking import NOERROR, Reply
from mirrornet.model.address import Prefix
from mirrornet.model.errors import ConfigError, InputError
from mirrornet.model.table import NONE, WorldTable
from mirrornet.model.zone import Zone

ASKERS: Final = 12  # whom the servers are asked about, spread over the world.table
AGAIN: Final = 3.0  # seconds after which servers that differ are asked once more: verdicts travel
PARENTS: Final = 3  # servers of the parent that are tried
PORT: Final = 53  # theirs


@dataclass(frozen=True, slots=True)
class Options:
    """`resolver`: whom clients ask; `port`: where name servers listen; `state`: of the server on this machine."""

    zone: Path
    resolver: Endpoint
    port: int
    state: Path


async def examine(options: Options) -> list[Finding]:
    """Everything there is to find.  Raises ConfigError where the zone file itself is unsound, InputError."""
    zones, _, problems = examine_all([options.zone])
    faults = [problem for problem in problems if not problem.warning]
    if faults:
        raise ConfigError(faults)
    (zone,), table = zones, _table(zones[0])
    unsound = [problem.what for problem in problems if problem.warning]
    local = asyncio.to_thread(here.look, table, options.state, unsound)
    world = table if isinstance(table, WorldTable) else None
    dns, seen, found = await asyncio.gather(_dns(zone, options, world), look.mirrors(zone), local)
    visits, expiries = seen
    return [*dns, *mirrors.judge(zone, visits, expiries, time.time()), *machine.judge(zone, found)]


def _table(zone: Zone) -> WorldTable | str | None:
    if zone.world is None or not zone.world.exists():
        return None
    try:
        return open_table(zone.world)
    except InputError as error:
        return str(error).removeprefix(f"{zone.world}: ")


async def _dns(zone: Zone, options: Options, table: WorldTable | None) -> list[Finding]:
    resolver = f"the resolver {options.resolver[0]}"
    heard, parent = await asyncio.gather(
        ask(options.resolver, zone.name, "NS", recursive=True), _parent(zone, options.resolver)
    )
    found = list(delegation.judge(zone, resolver, heard, parent))
    places, nowhere = await _places(zone, options)
    found += nowhere
    asked = questions(zone, table)
    seen = await asyncio.gather(*(_server(zone, name, place, asked) for name, place in places))
    if len(servers.different(seen)) > 0:
        await asyncio.sleep(AGAIN)
        seen = await asyncio.gather(*(_server(zone, name, place, asked) for name, place in places))
    found += servers.judge(zone, options.port, seen)
    found += servers.alike(seen)
    if isinstance(heard, Reply) and heard.rcode == NOERROR:
        through = await _through(options.resolver, resolver, seen)
        found += [through] if through else []
    return found


async def _parent(zone: Zone, resolver: Endpoint) -> Parent:
    """The nearest zone above that the resolver knows, and what one of its servers says of ours."""
    labels = zone.name.split(".")
    every = [".".join(labels[n:]) for n in range(1, len(labels))] + ["."]
    told = await asyncio.gather(*(ask(resolver, above, "NS", recursive=True) for above in every))
    for above, heard in zip(every, told, strict=True):
        names = heard.values("NS", "" if above == "." else above) if isinstance(heard, Reply) else ()
        if not names:
            continue
        said: Heard = "none of its servers answers"
        for name in names[:PARENTS]:
            for address in (await addresses_of(resolver, name))[:1]:
                said = await ask((address, PORT), zone.name, "NS")
                if isinstance(said, Reply):
                    return Parent("the root" if above == "." else above, name, said)
        return Parent("the root" if above == "." else above, "", said)
    return Parent()


async def _places(zone: Zone, options: Options) -> tuple[list[tuple[str, Endpoint]], list[Finding]]:
    """(each name server's addresses, what is wrong with those that have none)."""
    places: list[tuple[str, Endpoint]] = []
    wrong = []
    for name, known in zone.nameservers.items():
        addresses = list(known) or await addresses_of(options.resolver, name)
        places += [(name, (address, options.port)) for address in addresses]
        if not addresses:
            mend = "give it an address in its own zone, or take it out of `nameservers`"
            wrong.append(fault(servers.CHECK, name, "this name server's name has no address", mend))
    return places, wrong


def questions(zone: Zone, table: WorldTable | None) -> list[Asked]:
    """What all servers are asked alike: the first select's answers, for askers here and there in the world."""
    name = zone.select_fqdn(zone.select[0])
    subnets = _askers(table)
    found: list[Asked] = [(name, "A", subnet) for subnet in subnets]
    found += [(f"_http._tcp.{name}", "URI", subnet) for subnet in subnets[:2]]
    return [*found, (name, "A", None), (name, "AAAA", None)]


def _askers(table: WorldTable | None) -> list[Prefix]:
    """/24s of IPv4 that the table knows, evenly spread; two where there is no table."""
    if table is None:
        return [Prefix(4, 0x08080800, 24), Prefix(4, 0xCB007100, 24)]
    ranges = table.ranges[4]
    step = max(1, len(ranges.starts) // (4 * ASKERS))
    starts = [ranges.starts[n] for n in range(0, len(ranges.starts), step) if ranges.lengths[n] != NONE]
    chosen = starts[:: max(1, len(starts) // ASKERS)][:ASKERS]
    return sorted({Prefix(4, start >> 8 << 8, 24) for start in chosen}) or [Prefix(4, 0x08080800, 24)]


async def _server(zone: Zone, name: str, place: Endpoint, asked: Sequence[Asked]) -> Seen:
    udp, tcp = await asyncio.gather(ask(place, zone.name, "SOA"), ask(place, zone.name, "SOA", tcp=True))
    answers: dict[Asked, Heard] = {}
    if isinstance(udp, Reply) and udp.rcode == NOERROR:
        for one in asked:  # one after the other: a rate limit is no fault of theirs
            answers[one] = await ask(place, one[0], one[1], subnet=one[2])
    address = str(place[0]) if place[1] == 53 else f"{place[0]} port {place[1]}"
    return Seen(name, address, udp, tcp, answers)


async def _through(resolver: Endpoint, about: str, seen: Sequence[Seen]) -> Finding | None:
    """Two askers who get different answers from a server, through the resolver."""
    for one in seen:
        tailored = [(asked, heard) for asked, heard in one.answers.items() if asked[1] == "A" and asked[2] is not None]
        for asked, heard in tailored[1:]:
            first_asked, first = tailored[0]
            if not isinstance(heard, Reply) or not isinstance(first, Reply) or heard.values("A") == first.values("A"):
                continue
            got = [await ask(resolver, one[0], "A", recursive=True, subnet=one[2]) for one in (first_asked, asked)]
            return servers.through(about, (first, heard), got)
    return None
