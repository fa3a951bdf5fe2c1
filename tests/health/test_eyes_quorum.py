"""Many votes, one verdict: the same for all who have the same votes, and no single liar's."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornet.health.eyes.bounds import bound, effect
from mirrornet.health.eyes.observation import Statement
from mirrornet.health.eyes.places import barred, outvoted_weight
from mirrornet.health.eyes.quorum import Heeded, Judged, judge, needed
from mirrornet.model.address import Family
from mirrornet.model.verdict import State, Verdict, Verdicts
from mirrornet.model.zone import Vantage

NOW, LIFE = 1000.0, 33.0
UP = Verdict(State.UP, 20.0, since=500.0)
DOWN = Verdict(State.DOWN, 20.0, since=990.0, reason="connection refused")


def heeded(own: Verdict, quorum: int | None = None, **others: Verdict) -> Heeded:
    statements = {name: Statement("z", name, 1, NOW, {"tokyo": verdict}) for name, verdict in others.items()}
    return Heeded({"tokyo": own}, statements, NOW, LIFE, quorum)


def judged(own: Verdict, quorum: int | None = None, **others: Verdict) -> Judged:
    return judge(heeded(own, quorum, **others))["tokyo"]


def test_without_others_it_is_ones_own_eyes() -> None:
    assert judged(UP).verdict is UP
    assert judged(DOWN).verdict is DOWN
    unknown = Verdict(State.UNKNOWN, 1.0)
    assert judged(unknown).verdict is unknown


@pytest.mark.parametrize(
    ("own", "others", "quorum", "state"),
    [
        (UP, [DOWN], None, State.UP),  # a tie keeps it
        (DOWN, [UP], None, State.UP),
        (UP, [DOWN, DOWN], None, State.DOWN),
        (DOWN, [UP, UP], None, State.UP),
        (UP, [DOWN, DOWN, UP], None, State.UP),
        (UP, [DOWN, DOWN, DOWN], None, State.DOWN),
        (UP, [DOWN, UP, UP], 1, State.DOWN),
        (UP, [DOWN, DOWN, UP], 2, State.DOWN),
        (DOWN, [DOWN], 3, State.DOWN),  # fewer than the quorum: all of them
        (DOWN, [UP], 3, State.UP),
        (Verdict(State.UNKNOWN, 1.0), [DOWN], None, State.DOWN),
        (UP, [Verdict(State.LAGGING, 9.0), Verdict(State.SLOW, 9.0)], None, State.LAGGING),
        (UP, [Verdict(State.LAGGING, 9.0)], None, State.UP),
        (Verdict(State.STALE, 9.0), [DOWN], None, State.STALE),  # the worse of equals
        (Verdict(State.STALE, 9.0), [DOWN, DOWN], None, State.DOWN),
        (Verdict(State.CORRUPT, 9.0), [UP, UP, UP], None, State.CORRUPT),  # seen with own eyes
        (UP, [Verdict(State.CORRUPT, 9.0), UP, UP], None, State.UP),  # said by another
    ],
)
def test_the_rule(own: Verdict, others: list[Verdict], quorum: int | None, state: State) -> None:
    names = {f"v{number}": verdict for number, verdict in enumerate(others)}
    assert judged(own, quorum, **names).verdict.state is state


def test_needed() -> None:
    assert [needed(votes, None) for votes in range(1, 6)] == [1, 2, 2, 3, 3]
    assert [needed(votes, 3) for votes in range(1, 6)] == [1, 2, 3, 3, 3]


def test_ones_own_statement_is_no_second_vote() -> None:
    statements = {
        "ns1": Statement("z", "ns1", 1, NOW, {"tokyo": DOWN}),
        "b": Statement("z", "b", 1, NOW, {"tokyo": UP}),
    }
    found = judge(Heeded({"tokyo": DOWN}, statements, NOW, LIFE, None, "ns1"))["tokyo"]
    assert (len(found.votes), found.verdict.state) == (2, State.UP)


def test_who_is_outvoted_is_named() -> None:
    found = judged(DOWN, fra1=UP, tok1=UP)
    assert found.outvoted == ("",)
    assert found.verdict.reason == "2 of 3 eyes; not here (down)"
    found = judged(UP, fra1=DOWN, tok1=DOWN)
    assert found.outvoted == ("",)
    assert found.verdict.reason == "fra1: connection refused; 2 of 3 eyes; not here (up)"
    assert found.verdict.since == 990.0
    assert judged(UP, fra1=UP, tok1=DOWN).outvoted == ("tok1",)
    assert judged(DOWN, fra1=DOWN).verdict.reason == "connection refused"
    assert judged(replace(DOWN, state=State.CORRUPT), fra1=UP).outvoted == ()


def test_the_promise_is_that_of_the_last_vote_needed() -> None:
    def up(promise: float) -> Verdict:
        return replace(UP, promise=promise)

    assert judged(up(5), a=up(10), b=up(20)).verdict.promise == 10  # two of three have to fall
    assert judged(up(5), a=up(10), b=DOWN).verdict.promise == 5
    assert judged(up(50), 1, a=up(40), b=up(60)).verdict.promise == 33  # not longer than statements count
    down = replace(DOWN, promise=7)
    assert judged(down, a=down, b=replace(down, promise=3)).verdict.promise == 7
    old = Heeded({"tokyo": up(30)}, {"a": Statement("z", "a", 1, NOW - 8, {"tokyo": up(10)})}, NOW, LIFE)
    assert judge(old)["tokyo"].verdict.promise == 25  # both have to fall; a's promise has aged, and ends with its life
    assert judge(replace(old, quorum=1))["tokyo"].verdict.promise == 2


def test_what_a_plan_goes_by_is_voted_on_among_those_who_reach_it() -> None:
    both = replace(UP, serves_select=True, holds=frozenset({"a", "b"}), families=None, share=1.0)
    half = replace(UP, serves_select=False, holds=frozenset({"a"}), families=frozenset({4}), share=0.2)
    found = judged(both, v=half, w=half).verdict
    assert (found.serves_select, found.holds, found.families, found.share) == (False, {"a"}, frozenset({4}), 0.2)
    found = judged(both, v=both, w=half).verdict
    assert (found.serves_select, found.holds, found.families, found.share) == (True, {"a", "b"}, None, 1.0)
    found = judged(DOWN, v=both, w=both).verdict
    assert (found.state, found.serves_select, found.holds) == (State.UP, True, {"a", "b"})
    none_known = replace(UP, holds=None)
    assert judged(none_known, v=none_known, w=half).verdict.holds is None
    mute = replace(UP, families=frozenset())
    assert judged(mute, v=mute).verdict.families is None  # usable over no family at all is nonsense


def test_who_has_no_ipv6_says_nothing_of_it() -> None:
    mute = replace(UP, families=frozenset({4}))

    def families(own: Verdict, **others: frozenset[Family]) -> frozenset[Family] | None:
        statements = {name: Statement("z", name, 1, NOW, {"tokyo": UP}, (), sees) for name, sees in others.items()}
        return judge(Heeded({"tokyo": own}, statements, NOW, LIFE))["tokyo"].verdict.families

    assert families(mute, a=frozenset({4}), b=frozenset({4})) == {4}
    assert families(mute, a=frozenset({4, 6}), b=frozenset({4})) is None
    assert families(UP, a=frozenset({4}), b=frozenset({4})) is None


def test_who_sees_nothing_of_its_families_has_no_vote_on_a_mirror() -> None:
    blind = {name: Statement("z", name, 1, NOW, {"six": DOWN}, (), frozenset({4})) for name in ("a", "b", "c")}
    both = frozenset({4, 6})
    found = judge(Heeded({"six": UP}, blind, NOW, LIFE, None, "", both, {"six": frozenset({6})}))["six"]
    assert (found.verdict.state, len(found.votes)) == (State.UP, 1)
    found = judge(Heeded({"six": UP}, blind, NOW, LIFE, None, "", both, {"six": both}))["six"]
    assert (found.verdict.state, len(found.votes)) == (State.DOWN, 4)


STATES = st.sampled_from([State.UP, State.LAGGING, State.SLOW, State.DOWN, State.STALE, State.CORRUPT])
ANY = st.builds(
    Verdict,
    state=STATES,
    promise=st.sampled_from([1.0, 10.0, 20.0]),
    serves_select=st.sampled_from([None, True, False]),
    holds=st.sampled_from([None, frozenset({"a"}), frozenset({"a", "b"})]),
    families=st.sampled_from([None, frozenset({4}), frozenset({6})]),
    share=st.sampled_from([1.0, 0.5]),
)
QUORUM = st.sampled_from([None, 1, 2, 3])


def planned(verdict: Verdict) -> tuple[object, ...]:
    return verdict.state, verdict.serves_select, verdict.holds, verdict.families, verdict.share


@given(st.lists(ANY.filter(lambda one: one.state is not State.CORRUPT), min_size=2, max_size=5), QUORUM)
def test_servers_that_hear_each_other_agree(seen: list[Verdict], quorum: int | None) -> None:
    """Each of them with its own eyes as "own" and the others as statements: no leader, one answer."""
    names = [f"ns{number}" for number in range(len(seen))]
    statements = {name: Statement("z", name, 1, NOW, {"tokyo": one}) for name, one in zip(names, seen, strict=True)}
    found = {
        planned(judge(Heeded({"tokyo": own}, statements, NOW, LIFE, quorum, name))["tokyo"].verdict)
        for name, own in zip(names, seen, strict=True)
    }
    assert len(found) == 1


@given(ANY.filter(lambda one: one.state is not State.CORRUPT), st.lists(ANY, min_size=1, max_size=4), QUORUM)
def test_the_order_in_which_they_are_heard_is_nothing(own: Verdict, seen: list[Verdict], quorum: int | None) -> None:
    named = {f"v{number}": verdict for number, verdict in enumerate(seen)}
    found = {planned(judged(own, quorum, **dict(order)).verdict) for order in itertools.permutations(named.items())}
    assert len(found) == 1


@given(ANY, ANY, st.integers(2, 5))
def test_one_liar_moves_nothing(truth: Verdict, lie: Verdict, honest: int) -> None:
    """Of three or more votes a single one decides nothing, whatever it says."""
    others = {f"v{number}": truth for number in range(honest - 1)}
    assert planned(judged(truth, liar=lie, **others).verdict) == planned(judged(truth, **others).verdict)


# -- places

FRA1, FRA2, TOK1 = Vantage("fra1", b"1", 64500, "DE"), Vantage("fra2", b"2", 64501, "DE"), Vantage("tok1", b"3", 64502)
LISTED = {vantage.name: vantage for vantage in (FRA1, FRA2, TOK1, Vantage("ns1", b"4", 64500), Vantage("any", b"5"))}


def where(own: dict[str, Verdict], others: dict[str, dict[str, Verdict]], speaker: str = "") -> dict[str, set[str]]:
    statements = {name: Statement("z", name, 1, NOW, verdicts) for name, verdicts in others.items()}
    found = judge(Heeded(own, statements, NOW, LIFE, None, speaker))
    weights = dict.fromkeys(own, 100)
    return {mirror: set(items) for mirror, items in barred(found, LISTED, weights, 0.3, speaker).items()}


def world(**changed: Verdict) -> dict[str, Verdict]:
    return dict.fromkeys(("m1", "m2", "m3", "m4"), UP) | changed


def test_dead_for_one_network_only() -> None:
    cut = world(m1=DOWN)
    assert where(world(), {"fra1": cut, "tok1": world()}) == {"m1": {"AS64500"}}
    assert where(world(), {"fra1": cut, "tok1": world(), "any": world()}) == {"m1": {"AS64500"}}
    # one machine says nothing of a country; two do, and a third that reaches it takes it back
    others = {"fra1": cut, "fra2": cut, "tok1": world(), "any": world()}
    assert where(world(), others) == {"m1": {"AS64500", "AS64501", "DE"}}
    # in the same AS somebody reaches it
    assert where(world(), {"fra1": cut, "tok1": world()}, "ns1") == {}
    # this server's own network
    assert where(cut, {"fra2": world(), "tok1": world()}, "ns1") == {"m1": {"AS64500"}}
    assert where(cut, {"fra2": world(), "tok1": world()}) == {}
    # out for all: nobody is barred
    assert where(cut, {"fra1": cut, "tok1": world()}) == {}


def test_who_reaches_hardly_anything_moves_nobody() -> None:
    dark = dict.fromkeys(("m1", "m2", "m3", "m4"), DOWN)
    others = {"fra1": dark, "tok1": world()}
    assert where(world(), others) == {}
    found = judge(Heeded(world(), {"fra1": Statement("z", "fra1", 1, NOW, dark)}, NOW, LIFE))
    assert outvoted_weight(found, dict.fromkeys(world(), 100)) == {"fra1": 1.0}


# -- bounds


def test_others_move_a_third_at_most() -> None:
    base: Verdicts = world()
    dark: Verdicts = dict.fromkeys(base, DOWN)
    weights = dict.fromkeys(base, 100)
    found = bound(base, dark, weights, 0.3, {"m3": 3, "m1": 1})
    assert [name for name, one in found.verdicts.items() if not one.usable] == ["m3"]
    assert (found.moved, found.stopped) == (0.25, ("m1", "m2", "m4"))
    assert "others say down, but may move 30% of the weight at most" in found.verdicts["m1"].reason
    assert bound(base, base, weights, 0.3, {}).stopped == ()
    assert bound(dark, base, weights, 0.5, {}).moved == 0.5  # giving is moving, too
    assert bound(base, dark, weights, 1.0, {}).verdicts == dark
    half = {**base, "m1": replace(UP, share=0.5), "m2": replace(UP, share=0.9)}
    assert bound(base, half, weights, 0.3, {}).moved == pytest.approx(0.15)
    assert bound({}, dark, weights, 0.3, {}).verdicts == dark  # new mirrors are not moved
    assert bound(base, {**base, "m1": DOWN}, {**weights, "m1": 200}, 0.3, {}).stopped == ("m1",)


@given(
    st.lists(st.tuples(ANY, ANY, st.integers(1, 500)), min_size=1, max_size=12),
    st.sampled_from([0.0, 0.1, 0.3, 1.0]),
)
def test_never_more_than_the_bound(mirrors: list[tuple[Verdict, Verdict, int]], limit: float) -> None:
    base = {f"m{number}": one for number, (one, _, _) in enumerate(mirrors)}
    wished = {f"m{number}": one for number, (_, one, _) in enumerate(mirrors)}
    weights = {f"m{number}": weight for number, (_, _, weight) in enumerate(mirrors)}
    found = bound(base, wished, weights, limit, {})
    moved = sum(weights[name] * abs(effect(found.verdicts[name]) - effect(base[name])) for name in base)
    assert moved <= limit * sum(weights.values()) * (1 + 1e-6)
    for name in found.stopped:
        assert planned(found.verdicts[name]) == planned(base[name])
    for name in base.keys() - set(found.stopped):
        assert found.verdicts[name] == wished[name]
