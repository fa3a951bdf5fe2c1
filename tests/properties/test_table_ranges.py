"""Brute force over the records == world.table == pytricia, at every address where anything changes."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise
from random import Random

from hypothesis import find, given, settings
from hypothesis import strategies as st
from pytricia import PyTricia

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


def relatives(prefix: Prefix) -> list[Prefix]:
    """What lies around it, beside it and within it, as far as there is any."""
    family, value, length, bits = prefix.family, prefix.value, prefix.length, width(prefix.family)
    step = 1 << (bits - length)
    found = [Prefix(family, mask(family, value, length - 1), length - 1)] if length > 1 else []
    found += [Prefix(family, one, length) for one in (value - step, value + step) if 0 <= one < 1 << bits]
    if length < bits:
        found += [Prefix(family, value, length + 1), Prefix(family, value + step // 2, length + 1)]
        found += [Prefix(family, value, bits), Prefix(family, prefix.last, bits)]
    return found


@st.composite
def prefix_sets(draw: st.DrawFn, family: Family) -> list[Prefix]:
    """Different prefixes, many of them nested, adjacent, or with an edge in common."""
    found = dict.fromkeys(draw(st.lists(prefixes(family), max_size=8, unique=True)))
    for number in draw(st.lists(st.integers(0, 7), max_size=8)):
        if found:
            near = relatives(list(found)[number % len(found)])
            found[draw(st.sampled_from(near))] = None
    return draw(st.permutations(list(found)))


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
        for prefix in draw(prefix_sets(family)):
            source = draw(st.sampled_from(["RADB", "RIPE"]))
            routes.append(Route(family, prefix.value, prefix.length, draw(st.integers(1, 4)), source, 0))
        for block, evidence in draw(st.lists(blocks(family), max_size=6)):
            found_blocks.append((block, evidence))
            if draw(st.booleans()):  # another of the same addresses
                other, evidence = draw(blocks(family))
                found_blocks.append((other._replace(first=block.first, last=block.last), evidence))
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


def preference(block: Block) -> tuple[object, ...]:
    """Among blocks of the same addresses and evidence the least of these wins, whichever dump came first."""
    return (block.country, block.source or "~", block.coordinates or (-91.0, 0.0))


def brute_force(world: World, family: Family, value: int) -> Match:
    """What an address is, by looking at everything, in the words of the essay of ranges.py."""
    routes = [r for r in world.routes if r.family == family and r.value == mask(family, value, r.length)]
    route = max(routes, key=lambda r: r.length, default=None)
    covering = [
        (block.last - block.first, evidence is not Evidence.INETNUM, preference(block), block, evidence)
        for block, evidence in world.blocks
        if block.family == family and block.first <= value <= block.last
    ]
    by_country = min((c for c in covering if c[3].country), default=None, key=lambda c: c[:3])
    by_coordinates = min((c for c in covering if c[3].coordinates), default=None, key=lambda c: c[:3])

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
def test_a_trie_of_the_routes_finds_the_same_origins(world: World) -> None:
    table = table_of(world)
    for family in FAMILIES:
        trie = PyTricia(32 if family == 4 else 128)
        for route in world.routes:
            if route.family == family:
                trie[str(Prefix(family, route.value, route.length))] = route
        for value in edges(world, family):
            address = address_of(family, value)
            if family == 6 and fold(address) != address:
                continue
            match = table.match(address)
            route = trie.get(str(address))
            assert match.place.asn == (route.asn if route else 0)
            assert route is None or match.source == route.source
            if not any(value in prefix for prefix in world.anycast if prefix.family == family):
                assert route is None or match.prefix == Prefix(family, route.value, route.length)


@settings(max_examples=150, deadline=None)
@given(worlds(), st.randoms(use_true_random=False))
def test_the_order_of_dumps_and_objects_does_not_matter(world: World, dice: Random) -> None:
    routes, found_blocks, anycast = list(world.routes), list(world.blocks), list(world.anycast)
    for each in (routes, found_blocks, anycast):
        dice.shuffle(each)
    one, other = table_of(world), table_of(World(routes, found_blocks, anycast, dict(reversed(world.seats.items()))))
    for family in FAMILIES:
        assert list(one.ranges[family].starts) == list(other.ranges[family].starts)
        for value in edges(world, family):
            assert one.match(address_of(family, value)) == other.match(address_of(family, value))


def test_the_prefix_sets_are_nested_and_adjacent() -> None:
    """Else the properties above would say little."""
    for family in FAMILIES:
        both = find(prefix_sets(family), lambda some: has_nested(some, 3) and has_adjacent(some))
        assert len(both) >= 4


def has_nested(some: list[Prefix], depth: int) -> bool:
    return any(sum(one.value in each and each.length <= one.length for each in some) >= depth for one in some)


def has_adjacent(some: list[Prefix]) -> bool:
    return bool({one.last + 1 for one in some} & {one.value for one in some})


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
