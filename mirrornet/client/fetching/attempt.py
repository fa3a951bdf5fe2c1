"""One request to one mirror, for a block or the rest of one: what comes is verified, what that says is written down.

An attempt may begin where another one stopped: it has that one's bytes, asks for the rest by a range, and verifies the
whole.  When the joined bytes do not verify, nobody knows yet whose were wrong (`Doubtful`), and nobody is blamed; the
block is fetched whole from one mirror, and every part is then held against it (race.py).

Verifying includes inflating, in a thread: both release the interpreter lock, so other blocks go on arriving.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

from mirrornet.client.fetching.body import Progress, Within
from mirrornet.client.fetching.fetch import Fetcher
from mirrornet.client.mirrors.choice import Blame, Choice
from mirrornet.client.mirrors.source import Endpoint
from mirrornet.image.format.block import BlockRef, open_block
from mirrornet.model.errors import Missing, PeerError, Untrusted

log = logging.getLogger(__name__)

WORTH_KEEPING: Final = 16384  # bytes; fewer come with the first packets of another mirror anyway


@dataclass(frozen=True, slots=True)
class Wanted:
    """A block and the file it lies in: its own, or `within` a pack."""

    ref: BlockRef
    path: str
    within: Within | None = None

    def rest(self, have: int) -> Within | None:
        """Where the bytes after the first `have` lie; None for a whole file."""
        if self.within is not None:
            return Within(self.within.offset + have, self.within.whole)
        return Within(have, self.ref.stored) if have else None


@dataclass(frozen=True, slots=True)
class Opened:
    """A block as stored, as inflated, and who gave it (its last bytes, if two did)."""

    stored: bytes
    data: bytes
    mirror: str


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of a block from byte `start` on, and who gave them."""

    mirror: Endpoint
    start: int
    data: bytes


class Doubtful(Untrusted):
    """Bytes of several mirrors that do not verify together: one of them gave wrong ones."""

    def __init__(self, parts: tuple[Part, ...], why: str) -> None:
        super().__init__(why)
        self.parts = parts


@dataclass(frozen=True, slots=True)
class Tools:
    """What every request needs."""

    fetcher: Fetcher
    choice: Choice
    pool: Executor
    clock: Callable[[], float]
    proofs: dict[str, Wanted]  # by mirror, the block it got wrong
    freed: Callable[[], None]  # called when a request is over

    def spoilt(self, endpoint: Endpoint, what: Wanted, error: object) -> None:
        """`endpoint` gave wrong bytes: it is blamed, and may prove itself by that very block."""
        self.proofs[endpoint.name] = what
        log.warning("%s gave a corrupt block and is left out: %s", endpoint, error)
        self.choice.failed(endpoint.name, Blame.CORRUPT, str(error), self.clock())


class Asking:
    """A request while it lasts, as `choice` hears of it: from now until `over` is called."""

    def __init__(self, tools: Tools, endpoint: Endpoint) -> None:
        self._tools = tools
        self.name = endpoint.name
        self.begun = tools.clock()
        self.progress = Progress(self._heard)
        self._before: int | None = None
        tools.choice.asked(self.name, self.begun)

    def over(self) -> None:
        """It is answered, failed or given up."""
        self._tools.choice.ended(self.name, self._tools.clock())
        self._tools.freed()

    @property
    def carried(self) -> int:
        """Bytes of all bodies of this mirror since the first byte of this one."""
        record = self._tools.choice.record(self.name)
        return record.measures.delivered - self._before if record is not None and self._before is not None else 0

    def _heard(self, size: int) -> None:
        choice, now = self._tools.choice, self._tools.clock()
        if self._before is None:
            record = choice.record(self.name)
            self._before = record.measures.delivered if record is not None else 0
            choice.began(self.name, max(0.0, now - self.begun - self.progress.connecting), now)
        choice.heard(self.name, size, now)


class Attempt:
    """One mirror asked for `what`, after the bytes of `before`, which come first and without a gap."""

    def __init__(self, tools: Tools, what: Wanted, endpoint: Endpoint, before: tuple[Part, ...] = ()) -> None:
        self._tools = tools
        self.what = what
        self.endpoint = endpoint
        self._before = before
        self.start = sum(len(part.data) for part in before)
        self._asking = Asking(tools, endpoint)
        self.task = asyncio.create_task(self._run())
        self.task.add_done_callback(lambda _: self._asking.over())

    @property
    def begun(self) -> float:
        return self._asking.begun

    @property
    def progress(self) -> Progress:
        return self._asking.progress

    @property
    def left(self) -> int:
        """Bytes that have not come yet."""
        return self.what.ref.stored - self.start - self.progress.count

    def parts(self) -> tuple[Part, ...]:
        """What is here of the block, in order."""
        own = Part(self.endpoint, self.start, bytes(self.progress.data))
        return (*self._before, own) if own.data else self._before

    async def _run(self) -> Opened:
        tools, what, name = self._tools, self.what, self.endpoint.name
        choice, ref = tools.choice, what.ref
        try:
            fetched = await tools.fetcher.fetch(
                self.endpoint, what.path, ref.stored - self.start, self.progress, within=what.rest(self.start)
            )
            stored = b"".join((*(part.data for part in self._before), fetched.data))
            data = await self._opened(stored)
        except Doubtful:
            raise
        except Missing:
            choice.lacks(name, ref.hash, tools.clock())
            raise
        except Untrusted as error:
            tools.spoilt(self.endpoint, what, error)
            raise Untrusted(f"{name}: {error}") from None
        except PeerError as error:
            choice.failed(name, Blame.UNREACHABLE, str(error), tools.clock())
            raise
        seconds = fetched.seconds - fetched.first_byte
        carried, kept = self._asking.carried, self.progress.connected
        choice.verified(name, len(fetched.data), seconds, tools.clock(), carried=carried, kept=kept)
        tools.proofs.pop(name, None)
        return Opened(stored, data, name)

    async def _opened(self, stored: bytes) -> bytes:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._tools.pool, open_block, stored, self.what.ref)
        except Untrusted as error:
            if self._before:
                raise Doubtful(self.parts(), str(error)) from None
            raise

    def give_up(self, why: str) -> None:
        """Ends it.  Who had not sent a byte by then is blamed with `why`; nobody where that is empty."""
        if self.task.done():
            if not self.task.cancelled():
                self.task.exception()  # it failed in the same moment; _run has written that down
            return
        self.task.cancel()
        choice, now, progress = self._tools.choice, self._tools.clock(), self.progress
        if progress.first_at is not None:
            choice.gave_up(self.endpoint.name, progress.count, now - progress.first_at, self._asking.carried)
        elif why and now - self.begun >= choice.hedge_delay(self.endpoint.name, progress.connected):
            choice.lost(self.endpoint.name, now - self.begun, why, now)
