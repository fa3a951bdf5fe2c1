"""The map as numpy columns: what the planner computes on.

A zone's ground is world.table with the zone's own `places:` laid over it: per family the starts of the ranges and the
number of each range's place, and the places as columns.  Ranges are cut at the borders of the operator's prefixes, and
neighbours with one place are joined, since only places matter from here on.

Where policy goes by addresses (prefixes, route-sets, pins), ranges are cut at the borders of its wards as well, and a
place that lies in several wards becomes as many rows: two addresses of one place are answered apart there.

Without a table all addresses are one range of the unknown place.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mirrornet.data.countries import COUNTRIES
from mirrornet.dns.planning.wards import Wards
from mirrornet.dns.ranking import rendezvous
from mirrornet.dns.ranking.policy import NOTHING, Held
from mirrornet.dns.ranking.whereabouts import overlaid
from mirrornet.model.address import Family, width
from mirrornet.model.place import UNKNOWN, Place
from mirrornet.model.table import WorldTable, encode_place
from mirrornet.model.zone import PlaceOverride, Zone

Numbers = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

# One record of world.table's places (model/table.py); the country's two letters are read as one big-endian number.
_RECORD: Final = np.dtype(
    {
        "names": ["asn", "country", "flags", "latitude", "longitude", "radius"],
        "formats": ["<u4", ">u2", "u1", "<f4", "<f4", "<u2"],
        "offsets": [0, 4, 6, 8, 12, 16],
        "itemsize": 32,
    }
)
_KNOWN: Final = 1
_ANYCAST: Final = 2


def mix(values: Keys) -> Keys:
    """rendezvous.mix() for many numbers at once; 64 bits wrap around by nature."""
    values = values + np.uint64(rendezvous.GAMMA)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(rendezvous.FIRST)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(rendezvous.SECOND)
    return values ^ (values >> np.uint64(31))


@dataclass(frozen=True, slots=True)
class Columns:
    """Places, located (estimate.py), one element each.

    `known`: distance means something; `keys`: rendezvous keys; `wards`: numbers of their wards, 0 for none.
    """

    asns: Numbers
    countries: Numbers
    latitudes: Floats
    longitudes: Floats
    radii: Numbers
    known: Flags
    keys: Keys
    wards: Numbers

    def __len__(self) -> int:
        return len(self.asns)

    def warded(self, rows: Numbers, wards: Numbers) -> Columns:
        """These places and, after them, those at `rows` once more, in `wards`."""
        every = np.concatenate([np.arange(len(self)), rows])
        taken: dict[str, Any] = {one.name: getattr(self, one.name)[every] for one in fields(self)}
        return Columns(**taken | {"wards": np.concatenate([self.wards, wards])})


def columns(records: bytes | memoryview, exact: Sequence[Place] = ()) -> Columns:
    """The columns of world.table's place `records` and, after them, of `exact`, whose coordinates are not rounded."""
    packed = bytes(records) + b"".join(map(encode_place, exact)) if exact else records
    table = np.frombuffer(packed, _RECORD) if len(packed) else np.empty(0, _RECORD)
    latitudes = table["latitude"].astype(np.float64)
    longitudes = table["longitude"].astype(np.float64)
    radii = table["radius"].astype(np.int64)
    coordinates = (table["flags"] & _KNOWN) != 0
    first_exact = len(table) - len(exact)
    for index, place in enumerate(exact, first_exact):
        latitudes[index], longitudes[index] = place.latitude or 0.0, place.longitude or 0.0
        radii[index] = place.radius_km
    countries = table["country"].astype(np.int64)
    for number in np.unique(countries[~coordinates]):
        country = COUNTRIES.get(int(number).to_bytes(2, "big").decode("ascii", "replace"))
        if country is not None:
            rows = ~coordinates & (countries == number)
            latitudes[rows], longitudes[rows], radii[rows] = country.latitude, country.longitude, country.radius_km
            coordinates = coordinates | rows
    asns = table["asn"].astype(np.int64)
    names = (asns << 32 | countries).astype(np.uint64)
    points = _bits(latitudes) << np.uint64(32) | _bits(longitudes)
    known = coordinates & ((table["flags"] & _ANYCAST) == 0)
    return Columns(asns, countries, latitudes, longitudes, radii, known, mix(names) ^ mix(points), np.zeros_like(asns))


def _bits(degrees: Floats) -> Keys:
    # adding 0.0 makes one zero of two
    return (degrees + 0.0).astype("<f4").view("<u4").astype(np.uint64)


@dataclass(frozen=True, slots=True)
class Layer:
    """One family: range i starts at starts[i] and is of place places[i].  Neighbours differ in place."""

    starts: Keys
    places: Numbers


@dataclass(frozen=True, slots=True)
class Ground:
    """A zone's map.  `wards`: what the numbers of `columns.wards` mean."""

    columns: Columns
    layers: dict[Family, Layer]
    wards: tuple[Held, ...] = (NOTHING,)
    number: int = field(default_factory=itertools.count().__next__)  # no two have the same


def ground(table: WorldTable | None, zone: Zone, wards: Wards | None = None) -> Ground:
    """The map that `zone` goes by, cut along `wards`."""
    families: tuple[Family, Family] = (4, 6)
    extra: dict[Place, int] = {}
    count = 1 if table is None else table.place_count
    layers = {}
    for family in families:
        if table is None:
            layer = Layer(np.zeros(1, np.uint64), np.zeros(1, np.int64))
        else:
            ranges = table.ranges[family]
            layer = Layer(np.asarray(ranges.starts).astype(np.uint64), np.asarray(ranges.places).astype(np.int64))
        overrides = [o for o in zone.places if o.prefix.family == family]
        if overrides:
            layer = _overlaid(layer, overrides, table, count, extra)
        layers[family] = layer
    found = columns(encode_place(UNKNOWN) if table is None else table.place_records, list(extra))
    if wards is not None and len(wards.held) > 1:
        layers, rows, theirs = cut(len(found), layers, wards)
        found = found.warded(rows, theirs)
    held = (NOTHING,) if wards is None else wards.held
    return Ground(found, {family: _joined(layer) for family, layer in layers.items()}, held)


def _joined(layer: Layer) -> Layer:
    keep = np.ones(len(layer.places), np.bool_)
    keep[1:] = layer.places[1:] != layer.places[:-1]
    return Layer(layer.starts[keep], layer.places[keep])


def cut(count: int, layers: dict[Family, Layer], wards: Wards) -> tuple[dict[Family, Layer], Numbers, Numbers]:
    """`layers`, whose places are below `count`, cut along `wards`: (layers, the place and the ward of each new one).

    New places are numbered from `count` on.
    """
    found: dict[Family, tuple[Keys, Numbers]] = {}
    for family, layer in layers.items():
        borders = wards.borders[family]
        starts = np.union1d(layer.starts, borders.starts)
        places = layer.places[np.searchsorted(layer.starts, starts, side="right") - 1]
        ward = borders.wards[np.searchsorted(borders.starts, starts, side="right") - 1]
        found[family] = starts, ward * count + places  # one number for both; below count: in no ward
    pairs = np.unique(np.concatenate([both for _, both in found.values()]))
    pairs = pairs[pairs >= count]
    result = {
        family: _joined(Layer(starts, np.where(both < count, both, count + np.searchsorted(pairs, both))))
        for family, (starts, both) in found.items()
    }
    return result, pairs % count, pairs // count


def _overlaid(
    layer: Layer, overrides: list[PlaceOverride], table: WorldTable | None, count: int, extra: dict[Place, int]
) -> Layer:
    overrides.sort(key=lambda o: o.prefix.length)  # the longest prefix is laid on last
    end = 1 << width(overrides[0].prefix.family)
    cuts = {o.prefix.value for o in overrides} | {o.prefix.last + 1 for o in overrides if o.prefix.last + 1 < end}
    starts = np.union1d(layer.starts, np.array(sorted(cuts), np.uint64))
    places = layer.places[np.searchsorted(layer.starts, starts, side="right") - 1]
    over = np.full(len(starts), -1, np.int64)
    for index, override in enumerate(overrides):
        first = np.searchsorted(starts, np.uint64(override.prefix.value))
        after: Any = np.searchsorted(starts, np.uint64(override.prefix.last), side="right")
        over[first:after] = index
    covered = np.flatnonzero(over >= 0)
    pairs, inverse = np.unique(over[covered] * count + places[covered], return_inverse=True)
    numbers = []
    for pair in pairs.tolist():
        under = UNKNOWN if table is None else table.place(pair % count)
        place = overlaid(overrides[pair // count].place, under)
        numbers.append(extra.setdefault(place, count + len(extra)))
    places = places.copy()
    places[covered] = np.array(numbers, np.int64)[inverse]
    return Layer(starts, places)
