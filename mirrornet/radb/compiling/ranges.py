"""Records → ranges and places → world.table's bytes.

Four divisions of all addresses are laid over each other: the longest route, the smallest block that names a country,
the smallest block that has coordinates, the longest anycast prefix.  Every cell of the overlay gets

- its origin from the route;
- its country from the block, else from the seat of the origin's holder.  What a network publishes of itself (a geofeed)
  comes before a bought database (mmdb), and that before the registries, whatever their sizes; among equals the smallest
  block wins.  So size decides between an inetnum and delegated statistics, and the inetnum only where both have the
  same size: an inetnum larger than a delegation is one of the placeholders with which registries cover what they do
  not administer (APNIC's 8.0.0.0/8 in AU);
- its coordinates from an mmdb or a block's geoloc, unless a better or smaller block names another country than the
  coordinates' own does; else the middle of its country;
- its prefix: the route's, else the country block's, else the coordinates' block's where that is a prefix; the anycast
  prefix where it is longer;
- the mark of anycast from the anycast prefix, unless a geofeed names that prefix or a part of it: a resolver's list of
  where its queries leave from is about the very addresses that its service's prefix hides.

Equal places are stored once (96,000 for the whole Internet), and neighbouring cells that say the same of the same
prefix are merged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mirrornet.data.countries import COUNTRIES
from mirrornet.model.address import Family, Prefix, width
from mirrornet.model.place import UNKNOWN, Evidence, Place
from mirrornet.model.table import NONE, Columns, encode, encode_place
from mirrornet.radb.compiling.origins import Origins, choose
from mirrornet.radb.compiling.sweep import (
    I32,
    Layer,
    block_lengths,
    common_starts,
    last_addresses,
    longest_match,
    masks,
    numbered,
    preferred,
    smallest_match,
)
from mirrornet.radb.compiling.tally import Tally, tally
from mirrornet.radb.compiling.validity import Rpki, screen
from mirrornet.radb.records import GEOLOC_RADIUS_KM as GEOLOC_RADIUS_KM
from mirrornet.radb.records import U64, Blocks, Geography, Records

_FAMILIES: Final[tuple[Family, Family]] = (4, 6)
_START_DTYPES: Final[dict[Family, str]] = {4: "<u4", 6: "<u8"}
# By Evidence: whose word on a block comes first (0), whatever the blocks' sizes.
_TIERS: Final = np.array(
    [0 if one == Evidence.GEOFEED else 1 if one == Evidence.MMDB else 2 for one in Evidence], np.uint8
)


@dataclass(frozen=True, slots=True)
class Cells:
    """One family's cells before places are numbered; columns of equal length."""

    starts: U64
    keys: U64  # ASN << 32 | anycast; _places() puts the geography between them
    geographies: U64  # coordinates number << 14 | country number << 4 | Evidence
    lengths: NDArray[np.uint8]
    sources: NDArray[np.uint8]
    marks: NDArray[np.uint8]  # table.Mark


@dataclass(frozen=True, slots=True)
class Compiled:
    """world.table, ready to be written piece by piece, and what there is to say of it."""

    pieces: list[bytes]
    ranges: dict[Family, int]
    prefixes: dict[Family, int]  # different prefixes with a route
    places: int
    origins: dict[Family, Origins]
    rpki: dict[Family, Rpki]
    tally: Tally


def compile_table(
    records: Records,
    anycast: Sequence[Prefix],
    created: float,
    extra: Mapping[str, bytes] | None = None,
    bogons: bool = False,
) -> Compiled:
    """The table for `records`, in which addresses of `anycast` prefixes are marked so.

    `created`: Unix time.  `extra`: further sections of the file, by name (model/table.py).  `bogons`: reserved space
    and private AS numbers are let in, here from VRPs.
    """
    seats = _Seats(records)
    origins: dict[Family, Origins] = {}
    rpki: dict[Family, Rpki] = {}
    cells: dict[Family, Cells] = {}
    for family in _FAMILIES:
        screened = screen(records, family, bogons)
        rpki[family] = screened.rpki
        origins[family] = choose(screened.routes, records.sources, screened.valid)
        cells[family] = _cells(family, records, origins[family], [p for p in anycast if p.family == family], seats)
    places, numbers = _places(list(cells.values()), records.geography)
    columns, position = {}, 0
    for family in _FAMILIES:
        end = position + len(cells[family].starts)
        columns[family] = _merged(family, cells[family], numbers[position:end])
        position = end
    return Compiled(
        pieces=encode(created, columns[4], columns[6], places, records.sources.names, extra),
        ranges={family: len(columns[family][2]) for family in _FAMILIES},
        prefixes={family: len(origins[family].routes.values) for family in _FAMILIES},
        places=len(places) // len(encode_place(UNKNOWN)),
        origins=origins,
        rpki=rpki,
        tally=tally(
            [
                (one, np.frombuffer(columns[one][1], "<u4"), np.frombuffer(columns[one][3], np.uint8))
                for one in _FAMILIES
            ],
            places,
            records.sources.names,
        ),
    )


class _Seats:
    """The country number of an AS's holder, by binary search."""

    def __init__(self, records: Records) -> None:
        asns, countries = records.seat_columns()
        self._asns = np.append(
            asns.astype(np.uint64), np.uint64(1 << 32)
        )  # a sentinel, so that a search never runs out
        self._countries = np.append(countries, np.uint16(0))

    def of(self, asns: NDArray[np.uint32]) -> NDArray[np.uint16]:
        index = np.searchsorted(self._asns, asns.astype(np.uint64))
        return np.where(self._asns[index] == asns, self._countries[index], np.uint16(0))


def _cells(family: Family, records: Records, origins: Origins, anycast: list[Prefix], seats: _Seats) -> Cells:
    bits = width(family)
    routes, blocks = origins.routes, records.blocks(family)
    ranks = _preferences(records, blocks)
    tiers = _TIERS[blocks.evidence]
    with_country = np.flatnonzero((blocks.countries > 0) | (tiers == 0))  # a geofeed may say: of no country
    with_coordinates = np.flatnonzero(blocks.coordinates)
    anycast_values = np.array([prefix.value for prefix in anycast], np.uint64)
    anycast_lengths = np.array([prefix.length for prefix in anycast], np.uint8)

    def smallest(chosen: NDArray[np.int64]) -> Layer:
        layer = smallest_match(blocks.firsts[chosen], blocks.lasts[chosen], ranks[chosen], bits)
        return Layer(layer.starts, np.append(chosen, -1).astype(np.int32)[layer.winners])

    def best(chosen: NDArray[np.int64]) -> Layer:
        layers = [smallest(chosen[tiers[chosen] == tier]) for tier in np.unique(tiers[chosen])]
        return preferred(layers or [smallest(chosen)])

    by_route = longest_match(routes.values, routes.lengths, bits)
    by_country, by_coordinates = best(with_country), best(with_coordinates)
    by_anycast = longest_match(anycast_values, anycast_lengths, bits)
    starts = common_starts([by_route, by_country, by_coordinates, by_anycast])
    route, country_block = by_route.at(starts), by_country.at(starts)
    coordinates_block, cast = by_coordinates.at(starts), by_anycast.at(starts)

    asn = _pick(routes.asns, route, 0)
    country = _pick(blocks.countries, country_block, 0)
    evidence = _pick(blocks.evidence, country_block, 0)
    published = evidence == int(Evidence.GEOFEED)
    bare = np.flatnonzero((country == 0) & (asn != 0) & ~published)
    country[bare] = seats.of(asn[bare])
    evidence[bare[country[bare] != 0]] = int(Evidence.AUT_NUM)
    coordinates = _coordinates(blocks, tiers, country, country_block, coordinates_block)

    block_length = np.append(block_lengths(blocks.firsts, blocks.lasts, bits, NONE), np.uint8(NONE))
    deciding_block = np.where(country_block >= 0, country_block, np.where(coordinates > 0, coordinates_block, -1))
    lengths = np.where(route >= 0, _pick(routes.lengths, route, NONE), block_length[deciding_block])
    cast_length = _pick(anycast_lengths, cast, 0)
    if anycast and published.any():
        spread = _pick(last_addresses(anycast_values, anycast_lengths, bits) - anycast_values, cast, 0)
        cast[published & (_pick(blocks.lasts - blocks.firsts, country_block, 0) <= spread)] = -1
    lengths = np.where((cast >= 0) & ((lengths == NONE) | (cast_length > lengths)), cast_length, lengths)
    block_source = _pick(blocks.sources, deciding_block, NONE)
    return Cells(
        starts=starts,
        keys=asn.astype(np.uint64) << np.uint64(32) | (cast >= 0),
        geographies=coordinates.astype(np.uint64) << np.uint64(14)
        | country.astype(np.uint64) << np.uint64(4)
        | evidence,
        lengths=lengths,
        sources=np.where(route >= 0, _pick(routes.sources, route, NONE), block_source),
        marks=_pick(origins.marks, route, 0),
    )


def _preferences(records: Records, blocks: Blocks) -> U64:
    """Who wins among blocks of the same addresses, the least first: evidence, then country, source and coordinates.

    Their order in the alphabet is no reason to believe one, but the same whichever dump comes first.  Of geofeeds and
    databases, which the operator names in an order of his own, the first wins.
    """
    geography = records.geography
    by_country = _order(geography.countries)[blocks.countries]
    by_spot = np.zeros(1, np.uint64)
    if blocks.coordinates.any():
        by_spot = _order([spot or () for spot in geography.coordinates])
    evidence = (int(Evidence.INETNUM) - blocks.evidence).astype(np.uint8).astype(np.uint64)
    sources = records.sources.alphabetical()[blocks.sources].astype(np.uint64)
    spots = by_spot[np.minimum(blocks.coordinates, len(by_spot) - 1)]
    ties: U64 = by_country << np.uint64(36) | sources << np.uint64(28) | spots
    ties[blocks.evidence > int(Evidence.INETNUM)] = 0
    ranks: U64 = evidence << np.uint64(48) | ties
    return ranks


def _order(values: Sequence[Any]) -> U64:
    """The place of each value among all of them in order."""
    places = np.empty(len(values), np.uint64)
    places[sorted(range(len(values)), key=values.__getitem__)] = np.arange(len(values), dtype=np.uint64)
    return places


def _coordinates(
    blocks: Blocks, tiers: NDArray[np.uint8], country: NDArray[np.uint16], country_block: I32, coordinates_block: I32
) -> NDArray[np.uint32]:
    """Each cell's coordinates number; none where a better or smaller block names another country than theirs does."""
    coordinates = _pick(blocks.coordinates, coordinates_block, 0)
    both = np.flatnonzero((coordinates_block >= 0) & (country_block >= 0))
    near, far = country_block[both], coordinates_block[both]
    size = blocks.lasts - blocks.firsts
    before = (tiers[near] < tiers[far]) | ((tiers[near] == tiers[far]) & (size[near] < size[far]))
    elsewhere = before & (blocks.countries[far] != country[both])
    coordinates[both[elsewhere]] = 0
    return coordinates


def _pick(column: NDArray[Any], winners: I32, missing: int) -> NDArray[Any]:
    """`column` at each winner; `missing` where there is none (-1 reaches the element appended for it)."""
    padded: NDArray[Any] = np.append(column, np.array([missing], column.dtype))
    return padded[winners]


def _places(families: list[Cells], geography: Geography) -> tuple[bytes, NDArray[np.uint32]]:
    """The records of all different places, 0 unknown, and the number of the place of each cell."""
    none = np.zeros(1, np.uint64)
    packed = np.concatenate([none, *(cells.geographies for cells in families)])
    keys = np.concatenate([none, *(cells.keys for cells in families)])
    known: U64 | None = None
    if int(packed.max()) >> 31:  # more coordinates than fit beside the ASN: their numbers do
        known, numbers = numbered(packed)
        packed = numbers.astype(np.uint64)
    keys |= packed << np.uint64(1)
    del packed
    different, places = numbered(keys)
    # A record is its ASN and 28 bytes that few places differ in, so these are packed once and copied by the column.
    kinds, kind = numbered(different & np.uint64(0xFFFFFFFF))
    templates = b"".join(
        encode_place(_template(number >> 1 if known is None else int(known[number >> 1]), bool(number & 1), geography))
        for number in kinds.tolist()
    )
    records = np.frombuffer(templates, np.uint8).reshape(len(kinds), -1)[kind]
    records[:, :4] = (different >> np.uint64(32)).astype("<u4").view(np.uint8).reshape(-1, 4)
    return records.tobytes(), places[1:].astype(np.uint32)


def _template(packed: int, anycast: bool, geography: Geography) -> Place:
    """A place without its ASN."""
    code = geography.countries[packed >> 4 & 0x3FF]
    country_from = Evidence(packed & 15)
    spot = geography.coordinates[packed >> 14]
    if spot is not None:
        latitude, longitude, radius, coordinates_from = spot
        return Place(0, code, latitude, longitude, radius, anycast, country_from, coordinates_from)
    country = COUNTRIES.get(code)
    if country is None:
        return Place(0, code, anycast=anycast, country_from=country_from)
    where = (country.latitude, country.longitude, country.radius_km)
    return Place(0, code, *where, anycast, country_from, Evidence.CENTROID)


def _merged(family: Family, cells: Cells, places: NDArray[np.uint32]) -> Columns:
    """The columns of world.table, with neighbours merged that share place, source, marks and matched prefix."""
    lengths = cells.lengths
    values = masks(cells.starts, np.where(lengths == NONE, 0, lengths), width(family))
    same = (
        (places[1:] == places[:-1])
        & (lengths[1:] == lengths[:-1])
        & (cells.sources[1:] == cells.sources[:-1])
        & (cells.marks[1:] == cells.marks[:-1])
        & (values[1:] == values[:-1])
    )
    keep = np.concatenate([np.ones(1, bool), ~same])
    return (
        cells.starts[keep].astype(_START_DTYPES[family]).tobytes(),
        places[keep].astype("<u4").tobytes(),
        lengths[keep].tobytes(),
        cells.sources[keep].tobytes(),
        cells.marks[keep].tobytes(),
    )
