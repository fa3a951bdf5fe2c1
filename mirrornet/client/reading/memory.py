"""Inflated blocks in memory: what is used again stays, what is passed through once goes.  Pure.

A block comes in on probation, in the order of arrival.  It is kept, as one in use, when it is asked for again after
others were: a program that reads a block in 64 pieces has used it once, and so has whoever reads the whole image from
end to end, which therefore cannot push out what a running system works with.  A block that comes back soon after it
had to go is one in use at once; else a new working set that is larger than the probation could never take the place of
an old one.  Blocks in use leave by the order of their last use, and get a second time on probation first.  They may
fill three quarters: the rest is for what comes.

This is 2Q (Johnson and Shasha, 1994), whose second queue remembers names only.  Rejected: plain LRU (one `dd` of the
image empties it); a clock, since the order of some hundred blocks costs nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

IN_USE: Final = 0.75  # of the limit, for what was used again
TOGETHER: Final = 8  # other blocks asked for between two uses that count as two
GONE: Final = 2  # names remembered of blocks that had to go, for each block held


@dataclass(slots=True)
class _Held:
    data: bytes
    came: int


class Memory:
    """Blocks by the hash of what is stored of them, of `limit` bytes at most, or a single one that is larger."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._turn = 0  # how often another block was asked for than the last time
        self._last = b""
        self._new: OrderedDict[bytes, _Held] = OrderedDict()
        self._used: OrderedDict[bytes, _Held] = OrderedDict()
        self._used_bytes = 0
        self._gone: OrderedDict[bytes, None] = OrderedDict()
        self.bytes = 0

    def __contains__(self, hash: bytes) -> bool:
        return hash in self._used or hash in self._new

    def __len__(self) -> int:
        return len(self._used) + len(self._new)

    def get(self, hash: bytes) -> bytes | None:
        """The block, which counts as a use of it; None where it is not here."""
        if hash != self._last:
            self._last = hash
            self._turn += 1
        held = self._used.get(hash)
        if held is not None:
            self._used.move_to_end(hash)
            return held.data
        held = self._new.get(hash)
        if held is None:
            return None
        if self._turn - held.came > TOGETHER:
            del self._new[hash]
            self._use(hash, held)
        return held.data

    def put(self, hash: bytes, data: bytes) -> None:
        """Takes a block in; others leave for it."""
        if hash in self:
            return
        held = _Held(data, self._turn)
        self.bytes += len(data)
        if hash in self._gone:
            del self._gone[hash]
            self._use(hash, held)
        else:
            self._new[hash] = held
        while self.bytes > self._limit and len(self) > 1:
            self._leave(keep=hash)

    def _use(self, hash: bytes, held: _Held) -> None:
        self._used[hash] = held
        self._used_bytes += len(held.data)
        while self._used_bytes > self._limit * IN_USE and len(self._used) > 1:
            oldest, other = self._used.popitem(last=False)
            self._used_bytes -= len(other.data)
            other.came = self._turn
            self._new[oldest] = other

    def _leave(self, keep: bytes) -> None:
        """One block goes: the oldest on probation, or, where that is nobody but `keep`, the oldest in use."""
        oldest = next(iter(self._new), keep)
        if oldest != keep:
            self.bytes -= len(self._new.pop(oldest).data)
            self._gone[oldest] = None
            while len(self._gone) > GONE * len(self):
                self._gone.popitem(last=False)
            return
        oldest = next(iter(self._used))
        size = len(self._used.pop(oldest).data)
        self.bytes -= size
        self._used_bytes -= size
