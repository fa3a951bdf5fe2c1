"""The window of prefetch, the measures of a mirror and its circuit breaker, each by itself."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornet.client.mirrors.breaker import COOL_OFF, RAMP, Breaker
from mirrornet.client.mirrors.measures import KEPT, Measures, Quantiles
from mirrornet.client.mirrors.window import RANGE, START, TARGET, Window


def _line(window: Window, way: float, rate: float, size: int, rounds: int, dice: random.Random) -> tuple[float, float]:
    """A window against a line of `rate` bytes a second: the queue it leaves (seconds), and the line's use."""
    queues, uses, now = [], [], 0.0
    window.answered(way, 1, now)  # a mirror is measured before it is used
    for _ in range(rounds):
        limit = window.limit
        round_trip = max(way, limit * size / rate)  # what is under way beyond the line waits in the queue
        uses.append(limit * size / (rate * round_trip))
        queues.append(round_trip - way)
        for _ in range(limit):
            now += round_trip / limit
            window.answered(round_trip + dice.uniform(0, 0.004), limit, now)
    tail = rounds // 2
    return max(queues[tail:]), sum(uses[tail:]) / len(uses[tail:])


@pytest.mark.parametrize(("way", "rate"), [(0.04, 25e6), (0.1, 6.25e6), (0.01, 25e6), (0.16, 12e6), (0.005, 2e6)])
def test_a_window_fills_the_line_and_hardly_queues(way: float, rate: float) -> None:
    window = Window()
    queue, use = _line(window, way, rate, 90_000, 60, random.Random(1))
    assert use >= 0.9 or window.limit == RANGE[1]
    assert queue <= min(max(0.5 * way, TARGET[0]), TARGET[1]) + 2 * 90_000 / rate + 0.004


def test_a_window_of_which_nobody_makes_use_stays_and_a_failure_halves_it_once() -> None:
    window = Window()
    for _ in range(50):
        window.answered(0.05, 1, 0.0)
    assert window.limit == START
    for _ in range(20):
        window.answered(0.05, 100, 0.0)
    assert window.limit == START + 20
    for _ in range(20):
        window.failed(1.0)
    assert window.limit == (START + 20) // 2
    window.failed(3.0)
    assert window.limit == (START + 20) // 4


@given(st.lists(st.floats(0.0001, 5.0), min_size=1, max_size=400))
def test_quantiles_are_those_of_the_last_ones(samples: list[float]) -> None:
    quantiles = Quantiles()
    for sample in samples:
        quantiles.add(sample)
    last = sorted(samples[-KEPT:])
    assert len(quantiles) == len(last)
    for share in (0.0, 0.5, 0.95, 1.0):
        assert quantiles.at(share) == last[min(int(share * len(last)), len(last) - 1)]


def test_requests_in_parallel_share_a_line_and_do_not_make_it_look_slower() -> None:
    measures = Measures()
    measures.first(0.04)
    for _ in range(20):
        measures.transfer(100_000, 1_000_000, 0.04)  # ten at once over 25 MB/s
    assert measures.peak == pytest.approx(25e6)
    assert measures.rate == pytest.approx(2.5e6)
    assert measures.predicted(100_000, 0) == pytest.approx(0.08)
    assert measures.predicted(1_000_000, 9) == pytest.approx(0.04 + 0.4)


def test_what_came_out_of_a_buffer_is_no_line() -> None:
    measures = Measures()
    measures.first(0.04)
    measures.transfer(100_000, 100_000, 0.0001)
    assert not measures.peaks and measures.rate == pytest.approx(1e9)
    measures.transfer(100_000, 100_000, 0.1)
    assert measures.peak == pytest.approx(1e6)
    assert measures.rate == pytest.approx(4e6, rel=0.01), "slow ones weigh what they cost"


def test_silence_counts_from_the_last_byte_and_ends_with_the_request() -> None:
    measures = Measures()
    measures.first(0.04)
    measures.asked(1.0)
    assert measures.silence(1.5) == 0.5
    measures.heard(10, 1.5, True)
    assert measures.silence(1.6) == pytest.approx(0.1)
    measures.rests(1.55)
    assert measures.silence(2.0) == 0.0, "it was not asked for long enough to say"
    measures.asked(3.0)
    measures.rests(4.0)
    assert measures.silence(5.0) == 2.0, "given up, and still silent"


def test_a_breaker_remembers_who_breaks_down_again() -> None:
    breaker = Breaker()
    for _ in range(3):
        breaker.failed(0.0)
    assert breaker.out_until == COOL_OFF[0] and breaker.share(0.5) == 0.0
    breaker.verified(1.0)
    assert breaker.share(1.0) == pytest.approx(0.1) and breaker.share(1.0 + RAMP / 2) == pytest.approx(0.55)
    breaker.failed(5.0)
    assert breaker.out_until == 5.0 + 2 * COOL_OFF[0]
    breaker.verified(7.0)
    assert breaker.share(7.0 + RAMP) == 1.0
    for _ in range(3):
        breaker.failed(100.0)
    assert breaker.out_until == 100.0 + COOL_OFF[0], "half a minute of good service counts"


def test_who_was_not_at_fault_comes_back_at_once_unless_he_lied() -> None:
    breaker, liar = Breaker(), Breaker()
    for _ in range(3):
        breaker.failed(0.0)
    liar.lied(0.0)
    for one in (breaker, liar):
        one.pardoned(0.5)
    assert breaker.share(0.5) == 1.0 and liar.share(0.5) == 0.0
