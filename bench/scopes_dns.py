"""Every scope of a full-scale plan, proven exact (RFC 7871 section 7.2.1), in the plan and on the wire.

    python bench/scopes_dns.py WORLD.TABLE [MIRRORS [SEED]]        50 mirrors by default

A zone with mirrors in random places and random verdicts is planned over the table.  Then, for each range of each
partition, three addresses are asked (its first, its last, one in between): all addresses in the scope must get this
very answer, and a scope one bit shorter must reach somebody who does not.  A range of IPv6 also ends where IPv4
addresses are carried (planfile.py).  1 stands for "this family", where the other one gets more than one answer.  At
last, random ECS queries go through `respond()`, whose scope must be the plan's.
"""

from __future__ import annotations

import random
import sys
import time
from ipaddress import IPv4Address
from pathlib import Path

import numpy as np

from mirrornet.app.server.worlds.world import open_table
from mirrornet.data.countries import COUNTRIES
from mirrornet.dns.message.rrset import URI, name_to_wire
from mirrornet.dns.planning.plan import Planner
from mirrornet.dns.planning.planfile import Plan, Ranges
from mirrornet.dns.ranking.whereabouts import CARRIERS
from mirrornet.dns.serving.answer import Responder
from mirrornet.model.address import Family, width
from mirrornet.model.place import Place
from mirrornet.model.verdict import State, Verdict
from mirrornet.model.zone import Mirror, Select, Zone


def random_zone(dice: random.Random, count: int) -> Zone:
    middles = list(COUNTRIES.items())
    mirrors = []
    for number in range(count):
        code, country = dice.choice(middles)
        place = Place(64500 + number, code, country.latitude, country.longitude)
        url = f"http://m{number:03}.test/"
        mirrors.append(Mirror(f"m{number:03}", url, (IPv4Address(0xC6120000 + number),), place))
    select = Select("select", "http://select.scope.test/")
    return Zone(
        Path("scope.yaml"),
        "scope.test",
        "hostmaster@scope.test",
        1,
        {"ns1.scope.test": (IPv4Address("192.0.2.53"),)},
        None,
        (select,),
        tuple(mirrors),
    )


def prove(ranges: Ranges, family: Family, alone: bool, dice: random.Random) -> int:
    """How many addresses were tried; an AssertionError names the first whose scope is not exact."""
    bits = width(family)
    starts = np.array(ranges.starts, np.uint64)
    lasts = np.append(starts[1:] - np.uint64(1), np.uint64((1 << bits) - 1))
    kind = np.array(ranges.answers, np.int64) * (len(CARRIERS) + 1)
    for number, carrier in enumerate(CARRIERS if family == 6 else (), 1):
        kind[(starts >= np.uint64(carrier.value)) & (starts <= np.uint64(carrier.last))] += number
    border = np.append(True, kind[1:] != kind[:-1])  # where a run of one answer begins
    run = np.cumsum(border) - 1
    run_first = starts[border][run].tolist()
    run_last = np.append(starts[border][1:] - np.uint64(1), np.uint64((1 << bits) - 1))[run].tolist()
    tried = 0
    for first, last, low, high in zip(starts.tolist(), lasts.tolist(), run_first, run_last, strict=True):
        for value in {first, last, dice.randint(first, last)}:
            tried += 1
            scope = ranges.find(value)[1]
            if alone:
                assert scope == 0, f"{value:x}: the world has one answer, the scope is {scope}"
                continue
            size = 1 << (bits - scope)
            block = value & ~(size - 1)
            assert low <= block and block + size - 1 <= high, f"{value:x}/{scope} covers another answer"
            wider = value & ~(2 * size - 1)
            wide = wider < low or wider + 2 * size - 1 > high
            assert scope >= 1 and (scope == 1 or wide), f"{value:x}/{scope} is longer than it need be"
    return tried


def on_the_wire(plan: Plan, ttls: list[int], dice: random.Random, queries: int) -> None:
    responder = Responder(plan, ttls)
    name = name_to_wire("_http._tcp.select.scope.test")
    partition = plan.partitions[plan.nodes[name].entries[URI].partition]
    head = b"\0\1\0\0\0\1\0\0\0\0\0\1" + name + b"\1\0\0\1\0\0\x29\x04\xd0\0\0\0\0\0\x0c\0\x08\0\x08\0\1\x20\0"
    for _ in range(queries):
        address = dice.randbytes(4)
        reply = responder.respond(head + address, b"\x7f\0\0\1", 0)
        _, scope = partition.ranges4.find(int.from_bytes(address, "big"))
        assert reply is not None and reply[-5] == scope and reply[-4:] == address


def main(table_path: str, mirrors: int = 50, seed: int = 1) -> int:
    dice = random.Random(seed)
    table = open_table(Path(table_path))
    zone = random_zone(dice, mirrors)
    states = [State.UP] * 17 + [State.SLOW, State.LAGGING, State.DOWN]
    verdicts = {zone.name: {m.name: Verdict(dice.choice(states), 9.0) for m in zone.mirrors}}
    planner = Planner([zone], table, {})
    plan = planner.plan(verdicts, 1)
    for number, partition in enumerate(plan.partitions):
        both = {*np.unique(partition.ranges4.answers).tolist(), *np.unique(partition.ranges6.answers).tolist()}
        for family in (4, 6):
            began = time.monotonic()
            ranges = partition.family(family)
            tried = prove(ranges, family, len(both) == 1, dice)
            told = f"{len(ranges.starts):,} ranges, {len(both):,} answers, {tried:,} addresses"
            print(f"partition {number}, IPv{family}: {told}: exact; {time.monotonic() - began:.0f} s", flush=True)
    on_the_wire(plan, planner.ttls(plan, verdicts), dice, 200_000)
    print("200,000 random ECS queries: the scope on the wire is the plan's")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(int, sys.argv[2:])))
