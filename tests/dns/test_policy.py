"""What items and pins mean, how they order mirrors, and where along the addresses and among the places they matter."""

from __future__ import annotations

from ipaddress import ip_address

import numpy as np
import pytest

from mirrornet.dns.planning.ground import columns
from mirrornet.dns.planning.kinds import kinds_of
from mirrornet.dns.planning.wards import wards_of
from mirrornet.dns.ranking.nearest import Ranking, Reason, rank
from mirrornet.dns.ranking.policy import NOTHING, PREFERRED, Held, Policy, plain_meaning, spans_of, tier
from mirrornet.model.address import Prefix, parse_prefix
from mirrornet.model.place import UNKNOWN, Place
from mirrornet.model.sets import NamedSet, PrefixRange, Sets, encode
from mirrornet.model.verdict import State, Verdict
from mirrornet.model.zone import Mirror, Pin, Select

JAPAN = Place(2500, "JP", 35.68, 139.69)
SELECT = Select("select", "http://select.test/", answers=3)
UP = Verdict(State.UP, 30.0)


def mirror(name: str, latitude: float = 50.0, **keys: object) -> Mirror:
    place = Place(1, "DE", latitude, 8.0)
    return Mirror(name, f"http://{name}.test/", (ip_address("198.18.0.1"),), place, **keys)  # type: ignore[arg-type]


def ranged(text: str) -> PrefixRange:
    prefix = parse_prefix(text)
    return PrefixRange(prefix, prefix.length, 32)


SETS = Sets(
    encode(
        [
            NamedSet("RADB::AS-X", (2500,), ("RADB::AS-Y",)),
            NamedSet("RADB::AS-Y", (7,), ("RADB::AS-X",)),
            NamedSet("RADB::RS-X", (9,), ("RADB::RS-Y",), (ranged("8.8.8.0/24"),)),
            NamedSet("RADB::RS-Y", (), (), (ranged("8.8.8.0/25"), ranged("8.8.9.0/24"), ranged("2a00::/32"))),
        ]
    )
)


@pytest.mark.parametrize(
    ("item", "hit"),
    [("AS2500", True), ("AS25", False), ("JP", True), ("AS", False), ("continent:AS", True), ("continent:EU", False)],
)
def test_items_that_go_by_the_place(item: str, hit: bool) -> None:
    assert plain_meaning(item).covers(JAPAN) is hit
    assert not plain_meaning(item).covers(UNKNOWN)
    assert Policy([mirror("m", only=(item,))]).ward(4, 1) is NOTHING


def test_a_prefix_goes_by_the_address() -> None:
    policy = Policy([mirror("m", only=("192.0.2.0/25",), never=("2001:db8::/32",))])
    for address, items in (
        ("192.0.2.127", {"192.0.2.0/25"}),
        ("192.0.2.128", set()),
        ("2001:db8::1", {"2001:db8::/32"}),
    ):
        assert policy.of(JAPAN, ip_address(address)).items == items
    assert policy.of(JAPAN, ip_address("::ffff:192.0.2.1")).items == {"192.0.2.0/25"}  # he is where his IPv4 is


def test_sets_go_by_origin_and_route_sets_by_address_as_well() -> None:
    policy = Policy([mirror("m", only=("RADB::AS-X", "RADB::RS-X", "RADB::AS-NONE", "RIPE::AS-X"))], sets=SETS)
    assert policy.lacking == ["RADB::AS-NONE", "RIPE::AS-X"]
    assert policy.of(JAPAN, ip_address("1.1.1.1")).items == {"RADB::AS-X"}
    assert policy.of(Place(7), ip_address("8.8.9.1")).items == {"RADB::AS-X", "RADB::RS-X"}
    assert policy.of(Place(9), ip_address("1.1.1.1")).items == {"RADB::RS-X"}
    assert policy.of(UNKNOWN, ip_address("2a00::1")).items == {"RADB::RS-X"}
    assert Policy([mirror("m", only=("RADB::AS-X",))]).of(JAPAN, None) == NOTHING


def test_blocks_that_overlap_or_touch_are_one() -> None:
    prefixes = [parse_prefix(t) for t in ("8.8.9.0/24", "8.8.8.0/24", "8.8.8.0/25", "255.0.0.0/8", "2a00::/32")]
    assert spans_of(prefixes, 4) == ((0x08080800, 0xFF000000), (0x080809FF, 0xFFFFFFFF))
    assert spans_of(prefixes, 6) == ((0x2A00 << 48,), ((0x2A00 << 48) + (1 << 32) - 1,))
    assert spans_of([], 4) == ((), ())


PINS = (Pin(parse_prefix("192.0.2.0/24"), ("far", "near")), Pin(parse_prefix("192.0.2.64/26"), ("near",)))


def pinned(address: str, *mirrors: Mirror, **states: State) -> Ranking:
    policy = Policy(mirrors, PINS)
    verdicts = {m.name: Verdict(states[m.name], 5.0) if m.name in states else UP for m in mirrors}
    return rank(JAPAN, SELECT, mirrors, verdicts, policy.of(JAPAN, ip_address(address)))


def test_pins_come_first_in_their_order_and_the_first_has_a_to_itself() -> None:
    mirrors = mirror("far", -40.0), mirror("near", 50.0), mirror("liked", 49.0, prefer=("JP",)), mirror("other", 48.0)
    found = pinned("192.0.2.1", *mirrors)
    assert found.ordered == ("far", "near", "liked", "other") and found.pinned == ("far", "near")
    assert found.near[4] == ("far",)
    assert {found.not_near[4][name] for name in ("near", "liked", "other")} == {Reason.NOT_PINNED}
    down = pinned("192.0.2.1", *mirrors, far=State.DOWN)
    assert down.ordered[:2] == ("near", "liked") and down.near[4] == ("near",)
    assert pinned("192.0.2.65", *mirrors).ordered[:2] == ("near", "liked")  # the longest prefix alone
    assert pinned("192.0.3.1", *mirrors).near[4] == ("liked",)


def test_a_pin_does_not_open_what_only_and_never_close() -> None:
    found = pinned("192.0.2.1", mirror("far", only=("DE",)), mirror("near", never=("JP",)), mirror("other"))
    assert found.ordered == ("other",) and found.pinned == ()
    assert (found.passed_over["far"], found.passed_over["near"]) == (Reason.NOT_ONLY, Reason.NEVER)


def test_tiers() -> None:
    held = Held(frozenset({"JP"}), ("b", "a"))
    assert [tier(mirror(n, prefer=("JP",)), held) for n in ("a", "b", "c")] == [1, 0, PREFERRED]
    assert tier(mirror("d", prefer=("DE",)), held) == PREFERRED + 1


def test_wards_begin_and_end_where_items_and_pins_do() -> None:
    mirrors = [mirror("m", only=("192.0.2.0/25", "RADB::RS-X"), never=("192.0.2.64/26", "0.0.0.0/1"))]
    policy = Policy(mirrors, PINS, SETS)
    wards = wards_of(policy)
    assert wards.held[0] == NOTHING and len(set(wards.held)) == len(wards.held)
    for family in (4, 6):
        borders = wards.borders[family]  # type: ignore[index]
        starts = [int(start) for start in borders.starts]
        assert starts == sorted(set(starts)) and starts[0] == 0
        last = (1 << (32 if family == 4 else 64)) - 1
        for value in {v for start in starts for v in (start - 1, start, start + 1) if 0 <= v <= last}:
            number = int(borders.wards[np.searchsorted(borders.starts, np.uint64(value), side="right") - 1])
            assert wards.held[number] == policy.ward(family, value)  # type: ignore[arg-type]
    assert len(wards_of(Policy([mirror("m", only=("AS1", "JP"))])).held) == 1


def test_a_set_of_many_is_one_kind() -> None:
    many = tuple(range(1, 40_001))
    sets = Sets(encode([NamedSet("RADB::AS-MANY", many), NamedSet("RADB::AS-FEW", (5, 6))]))
    items = ("RADB::AS-MANY", "AS6", "continent:AS", *(f"AS{100_000 + n}" for n in range(100)))
    policy = Policy([mirror("m", prefer=items), mirror("n", never=("RADB::AS-FEW",))], sets=sets)
    places = [Place(asn, country) for asn in (0, 1, 5, 6, 7, 50_000, 100_007, 100_099) for country in ("", "JP", "DE")]
    found = columns(b"", places)
    kinds, kind_of = kinds_of(found, policy, [NOTHING])
    assert [kinds[int(number)] for number in kind_of] == [policy.held(place) for place in places]
    assert len(kinds) == 2 * 6  # nobody, many, few, six and two listed ones, in Asia and elsewhere


def test_the_whole_address_line_may_be_named() -> None:
    halves = [Prefix(4, 0, 1), Prefix(4, 1 << 31, 1)]
    policy = Policy([mirror("m", only=tuple(map(str, halves)))])
    assert [int(s) for s in wards_of(policy).borders[4].starts] == [0, 1 << 31]
    assert policy.ward(4, (1 << 32) - 1).items == {"128.0.0.0/1"}
