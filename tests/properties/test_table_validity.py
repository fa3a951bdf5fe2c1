"""Route origin validation by arrays against RFC 6811 in plain words."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mirrornet.model.address import Family, Prefix, width
from mirrornet.model.table import Mark, WorldTable
from mirrornet.radb.compiling.ranges import compile_table
from mirrornet.radb.compiling.validity import screen
from mirrornet.radb.facts import Route, Vrp
from mirrornet.radb.records import Records, VrpColumns
from mirrornet.radb.sources import parse_weights

BASE: dict[Family, int] = {4: 0x08000000, 6: 0x2400 << 48}


@dataclass(frozen=True)
class World:
    """Routes and VRPs of one family."""

    family: Family
    routes: list[Route]
    vrps: list[Vrp]

    def records(self) -> Records:
        records = Records()
        for route in self.routes:
            records.add_route(route)
        records.vrps = VrpColumns()
        for vrp in self.vrps:
            records.vrps.add(vrp)
        return records


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Prefixes of few bits, so that they nest, touch and repeat."""
    family: Family = draw(st.sampled_from((4, 6)))
    bits, base = width(family), 8 if family == 4 else 16

    def prefix() -> tuple[int, int]:
        length = draw(st.integers(base, base + 5) | st.just(bits))
        number = draw(st.integers(0, 31)) << (bits - base - 5)
        shift = bits - length
        return (BASE[family] + number) >> shift << shift, length

    routes = [
        Route(family, *prefix(), draw(st.integers(1, 3)), draw(st.sampled_from(("RADB", "RIPE", ""))), 0)
        for _ in range(draw(st.integers(0, 12)))
    ]
    vrps = []
    for _ in range(draw(st.integers(0, 10))):
        value, length = prefix()
        vrps.append(Vrp(family, value, length, draw(st.integers(length, bits)), draw(st.integers(0, 3))))
    return World(family, routes, vrps)


def state(route: Route, vrps: list[Vrp]) -> str:
    """RFC 6811 section 2, word by word."""
    inside = Prefix(route.family, route.value, route.length)
    covering = [vrp for vrp in vrps if inside in Prefix(vrp.family, vrp.value, vrp.length)]
    if not covering:
        return "unknown"
    matched = any(vrp.asn and vrp.asn == route.asn and route.length <= vrp.limit for vrp in covering)
    return "valid" if matched else "invalid"


@given(worlds())
def test_the_arrays_say_what_the_rfc_says(world: World) -> None:
    screened = screen(world.records(), world.family)
    assert screened.valid is not None
    columns = screened.routes
    rows = list(
        zip(
            columns.values.tolist(),
            columns.lengths.tolist(),
            columns.asns.tolist(),
            screened.valid.tolist(),
            strict=True,
        )
    )
    expected = [
        (route.value, route.length, route.asn, verdict == "valid")
        for route in world.routes
        if (verdict := state(route, world.vrps)) != "invalid"
    ]
    left = {(value, length) for value, length, _, _ in expected}
    stand_ins = [
        (vrp.value, vrp.length, vrp.asn, True) for vrp in world.vrps if vrp.asn and (vrp.value, vrp.length) not in left
    ]
    assert sorted(rows) == sorted(expected + stand_ins)
    assert screened.rpki.stand_ins == len(stand_ins)
    assert screened.rpki.invalid == len(world.routes) - len(expected)
    assert screened.rpki.valid == sum(valid for *_, valid in expected)
    assert len(screened.rpki.samples) == min(5, screened.rpki.invalid)
    assert columns.sources.dtype == np.uint8


@given(worlds())
def test_a_mark_says_that_rpki_agrees(world: World) -> None:
    """In the finished table a route is marked valid exactly where it is, and no invalid origin is left."""
    table = WorldTable(b"".join(compile_table(world.records(), (), 1.0).pieces))
    ranges = table.ranges[world.family]
    for start in ranges.starts:
        address = ip_address(int(start) if world.family == 4 else int(start) << 64)
        if world.family == 6 and int(start) < 1 << 61:
            continue  # below 2000::/3, where addresses may be folded
        match = table.match(address)
        if match.prefix is None or not match.place.asn:
            continue
        route = Route(world.family, match.prefix.value, match.prefix.length, match.place.asn, "", 0)
        verdict = state(route, world.vrps)
        assert verdict != "invalid"
        assert bool(match.marks & Mark.RPKI_VALID) == (verdict == "valid")


def test_valid_third_party_before_unknown_authority() -> None:
    """A third party's valid object beats a newer, unconfirmed one: the holder signed for it."""
    records = Records(parse_weights("RIPE 0\n", "weights"))
    for asn, source, newest in ((1, "BELL", 1), (1, "RADB", 2), (2, "RIPE", 3)):
        records.add_route(Route(4, 0x08080800, 24, asn, source, newest))
    records.vrps = VrpColumns()
    records.vrps.add(Vrp(4, 0x08080000, 16, 24, 1))
    records.vrps.add(Vrp(4, 0x08080800, 24, 24, 0))
    compiled = compile_table(records, (), 1.0)
    match = WorldTable(b"".join(compiled.pieces)).match(ip_address("8.8.8.8"))
    assert (match.place.asn, match.source, match.marks) == (1, "RADB", Mark.RPKI_VALID)
    assert compiled.rpki[4].invalid == 1 and compiled.origins[4].conflicts == 0


def test_a_source_never_believed_does_not_enter() -> None:
    records = Records(parse_weights("bell never  # closed\n", "weights"))
    records.add_route(Route(4, 0x08080800, 24, 1, "BELL", 9))
    records.add_route(Route(4, 0x08080000, 16, 2, "RADB", 1))
    match = WorldTable(b"".join(compile_table(records, (), 1.0).pieces)).match(ip_address("8.8.8.8"))
    assert (match.place.asn, str(match.prefix)) == (2, "8.8.0.0/16")
