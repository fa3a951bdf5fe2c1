"""When each mirror is probed, and which probes look like a client.

The first round asks everybody at once, because an answer waits for it.  After it, every mirror gets a place of its own
in the interval by a hash of its name, so that thirty mirrors are thirty separate seconds of work and two restarts put
the same mirror in the same place.  From then on a probe begins one interval after the last one ended.

That last sentence is half of the TTL promise (state.py): outcomes of one mirror are never closer together than an
interval.  On a fixed grid a slow answer followed by a quick one would be, and the promise would be broken by up to
`timeout`.

One probe in ten looks like a client and comes unannounced, at any moment of the interval after its turn: a mirror that
is honest to probers alone must not know one.  Which ones, the caller's dice say.  Where one of them was bad, or the
mirror has lied, all that follow look like it until it is forgiven, because what a prober is shown is no evidence then.

Rejected: dice for the usual ones (two restarts, two schedules; nothing to test), holding a quick outcome back, and
coming early instead of late (the promise).
"""

from __future__ import annotations

import hashlib
from typing import Final

PATIENCE: Final = 30  # intervals: a Retry-After beyond this is not believed to be meant for a probe
DISGUISED: Final = 0.1  # of all probes


def phase(name: str) -> float:
    """Where in the interval the mirror `name` belongs: at least 0, below 1, evenly spread over names."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64


def after_first_round(name: str, ended: float, interval: float) -> float:
    """When the second probe of `name` begins, in the time base of `ended`: one to two intervals later."""
    return ended + interval * (1 + phase(name))


def after(ended: float, interval: float, retry_after: float | None = None) -> float:
    """When the next probe begins after one ended at `ended`; `retry_after` (seconds, RFC 9110 10.2.3) is honoured."""
    return ended + min(max(interval, retry_after or 0.0), interval * PATIENCE)


def longest(interval: float, timeout: float, retry_after: float | None = None) -> float:
    """Seconds within which the next outcome comes after one, unannounced or not."""
    return after(0.0, interval, retry_after) + interval + timeout


def unannounced(due: float, interval: float, number: float) -> float:
    """When a probe that is due at `due` begins if it looks like a client; `number` is at least 0 and below 1."""
    return due + interval * number
