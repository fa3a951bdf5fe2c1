"""Slow: against its own past, with what all others do taken off, and slow enough for anybody."""

from __future__ import annotations

from mirrornet.health.rule.outcome import Kind, Outcome
from mirrornet.health.rule.pace import ENOUGH, Pace, judge, learn, weather

TIMEOUT = 3.0


def past(taken: float, probes: int = 60, every: float = 10.0) -> Pace:
    pace = Pace()
    for number in range(probes):
        pace = learn(pace, taken, every * number, slow=False)
    return pace


def slow(taken: float, pace: Pace, grown: float = 1.0, timeout: float = TIMEOUT) -> bool | None:
    return judge(Outcome(Kind.OK, 1000, rtt_ms=taken), pace, grown, timeout).slow


def test_three_times_what_is_usual_and_a_quarter_of_a_second_more() -> None:
    assert slow(905, past(300)) is True
    assert slow(895, past(300)) is False
    assert slow(250, past(10)) is False  # 25 times, and nobody notices
    assert slow(265, past(10)) is True


def test_far_is_not_slow() -> None:
    assert slow(640, past(600)) is False


def test_it_takes_some_probes_to_know_what_is_usual() -> None:
    assert slow(900, past(10, ENOUGH - 1)) is False
    assert slow(900, past(10, ENOUGH)) is True


def test_a_second_and_half_of_the_timeout_is_slow_for_anybody() -> None:
    assert slow(1501, Pace()) is True
    assert slow(1499, Pace()) is False
    assert slow(999, Pace(), timeout=1.0) is False  # half of a short timeout is not slow


def test_where_all_are_slow_at_once_the_cause_is_at_our_end() -> None:
    paces = [learn(past(100 + n), 500 + 5 * n, 600.0, slow=True) for n in range(5)]
    grown = weather(paces)
    assert 4.5 < grown < 5.5
    assert slow(500, past(100), grown) is False
    assert slow(1450, past(100), 1.0) is True and slow(1450, past(100), grown) is False
    assert weather(paces[:1]) == 1.0  # one other says nothing
    assert weather([past(100)] * 3) == 1.0
    assert weather([Pace(), Pace(), Pace()]) == 1.0


def test_usual_follows_within_minutes_and_a_slow_mirror_within_a_day() -> None:
    pace = past(100)
    for number in range(180):  # half an hour at 150 ms
        pace = learn(pace, 150, 600 + 10.0 * number, slow=False)
    assert 145 < pace.usual_ms <= 150
    for number in range(360):  # an hour of overload
        pace = learn(pace, 2000, 2400 + 10.0 * number, slow=True)
    assert 200 < pace.usual_ms < 300
    for number in range(4 * 8640):
        pace = learn(pace, 2000, 6000 + 10.0 * number, slow=True)
    assert pace.usual_ms > 1900  # it is there for good


def test_one_slow_probe_hardly_moves_what_is_usual() -> None:
    pace = learn(past(100), 3000, 600, slow=False)
    assert pace.usual_ms < 160


def test_only_a_good_probe_has_a_pace() -> None:
    for kind in set(Kind) - {Kind.OK, Kind.LAGGING}:
        assert judge(Outcome(kind, 0, rtt_ms=9000), past(10), 1.0, TIMEOUT).slow is None
    assert judge(Outcome(Kind.OK, 0), past(10), 1.0, TIMEOUT).slow is None
    told = judge(Outcome(Kind.OK, 0, rtt_ms=900), past(100), 1.0, TIMEOUT)
    assert (told.pace, told.reason) == ("takes 900 ms to the first byte, usual is 100", "")
