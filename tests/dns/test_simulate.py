"""What a change would move, by hand on maps one can reckon in one's head."""

from __future__ import annotations

import array
from bisect import bisect_right
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from mirrornet.dns.planning.plan import Planner
from mirrornet.dns.planning.planfile import Ranges
from mirrornet.dns.ranking.estimate import estimate
from mirrornet.dns.ranking.nearest import FAMILIES
from mirrornet.dns.simulate.compare import moves, simulate
from mirrornet.dns.simulate.regions import regions
from mirrornet.dns.simulate.scopes import world_scopes
from mirrornet.dns.simulate.sides import Side
from mirrornet.dns.simulate.space import of_clients, space
from mirrornet.dns.simulate.text import percent, text
from mirrornet.model.address import parse_prefix
from mirrornet.model.place import UNKNOWN, Place
from mirrornet.model.regions import Regions
from mirrornet.model.table import WorldTable, encode_place
from mirrornet.model.table import encode as encode_table
from mirrornet.model.verdict import State, Verdict
from mirrornet.model.zone import Mirror, PlaceOverride, Select, Zone

TOKYO = Place(2500, "JP", 35.68, 139.69)
PARIS = Place(3215, "FR", 48.86, 2.35)
FAR_MS = estimate(TOKYO, PARIS).ms
UP = Verdict(State.UP, 30.0)
DOWN = Verdict(State.DOWN, 1.0)
MIRRORS = (
    Mirror("tokyo", "http://s.test/", (ip_address("192.0.2.1"), ip_address("2001:db8::1")), TOKYO, weight=300),
    Mirror("paris", "http://s.test/", (ip_address("192.0.2.2"),), PARIS),
)


def table(*entries: tuple[str, Place]) -> WorldTable:
    """Disjoint prefixes; all else is covered by none."""
    places = [UNKNOWN, *dict.fromkeys(place for _, place in entries)]
    families = []
    for family, bits, code in ((4, 32, "I"), (6, 64, "Q")):
        prefixes = [(parse_prefix(t), place) for t, place in entries if parse_prefix(t).family == family]
        cuts = {0} | {p.value for p, _ in prefixes} | {p.last + 1 for p, _ in prefixes}
        starts = sorted(cut for cut in cuts if cut < 1 << bits)
        owners = [next(((q, pl) for q, pl in prefixes if start in q), None) for start in starts]
        families.append(
            (
                array.array(code, starts).tobytes(),
                array.array("I", [places.index(o[1]) if o else 0 for o in owners]).tobytes(),
                bytes(o[0].length if o else 255 for o in owners),
                bytes(0 if o else 255 for o in owners),
                bytes(len(owners)),
            )
        )
    return WorldTable(b"".join(encode_table(0.0, *families, b"".join(map(encode_place, places)), ["RADB"])))


WORLD = table(
    ("20.0.0.0/24", TOKYO), ("30.0.0.0/24", PARIS), ("40.0.0.0/23", UNKNOWN), ("2a00::/47", PARIS), ("2b00::/19", TOKYO)
)


def zone(mirrors: tuple[Mirror, ...] = MIRRORS, **keys: object) -> Zone:
    fields = {"select": (Select("select", "http://s.test/"),), "mirrors": mirrors}
    return Zone(Path("z.yaml"), "zone.test", "h@zone.test", 1, {}, None, **(fields | keys))  # type: ignore[arg-type]


def side(of: Zone | None = None, world: WorldTable | None = WORLD, **states: Verdict) -> Side:
    of = of or zone()
    planner = Planner([of], world, {})
    plan = planner.plan({of.name: {m.name: states.get(m.name, UP) for m in of.mirrors}}, 0)
    return Side(of, of.select[0], plan, planner.survey(of.name), world)


def test_the_present_plan_described() -> None:
    here = side()
    found = simulate(here, here)
    one, six = found.families
    assert not found.changes and found.moved == 0 and one.flows == ()
    assert one.weight == 1024 and one.unplaced == 0.5  # the /23 without a place
    # Near: each its own quarter; `anywhere`: both in equal shares of a half.
    assert {(load.mirror, load.after, load.weight) for load in one.loads} == {
        ("tokyo", 0.5, 0.75),
        ("paris", 0.5, 0.25),
    }
    assert one.after.mean == pytest.approx(20, abs=10)
    # Of the /19 no more than a /32's worth counts; 2a00::/47 is two sites.
    assert six.weight == 65_536 + 2 and [(load.mirror, load.after) for load in six.loads] == [
        ("paris", 0),
        ("tokyo", 1),
    ]


def test_a_mirror_that_goes_down_moves_its_share_and_says_how_far() -> None:
    found = simulate(side(), side(tokyo=DOWN))
    (one, six) = found.families
    assert found.changes and one.moved == pytest.approx(0.5) and found.moved == pytest.approx(1.0)
    (flow,) = one.flows
    assert (flow.source, flow.target, flow.share) == ("tokyo", "paris", pytest.approx(0.5))
    assert flow.ms_before == pytest.approx(10, abs=1) and flow.ms_after == pytest.approx(FAR_MS)
    assert one.before.mean == pytest.approx(10, abs=1) and one.after.mean == pytest.approx((10 + FAR_MS) / 2, abs=3)
    # AAAA: nobody is left but tokyo itself (fail open); A of an IPv6 asker stands in: paris
    assert [(f.source, f.target) for f in six.flows] == [("tokyo", "paris")]
    assert simulate(side(tokyo=DOWN), side(tokyo=DOWN)).moved == 0


def test_another_zone_file_with_other_mirrors() -> None:
    new = Mirror("lyon", "http://s.test/", (ip_address("192.0.2.9"),), Place(0, "FR", 45.76, 4.84))
    found = simulate(side(), side(zone((MIRRORS[0], new))))
    one = found.families[0]
    assert {(f.source, f.target) for f in one.flows} == {("paris", "lyon")}
    assert one.moved == pytest.approx(0.5)
    loads = {load.mirror: load for load in one.loads}
    assert loads["paris"].weight is None and loads["lyon"].before == 0 and loads["lyon"].after == 0.5
    known = next(f for f in one.flows)
    assert known.ms_before == pytest.approx(10, abs=1), "a mirror that is gone is estimated by the world before"
    assert known.ms_after == pytest.approx(25, abs=1)


def test_another_table_counts_what_either_announces() -> None:
    moved = table(("20.0.0.0/24", PARIS), ("30.0.0.0/24", PARIS), ("50.0.0.0/24", TOKYO))
    found = simulate(side(), side(world=moved))
    one = found.families[0]
    assert one.weight == 1280
    shares = {(f.source, f.target): f.share for f in one.flows}
    # 20.0.0.0/24 moves to paris; 50.0.0.0/24 had no place, so half of it was at paris.
    assert shares == {("tokyo", "paris"): pytest.approx(0.2), ("paris", "tokyo"): pytest.approx(0.1)}


def test_places_of_the_zone_file_count_too() -> None:
    placed = zone(places=(PlaceOverride(parse_prefix("60.0.0.0/22"), PARIS),))
    assert simulate(side(placed), side(placed)).families[0].weight == 2048


def test_listed_clients_count_one_each() -> None:
    clients = of_clients(map(ip_address, ["20.0.0.7", "20.0.0.8", "30.0.0.1", "::ffff:30.0.0.2", "2a00::1"]))
    found = simulate(side(), side(paris=DOWN), clients)
    one, six = found.families
    assert found.clients and one.weight == 4 and one.moved == 0.5 and six.weight == 1
    scopes = next(a for a in found.answers if a.rtype == "A").scopes
    assert scopes[4][0].share == 1.0
    before = next(a for a in simulate(side(), side(), clients).answers if a.rtype == "A").scopes[4]
    assert sum(scope.share for scope in before) == pytest.approx(1) and sum(scope.blocks for scope in before) == 2


def test_without_a_table_everything_counts_and_nothing_has_a_place() -> None:
    here = side(world=None)
    found = simulate(here, here)
    assert found.families[0].weight == 2**32 and found.families[0].unplaced == 1.0
    assert found.families[0].after.mean is None
    assert "no place says anything" in text(found)


def test_dual_stack_clients_lose_where_only_far_mirrors_have_ipv6() -> None:
    one = simulate(side(), side()).families[0]
    assert one.dual_stack.share == pytest.approx(0.25), "the quarter near paris, whose AAAA answer is tokyo"
    assert one.dual_stack.mean == pytest.approx(FAR_MS - 10, abs=1) == one.dual_stack.worst
    both = tuple(Mirror(m.name, m.url, (*m.addresses, ip_address("2001:db8::9")), m.place) for m in MIRRORS)
    assert simulate(side(zone(both)), side(zone(both))).families[0].dual_stack.share == 0


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (("a",), ("a",), {}),
        (("a",), ("b",), {("a", "b"): 1.0}),
        (("a", "b"), ("b", "c"), {("a", "c"): 0.5}),
        (("a",), ("a", "b", "c"), {("a", "b"): 1 / 3, ("a", "c"): 1 / 3}),
        ((), ("a",), {("", "a"): 1.0}),
        (("a", "b"), (), {("a", ""): 0.5, ("b", ""): 0.5}),
    ],
)
def test_the_least_that_must_move(
    before: tuple[str, ...], after: tuple[str, ...], expected: dict[tuple[str, str], float]
) -> None:
    found = {(source, target): part for source, target, part in moves(before, after)}
    assert found == {key: pytest.approx(part) for key, part in expected.items()}


@pytest.mark.parametrize(("family", "bits", "code"), [(4, 32, "I"), (6, 64, "Q")])
def test_scopes_are_those_that_single_addresses_get(family: int, bits: int, code: str) -> None:
    """Blocks and shares against Ranges.find() of every block's first address."""
    starts = sorted({0, 5 << (bits - 8), 77 << (bits - 8), (77 << (bits - 8)) + (3 << (bits - 32)), 200 << (bits - 8)})
    ranges = Ranges(array.array(code, starts), array.array("I", [0, 1, 0, 1, 0]), bytes([255] * 5))
    everything = space(family, [None], [])  # type: ignore[arg-type]
    found = {scope.length: scope for scope in world_scopes(family, ranges, everything)}  # type: ignore[arg-type]
    blocks: dict[int, int] = {}
    at = 0
    while at < 1 << bits:
        length = ranges.scope(bisect_right(starts, at) - 1, at)
        blocks[length] = blocks.get(length, 0) + 1
        at += 1 << (bits - length)
    assert {length: scope.blocks for length, scope in found.items()} == blocks
    for length, count in blocks.items():
        assert found[length].share == pytest.approx(count / 2**length)


def served(one: Side) -> Regions:
    return regions(one, {family: space(family, (one.table,), (one.zone,)) for family in FAMILIES})


def test_regions_are_the_loads_by_country() -> None:
    found = served(side())
    assert found.shares[4] == {"tokyo": 0.5, "paris": 0.5}  # a quarter each is near, and half of what has no place
    assert found.shares[6] == {"tokyo": 1.0}  # the only one with an IPv6 address
    assert found.countries["JP"] == {"tokyo": 0.25} and found.countries["FR"] == {"paris": 0.25}
    assert found.countries[""] == {"tokyo": 0.25, "paris": 0.25}
    assert found.of("paris") == [("", 0.5), ("FR", 1.0)] and found.chief("JP") == "tokyo"
    assert found.chief("BR") == "" and found.of("oslo") == []


def test_regions_follow_a_mirror_that_goes_down_and_count_as_simulate_does() -> None:
    after = side(tokyo=DOWN)
    found = served(after)
    assert found.shares[4] == {"paris": 1.0} and found.chief("JP") == "paris"
    one, six = simulate(after, after).families
    assert {load.mirror: load.after for load in one.loads if load.after} == found.shares[4]
    assert {load.mirror: load.after for load in six.loads if load.after} == found.shares[6]


def test_regions_without_a_table() -> None:
    found = served(side(world=None))
    assert found.shares[4] == {"tokyo": 0.5, "paris": 0.5} and list(found.countries) == [""]


def test_overload_is_told_where_it_is_more_than_a_lump() -> None:
    found = simulate(side(), side(tokyo=DOWN))
    assert "OVERLOAD: up to 1.5 times" in text(replace(found, overload=1.52))
    assert "OVERLOAD" not in text(replace(found, overload=1 + 2**-16))


def test_the_text_fits_a_narrow_terminal_and_tells_who_moves() -> None:
    said = text(simulate(side(), side(tokyo=DOWN)))
    assert "50.0 % of 1,024 addresses move" in said
    assert "tokyo → paris" in said and f"10 → {FAR_MS:.0f} ms" in said
    assert "different answers: A 3 → 1" in said
    assert max(map(len, said.splitlines())) <= 80
    assert (percent(0), percent(1e-9), percent(0.1234), percent(1)) == ("0.0 %", "<0.1 %", "12.3 %", "100.0 %")
