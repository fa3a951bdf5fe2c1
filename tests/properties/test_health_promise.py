"""No sequence of probes, however they are timed, flips a verdict before its promise is over."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from mirrornet.health.probes.memory import Memory, decode, encode
from mirrornet.health.rule.freshness import Sightings, behind_since, judge, sight
from mirrornet.health.rule.outcome import Heard, Kind, Outcome, Sample, together
from mirrornet.health.rule.schedule import after, after_first_round, longest, phase, unannounced
from mirrornet.health.rule.state import Track, step, verdict
from mirrornet.model.verdict import State, Verdict
from mirrornet.model.zone import HealthSettings

SETTINGS = st.builds(
    HealthSettings,
    interval=st.floats(2, 60),
    timeout=st.floats(0.1, 2),
    up=st.integers(1, 5),
    ok=st.integers(1, 5),
    down=st.integers(1, 5),
    damping=st.sampled_from([0.0, 30.0, 900.0]),
)
SEEN = st.sampled_from([Kind.OK, Kind.OK, Kind.LAGGING, Kind.FAILED, Kind.BLIND])
PROBES = st.lists(
    st.tuples(
        st.sampled_from([None, True, True, False]),
        st.floats(0, 1),  # how much of its timeout it took
        SEEN,  # over IPv4
        st.one_of(st.none(), SEEN),  # over IPv6
        st.sampled_from([0.0, 0.0, 0.0, 0.5, 0.99]),  # how late it came, in intervals
    ),
    max_size=60,
)
HERE = (ip_address("192.0.2.1"), ip_address("2001:db8::1"))


class Resolvers:
    """Those who were given an answer in the last instant before an outcome, and keep it as long as promised."""

    def __init__(self) -> None:
        self.current: Verdict | None = None
        self.kept: list[tuple[float, Verdict]] = []

    def outcome(self, now: float, verdict: Verdict) -> None:
        """At `now` the verdict becomes `verdict`: what was promised must still be so."""
        if self.current is not None and self.current.promise > 1:  # the floor of one second is not a promise
            self.kept.append((now + self.current.promise, self.current))
        for until, told in self.kept:
            if now < until - 1e-6:
                assert verdict.usable is told.usable
                if told.usable and told.serves_select is not None:
                    assert verdict.serves_select is told.serves_select
                if told.usable:
                    assert verdict.families == told.families
        self.current = verdict


@given(SETTINGS, PROBES, st.floats(0, 1))
def test_probes_cannot_break_the_promise(
    settings: HealthSettings, probes: list[tuple[bool | None, float, Kind, Kind | None, float]], early: float
) -> None:
    track, begun, resolvers = Track(), 0.0, Resolvers()
    for serves, taken, four, six, late in probes:
        ended = unannounced(begun, settings.interval, late) + taken * settings.timeout
        found = [Outcome(kind, ended, serves_select=serves) for kind in (four, six) if kind is not None]
        track = step(track, together(list(zip(HERE, found, strict=False))), settings)
        resolvers.outcome(ended, verdict(track, settings, early))
        begun = after(ended, settings.interval)


@given(SETTINGS, st.floats(0, 500), st.floats(0, 1000), st.lists(st.floats(0, 1), max_size=80))
def test_a_mirror_that_turns_stale_by_the_clock_does_not_either(
    settings: HealthSettings, newer: float, lag: float, probes: list[float]
) -> None:
    sightings: Sightings = {1: 0.0, 2: newer}
    track, begun, resolvers = Track(), newer, Resolvers()
    for taken in probes:
        ended = begun + taken * settings.timeout
        track = step(track, judge(Outcome(Kind.OK, ended, version=1), sightings, lag), settings)
        assert track.state is (State.STALE if ended - newer >= lag else State.LAGGING)
        resolvers.outcome(ended, verdict(track, settings))
        begun = after(ended, settings.interval)


@given(st.text(max_size=20), st.floats(0, 1e9), st.floats(0.1, 600), st.one_of(st.none(), st.floats(0, 1e6)))
def test_outcomes_are_never_closer_than_an_interval(
    name: str, ended: float, interval: float, retry: float | None
) -> None:
    assert 0 <= phase(name) < 1
    assert after(ended, interval, retry) >= ended + interval
    assert ended + interval <= after_first_round(name, ended, interval) <= ended + 2 * interval
    latest = unannounced(after(ended, interval, retry), interval, 0.999) + 1
    assert after(ended, interval, retry) <= latest <= ended + longest(interval, 1.0, retry) + 1e-3


@given(st.dictionaries(st.integers(1, 200), st.floats(0, 1e9), max_size=100), st.integers(1, 201))
def test_a_mirror_falls_behind_when_something_newer_was_first_seen(seen: dict[int, float], version: int) -> None:
    sightings: Sightings = {}
    for each, at in sorted(seen.items(), key=lambda pair: pair[1]):
        sightings = sight(sightings, each, at)
        assert sight(sightings, each, at + 5) == sightings
    kept = dict(sightings)
    assert len(kept) <= 64 and set(kept) <= set(seen)
    expected = min((at for newer, at in kept.items() if newer > version), default=None)
    assert behind_since(sightings, version) == expected
    assert (expected is None) == (not kept or version >= max(kept))


SAMPLES = st.builds(
    Sample,
    st.just("debian"),
    st.binary(min_size=32, max_size=32),
    st.integers(1, 9),
    st.one_of(st.just(b""), st.binary(min_size=32, max_size=32)),
    st.integers(0, 1 << 24),
)
OUTCOMES = st.builds(
    Outcome,
    kind=st.sampled_from(list(Kind)),
    at=st.floats(0, 2e9),
    reason=st.text(max_size=20),
    rtt_ms=st.one_of(st.none(), st.floats(0, 5000)),
    serves_select=st.sampled_from([None, True, False]),
    version=st.one_of(st.none(), st.integers(1, 99)),
    until=st.one_of(st.none(), st.floats(0, 2e9)),
    images=st.dictionaries(st.sampled_from(["debian", "arch"]), st.booleans()),
    suspects=st.lists(SAMPLES).map(tuple),
    families=st.dictionaries(
        st.sampled_from([4, 6]), st.builds(Heard, st.sampled_from(list(Kind)), st.text(max_size=5))
    ),
    slow=st.sampled_from([None, False, True]),
    whole=st.integers(0, 8),
    audit=st.integers(0, 300),
    lag=st.floats(0, 1e6),
    certificate_until=st.one_of(st.none(), st.floats(0, 2e9)),
    disguised=st.booleans(),
)


@given(st.lists(OUTCOMES, max_size=12), st.dictionaries(st.integers(1, 99), st.floats(0, 2e9), max_size=5))
def test_what_is_remembered_is_what_was(outcomes: list[Outcome], sightings: dict[int, float]) -> None:
    track = Track()
    for outcome in outcomes:
        track = step(track, outcome, HealthSettings())
    memory = Memory(5.0, {"tokyo http://tokyo.example/": track}, sightings)
    assert decode(encode(memory)) == memory


@given(st.binary(max_size=200))
def test_any_bytes_are_a_memory_or_a_sentence(data: bytes) -> None:
    try:
        decode(data)
    except ValueError as error:
        assert str(error)
