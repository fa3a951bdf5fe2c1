"""The table's section of sets, and what is in a set however deep: loops, empty sets, missing members, caps."""

from __future__ import annotations

import random

import pytest

from mirrornet.model.address import parse_prefix
from mirrornet.model.errors import InputError
from mirrornet.model.expansion import Expansion, expand
from mirrornet.model.sets import QUALIFIED, NamedSet, PrefixRange, SetFlag, Sets, encode, is_route_set, readable


def sets_of(*made: NamedSet) -> Sets:
    found = Sets.read(encode(made))
    assert found is not None
    return found


def as_set(name: str, *members: int | str, **keys: object) -> NamedSet:
    asns = tuple(m for m in members if isinstance(m, int))
    refs = tuple(f"RADB::{m}" for m in members if isinstance(m, str))
    return NamedSet(f"RADB::{name}", asns, refs, **keys)  # type: ignore[arg-type]


def expanded(sets: Sets, name: str, **caps: int) -> Expansion:
    number = sets.find(f"RADB::{name}")
    assert number is not None
    return expand(sets, number, **caps)


def ranged(text: str, low: int | None = None, high: int | None = None) -> PrefixRange:
    prefix = parse_prefix(text)
    return PrefixRange(prefix, low or prefix.length, high or low or prefix.length)


def test_a_table_gives_back_what_was_put_in() -> None:
    prefixes = (ranged("8.8.8.0/24", 25, 32), ranged("2a00::/32"))
    flags = SetFlag.HELD | SetFlag.GONE
    sets = sets_of(
        NamedSet("RIPE::AS1:RS-X", (5, 4_000_000_000), ("RADB::AS-Y",), prefixes, flags, 3, 7, 9, 1 << 63),
        as_set("AS-Y", 1, "AS-MISSING"),
    )
    assert [sets.name(n) for n in range(len(sets))] == ["RADB::AS-MISSING", "RADB::AS-Y", "RIPE::AS1:RS-X"]
    number = sets.find("ripe::as1:rs-x")
    assert number == 2
    one = sets.get(number)
    assert (list(one.asns), [sets.name(n) for n in one.sets]) == ([5, 4_000_000_000], ["RADB::AS-Y"])
    assert tuple(one.prefixes) == prefixes
    assert (one.flags, one.odd, one.kept, one.offered, one.digest) == (flags, 3, 7, 9, 1 << 63)
    assert sets.held() == [2]
    assert sets.find("RADB::AS-MISSING") is None  # others name it, nobody has it
    assert sets.find("RADB::AS-") is None and sets.find("") is None and sets.find("ZZZ::AS-Z") is None


def test_equal_members_are_stored_once() -> None:
    members = tuple(range(1, 5001))
    alone = len(encode([NamedSet("RADB::AS-0", members)]))
    many = len(encode([NamedSet(f"RADB::AS-{n}", members) for n in range(100)]))
    assert many < 2 * alone


def test_no_set_and_no_section() -> None:
    assert Sets.read(b"") is None
    assert len(sets_of()) == 0 and sets_of().find("RADB::AS-X") is None


def test_a_damaged_section_is_refused() -> None:
    whole = encode([as_set("AS-X", 1, 2, 3), as_set("AS-Y", "AS-X")])
    for cut in range(1, len(whole)):
        with pytest.raises(InputError, match="make it anew"):
            Sets.read(whole[:cut])
    with pytest.raises(InputError):
        Sets.read(whole + b"x")
    dice = random.Random(1)
    for _ in range(500):  # with bits turned it is refused or says something else, and never worse
        broken = bytearray(whole)
        broken[dice.randrange(len(broken))] ^= 1 << dice.randrange(8)
        try:
            sets = Sets(bytes(broken))
            for number in range(len(sets)):
                expand(sets, number)
        except InputError:
            continue


def test_every_member_with_its_shortest_way() -> None:
    sets = sets_of(
        as_set("AS-TOP", "AS-A", "AS-B", 1), as_set("AS-A", "AS-DEEP"), as_set("AS-B", 3), as_set("AS-DEEP", 2, 3)
    )
    found = expanded(sets, "AS-TOP")
    assert found.asns.keys() == {1, 2, 3} and not found.cut
    assert found.way(found.asns[2]) == ["RADB::AS-TOP", "RADB::AS-A", "RADB::AS-DEEP"]
    assert found.way(found.asns[3]) == ["RADB::AS-TOP", "RADB::AS-B"]
    assert found.membership(found.asns[1]) == "a member of AS-TOP (RADB)"
    assert found.membership(found.asns[2]) == (
        "a member of AS-DEEP (RADB), which is in AS-A (RADB), which is in AS-TOP (RADB)"
    )


def test_loops_end_and_share_all_members() -> None:
    sets = sets_of(as_set("AS-A", "AS-B", 1), as_set("AS-B", "AS-C", 2), as_set("AS-C", "AS-A", "AS-C", 3))
    for name in ("AS-A", "AS-B", "AS-C"):
        assert expanded(sets, name).asns.keys() == {1, 2, 3}


def test_missing_empty_held_and_odd_are_told() -> None:
    sets = sets_of(
        as_set("AS-TOP", "AS-EMPTY", "AS-GONE", "AS-HELD", odd=2), as_set("AS-EMPTY", odd=1),
        as_set("AS-HELD", 7, flags=SetFlag.HELD, kept=1, offered=5),
    )  # fmt: skip
    found = expanded(sets, "AS-TOP")
    assert (found.missing, found.empty, found.held) == (
        ["RADB::AS-GONE"],
        ["RADB::AS-EMPTY"],
        {"RADB::AS-HELD": (1, 5)},
    )
    assert found.odd == 3 and found.asns.keys() == {7}
    assert "AS-HELD (RADB), held back at its former content, which is in AS-TOP" in found.membership(found.asns[7])


def test_caps_cut_and_say_so() -> None:
    chain = sets_of(*(as_set(f"AS-{n}", n + 1, f"AS-{n + 1}") for n in range(60)), as_set("AS-60", 61))
    deep = expanded(chain, "AS-0")
    assert deep.cut and deep.asns.keys() == set(range(1, 33))
    assert expanded(chain, "AS-0", depth=61).asns.keys() == set(range(1, 62))
    assert not expanded(chain, "AS-0", depth=61).cut
    wide = sets_of(as_set("AS-TOP", *(f"AS-{n}" for n in range(50))), *(as_set(f"AS-{n}", n + 1) for n in range(50)))
    few = expanded(wide, "AS-TOP", most_sets=11)
    assert few.cut and len(few.asns) == 10
    large = expanded(sets_of(as_set("AS-X", *range(1, 1001))), "AS-X", most=100)
    assert large.cut and len(large.asns) == 100


def test_what_range_operators_look_like() -> None:
    cases = [
        (ranged("8.8.0.0/16"), "8.8.0.0/16"),
        (ranged("8.8.0.0/16", 16, 32), "8.8.0.0/16^+"),
        (ranged("8.8.0.0/16", 17, 32), "8.8.0.0/16^-"),
        (ranged("8.8.0.0/16", 24), "8.8.0.0/16^24"),
        (ranged("8.8.0.0/16", 20, 24), "8.8.0.0/16^20-24"),
        (ranged("2a00::/32", 33, 128), "2a00::/32^-"),
    ]
    assert [str(one) for one, _ in cases] == [text for _, text in cases]


def test_names() -> None:
    assert is_route_set("RADB::AS1:RS-X") and not is_route_set("RADB::RS-X:AS-Y") and not is_route_set("AS1")
    assert readable("RADB::AS1:AS-X") == "AS1:AS-X (RADB)"
    for good in ("RADB::AS-X", "NIC.BR::AS1:AS-X:AS2", "RIPE-NONAUTH::RS-1"):
        assert QUALIFIED.fullmatch(good)
    for bad in ("AS-X", "RADB::AS1", "RADB::AS1:AS2", "::AS-X", "RADB::AS-", "RADB::AS-X:", "radb::AS-X"):
        assert not QUALIFIED.fullmatch(bad)
