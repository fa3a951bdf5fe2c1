"""One block, from wherever it is: inflated in memory, on its way already, in the disk cache, at a mirror.

There is one flight per block, however many wait for it.  A flight belongs to the block, not to the reader who caused
it: when he gives up, it lands for the next one.  It has the reader's deadline nevertheless, so nothing flies for ever.

The disk cache is asked by threads, which also hash and inflate (disk.py).  A block that one reader alone waits for, and
that the kernel has in memory, is taken without any hop (`at_once`): the cores would otherwise only wait for each other.
No byte of a file is waited for there; finding its name may cost one access of the disk, where the kernel forgot it.

What a mirror gave goes to the disk cache behind everybody.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from mirrornet.client.cache.disk import Disk
from mirrornet.client.cache.store import Cache
from mirrornet.client.fetching.failover import Failover, Opened
from mirrornet.client.fetching.fetch import Within
from mirrornet.client.reading.memory import Memory
from mirrornet.image.format.block import BlockRef, block_path
from mirrornet.image.format.index import Head, Place
from mirrornet.model.errors import LocalError, MirrornetError, Unreachable

UNWRITTEN: Final = 32 << 20  # bytes of blocks on their way to the disk cache; beyond that they are not kept
STORED: Final = 8 << 20  # bytes of blocks as stored, for who reads them so: a read begins where the last one ended


@dataclass(frozen=True, slots=True)
class Promise:
    """What will come with others: the block; seconds that a reader waits for it; `called`: set when one does.

    `broken`: set when it will take longer than thought, so that whoever waits fetches it himself.
    """

    coming: asyncio.Future[Opened]
    patience: float
    called: asyncio.Event
    broken: asyncio.Event


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


@dataclass(slots=True, eq=False)
class Flight:
    """A block on its way.  `wanted`: set once a reader waits for it; until then it is fetched early."""

    ref: BlockRef
    place: Place | None
    landing: asyncio.Future[bytes]
    wanted: asyncio.Event = field(default_factory=asyncio.Event)
    promise: Promise | None = None
    task: asyncio.Task[None] | None = None  # once a mirror is asked


class Blocks:
    """The blocks of one image version.  Use inside one event loop; `await close()` at the end."""

    def __init__(
        self,
        head: Head,
        cache: Cache,
        failover: Failover | None,
        pool: Executor,
        figures: ReadFigures,
        deadline: float,
        memory: int,
    ) -> None:
        """`failover` None: offline, the cache is all there is.  `deadline` in seconds, `memory` in bytes."""
        self.figures = figures
        self.crowded: Callable[[], bool] = lambda: False  # whether more requests wait than the one being answered
        self._head = head
        self._cache = cache
        self._failover = failover
        self._pool = pool
        self._deadline = deadline
        self._memory = Memory(memory)
        self._stored = Memory(STORED)
        self._flights: dict[bytes, Flight] = {}
        self._passing: dict[bytes, asyncio.Task[bytes]] = {}
        self._disk: Disk[Flight] = Disk(cache, self._looked)
        self._keeping: set[asyncio.Task[None]] = set()
        self._writer = ThreadPoolExecutor(1, "keep")  # of its own: it may wait for others who make room
        self._unwritten = 0

    def held(self, ref: BlockRef) -> bytes | None:
        """The block, if it is in memory."""
        data = self._memory.get(ref.hash)
        if data is not None:
            self.figures.memory += 1
        return data

    def here(self, ref: BlockRef) -> bool:
        """Whether it is in memory, or the disk cache seems to have it."""
        return ref.hash in self._memory or self._cache.has(ref)

    def known(self, ref: BlockRef) -> bool:
        """Whether it is in memory or on its way."""
        return ref.hash in self._flights or ref.hash in self._memory

    def at_once(self, ref: BlockRef) -> bytes | None:
        """The block from the disk cache, verified, if nothing has to be waited for and no other core could help."""
        if ref.hash in self._flights or self.crowded() or (data := self._disk.at_once(ref)) is None:
            return None
        self.figures.disk += 1
        self._memory.put(ref.hash, data)
        return data

    def launch(
        self, ref: BlockRef, place: Place | None = None, *, wanted: bool = True, promise: Promise | None = None
    ) -> Flight:
        """The block's flight, which begins now if it has not yet.  It is not in memory."""
        flight = self._flights.get(ref.hash)
        if flight is None:
            flight = Flight(ref, place, asyncio.get_running_loop().create_future(), promise=promise)
            self._flights[ref.hash] = flight
            self._disk.seek(flight, urgent=wanted)
        elif wanted and not flight.wanted.is_set():
            self._disk.hurry(flight)
        if wanted:
            flight.wanted.set()
        return flight

    async def landed(self, flights: Sequence[Flight]) -> list[bytes]:
        """What they bring.  Raises MirrornetError, the first of theirs."""
        landings = [flight.landing for flight in flights]
        if waiting := [landing for landing in landings if not landing.done()]:
            await asyncio.wait(waiting)  # which leaves them alone where this reader gives up
        return [landing.result() for landing in landings]

    def promise(
        self, ref: BlockRef, place: Place | None, patience: float, called: asyncio.Event, broken: asyncio.Event
    ) -> asyncio.Future[Opened] | None:
        """A future for a block that will come with others (replay.py); None where it is here or on its way already.

        Whoever wants the block meanwhile sets `called` and waits for that future, `patience` seconds and until `broken`
        is set; then it is fetched by itself, and so it is where the future was cancelled.
        """
        if self.known(ref):
            return None
        coming: asyncio.Future[Opened] = asyncio.get_running_loop().create_future()
        self.launch(ref, place, wanted=False, promise=Promise(coming, patience, called, broken))
        return coming

    @property
    def asked(self) -> bool:
        """Whether a reader waits for a block of his own, not for one that was promised."""
        return any(flight.wanted.is_set() and flight.promise is None for flight in self._flights.values())

    async def stored(self, ref: BlockRef, place: Place | None) -> bytes:
        """The block as it is stored, verified, from the disk cache or a mirror.  Raises MirrornetError."""
        data = self._stored.get(ref.hash)
        if data is not None:
            return data
        task = self._passing.get(ref.hash)
        if task is None:
            task = asyncio.create_task(self._pass(ref, place))
            self._passing[ref.hash] = task
            task.add_done_callback(functools.partial(self._passed, ref.hash))
        await asyncio.wait((task,))
        return task.result()

    async def _pass(self, ref: BlockRef, place: Place | None) -> bytes:
        data = await asyncio.get_running_loop().run_in_executor(self._pool, self._proven, ref)
        if data is not None:
            self.figures.disk += 1
        elif self._failover is None:
            raise _absent(ref)
        else:
            wanted = asyncio.Event()
            wanted.set()
            deadline = time.monotonic() + self._deadline
            opened = await self._failover.block(ref, deadline=deadline, wanted=wanted, pack=self._pack(place))
            data = opened.stored
            self.figures.network += 1
            self._keep(ref, data)
        self._stored.put(ref.hash, data)
        return data

    def _proven(self, ref: BlockRef) -> bytes | None:
        stored = self._cache.get(ref, time.time())
        if stored is None or (len(stored) == ref.stored and hashlib.sha256(stored).digest() == ref.hash):
            return stored
        self._cache.discard(ref)
        return None

    def _passed(self, hash: bytes, task: asyncio.Task[bytes]) -> None:
        del self._passing[hash]
        if not task.cancelled():
            task.exception()  # whoever waited has it

    def _looked(self, flight: Flight, found: bytes | Exception | None) -> None:
        """The disk cache was asked."""
        if flight.landing.done():
            return
        if isinstance(found, bytes):
            self.figures.disk += 1
            self._land(flight, found)
        elif found is not None:
            self._fail(flight, found)
        elif self._failover is None:
            self._fail(flight, _absent(flight.ref))
        else:
            flight.task = asyncio.create_task(self._fetch(flight, self._failover))

    # -- mirrors

    async def _fetch(self, flight: Flight, failover: Failover) -> None:
        ref = flight.ref
        try:
            opened = await _kept(flight.promise, flight.wanted) if flight.promise else None
            if opened is None:
                deadline = time.monotonic() + self._deadline
                opened = await failover.block(
                    ref, deadline=deadline, wanted=flight.wanted, pack=self._pack(flight.place)
                )
        except asyncio.CancelledError:
            self._fail(flight, None)
            raise
        except Exception as error:  # whatever it is, nobody waits for ever
            self._fail(flight, error)
            return
        self.figures.network += 1
        self._keep(ref, opened.stored)
        self._land(flight, opened.data)

    def _pack(self, place: Place | None) -> tuple[str, Within] | None:
        """The pack to read a block of that place from; None where the block is a file of its own."""
        if place is None or (pack := self._head.packs[place.pack]).single:
            return None
        return block_path(pack.hash), Within(place.offset, pack.length)

    def _land(self, flight: Flight, data: bytes) -> None:
        self._memory.put(flight.ref.hash, data)
        self._flights.pop(flight.ref.hash, None)
        if not flight.landing.done():
            flight.landing.set_result(data)

    def _fail(self, flight: Flight, error: Exception | None) -> None:
        """It brings nothing; without an error, since all ends."""
        self._flights.pop(flight.ref.hash, None)
        if flight.landing.done():
            return
        if error is None:
            flight.landing.cancel()
        else:
            flight.landing.set_exception(error)
            flight.landing.exception()  # whoever waits has it; nobody waiting is no news

    def _keep(self, ref: BlockRef, stored: bytes) -> None:
        if self._unwritten + len(stored) > UNWRITTEN:
            return
        self._unwritten += len(stored)

        async def keep() -> None:
            try:
                await asyncio.get_running_loop().run_in_executor(
                    self._writer, self._cache.put, ref, stored, time.time()
                )
            finally:
                self._unwritten -= len(stored)

        task = asyncio.create_task(keep())
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)

    # -- the end

    def give_up(self) -> None:
        """Whoever waits for a block just now waits no more: CancelledError."""
        for flight in tuple(self._flights.values()):
            if flight.task is not None:
                flight.task.cancel()
            self._fail(flight, None)
        for task in self._passing.values():
            task.cancel()

    async def settle(self, left: int = 0) -> None:
        """Waits until no more than `left` blocks are on their way to the disk cache."""
        while len(self._keeping) > left:
            await asyncio.wait(tuple(self._keeping), return_when=asyncio.FIRST_COMPLETED)

    async def close(self) -> None:
        """Ends what flies; blocks already here still go to the cache."""
        await self._disk.close()
        flights = tuple(self._flights.values())
        tasks = [*self._passing.values(), *(flight.task for flight in flights if flight.task is not None)]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for flight in flights:
            self._fail(flight, None)
        await self.settle()
        self._writer.shutdown(wait=False)


def _absent(ref: BlockRef) -> MirrornetError:
    return LocalError(f"block {ref.hash.hex()[:16]}… is not in the cache, and this mount is offline")


async def _kept(promise: Promise, wanted: asyncio.Event) -> Opened | None:
    """What was promised; None where a reader wants it and it does not come.  Raises Unreachable if nobody wants it."""
    coming = promise.coming
    call = asyncio.create_task(wanted.wait())
    try:
        await asyncio.wait((coming, call), return_when=asyncio.FIRST_COMPLETED)
        if not coming.done():
            promise.called.set()
            broken = asyncio.create_task(promise.broken.wait())
            try:
                await asyncio.wait((coming, broken), timeout=promise.patience, return_when=asyncio.FIRST_COMPLETED)
            finally:
                broken.cancel()
    finally:
        call.cancel()
        if not coming.done():
            coming.cancel()
    if not coming.cancelled():
        return coming.result()
    if not wanted.is_set():
        raise Unreachable("it did not come with the others, and nobody wants it now")
    return None
