"""The machine: its table, and the TTL promise held for all thresholds from 1 to 4 by exhaustive search."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from itertools import product

import pytest

from mirrornet.health.outcome import Kind, Outcome, Sample, worst
from mirrornet.health.state import (
    TABLE,
    Evidence,
    Level,
    Meter,
    Track,
    remaining,
    step,
    tick,
    verdict,
)
from mirrornet.model.verdict import State
from mirrornet.model.zone import HealthSettings

ALL = [HealthSettings(interval=10, up=up, ok=ok, down=down) for up, ok, down in product(range(1, 5), repeat=3)]
STANDARD = HealthSettings(interval=10, timeout=3, up=3, ok=2, down=3)


def reachable(settings: HealthSettings) -> set[Meter]:
    """Every meter that some sequence of probes leads to."""
    seen, waiting = {Meter()}, deque([Meter()])
    while waiting:
        meter = waiting.popleft()
        for evidence in Evidence:
            following = tick(meter, evidence, settings)
            if following not in seen:
                seen.add(following)
                waiting.append(following)
    return seen


def soonest_change(meter: Meter, settings: HealthSettings) -> int:
    """Probes until the level can differ, by trying all sequences of good and bad ones."""
    layer, depth = {meter}, 0
    while True:
        depth += 1
        layer = {tick(each, evidence, settings) for each in layer for evidence in (Evidence.GOOD, Evidence.BAD)}
        if any(each.level is not meter.level for each in layer):
            return depth


def test_the_table_has_a_rule_for_everything() -> None:
    assert set(TABLE) == set(product(Level, Evidence))


@pytest.mark.parametrize("settings", ALL, ids=lambda s: f"{s.up}-{s.ok}-{s.down}")
def test_the_promise_is_exact_in_every_reachable_state(settings: HealthSettings) -> None:
    states = reachable(settings)
    assert {meter.level for meter in states} == set(Level)
    for meter in states:
        assert remaining(meter, settings) == soonest_change(meter, settings)
        assert meter.good <= max(settings.up, settings.ok) and meter.bad <= settings.down


@pytest.mark.parametrize("settings", ALL, ids=lambda s: f"{s.up}-{s.ok}-{s.down}")
def test_damning_evidence_is_enough_at_once(settings: HealthSettings) -> None:
    for meter in reachable(settings):
        assert tick(meter, Evidence.DAMNING, settings).level is Level.OUT


def run(kinds: str, settings: HealthSettings = STANDARD, track: Track | None = None, start: float = 1000.0) -> Track:
    """`+` good, `-` failed, `c` corrupt, `s` stale, `l` lagging, one probe every 10 s."""
    names = {"+": Kind.OK, "-": Kind.FAILED, "c": Kind.CORRUPT, "s": Kind.STALE, "l": Kind.LAGGING}
    track = track or Track()
    for number, letter in enumerate(kinds):
        reason = "" if letter == "+" else f"probe said {names[letter]}"
        track = step(track, Outcome(names[letter], start + 10 * number, reason), settings)
    return track


@pytest.mark.parametrize(
    ("probes", "state"),
    [
        ("", State.UNKNOWN),
        ("+", State.UP),  # the first probe decides at once
        ("-", State.DOWN),
        ("+--", State.UP),
        ("+---", State.DOWN),
        ("+-+-+-", State.DOWN),  # failures need not be consecutive
        ("+--++--", State.UP),  # two good ones in a row forgive
        ("+---++", State.DOWN),
        ("+---+++", State.UP),
        ("+---++-+++", State.UP),
        ("+---++-++", State.DOWN),  # good ones must be in a row
        ("+c", State.CORRUPT),
        ("+c++", State.CORRUPT),
        ("+c++-", State.CORRUPT),  # down on top of it makes nobody honest
        ("+cs", State.CORRUPT),
        ("+c+++", State.UP),
        ("+s", State.STALE),
        ("+s-", State.DOWN),
        ("+s+++", State.UP),
        ("+l", State.LAGGING),
        ("+l-", State.LAGGING),
        ("+l+", State.UP),
        ("+s+ll", State.LAGGING),
        ("+---s", State.STALE),
    ],
)
def test_the_state_after_these_probes(probes: str, state: State) -> None:
    assert run(probes).state is state


@pytest.mark.parametrize(
    ("probes", "promise"),
    [("", 1), ("+", 20), ("+-", 10), ("+--", 1), ("+--+", 1), ("+--++", 20), ("-", 20), ("-+", 10), ("-++", 1)],
)
def test_the_promise_after_these_probes(probes: str, promise: float) -> None:
    assert verdict(run(probes), STANDARD).promise == promise


def test_since_is_the_time_of_the_last_change_and_flips_are_counted() -> None:
    track = run("++---+++")
    assert (track.since, track.flips) == (1070.0, 2)
    assert [(change.at, change.state) for change in track.changes] == [
        (1000.0, State.UP),
        (1040.0, State.DOWN),
        (1070.0, State.UP),
    ]


def test_reasons_say_how_far_it_is_from_leaving() -> None:
    assert run("+-").reason == "probe said failed; 1 of 3 bad probes"
    assert run("+-+").reason == "good again, probe 1 of 2; 1 of 3 bad probes"
    assert run("+---+").reason == "probe said failed; good again, probe 1 of 3"
    assert run("+c-").reason == "probe said corrupt"
    assert run("+---+++").reason == ""


def test_a_corrupt_mirror_is_asked_for_its_bad_blocks_until_it_is_back() -> None:
    bad = Sample("debian", b"\1" * 32, 10)
    track = step(run("+"), Outcome(Kind.CORRUPT, 1100, "bad", suspects=(bad,)), STANDARD)
    assert track.suspects == (bad,)
    track = run("++", track=track, start=1200)
    assert track.suspects == (bad,)
    track = run("+", track=track, start=1300)
    assert (track.state, track.suspects) == (State.UP, ())


def test_turning_stale_by_the_clock_is_inside_the_promise() -> None:
    track = step(Track(), Outcome(Kind.LAGGING, 1000, "behind", until=1030), STANDARD)
    # the next outcome is at most 13 s away, so 17 s are left that nothing can break
    assert verdict(track, STANDARD).promise == 17
    assert verdict(replace(track, until=1500.0), STANDARD).promise == 20
    assert verdict(replace(track, until=1001.0), STANDARD).promise == 1


def test_the_select_url_has_a_meter_of_its_own() -> None:
    def look(track: Track, serves: bool | None) -> Track:
        return step(track, Outcome(Kind.OK, track.at + 10, serves_select=serves), STANDARD)

    track = look(Track(), True)
    assert verdict(track, STANDARD).serves_select is True
    track = look(look(track, False), False)
    assert verdict(track, STANDARD).serves_select is True
    assert verdict(track, STANDARD).promise == 1  # it could leave A and AAAA with the next probe
    track = look(track, None)
    assert verdict(track, STANDARD).serves_select is True
    track = look(track, False)
    assert verdict(track, STANDARD).serves_select is False
    assert track.state is State.UP


def test_an_image_that_is_missing_leaves_holds_after_down_probes() -> None:
    track = Track()
    for number in range(4):
        track = step(track, Outcome(Kind.OK, number * 10.0, images={"debian": True}), STANDARD)
    assert verdict(track, STANDARD).holds is None
    for number in range(3):
        track = step(track, Outcome(Kind.OK, 50 + number * 10.0, images={"debian": True, "arch": number > 9}), STANDARD)
    assert verdict(track, STANDARD).holds == {"debian"}
    assert track.state is State.UP


def test_the_worst_address_decides_and_is_named() -> None:
    good = Outcome(Kind.OK, 10, rtt_ms=5, version=7, serves_select=True)
    bad = Outcome(Kind.FAILED, 11, "connection refused", version=6, serves_select=None)
    both = worst([("192.0.2.1", good), ("2001:db8::1", bad)])
    assert (both.kind, both.reason) == (Kind.FAILED, "2001:db8::1: connection refused")
    assert (both.version, both.rtt_ms, both.serves_select, both.at) == (6, 5, True, 11)
    assert worst([("192.0.2.1", bad)]).reason == "connection refused"
    some = (replace(good, images={"a": True, "b": False}), replace(good, images={"a": False, "b": True, "c": True}))
    for pair in (some, some[::-1]):
        assert worst([("x", outcome) for outcome in pair]).images == {"a": False, "b": False, "c": True}


def test_a_family_we_cannot_route_is_no_evidence_unless_it_is_all() -> None:
    blind = Outcome(Kind.BLIND, 10, "this machine has no route there")
    assert worst([("2001:db8::1", blind), ("192.0.2.1", Outcome(Kind.LAGGING, 10))]).kind is Kind.LAGGING
    assert worst([("2001:db8::1", blind), ("192.0.2.1", Outcome(Kind.FAILED, 10))]).kind is Kind.FAILED
    assert worst([("2001:db8::1", blind)]).kind is Kind.FAILED
