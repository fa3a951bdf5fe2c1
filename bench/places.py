"""How many public resolvers a world.table places in the right country, and how many it cannot place.

    python bench/places.py world.table resolvers.csv

resolvers.csv has the columns ip, country, anycast.  The look-up is that of `mirrornet explain`.  The country in the
list is where the resolver answers from, so anycast ones are counted apart: theirs is one country of many.  Beside it,
1,000 random addresses are looked up in the table and in the tries built from it, which must agree.
"""

from __future__ import annotations

import csv
import random
import sys
from collections import Counter
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from mirrornet.app.world import open_table
from mirrornet.model.address import parse_address
from mirrornet.radb.compiling.tries import Tries


def main(table_path: str, resolvers_path: str) -> int:
    table = open_table(Path(table_path))
    counts: dict[str, Counter[str]] = {"unicast": Counter(), "anycast": Counter()}
    with Path(resolvers_path).open(newline="", encoding="utf-8") as rows:
        for row in csv.DictReader(rows):
            place = table.match(parse_address(row["ip"])).place
            fate = (
                "not placed" if not place.country else "right" if place.country == row["country"] else "another country"
            )
            counts["anycast" if row["anycast"] == "True" else "unicast"][fate] += 1
    for kind, fates in counts.items():
        total = sum(fates.values())
        shares = ", ".join(
            f"{fate} {count} ({100 * count / max(total, 1):.1f} %)" for fate, count in fates.most_common()
        )
        print(f"{kind:8} {total:6,} resolvers: {shares}")
    dice = random.Random(1)
    tries = Tries.of_table(table)
    samples = [IPv4Address(dice.getrandbits(32)) for _ in range(700)]
    samples6 = [IPv6Address(dice.getrandbits(125) | 1 << 125) for _ in range(300)]
    different = [address for address in [*samples, *samples6] if tries.match(address) != table.match(address)]
    print(f"1,000 random addresses by trie and by table: {len(different)} differ")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
