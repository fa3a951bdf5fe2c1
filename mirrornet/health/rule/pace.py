"""Is this mirror as quick as it was?  Its own past is the measure, and what all others do at the moment is taken off.

A probe's time to the first byte is mostly distance, and distance is the ranking's business.  What health can say is
that a mirror takes much longer than is usual for it.  It is slow when that time is

    more than 3 times and 250 ms more than usual, after `usual` was multiplied by what the median of the other mirrors'
    times has grown by (where all are slow at once, the cause is at our end), or
    more than 1 s and more than half of what a probe may take, whatever is usual.

`usual` is an average that forgets by and by: it follows new times within ten minutes, but the times of a slow mirror
only within a day, so that one that is overloaded all afternoon stays slow, and one that moved is not slow for ever.  It
means something after ten probes.  Whether a mirror counts as slow is then a meter with the same thresholds as all else
(table.py): `down` slow probes make it slow, `up` quick ones in a row end it.

Rejected: times of other mirrors as the measure (they are elsewhere), a percentile over a window (a day of it is 8,640
numbers a mirror that have to survive a restart), a key of the zone file (nobody knows what to write there).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

from mirrornet.health.rule.outcome import Kind, Outcome

TIMES: Final = 3.0  # of what is usual
BEYOND_MS: Final = 250.0  # and so much more; less than that nobody notices
ALWAYS_MS: Final = 1000.0  # slow whatever is usual, if more than half of the timeout
FOLLOWS: Final = 600.0  # seconds within which `usual` follows new times
FOLLOWS_SLOW: Final = 86400.0  # and those of a slow mirror
ENOUGH: Final = 10  # probes after which `usual` means something
PEERS: Final = 2  # others at least, or nothing is taken off


@dataclass(frozen=True, slots=True)
class Pace:
    """What is usual for a mirror (milliseconds to the first byte), from `seen` probes, the last at Unix time `at`.

    `ratio`: how the last one compared with what was usual; None where there is nothing to compare.
    """

    usual_ms: float = 0.0
    seen: int = 0
    at: float = 0.0
    ratio: float | None = None


def weather(others: Iterable[Pace]) -> float:
    """By what the times of the other mirrors have grown of late: the median of their ratios, at least 1."""
    ratios = [pace.ratio for pace in others if pace.ratio is not None]
    return max(1.0, median(ratios)) if len(ratios) >= PEERS else 1.0


def judge(outcome: Outcome, pace: Pace, grown: float, timeout: float) -> Outcome:
    """`outcome` with its pace judged.  `grown`: by what all others have (weather()); `timeout` in seconds."""
    if outcome.kind not in (Kind.OK, Kind.LAGGING) or outcome.rtt_ms is None:
        return outcome
    taken = outcome.rtt_ms
    if taken > max(ALWAYS_MS, timeout * 500):
        return replace(outcome, slow=True, pace=f"takes {taken:.0f} ms to the first byte")
    usual = pace.usual_ms * grown
    if pace.seen >= ENOUGH and taken > max(TIMES * usual, usual + BEYOND_MS):
        return replace(outcome, slow=True, pace=f"takes {taken:.0f} ms to the first byte, usual is {usual:.0f}")
    return replace(outcome, slow=False)


def learn(pace: Pace, taken_ms: float, at: float, slow: bool) -> Pace:
    """`pace` after a good probe at `at` that took `taken_ms`; the first ones are averaged, then it fades by time."""
    weight = 1 - math.exp(-max(0.0, at - pace.at) / (FOLLOWS_SLOW if slow else FOLLOWS))
    if not pace.seen or (pace.seen < ENOUGH and not slow):
        weight = 1 / (pace.seen + 1)
    usual = pace.usual_ms + (taken_ms - pace.usual_ms) * weight
    ratio = taken_ms / pace.usual_ms if pace.seen >= ENOUGH and pace.usual_ms > 0 else None
    return Pace(usual, min(pace.seen + 1, ENOUGH), at, ratio)
