"""The rule by which a mirror is taken in and out: one table, and nobody decides besides.

A probe is evidence, not a verdict.  A mirror in use leaves only after `down` bad probes that were never separated by
`ok` good ones in a row; one that is out comes back only after `up` good ones in a row (gdnsd's three thresholds, its
libgdnsd/mon.c).  What was signed cannot be argued with: one corrupt or stale probe is enough.  The very first probe
decides at once, as in gdnsd: an answer is due, and one look is better than none.

Where something stands against a return, the mirror waits at a gate instead: it flapped (damping.py), or it lied and
has not shown enough whole blocks since (state.py).  At the gate one bad probe is enough to be out again.

The same table answers smaller questions about a mirror, each with a meter of its own: does it answer over this address
family, does it serve under the select url, does it hold this image, is it as quick as it was?

docs/health.md shows this table; scripts/make_health.py makes it from here, and a test holds the two equal.

Rejected: a sliding-window percentage.  It needs history, and the time until its next flip is a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from mirrornet.health.rule.outcome import Kind
from mirrornet.model.verdict import State
from mirrornet.model.zone import HealthSettings


class Level(StrEnum):
    """Where a meter stands.  Only IN is in use."""

    UNKNOWN = "unknown"  # never probed
    IN = "in"
    OUT = "out"
    GATE = "gate"  # good again, and something else stands against its return


class Evidence(StrEnum):
    """What one probe says: bad evidence is counted, damning evidence decides at once."""

    GOOD = "good"
    BAD = "bad"
    DAMNING = "damning"


Threshold = Literal["one", "up", "ok", "down"]


@dataclass(frozen=True, slots=True)
class Rule:
    """Count one more `counts` (None: nothing to count); once there are `threshold`, go `to` and forget both counts.

    `barred`: where it goes instead while something stands against its return; None where nothing can.
    """

    counts: Literal["good", "bad"] | None
    threshold: Threshold
    to: Level
    barred: Level | None = None


# Bad and damning evidence also forgets the good probes in a row: that is what "in a row" means.
TABLE: Final[Mapping[tuple[Level, Evidence], Rule]] = {
    (Level.UNKNOWN, Evidence.GOOD): Rule("good", "one", Level.IN, barred=Level.GATE),
    (Level.UNKNOWN, Evidence.BAD): Rule("bad", "one", Level.OUT),
    (Level.UNKNOWN, Evidence.DAMNING): Rule("bad", "one", Level.OUT),
    (Level.IN, Evidence.GOOD): Rule("good", "ok", Level.IN),  # forgiven
    (Level.IN, Evidence.BAD): Rule("bad", "down", Level.OUT),
    (Level.IN, Evidence.DAMNING): Rule("bad", "one", Level.OUT),
    (Level.OUT, Evidence.GOOD): Rule("good", "up", Level.IN, barred=Level.GATE),
    (Level.OUT, Evidence.BAD): Rule(None, "one", Level.OUT),
    (Level.OUT, Evidence.DAMNING): Rule(None, "one", Level.OUT),
    (Level.GATE, Evidence.GOOD): Rule("good", "one", Level.IN, barred=Level.GATE),
    (Level.GATE, Evidence.BAD): Rule("bad", "one", Level.OUT),
    (Level.GATE, Evidence.DAMNING): Rule("bad", "one", Level.OUT),
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


def tick(meter: Meter, evidence: Evidence, settings: HealthSettings, barred: bool = False) -> Meter:
    """The meter after one more probe, by TABLE.  `barred`: something stands against its return."""
    rule = TABLE[meter.level, evidence]
    good = meter.good if evidence is Evidence.GOOD else 0
    bad = meter.bad
    if rule.counts == "good":
        count = good = good + 1
    elif rule.counts == "bad":
        count = bad = bad + 1
    else:
        return Meter(meter.level, good, bad)
    if count >= threshold(rule.threshold, settings):
        return Meter(rule.barred if barred and rule.barred else rule.to)
    return Meter(meter.level, good, bad)


def threshold(name: Threshold, settings: HealthSettings) -> int:
    """How many probes `name` means."""
    return {"one": 1, "up": settings.up, "ok": settings.ok, "down": settings.down}[name]


def remaining(meter: Meter, settings: HealthSettings) -> int:
    """Probes that would have to agree before "in use or not" can change, damning ones aside.  At least 1."""
    match meter.level:
        case Level.IN:
            return max(1, settings.down - meter.bad)
        case Level.OUT:
            return max(1, settings.up - meter.good)
        case _:
            return 1
