"""Inflated blocks in memory: what is used again stays, what is passed through once goes.  Pure.

A block comes in on probation, in the order of arrival.  It is kept, as one in use, when it is asked for again after
others have come: a program that reads a block in 64 pieces has used it once, and so has whoever reads the whole image
from end to end, which therefore cannot push out what a running system works with.  Blocks in use leave by the order of
their last use, and get a second time on probation first.  They may fill three quarters: the rest is for what comes.

This is the segmented LRU of Karedla, Love and Wherry (1994) with the correlated references of O'Neil's LRU-K (1993).
Rejected: plain LRU (one `dd` of the image empties it), ARC (its ghosts are lists to keep for a few hundred blocks).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

IN_USE: Final = 0.75  # of the limit, for what was used again
TOGETHER: Final = 8  # blocks that come between two uses that count as two


@dataclass(slots=True)
class _Held:
    data: bytes
    came: int


class Memory:
    """Blocks by the hash of what is stored of them, of `limit` bytes at most, or a single one that is larger."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._arrivals = 0
        self._new: OrderedDict[bytes, _Held] = OrderedDict()
        self._used: OrderedDict[bytes, _Held] = OrderedDict()
        self._used_bytes = 0
        self.bytes = 0

    def __contains__(self, hash: bytes) -> bool:
        return hash in self._used or hash in self._new

    def __len__(self) -> int:
        return len(self._used) + len(self._new)

    def get(self, hash: bytes) -> bytes | None:
        """The block, which counts as a use of it; None where it is not here."""
        held = self._used.get(hash)
        if held is not None:
            self._used.move_to_end(hash)
            return held.data
        held = self._new.get(hash)
        if held is None:
            return None
        if self._arrivals - held.came > TOGETHER:
            del self._new[hash]
            self._used[hash] = held
            self._used_bytes += len(held.data)
            self._demote()
        return held.data

    def put(self, hash: bytes, data: bytes) -> None:
        """Takes a block in; others leave for it."""
        if hash in self:
            return
        self._arrivals += 1
        self._new[hash] = _Held(data, self._arrivals)
        self.bytes += len(data)
        while self.bytes > self._limit and len(self) > 1:
            leaving = self._new if len(self._new) > 1 or not self._used else self._used
            _, held = leaving.popitem(last=False)
            self.bytes -= len(held.data)
            if leaving is self._used:
                self._used_bytes -= len(held.data)

    def _demote(self) -> None:
        while self._used_bytes > self._limit * IN_USE and len(self._used) > 1:
            hash, held = self._used.popitem(last=False)
            self._used_bytes -= len(held.data)
            held.came = self._arrivals
            self._new[hash] = held
