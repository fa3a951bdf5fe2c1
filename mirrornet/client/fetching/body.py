"""What a fetch gives: the body of an answer, how it came, and what is here of it while it is still coming.  Pure.

A `Progress` belongs to the caller and outlives the fetch.  So a fetch that is given up half-way leaves its bytes
behind, and the rest can be asked of another mirror; and whoever waits can tell a mirror that is silent from one that
is slow.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

Sink = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Fetched:
    """A body, and how it came: seconds until its first byte and until its last.

    `connecting`: seconds of `first_byte` that went into a new connection; 0 where one was kept.
    """

    data: bytes
    first_byte: float
    seconds: float
    connecting: float = 0.0


@dataclass(frozen=True, slots=True)
class Within:
    """A part of a file: from byte `offset` on; `whole`: the file's length, should the server know no ranges."""

    offset: int
    whole: int


@dataclass(slots=True)
class Progress:
    """What a caller may look at while a fetch runs, and what is left when it is given up.

    Moments are on time.monotonic() or whatever clock the fetcher has; `heard` is called when bytes come.
    """

    heard: Callable[[int], None] | None = None
    data: bytearray = field(default_factory=bytearray)
    count: int = 0  # bytes of the body so far, those of `data` and those that went to a sink
    first_at: float | None = None
    last_at: float | None = None
    connected: bool = True  # the request goes over a connection that was there before
    connecting: float = 0.0  # seconds that making one took

    @property
    def started(self) -> bool:
        """Whether the first byte of the body is here."""
        return self.first_at is not None

    def came(self, size: int, now: float) -> None:
        """`size` bytes of the body came."""
        if self.first_at is None:
            self.first_at = now
        self.last_at = now
        if self.heard is not None:
            self.heard(size)

    async def keep(self, part: bytes, sink: Sink | None) -> None:
        """Those of them that were asked for."""
        self.count += len(part)
        if sink is None:
            self.data += part
        else:
            await sink(part)

    def fetched(self, begun: float, now: float) -> Fetched:
        """All of it."""
        first = now if self.first_at is None else self.first_at
        return Fetched(bytes(self.data), first - begun, now - begun, self.connecting)
