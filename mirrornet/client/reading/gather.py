"""Blocks into the cache before anybody reads them: what `pull` brings, and what the forecast of a new version looks at.

Many blocks are on their way at once, as a prefetch: behind every reader of this process, never hedged, spread by
`choice` over all mirrors where that is faster.  A block counts as here when its bytes were hashed, not when a file of
its name exists, so a pull that was stopped goes on where it was and mends what a disk forgot.

When no mirror gives anything for a while it ends, says how far it came, and may be called again.

The blocks of a whole version are held as rows, 320 bytes each: 130 MB for an image of 100 GB without holes.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import Executor
from typing import Final, TypeVar

from mirrornet.client.cache.store import Cache
from mirrornet.client.fetching.failover import Failover, Opened
from mirrornet.client.fetching.fetch import Within
from mirrornet.client.reading.forecast import MOST_PAGES, Row, changed, news
from mirrornet.image.format.block import BlockRef, block_path, open_block
from mirrornet.image.format.index import Head, Page, Place
from mirrornet.model.errors import LocalError, Missing, PeerError, Unreachable, Untrusted

S = TypeVar("S")
T = TypeVar("T")

AT_ONCE: Final = 48  # blocks on their way; 70 KB each, so 3 MB: 40 ms at 600 Mbit/s
ONE: Final = 30.0  # seconds for one block at one round of mirrors
PATIENCE: Final = 60.0  # seconds in which no block comes, after which a pull ends
PAUSE: Final = (0.2, 5.0)  # seconds before a block is asked for again: the first, and the cap of the doubling
BATCH: Final = 64  # blocks looked at in one turn of a thread


class Gather:
    """Use inside one event loop.  `failover` None: offline, only what is here."""

    def __init__(self, cache: Cache, failover: Failover | None, pool: Executor) -> None:
        self._cache = cache
        self._failover = failover
        self._pool = pool
        self._last = 0.0  # when a block came
        self.gave: Counter[str] = Counter()  # blocks by mirror

    async def page(self, head: Head, number: int) -> Page:
        """Page `number` of an index, which the cache keeps if it can.  Raises PeerError; LocalError offline."""
        ref = head.pages[number]
        data = await self._in_thread(self._opened, ref)
        if data is None:
            opened = await self._fetch(ref, None)
            await self._in_thread(self._keep, ref, opened.stored)
            data = opened.data
        return Page.parse(data, head, number)

    async def index(self, head: Head) -> list[Page]:
        """All pages of an index, those that are equal once."""
        return await self.pages(head, {ref.hash: number for number, ref in enumerate(head.pages)}.values())

    async def pages(self, head: Head, numbers: Iterable[int]) -> list[Page]:
        """Several of them, side by side."""
        found: dict[int, Page] = {}

        async def one(number: int) -> None:
            found[number] = await self.page(head, number)

        order = list(dict.fromkeys(numbers))
        await self._each(order, one)
        return [found[number] for number in order]

    async def news(self, old: Head, new: Head) -> list[Row] | None:
        """The blocks of `new` that `old` does not have; None where too many pages differ to find out."""
        before, after = changed(old, new)
        if len(before) + len(after) > MOST_PAGES:
            return None
        return news(await self.pages(old, before), await self.pages(new, after))

    async def missing(self, rows: Sequence[Row]) -> list[Row]:
        """Those of `rows` that are not in the cache, or not right there; in order.  Reads and hashes what is."""
        found: list[Row] = []
        for at in range(0, len(rows), BATCH):
            found += await self._in_thread(self._wrong, rows[at : at + BATCH])
        return found

    async def bring(self, head: Head, rows: Sequence[Row], came: Callable[[int], None]) -> None:
        """Fetches `rows` into the cache; `came` is told the stored bytes of each.

        Raises LocalError where the cache does not keep them; PeerError where no mirror gave any for a while, or one
        of them is nowhere to be had.
        """
        self._last = time.monotonic()

        async def one(row: Row) -> None:
            opened = await self._fetch(row.ref, _pack(head, row.place))
            if not await self._in_thread(self._keep, row.ref, opened.stored):
                why = self._cache.figures.refused or "it has no room"
                raise LocalError(f"the cache {self._cache.folder} does not keep what is fetched: {why}")
            came(row.ref.stored)

        await self._each(rows, one)

    # -- one block

    async def _fetch(self, ref: BlockRef, pack: tuple[str, Within] | None) -> Opened:
        if self._failover is None:
            raise LocalError(f"block {ref.hash.hex()[:16]}… is not in the cache, and --offline was said")
        pause = PAUSE[0]
        nobody = asyncio.Event()  # no reader waits for it
        self._last = self._last or time.monotonic()
        while True:
            try:
                opened = await self._failover.block(ref, deadline=time.monotonic() + ONE, wanted=nobody, pack=pack)
                break
            except (Missing, Untrusted):
                raise
            except PeerError as error:
                if time.monotonic() - self._last > PATIENCE:
                    raise Unreachable(f"no block came for {PATIENCE:.0f} s; the last: {error}") from None
            await asyncio.sleep(pause)
            pause = min(2 * pause, PAUSE[1])
        self._last = time.monotonic()
        self.gave[opened.mirror] += 1
        return opened

    def _keep(self, ref: BlockRef, stored: bytes) -> bool:
        return self._cache.put(ref, stored, time.time())

    def _opened(self, ref: BlockRef) -> bytes | None:
        stored = self._cache.get(ref, time.time())
        if stored is None:
            return None
        try:
            return open_block(stored, ref)
        except Untrusted:
            self._cache.discard(ref)
            return None

    def _wrong(self, rows: Sequence[Row]) -> list[Row]:
        found = []
        for row in rows:
            stored = self._cache.get(row.ref, time.time())
            if stored is None:
                found.append(row)
            elif len(stored) != row.ref.stored or hashlib.sha256(stored).digest() != row.ref.hash:
                self._cache.discard(row.ref)
                found.append(row)
        return found

    # -- many at once

    async def _in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)

    async def _each(self, things: Iterable[S], work: Callable[[S], Awaitable[None]]) -> None:
        """`work` for each of `things`, AT_ONCE side by side; the first error ends all."""
        left = iter(things)

        async def worker() -> None:
            for thing in left:
                await work(thing)

        tasks = [asyncio.create_task(worker()) for _ in range(AT_ONCE)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


def _pack(head: Head, place: Place | None) -> tuple[str, Within] | None:
    """The pack to read a block from; None where it is a file of its own."""
    if place is None or (pack := head.packs[place.pack]).single:
        return None
    return block_path(pack.hash), Within(place.offset, pack.length)
