"""Who reads in order, and how far ahead of him it pays to fetch.  Pure.

A handle's reads are sorted into streams, since one program reads several files of an image at once through one loop
device.  The kernel sends reads of 128 KiB, several at a time and not always in order, so a stream has an edge (all
blocks below it were read, from its start on) and remembers the few read beyond it.  A read within REACH of the edge
belongs to the stream; any other begins one.  What counts is the run: blocks read without a gap.  Who jumps, or reads
every second block, has no run and is never fetched for.  Blocks that a profile names count for nothing and break
nothing, so who copies a part of the image while a profile is replayed is fetched for, too (14 MB/s became 26).

The window, in blocks ahead of the edge:

    window = min(2 run, allowed, most, credit)        once run >= 4

`allowed` begins at 16, all of a new handle's credit: what is asked for at once over many connections fills the line
two round trips sooner than what doubles (64 MB at 40 ms and 200 Mbit/s: 80 % of the line became 83).  It doubles when
the reader had to wait for a block that was already ordered (the link's delay is longer than the window), at most once
in a quarter of a window, and loses a quarter when two whole windows came early.  That finds bandwidth times delay
without measuring either; how many requests a mirror gets at once is failover's to bound.

The bound is `credit`, of each handle: 16 blocks at first, and half a block for each that is read in order.  What lies
unread ahead of its streams never exceeds it, and what a stream leaves unread when it ends is taken off.  So whatever a
handle reads, it wastes at most 16 blocks (4 MiB) and half of what it reads in order.

Rejected: a window of bandwidth times delay by the mirrors' measures (they are of single requests, and stale after a
pause), the kernel's POSIX_FADV_* (FUSE does not pass them on).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

REACH: Final = 8  # blocks; the kernel has 2 MiB under way at most, with 1 MiB of readahead
HANDLES: Final = 64  # remembered at once
STREAMS: Final = 8  # of one handle
TRIGGER: Final = 4  # blocks in order before anything is fetched ahead
FIRST: Final = 16  # blocks ahead, to begin with
CREDIT: Final = 16.0  # blocks
EARNED: Final = 0.5  # of a block, for each that is read in order


@dataclass(slots=True)
class _Stream:
    base: int
    edge: int
    beyond: set[int] = field(default_factory=set)
    ordered: int = 0  # blocks below this were ordered
    allowed: int = FIRST
    grown_at: int = 0  # the edge from which on it may grow again
    early: int = 0  # blocks in a row that were not waited for

    @property
    def run(self) -> int:
        """Blocks read in order, but for those that were merely passed."""
        return self.edge - self.base

    @property
    def unread(self) -> int:
        return max(0, self.ordered - self.edge)


@dataclass(slots=True)
class _Handle:
    credit: float = CREDIT
    streams: list[_Stream] = field(default_factory=list)  # the one last read from at the end


class Streams:
    """The streams of all handles of one image of `count` blocks; at most `most` blocks are fetched ahead in each."""

    def __init__(self, count: int, most: int) -> None:
        self._count = count
        self._most = most
        self._handles: OrderedDict[int, _Handle] = OrderedDict()

    def seen(self, first: int, last: int, handle: int, late: bool) -> range:
        """Blocks `first` to `last` are read through `handle`; `late`: one was ordered and is not here yet.

        Returns the blocks to order now.
        """
        known = self._handles.get(handle)
        if known is None:
            known = self._handles[handle] = _Handle()
            while len(self._handles) > HANDLES:
                self._handles.popitem(last=False)
        self._handles.move_to_end(handle)
        stream = self._stream(known, first, last) or self._begun(known, first)
        before = stream.edge
        self._advance(stream, first, last)
        if stream.run < TRIGGER:
            return range(0)
        known.credit = min(known.credit + EARNED * (stream.edge - before), 2.0 * self._most)
        self._adapt(stream, late, stream.edge - before)
        return self._ahead(known, stream)

    def passed(self, first: int, last: int, handle: int) -> range:
        """Blocks `first` to `last` are read, which say nothing of the next: they begin no stream and end none.

        Returns the blocks to order now.
        """
        known = self._handles.get(handle)
        if known is None or (stream := self._stream(known, first, last)) is None:
            return range(0)
        before = stream.edge
        self._advance(stream, first, last)
        stream.base += stream.edge - before
        return range(0) if stream.run < TRIGGER else self._ahead(known, stream)

    def _ahead(self, known: _Handle, stream: _Stream) -> range:
        others = sum(other.unread for other in known.streams if other is not stream)
        window = min(2 * stream.run, stream.allowed, self._most, int(known.credit) - others)
        start = max(stream.ordered, stream.edge)
        stop = min(stream.edge + window, self._count)
        if start >= stop:
            return range(0)
        stream.ordered = stop
        return range(start, stop)

    def _stream(self, handle: _Handle, first: int, last: int) -> _Stream | None:
        for stream in reversed(handle.streams):
            if stream.edge - REACH <= last and first <= max(stream.edge, stream.ordered) + REACH:
                handle.streams.remove(stream)
                handle.streams.append(stream)
                return stream
        return None

    def _begun(self, handle: _Handle, first: int) -> _Stream:
        stream = _Stream(first, first)
        handle.streams.append(stream)
        if len(handle.streams) > STREAMS:
            handle.credit = max(0.0, handle.credit - handle.streams.pop(0).unread)
        return stream

    @staticmethod
    def _advance(stream: _Stream, first: int, last: int) -> None:
        if first <= stream.edge:
            stream.edge = max(stream.edge, last + 1)
        else:
            stream.beyond.update(range(first, last + 1))
        while stream.edge in stream.beyond:
            stream.edge += 1
        stream.beyond = {number for number in stream.beyond if number > stream.edge}

    def _adapt(self, stream: _Stream, late: bool, advanced: int) -> None:
        if late:
            stream.early = 0
            if stream.edge >= stream.grown_at:
                stream.allowed = min(2 * stream.allowed, self._most)
                stream.grown_at = stream.edge + stream.allowed // 4
            return
        stream.early += advanced
        if stream.early > 2 * stream.allowed and stream.allowed > FIRST:
            stream.allowed, stream.early = max(FIRST, 3 * stream.allowed // 4), 0
