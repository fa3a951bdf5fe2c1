"""Whether a mirror is in use: a circuit breaker that opens by failures and closes by proof.  Pure.

Three failures in a row, or one corrupt block, take a mirror out: for 1, 2, 4 … 60 s; corrupt for at least 10 min.  When
that time is over nothing happens by itself: one verified block, fetched in the background, brings it back, so no reader
pays for finding out.  Its share of the requests then grows from a tenth to all within 30 s; a mirror that broke down
under its load would break down again under all of it at once.  Meanwhile one failure takes it out again, for twice as
long as before; who got through these 30 s begins anew.

A mirror that is up and down every few seconds is thus out most of the time, and the readers see two mirrors in turn at
most once in half a minute (as route flap damping does, RFC 2439).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FAILURES: Final = 3  # in a row, to be taken out
COOL_OFF: Final = (1.0, 60.0)  # seconds: the first, and the cap of the doubling
CORRUPT_OFF: Final = 600.0  # seconds out for one corrupt block, at least
RAMP: Final = 30.0  # seconds from the return to a full share
RAMP_FROM: Final = 0.1  # of the requests


@dataclass(slots=True)
class Breaker:
    """Of one mirror.  Moments on the caller's clock."""

    failures: int = 0  # in a row
    penalty: float = 0.0  # seconds of the last cool-off
    out_until: float | None = None  # None: in use; else a proof is due from then on
    corrupt_until: float = 0.0
    back_at: float | None = None  # when it was let back in
    _credit: float = 0.0

    def failed(self, now: float) -> None:
        """It did not give what it should have."""
        self.failures += 1
        if self.out_until is not None and now < self.out_until:
            return  # requests that were under way together fail together: that is one failure, punished once
        if self.failures >= FAILURES or self.out_until is not None or self._returning(now):
            if self.out_until is None and not self._returning(now):
                self.penalty = 0.0
            self.penalty = min(max(2 * self.penalty, COOL_OFF[0]), COOL_OFF[1])
            self.out_until = max(now + self.penalty, self.corrupt_until)
            self.back_at = None

    def lied(self, now: float) -> None:
        """It gave bytes that are not those named."""
        self.failures += 1
        again = 2 * self.penalty if now >= self.corrupt_until else 0.0
        self.corrupt_until = now + max(CORRUPT_OFF, again)
        self.penalty = self.corrupt_until - now
        self.out_until, self.back_at = self.corrupt_until, None

    def verified(self, now: float) -> None:
        """It gave a block that verifies."""
        self.failures = 0
        if self.out_until is not None and self.corrupt_until <= now:
            self.out_until, self.back_at, self._credit = None, now, 0.0

    def pardoned(self, now: float) -> None:
        """It was not at fault: the network was."""
        if self.corrupt_until <= now:
            self.failures, self.penalty, self.out_until, self.back_at = 0, 0.0, None, None

    def share(self, now: float) -> float:
        """Of the requests that would be its own, how many it gets: 0 while out, then RAMP_FROM to 1."""
        if self.out_until is not None:
            return 0.0
        if self.back_at is None or now - self.back_at >= RAMP:
            return 1.0
        return RAMP_FROM + (1 - RAMP_FROM) * max(0.0, now - self.back_at) / RAMP

    def turn(self, now: float) -> bool:
        """Whether this request is one of its share.  Counts the requests, throws no dice."""
        share = self.share(now)
        if share >= 1.0:
            return True
        self._credit += share
        if self._credit < 1.0:
            return False
        self._credit -= 1.0
        return True

    def _returning(self, now: float) -> bool:
        return self.back_at is not None and now - self.back_at < RAMP
