"""What a sequence of probes makes of a mirror: state, promise, reasons, families, pace, share."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mirrornet.health.rule.outcome import Heard, Kind, Outcome, Sample
from mirrornet.health.rule.state import AUDIT_STEP, Track, pardoned, step, verdict, verdicts
from mirrornet.health.rule.table import Level
from mirrornet.model.verdict import State
from mirrornet.model.zone import HealthSettings

STANDARD = HealthSettings(interval=10, timeout=3, up=3, ok=2, down=3)


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
    # the next outcome, should it come unannounced, is at most 23 s away, so 7 s are left that nothing can break
    assert verdict(track, STANDARD).promise == 7
    assert verdict(replace(track, until=1500.0), STANDARD).promise == 20
    assert verdict(replace(track, until=1001.0), STANDARD).promise == 1
    track = step(track, Outcome(Kind.FAILED, 1010, "no answer", retry_after=100), STANDARD)
    assert (track.until, track.within) == (1030, 113)  # what was seen before still turns stale


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


OK_4, DEAD_6 = Heard(Kind.OK), Heard(Kind.FAILED, "no answer within 3 s")


def test_a_family_leaves_and_comes_back_by_the_same_thresholds() -> None:
    def look(track: Track, six: Heard) -> Track:
        return step(track, Outcome(Kind.OK, track.at + 10, families={4: OK_4, 6: six}), STANDARD)

    track = look(Track(), OK_4)
    assert verdict(track, STANDARD).families is None
    for _ in range(2):
        track = look(track, DEAD_6)
    assert (verdict(track, STANDARD).families, verdict(track, STANDARD).promise) == (None, 1)
    track = look(track, DEAD_6)
    seen = verdict(track, STANDARD)
    assert (seen.state, seen.families, seen.reason) == (State.UP, {4}, "not over IPv6: no answer within 3 s")
    assert seen.answers(4) and not seen.answers(6)
    for _ in range(2):
        track = look(track, OK_4)
    assert verdict(track, STANDARD).families == {4}
    assert verdict(look(track, OK_4), STANDARD).families is None
    assert track.flips == 0


def test_of_a_mirror_that_is_down_nothing_is_said_of_families() -> None:
    """Fail open gives its addresses, all of them."""
    down = step(Track(), Outcome(Kind.FAILED, 10, "x", families={4: DEAD_6, 6: DEAD_6}), STANDARD)
    assert (verdict(down, STANDARD).state, verdict(down, STANDARD).families) == (State.DOWN, None)


def test_a_family_we_could_not_see_before_needs_as_many_bad_probes_as_any() -> None:
    track = step(Track(), Outcome(Kind.OK, 10, families={4: OK_4}), STANDARD)
    track = step(track, Outcome(Kind.OK, 20, families={4: OK_4, 6: DEAD_6}), STANDARD)
    assert verdict(track, STANDARD).families is None
    first = step(Track(), Outcome(Kind.OK, 10, families={4: OK_4, 6: DEAD_6}), STANDARD)
    assert verdict(first, STANDARD).families == {4}


def flapping(times: int, settings: HealthSettings = STANDARD) -> Track:
    return run("+" + "---+++" * (times - 1) + "---", settings)


def test_who_goes_up_and_down_is_held_and_then_comes_back() -> None:
    assert run("+++", track=flapping(3), start=2000).state is State.UP
    track = run("++++++", track=flapping(4), start=2000)
    seen = verdict(track, STANDARD)
    assert (track.meter.level, seen.state, seen.usable) == (Level.GATE, State.DOWN, False)
    assert "good again; held for" in seen.reason and "goes up and down" in seen.reason
    assert 800 < seen.promise < 900  # nobody's TTL suffers from it meanwhile
    left = seen.promise + track.within
    assert run("+", track=track, start=track.at + left - 2).state is State.DOWN
    assert run("+", track=track, start=track.at + left + 2).state is State.UP
    assert run("-", track=track, start=track.at + 10).meter.level is Level.OUT
    never = replace(STANDARD, damping=0.0)
    assert run("+++", never, flapping(20, never), 9000).state is State.UP


def test_a_family_that_flaps_is_held_alone() -> None:
    track = Track()
    for letter in "+" + "---+++" * 4:
        heard = OK_4 if letter == "+" else DEAD_6
        track = step(track, Outcome(Kind.OK, track.at + 10, families={4: OK_4, 6: heard}), STANDARD)
    seen = verdict(track, STANDARD)
    assert (seen.state, seen.families) == (State.UP, {4})
    assert "good again, and held since it goes up and down" in seen.reason


def test_nobody_is_held_while_mirrors_are_short_but_liars_are() -> None:
    held = run("+++", track=flapping(4), start=2000)
    good = Outcome(Kind.OK, held.at + 10, families={4: OK_4}, whole=8, audit=300)
    assert step(held, good, STANDARD).state is State.DOWN
    back = step(held, good, STANDARD, short=True)
    assert (back.state, verdict(back, STANDARD).promise) == (State.UP, 20)
    assert run("+++", track=back, start=2100).state is State.UP  # who is in stays in
    liar = step(held, Outcome(Kind.CORRUPT, 2100, "bad", audit=300), STANDARD)
    for _ in range(5):
        liar = step(liar, good, STANDARD, short=True)
    assert (liar.meter.level, liar.state) == (Level.GATE, State.CORRUPT)


def test_a_liar_shows_a_full_audit_before_it_is_back() -> None:
    track = step(run("+"), Outcome(Kind.CORRUPT, 1100, "bad block", audit=30), STANDARD)
    for number in range(3):
        track = step(track, Outcome(Kind.OK, 1110 + 10.0 * number, whole=AUDIT_STEP, audit=30), STANDARD)
    assert (track.state, track.meter.level) == (State.CORRUPT, Level.GATE)
    assert track.reason == "bad block; good again; has shown 24 of 30 blocks that it has to"
    assert step(track, Outcome(Kind.OK, 1140, whole=AUDIT_STEP, audit=30), STANDARD).state is State.UP
    again = step(track, Outcome(Kind.CORRUPT, 1140, "another", audit=30), STANDARD)
    assert (again.audited, again.blame) == (0, "another")
    lost = step(track, Outcome(Kind.FAILED, 1140, "no answer", audit=30), STANDARD)
    assert (lost.audited, lost.meter.level, lost.state) == (24, Level.OUT, State.CORRUPT)


def test_who_is_pardoned_is_judged_by_the_next_probe() -> None:
    liar = step(flapping(5), Outcome(Kind.CORRUPT, 2000, "bad block", audit=300), STANDARD)
    assert run("+", track=pardoned(liar), start=2010).state is State.UP
    assert run("c", track=pardoned(liar), start=2010).state is State.CORRUPT


def test_slow_has_thresholds_as_well() -> None:
    def look(track: Track, slow: bool, kind: Kind = Kind.OK) -> Track:
        pace = "takes 900 ms to the first byte" if slow else ""
        return step(track, Outcome(kind, track.at + 10, rtt_ms=900, slow=slow, pace=pace), STANDARD)

    track = look(look(look(Track(), False), True), True)
    assert track.state is State.UP
    track = look(track, True)
    assert (track.state, verdict(track, STANDARD).usable) == (State.SLOW, True)
    assert track.reason == "takes 900 ms to the first byte"
    assert look(track, False, Kind.LAGGING).state is State.SLOW  # its lag has a field of its own
    track = look(look(track, False), False)
    assert track.state is State.SLOW
    assert look(track, False).state is State.UP
    assert (look(track, False).reason, look(track, False).flips) == ("", 0)
    assert look(track, False, Kind.LAGGING).state is State.LAGGING
    assert run("---", track=track, start=2000).state is State.DOWN


def test_it_comes_back_by_steps_if_the_zone_says_so() -> None:
    slowly = replace(STANDARD, ramp=100.0)
    track = run("+", slowly)
    assert verdict(track, slowly).share == 1  # nobody knows that it was away
    track = run("---+++", slowly, track, 1010)
    shares = []
    for _ in range(12):
        shares.append(verdict(track, slowly).share)
        track = run("+", slowly, track, track.at + 10)
    assert shares == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.0, 1.0]
    assert verdict(run("---+++"), STANDARD).share == 1


def test_a_probe_in_disguise_that_fails_is_not_forgiven_by_one_that_is_not() -> None:
    def look(track: Track, kind: Kind, disguised: bool) -> Track:
        return step(track, Outcome(kind, track.at + 10, "HTTP 404", rtt_ms=9, disguised=disguised), STANDARD)

    track = look(run("+"), Kind.FAILED, True)
    assert track.wary
    assert not look(look(track, Kind.OK, True), Kind.OK, True).wary  # forgiven
    out = look(look(track, Kind.FAILED, True), Kind.FAILED, True)
    assert (out.state, out.wary, out.blame) == (State.DOWN, True, "asked as a client asks: HTTP 404")
    silent = step(out, Outcome(Kind.FAILED, 99, "connection refused", disguised=True), STANDARD)
    assert silent.blame == "connection refused"
    back = look(look(look(out, Kind.OK, True), Kind.OK, True), Kind.OK, True)
    assert (back.state, back.wary) == (State.UP, False)


def test_a_certificate_that_ends_soon_is_told() -> None:
    far = step(Track(), Outcome(Kind.OK, 0, certificate_until=15 * 86400.0), STANDARD)
    assert verdict(far, STANDARD).reason == ""
    near = step(far, Outcome(Kind.OK, 2 * 86400.0, certificate_until=15 * 86400.0), STANDARD)
    assert verdict(near, STANDARD).reason == "its TLS certificate ends in 13 days"
    assert verdict(near, STANDARD).certificate_until == 15 * 86400.0


def test_promises_of_different_mirrors_do_not_end_together() -> None:
    track = run("+")
    assert verdict(track, STANDARD, 0.5).promise == 19
    assert verdict(run("+--"), STANDARD, 0.5).promise == 1
    assert verdict(run("+"), replace(STANDARD, interval=3.0), 0.5).promise == 6  # a tenth of it is nothing in a TTL
    names = {f"m{n}": track for n in range(20)}
    promises = {seen.promise for seen in verdicts(names, STANDARD).values()}
    assert len(promises) == 20 and all(18 < promise <= 20 for promise in promises)
