"""Countries' outlines for the map of the status page, and the projection that they are drawn in.

`outlines.txt`, made by scripts/make_outlines.py, has a line for each country, its two letters and the path of an SVG
`<path>`, and a last one, `--`, with the borders between countries, each once.  From Natural Earth 1:110m (public
domain), so countries smaller than some thousand square kilometres are not in it.

The projection is Patterson's (Patterson, Šavrič, Jenny 2015, doi:10.14714/CP78.1270): cylindrical, shapes familiar,
and Europe, where mirrors lie close together, a good deal larger than on a map of equal areas.  Its edge lies in the
Bering Strait, at 169° W, so it cuts nothing in two.  Antarctica is left out.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).with_name("outlines.txt")
BORDERS: Final = "--"  # the key of the borders

MIDDLE: Final = 11.0  # degrees east
NORTH, SOUTH = 84.0, -56.5  # degrees: the map's upper and lower edge
WIDTH: Final = 2000  # the map's own units; so is HEIGHT
_SCALE: Final = WIDTH / (2 * math.pi)


def _north(latitude: float) -> float:
    phi = math.radians(latitude)
    square = phi * phi
    return phi * (1.0148 + square * square * (0.23185 + square * (-0.14499 + square * 0.02406)))


HEIGHT: Final = round((_north(NORTH) - _north(SOUTH)) * _SCALE)


def project(latitude: float, longitude: float) -> tuple[float, float]:
    """(x, y) on the map, from its upper left corner; what is north or south of its edges is drawn on them."""
    x = (longitude - MIDDLE + 180.0) % 360.0 / 360.0 * WIDTH
    return x, (_north(NORTH) - _north(min(NORTH, max(SOUTH, latitude)))) * _SCALE


def outlines() -> dict[str, str]:
    """SVG path data by country (two letters), and of BORDERS."""
    lines = FILE.read_text(encoding="ascii").splitlines()
    return dict(line.split(" ", 1) for line in lines if not line.startswith("#"))
