"""What is remembered of a mirror, how one more probe changes it, and the verdict that the world may see.

By table.py the mirror as a whole is in or out, and so are its address families, the select url, its images and its
pace, each by a meter of its own: one lost packet takes nobody out of anything.  This module keeps those meters, names
the result, and says why in a sentence.

The published TTL is a promise.  From this moment on, `remaining` probes would have to agree before the verdict could
flip, the first of which may end right now and each further one an interval later, hence interval x (remaining - 1).
The schedule keeps its half of the bargain: outcomes of one mirror are never less than an interval apart.  Corrupt is
outside the promise, because nobody should be sent to a liar for the sake of a TTL; so is a publisher's mirror that
falls back behind what it showed before, a held one that is needed (`short`), and pace, which takes nobody out.  A
mirror that turns stale by the clock is inside it (`until`), and so is one that is held at the gate.

The promise has a floor of one second, below which a TTL only makes load.  And from APART on it is shortened by up to a
tenth, another share for each mirror (`early`): when a verdict has flipped, all resolvers have answers of the same age,
and would come back for all answer classes in the same second ever after.

A liar comes back by hand (`pardoned`), or after a full audit: AUDIT blocks in all, or as many as are known, whole.
Where n blocks drawn by chance are whole, fewer than 3 in n are bad with 95 % certainty (the rule of three).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from mirrornet.health.rule import damping, pace, schedule
from mirrornet.health.rule.damping import Flaps
from mirrornet.health.rule.outcome import FINE, Kind, Outcome, Sample
from mirrornet.health.rule.pace import Pace
from mirrornet.health.rule.table import EVIDENCE, NAMES, Evidence, Level, Meter, remaining, tick
from mirrornet.model.address import Family
from mirrornet.model.units import format_duration
from mirrornet.model.verdict import USABLE, State, Verdict
from mirrornet.model.zone import HealthSettings

KEPT_CHANGES: Final = 8  # how many past changes of state a track remembers, for the status page
KEPT_SUSPECTS: Final = 4  # how many bad blocks are asked for again before a corrupt mirror may return
AUDIT: Final = 300  # blocks a corrupt mirror has to show whole: then fewer than 1 % are bad, with 95 % certainty
AUDIT_STEP: Final = 8  # of them in one probe
FLOOR: Final = 1.0  # seconds: no TTL is below this
EARLY: Final = 0.1  # of the promise, at most, by which mirrors' TTLs are kept apart
APART: Final = 10.0  # seconds: of a shorter promise a tenth would be a whole second of a TTL
STEPS: Final = 10  # in which the share of a mirror that came back grows
CERTIFICATE: Final = 14 * 86400.0  # seconds before its end from which a TLS certificate is worth a word
FAMILIES: Final[tuple[Family, ...]] = (4, 6)
_NEW: Final = Meter()
_NONE: Final = Flaps()
_UNMEASURED: Final = Pace()


@dataclass(frozen=True, slots=True)
class Change:
    """A change of state in the past: when (Unix time), to what, and why."""

    at: float
    state: State
    reason: str


@dataclass(frozen=True, slots=True)
class Reach:
    """One address family of a mirror: whether it answers over it, what its flaps cost, and what was last amiss."""

    meter: Meter = _NEW
    flaps: Flaps = _NONE
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Track:
    """One mirror's memory.  A Verdict is what the world may see of it.

    `blame`: why it came to be in this state.  `reason`: that, and how far it is from leaving it.  `flips`: how often
    `usable` changed after the first probe.  `suspects`: blocks that a corrupt mirror has to show again, whole;
    `audited` of `audit` others it has shown.  `wary`: a probe that looked like a client failed, so the next ones look
    like it, too.  `back`: Unix time at which it came back after being out.  `within`: seconds from `at` within which
    the next outcome comes, at the latest.
    """

    state: State = State.UNKNOWN
    meter: Meter = _NEW
    flaps: Flaps = _NONE
    families: Mapping[Family, Reach] = field(default_factory=dict)
    select: Meter = _NEW
    images: Mapping[str, Meter] = field(default_factory=dict)
    quick: Meter = _NEW
    pace: Pace = _UNMEASURED
    since: float = 0.0
    at: float = 0.0
    blame: str = ""
    reason: str = "not probed yet"
    rtt_ms: float | None = None
    version: int | None = None
    until: float | None = None
    flips: int = 0
    suspects: tuple[Sample, ...] = ()
    audited: int = 0
    audit: int = 0
    wary: bool = False
    lag: float = 0.0
    certificate_until: float | None = None
    back: float | None = None
    within: float = 0.0
    changes: tuple[Change, ...] = ()

    @property
    def owing(self) -> int:
        """Blocks that a corrupt mirror has yet to show before it may return; 0 for an honest one."""
        return max(0, self.audit - self.audited) if self.state is State.CORRUPT else 0


def step(track: Track, outcome: Outcome, settings: HealthSettings, short: bool = False) -> Track:
    """The track after one more probe.  Pure; `outcome.at` is the only time there is.

    `short`: less than half of the zone's weight is in use, so nobody is held for flapping.
    """
    evidence = EVIDENCE[outcome.kind]
    good = evidence is Evidence.GOOD
    track = _audited(track, outcome)
    meter, flaps = _damped(track.meter, track.flaps, evidence, outcome.at, settings, short, unproven=track.owing > 0)
    was_usable, usable = track.meter.level is Level.IN, meter.level is Level.IN
    quick, paced = track.quick, track.pace
    if outcome.slow is not None and outcome.rtt_ms is not None:
        quick = tick(quick, Evidence.BAD if outcome.slow else Evidence.GOOD, settings)
        paced = pace.learn(paced, outcome.rtt_ms, outcome.at, outcome.slow)
    state = _name(track, meter, quick, outcome)
    changed = state is not track.state
    blame = _blame(track, state, outcome)
    changes = track.changes
    if changed:
        changes = (*changes, Change(outcome.at, state, blame))[-KEPT_CHANGES:]
    known = track.certificate_until if outcome.certificate_until is None else outcome.certificate_until
    after = replace(
        track,
        state=state,
        meter=meter,
        flaps=flaps,
        families=_families(track, outcome, settings, short),
        select=_asked(track.select, outcome.serves_select, settings),
        images=_images(track, outcome, settings),
        quick=quick,
        pace=paced,
        since=outcome.at if changed else track.since,
        at=outcome.at,
        blame=blame,
        rtt_ms=outcome.rtt_ms,
        version=outcome.version if outcome.version is not None else track.version,
        until=outcome.until if good or not usable else track.until,
        flips=track.flips + (was_usable is not usable and track.meter.level is not Level.UNKNOWN),
        suspects=() if usable else track.suspects,
        wary=_wary(track, outcome, meter),
        lag=outcome.lag if good or outcome.lag else track.lag,
        certificate_until=known,
        back=_back(track, usable, outcome.at),
        within=schedule.longest(settings.interval, settings.timeout, outcome.retry_after),
        changes=changes,
    )
    return replace(after, reason=_reason(after, outcome, settings))


def owes(track: Track) -> bool:
    """Whether something but its probes keeps it, or a family of it, out: a lie, or flaps."""
    held = track.flaps.held or any(reach.flaps.held for reach in track.families.values())
    return held or track.state is State.CORRUPT


def pardoned(track: Track) -> Track:
    """The track of a mirror of which a person says that it is honest again: its next probe decides.

    What it owes for flapping is forgiven as well.
    """
    forgiven = {family: Reach() for family in track.families}
    return replace(
        track, state=State.UNKNOWN, meter=Meter(), flaps=Flaps(), families=forgiven, suspects=(), audited=0, audit=0,
        wary=False, blame="", reason="pardoned by hand; its next probe decides",
    )  # fmt: skip


def _damped(
    meter: Meter,
    flaps: Flaps,
    evidence: Evidence,
    now: float,
    settings: HealthSettings,
    short: bool,
    unproven: bool = False,
) -> tuple[Meter, Flaps]:
    """One more probe of a question whose flips cost something.  `unproven`: more than flaps stands against a return."""
    flaps = damping.faded(flaps, now, settings.damping)
    after = tick(meter, evidence, settings, barred=(flaps.held and not short) or unproven)
    if meter.level is Level.IN and after.level is Level.OUT and settings.damping > 0:
        flaps = damping.struck(flaps)
    return after, flaps


def _audited(track: Track, outcome: Outcome) -> Track:
    """What a liar has shown since.  A new lie, or a first one, begins anew."""
    if outcome.kind is Kind.CORRUPT:
        suspects = tuple(sorted({*track.suspects, *outcome.suspects}))[:KEPT_SUSPECTS]
        return replace(track, suspects=suspects, audited=0, audit=outcome.audit)
    if track.state is State.CORRUPT and outcome.kind in FINE:
        return replace(track, audited=track.audited + outcome.whole, audit=outcome.audit)
    return track


def _families(track: Track, outcome: Outcome, settings: HealthSettings, short: bool) -> dict[Family, Reach]:
    families = dict(track.families)
    # A family that is seen for the first time of a mirror that was not was taken as good until now.
    new = Reach() if track.meter.level is Level.UNKNOWN else Reach(Meter(Level.IN))
    for family, heard in outcome.families.items():
        reach, evidence = families.get(family, new), EVIDENCE[heard.kind]
        meter, flaps = _damped(reach.meter, reach.flaps, evidence, outcome.at, settings, short)
        families[family] = Reach(meter, flaps, reach.reason if evidence is Evidence.GOOD else heard.reason)
    return families


def _asked(meter: Meter, found: bool | None, settings: HealthSettings) -> Meter:
    """A question that was asked, or was not."""
    return meter if found is None else tick(meter, Evidence.GOOD if found else Evidence.BAD, settings)


def _images(track: Track, outcome: Outcome, settings: HealthSettings) -> dict[str, Meter]:
    images = dict(track.images)
    for name, held in outcome.images.items():
        images[name] = _asked(images.get(name, Meter()), held, settings)
    return images


def _wary(track: Track, outcome: Outcome, meter: Meter) -> bool:
    """A client's failure is not forgiven by what the mirror shows to a prober: until it is forgiven, all look alike."""
    if outcome.disguised and EVIDENCE[outcome.kind] is not Evidence.GOOD:
        return True
    return track.wary and not (meter.level is Level.IN and not meter.bad)


def _back(track: Track, usable: bool, at: float) -> float | None:
    if not usable:
        return None
    return at if track.meter.level in (Level.OUT, Level.GATE) else track.back


def _name(track: Track, meter: Meter, quick: Meter, outcome: Outcome) -> State:
    if track.state is State.CORRUPT and meter.level is not Level.IN:
        return State.CORRUPT  # being down or stale on top of it makes nobody honest
    if meter.level is not Level.IN:
        return NAMES.get((meter.level, outcome.kind), track.state if track.state not in USABLE else State.DOWN)
    if quick.level is Level.OUT:
        return State.SLOW
    named = NAMES.get((meter.level, outcome.kind), track.state)
    return State.UP if named is State.SLOW else named


def _blame(track: Track, state: State, outcome: Outcome) -> str:
    good = EVIDENCE[outcome.kind] is Evidence.GOOD
    if state is State.SLOW:
        return outcome.pace or track.blame
    if state in USABLE:
        return outcome.reason if good else track.blame
    if good or (state is State.CORRUPT and outcome.kind is not Kind.CORRUPT):
        return track.blame
    told_to_clients = outcome.disguised and outcome.rtt_ms is not None  # who does not answer tells nobody anything
    return f"asked as a client asks: {outcome.reason}" if told_to_clients else outcome.reason


def _reason(track: Track, outcome: Outcome, settings: HealthSettings) -> str:
    meter = track.meter
    match meter.level:
        case Level.OUT if meter.good:
            return f"{track.blame}; good again, probe {meter.good} of {settings.up}"
        case Level.GATE:
            waits = []
            if track.owing:
                waits.append(f"has shown {track.audited} of {track.audit} blocks that it has to")
            if track.flaps.held:
                left = damping.free_at(track.flaps, settings.damping) - track.at
                waits.append(f"held for {format_duration(max(1.0, left // 1))}, since it goes up and down")
            return "; ".join([track.blame, "good again", *waits])
        case Level.IN if meter.bad:
            latest = outcome.reason or f"good again, probe {meter.good} of {settings.ok}"
            return f"{latest}; {meter.bad} of {settings.down} bad probes"
    return track.blame


def verdict(track: Track, settings: HealthSettings, early: float = 0.0) -> Verdict:
    """What the rest of the program may know.

    The promise also covers `families`, `serves_select` and `holds` where they stand, since they too decide who is
    answered.  `early`: 0 to 1, a share of EARLY by which this mirror's TTLs run out before a promise of APART or more.
    """
    promise = _sure(track, track.meter, track.flaps, settings, track.owing)
    silent: list[Family] = []
    if track.meter.level is Level.IN:
        for family, reach in track.families.items():
            if reach.meter.level is not Level.UNKNOWN:
                promise = min(promise, _sure(track, reach.meter, reach.flaps, settings))
            if reach.meter.level in (Level.OUT, Level.GATE):
                silent.append(family)
        for meter in (track.select, *track.images.values()):
            if meter.level is not Level.UNKNOWN:
                promise = min(promise, settings.interval * (remaining(meter, settings) - 1))
        if track.until is not None:
            promise = min(promise, track.until - track.at - track.within)
    missing = {name for name, meter in track.images.items() if meter.level is Level.OUT}
    return Verdict(
        state=track.state,
        promise=max(FLOOR, promise * (1 - EARLY * early) if promise >= APART else promise),
        since=track.since,
        reason=_told(track, silent),
        rtt_ms=track.rtt_ms,
        serves_select=None if track.select.level is Level.UNKNOWN else track.select.level is Level.IN,
        holds=frozenset(track.images) - missing if missing else None,
        repository_version=track.version,
        families=frozenset(family for family in FAMILIES if family not in silent) if silent else None,
        share=_share(track, settings.ramp),
        lag=track.lag,
        certificate_until=track.certificate_until,
    )


def verdicts(tracks: Mapping[str, Track], settings: HealthSettings) -> dict[str, Verdict]:
    """All mirrors of a zone, by name."""
    return {name: verdict(track, settings, schedule.phase(name)) for name, track in tracks.items()}


def _sure(track: Track, meter: Meter, flaps: Flaps, settings: HealthSettings, owing: int = 0) -> float:
    """Seconds for which this meter is sure not to change between in use and not."""
    probes = max(remaining(meter, settings), -(-owing // AUDIT_STEP))
    sure = settings.interval * (probes - 1)
    if meter.level is not Level.IN and flaps.held:
        sure = max(sure, damping.free_at(flaps, settings.damping) - track.at - track.within)
    return sure


def _told(track: Track, silent: Iterable[Family]) -> str:
    """The mirror's own reason, and what else a person should know of one that is in use."""
    told = [track.reason] if track.reason else []
    for family in silent:
        reach = track.families[family]
        held = " (good again, and held since it goes up and down)" if reach.meter.level is Level.GATE else ""
        told.append(f"not over IPv{family}: {reach.reason}{held}")
    if track.certificate_until is not None and track.certificate_until - track.at < CERTIFICATE:
        days = max(0, int((track.certificate_until - track.at) // 86400))
        told.append(f"its TLS certificate ends in {days} days")
    return "; ".join(told)


def _share(track: Track, ramp: float) -> float:
    """The part of its weight that it may have: in STEPS, over `ramp` seconds after it came back."""
    if ramp <= 0 or track.back is None:
        return 1.0
    return min(1.0, (1 + int(STEPS * max(0.0, track.at - track.back) / ramp)) / STEPS)
