"""read(offset, size) → exactly those bytes: the one way from an image version to its content.

A read is cut into blocks, which come side by side.  Each block is found in this order: a block of zeroes (nothing to
do), inflated in memory, on its way already (one flight per block, however many wait for it), in the disk cache, at a
mirror.  Index pages are blocks and take the same way, so the first read of any image costs its page and its block.

A flight belongs to the block, not to the reader who caused it: when he gives up, it lands for the next one.  It has
the reader's deadline nevertheless, so nothing flies for ever.

What is fetched before anybody asks for it (ahead.py) takes the same way, behind every reader, and never hedges.

A short read would be silent corruption (the kernel fills it with zeroes), so the length is checked before it leaves.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from typing import Final

from mirrornet.client.ahead import Ahead
from mirrornet.client.cache import Cache
from mirrornet.client.failover import Failover, Opened
from mirrornet.client.fetch import Within
from mirrornet.image.format.block import BlockRef, block_path, open_block
from mirrornet.image.format.index import Head, Page, Place
from mirrornet.model.errors import LocalError, MirrornetError, Unreachable, Untrusted

READ_DEADLINE: Final = 30.0  # seconds
MEMORY: Final = 64 << 20  # bytes of inflated blocks
PAGES: Final = 64  # parsed index pages; each lists 1,024 blocks and takes some 200 KB
WRITES: Final = 64  # blocks on their way to the disk cache; beyond that they are not kept


@dataclass(slots=True)
class ReadFigures:
    """What `status` tells of reads: blocks by where they came from, and the longest time one read took."""

    reads: int = 0
    bytes: int = 0
    zero: int = 0
    memory: int = 0
    disk: int = 0
    network: int = 0
    prefetched: int = 0
    errors: int = 0
    last_error: str = ""
    longest_stall: float = 0.0  # seconds


async def _kept(promised: asyncio.Future[Opened], patience: float, wanted: asyncio.Event) -> Opened | None:
    """What was promised; None where a reader wants it and it does not come.  Raises Unreachable if nobody wants it."""
    call = asyncio.create_task(wanted.wait())
    try:
        await asyncio.wait((promised, call), return_when=asyncio.FIRST_COMPLETED)
        if not promised.done():
            await asyncio.wait((promised,), timeout=patience)
    finally:
        call.cancel()
        if not promised.done():
            promised.cancel()
    if not promised.cancelled():
        return promised.result()
    if not wanted.is_set():
        raise Unreachable("it did not come with the others, and nobody wants it now")
    return None


@dataclass(slots=True)
class _Flight:
    task: asyncio.Task[bytes]
    wanted: asyncio.Event  # a reader waits for it; until then it is a prefetch


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
        self.figures = ReadFigures()
        self.last_read = time.monotonic()
        self.touched: Callable[[int], None] | None = None  # told of each block that a read needs, before it is sought
        self.waiting = 0  # reads that wait for a block on its way
        self._cache = cache
        self._failover = failover
        self._pool = pool
        self._deadline = deadline
        self._memory_limit = memory
        self._blocks: OrderedDict[bytes, bytes] = OrderedDict()
        self._held = 0
        self._pages: OrderedDict[int, Page] = OrderedDict()
        self._flights: dict[bytes, _Flight] = {}
        self._keeping: set[asyncio.Task[None]] = set()
        self._ahead = None if failover is None else Ahead(self.prefetch, head.block_size, head.block_count)

    async def read(self, offset: int, size: int, handle: int = 0) -> bytes:
        """`size` bytes from `offset`, fewer only where the image ends.  `handle` tells readers apart.

        Raises PeerError (no mirror gave a block, in `deadline` seconds) or LocalError (offline, and not in the cache).
        """
        begun = self.last_read = time.monotonic()
        figures = self.figures
        end = min(offset + size, self.head.size)
        if offset >= end:
            return b""
        if self._ahead is not None:
            self._ahead.seen(offset, end, handle)
        try:
            async with asyncio.timeout(self._deadline):
                data = await self._span(offset, end)
            if len(data) != end - offset:
                raise LocalError(f"{len(data)} bytes where {end - offset} were to be read: a bug in mirrornet")
        except TimeoutError:
            error = Unreachable(f"bytes {offset} to {end}: not here after {self._deadline:.1f} s")
            figures.errors, figures.last_error = figures.errors + 1, str(error)
            raise error from None
        except MirrornetError as error:
            figures.errors, figures.last_error = figures.errors + 1, str(error)
            raise
        finally:
            figures.longest_stall = max(figures.longest_stall, time.monotonic() - begun)
        figures.reads += 1
        figures.bytes += len(data)
        return data

    async def _span(self, offset: int, end: int) -> bytes:
        unit = self.head.block_size
        first, last = offset // unit, (end - 1) // unit
        if self.touched is not None:
            for number in range(first, last + 1):
                self.touched(number)
        if first == last:
            block = await self._block(first)
            return block[offset - first * unit : end - first * unit]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._plain(number)) for number in range(first, last + 1)]
        parts: list[bytes] = []
        for task in tasks:
            part = task.result()
            if isinstance(part, MirrornetError):
                raise part
            parts.append(part)
        parts[0] = parts[0][offset - first * unit :]
        parts[-1] = parts[-1][: end - last * unit]
        return b"".join(parts)

    async def _plain(self, number: int) -> bytes | MirrornetError:
        """A block or its error as a value, so that a group of them does not end as a group of exceptions."""
        try:
            return await self._block(number)
        except MirrornetError as error:
            return error

    async def _block(self, number: int) -> bytes:
        """Block `number` of the image, inflated, padded to the block size."""
        ref, place = await self.row(number)
        if ref is None:
            self.figures.zero += 1
            return bytes(self.head.block_size)
        return await self._load(ref, place)

    async def row(self, number: int) -> tuple[BlockRef | None, Place | None]:
        """What the index says of block `number`: None for a block of zeroes; where in a pack it lies, if in one.

        Raises MirrornetError where its page is not to be had.
        """
        page_number, position = self.head.locate(number)
        page = self._pages.get(page_number)
        if page is None:
            data = await self._load(self.head.pages[page_number])
            page = Page.parse(data, self.head, page_number)
            self._pages[page_number] = page
            while len(self._pages) > PAGES:
                self._pages.popitem(last=False)
        else:
            self._pages.move_to_end(page_number)
        return page.block(position), page.place(position)

    async def _load(self, ref: BlockRef, place: Place | None = None, wanted: bool = True) -> bytes:
        data = self._blocks.get(ref.hash)
        if data is not None:
            self._blocks.move_to_end(ref.hash)
            self.figures.memory += 1
            return data
        flight = self._flights.get(ref.hash) or self._launch(ref, place)
        if not wanted:
            return await asyncio.shield(flight.task)
        flight.wanted.set()
        self.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            self.waiting -= 1

    def promise(self, ref: BlockRef, place: Place | None, patience: float) -> asyncio.Future[Opened] | None:
        """A future for a block that will come with others (replay.py); None where it is here or on its way already.

        Whoever wants the block meanwhile waits for that future, `patience` seconds, then it is fetched by itself; so it
        is where the future was cancelled.
        """
        if ref.hash in self._blocks or ref.hash in self._flights:
            return None
        promised: asyncio.Future[Opened] = asyncio.get_running_loop().create_future()
        self._launch(ref, place, (promised, patience))
        return promised

    def _launch(
        self, ref: BlockRef, place: Place | None, promise: tuple[asyncio.Future[Opened], float] | None = None
    ) -> _Flight:
        event = asyncio.Event()
        flight = _Flight(asyncio.create_task(self._fly(ref, place, event, promise)), event)
        self._flights[ref.hash] = flight
        flight.task.add_done_callback(self._landed(ref.hash))
        return flight

    def _landed(self, hash: bytes) -> Callable[[asyncio.Task[bytes]], None]:
        def done(task: asyncio.Task[bytes]) -> None:
            del self._flights[hash]
            if not task.cancelled():
                task.exception()  # whoever waited has it; nobody waiting is no news

        return done

    def _pack(self, place: Place | None) -> tuple[str, Within] | None:
        """The pack to read a block of that place from; None where the block is a file of its own."""
        if place is None or (pack := self.head.packs[place.pack]).single:
            return None
        return block_path(pack.hash), Within(place.offset, pack.length)

    async def _fly(
        self,
        ref: BlockRef,
        place: Place | None,
        wanted: asyncio.Event,
        promise: tuple[asyncio.Future[Opened], float] | None = None,
    ) -> bytes:
        loop = asyncio.get_running_loop()
        data = await loop.run_in_executor(self._pool, self._from_disk, ref)
        if data is not None:
            self.figures.disk += 1
        elif self._failover is None:
            raise LocalError(f"block {ref.hash.hex()[:16]}… is not in the cache, and this mount is offline")
        else:
            opened = await _kept(*promise, wanted) if promise else None
            if opened is None:
                deadline = time.monotonic() + self._deadline
                opened = await self._failover.block(ref, deadline=deadline, wanted=wanted, pack=self._pack(place))
            self.figures.network += 1
            data = opened.data
            self._keep(ref, opened.stored)
        self._blocks[ref.hash] = data
        self._held += len(data)
        while self._held > self._memory_limit and len(self._blocks) > 1:
            self._held -= len(self._blocks.popitem(last=False)[1])
        return data

    def _from_disk(self, ref: BlockRef) -> bytes | None:
        stored = self._cache.get(ref, time.time())
        if stored is None:
            return None
        try:
            return open_block(stored, ref)
        except Untrusted:
            self._cache.discard(ref)
            return None

    def _keep(self, ref: BlockRef, stored: bytes) -> None:
        if len(self._keeping) >= WRITES:
            return

        async def keep() -> None:
            await asyncio.get_running_loop().run_in_executor(self._pool, self._cache.put, ref, stored, time.time())

        task = asyncio.create_task(keep())
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)

    async def prefetch(self, number: int) -> bool:
        """Brings block `number` into memory and the cache, behind every reader; whether that took a fetch.

        Raises MirrornetError where nobody has it now.
        """
        ref, place = await self.row(number)
        if ref is None or ref.hash in self._blocks or ref.hash in self._flights:
            return False
        await self._load(ref, place, wanted=False)
        self.figures.prefetched += 1
        return True

    # -- the end

    def status(self) -> dict[str, object]:
        """The figures, by name."""
        return asdict(self.figures)

    async def settle(self, left: int = 0) -> None:
        """Waits until no more than `left` blocks are on their way to the disk cache."""
        while len(self._keeping) > left:
            await asyncio.wait(tuple(self._keeping), return_when=asyncio.FIRST_COMPLETED)

    async def close(self) -> None:
        """Ends what flies; blocks already here still go to the cache."""
        if self._ahead is not None:
            await self._ahead.close()
        tasks = [flight.task for flight in self._flights.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self.settle()
