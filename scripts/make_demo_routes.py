"""Write zones/demo/routes.db and zones/demo/delegated.txt: real prefixes with their real origins, on five continents.

    python scripts/make_demo_routes.py ASN4.csv ASN6.csv DELEGATED.txt.gz

Sources: prefix and origin from the ip-location-db package "asn" (RouteViews, routeviews.org, and DB-IP, db-ip.com;
CC BY 4.0; its files asn-ipv4.csv and asn-ipv6.csv); country from the RIRs' delegated-extended statistics (NRO).
The objects have the form that IRRd exports for RADB; maintainer names are invented after the origin's number.
"""

from __future__ import annotations

import csv
import gzip
import sys
from bisect import bisect_right
from collections import defaultdict
from ipaddress import ip_address, ip_network, summarize_address_range
from pathlib import Path

OUT = Path(__file__).resolve().parent.parent / "zones" / "demo"
_EACH = "JP KR IN SG TW ID AE TH DE FR GB NL PL SE IT ES US CA MX BR AR CL CO PE ZA EG NG KE MA TN AU NZ"
COUNTRIES = _EACH.split()
WANTED = {"203.178.128.0/17", "2.160.0.0/12", "200.160.0.0/20", "155.232.0.0/16", "133.0.0.0/8", "2001:200::/32"}
PER_COUNTRY4, PER_COUNTRY6 = 14, 4


def main(table4: str, table6: str, statistics: str) -> None:
    starts, rows = {4: [], 6: []}, {4: [], 6: []}
    with gzip.open(statistics, "rt") as lines:
        for line in lines:
            fields = line.strip().split("|")
            if len(fields) < 8 or fields[2] not in ("ipv4", "ipv6") or fields[1] == "*":
                continue
            first = int(ip_address(fields[3]))
            family = 4 if fields[2] == "ipv4" else 6
            size = int(fields[4]) if family == 4 else 1 << (128 - int(fields[4]))
            starts[family].append(first)
            rows[family].append((first, first + size - 1, fields[1], line.strip()))
    chosen, used = [], set()
    for family, path, per_country in ((4, table4, PER_COUNTRY4), (6, table6, PER_COUNTRY6)):
        best = defaultdict(dict)
        with Path(path).open(newline="", encoding="utf-8") as table:
            for first_text, last_text, asn, name in csv.reader(table):
                first, last = ip_address(first_text), ip_address(last_text)
                networks = list(summarize_address_range(first, last))
                if len(networks) != 1 or not (8 <= networks[0].prefixlen <= (24 if family == 4 else 48)):
                    continue
                index = bisect_right(starts[family], int(first)) - 1
                if index < 0:
                    continue
                begin, end, country, line = rows[family][index]
                if country not in COUNTRIES or not (begin <= int(first) and int(last) <= end):
                    continue
                network = networks[0]
                entry = (str(network) not in WANTED, network.prefixlen, int(network.network_address), asn, name, line)
                if asn not in best[country] or entry < best[country][asn]:
                    best[country][asn] = entry
        for country in COUNTRIES:
            for _, length, address, asn, name, line in sorted(best[country].values())[:per_country]:
                network = ip_network((address, length))
                chosen.append((network, asn, name))
                used.add(line)
    chosen.sort(key=lambda row: (row[0].version, row[0]))
    with (OUT / "routes.db").open("w", encoding="utf-8", newline="\n") as out:
        out.write(
            "% A sample of real prefixes and origins, in the form of an IRR export.\n"
            "% Made by scripts/make_demo_routes.py from ip-location-db's asn (RouteViews, DB-IP; CC BY 4.0).\n"
            "% Maintainer names are invented.\n\n"
        )
        for network, asn, name in chosen:
            kind = "route" if network.version == 4 else "route6"
            name = " ".join(name.split()).encode("ascii", "replace").decode()
            for attribute, value in (
                (kind, network),
                ("descr", name),
                ("origin", f"AS{asn}"),
                ("mnt-by", f"MAINT-AS{asn}"),
                ("source", "RADB"),
            ):
                out.write(f"{attribute + ':':<16}{value}\n")
            out.write("\n")
        out.write("# EOF\n")
    with (OUT / "delegated.txt").open("w", encoding="utf-8", newline="\n") as out:
        out.write(f"2|nro|20260617|{len(used)}|19830705|20260617|+0000\n")
        out.write("".join(f"{line}\n" for line in sorted(used)))
    print(f"{len(chosen)} prefixes, {len(used)} delegated blocks")


if __name__ == "__main__":
    main(*sys.argv[1:])
