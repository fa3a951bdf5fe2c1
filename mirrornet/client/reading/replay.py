"""A profile replayed: the blocks that a boot will touch, fetched in its order ahead of the guest.

    profile → rows of the index → what is not here yet → batches → stretches of the boot's pack, side by side

What lies in the boot's pack comes by ranged requests that carry many blocks; what does not (a profile learnt here, a
version without packs) comes block by block.  Every block of a batch is *promised* to the reader before the request
goes: a guest that arrives meanwhile waits for it instead of asking again, and asks himself when the promise is not
kept in time.  So the guest overtakes the replay without a byte twice.

Up to twelve stretches are on their way, of 256 KiB each, as many as the mirror's window allows (window.py): a new
connection doubles what it carries in each round trip from ten packets on (RFC 6928), so many of them fill a line sooner
than two, and what is asked for bounds what can lie in its queue.  Measured: 18 MB at 40 ms and 200 Mbit/s by two
connections and requests of up to 4 MB take 1.09 to 1.35 s and 25 drops, by eight and 256 KB 0.97 s and none.  Of two
large requests the unluckier one was the end, too: 4 MB once took 1.4 s after a loss, with the line idle beside it.
Stretches that grow to 512 KiB were no faster, and the longest read of a boot twice as long.
While a reader waits for a block of his own half of them go on; failover bounds the requests, and lets readers go first.
At most 256 MiB are fetched, or half the cache: more is no boot.

Three batches in a row that nobody gave end the replay: then the network is in trouble, and what little there is of it
belongs to the guest.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from mirrornet.client.cache.store import Cache
from mirrornet.client.fetching.body import Within
from mirrornet.client.fetching.failover import Failover, Opened
from mirrornet.client.fetching.stretch import Piece
from mirrornet.client.reading.batches import Batch, Needed, batched
from mirrornet.client.reading.reader import Reader
from mirrornet.image.format.block import BlockRef, block_path
from mirrornet.image.format.profile import Profile
from mirrornet.model.errors import MirrornetError, Missing, PeerError

log = logging.getLogger(__name__)

STRETCHES: Final = 12  # at once
SINGLES: Final = 16  # requests for single blocks at once
LIMIT: Final = 256 << 20  # stored bytes of one replay
PAGES: Final = 256  # of the index, of 44 KB each; a profile may name blocks all over 64 TiB
FAILURES: Final = 3  # batches in a row
DEADLINE: Final = 30.0  # seconds for a batch
PATIENCE: Final = (1.0, 5.0)  # seconds that a reader waits for a promise, at least and at most
WRITES: Final = 32  # blocks on their way to the disk cache, before the next is taken
LOOK: Final = 0.02  # seconds between two looks whether a reader still waits


@dataclass(slots=True)
class ReplayFigures:
    """What `status` tells of a replay.  `blocks`: of the profile that are not zero; `held`: of them in the disk cache
    when it began; `brought`, `bytes`: by this replay, as stored.  `state`: "waiting", "running", "done", "given up".
    """

    state: str = "waiting"
    blocks: int = 0
    held: int = 0
    brought: int = 0
    bytes: int = 0
    seconds: float = 0.0


class Replay:
    """One profile, once.  Use inside one event loop."""

    def __init__(
        self, profile: Profile, reader: Reader, failover: Failover | None, cache: Cache, limit: int = LIMIT
    ) -> None:
        """`profile` is of the image's block size; `limit` in stored bytes.  `failover` None: offline."""
        self.figures = ReplayFigures()
        self._profile = profile
        self._reader = reader
        self._failover = failover
        self._cache = cache
        self._limit = limit
        self._needed: list[Needed] | None = None
        self._failures = 0

    async def run(self) -> None:
        """Fetches what is not here yet; what nobody gives is left to whoever reads it.  Raises nothing of a peer's."""
        figures, begun = self.figures, time.monotonic()
        figures.state = "running"
        try:
            needed = await self.needed()
            held = await asyncio.to_thread(self._held, needed)
            figures.held = len(held)
            if self._failover is not None:
                wanted = self._bounded(needed, held)
                left_out = {block.number for block in needed if block.ref.hash not in held}
                left_out.difference_update(block.number for block in wanted)
                self._guide(frozenset(self._profile.blocks) - left_out)
                await self._fetch(deque(batched(wanted)), self._failover)
            figures.state = "given up" if self._failures >= FAILURES else "done"
        except MirrornetError as error:
            log.info("the profile is not replayed: %s", error)
            figures.state = "given up"
        finally:
            if figures.state == "given up":
                self._guide(frozenset())
            figures.seconds = round(time.monotonic() - begun, 3)
        log.info("profile %s: %d of %d blocks were here, %d came", figures.state, figures.held, figures.blocks,
                 figures.brought)  # fmt: skip

    def _guide(self, named: frozenset[int]) -> None:
        """What is read ahead follows the profile: a read of one of the blocks `named` says nothing of the next."""
        self._reader.ahead.named = named
        self._reader.ahead.neighbours = not named and self._failover is not None

    async def needed(self) -> list[Needed]:
        """The blocks of the profile that are not zero, each once, in order.  Raises MirrornetError."""
        if self._needed is None:
            pages: dict[int, list[int]] = {}
            for number in self._profile.blocks:
                if number < self._reader.head.block_count:
                    pages.setdefault(self._reader.head.locate(number)[0], []).append(number)
            wanted = list(pages.values())[:PAGES]
            rows: dict[int, Needed | None] = {}
            for some in range(0, len(wanted), SINGLES):
                for found in await asyncio.gather(*(self._rows(each) for each in wanted[some : some + SINGLES])):
                    rows |= found
            known: dict[bytes, Needed] = {}
            for number in self._profile.blocks:
                if (block := rows.get(number)) is not None:
                    known.setdefault(block.ref.hash, block)
            self._needed = list(known.values())
            self.figures.blocks = len(self._needed)
        return self._needed

    async def _rows(self, numbers: list[int]) -> dict[int, Needed | None]:
        """The rows of blocks of one page, which is fetched once; None for a block of zeroes."""
        found: dict[int, Needed | None] = {}
        for number in numbers:
            ref, place = await self._reader.row(number)
            found[number] = None if ref is None else Needed(number, ref, place)
        return found

    @property
    def refs(self) -> tuple[BlockRef, ...] | None:
        """The blocks of the profile, once they are known."""
        return None if self._needed is None else tuple(block.ref for block in self._needed)

    def _held(self, needed: list[Needed]) -> set[bytes]:
        return {block.ref.hash for block in needed if self._cache.has(block.ref)}

    def _bounded(self, needed: list[Needed], held: set[bytes]) -> list[Needed]:
        """Those that are not held, up to the limit."""
        left, found = min(self._limit, self._cache.figures.quota // 2), []
        for block in needed:
            if block.ref.hash not in held:
                left -= block.ref.stored
                if left < 0:
                    break
                found.append(block)
        return found

    async def _fetch(self, waiting: deque[Batch], failover: Failover) -> None:
        running: dict[asyncio.Task[None], Batch] = {}
        try:
            while (waiting or running) and self._failures < FAILURES:
                busy = self._reader.blocks.asked
                while waiting and (not running or len(running) < _room(waiting[0], busy)):
                    batch = waiting.popleft()
                    under_way = batch.size + sum(other.size for other in running.values())
                    running[asyncio.create_task(self._bring(batch, failover, _patience(failover, under_way)))] = batch
                done, _ = await asyncio.wait(
                    running, timeout=LOOK if busy and waiting else None, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    del running[task]
                    task.result()
        finally:
            for task in running:
                task.cancel()
            if running:
                await asyncio.wait(running)

    async def _bring(self, batch: Batch, failover: Failover, patience: float) -> None:
        """One batch; what comes of it is kept."""
        try:
            first = batch.blocks[0]
            if first.place is None:
                if await self._reader.prefetch(first.number):
                    self._came(first.ref.stored)
            else:
                await self._stretch(batch, failover, patience)
            self._failures = 0
        except PeerError as error:
            self._failures += not isinstance(error, Missing)
            log.debug("profile: a batch of %d blocks: %s", len(batch.blocks), error)
        await self._reader.settle(WRITES)

    async def _stretch(self, batch: Batch, failover: Failover, patience: float) -> None:
        called, broken = asyncio.Event(), asyncio.Event()
        promises: dict[bytes, asyncio.Future[Opened]] = {}
        for block in batch.blocks:
            promise = self._reader.promise(block.ref, block.place, patience, called, broken)
            if promise is not None:
                promises[block.ref.hash] = promise
        try:
            for piece in self._pieces(batch, promises):
                stretch = failover.stretch(piece, time.monotonic() + DEADLINE, called, broken.set)
                async with aclosing(stretch) as coming:
                    async for arrived in coming:
                        promise = promises[arrived.ref.hash]
                        if not promise.done():
                            promise.set_result(Opened(arrived.stored, arrived.data, arrived.mirror))
                        self._came(arrived.ref.stored)
        finally:
            for promise in promises.values():
                if not promise.done():
                    promise.cancel()

    def _pieces(self, batch: Batch, wanted: dict[bytes, asyncio.Future[Opened]]) -> list[Piece]:
        """The stretches of `batch` without what a reader has or fetches himself."""
        head, runs = self._reader.head, list[list[Needed]]()
        for block in batch.blocks:
            if block.ref.hash not in wanted:
                runs.append([])
            else:
                if not runs:
                    runs.append([])
                runs[-1].append(block)
        found = []
        for run in filter(None, runs):
            place = run[0].place
            assert place is not None
            pack = head.packs[place.pack]
            refs = tuple(block.ref for block in run)
            found.append(Piece(block_path(pack.hash), Within(place.offset, pack.length), refs))
        return found

    def _came(self, stored: int) -> None:
        self.figures.brought += 1
        self.figures.bytes += stored


def _room(batch: Batch, busy: bool) -> int:
    """How many requests may be under way, with that for `batch`; `busy`: a reader waits for a block of his own."""
    if batch.blocks[0].place is None:
        return SINGLES // 4 if busy else SINGLES
    return STRETCHES // 2 if busy else STRETCHES


def _patience(failover: Failover, under_way: int) -> float:
    """Seconds that a reader waits for a promise: twice what the best mirror needs for all that is under way."""
    predicted = [record.predicted(under_way) for record in failover.choice.records()]
    return min(max(2 * min(predicted, default=0.0), PATIENCE[0]), PATIENCE[1])


class Likeness:
    """Whether who reads is booting: `started` is called once, when what was touched looks like the profile.

    That is after 16 blocks of which three quarters are in it.  A file system that is only looked at touches a few.
    """

    ENOUGH: Final = 16
    SHARE: Final = 0.75

    def __init__(self, profile: Profile, started: Callable[[], None]) -> None:
        self._blocks = frozenset(profile.blocks)
        self._seen: set[int] = set()
        self._started: Callable[[], None] | None = started

    @property
    def over(self) -> bool:
        """Whether that is decided."""
        return self._started is None

    def touched(self, number: int) -> None:
        """A read needs block `number`."""
        if self._started is None or number in self._seen:
            return
        self._seen.add(number)
        if len(self._seen) < self.ENOUGH:
            return
        if len(self._seen & self._blocks) >= self.SHARE * len(self._seen):
            started, self._started = self._started, None
            started()
        elif len(self._seen) >= 64 * self.ENOUGH:
            self._started = None  # whatever it is, it is no boot
            self._seen.clear()
