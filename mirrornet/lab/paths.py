"""What happens to a packet on its way: delay, rate, loss, a cut.  Pure: time and dice are arguments.

A path has two directions, each with a line of its own: a queue in front of a wire.  A packet waits until the wire is
free, takes its bits divided by the rate to go in, and arrives half a round-trip time later.  A queue holds what the
wire carries in a round trip, and at least QUEUE_SECONDS, as routers are built (Villamizar and Song 1994); what comes
to a full one is dropped, which is how TCP learns the rate.

Rejected: netem (many kernels have none, ours included); a token bucket (lets bursts through at any speed, so that
small files would arrive faster than the line).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

QUEUE_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Conditions:
    """A path between two sites: `rtt` in ms, `rate` in Mbit/s each way (0: no limit), `loss` in %, each way."""

    rtt: float = 0.0
    rate: float = 0.0
    loss: float = 0.0
    cut: bool = False

    def changed(self, **changes: float | bool) -> Conditions:
        """The same with `changes`.  Raises ValueError for what no path can be."""
        new = replace(self, **changes)  # type: ignore[arg-type]
        if not (0 <= new.rtt <= 60_000 and 0 <= new.rate <= 100_000 and 0 <= new.loss <= 100):
            raise ValueError(f"{new}: rtt is 0 to 60000 ms, rate 0 to 100000 Mbit/s, loss 0 to 100 %")
        return new


@dataclass(slots=True)
class Line:
    """One direction of a path; `free` is when its wire has sent all that it was given."""

    conditions: Conditions
    free: float = 0.0
    packets: int = 0
    bytes: int = 0
    dropped: int = 0

    def arrival(self, now: float, size: int, die: float) -> float | None:
        """When a packet of `size` bytes that enters at `now` arrives, in the seconds of `now`; None: it is lost.

        `die`: a number from 0 up to 1, drawn for this packet.
        """
        path = self.conditions
        if path.cut or die * 100 < path.loss:
            self.dropped += 1
            return None
        half = path.rtt / 2000
        if path.rate:
            start = max(now, self.free)
            if start - now > max(QUEUE_SECONDS, 2 * half):
                self.dropped += 1
                return None
            self.free = start + size * 8 / (path.rate * 1e6)
            half += self.free - now
        self.packets += 1
        self.bytes += size
        return now + half
