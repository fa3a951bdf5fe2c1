"""What is known of one mirror: its measures, its breaker, its window, what it gave and what it is blamed for.  Pure.

A record outlives the mirror's place in the DNS answer (choice.py), and is what `status` shows.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from mirrornet.client.mirrors.breaker import Breaker
from mirrornet.client.mirrors.measures import Measures
from mirrornet.client.mirrors.source import Endpoint
from mirrornet.client.mirrors.window import Window


class Blame(StrEnum):
    """What a mirror is blamed for."""

    UNREACHABLE = "unreachable"  # no connection, a reset, an error of the server
    SLOW = "slow"  # asked, and lost to the hedge without a byte
    CORRUPT = "corrupt"  # bytes that are not those named or signed


DOUBTED: Final = 4.0  # times its silence, once that is longer than it nearly ever is: what to expect beyond the usual


@dataclass(slots=True)
class Record:
    """What is known of one mirror.  Times in seconds; moments on the caller's clock."""

    endpoint: Endpoint
    measures: Measures = field(default_factory=Measures)
    breaker: Breaker = field(default_factory=Breaker)
    window: Window = field(default_factory=Window)
    under_way: int = 0
    asked_at: float | None = None  # when it last answered or failed
    failed_at: float | None = None
    failing: bool = False  # its last answer was a failure
    blocks: int = 0
    bytes: int = 0
    missing: int = 0
    blames: Counter[Blame] = field(default_factory=Counter)
    last_blame: str = ""

    @property
    def name(self) -> str:
        return self.endpoint.name

    @property
    def first_byte(self) -> float | None:
        return self.measures.first_byte

    @property
    def rate(self) -> float | None:
        return self.measures.rate

    @property
    def failures(self) -> int:
        return self.breaker.failures

    @property
    def out_until(self) -> float | None:
        return self.breaker.out_until

    @property
    def corrupt_until(self) -> float:
        return self.breaker.corrupt_until

    def predicted(self, size: int, now: float | None = None, others: int = 0) -> float:
        """Seconds until `size` stored bytes would be here, beside `others` requests; `now`: its silence counts.

        Others take nothing away while no queue was ever seen (window.py): until then nobody knows what the line
        carries, only what was asked of it.
        """
        usual = self.measures.predicted(size, 0 if self.window.growing else others)
        if usual is None:
            usual = 1.0 + 0.1 * self.endpoint.rank
        silence = 0.0 if now is None else self.measures.silence(now)
        if silence > (self.measures.late() or usual):
            return usual + DOUBTED * silence
        return max(usual, silence)
