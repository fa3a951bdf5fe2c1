"""A soak's faults leave enough standing, whatever the dice say; and its judge knows what was promised."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirrornet.lab.soak.judge import Asked, Memory, Reads, judge, told
from mirrornet.lab.soak.schedule import GOOD, LIARS, OF_MIRRORS, OF_SERVERS, RECOVERY, STEP, Kind, good, schedule

MIRRORS = ("a", "b", "c", "d", "e", "f")
SERVERS = ("one", "two")
FINE = Reads("reader", 100, 1000, 1.0, 0.5, 32.0)
QUIET = [Asked("one", float(at), 200, 0, 0) for at in range(100)]


@settings(deadline=None)
@given(st.integers(0, 2**32), st.floats(30, 1200))
def test_whoever_is_struck_others_stand(seed: int, seconds: float) -> None:
    faults = schedule(random.Random(seed).random, seconds, MIRRORS, SERVERS, ("c",))
    assert faults == schedule(random.Random(seed).random, seconds, MIRRORS, SERVERS, ("c",))
    assert len(faults) >= (seconds - 30) / STEP / 2
    for fault in faults:
        assert 0 < fault.at < fault.until <= seconds - RECOVERY
        for moment in (fault.at, fault.until):
            assert len(good(moment, faults, MIRRORS)) >= GOOD
            hurt = [one for one in faults if one.at <= moment <= one.until and one.kind in OF_SERVERS]
            assert len({one.target for one in hurt}) < len(SERVERS)
        others = [one for one in faults if one is not fault and one.target == fault.target != ""]
        assert not any(one.at <= fault.at < one.until + RECOVERY for one in others)
        assert (fault.target in MIRRORS) == (fault.kind in OF_MIRRORS)
        assert (fault.target in SERVERS) == (fault.kind in OF_SERVERS)
    assert len({fault.target for fault in faults if fault.kind is Kind.CORRUPT}) <= LIARS


def test_every_kind_is_drawn_in_a_long_day() -> None:
    faults = schedule(random.Random(1).random, 3000, MIRRORS, SERVERS, ("c",))
    assert {fault.kind for fault in faults} == set(Kind)
    assert all(fault.target == "c" for fault in faults if fault.kind is Kind.FILL)


def test_too_few_to_hurt_any_is_an_error() -> None:
    with pytest.raises(ValueError, match="more mirrors"):
        schedule(random.Random(1).random, 60, MIRRORS[:4], SERVERS)


def test_a_quiet_day_keeps_every_promise() -> None:
    memory = [Memory("mount 7", [(float(at), 80_000_000 + 1000 * at) for at in range(0, 600, 5)])]
    found = judge([FINE], QUIET, memory, {})
    assert [one.kept for one in found] == [True, True, True]


@pytest.mark.parametrize(
    "reads",
    [
        replace(FINE, troubled=[(3.0, "4096 bytes at 0 are wrong")]),
        replace(FINE, slowest=33.0),
        replace(FINE, count=0),
    ],
)
def test_a_reader_in_trouble_is_found(reads: Reads) -> None:
    (finding,) = judge([reads], [], [], {})
    assert not finding.kept


def test_an_answer_counts_where_nobody_had_a_hand_in_it() -> None:
    asked = [replace(one, lost=200) if 40 <= one.at < 60 else one for one in QUIET]
    assert not judge([], asked, [], {})[0].kept
    assert not judge([], asked, [], {"one": [(50.0, 60.0)]})[0].kept
    assert judge([], asked, [], {"one": [(40.0, 60.0)]})[0].kept
    assert not judge([], asked, [], {"two": [(40.0, 60.0)]})[0].kept
    wrong = [replace(one, wrong=1) if one.at == 9 else one for one in QUIET]
    assert not judge([], wrong, [], {})[0].kept
    assert judge([], [replace(one, lost=1) if one.at == 9 else one for one in QUIET], [], {})[0].kept
    assert not judge([], QUIET, [], {"one": [(0.0, 100.0)]})[0].kept  # never asked in peace: nothing was proven


def test_memory_that_grows_is_found_and_a_short_life_is_not_judged() -> None:
    grows = Memory("serve 1", [(float(at), 50_000_000 + 40_000 * at) for at in range(0, 600, 5)])
    (finding,) = judge([], [], [grows], {})
    assert not finding.kept
    assert judge([], [], [Memory("serve 1", grows.samples[:10])], {}) == []


def test_what_was_done_is_told_where_a_promise_was_broken() -> None:
    faults = schedule(random.Random(1).random, 60, MIRRORS, SERVERS)
    assert str(faults[0]) in told(judge([replace(FINE, count=0)], [], [], {}), faults, {"visits": 3})
    assert str(faults[0]) not in told(judge([FINE], [], [], {}), faults, {})
