"""Write mirrornet/data/detours.py: how much longer than the great circle the way between two regions is.

    python scripts/make_detours.py FOLDER        # which holds region-rtt.csv and region-places.csv

Packets follow cables, and cables follow coasts and markets.  Two steps:

1. *The ways.*  ANCHORS are some fifty regions, each with the point where its networks meet; WAYS are the land routes
   and sea cables between them, which anyone can read off a map of cables.  A way is as long as the great circle
   between its ends unless a coast forces more (then its kilometres stand there).  THIN ways exist, but few networks buy
   capacity there (the trans-Siberian fibre, cables between two southern continents, borders that are closed half the
   time): they count twice.  The shortest path, less the great circle between its ends, is the detour.  Nothing of this
   was fitted but the number two (1.5 to 3 are nearly as good), though the set below was in view when ways were called
   thin.
2. *The correction.*  Against published round-trip times (region-rtt.csv, MIT) what remains is averaged over each pair
   of parts of the world, and shrunk towards nothing: where the less known of the two parts was measured in n regions,
   it counts n / (n + SHRINK).  A part known by one region is believed by a fifth, one not measured keeps its ways.

Leaving regions out, one at a time, shows what that is worth where nothing was measured: `make bench-nearest`.

Rejected: a mean for every pair of regions (better on the set it is made of, and no better beyond it); a factor in place
of kilometres (a detour by way of Marseille has one length, wherever in Kenya it starts).
"""

from __future__ import annotations

import csv
import heapq
import sys
import textwrap
from collections import defaultdict
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from statistics import linear_regression, mean

from mirrornet.model.place import great_circle_km

OUT = Path(__file__).resolve().parent.parent / "mirrornet" / "data" / "detours.py"
CELL = 2.5  # degrees
MS_PER_KM = 0.0125  # as in mirrornet/dns/ranking/estimate.py
THIN_FACTOR = 2
SHRINK = 4  # regions
STEP = 10  # kilometres; finer would be pretence

# region: latitude, longitude, part of the world
ANCHORS: dict[str, tuple[float, float, str]] = {
    "us-east": (38.9, -77.4, "north-america"),
    "us-southeast": (27.5, -81.5, "north-america"),
    "us-central": (41.5, -90.0, "north-america"),
    "us-south": (31.5, -97.5, "north-america"),
    "us-mountain": (39.7, -106.0, "north-america"),
    "us-west": (36.5, -120.5, "north-america"),
    "us-northwest": (47.0, -121.5, "north-america"),
    "canada-east": (44.5, -76.0, "north-america"),
    "hawaii": (21.3, -157.8, "north-america"),
    "mexico": (20.5, -100.4, "central-america"),
    "central-america": (11.5, -84.5, "central-america"),
    "caribbean": (18.4, -68.0, "central-america"),
    "andes": (-1.5, -77.5, "south-america"),
    "brazil-north": (-6.0, -38.0, "south-america"),
    "brazil-south": (-23.5, -47.5, "south-america"),
    "plata": (-34.0, -59.5, "south-america"),
    "chile": (-32.5, -71.0, "south-america"),
    "europe-west": (50.0, 4.5, "europe"),
    "europe-north": (59.5, 16.0, "europe"),
    "europe-east": (51.0, 23.0, "europe"),
    "europe-south": (42.5, 11.5, "europe"),
    "iberia": (39.5, -4.5, "europe"),
    "balkans": (42.0, 24.0, "europe"),
    "russia": (56.0, 42.0, "russia"),
    "siberia": (55.0, 85.0, "russia"),
    "central-asia": (42.5, 70.0, "russia"),
    "russia-east": (45.5, 133.0, "russia"),
    "anatolia": (40.0, 31.0, "middle-east"),
    "caucasus": (40.5, 45.5, "middle-east"),
    "levant": (32.3, 35.0, "middle-east"),
    "egypt": (30.2, 31.2, "middle-east"),
    "gulf": (25.3, 53.0, "middle-east"),
    "iran": (34.5, 51.5, "middle-east"),
    "maghreb": (35.0, 2.0, "africa"),
    "west-africa": (7.0, 1.5, "africa"),
    "central-africa": (-2.0, 14.0, "africa"),
    "east-africa": (-1.5, 37.0, "africa"),
    "southern-africa": (-27.5, 27.0, "africa"),
    "indian-ocean": (-20.5, 56.0, "africa"),
    "pakistan": (28.5, 68.5, "south-asia"),
    "india-west": (20.0, 74.5, "south-asia"),
    "india-south": (12.0, 79.0, "south-asia"),
    "india-north": (28.0, 78.5, "south-asia"),
    "bengal": (23.5, 89.5, "south-asia"),
    "singapore": (1.3, 103.9, "southeast-asia"),
    "indochina": (14.0, 101.5, "southeast-asia"),
    "vietnam": (15.5, 107.5, "southeast-asia"),
    "java": (-6.7, 108.5, "southeast-asia"),
    "philippines": (14.0, 121.2, "southeast-asia"),
    "hongkong": (22.6, 114.1, "east-asia"),
    "taiwan": (24.5, 121.0, "east-asia"),
    "china-east": (31.5, 119.0, "east-asia"),
    "china-north": (39.5, 116.5, "east-asia"),
    "korea": (36.5, 127.8, "east-asia"),
    "japan": (35.3, 137.8, "east-asia"),
    "guam": (13.5, 144.8, "oceania"),
    "australia-east": (-34.0, 149.5, "oceania"),
    "australia-west": (-31.95, 116.0, "oceania"),
    "new-zealand": (-38.5, 175.5, "oceania"),
    "pacific": (-17.0, 178.0, "oceania"),
}
NAMES = list(ANCHORS)
PART = [part for _, _, part in ANCHORS.values()]
# from: to, where "*" marks a thin way, and ":" kilometres where the great circle crosses what no cable does
WAYS = {
    "us-east": "us-central us-southeast us-northwest canada-east us-south us-west europe-west iberia brazil-south",
    "us-central": "us-south us-mountain us-northwest us-west canada-east",
    "us-mountain": "us-west us-northwest us-south",
    "us-south": "us-west us-southeast mexico",
    "us-west": "mexico us-northwest hawaii japan hongkong taiwan china-east australia-east new-zealand singapore:14500",
    "us-northwest": "japan",
    "us-southeast": "us-south us-central mexico central-america caribbean andes brazil-north",
    "canada-east": "europe-west",
    "hawaii": "guam australia-east new-zealand pacific*",
    "mexico": "central-america",
    "caribbean": "brazil-north* andes*",
    "andes": "central-america* chile*",
    "brazil-south": "brazil-north plata",
    "plata": "chile*",
    "iberia": "brazil-north* west-africa:5800 southern-africa:11000 maghreb",
    "europe-west": "europe-north europe-east europe-south iberia balkans maghreb",
    "europe-north": "europe-east russia",
    "europe-east": "balkans europe-south russia",
    "europe-south": "iberia balkans egypt levant maghreb",
    "balkans": "anatolia",
    "russia": "siberia caucasus central-asia*",
    "siberia": "russia-east* china-north* central-asia*",
    "anatolia": "caucasus iran* gulf*",
    "caucasus": "iran*",
    "egypt": "levant* gulf*:4300 east-africa*:5200 india-west:5200 maghreb*",
    "gulf": "india-west pakistan iran* east-africa*:4500",
    "west-africa": "central-africa* southern-africa*:6000",
    "southern-africa": "central-africa*:4200 east-africa:4200 indian-ocean*",
    "east-africa": "india-west*:5300 central-africa*",
    "indian-ocean": "india-south*",
    "india-west": "india-south india-north singapore:4700",
    "india-south": "singapore bengal",
    "bengal": "india-north singapore*:3600",
    "singapore": "indochina java hongkong vietnam philippines japan australia-west australia-east:7000",
    "indochina": "hongkong vietnam",
    "vietnam": "hongkong",
    "philippines": "hongkong japan guam*",
    "hongkong": "taiwan japan china-east",
    "china-east": "china-north japan",
    "china-north": "korea",
    "japan": "taiwan korea russia-east* guam australia-east:8300",
    "australia-east": "new-zealand australia-west guam* pacific",
    "new-zealand": "pacific*",
}
HEAD = '''"""How much longer than the great circle the way between two regions of the Earth is, in kilometres.

Made by scripts/make_detours.py, which says how: the routes of land and sea cables, corrected by what {count} published
round-trip times (region-rtt.csv, MIT) have in common.  Do not edit.

`MAP` has a letter for every {cell} degrees, north-west first: of LETTERS and REGIONS the one whose middle is nearest.
"""

# ruff: noqa: E501
from __future__ import annotations

from typing import Final

# fmt: off
CELL: Final = {cell}  # degrees
LETTERS: Final = "{letters}"
'''
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
Detours = tuple[tuple[int, ...], ...]
RoundTrips = Mapping[tuple[str, str], float]
Places = Mapping[str, tuple[float, float]]


def paths() -> dict[tuple[str, str], float]:
    """Kilometres of the shortest way between any two regions (Dijkstra)."""
    links: dict[str, dict[str, float]] = defaultdict(dict)
    for one, text in WAYS.items():
        for word in text.split():
            name, _, km = word.partition(":")
            thin, name = name.endswith("*"), name.rstrip("*")
            direct = great_circle_km(*ANCHORS[one][:2], *ANCHORS[name][:2])
            if km and float(km) < direct:
                raise SystemExit(f"{one} to {name}: {km} km is less than the great circle's {direct:.0f}")
            length = (float(km) if km else direct) * (THIN_FACTOR if thin else 1)
            links[one][name] = links[name][one] = length
    found = {}
    for start in NAMES:
        heap, done = [(0.0, start)], set[str]()
        while heap:
            km_so_far, here = heapq.heappop(heap)
            if here in done:
                continue
            done.add(here)
            found[start, here] = km_so_far
            for there, length in links[here].items():
                heapq.heappush(heap, (km_so_far + length, there))
        if len(done) != len(NAMES):
            raise SystemExit(f"no way from {start} to {set(NAMES) - done}")
    return found


@cache
def by_ways() -> Detours:
    """The detours that the ways alone tell."""
    km = paths()
    return tuple(
        tuple(max(0, _rounded(km[one, two] - great_circle_km(*ANCHORS[one][:2], *ANCHORS[two][:2]))) for two in NAMES)
        for one in NAMES
    )


def read(folder: Path, rtt: str = "region-rtt.csv", places: str = "region-places.csv") -> tuple[RoundTrips, Places]:
    """(ms by pair of names, coordinates by name) from two CSV files: from,to,rtt_ms and region,lat,lon."""
    with (folder / places).open(newline="", encoding="utf-8") as file:
        where = {row["region"]: (float(row["lat"]), float(row["lon"])) for row in csv.DictReader(file)}
    with (folder / rtt).open(newline="", encoding="utf-8") as file:
        rows = [(row["from"], row["to"], float(row["rtt_ms"])) for row in csv.DictReader(file)]
    return {(a, b): ms for a, b, ms in rows if a in where and b in where and a != b}, where


def fitted(trips: RoundTrips, places: Places, without: Collection[str] = ()) -> Detours:
    """The detours of the ways, corrected by `trips` but for those from or to a name in `without`."""
    ways = by_ways()
    rows = []
    for (one, two), ms in trips.items():
        if one in without or two in without or (one > two and (two, one) in trips):
            continue
        regions = _region(*places[one]), _region(*places[two])
        km = great_circle_km(*places[one], *places[two])
        rows.append((regions, km, km + min(ways[regions[0]][regions[1]], 3 * km), ms))
    slope, base = linear_regression([row[2] for row in rows], [row[3] for row in rows])
    left: dict[tuple[str, str], dict[tuple[int, int], list[float]]] = defaultdict(lambda: defaultdict(list))
    for (one, two), km, way, ms in rows:
        for pair in {(one, two), (two, one)}:
            if PART[one] != PART[two]:
                left[PART[pair[0]], PART[pair[1]]][pair].append((ms - base - slope * way) * min(1.0, km / 1000))
    shift = {}
    for parts, pairs in left.items():
        seen = min(len({one for one, _ in pairs}), len({two for _, two in pairs}))
        shift[parts] = mean(map(mean, pairs.values())) * seen / (seen + SHRINK) / MS_PER_KM
    count = range(len(NAMES))
    return tuple(tuple(_rounded(ways[i][j] + shift.get((PART[i], PART[j]), 0.0)) for j in count) for i in count)


def _rounded(km: float) -> int:
    return round(km / STEP) * STEP


def nearest(latitude: float, longitude: float) -> int:
    """The region whose anchor is nearest."""
    return min(range(len(NAMES)), key=lambda i: great_circle_km(latitude, longitude, *ANCHORS[NAMES[i]][:2]))


def _region(latitude: float, longitude: float) -> int:
    row, column = int((90 - latitude) / CELL), int((longitude + 180) / CELL)
    return LETTERS.index(world_map()[min(row, int(180 / CELL) - 1)][column % int(360 / CELL)])


@cache
def world_map() -> list[str]:
    """A row of letters for each CELL degrees of latitude, from the North Pole, and from 180 degrees west."""
    return [
        "".join(
            LETTERS[nearest(90 - (row + 0.5) * CELL, -180 + (column + 0.5) * CELL)] for column in range(int(360 / CELL))
        )
        for row in range(int(180 / CELL))
    ]


def main(folder: str) -> None:
    trips, places = read(Path(folder))
    detours = fitted(trips, places)
    lines = [HEAD.format(count=f"{len(trips):,}", cell=CELL, letters=LETTERS[: len(NAMES)])]
    lines.append("REGIONS: Final = (\n" + _wrapped(", ".join(f'"{name}"' for name in NAMES) + ",") + ")\n")
    lines.append("MAP: Final = (\n" + "".join(f'    "{row}",\n' for row in world_map()) + ")\n")
    lines.append("# Kilometres between each region and those before it.\n_BELOW: Final = (\n")
    for i, row in enumerate(detours):
        text = textwrap.fill(
            "(" + "".join(f"{km}, " for km in row[:i]).rstrip() + "),",
            112,
            subsequent_indent=" ",
            break_on_hyphens=False,
        )
        lines.append(textwrap.indent(f"{text}  # {NAMES[i]}\n", "    "))
    lines.append(")\n# fmt: on\n")
    lines.append(
        "DETOURS: Final[tuple[tuple[int, ...], ...]] = tuple(\n"
        "    tuple(0 if i == j else _BELOW[max(i, j)][min(i, j)] for j in range(len(REGIONS)))"
        " for i in range(len(REGIONS))\n)\n"
    )
    OUT.write_text("".join(lines), encoding="utf-8")
    print(f"{len(NAMES)} regions, {len(trips):,} round trips")


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 118, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False) + "\n"


if __name__ == "__main__":
    main(*sys.argv[1:])
