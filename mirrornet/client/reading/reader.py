"""read(offset, size) → exactly those bytes: the one way from an image version to its content.

A read is cut into blocks, which come side by side.  A block of zeroes is nothing to fetch; blocks.py says where the
others are found.  Index pages are blocks and take the same way, so the first read of any image costs its page and its
block.  A read whose blocks are all here is answered without a task, a timer or a wait: that is most of them.

What is fetched before anybody asks for it (ahead.py) takes the same way, behind every reader, and never hedges.

A short read would be silent corruption (the kernel fills it with zeroes), so the length is checked before it leaves.

The .cloop view (cloop.py) takes pages and stored blocks from here, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from dataclasses import asdict
from typing import Any, Final, TypeVar

from mirrornet.client.cache.store import Cache
from mirrornet.client.fetching.failover import Failover, Opened
from mirrornet.client.reading.ahead import Ahead, Coming
from mirrornet.client.reading.blocks import Blocks, ReadFigures
from mirrornet.image.format.block import BlockRef
from mirrornet.image.format.index import Head, Page, Place
from mirrornet.model.errors import LocalError, MirrornetError, Unreachable

T = TypeVar("T")

__all__ = ["MEMORY", "READ_DEADLINE", "ReadFigures", "Reader"]

READ_DEADLINE: Final = 30.0  # seconds
MEMORY: Final = 68 << 20  # bytes of inflated blocks: a working set of 64 MiB and what is just passing
PREPARED: Final = 8  # pages of an index that are fetched at the start: 2 GiB of blocks, 350 KB at most
PAGES: Final = 32  # parsed index pages; each lists 1,024 blocks and takes some 200 KB


class Reader:
    """The content of one image version.  Use inside one event loop; `await close()` at the end."""

    def __init__(
        self,
        head: Head,
        cache: Cache,
        failover: Failover | None,
        pool: Executor,
        *,
        deadline: float = READ_DEADLINE,
        memory: int = MEMORY,
    ) -> None:
        """`failover` None: offline, the cache is all there is.  `deadline` in seconds, `memory` in bytes."""
        self.head = head
        self.size = head.size
        self.figures = ReadFigures()
        self.last_read = time.monotonic()
        self.touched: Callable[[int], None] | None = None  # told of each block that a read needs, before it is sought
        self.waiting = 0  # reads that wait for a block on its way
        self.blocks = Blocks(head, cache, failover, pool, self.figures, deadline, memory)
        self._deadline = deadline
        self._zeroes = bytes(head.block_size)
        self._pages: OrderedDict[int, Page] = OrderedDict()
        self.ahead = Ahead(self.prefetch, self._begin, self.absent, head.block_size, head.block_count)
        self.ahead.neighbours = failover is not None  # offline there is nothing to fetch, but something to inflate

    async def read(self, offset: int, size: int, handle: int = 0) -> bytes:
        """`size` bytes from `offset`, fewer only where the image ends.  `handle` tells readers apart.

        Raises PeerError (no mirror gave a block, in `deadline` seconds) or LocalError (offline, and not in the cache).
        """
        found = self.answer(offset, size, handle)
        return found if isinstance(found, bytes) else await found

    def answer(self, offset: int, size: int, handle: int = 0) -> bytes | Coroutine[Any, Any, bytes]:
        """What `read` gives, where nothing has to be waited for; else the rest of the read, to be awaited."""
        end = min(offset + size, self.head.size)
        if offset >= end:
            return b""
        begun = self.last_read = time.monotonic()
        unit = self.head.block_size
        first, last = offset // unit, (end - 1) // unit
        if (touched := self.touched) is not None:
            for number in range(first, last + 1):
                touched(number)  # who may stop listening at any of them
        self.ahead.seen(offset, end, handle)
        parts = self._here(first, last)
        if parts is None:
            return self._later(first, last, offset, end)
        return self._cut(parts, offset - first * unit, end - last * unit, end - offset, begun)

    async def _later(self, first: int, last: int, offset: int, end: int) -> bytes:
        begun, unit = time.monotonic(), self.head.block_size
        parts = await self.timed(self._sought(first, last), f"bytes {offset} to {end}")
        return self._cut(parts, offset - first * unit, end - last * unit, end - offset, begun)

    def _cut(self, parts: list[bytes], start: int, end: int, size: int, begun: float) -> bytes:
        """`parts` in one, from `start` in the first to `end` in the last: `size` bytes."""
        if len(parts) == 1:
            data = parts[0][start:end]
        else:
            views = [memoryview(part) for part in parts]
            views[0], views[-1] = views[0][start:], views[-1][:end]
            data = b"".join(views)
        figures = self.figures
        if len(data) != size:
            raise LocalError(f"{len(data)} bytes where {size} were to be read: a bug in mirrornet")
        figures.longest_stall = max(figures.longest_stall, time.monotonic() - begun)
        figures.reads += 1
        figures.bytes += size
        return data

    def _here(self, first: int, last: int) -> list[bytes] | None:
        """Blocks `first` to `last`, if none of them has to be waited for."""
        found: list[bytes] = []
        zero, blocks = 0, self.blocks
        for number in range(first, last + 1):
            page_number, position = divmod(number, self.head.page_entries)
            page = self._pages.get(page_number)
            if page is None:
                return None
            self._pages.move_to_end(page_number)
            ref = page.refs[position]
            if ref is None:
                zero += 1
                found.append(self._zeroes)
                continue
            data = blocks.held(ref)
            if data is None and (first < last or (data := blocks.at_once(ref)) is None):
                return None
            found.append(data)
        self.figures.zero += zero
        return found

    async def _sought(self, first: int, last: int) -> list[bytes]:
        """Blocks `first` to `last`, those on their way and at mirrors waited for."""
        found: dict[int, bytes] = {}
        flights = []
        for number in range(first, last + 1):
            ref, place = await self.row(number)
            if ref is None:
                found[number] = self._zeroes
                self.figures.zero += 1
            elif (data := self.blocks.held(ref)) is not None:
                found[number] = data
            else:
                flights.append((number, self.blocks.launch(ref, place)))
        if flights:
            brought = await self.blocks.landed([flight for _, flight in flights])
            found |= zip((number for number, _ in flights), brought, strict=True)
        return [found[number] for number in range(first, last + 1)]

    async def timed(self, work: Coroutine[Any, Any, T], what: str) -> T:
        """What `work` gives, within the deadline; what goes wrong is counted.  Raises MirrornetError."""
        begun, figures = time.monotonic(), self.figures
        self.waiting += 1
        try:
            async with asyncio.timeout(self._deadline):
                return await work
        except TimeoutError:
            error = Unreachable(f"{what}: not here after {self._deadline:.1f} s")
            figures.errors, figures.last_error = figures.errors + 1, str(error)
            raise error from None
        except MirrornetError as error:
            figures.errors, figures.last_error = figures.errors + 1, str(error)
            raise
        finally:
            self.waiting -= 1
            figures.longest_stall = max(figures.longest_stall, time.monotonic() - begun)

    def absent(self, number: int) -> bool:
        """Whether block `number` is known to be neither of zeroes, nor in memory or on the disk."""
        page_number, position = divmod(number, self.head.page_entries)
        page = self._pages.get(page_number)
        ref = None if page is None else page.refs[position]
        return ref is not None and not self.blocks.here(ref)

    def zero(self, number: int) -> bool | None:
        """Whether block `number` is one of zeroes; None where its page of the index is not at hand."""
        page_number, position = self.head.locate(number)
        page = self._pages.get(page_number)
        return None if page is None else page.block(position) is None

    async def row(self, number: int) -> tuple[BlockRef | None, Place | None]:
        """What the index says of block `number`: None for a block of zeroes; where in a pack it lies, if in one.

        Raises MirrornetError where its page is not to be had.
        """
        page_number, position = self.head.locate(number)
        page = await self.page(page_number)
        return page.block(position), page.place(position)

    async def page(self, number: int) -> Page:
        """Page `number` of the index.  Raises MirrornetError where it is not to be had."""
        page = self._pages.get(number)
        if page is None:
            ref = self.head.pages[number]
            data = self.blocks.held(ref)
            if data is None:
                data = (await self.blocks.landed([self.blocks.launch(ref)]))[0]
            page = Page.parse(data, self.head, number)
            self._pages[number] = page
            while len(self._pages) > PAGES:
                self._pages.popitem(last=False)
        else:
            self._pages.move_to_end(number)
        return page

    async def prepare(self) -> None:
        """Brings the index of an image that is not large, all pages at once, before a read waits for one by one."""
        head = self.head
        if len(head.pages) > PREPARED:
            return
        first = {ref.hash: number for number, ref in reversed(list(enumerate(head.pages)))}  # equal ones once
        await asyncio.gather(*(self._page_ahead(number) for number in sorted(first.values())))

    async def _page_ahead(self, number: int) -> None:
        with contextlib.suppress(MirrornetError):  # who needs it asks again
            await self.page(number)

    async def prefetch(self, number: int) -> bool:
        """Brings block `number` into memory and the cache, behind every reader; whether that took a fetch.

        Raises MirrornetError where nobody has it now.
        """
        ref, place = await self.row(number)
        if ref is None or self.blocks.known(ref):
            return False
        await self.blocks.landed([self.blocks.launch(ref, place, wanted=False)])
        self.figures.prefetched += 1
        return True

    def _begin(self, number: int) -> Coming:
        """The same without a task, where the page of the index is here: what will be the block; True: it is here."""
        page_number, position = divmod(number, self.head.page_entries)
        page = self._pages.get(page_number)
        if page is None:
            return False
        ref = page.refs[position]
        if ref is None or self.blocks.known(ref):
            return True
        landing = self.blocks.launch(ref, page.place(position), wanted=False).landing
        landing.add_done_callback(self._prefetched)
        return landing

    def _prefetched(self, landing: asyncio.Future[bytes]) -> None:
        if not landing.cancelled() and landing.exception() is None:
            self.figures.prefetched += 1

    def promise(
        self, ref: BlockRef, place: Place | None, patience: float, called: asyncio.Event, broken: asyncio.Event
    ) -> asyncio.Future[Opened] | None:
        """As `Blocks.promise`."""
        return self.blocks.promise(ref, place, patience, called, broken)

    # -- the end

    def status(self) -> dict[str, object]:
        """The figures, by name."""
        return asdict(self.figures)

    async def settle(self, left: int = 0) -> None:
        """Waits until no more than `left` blocks are on their way to the disk cache."""
        await self.blocks.settle(left)

    async def close(self) -> None:
        """Ends what flies; blocks already here still go to the cache."""
        await self.ahead.close()
        await self.blocks.close()
