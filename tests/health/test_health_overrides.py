"""What an operator's word makes of verdicts, and what becomes of what he asks for.  The time is an argument."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornet.health.words import asking
from mirrornet.health.words.asking import Asked, change, parse, warnings
from mirrornet.health.words.overrides import STEP, apply, described, emptied, next_change, overridden, share
from mirrornet.model.errors import InputError
from mirrornet.model.override import Action, Override, in_force, merged, recalled, told
from mirrornet.model.verdict import State, Verdict
from mirrornet.model.zone import Mirror, Select, Zone

NOW = 1_000_000.0  # on the grid of a drain
UP = Verdict(State.UP, 20.0, 900.0, "", 12.5, True, None, 7)
DOWN = Verdict(State.DOWN, 30.0, 950.0, "no answer in 3 s", None, False, frozenset({"a"}), 7, frozenset(), 0.5)
MIRRORS = {"z.test": ["fra1", "fra2", "tokyo"], "other.test": ["fra1", "oslo"]}


def drain(rate: float = 10.0, until: float | None = None, at: float = NOW) -> Override:
    return Override("z.test", "fra1", Action.DRAIN, at, until, "alice", "disks", rate)


def forced(action: Action, until: float | None = None) -> Override:
    return Override("z.test", "fra1", action, NOW, until, "alice")


def test_a_drain_goes_down_by_its_rate_and_ends_in_drained() -> None:
    seen = [share(drain(), NOW + second) for second in range(0, 700, 10)]
    assert seen[0] == pytest.approx(1 - 10 / 6 / 100)  # the first step is at once
    assert seen[30] == pytest.approx(1 - 31 * 10 / 6 / 100)
    assert seen[59] == 0 and seen[58] > 0
    assert emptied(drain()) == NOW + 590
    last = overridden(UP, drain(), NOW + 589)
    assert last.usable and last.state is State.UP and last.share == pytest.approx(1 / 60) and last.since == UP.since
    assert last.promise == 1  # TTLs shrink towards the end
    assert overridden(UP, drain(), NOW + 30).promise == UP.promise
    out = overridden(UP, drain(), NOW + 590)
    assert (out.state, out.usable, out.share, out.since) == (State.DRAINED, False, 0.0, NOW + 590)
    assert out.override == drain()
    assert "drain by alice, 10 % a minute (disks)" in out.reason and "probes: up" in out.reason


def test_a_drain_at_once() -> None:
    out = overridden(UP, drain(rate=0), NOW)
    assert (out.state, out.share, out.promise) == (State.DRAINED, 0.0, math.inf)
    assert emptied(drain(rate=6000)) == NOW and share(drain(rate=6000), NOW) == 0


def test_all_drains_of_all_servers_step_together() -> None:
    first, second = drain(at=NOW + 3), replace(drain(at=NOW + 7.5), mirror="fra2")
    assert next_change([first, second], NOW + 8) == NOW + 10
    assert share(first, NOW + 9.99) == share(second, NOW + 9.99) > share(first, NOW + 10) == share(second, NOW + 10)


@given(
    rate=st.just(0.0) | st.floats(0.01, 6000),
    at=st.floats(0, 4e9),
    times=st.lists(st.floats(-100, 1e5), min_size=2, max_size=20),
)
def test_a_drain_never_goes_back_and_is_over_when_it_says(rate: float, at: float, times: list[float]) -> None:
    override = drain(rate, at=at)
    shares = [share(override, at + after) for after in sorted(times)]
    assert shares == sorted(shares, reverse=True)
    assert all(0 <= part <= 1 for part in shares)
    end = emptied(override)
    assert share(override, end + 0.001) == 0
    assert end == at or share(override, end - STEP / 2) > 0


@given(
    words=st.lists(st.tuples(st.sampled_from(["drain", "force-up"]), st.floats(0, 1e4), st.floats(1, 1e4))),
    now=st.floats(0, 2e4),
)
def test_nothing_changes_before_next_change(words: list[tuple[str, float, float]], now: float) -> None:
    held = {
        ("z.test", str(number)): Override("z.test", str(number), Action(verb), at, at + lasts, rate=10)
        for number, (verb, at, lasts) in enumerate(words)
    }
    verdicts = {"z.test": {name: replace(UP, promise=0.0) for _, name in held}}

    def seen(at: float) -> list[tuple[State, float]]:
        return [(v.state, v.share) for v in apply(verdicts, held, at)["z.test"].values()]

    change = next_change(held.values(), now)
    assert change > now
    middle = now + min(change - now, 1e6) * 0.999
    assert seen(middle) == seen(now)


def test_force_down_is_out_whatever_probes_say_and_stands_until_its_end() -> None:
    out = overridden(UP, forced(Action.FORCE_DOWN, NOW + 50), NOW)
    assert (out.state, out.usable, out.promise, out.share) == (State.FORCED_DOWN, False, 50, 0.0)
    assert overridden(UP, forced(Action.FORCE_DOWN), NOW).promise == math.inf
    # The probes agree, so their promise counts beyond the end.
    assert overridden(DOWN, forced(Action.FORCE_DOWN, NOW + 5), NOW).promise == DOWN.promise


def test_force_up_overrides_all_but_what_is_on_the_mirror() -> None:
    barred = replace(DOWN, state=State.CORRUPT, barred={"AS64500": "no route"})
    out = overridden(barred, forced(Action.FORCE_UP, NOW + 50), NOW + 1)
    assert (out.state, out.usable, out.share, out.families, out.barred) == (State.FORCED_UP, True, 1.0, None, {})
    assert out.serves_select is None and out.holds == DOWN.holds
    assert (out.since, out.promise) == (NOW, 49)
    assert "probes: corrupt, no answer in 3 s" in out.reason


def test_overrides_touch_nobody_else_and_end_by_themselves() -> None:
    verdicts = {"z.test": {"fra1": UP, "tokyo": UP}, "other.test": {"fra1": UP}}
    held = {
        one.key: one for one in [forced(Action.FORCE_DOWN, NOW + 60), Override("gone", "x", Action.DRAIN, NOW, rate=1)]
    }
    after = apply(verdicts, held, NOW)
    assert after["z.test"]["tokyo"] is UP and after["other.test"]["fra1"] is UP
    assert not after["z.test"]["fra1"].usable
    assert apply(verdicts, held, NOW + 60) == verdicts
    assert next_change(held.values(), NOW + 60) == NOW + 70  # the drain of a mirror that is not there


def test_the_newest_word_counts_on_every_server_alike() -> None:
    here, there = forced(Action.FORCE_UP), replace(forced(Action.FORCE_DOWN), at=NOW + 1, origin="ns2")
    over = Override("z.test", "fra1", Action.AUTO, NOW + 2, NOW + 100, origin="ns3")
    assert in_force([here, there], NOW + 1) == in_force([there, here], NOW + 1) == {there.key: there}
    assert in_force([there, over, here], NOW + 3) == {}
    assert merged([over, here])[over.key] is over
    assert in_force([replace(there, until=NOW + 5), here], NOW + 6) == {}  # what it replaced does not come back
    future = replace(there, at=NOW + 1000)
    assert in_force([here, future], NOW) == {here.key: here}  # another's word from the future
    assert in_force([future], NOW + 950) == {future.key: future}  # but for a clock a little ahead


def test_an_override_goes_through_json_and_nothing_else_does() -> None:
    for override in (
        drain(),
        forced(Action.FORCE_UP, NOW + 9),
        Override("z", "m", Action.AUTO, 1.0, 2.0, origin="ns2"),
    ):
        assert recalled(json.loads(json.dumps(told(override)))) == override
    good = told(drain(until=NOW + 5))
    bad: list[object] = [None, [], "x", {}, {**good, "extra": 1}, {k: v for k, v in good.items() if k != "at"}]
    bad += [{**good, key: value} for key, value in [
        ("zone", ""), ("mirror", 3), ("mirror", "x" * 256), ("action", "explode"), ("action", ["drain"]),
        ("at", "soon"), ("at", math.nan), ("at", True), ("at", -1), ("at", 2.0**60), ("until", -1),
        ("until", math.inf), ("author", "a\nb"), ("why", "x" * 201), ("why", "\x1b[31m"), ("rate", -1), ("rate", 1e9),
        ("rate", 1e-300), ("rate", False), ("rate", "0"),
        ("origin", None),
    ]]  # fmt: skip
    for document in bad:
        with pytest.raises(ValueError, match=r"\w"):
            recalled(document)


def ask(**fields: Any) -> Asked:
    return parse({"action": "drain", "mirrors": ["fra1"], **fields})


def test_what_is_left_out_has_a_default_by_verb() -> None:
    assert ask() == Asked(Action.DRAIN, ("fra1",), "", None, "", 10.0)
    assert ask(**{"for": "2h", "rate": 0, "zone": "Z.test."}) == Asked(
        Action.DRAIN, ("fra1",), "z.test", 7200.0, "", 0.0
    )
    assert ask(action="force-up").seconds == 86400
    assert ask(action="force-down", **{"for": "forever"}).seconds is None
    assert ask(action="auto").seconds is None


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"action": "explode"}, "action: there are drain"),
        ({"action": None}, "action: there are drain"),
        ({"action": {}}, "action: there are drain"),
        ({"mirrors": []}, "mirrors: takes a list"),
        ({"mirrors": "fra1"}, "mirrors: takes a list"),
        ({"mirrors": [1]}, "mirrors: takes a text"),
        ({"mirrors": ["x" * 300]}, "255 are the most"),
        ({"mirrors": [str(n) for n in range(300)]}, "300 are too many"),
        ({"zone": 3}, "--zone: takes a text"),
        ({"for": "2 lightyears"}, "--for: '2 lightyears' is not a duration"),
        ({"for": "0s"}, "--for: 0s is out of range"),
        ({"for": "9999999999999d"}, "out of range"),
        ({"for": 7200}, "--for: takes a text"),
        ({"why": "a\nb"}, "--why: takes one line"),
        ({"why": "x" * 201}, "200 are the most"),
        ({"rate": "fast"}, "--rate: takes a number"),
        ({"rate": -1}, "out of range"),
        ({"rate": 1e-310}, "out of range"),
        ({"rate": False}, "takes a number"),
        ({"rate": math.inf}, "takes a number"),
        ({"action": "force-up", "rate": 5}, "only a drain"),
        ({"action": "auto", "for": "2h"}, "leave it out"),
        ({"wy": "x"}, "did you mean why?"),
    ],
)
def test_bad_requests_are_refused_by_name(fields: dict[str, object], told: str) -> None:
    with pytest.raises(InputError) as caught:
        parse({"action": "drain", "mirrors": ["fra1"], **fields}, dash="--")
    assert told in str(caught.value) and "\n" not in str(caught.value)


def test_a_request_that_is_no_object() -> None:
    for document in (None, [], "drain", 3):
        with pytest.raises(InputError, match="takes an object"):
            parse(document)


@given(
    document=st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["action", "mirrors", "zone", "for", "why", "rate", "x"]), inner, max_size=7
            )
        ),
        max_leaves=12,
    ),
    action=st.sampled_from([*Action, "x"]),
)
def test_any_document_is_read_or_refused_in_one_line(document: object, action: str) -> None:
    for each in (document, {"action": action, "mirrors": ["fra1"], **(document if isinstance(document, dict) else {})}):
        try:
            asked = parse(each)
            change(asked, MIRRORS, {}, (), "alice", NOW)
        except InputError as error:
            assert str(error) and "\n" not in str(error)


def names(held: Mapping[tuple[str, str], Override]) -> list[str]:
    return sorted(f"{zone}/{mirror}" for zone, mirror in held)


def test_names_and_patterns_find_mirrors_of_all_zones_or_one() -> None:
    def found(*patterns: str, zone: str = "") -> list[str]:
        return names(change(ask(mirrors=list(patterns), zone=zone), MIRRORS, {}, (), "alice", NOW).held)

    assert found("fra1") == ["other.test/fra1", "z.test/fra1"]
    assert found("fra*", zone="z.test") == ["z.test/fra1", "z.test/fra2"]
    assert found("FRA2", "to*o") == ["z.test/fra2", "z.test/tokyo"]
    assert len(found("*")) == 5


@pytest.mark.parametrize(
    ("patterns", "zone", "told"),
    [
        (["tokio"], "", "there is no mirror 'tokio': did you mean tokyo?"),
        (["fra1", "par*"], "", "no mirror fits 'par*'"),
        (["oslo"], "z.test", "there is no mirror 'oslo'"),
        (["fra1"], "zz.test", "zone zz.test is not served here: did you mean z.test?"),
    ],
)
def test_what_fits_nothing_spoils_the_request(patterns: list[str], zone: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        change(ask(mirrors=patterns, zone=zone), MIRRORS, {}, (), "alice", NOW)
    assert told in str(caught.value)


def test_a_request_becomes_overrides_with_author_time_and_end() -> None:
    asked = ask(**{"for": "2h", "why": "disks", "zone": "z.test"})
    done = change(asked, MIRRORS, {}, (), "alice", NOW)
    assert done.held == {("z.test", "fra1"): drain(until=NOW + 7200)}
    assert done.lines == ("z.test: fra1: " + described(drain(until=NOW + 7200)),)
    assert "until 1970-01-12 15:46:40 UTC (disks)" in done.lines[0]
    # A new word is newer than the old one, though the clock went back, and ends when it says.
    again = change(ask(action="force-up", zone="z.test"), MIRRORS, done.held, (), "bob", NOW - 5)
    word = again.held["z.test", "fra1"]
    assert (word.author, word.until) == ("bob", NOW - 5 + 86400) and NOW < word.at < NOW + 1
    # One of a clock that was a year ahead is replaced, and not followed into its year.
    year = {("z.test", "fra1"): drain(at=NOW + 3e7)}
    again = change(ask(zone="z.test"), MIRRORS, year, (), "bob", NOW)
    assert again.held["z.test", "fra1"].at == NOW


def test_auto_gives_back_and_tells_those_who_know_only_the_old_word() -> None:
    gone = Override("z.test", "gone", Action.DRAIN, NOW)
    ours = {one.key: one for one in (drain(), gone)}
    done = change(ask(action="auto", mirrors=["fra1", "gone"], zone="z.test"), MIRRORS, ours, (), "bob", NOW + 5)
    assert done.held == {}
    assert "no more drain by alice" in done.lines[0]
    theirs = replace(forced(Action.FORCE_DOWN), at=NOW + 50, origin="ns2")  # whose clock is ahead
    done = change(ask(action="auto", zone="z.test"), MIRRORS, {}, (theirs,), "bob", NOW + 5)
    assert in_force([*done.held.values(), theirs], NOW + 51) == {}
    nothing = change(ask(action="auto", mirrors=["tokyo"]), MIRRORS, {}, (), "bob", NOW)
    assert nothing.held == {} and nothing.lines == ("z.test: tokyo: auto by bob, it had no override",)
    assert nothing.pardoned == (("z.test", "tokyo"),)


def test_the_operator_is_told_when_much_or_all_is_out() -> None:
    mirrors = tuple(
        Mirror(name, f"http://{name}/", weight=weight) for name, weight in [("a", 50), ("b", 30), ("c", 20)]
    )
    zone = Zone(Path("z"), "z.test", "h@z", 1, {}, None, (Select("s", "http://s/"),), mirrors)
    verdicts = {"z.test": {"a": UP, "b": UP, "c": UP}}

    def told(*words: tuple[str, Action], own: dict[str, dict[str, Verdict]] = verdicts) -> list[str]:
        held = {("z.test", name): Override("z.test", name, action, NOW) for name, action in words}
        return warnings([zone], own, held, NOW)

    assert told(("b", Action.DRAIN)) == []
    assert told(("a", Action.DRAIN)) == [
        "z.test: 50% of the usable weight is out by hand then: 2 of 3 usable mirrors left"
    ]
    assert "no mirror is left" in told(*[(name, Action.FORCE_DOWN) for name in "abc"])[0]
    assert "no mirror is left" in told(("a", Action.DRAIN), own={"z.test": {"a": UP, "b": DOWN}})[0]
    assert told(("a", Action.DRAIN), ("b", Action.FORCE_UP), own={"z.test": {"a": UP}})[0].count("62%") == 1
    assert told(("b", Action.DRAIN), own={"z.test": {"a": UP, "b": DOWN, "c": UP}}) == []  # it was out before
    assert asking.MUCH == 0.3
