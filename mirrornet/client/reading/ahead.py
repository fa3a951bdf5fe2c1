"""Readahead: a reader that goes through the image in order is given the next blocks before it asks.

Who reads in order, and how far ahead it pays to go, is decided in streams.py; who does not is given the block behind
the one he waits for, while neighbours.py finds that this pays.  What a profile names is no sign of either: a boot reads
its files in order, too, and ends where the profile does.  What is in the disk cache is brought as well: two cores
inflate what comes next while the last read is on its way to the kernel, which asks for one megabyte after the other
(paired, with the same CPU time: 1.2 times as fast with zlib, 1.27 with zstd).

Here the blocks are brought.  At most 16 MiB of the image are ahead of one stream and 32 MiB in all, a part of what the
reader keeps in memory: what is brought must still be there when it is asked for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from mirrornet.client.reading.neighbours import Neighbours
from mirrornet.client.reading.streams import Streams
from mirrornet.model.errors import MirrornetError

log = logging.getLogger(__name__)

Coming = asyncio.Future[bytes] | bool

STREAM: Final = 16 << 20  # bytes of the image ahead of one stream, at most
ALL: Final = 2 * STREAM  # and of all together
LEAST: Final = 4  # blocks, of whatever size


class Ahead:
    """What each handle reads, and what it will read next.  Use inside one event loop."""

    def __init__(
        self,
        fetch: Callable[[int], Awaitable[bool]],
        begin: Callable[[int], Coming],
        absent: Callable[[int], bool],
        unit: int,
        count: int,
    ) -> None:
        """`fetch` brings a block by its number; `begin` has it come, and gives what will be done when it is here.

        `begin` gives True where nothing is to be brought, False where that cannot be known without a wait: `fetch` it.
        `absent`: whether a block is neither in memory nor on the disk.  The image has `count` blocks of `unit` bytes.
        """
        self.neighbours = True  # the block behind one that is fetched may be fetched; not where a profile knows better
        self.named: frozenset[int] = frozenset()  # blocks that a profile names, which knows where their reading ends
        self._fetch = fetch
        self._begin = begin
        self._absent = absent
        self._near = Neighbours(count)
        self._unit = unit
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._coming: set[int] = set()
        self._streams = Streams(count, max(LEAST, STREAM // unit))
        self._most = max(LEAST, ALL // unit)

    def seen(self, offset: int, end: int, handle: int) -> None:
        """Bytes `offset` to `end` are about to be read through `handle`."""
        first, last = offset // self._unit, (end - 1) // self._unit
        if first in self.named or last in self.named:
            for number in self._streams.passed(first, last, handle):
                self._order(number)
            return
        late = any(number in self._coming for number in range(first, last + 1))
        behind = self._near.touched(last)
        for number in range(first, last):
            self._near.touched(number)
        for number in self._streams.seen(first, last, handle, late):
            self._order(number)
        if behind is not None and not (self.neighbours and self._absent(last) and self._order(behind)):
            self._near.refunded(behind)

    def _order(self, number: int) -> bool:
        if number in self._coming or len(self._coming) >= self._most:
            return False
        begun = self._begin(number)
        if begun is True:
            return True
        self._coming.add(number)
        if begun is False:
            self._tasks[number] = asyncio.create_task(self._bring(number))
        else:
            begun.add_done_callback(lambda _: self._coming.discard(number))
        return True

    async def _bring(self, number: int) -> None:
        try:
            await asyncio.sleep(0)  # the reader's own block goes first
            await self._fetch(number)
        except MirrornetError as error:
            log.debug("prefetch of block %d: %s", number, error)
        finally:
            self._tasks.pop(number, None)
            self._coming.discard(number)

    async def close(self) -> None:
        """Ends what is being fetched."""
        tasks = tuple(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
