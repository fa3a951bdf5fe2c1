"""What this client saw of a mirror: how long its first byte takes, and how fast the rest comes.  Pure.

First bytes.  An exponentially weighted mean and deviation (Jacobson and Karels 1988; RFC 6298) say what is usual now;
the last 128 say p50 and p95.  They are kept as they are: for so few, a sketch (P², t-digest, DDSketch) would take more
room and code than it saves, and would remember last week.  Seconds spent on a new connection are left out, else the
busier a mirror is, the slower it would look.

Rates.  `rate` is what one request gets: the harmonic mean, so that slow ones weigh what they cost.  What came over a
new connection, or fits in its first few flights, was as slow as TCP starts (RFC 6928): that says how far the mirror is,
which is known.  It may raise the rate and not lower it, else one that is asked seldom would always look worse.  `peak`
is what the line carries: requests share it, so bytes are counted over all of them, while one of them comes (a delivery
rate, as in draft-cheng-iccrg-delivery-rate-estimation), and the greatest of the last ten counts, since any of them may
have been too small to fill the line (BBR's filter: Cardwell et al., "BBR", CACM 2017).  What came in less than 20 ms
came out of a buffer and says nothing of a line.  Of a mirror whose rate is not known, TCP's start is expected: ten
segments, and twice as many in each round trip.

Silence is the mirror's, not a request's: the time in which it has sent nobody a byte although something is asked of it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass, field
from math import log2
from typing import Final

ALPHA: Final = 0.25  # weight of a new sample; TCP takes 1/8 for many more samples (RFC 6298)
KEPT: Final = 128  # first bytes
ENOUGH: Final = 20  # of them, for a p95 to mean anything
PEAKS: Final = 10  # delivery rates of which the greatest counts; BBR takes ten round trips
LONG_ENOUGH: Final = 0.02  # seconds of a transfer, to say something of the line
FIRST_FLIGHT: Final = 14480.0  # bytes: ten segments (RFC 6928) of 1,448
BIG_ENOUGH: Final = 65536  # bytes; less is over before a sender has found its pace


class Quantiles:
    """The last `KEPT` samples, in order of size as well."""

    def __init__(self) -> None:
        self._line: deque[float] = deque()
        self._sorted: list[float] = []

    def __len__(self) -> int:
        return len(self._line)

    def add(self, sample: float) -> None:
        """One more; the oldest goes."""
        if len(self._line) == KEPT:
            oldest = self._line.popleft()
            del self._sorted[bisect_left(self._sorted, oldest)]
        self._line.append(sample)
        insort(self._sorted, sample)

    def at(self, share: float) -> float | None:
        """The sample that `share` (0 to 1) of all are not above; None where there is none."""
        if not self._sorted:
            return None
        return self._sorted[min(int(share * len(self._sorted)), len(self._sorted) - 1)]


@dataclass(slots=True)
class Measures:
    """Of one mirror.  Seconds and bytes a second; moments on the caller's clock."""

    first_byte: float | None = None
    deviation: float = 0.0
    firsts: Quantiles = field(default_factory=Quantiles)
    rate: float | None = None
    peaks: deque[float] = field(default_factory=lambda: deque(maxlen=PEAKS))
    delivered: int = 0  # bytes of bodies, those of requests that were given up too
    silent_since: float | None = None  # its last byte, or the first request after that; None: nothing is asked of it
    asked_at: float | None = None
    heard_at: float | None = None

    def asked(self, now: float) -> None:
        """A request goes out."""
        self.asked_at = now
        if self.silent_since is None:
            self.silent_since = now

    def heard(self, size: int, now: float, more: bool) -> None:
        """`size` bytes came, of whatever request; 0: an answer without any.  `more`: something is asked of it still."""
        self.delivered += size
        self.heard_at = now
        self.silent_since = now if more else None

    def rests(self, now: float) -> None:
        """Nothing is asked of it any more.  It stays silent if it was so for longer than it ever is."""
        if self.silence(now) < (self.late() or 1.0):
            self.silent_since = None

    def silence(self, now: float) -> float:
        """Seconds without a byte although it was asked."""
        return 0.0 if self.silent_since is None else now - self.silent_since

    def first(self, seconds: float) -> None:
        """A first byte took that long, or at least that long."""
        self.firsts.add(seconds)
        if self.first_byte is None:
            self.first_byte, self.deviation = seconds, seconds / 2
            return
        error = seconds - self.first_byte
        self.deviation += ALPHA * (abs(error) - self.deviation)
        self.first_byte += ALPHA * error

    def transfer(self, size: int, carried: int, seconds: float, kept: bool = True) -> None:
        """From its first byte to its last, a body of `size` bytes took `seconds`.

        `carried`: bytes of all bodies of this mirror in that time.  `kept`: the connection was there before.
        """
        rate = size / max(seconds, 1e-5)
        if not kept or size < BIG_ENOUGH:
            self.rate = max(self.rate, rate) if self.rate is not None else None
            return
        self.rate = rate if self.rate is None else 1 / ((1 - ALPHA) / self.rate + ALPHA / rate)
        if seconds >= LONG_ENOUGH:
            self.peaks.append(max(carried, size) / seconds)

    @property
    def peak(self) -> float | None:
        """Bytes a second that the line to it carries, as far as was seen."""
        if self.rate is None:
            return None
        return max(self.peaks) if self.peaks else self.rate

    def late(self) -> float | None:
        """Seconds within which a first byte nearly always comes: p95, or mean and three deviations while few came."""
        if self.first_byte is None:
            return None
        if len(self.firsts) < ENOUGH:
            return self.first_byte + 3 * self.deviation
        return max(self.firsts.at(0.95) or 0.0, 1.1 * self.first_byte + 0.002)

    def predicted(self, size: int, others: int) -> float | None:
        """Seconds for `size` bytes beside `others` requests that share the line; None where nothing is known."""
        if self.first_byte is None:
            return None
        if self.rate is None:
            return self.first_byte * (1 + log2(1 + size / FIRST_FLIGHT))
        return self.first_byte + max(size / self.rate, size * (others + 1) / (self.peak or self.rate))
