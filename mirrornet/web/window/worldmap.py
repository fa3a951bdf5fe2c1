"""The map: each mirror where it is, marked by its state, and the countries it serves in its tint.  Pure.

A country has the tint of the mirror that most of its addresses are sent to; the others are told by its tooltip and by
the table.  There are six tints, dealt out so that mirrors near each other have different ones; light ones, since
marks and names lie on them.  Names are written where there is room, the mirrors first that serve the most, once in the
size for a wide screen and once for a phone (the style sheet shows one of the two); who has no room is in the table.

Rejected: lines from each mirror to its countries (with ten mirrors they hide the map), and cells around the mirrors (a
ranking by cables and measurements has no such borders).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from math import hypot
from typing import Final

from mirrornet.data.countries import COUNTRIES
from mirrornet.data.outlines import BORDERS, HEIGHT, WIDTH, outlines, project
from mirrornet.model.place import Place
from mirrornet.model.regions import Regions
from mirrornet.model.zone import Select
from mirrornet.web.status import ZoneStatus
from mirrornet.web.window.marks import colour, shape, sign
from mirrornet.web.window.words import percent

TINTS: Final = 6
_BESIDE: Final = 26  # units between two mirrors in one place
_ROW: Final = 8  # so many of them in a row; beyond as many rows they lie on each other
_NAMED: Final = 80  # mirrors whose names are tried
_TOLD: Final = 3  # mirrors in a country's tooltip
_WIDE, _NARROW = 27, 62  # units: the height of names on a wide screen, and on a phone


@dataclass(frozen=True, slots=True)
class Spot:
    """A mirror on the map, in its units."""

    name: str
    x: float
    y: float
    sign: str
    tint: int


def spots(status: ZoneStatus) -> list[Spot]:
    """The mirrors whose place says where they are; those in one place side by side."""
    taken: set[tuple[int, int]] = set()
    found: list[Spot] = []
    for mirror in status.zone.mirrors:
        at = point(status.place(mirror))
        if at is None:
            continue
        for n in range(_ROW * _ROW):
            x, y = at[0] + n % _ROW * _BESIDE, at[1] + n // _ROW * _BESIDE
            x, y = min(x, WIDTH - _BESIDE), min(y, HEIGHT - _BESIDE)
            if (round(x / _BESIDE), round(y / _BESIDE)) not in taken:
                break
        taken.add((round(x / _BESIDE), round(y / _BESIDE)))
        found.append(Spot(mirror.name, x, y, sign(status.verdict(mirror)), _tint(x, y, found)))
    return found


def point(place: Place) -> tuple[float, float] | None:
    """Where a place is on the map, by its coordinates or else its country; None where nobody knows."""
    if place.latitude is not None and place.longitude is not None:
        return project(place.latitude, place.longitude)
    country = COUNTRIES.get(place.country)
    return None if country is None else project(country.latitude, country.longitude)


def _tint(x: float, y: float, before: Sequence[Spot]) -> int:
    """The tint whose mirrors are farthest away from (x, y)."""
    nearest = [float("inf")] * TINTS
    for spot in before[-500:]:
        nearest[spot.tint] = min(nearest[spot.tint], hypot(x - spot.x, y - spot.y))
    return max(range(TINTS), key=lambda tint: (nearest[tint], -tint))


def render(number: int, status: ZoneStatus, select: Select) -> str:
    """The map of the zone that is `number`th on its page, with the regions of `select`."""
    mirrors, regions = spots(status), status.regions.get(select.name, Regions())
    tints = {spot.name: spot.tint for spot in mirrors}
    weights = {name: share for served in (regions.shares.get(4, {}),) for name, share in served.items()}
    order = sorted(mirrors, key=lambda spot: -weights.get(spot.name, 0.0))[:_NAMED]
    out = sum(not status.verdict(mirror).usable for mirror in status.zone.mirrors)
    name = status.zone.select_fqdn(select)
    label = f"World map: {len(mirrors)} mirrors for {name}, {out} of them out; the table says the same"
    return (
        f'<svg class="map" viewBox="0 0 {WIDTH} {HEIGHT}" role="group" aria-label="{escape(label)}">'
        f'<g class="land">{_land(regions, tints)}</g>'
        '<use class="borders" href="#borders"/><g class="asked"></g>'
        f"{''.join(_spot(number, spot) for spot in mirrors)}"
        f'<g class="names wide" aria-hidden="true">{_names(order, mirrors, _WIDE, 11)}</g>'
        f'<g class="names narrow" aria-hidden="true">{_names(order, mirrors, _NARROW, 26)}</g></svg>'
    )


@cache
def shapes() -> str:
    """The outlines, once for a page; each map uses them."""
    drawn = "".join(f'<path id="{_shape(code)}" d="{path}"/>' for code, path in outlines().items())
    return f'<svg class="symbols" aria-hidden="true"><defs>{drawn}</defs></svg>'


def _shape(code: str) -> str:
    return "borders" if code == BORDERS else f"land-{code}"


@cache
def _codes() -> tuple[str, ...]:
    return tuple(code for code in outlines() if code != BORDERS)


def _land(regions: Regions, tints: Mapping[str, int]) -> str:
    return "".join(_country(code, regions, tints) for code in _codes())


def _country(code: str, regions: Regions, tints: Mapping[str, int]) -> str:
    served = regions.countries.get(code, {})
    chief = regions.chief(code)
    whole = sum(served.values())
    name = COUNTRIES[code].name if code in COUNTRIES else code
    if not whole:
        return f'<use href="#{_shape(code)}"/>'
    order = sorted(served, key=lambda mirror: (-served[mirror], mirror))
    told = ", ".join(f"{mirror} {percent(served[mirror] / whole)}" for mirror in order[:_TOLD])
    tint = f' class="tint{tints[chief]}"' if chief in tints else ""
    by = f'{tint} data-by="{escape(chief)}"'
    return f'<use href="#{_shape(code)}"{by}><title>{escape(f"{name}: {told}")}</title></use>'


def _spot(number: int, spot: Spot) -> str:
    """A link to the mirror's row of the table: so the keyboard gets there, too."""
    said = escape(f"{spot.name}: {spot.sign}")
    return (
        f'<a class="spot" href="#mirror-{number}-{escape(spot.name)}" data-mirror="{escape(spot.name)}" '
        f'data-x="{spot.x:.0f}" data-y="{spot.y:.0f}" aria-label="{said}">'
        f'<g transform="translate({spot.x:.0f} {spot.y:.0f})">'
        f'<path class="{colour(spot.sign)}" fill-rule="evenodd" d="{shape(spot.sign)}"/></g><title>{said}</title></a>'
    )


def _names(order: Iterable[Spot], mirrors: Sequence[Spot], height: float, radius: float) -> str:
    boxes = [(s.x - radius, s.y - radius, s.x + radius, s.y + radius) for s in mirrors]
    drawn = []
    for spot in order:
        width = len(spot.name) * height * 0.58
        for x, y, anchor in _beside(spot, width, height, radius * 1.6):
            box = (x, y - height, x + width, y + height * 0.2)
            if box[0] < 0 or box[2] > WIDTH or box[1] < 0 or box[3] > HEIGHT:
                continue
            if not any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in boxes):
                boxes.append(box)
                at = {"start": x, "middle": x + width / 2, "end": x + width}[anchor]
                drawn.append(f'<text x="{at:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(spot.name)}</text>')
                break
    return "".join(drawn)


def _beside(spot: Spot, width: float, height: float, gap: float) -> Iterable[tuple[float, float, str]]:
    """Places for a name: its left end and base line, and which end of it is fixed."""
    middle = spot.y + height * 0.35
    yield spot.x + gap, middle, "start"
    yield spot.x - gap - width, middle, "end"
    yield spot.x - width / 2, spot.y - gap, "middle"
    yield spot.x - width / 2, spot.y + gap + height * 0.8, "middle"
    for rise in (-height, height):
        yield spot.x + gap * 0.7, middle + rise, "start"
        yield spot.x - gap * 0.7 - width, middle + rise, "end"
