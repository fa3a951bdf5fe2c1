"""Some of the queries, as they came: a ring in the control page that a worker writes and the supervisor reads.

    ring      u64 number of the last sample, 56 bytes zero, then SAMPLES slots
    slot      u64 number (from 1; slot = number modulo SAMPLES), f64 Unix time, u32 generation of the plan, i32 slot of
              the answer or -1, u16 octets of the query, u16 octets of the reply (0: none), u16 flags of the reply,
              u8 transport, u8 octets of the peer's address, 16 octets address, 336 octets of the query

One of so many answers is a sample (`every`; 0: none), and at most `rate` a second are taken, so that a flood costs a
subtraction a query.  Nobody waits for anybody: the writer overwrites what is old, the reader sees by the numbers what
he has missed.  A number is zero while its slot is being written, and the reader looks at it before and after.

What lies here is as it came, addresses whole.  The page is readable by its owner only (control.py), holds the last
SAMPLES of each worker, and is written only while somebody wants samples; the supervisor shortens addresses before
anybody sees them.  Rejected: a pipe or a socket (full, it blocks or loses the newest; and a system call a sample);
a line written by the worker (a full disk would be the answering path's affair).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Final

HEAD: Final = 64
SAMPLES: Final = 128
SAMPLED: Final = 336  # octets kept of a query
_FIXED = Struct("<QdIiHHHBB16s")
SLOT: Final = _FIXED.size + SAMPLED
SIZE: Final = HEAD + SAMPLES * SLOT
_NUMBER = Struct("<Q")
_REST = Struct("<dIiHHHBB16s")
assert SLOT == 384


@dataclass(frozen=True, slots=True)
class Sample:
    """One query and what became of it.  `size`, `reply_size`: octets; of the query at most 336 are in `query`."""

    number: int
    at: float
    generation: int
    slot: int
    size: int
    reply_size: int
    flags: int
    transport: int
    peer: bytes
    query: bytes

    @property
    def rcode(self) -> int:
        """The lower four bits of the reply's rcode."""
        return self.flags & 15


class Ring:
    """A worker's ring.  `room`: SIZE octets of the control page."""

    def __init__(self, room: memoryview) -> None:
        self.room = room.cast("B")

    def put(
        self,
        at: float,
        generation: int,
        slot: int,
        transport: int,
        peer: bytes,
        query: bytes,
        reply: bytes | None,
    ) -> None:
        """Writes a sample over the oldest one.  For the worker alone."""
        room = self.room
        number = _NUMBER.unpack_from(room)[0] + 1
        start = HEAD + number % SAMPLES * SLOT
        _NUMBER.pack_into(room, start, 0)
        flags, kept = int.from_bytes((reply or b"")[2:4], "big"), query[:SAMPLED]
        sizes = len(query), len(reply or b""), flags
        _REST.pack_into(room, start + 8, at, generation, slot, *sizes, transport, len(peer), peer.ljust(16, b"\0"))
        room[start + _FIXED.size : start + _FIXED.size + len(kept)] = kept
        _NUMBER.pack_into(room, start, number)
        _NUMBER.pack_into(room, 0, number)

    @property
    def last(self) -> int:
        """The number of the sample that was written last; 0: none ever was."""
        number: int = _NUMBER.unpack_from(self.room)[0]
        return number

    def since(self, number: int) -> Iterator[Sample]:
        """The samples after `number` that are still there, oldest first."""
        last = self.last
        for wanted in range(max(number, last - SAMPLES) + 1, last + 1):
            start = HEAD + wanted % SAMPLES * SLOT
            octets = bytes(self.room[start : start + SLOT])
            fixed = _FIXED.unpack_from(octets)
            found, at, generation, slot, size, reply_size, flags, transport, peer_size, peer = fixed
            if found != wanted or _NUMBER.unpack_from(self.room, start)[0] != wanted:
                continue  # it is being written over
            query = octets[_FIXED.size : _FIXED.size + size]
            peer = peer[: min(peer_size, 16)]
            yield Sample(wanted, at, generation, slot, size, reply_size, flags, transport, peer, query)


class Picker:
    """Which of the answers that Python gives are samples; the compiled step has its own."""

    def __init__(self) -> None:
        self.every = 0
        self.rate = 0.0
        self._until = 0
        self._credit = 0.0
        self._last = 0.0

    def want(self, every: int, rate: float) -> None:
        """From now on one of `every` answers, at most `rate` a second."""
        if (every, rate) != (self.every, self.rate):
            self.every, self.rate = every, rate
            self._until, self._credit = every, rate

    def picks(self, now: float) -> bool:
        """Whether this answer is a sample.  `now`: Unix time."""
        if not self.every:
            return False
        self._until -= 1
        if self._until > 0:
            return False
        self._until = self.every
        self._credit = min(self.rate, self._credit + max(0.0, now - self._last) * self.rate)
        self._last = now
        if self._credit < 1:
            return False
        self._credit -= 1
        return True
