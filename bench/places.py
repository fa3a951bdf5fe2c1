"""How many public resolvers a world.table places in the right country, and what the ranking makes of it.

    python bench/places.py world.table resolvers.csv [mirrors.csv]

resolvers.csv has the columns ip, country, anycast.  The look-up is that of `mirrornet explain`.  The country in the
list is where the resolver answers from, so anycast ones are counted apart: theirs is one country of many.  Beside it,
1,000 random addresses are looked up in the table and in the tries built from it, which must agree.

With mirrors.csv (host, country, lat, lon), MIRRORS of its mirrors are drawn, and the resolvers that get the `anywhere`
class counted, those whose place is believed although they are anycast (`import-radb --anycast` and `--geofeed` mend
that), and those for whom each term of an estimate changes who is first or who stands in A: the detours against the
great circle, and AS hops where the table has relationships.
"""

from __future__ import annotations

import csv
import random
import sys
from collections import Counter
from functools import cache
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from mirrornet.app.server.worlds.world import open_table
from mirrornet.data.detours import REGIONS
from mirrornet.dns.planning.hops import graph_of
from mirrornet.dns.ranking.nearest import Ranking, rank
from mirrornet.dns.ranking.terms import NO_TERMS, Terms
from mirrornet.model.address import parse_address
from mirrornet.model.place import Place
from mirrornet.model.table import WorldTable
from mirrornet.model.verdict import State, Verdict
from mirrornet.model.zone import Mirror, Select
from mirrornet.radb.compiling.tries import Tries

MIRRORS = 20


def main(table_path: str, resolvers_path: str, mirrors_path: str = "") -> int:
    table = open_table(Path(table_path))
    counts: dict[str, Counter[str]] = {"unicast": Counter(), "anycast": Counter()}
    places: dict[str, list[Place]] = {"unicast": [], "anycast": []}
    with Path(resolvers_path).open(newline="", encoding="utf-8") as rows:
        for row in csv.DictReader(rows):
            place = table.match(parse_address(row["ip"])).place
            fate = (
                "not placed" if not place.country else "right" if place.country == row["country"] else "another country"
            )
            kind = "anycast" if row["anycast"] == "True" else "unicast"
            counts[kind][fate] += 1
            places[kind].append(place)
    for kind, fates in counts.items():
        total = sum(fates.values())
        shares = ", ".join(
            f"{fate} {count} ({100 * count / max(total, 1):.1f} %)" for fate, count in fates.most_common()
        )
        placed = total - fates["not placed"]
        print(f"{kind:8} {total:6,} resolvers: with a place {100 * placed / max(total, 1):.1f} %; {shares}")
    if mirrors_path:
        rankings(table, Path(mirrors_path), places)
    dice = random.Random(1)
    tries = Tries.of_table(table)
    samples = [IPv4Address(dice.getrandbits(32)) for _ in range(700)]
    samples6 = [IPv6Address(dice.getrandbits(125) | 1 << 125) for _ in range(300)]
    different = [address for address in [*samples, *samples6] if tries.match(address) != table.match(address)]
    print(f"1,000 random addresses by trie and by table: {len(different)} differ")
    return 1 if different else 0


def rankings(table: WorldTable, path: Path, places: dict[str, list[Place]]) -> None:
    """Prints what becomes of resolvers at `places` under mirrors drawn from `path`."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = random.Random(1).sample(list(csv.DictReader(file)), MIRRORS)
    mirrors = [
        Mirror(
            f"m{number:02}",
            f"http://{row['host']}/",
            (IPv4Address(0xC0000200 + number),),
            Place(int((row["asns"].split() or ["0"])[0]), row["country"], float(row["lat"]), float(row["lon"])),
        )
        for number, row in enumerate(rows)
    ]
    select, verdicts = Select("select", "http://select.test/"), {m.name: Verdict(State.UP, 30.0) for m in mirrors}
    graph = graph_of(table)
    straight = Terms(detours=[[0] * len(REGIONS)] * len(REGIONS))
    hops = None if graph is None else Terms(hops={m.place.asn: graph.hops(m.place.asn) for m in mirrors})

    @cache
    def ranking(place: Place, terms: str) -> Ranking:
        by_name = {"": NO_TERMS, "detours": straight, "AS hops": hops or NO_TERMS}
        return rank(place, select, mirrors, verdicts, terms=by_name[terms])

    for kind, found in places.items():
        total = max(len(found), 1)
        here = [(place, ranking(place, "")) for place in found]
        anywhere = sum(one.anywhere for _, one in here)
        print(
            f"{kind:8} {len(found):6,} resolvers and {MIRRORS} mirrors: {100 * anywhere / total:.1f} % anywhere", end=""
        )
        if kind == "anycast":
            print(f", {100 * (total - anywhere) / total:.1f} % believed in one place", end="")
        for term in ("detours",) if hops is None else ("detours", "AS hops"):
            other = [(one, ranking(place, term)) for place, one in here]
            first = sum(a.ordered[0] != b.ordered[0] for a, b in other)
            near = sum(set(a.near[4]) != set(b.near[4]) for a, b in other)
            print(f"; {term} change the first of {100 * first / total:.1f} %, A of {100 * near / total:.1f} %", end="")
        print("" if hops is not None else "; the table has no AS relationships")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
