"""What a mirror owes for going up and down, and for how long it is held for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornet.health.rule.damping import CEILING, CUT, REUSE, Flaps, faded, free_at, struck

HALF_LIFE = 900.0


def after(times: list[float], half_life: float = HALF_LIFE) -> Flaps:
    flaps = Flaps()
    for at in times:
        flaps = struck(faded(flaps, at, half_life))
    return flaps


def test_what_is_owed_halves() -> None:
    flaps = after([0.0])
    assert faded(flaps, HALF_LIFE, HALF_LIFE).owed == pytest.approx(0.5)
    assert faded(flaps, 10 * HALF_LIFE, HALF_LIFE).owed < 0.001


def test_the_fourth_outage_in_short_order_is_one_too_many() -> None:
    assert [after([60.0 * n for n in range(outages)]).held for outages in (1, 2, 3, 4)] == [False, False, False, True]
    assert not after([HALF_LIFE * n for n in range(50)]).held  # one in a quarter of an hour is nothing


def test_it_is_held_until_it_owes_one_which_the_clock_alone_decides() -> None:
    flaps = after([0.0, 60.0, 120.0, 180.0])
    free = free_at(flaps, HALF_LIFE)
    assert 25 * 60 < free - 180 < 30 * 60
    assert faded(flaps, free - 1, HALF_LIFE).held
    assert not faded(flaps, free + 1, HALF_LIFE).held
    assert faded(faded(flaps, free / 2, HALF_LIFE), free + 1, HALF_LIFE).owed < REUSE


def test_no_history_costs_more_than_three_half_lives() -> None:
    flaps = after([float(n) for n in range(1000)])
    assert flaps.owed == CEILING
    assert free_at(flaps, HALF_LIFE) - flaps.at == pytest.approx(3 * HALF_LIFE)


def test_no_half_life_no_debt() -> None:
    assert faded(struck(Flaps()), 5.0, 0.0) == Flaps(at=5.0)


@given(st.lists(st.floats(0, 1e6), max_size=30), st.floats(1, 1e5), st.floats(-1e3, 1e6))
def test_held_means_above_reuse_and_is_over_when_it_says(gaps: list[float], half_life: float, later: float) -> None:
    at, flaps = 0.0, Flaps()
    for gap in gaps:
        at += gap
        flaps = struck(faded(flaps, at, half_life))
        assert flaps.held or flaps.owed <= CUT
        assert 0 < flaps.owed <= CEILING
    then = faded(flaps, at + later, half_life)  # a clock that is set back takes nothing away
    if flaps.held and abs(at + later - free_at(flaps, half_life)) > 1e-6 * half_life:
        assert then.held is (at + later < free_at(flaps, half_life))
