"""The choice of a mirror under a clock that the test moves."""

from __future__ import annotations

import itertools

from mirrornet.client.mirrors.breaker import COOL_OFF, CORRUPT_OFF, RAMP
from mirrornet.client.mirrors.choice import HEDGE, Blame, Choice
from mirrornet.client.mirrors.source import Endpoint

SIZE = 200_000


def _choice(*names: str) -> Choice:
    choice = Choice()
    choice.update(Endpoint(name, f"http://{name}", rank=rank) for rank, name in enumerate(names))
    return choice


def _good(choice: Choice, name: str, first: float, now: float, rate: float = 1e7) -> None:
    choice.asked(name, now)
    choice.began(name, first, now)
    choice.verified(name, SIZE, SIZE / rate, now)
    choice.ended(name, now)


def _names(choice: Choice, now: float, block: bytes | None = None) -> list[str]:
    return [endpoint.name for endpoint in choice.order(block, SIZE, now)]


def test_before_anything_is_known_dns_decides_and_everyone_is_due() -> None:
    choice = _choice("a", "b", "c")
    assert _names(choice, 0.0) == ["a", "b", "c"]
    assert [endpoint.name for endpoint in choice.due(0.0)] == ["a", "b", "c"]


def test_the_fastest_goes_first_and_the_unmeasured_last() -> None:
    choice = _choice("a", "b", "c")
    _good(choice, "b", 0.2, 0.0)
    _good(choice, "a", 0.05, 0.0)
    assert _names(choice, 0.0) == ["a", "b", "c"]
    _good(choice, "c", 0.01, 1.0)
    assert _names(choice, 1.0)[0] == "c"
    assert choice.due(15.0) == []
    assert {endpoint.name for endpoint in choice.due(30.0)} == {"a", "c"}, "the two best are kept warm"
    assert {endpoint.name for endpoint in choice.due(100.0)} == {"a", "b", "c"}


def test_a_liar_that_leaves_dns_and_returns_is_still_a_liar() -> None:
    choice = _choice("a", "b")
    _good(choice, "b", 0.01, 0.0)
    choice.failed("a", Blame.CORRUPT, "liar", 1.0)
    a, b = (record.endpoint for record in choice.records())
    choice.update([b])
    assert _names(choice, 2.0) == ["b"]
    assert [record.name for record in choice.former()] == ["a"]
    choice.update([a, b])
    assert choice.former() == []
    assert _names(choice, 3.0) == ["b", "a"]
    assert choice.records()[0].corrupt_until == 1.0 + CORRUPT_OFF
    choice.update([b, Endpoint("a", "http://elsewhere")])
    assert choice.records()[0].blames == {}, "another URL is another mirror"


def test_what_cannot_be_told_apart_stays_in_the_order_of_dns() -> None:
    choice = _choice("a", "b", "c")
    _good(choice, "a", 0.0021, 0.0)
    _good(choice, "b", 0.0010, 0.0)
    _good(choice, "c", 0.0900, 0.0)
    assert _names(choice, 0.0) == ["a", "b", "c"], "1.1 ms is noise"
    _good(choice, "b", 0.0500, 1.0)
    for _ in range(30):
        _good(choice, "a", 0.0950, 1.0)
    assert _names(choice, 1.0)[0] == "b", "the best is far from the others, whatever DNS says"


def test_requests_that_fail_together_are_punished_once() -> None:
    choice = _choice("a", "b", "c")
    for name in ("b", "c"):
        _good(choice, name, 0.5, 0.0)
    for _ in range(12):
        choice.failed("a", Blame.UNREACHABLE, "reset", 1.0)
    assert choice.records()[0].out_until == 1.0 + COOL_OFF[0]
    for _ in range(12):
        choice.failed("b", Blame.CORRUPT, "liar", 2.0)
    assert choice.records()[1].corrupt_until == 2.0 + CORRUPT_OFF


def test_two_equals_do_not_alternate() -> None:
    choice = _choice("a", "b")
    firsts = set()
    for step in range(50):
        _good(choice, "a", 0.040 + 0.004 * (step % 2), step)
        _good(choice, "b", 0.044 - 0.004 * (step % 2), step)
        firsts.add(_names(choice, step)[0])
    assert firsts == {"a"}


def test_requests_under_way_spread_a_crowd() -> None:
    choice = _choice("a", "b")
    _good(choice, "a", 0.01, 0.0, rate=2e6)
    _good(choice, "b", 0.05, 0.0, rate=2e6)
    assert _names(choice, 0.0)[0] == "a"
    for _ in range(4):
        choice.asked("a", 0.0)
    assert _names(choice, 0.0)[0] == "a", "the line may carry more than was ever asked of it"
    for _ in range(4):
        choice.began("a", 0.5, 0.0)  # a queue
    assert _names(choice, 0.0)[0] == "b"


def test_three_failures_take_it_out_for_doubling_times_and_a_block_brings_it_back() -> None:
    choice = _choice("a", "b")
    _good(choice, "a", 0.01, 0.0)
    _good(choice, "b", 0.5, 0.0)
    for _ in range(2):
        choice.failed("a", Blame.UNREACHABLE, "x", 1.0)
    assert _names(choice, 1.0) == ["a", "b"]
    choice.failed("a", Blame.UNREACHABLE, "x", 1.0)
    assert _names(choice, 1.0) == ["b", "a"], "out, yet the last resort"
    now, pauses = 1.0, []
    for _ in range(8):
        record = choice.records()[0]
        assert record.out_until is not None
        pauses.append(record.out_until - now)
        now = record.out_until
        assert "a" not in [e.name for e in choice.due(now - 0.01)]
        _good(choice, "b", 0.5, now)
        assert [e.name for e in choice.due(now)] == ["a"]
        choice.failed("a", Blame.UNREACHABLE, "x", now)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    assert pauses[0] == COOL_OFF[0] and pauses[-1] == COOL_OFF[1]
    _good(choice, "a", 0.01, now)
    assert choice.records()[0].out_until is None
    assert _names(choice, now) == ["b", "a"], "back, but not with all the load at once"
    assert _names(choice, now + RAMP) == ["a", "b"]


def test_one_corrupt_block_is_ten_minutes_even_with_a_good_block_between() -> None:
    choice = _choice("a", "b")
    _good(choice, "a", 0.01, 0.0)
    _good(choice, "b", 0.5, 0.0)
    choice.failed("a", Blame.CORRUPT, "liar", 10.0)
    _good(choice, "a", 0.01, 20.0)
    assert _names(choice, 10.0 + CORRUPT_OFF - 1) == ["b", "a"]
    _good(choice, "b", 0.5, 10.0 + CORRUPT_OFF)
    assert [e.name for e in choice.due(10.0 + CORRUPT_OFF)] == ["a"]
    _good(choice, "a", 0.01, 10.0 + CORRUPT_OFF)
    assert _names(choice, 10.0 + CORRUPT_OFF + RAMP) == ["a", "b"]
    assert choice.records()[0].blames[Blame.CORRUPT] == 1 and choice.records()[0].last_blame == "liar"


def test_who_lies_again_when_he_may_prove_himself_is_out_for_twice_as_long() -> None:
    choice = _choice("a", "b")
    choice.failed("a", Blame.CORRUPT, "liar", 0.0)
    choice.failed("a", Blame.CORRUPT, "liar", CORRUPT_OFF)
    assert choice.records()[0].out_until == CORRUPT_OFF + 2 * CORRUPT_OFF


def test_a_404_is_about_one_block() -> None:
    choice = _choice("a", "b")
    choice.lacks("a", b"x", 0.0)
    assert _names(choice, 1.0, b"x") == ["b"]
    assert _names(choice, 1.0, b"y") == ["a", "b"]
    assert _names(choice, 1000.0, b"x") == ["a", "b"], "a mirror that was being synced has it by now"
    assert not choice.records()[0].blames


def test_when_all_fail_the_network_is_to_blame_and_nobody_is_out() -> None:
    choice = _choice("a", "b", "c")
    for name in "abc":
        _good(choice, name, 0.01, 0.0)
    for step in range(20):
        for name in "abc":
            choice.failed(name, Blame.UNREACHABLE, "x", 1.0 + step * 0.1)
    assert choice.network_down
    assert all(record.out_until is None for record in choice.records())
    _good(choice, "b", 0.01, 5.0)
    assert not choice.network_down


def test_one_dead_mirror_is_not_excused_by_others_long_ago() -> None:
    choice = _choice("a", "b")
    choice.failed("b", Blame.UNREACHABLE, "x", 0.0)
    for step in range(3):
        choice.failed("a", Blame.UNREACHABLE, "x", 100.0 + step)
    assert choice.records()[0].out_until is not None


def test_the_hedge_has_a_floor_a_cap_and_a_budget() -> None:
    choice = _choice("a", "b")
    assert HEDGE[0] <= choice.hedge_delay("a") <= HEDGE[1]
    for step in range(50):
        _good(choice, "a", 0.0001, step, rate=1e9)
    assert choice.hedge_delay("a") == HEDGE[0]
    for step in range(50):
        _good(choice, "b", 30.0, step)
    assert choice.hedge_delay("b") == HEDGE[1]
    allowed = 0
    for _ in range(1000):
        choice.asked("a", 60.0)
        choice.ended("a", 60.0)
        allowed += choice.may_hedge("a", 0.05, 60.0)
    assert 50 <= allowed <= 57, "5 % and the first burst"
    assert choice.may_hedge("a", HEDGE[1], 60.0), "past the cap it always goes"


def test_losing_to_the_hedge_three_times_is_failing() -> None:
    choice = _choice("a", "b")
    _good(choice, "a", 0.01, 0.0)
    for step in range(3):
        choice.asked("a", step)
        _good(choice, "b", 0.1, step + 0.2)
        choice.lost("a", 0.2, "silent", step + 0.2)
        choice.ended("a", step + 0.2)
    record = choice.records()[0]
    assert record.out_until is not None and record.first_byte is not None and record.first_byte > 0.05


def test_a_request_that_lost_while_its_mirror_served_others_is_no_failure() -> None:
    choice = _choice("a", "b")
    _good(choice, "a", 0.01, 0.0)
    for step in range(1, 10):
        choice.asked("a", step)
        choice.heard("a", 1000, step + 0.1)
        choice.lost("a", 0.2, "slow", step + 0.2)
    assert choice.records()[0].out_until is None and not choice.records()[0].blames


def test_a_silent_mirror_falls_back_before_any_deadline_and_is_gone_when_others_answer() -> None:
    choice = _choice("a", "b")
    for _ in range(30):
        _good(choice, "a", 0.01, 0.0)
        _good(choice, "b", 0.05, 0.0)
    assert _names(choice, 0.0)[0] == "a"
    choice.asked("a", 10.0)
    assert _names(choice, 10.01)[0] == "a"
    assert _names(choice, 10.1)[0] == "b", "silent for longer than the other takes"
    assert choice.gone("a", 10.5), "nobody else was asked, so nobody knows better"
    choice.asked("b", 10.2)
    assert not choice.gone("a", 10.5), "b is silent, too: the network may be down"
    choice.heard("b", 1000, 10.5)
    assert choice.gone("a", 10.5)
    choice.heard("a", 1000, 10.6)
    assert not choice.gone("a", 10.6)
    choice.heard("a", 1000, 12.7)
    assert _names(choice, 12.7)[0] == "a"


def test_hedges_beyond_the_budget_go_only_where_a_mirror_is_gone() -> None:
    choice = _choice("a", "b")
    _good(choice, "a", 0.01, 0.0)
    while choice.may_hedge("a", 0.1, 0.0):
        pass
    choice.asked("a", 1.0)
    assert not choice.may_hedge("a", 0.09, 1.09)
    assert choice.may_hedge("a", 0.3, 1.3), "one goes, to find out"
    choice.asked("b", 1.3)
    assert not choice.may_hedge("a", 0.3, 1.35), "and no more before it answers"
    choice.heard("b", 1000, 1.4)
    assert choice.may_hedge("a", 0.4, 1.4)


def test_the_favourite_changes_once_in_two_seconds_at_most() -> None:
    choice = _choice("a", "b")
    changes = []
    for step in range(400):
        now = step * 0.1
        good = "a" if step // 10 % 2 else "b"
        for name in "ab":
            _good(choice, name, 0.02 if name == good else 0.2, now)
        before = choice.favourite
        _names(choice, now)
        if choice.favourite != before:
            changes.append(now)
    assert len(changes) >= 3, "it does follow"
    assert all(later - earlier >= 1.99 for earlier, later in itertools.pairwise(changes[1:])), changes


def test_who_returns_gets_a_growing_share() -> None:
    choice = _choice("a", "b")
    _good(choice, "a", 0.01, 0.0)
    _good(choice, "b", 0.5, 0.0)
    for _ in range(3):
        choice.failed("a", Blame.UNREACHABLE, "x", 0.0)
    _good(choice, "a", 0.01, 2.0)
    shares = []
    for begun in (2.0, 16.0, 31.0):
        firsts = [_names(choice, begun + step / 100)[0] for step in range(100)]
        shares.append(firsts.count("a"))
    assert 8 <= shares[0] <= 14 and 50 <= shares[1] <= 65 and shares[2] >= 96, shares
    choice.failed("a", Blame.UNREACHABLE, "x", 20.0)
    out_until = choice.records()[0].out_until
    assert out_until == 22.0, "one failure is enough meanwhile, and the pause is doubled"


def test_prefetch_fills_windows_and_does_not_go_far_away() -> None:
    choice = _choice("near", "close", "far")
    for name, first in (("near", 0.04), ("close", 0.05), ("far", 0.5)):
        _good(choice, name, first, 0.0)
    order = choice.order(None, SIZE, 0.0)
    assert [one.name for one in choice.roomy(order, SIZE, 0.0)] == ["near", "close"]
    for _ in range(choice.records()[0].window.limit):
        choice.asked("near", 0.0)
    order = choice.order(None, SIZE, 0.0)
    assert next(one.name for one in choice.roomy(order, SIZE, 0.0)) == "close"
    for _ in range(choice.records()[1].window.limit):
        choice.asked("close", 0.0)
    assert choice.roomy(choice.order(None, SIZE, 0.0), SIZE, 0.0) == []


def test_a_new_list_keeps_what_is_known_of_the_same_mirror() -> None:
    choice = _choice("a", "b")
    _good(choice, "a", 0.01, 0.0)
    choice.update([Endpoint("a", "http://a", ("192.0.2.1",), 5), Endpoint("c", "http://c", (), 0)])
    assert [record.name for record in choice.records()] == ["c", "a"]
    assert choice.records()[1].first_byte == 0.01
    choice.update([Endpoint("a", "http://elsewhere", (), 0)])
    assert choice.records()[0].first_byte is None
    choice.failed("gone", Blame.SLOW, "x", 0.0)  # a fetch that ends after its mirror left the list
    choice.verified("gone", 1, 1, 1)
