"""What as-sets cost at full size: 53,268 of them, shaped as the world's were in 2023, from a dump to a plan.

    python bench/sets.py [--sets N]

The shape is RPSLyzer's (IMC 2024, 13 registries): 14.5 % empty, 32.7 % with one member, a quarter that nest, 3,050 in
loops, 772 with more than 10,000 members when expanded.  Members are invented, seeded, over 80,000 AS numbers; names
are real-looking.  Printed: seconds of this process and its peak memory so far; nothing is compared with a peer, for
none does this.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from mirrornet.dns.planning.plan import Planner
from mirrornet.model.expansion import expand
from mirrornet.model.place import UNKNOWN
from mirrornet.model.sets import NamedSet, Sets, encode
from mirrornet.model.table import WorldTable
from mirrornet.model.zone import Mirror, Select, Zone
from mirrornet.radb.fetch import DEFAULT_LIMITS
from mirrornet.radb.importer import import_radb
from mirrornet.radb.reading.dumps import read_dump
from mirrornet.radb.records import Records
from mirrornet.radb.report import ImportReport
from mirrornet.radb.sets.changes import compare
from mirrornet.radb.sets.closure import Numbering, components, join, size
from mirrornet.radb.sets.resolve import digest, resolve
from mirrornet.radb.sources import rank

ASNS = 80_000
T = TypeVar("T")


def dump(count: int) -> str:
    """RPSL text of `count` as-sets, and a route for each hundredth AS number."""
    dice = random.Random(1)
    numbers = [n for n in range(1, 400_000) if not 64_496 <= n <= 131_071 and n != 23_456]
    asns = dice.sample(numbers, ASNS)
    giants = count // 69  # 772 of 53,268
    names = [f"AS{asns[n % ASNS]}:AS-CUSTOMERS{n // ASNS or ''}" if n % 3 else f"AS-NET{n}" for n in range(count)]
    loops = count * 3050 // 53_268
    parts = []
    for number, name in enumerate(names):
        fate, members = dice.random(), []
        if number < giants:  # cones of transit networks: large lists, nested in each other
            members = [f"AS{a}" for a in dice.sample(asns, dice.choice([20, 200, 2000]))]
            members += [names[dice.randrange(giants)], names[giants + dice.randrange(loops)]]
            members += [names[dice.randrange(count)] for _ in range(dice.choice([5, 50, 200]))]
        elif number < giants + loops:
            members = [f"AS{dice.choice(asns)}", names[giants + (number - giants + 1) % loops]]
        elif fate < 0.145:
            members = []
        elif fate < 0.145 + 0.327:
            members = [f"AS{dice.choice(asns)}"]
        else:
            members = [f"AS{a}" for a in dice.sample(asns, dice.choice([2, 3, 5, 10, 40]))]
            if dice.random() < 0.35:
                members += [names[dice.randrange(giants + loops, count)] for _ in range(dice.choice([1, 2, 5]))]
        if members and dice.random() < 0.05:
            members += dice.choice([["AS-VANISHED"], ["192.0.2.0/24"], ["AS-ANY"], [name]])
        text = "".join(f"members:        {', '.join(members[at : at + 6])}\n" for at in range(0, len(members), 6))
        parts.append(f"as-set:         {name}\ndescr:          customers\n{text}mnt-by:         MAINT-{number}\n"
                     f"changed:        noc@as.example 20230101\nsource:         RADB\n")  # fmt: skip
    for number, asn in enumerate(asns[::100]):
        prefix = f"{11 + number % 80}.{number // 80}.0.0/16"
        parts.append(f"route:          {prefix}\norigin:         AS{asn}\nmnt-by:         M\nsource:         RADB\n")
    return "\n".join(parts) + "\n# EOF\n"


def timed(what: str, work: Callable[[], T]) -> T:
    """Does `work` and prints how long it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what:58} {time.perf_counter() - wall:7.2f} s {time.process_time() - cpu:7.2f} s CPU {peak:6.0f} MB peak")
    return found


def closure_sizes(sets: dict[str, NamedSet]) -> dict[str, int]:
    """How many members each set has, nested ones included."""
    numbering, unions, sizes = Numbering(), {}, {}
    for component in components(sets, lambda name: sets[name].sets if name in sets else ()):
        inside = [sets[name] for name in component if name in sets]
        below = {ref for one in inside for ref in one.sets}.difference(component)
        union = join([*(numbering.union_of(one.asns) for one in inside), *(unions[ref] for ref in below)])
        unions.update(dict.fromkeys(component, union))
        sizes.update(dict.fromkeys((one.name for one in inside), size(union)))
    return sizes


def changed(sets: dict[str, NamedSet], share: float) -> dict[str, NamedSet]:
    """`sets`, of which a share has lost half its members and got a stranger."""
    dice, made = random.Random(2), dict(sets)
    for name in dice.sample(sorted(sets), int(share * len(sets))):
        one = sets[name]
        asns = (*one.asns[::2], 999_999)
        made[name] = replace(one, asns=asns, digest=digest(asns, one.sets, one.prefixes))
    return made


def zone_of(names: list[str]) -> Zone:
    mirrors = tuple(
        Mirror(f"m{n}", f"http://m{n}.example/", (), UNKNOWN, prefer=(name,), never=(names[n - 1],))
        for n, name in enumerate(names)
    )
    select = (Select("select", "http://select.zone.test/"),)
    return Zone(Path("z"), "zone.test", "h@zone.test", 1, {}, None, select, mirrors)


def main() -> int:
    parser = argparse.ArgumentParser(description="What as-sets cost at full size.")
    parser.add_argument("--sets", type=int, default=53_268)
    count: int = parser.parse_args().sets
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "radb.db", Path(folder) / "world.table"
        text = timed("(making the dump)", lambda: dump(count))
        path.write_text(text)
        print(f"{count:,} as-sets, {len(text) / 1e6:.1f} MB")
        records, report = Records(), ImportReport()
        timed("reading", lambda: read_dump(str(path), records, report, lambda *_: None, False, DEFAULT_LIMITS, 1))
        resolved = timed("names and claims", lambda: resolve(records.sets, rank)).sets
        section = timed("encoding", lambda: encode(resolved.values()))
        print(f"section: {len(section) / 1e6:.1f} MB")
        old = Sets(section)
        timed("hold-back, nothing changed", lambda: compare(resolved, old))
        for share in (0.001, 0.01, 1.0):
            other = changed(resolved, share)
            found = timed(f"hold-back, {share:.1%} of the sets jumped", lambda other=other: compare(other, old))  # type: ignore[misc]
            print(f"    held: {len(found.held):,}; the section then: {len(encode(found.sets.values())) / 1e6:.1f} MB")
        sizes = timed("members of all sets", lambda: closure_sizes(resolved))
        order = sorted(sizes, key=sizes.__getitem__, reverse=True)
        over = sum(size > 10_000 for size in sizes.values())
        print(f"largest {sizes[order[0]]:,} members; {over:,} have over 10,000")
        number = old.find(order[0]) or 0
        timed("the largest alone, with the ways to its members", lambda: expand(old, number))
        timed("import, first", lambda: import_radb([str(path)], out, now=0.0))
        timed("import, again", lambda: import_radb([str(path)], out, now=0.0))
        table = WorldTable(out.read_bytes())
        zone = zone_of(order[:20])
        planner = timed("planner of 20 mirrors with the 20 largest sets", lambda: Planner([zone], table, {}))
        timed("a plan of them", lambda: planner.plan({}, 1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
