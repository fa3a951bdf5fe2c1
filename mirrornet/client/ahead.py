"""Readahead: a reader that goes through the image in order is given the next blocks before it asks.

The kernel sends several reads at once and not always in order, so "in order" means within a window.  What is ahead
grows with the run and stops at 8 blocks.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from mirrornet.model.errors import MirrornetError

log = logging.getLogger(__name__)

AHEAD: Final = 8  # blocks, at most
WINDOW: Final = 4 << 20  # bytes that a reader in order may be off; 2 of the kernel's largest readahead
STREAMS: Final = 64  # handles whose last place is remembered


@dataclass(slots=True)
class _Stream:
    next: int = 0
    run: int = 0


class Ahead:
    """What each handle reads, and what it will read next.  Use inside one event loop."""

    def __init__(self, fetch: Callable[[int], Awaitable[bool]], unit: int, count: int) -> None:
        """`fetch` brings a block by its number; the image has `count` blocks of `unit` bytes."""
        self._fetch = fetch
        self._unit = unit
        self._count = count
        self._tasks: set[asyncio.Task[None]] = set()
        self._streams: OrderedDict[int, _Stream] = OrderedDict()

    def seen(self, offset: int, end: int, handle: int) -> None:
        """Bytes `offset` to `end` were read through `handle`."""
        stream = self._streams.setdefault(handle, _Stream())
        self._streams.move_to_end(handle)
        while len(self._streams) > STREAMS:
            self._streams.popitem(last=False)
        in_order = abs(offset - stream.next) <= WINDOW and stream.next > 0
        stream.run = stream.run + 1 if in_order else 0
        stream.next = max(end, stream.next) if in_order else end
        if stream.run < 2:
            return
        first = -(-stream.next // self._unit)
        for number in range(first, min(first + min(stream.run, AHEAD), self._count)):
            if len(self._tasks) >= AHEAD:
                return
            task = asyncio.create_task(self._bring(number))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _bring(self, number: int) -> None:
        try:
            await self._fetch(number)
        except MirrornetError as error:
            log.debug("prefetch of block %d: %s", number, error)

    async def close(self) -> None:
        """Ends what is being fetched."""
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))
