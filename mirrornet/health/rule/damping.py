"""A mirror that goes up and down pays for it: each time it goes out costs one, and what is owed halves by and by.

Three thresholds stop a lost packet; they do not stop a mirror that is well for a minute and dead for the next, and each
of its flips moves the users of a region twice.  So, as BGP does with routes (RFC 2439, section 4.2): a figure of merit
grows by one each time the mirror goes out and decays with a half-life.  Above CUT the mirror is held: good again, it
waits at the gate (table.py) until what is owed is down to REUSE.  CEILING bounds what can be owed, and so the wait, to
three half-lives.  With a half-life of a quarter of an hour that means: the fourth outage in short order costs half an
hour, and no history costs more than three quarters of one.

RFC 2439's defaults hold a route from the third flap on; RFC 7196 found that too strict and asks for a limit of six.
Ours is between: a probe is our own, so nothing multiplies a flap on its way to us, as path hunting does in BGP.

Holding a mirror must not cost more than its flips do: while less than half of a zone's weight is in use, nobody is
held (`short` in state.step).

Rejected: a longer `up` after each flip.  It forgets in steps what should fade, and its end cannot be told in advance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

CUT: Final = 3.0  # owed, in outages: above this a mirror is held
REUSE: Final = 1.0  # owed: at or below this it may come back
CEILING: Final = 8.0  # owed at most


@dataclass(frozen=True, slots=True)
class Flaps:
    """What is `owed` at Unix time `at`, and whether the mirror is `held` for it."""

    owed: float = 0.0
    at: float = 0.0
    held: bool = False


def faded(flaps: Flaps, now: float, half_life: float) -> Flaps:
    """`flaps` as they stand at `now`.  `half_life` in seconds; 0: nothing is ever owed."""
    if half_life <= 0 or not flaps.owed:
        return Flaps(at=now)
    owed = flaps.owed * 0.5 ** (max(0.0, now - flaps.at) / half_life)
    return Flaps(owed, now, flaps.held and owed > REUSE)


def struck(flaps: Flaps) -> Flaps:
    """After one more time of going out, at `flaps.at`."""
    owed = min(CEILING, flaps.owed + 1)
    return Flaps(owed, flaps.at, flaps.held or owed > CUT)


def free_at(flaps: Flaps, half_life: float) -> float:
    """Unix time from which it is held no more."""
    if not flaps.held or half_life <= 0:
        return flaps.at
    return flaps.at + half_life * math.log2(flaps.owed / REUSE)
