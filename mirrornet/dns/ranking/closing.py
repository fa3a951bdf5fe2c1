"""To whom a mirror is closed although it is up: because it is being drained, comes back slowly, or is full.

A mirror is open or closed to a place as a whole.  The place then goes to whoever is next by the ranking, as if this
mirror were down; where all that are up are closed to it, closing means nothing and they stay.  Two rules close:

*Share.*  Of every (place, mirror) there is a lot, a pseudo-random number below 2**32 that never changes.  A mirror with
the share s (Verdict.share) is open to the places whose lot is below s * 2**32.  So a drain by a tenth moves a tenth of
its places, wherever they are and however many near-equals there are, and no other place; every place moves once; and
those that left first come back last.  Scaling the weight in the rendezvous hash was tried: where no more near-equals
stand than an answer holds, weights say nothing, and of two near-equals a drain by a tenth moved a twentieth.

*Limit.*  A mirror that is full (planning/crowding.py) is open to the places that stand before its limit.  They stand in
the order of their tier (pinned ones, preferred ones, all others), then of the estimate, then of the lot: whom a mirror
is meant for and who is near stays, and far ones, for whom another is hardly farther, go.

Places that say nothing about distance are one place here (they all get one answer), and no limit closes to them.

Decisions
---------
- 2026-11-23: a closed mirror leaves URI and SRV as well, back-ups included: a client that measures would go back to it.
- 2026-11-23: a mirror that closes leaves answers outside the TTL's promise, as `force-down` does: whoever keeps the old
  answer for its TTL is served all the same.
- 2026-11-23: where no open mirror can stand in A (or AAAA), the closed ones do: a drain is no reason for no answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mirrornet.dns.ranking.rendezvous import LOT_BITS

Limits = Mapping[str, int]  # of mirrors that are full, by name: turn() of the first place they are closed to

NO_LIMITS: Final[Limits] = {}
UNIT_BITS: Final = 16  # an estimate is at most est.MOST_UNITS


def has_left(lot: int, share: float) -> bool:
    """Whether the place with this lot has left a mirror that has this share."""
    return lot >= share * (1 << LOT_BITS)


def turn(tier: int, units: int, lot: int) -> int:
    """Where a place stands before a mirror that is full: the least stays longest.  63 bits."""
    return (tier << UNIT_BITS | units) << LOT_BITS | lot


def limit_units(limit: int) -> int:
    """The estimate (1/64 ms) from which on a mirror with this limit is closed."""
    return limit >> LOT_BITS & (1 << UNIT_BITS) - 1
