"""From objects of registries to sets in a table: whose claim counts, which name is meant, what is held back."""

from __future__ import annotations

from mirrornet.model.address import parse_prefix
from mirrornet.model.sets import NamedSet, PrefixRange, SetFlag, Sets, encode
from mirrornet.radb.facts import AutNum, Claim, Members, Route, SetObject
from mirrornet.radb.sets.changes import Changes, compare
from mirrornet.radb.sets.gather import Gathered
from mirrornet.radb.sets.resolve import digest, resolve
from mirrornet.radb.sets.section import make
from mirrornet.radb.sources import rank


def said(name: str, *members: int | str, source: str = "RADB", by_ref: str = "", newest: int = 0) -> SetObject:
    asns = tuple(m for m in members if isinstance(m, int))
    refs = tuple(m for m in members if isinstance(m, str))
    class_name = "route-set" if "RS-" in name else "as-set"
    return SetObject(class_name, name, source, Members(asns, refs), tuple(by_ref.split()), newest)


def gathered(*objects: SetObject | AutNum | Route) -> Gathered:
    found = Gathered()
    for one in objects:
        if isinstance(one, SetObject):
            found.add(one)
        else:
            found.claim(one)
    return found


def seat(asn: int, sets: str, maintainers: str, source: str = "RADB") -> AutNum:
    return AutNum(asn, "", source, (), Claim(tuple(sets.split()), tuple(maintainers.split())))


def route(prefix: str, sets: str, maintainers: str) -> Route:
    found = parse_prefix(prefix)
    return Route(4, found.value, found.length, 1, "RADB", 0, (), Claim(tuple(sets.split()), tuple(maintainers.split())))


def test_a_claim_counts_only_where_the_set_names_the_maintainer() -> None:
    found = resolve(
        gathered(
            said("AS-SHUT", 1),
            said("AS-SOME", 1, by_ref="MAINT-A MAINT-B"),
            said("AS-OPEN", 1, by_ref="ANY"),
            seat(2, "AS-SHUT AS-SOME AS-OPEN AS-NONE", "MAINT-B MAINT-C"),
            seat(3, "AS-SHUT AS-SOME AS-OPEN", "MAINT-C"),
            seat(4, "AS-OPEN RIPE::AS-OPEN", "MAINT-B", source="RIPE"),  # maintainers of RIPE say nothing in RADB
            seat(5, "RADB::AS-SOME", "MAINT-A"),
            seat(6, "AS-OPEN", ""),
        ),
        rank,
    )
    assert found.sets["RADB::AS-SHUT"].asns == (1,)
    assert found.sets["RADB::AS-SOME"].asns == (1, 2, 5)
    assert found.sets["RADB::AS-OPEN"].asns == (1, 2, 3, 6)
    assert (found.claimed, found.refused) == (5, 6)


def test_routes_claim_route_sets_and_aut_nums_as_sets() -> None:
    found = resolve(
        gathered(
            said("RS-X", by_ref="ANY"), said("AS-X", by_ref="ANY"),
            route("8.8.8.0/24", "RS-X AS-X", "M"), seat(15169, "RS-X AS-X", "M"),
        ),
        rank,
    )  # fmt: skip
    assert [str(one) for one in found.sets["RADB::RS-X"].prefixes] == ["8.8.8.0/24"]
    assert found.sets["RADB::AS-X"].asns == (15169,) and found.refused == 2


def test_an_unqualified_name_means_ones_own_source_then_the_best() -> None:
    found = resolve(
        gathered(
            said("AS-TOP", "AS-BOTH", "AS-ELSEWHERE", "LEVEL3::AS-BOTH", "AS-NONE"),
            said("AS-BOTH", 1), said("AS-BOTH", 2, source="RIPE"), said("AS-BOTH", 3, source="LEVEL3"),
            said("AS-ELSEWHERE", 4, source="LEVEL3"), said("AS-ELSEWHERE", 5, source="NTTCOM"),
        ),
        rank,
    )  # fmt: skip
    assert found.sets["RADB::AS-TOP"].sets == (
        "RADB::AS-BOTH", "NTTCOM::AS-ELSEWHERE", "LEVEL3::AS-BOTH", "RADB::AS-NONE",
    )  # fmt: skip
    assert len(found.sets) == 6
    without = resolve(gathered(said("AS-TOP", "AS-X"), said("AS-X", 1, source="BELL")), lambda s: 255 * (s == "BELL"))
    assert list(without.sets) == ["RADB::AS-TOP"] and without.sets["RADB::AS-TOP"].sets == ("RADB::AS-X",)


def test_of_two_objects_of_one_name_the_newest_stays_whatever_the_order() -> None:
    old, new, other = said("AS-X", 1, newest=5), said("AS-X", 2, newest=9), said("AS-X", 3, newest=9)
    for order in ((old, new), (new, old)):
        assert gathered(*order).objects["RADB", "AS-X"].members.asns == (2,)
    assert gathered(new, other).objects == gathered(other, new).objects


def named(name: str, *members: int | str, prefixes: tuple[PrefixRange, ...] = ()) -> NamedSet:
    asns = tuple(m for m in members if isinstance(m, int))
    refs = tuple(f"RADB::{m}" for m in members if isinstance(m, str))
    return NamedSet(f"RADB::{name}", asns, refs, prefixes, digest=digest(asns, refs, prefixes))


def compared(before: list[NamedSet], after: list[NamedSet], *confirmed: str) -> tuple[Changes, Sets]:
    changes = compare({one.name: one for one in after}, Sets.read(encode(before)), confirmed)
    return changes, Sets(encode(changes.sets.values()))


def content(changes: Changes, name: str) -> set[int]:
    """All AS numbers in a set, by the slowest and plainest way."""
    found: set[int] = set()
    waiting, seen = [f"RADB::{name}"], set()
    while waiting:
        one = changes.sets.get(waiting.pop())
        if one is not None and one.name not in seen:
            seen.add(one.name)
            found.update(one.asns)
            waiting.extend(one.sets)
    return found


TEN = [*range(1, 11)]


def test_thirty_percent_pass_and_more_is_held_with_both_counts() -> None:
    before = [named("AS-X", *TEN)]
    for after in ([*range(1, 14)], [*range(1, 9), 21], [*range(1, 8)], TEN):
        assert compared(before, [named("AS-X", *after)])[0].held == []
    for after, offered in (([*range(1, 15)], 14), ([*range(1, 9), 21, 22], 10), ([*range(1, 7)], 6), ([], 0)):
        changes, _ = compared(before, [named("AS-X", *after)])
        assert changes.held == ["RADB::AS-X"]
        kept = changes.sets["RADB::AS-X"]
        assert kept.asns == tuple(TEN) and kept.flags is SetFlag.HELD and (kept.kept, kept.offered) == (10, offered)


def test_a_stranger_in_a_small_set_is_held_and_a_new_name_is_not() -> None:
    changes, _ = compared([named("AS-X", 1, 2)], [named("AS-X", 1, 2, 666), named("AS-NEW", *range(1, 99))])
    assert changes.held == ["RADB::AS-X"] and content(changes, "AS-X") == {1, 2}
    assert len(content(changes, "AS-NEW")) == 98
    assert compared([named("AS-X")], [named("AS-X", 666)])[0].held == ["RADB::AS-X"]


def test_a_set_that_vanishes_is_kept_until_confirmed() -> None:
    before = [named("AS-X", 1, 2), named("AS-EMPTY"), named("AS-TOP", "AS-X", 9)]
    after = [named("AS-TOP", "AS-X", 9)]
    changes, _ = compared(before, after)
    assert changes.held == ["RADB::AS-X"] and changes.sets["RADB::AS-X"].flags == SetFlag.HELD | SetFlag.GONE
    assert content(changes, "AS-TOP") == {1, 2, 9} and "RADB::AS-EMPTY" not in changes.sets
    changes, _ = compared(before, after, "RADB::AS-X")
    assert changes.accepted == ["RADB::AS-X"] and changes.held == []
    assert content(changes, "AS-TOP") == {9}


def test_the_lowest_that_jumps_is_held_and_those_above_follow_it() -> None:
    before = [named("AS-TOP", "AS-MID", 50), named("AS-MID", "AS-LOW", 40), named("AS-LOW", 1, 2, 3)]
    after = [*before[:2], named("AS-LOW", *range(1, 30))]
    changes, sets = compared(before, after)
    assert changes.held == ["RADB::AS-LOW"]
    assert content(changes, "AS-TOP") == {50, 40, 1, 2, 3}
    assert changes.sets["RADB::AS-TOP"].sets == ("RADB::AS-MID",)  # the way stays
    again = compare({one.name: one for one in after}, sets, ())
    assert again.held == ["RADB::AS-LOW"] and again.sets["RADB::AS-LOW"].offered == 29
    back = compare({one.name: one for one in before}, sets, ())
    assert back.held == [] and not back.sets["RADB::AS-LOW"].flags
    freed = compare({one.name: one for one in after}, sets, ("RADB::AS-LOW",))
    assert freed.held == [] and freed.accepted == ["RADB::AS-LOW"]  # and what is above it, without another word
    assert len(content(freed, "AS-TOP")) == 31


def test_a_change_of_ones_own_above_a_confirmed_one_is_judged_for_itself() -> None:
    before = [named("AS-TOP", "AS-LOW"), named("AS-LOW", 1, 2, 3)]
    after = [named("AS-TOP", "AS-LOW", *range(100, 120)), named("AS-LOW", *range(1, 30))]
    changes, _ = compared(before, after, "RADB::AS-LOW")
    assert changes.accepted == ["RADB::AS-LOW"] and changes.held == ["RADB::AS-TOP"]
    assert content(changes, "AS-TOP") == {1, 2, 3}  # flat: its former list would mean something else now
    changes, _ = compared(before, after, "all")
    assert changes.held == [] and changes.accepted == ["RADB::AS-LOW", "RADB::AS-TOP"]


def test_in_a_loop_the_guilty_one_is_held_and_the_others_go_on() -> None:
    before = [named("AS-A", "AS-B", *range(1, 21)), named("AS-B", "AS-C", 30), named("AS-C", "AS-A", 40)]
    after = [named("AS-A", "AS-B", *range(1, 22)), named("AS-B", "AS-C", 30), named("AS-C", "AS-A", *range(1000, 9999))]
    changes, _ = compared(before, after)
    assert changes.held == ["RADB::AS-A", "RADB::AS-C"]  # both changed, and all members are common to both
    assert content(changes, "AS-B") == {*range(1, 21), 30, 40}
    changes, _ = compared(before, [before[0], before[1], after[2]])
    assert changes.held == ["RADB::AS-C"]
    for name in ("AS-A", "AS-B", "AS-C"):
        assert content(changes, name) == {*range(1, 21), 30, 40}


def test_many_small_steps_below_are_one_jump_above() -> None:
    """Ten nested sets with the same members each gain three other ones: none jumps, their parent does."""
    before = [named("AS-TOP", *(f"AS-{n}" for n in range(10))), *(named(f"AS-{n}", *TEN) for n in range(10))]
    after = [before[0], *(named(f"AS-{n}", *TEN, *range(100 + 3 * n, 103 + 3 * n)) for n in range(10))]
    changes, _ = compared(before, after)
    assert changes.held == ["RADB::AS-TOP"] and content(changes, "AS-TOP") == set(TEN)
    assert len(content(changes, "AS-3")) == 13


def test_a_name_that_was_free_and_is_taken_by_a_stranger_is_a_jump_of_whoever_refers_to_it() -> None:
    before = [named("AS-TOP", "AS-FREE", 1, 2, 3)]
    changes, _ = compared(before, [*before, named("AS-FREE", 666, 667)])
    assert changes.held == ["RADB::AS-TOP"] and content(changes, "AS-TOP") == {1, 2, 3}


def test_prefixes_count_as_members() -> None:
    def ranges(*texts: str) -> tuple[PrefixRange, ...]:
        return tuple(PrefixRange(parse_prefix(t), parse_prefix(t).length, 32) for t in texts)

    before = [named("RS-X", prefixes=ranges("8.8.8.0/24", "9.9.9.0/24"))]
    changes, sets = compared(before, [named("RS-X", prefixes=ranges("8.8.8.0/24", "0.0.0.0/8"))])
    assert changes.held == ["RADB::RS-X"] and changes.sets["RADB::RS-X"].prefixes == before[0].prefixes
    assert compare({one.name: one for one in before}, sets, ()).held == []


def test_the_section_and_what_is_told() -> None:
    first, report = make(gathered(said("AS-X", 1, 2, "AS-NONE"), said("AS-E"), said("RS-X")), rank, None)
    assert (report.as_sets, report.route_sets, report.empty, report.missing, report.held_count) == (2, 1, 2, 1, 0)
    jumped = gathered(said("AS-X", *range(1, 50)), said("AS-E"), said("RS-X"))
    second, report = make(jumped, rank, Sets.read(first), ["RADB::AS-WRONG"])
    assert report.held == [{"name": "RADB::AS-X", "kept": 2, "offered": 49, "gone": False}]
    lines = "\n".join(report.lines())
    assert "RADB::AS-X (members kept 2, now 49): import again with --confirm RADB::AS-X" in lines
    assert "--confirm RADB::AS-WRONG: nothing of that name was held back" in lines
    _, report = make(jumped, rank, Sets.read(second), ["radb::as-x"])
    assert report.accepted == ["RADB::AS-X"] and report.held_count == 0
    assert make(gathered(), rank, None)[0] == b""
