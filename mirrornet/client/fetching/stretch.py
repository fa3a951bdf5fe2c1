"""A stretch of a pack: one request that carries many blocks in a row, each handed over as soon as it is verified.

A request for each of the 264 blocks of a boot costs 264 heads and as many chances to wait; a stretch fills the line
after one round trip.  When its mirror falls silent, breaks off or is far slower than the next would be, the rest is
asked of the next, from the first block that is not whole.  The bytes of a block that had begun are dropped: so those of
one block never come from two mirrors, and a block that does not verify is the fault of the one who sent it.

Verifying goes on in a thread while the next block comes.  What waits for it is bounded, so that a slow consumer slows
the sender.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from mirrornet.client.fetching.attempt import Asking, Tools, Wanted
from mirrornet.client.fetching.body import Within
from mirrornet.client.mirrors.choice import Blame
from mirrornet.client.mirrors.source import Endpoint
from mirrornet.image.format.block import BlockRef, open_block
from mirrornet.model.errors import Missing, PeerError, Unreachable, Untrusted

WAITING: Final = 8  # blocks that came and are not verified yet
STALL: Final = (0.25, 2.0)  # seconds without a byte after which the rest is asked of another: floor and cap
WANTED: Final = 0.05  # the floor while a reader waits for one of the blocks
WORSE: Final = (3.0, 1.0)  # times what the next mirror is predicted to need for the rest, and seconds more
LOOK: Final = 0.05  # seconds between two looks at how it goes


@dataclass(frozen=True, slots=True)
class Piece:
    """Blocks in a row within a file: the first at `within.offset`."""

    path: str
    within: Within
    refs: tuple[BlockRef, ...]

    @property
    def size(self) -> int:
        """Stored bytes of all blocks."""
        return sum(ref.stored for ref in self.refs)

    def after(self, count: int) -> Piece:
        """What is left when the first `count` blocks are here."""
        offset = self.within.offset + sum(ref.stored for ref in self.refs[:count])
        return Piece(self.path, Within(offset, self.within.whole), self.refs[count:])


@dataclass(frozen=True, slots=True)
class Arrived:
    """One block of a stretch: as stored, as inflated, and who gave it."""

    ref: BlockRef
    stored: bytes
    data: bytes
    mirror: str


class _Cutter:
    """Cuts what comes into blocks; a sink that waits while too many of them are waiting."""

    def __init__(self, refs: tuple[BlockRef, ...]) -> None:
        self._left = deque(refs)
        self._rest = bytearray()
        self.ready: deque[tuple[BlockRef, bytes]] = deque()
        self.more = asyncio.Event()
        self._room = asyncio.Event()

    async def take(self, part: bytes) -> None:
        self._rest += part
        while self._left and len(self._rest) >= self._left[0].stored:
            ref = self._left.popleft()
            self.ready.append((ref, bytes(self._rest[: ref.stored])))
            del self._rest[: ref.stored]
            self.more.set()
        while len(self.ready) > WAITING:
            self._room.clear()
            await self._room.wait()

    def next(self) -> tuple[BlockRef, bytes]:
        self._room.set()
        return self.ready.popleft()


class Stretch:
    """One stretch on its way."""

    def __init__(self, tools: Tools, wanted: asyncio.Event, trouble: Callable[[], None]) -> None:
        """`wanted`: set once a reader waits for one of the blocks; `trouble`: called when another mirror goes on."""
        self._tools = tools
        self._wanted = wanted
        self._trouble = trouble

    async def blocks(self, piece: Piece, deadline: float) -> AsyncGenerator[Arrived]:
        """The blocks of `piece` in order; `deadline` on the clock.

        Raises Unreachable, Missing or Untrusted when nobody gives the next one; those before it have been given.
        """
        tools = self._tools
        asked: set[str] = set()
        liars: set[str] = set()
        error: PeerError = Unreachable("no mirror is known")
        while piece.refs:
            order = tools.choice.order(piece.path.encode(), piece.size, tools.clock())
            usable = [one for one in order if one.name not in asked]
            if not usable or tools.clock() >= deadline:
                raise type(error)(f"{piece.path} from byte {piece.within.offset} on: nobody gave it; the last: {error}")
            endpoint = usable[0]
            asked.add(endpoint.name)
            count = 0
            try:
                async with aclosing(self._from(endpoint, piece, deadline, usable[1:])) as coming:
                    async for arrived in coming:
                        count += 1
                        yield arrived
            except PeerError as failure:
                self._trouble()
                error = failure
                if isinstance(failure, Untrusted):
                    liars.add(endpoint.name)
            piece = piece.after(count)
            if count:  # whoever failed before may be well again; not who lied, nor who failed just now
                asked = liars | {endpoint.name}

    async def _from(
        self, endpoint: Endpoint, piece: Piece, deadline: float, others: list[Endpoint]
    ) -> AsyncGenerator[Arrived]:
        """The same from one mirror.  Raises Unreachable where another is to go on."""
        tools, choice, name = self._tools, self._tools.choice, endpoint.name
        cutter = _Cutter(piece.refs)
        asking = Asking(tools, endpoint)
        coming: asyncio.Task[object] = asyncio.create_task(
            tools.fetcher.fetch(endpoint, piece.path, piece.size, asking.progress, cutter.take, piece.within)
        )
        coming.add_done_callback(lambda _: cutter.more.set())
        verified = 0
        try:
            while verified < len(piece.refs):
                await self._next(cutter, coming, asking, endpoint, piece, deadline, others)
                ref, stored = cutter.next()
                data = await asyncio.get_running_loop().run_in_executor(tools.pool, open_block, stored, ref)
                verified += 1
                yield Arrived(ref, stored, data, name)
            await asyncio.wait([coming], timeout=LOOK)  # all is here; a fetch cut off now would cost its connection
        except Missing:
            choice.lacks(name, piece.path.encode(), tools.clock())
            raise
        except Untrusted as error:
            wrong = piece.after(verified)
            tools.spoilt(endpoint, Wanted(wrong.refs[0], wrong.path, wrong.within), error)
            raise Untrusted(f"{name}: {error}") from None
        except PeerError as error:
            blame = Blame.UNREACHABLE if coming.done() else Blame.SLOW
            choice.failed(name, blame, str(error), tools.clock())
            raise
        finally:
            coming.cancel()
            await asyncio.wait([coming])
            if not coming.cancelled():
                coming.exception()
            first, last = asking.progress.first_at, asking.progress.last_at
            if verified and first is not None and last is not None:
                size = piece.size - piece.after(verified).size
                choice.verified(name, size, last - first, tools.clock(), carried=asking.carried, blocks=verified)
            asking.over()

    async def _next(
        self,
        cutter: _Cutter,
        coming: asyncio.Task[object],
        asking: Asking,
        endpoint: Endpoint,
        piece: Piece,
        deadline: float,
        others: list[Endpoint],
    ) -> None:
        """Returns when a block is ready.  Raises Unreachable where it is time to ask somebody else."""
        clock, choice, progress = self._tools.clock, self._tools.choice, asking.progress
        since = clock()
        while not cutter.ready:
            if coming.done():
                coming.result()
                raise Unreachable(f"{endpoint}: {piece.path}: it ended before what was signed did")
            cutter.more.clear()
            turn = asyncio.create_task(cutter.more.wait())
            await asyncio.wait([turn], timeout=LOOK)
            turn.cancel()
            if cutter.ready or coming.done():
                continue
            now = clock()
            if now >= deadline:
                raise Unreachable(f"{endpoint}: {piece.path}: not here in time")
            if not others:
                continue
            silent = now - max(since, progress.last_at or asking.begun)
            floor = WANTED if self._wanted.is_set() else STALL[0]
            patience = min(max(2 * choice.hedge_delay(endpoint.name, progress.connected), floor), STALL[1])
            if silent > patience:
                raise Unreachable(f"{endpoint}: {piece.path}: nothing came for {silent:.2f} s")
            spare = choice.record(others[0].name)
            if progress.first_at is None or spare is None or spare.first_byte is None or not progress.count:
                continue
            left = piece.size - progress.count
            there = spare.predicted(left, now, spare.under_way) * WORSE[0] + WORSE[1]
            if left * (now - progress.first_at) / progress.count > there:
                raise Unreachable(f"{endpoint}: {piece.path}: too slow, {others[0].name} is faster")
