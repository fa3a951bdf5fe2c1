"""Brute force over the records == world.table == pytricia, at every address where anything changes."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from mirrornet.data.countries import COUNTRIES
from mirrornet.model.address import Address, Family, Prefix, fold, mask, width
from mirrornet.model.place import Evidence, Place
from mirrornet.model.table import Match, WorldTable
from mirrornet.radb.compiling.ranges import GEOLOC_RADIUS_KM, compile_table
from mirrornet.radb.compiling.tries import Tries
from mirrornet.radb.facts import Block, Route
from mirrornet.radb.records import Records

FAMILIES: tuple[Family, Family] = (4, 6)
# Few bits in play, so that prefixes nest and touch; some at either end of all addresses.
BASES: dict[Family, tuple[int, ...]] = {
    4: (0, 0x08080000, 0xFFFF0000),
    6: (0, 0x2001_0470_0000_0000, 0xFFFF_FFFF_FFFF_0000),
}


@dataclass(frozen=True)
class World:
    routes: list[Route]
    blocks: list[tuple[Block, Evidence]]
    anycast: list[Prefix]
    seats: dict[int, str]


@st.composite
def prefixes(draw: st.DrawFn, family: Family) -> Prefix:
    bits = width(family)
    length = draw(st.one_of(st.integers(bits - 16, bits), st.sampled_from([1, 8, 16, bits])))
    value = draw(st.sampled_from(BASES[family])) | draw(st.integers(0, 0xFFFF))
    return Prefix(family, mask(family, value, length), length)


@st.composite
def blocks(draw: st.DrawFn, family: Family) -> tuple[Block, Evidence]:
    if draw(st.booleans()):
        prefix = draw(prefixes(family))
        first, last = prefix.value, prefix.last
    else:
        first = draw(st.sampled_from(BASES[family])) | draw(st.integers(0, 0xFFFF))
        last = min(first + draw(st.sampled_from([0, 1, 2, 100, 767, 255, 31743, 0xFFFF])), (1 << width(family)) - 1)
    country = draw(st.sampled_from(["JP", "DE", "US", ""]))
    evidence = draw(st.sampled_from([Evidence.INETNUM, Evidence.DELEGATED]))
    coordinates = draw(st.sampled_from([None, None, (35.5, 139.75), (-10.25, 0.5)]))
    if evidence is Evidence.DELEGATED:
        coordinates = None
    return Block(family, first, last, country, coordinates, draw(st.sampled_from(["RIPE", "APNIC", ""]))), evidence


@st.composite
def worlds(draw: st.DrawFn) -> World:
    routes, found_blocks, anycast = [], [], []
    for family in FAMILIES:
        for prefix in draw(st.lists(prefixes(family), max_size=12, unique=True)):
            source = draw(st.sampled_from(["RADB", "RIPE"]))
            routes.append(Route(family, prefix.value, prefix.length, draw(st.integers(1, 4)), source, 0))
        found_blocks.extend(draw(st.lists(blocks(family), max_size=8)))
        anycast.extend(draw(st.lists(prefixes(family), max_size=2, unique=True)))
    seats = draw(st.dictionaries(st.integers(1, 4), st.sampled_from(["BR", "ZA"]), max_size=3))
    return World(routes, found_blocks, anycast, seats)


def table_of(world: World) -> WorldTable:
    records = Records()
    for route in world.routes:
        records.add_route(route)
    for block, evidence in world.blocks:
        records.add_block(block, evidence)
    for asn, country in world.seats.items():
        records.add_seat(asn, country, 1)
    return WorldTable(b"".join(compile_table(records, world.anycast, 1.0).pieces))


def brute_force(world: World, family: Family, value: int) -> Match:
    """What an address is, by looking at everything, in the words of the essay of ranges.py."""
    routes = [r for r in world.routes if r.family == family and r.value == mask(family, value, r.length)]
    route = max(routes, key=lambda r: r.length, default=None)
    covering = [
        (block.last - block.first, evidence is not Evidence.INETNUM, index, block, evidence)
        for index, (block, evidence) in enumerate(world.blocks)
        if block.family == family and block.first <= value <= block.last
    ]
    by_country = min((c for c in covering if c[3].country), default=None)
    by_coordinates = min((c for c in covering if c[3].coordinates), default=None)

    country, country_from = "", Evidence.NONE
    if by_country:
        country, country_from = by_country[3].country, by_country[4]
    elif route and route.asn in world.seats:
        country, country_from = world.seats[route.asn], Evidence.AUT_NUM
    if by_coordinates and by_country and by_country[0] < by_coordinates[0] and by_coordinates[3].country != country:
        by_coordinates = None

    latitude = longitude = None
    radius, coordinates_from = 0, Evidence.NONE
    if by_coordinates and by_coordinates[3].coordinates:
        latitude, longitude = by_coordinates[3].coordinates
        radius, coordinates_from = GEOLOC_RADIUS_KM, Evidence.INETNUM
    elif country:
        middle = COUNTRIES[country]
        latitude, longitude, radius = middle.latitude, middle.longitude, middle.radius_km
        coordinates_from = Evidence.CENTROID

    deciding = by_country or by_coordinates
    length: int | None = None
    source = ""
    if route:
        length, source = route.length, route.source
    elif deciding:
        source = deciding[3].source
        size = deciding[0] + 1
        if size & (size - 1) == 0 and deciding[3].first % size == 0:
            length = width(family) - size.bit_length() + 1
    cast = max((p.length for p in world.anycast if p.family == family and value in p), default=None)
    if cast is not None:
        length = max(length or 0, cast)
    place = Place(
        asn=route.asn if route else 0,
        country=country,
        latitude=latitude,
        longitude=longitude,
        radius_km=radius,
        anycast=cast is not None,
        country_from=country_from,
        coordinates_from=coordinates_from,
    )
    prefix = None if length is None else Prefix(family, mask(family, value, length), length)
    return Match(place, prefix, source)


def rounded(match: Match) -> tuple[object, ...]:
    """With coordinates as single floats keep them."""
    place = match.place
    where = (
        None
        if place.latitude is None or place.longitude is None
        else (round(place.latitude, 4), round(place.longitude, 4))
    )
    rest = (place.asn, place.country, place.radius_km, place.anycast, place.country_from, place.coordinates_from)
    return (where, *rest, match.prefix, match.source)


def address_of(family: Family, value: int) -> Address:
    return IPv4Address(value) if family == 4 else IPv6Address(value << 64)


def edges(world: World, family: Family) -> list[int]:
    """Every address where anything begins or has just ended, and its neighbours."""
    spans = [(r.value, Prefix(family, r.value, r.length).last) for r in world.routes if r.family == family]
    spans += [(block.first, block.last) for block, _ in world.blocks if block.family == family]
    spans += [(prefix.value, prefix.last) for prefix in world.anycast if prefix.family == family]
    near = {0, (1 << width(family)) - 1}
    for first, last in spans:
        near |= {first - 1, first, first + 1, last - 1, last, last + 1}
    return sorted(value for value in near if 0 <= value < 1 << width(family))


@settings(max_examples=150, deadline=None)
@given(worlds())
def test_brute_force_equals_table_equals_tries(world: World) -> None:
    table = table_of(world)
    tries = Tries.of_table(table)
    for family in FAMILIES:
        for value in edges(world, family):
            address = address_of(family, value)
            match = table.match(address)
            assert tries.match(address) == match
            # fold() reads IPv4 out of some IPv6 addresses; those are looked up elsewhere.
            if family == 4 or fold(address) == address:
                assert rounded(match) == rounded(brute_force(world, family, value))


@settings(max_examples=150, deadline=None)
@given(worlds())
def test_ranges_are_sorted_whole_and_merged(world: World) -> None:
    table = table_of(world)
    for family in FAMILIES:
        ranges = table.ranges[family]
        starts = list(ranges.starts)
        assert starts[0] == 0
        assert all(before < after for before, after in pairwise(starts))
        matches = [
            (ranges.places[i], ranges.sources[i], ranges.lengths[i], _prefix(family, start, ranges.lengths[i]))
            for i, start in enumerate(starts)
        ]
        assert all(before != after for before, after in pairwise(matches))
        for first, after, length in zip(starts, [*starts[1:], 1 << width(family)], ranges.lengths, strict=True):
            assert _prefix(family, first, length) == _prefix(family, after - 1, length)  # one range, one prefix


def _prefix(family: Family, start: int, length: int) -> int:
    return 0 if length == 255 else mask(family, start, length)
