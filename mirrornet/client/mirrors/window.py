"""How many requests may be under way at one mirror ahead of the readers: enough to fill the line, not to queue in it.

What is fetched before anybody asks for it shares the line with what somebody waits for.  A fixed number is wrong twice:
at 250 ms it leaves the line idle, at 5 ms it makes every reader wait behind a megabyte.  So it is controlled by delay,
as LEDBAT does for background transfers (RFC 6817): the least first byte of late is the way itself, what a request takes
beyond it is the queue, and the window grows while the queue is below its target and shrinks above it: up by one in a
round trip, down by as much of itself as the queue is above its target, half at most (LEDBAT++,
draft-irtf-iccrg-ledbat-plus-plus: else what slow start has piled up would stay for seconds).  It starts at 8 and
doubles every round trip until the first queue is seen, and it grows only where it was what held the prefetch back (RFC
7661).  A failure halves it.

The target is half the way, 10 to 100 ms (RFC 6817 allows at most 100): a reader beside a prefetch at full speed
waits for 1.5 round trips, not for the prefetch.  Readers' own requests never wait for the window; they count in it.

Pure: samples in, a number out.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

START: Final = 8.0  # requests
RANGE: Final = (2.0, 32.0)  # requests
TARGET: Final = (0.010, 0.100)  # seconds of queue
TARGET_SHARE: Final = 0.5  # of the way
MINUTES: Final = 10  # of which the least first byte is the way (BASE_HISTORY of RFC 6817)
FILTER: Final = 4  # first bytes of which the least is the way and the queue now; one alone may be noise
PAUSE: Final = 1.0  # seconds between two halvings: what fails together is one failure


@dataclass(slots=True)
class Window:
    """Of one mirror.  Seconds; moments on the caller's clock."""

    size: float = START
    growing: bool = True  # in slow start
    _lately: deque[float] = field(default_factory=lambda: deque(maxlen=FILTER))
    _ways: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=MINUTES))  # (minute, its least)
    _halved_at: float | None = None

    @property
    def limit(self) -> int:
        """Requests."""
        return int(self.size)

    def answered(self, first_byte: float, under_way: int, now: float) -> None:
        """A first byte took `first_byte` seconds, connecting left out, beside `under_way` requests, itself included."""
        self._lately.append(first_byte)
        minute = int(now // 60)
        if self._ways and self._ways[-1][0] == minute:
            first_byte = min(first_byte, self._ways.pop()[1])
        self._ways.append((minute, first_byte))
        way = min(least for _, least in self._ways)
        target = min(max(TARGET_SHARE * way, TARGET[0]), TARGET[1])
        off = 1 - (min(self._lately) - way) / target
        if off < 0:
            self.growing = False
            self._set(self.size + max(off, -0.5))
        elif under_way >= self.limit:
            self._set(self.size + (1.0 if self.growing else off / self.size))

    def failed(self, now: float) -> None:
        """A request failed."""
        if self._halved_at is None or now - self._halved_at >= PAUSE:
            self._halved_at = now
            self.growing = False
            self._set(self.size / 2)

    def _set(self, size: float) -> None:
        self.size = min(max(size, RANGE[0]), RANGE[1])
