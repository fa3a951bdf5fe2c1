"""Is this mirror up?  One table decides; nobody else may.

A probe is evidence, not a verdict.  A mirror in use leaves only after `down` bad probes that were never separated by
`ok` good ones in a row; one that is out comes back only after `up` good ones in a row (gdnsd's three thresholds, its
libgdnsd/mon.c).  What was signed cannot be argued with: one corrupt or stale probe is enough.  The very first probe
decides at once, as in gdnsd: an answer is due, and one look is better than none.

The published TTL is a promise.  From this moment on, `remaining` probes would have to agree before the verdict could
flip, the first of which may end right now and each further one an interval later, hence interval x (remaining - 1).
The schedule keeps its half of the bargain: outcomes of one mirror are never less than an interval apart.  Corrupt is
outside the promise, because nobody should be sent to a liar for the sake of a TTL; so is a publisher's mirror that
falls back behind what it showed before.  A mirror that turns stale by the clock is inside it (`until`).

The same table answers two smaller questions about a mirror: does it serve under the select url, and does it hold this
image?  Each has a meter of its own, so that one lost packet takes nobody out of A and AAAA.

Rejected: a sliding-window percentage.  It needs history, and its TTL is a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Literal

from mirrornet.health.outcome import Kind, Outcome, Sample
from mirrornet.model.verdict import USABLE, State, Verdict
from mirrornet.model.zone import HealthSettings

KEPT_CHANGES: Final = 8  # how many past changes of state a track remembers, for the status page
KEPT_SUSPECTS: Final = 8  # how many bad blocks are asked for again before a corrupt mirror may return
FLOOR: Final = 1.0  # seconds: no TTL is below this


class Level(StrEnum):
    """Where a meter stands: nothing is known yet, in use, or out of it."""

    UNKNOWN = "unknown"
    IN = "in"
    OUT = "out"


class Evidence(StrEnum):
    """What one probe says: bad evidence is counted, damning evidence decides at once."""

    GOOD = "good"
    BAD = "bad"
    DAMNING = "damning"


Threshold = Literal["one", "up", "ok", "down"]


@dataclass(frozen=True, slots=True)
class Rule:
    """Count one more `counts` (None: nothing to count); once there are `threshold`, go `to` and forget both counts."""

    counts: Literal["good", "bad"] | None
    threshold: Threshold
    to: Level


# Bad and damning evidence also forgets the good probes in a row: that is what "in a row" means.
TABLE: Final[Mapping[tuple[Level, Evidence], Rule]] = {
    (Level.UNKNOWN, Evidence.GOOD): Rule("good", "one", Level.IN),
    (Level.UNKNOWN, Evidence.BAD): Rule("bad", "one", Level.OUT),
    (Level.UNKNOWN, Evidence.DAMNING): Rule("bad", "one", Level.OUT),
    (Level.IN, Evidence.GOOD): Rule("good", "ok", Level.IN),  # forgiven
    (Level.IN, Evidence.BAD): Rule("bad", "down", Level.OUT),
    (Level.IN, Evidence.DAMNING): Rule("bad", "one", Level.OUT),
    (Level.OUT, Evidence.GOOD): Rule("good", "up", Level.IN),
    (Level.OUT, Evidence.BAD): Rule(None, "one", Level.OUT),
    (Level.OUT, Evidence.DAMNING): Rule(None, "one", Level.OUT),
}

EVIDENCE: Final[Mapping[Kind, Evidence]] = {
    Kind.OK: Evidence.GOOD,
    Kind.LAGGING: Evidence.GOOD,
    Kind.BLIND: Evidence.BAD,
    Kind.FAILED: Evidence.BAD,
    Kind.STALE: Evidence.DAMNING,
    Kind.CORRUPT: Evidence.DAMNING,
}

# What a level is called after this kind of probe; a pair that is not here keeps the name it has.
NAMES: Final[Mapping[tuple[Level, Kind], State]] = {
    (Level.IN, Kind.OK): State.UP,
    (Level.IN, Kind.LAGGING): State.LAGGING,
    (Level.OUT, Kind.BLIND): State.DOWN,
    (Level.OUT, Kind.FAILED): State.DOWN,
    (Level.OUT, Kind.STALE): State.STALE,
    (Level.OUT, Kind.CORRUPT): State.CORRUPT,
}


@dataclass(frozen=True, slots=True)
class Meter:
    """The memory of one yes-or-no question: where it stands, and the probes counted for and against."""

    level: Level = Level.UNKNOWN
    good: int = 0
    bad: int = 0


def tick(meter: Meter, evidence: Evidence, settings: HealthSettings) -> Meter:
    """The meter after one more probe, by TABLE."""
    rule = TABLE[meter.level, evidence]
    good = meter.good if evidence is Evidence.GOOD else 0
    bad = meter.bad
    if rule.counts == "good":
        count = good = good + 1
    elif rule.counts == "bad":
        count = bad = bad + 1
    else:
        return Meter(meter.level, good, bad)
    if count >= _threshold(rule.threshold, settings):
        return Meter(rule.to)
    return Meter(meter.level, good, bad)


def _threshold(name: Threshold, settings: HealthSettings) -> int:
    return {"one": 1, "up": settings.up, "ok": settings.ok, "down": settings.down}[name]


def remaining(meter: Meter, settings: HealthSettings) -> int:
    """Probes that would have to agree before the level can change, damning ones aside.  At least 1."""
    match meter.level:
        case Level.UNKNOWN:
            return 1
        case Level.IN:
            return max(1, settings.down - meter.bad)
        case Level.OUT:
            return max(1, settings.up - meter.good)


@dataclass(frozen=True, slots=True)
class Change:
    """A change of state in the past: when (Unix time), to what, and why."""

    at: float
    state: State
    reason: str


@dataclass(frozen=True, slots=True)
class Track:
    """One mirror's memory.  A Verdict is what the world may see of it.

    `blame`: why it came to be in this state.  `reason`: that, and how far it is from leaving it.  `flips`: how often
    `usable` changed after the first probe.  `suspects`: blocks that a corrupt mirror has to show again, whole.
    """

    state: State = State.UNKNOWN
    meter: Meter = Meter()
    select: Meter = Meter()
    images: Mapping[str, Meter] = field(default_factory=dict)
    since: float = 0.0
    at: float = 0.0
    blame: str = ""
    reason: str = "not probed yet"
    rtt_ms: float | None = None
    version: int | None = None
    until: float | None = None
    flips: int = 0
    suspects: tuple[Sample, ...] = ()
    changes: tuple[Change, ...] = ()


def step(track: Track, outcome: Outcome, settings: HealthSettings) -> Track:
    """The track after one more probe.  Pure; `outcome.at` is the only time there is."""
    meter = tick(track.meter, EVIDENCE[outcome.kind], settings)
    state = NAMES.get((meter.level, outcome.kind), track.state)
    if track.state is State.CORRUPT and meter.level is Level.OUT:
        state = State.CORRUPT  # being down or stale on top of it makes nobody honest
    changed = state is not track.state
    blame = _blame(track, state, outcome)
    was_usable, usable = track.meter.level is Level.IN, meter.level is Level.IN
    suspects = () if usable else track.suspects
    if outcome.suspects:
        suspects = tuple(sorted({*suspects, *outcome.suspects}))[:KEPT_SUSPECTS]
    images = dict(track.images)
    for name, held in outcome.images.items():
        images[name] = tick(images.get(name, Meter()), Evidence.GOOD if held else Evidence.BAD, settings)
    select = track.select
    if outcome.serves_select is not None:
        select = tick(select, Evidence.GOOD if outcome.serves_select else Evidence.BAD, settings)
    changes = track.changes
    if changed:
        changes = (*changes, Change(outcome.at, state, outcome.reason))[-KEPT_CHANGES:]
    return replace(
        track,
        state=state,
        meter=meter,
        select=select,
        images=images,
        since=outcome.at if changed else track.since,
        at=outcome.at,
        blame=blame,
        reason=_reason(blame, outcome, meter, settings),
        rtt_ms=outcome.rtt_ms,
        version=outcome.version if outcome.version is not None else track.version,
        until=outcome.until,
        flips=track.flips + (was_usable is not usable and track.meter.level is not Level.UNKNOWN),
        suspects=suspects,
        changes=changes,
    )


def _blame(track: Track, state: State, outcome: Outcome) -> str:
    good = EVIDENCE[outcome.kind] is Evidence.GOOD
    if state in USABLE:
        return outcome.reason if good else track.blame
    if good or (state is State.CORRUPT and outcome.kind is not Kind.CORRUPT):
        return track.blame
    return outcome.reason


def _reason(blame: str, outcome: Outcome, meter: Meter, settings: HealthSettings) -> str:
    if meter.level is Level.OUT and meter.good:
        return f"{blame}; good again, probe {meter.good} of {settings.up}"
    if meter.level is Level.IN and meter.bad:
        latest = outcome.reason or f"good again, probe {meter.good} of {settings.ok}"
        return f"{latest}; {meter.bad} of {settings.down} bad probes"
    return blame


def verdict(track: Track, settings: HealthSettings) -> Verdict:
    """What the rest of the program may know.

    The promise also covers `serves_select` and `holds` where they stand, since they too decide who is answered.
    """
    meters = [track.meter]
    if track.meter.level is Level.IN:
        meters += [meter for meter in (track.select, *track.images.values()) if meter.level is not Level.UNKNOWN]
    promise = settings.interval * (min(remaining(meter, settings) for meter in meters) - 1)
    if track.meter.level is Level.IN and track.until is not None:
        # The next outcome, which renews the promise, is at most an interval and a timeout after the last one.
        promise = min(promise, track.until - track.at - settings.interval - settings.timeout)
    missing = {name for name, meter in track.images.items() if meter.level is Level.OUT}
    return Verdict(
        state=track.state,
        promise=max(FLOOR, promise),
        since=track.since,
        reason=track.reason,
        rtt_ms=track.rtt_ms,
        serves_select=None if track.select.level is Level.UNKNOWN else track.select.level is Level.IN,
        holds=frozenset(track.images) - missing if missing else None,
        repository_version=track.version,
    )
