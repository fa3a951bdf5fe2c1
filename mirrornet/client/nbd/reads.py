"""What an NBD client is answered: reads, block status, prefetch.

A read is cut into pieces: a block's part of it, or a run of blocks of zeroes.  A piece whose block is here leaves on
the spot; others become tasks and leave when they come, in any order.  With structured replies each piece is a chunk of
its own, so that a read of 32 MiB is never held as a whole, and zeroes are holes.

A simple reply is one piece of data behind one header, which promises that all of it will come.  Up to WHOLE it is
gathered before it leaves; a larger one begins to leave after that much, alone, and where the rest cannot be had the
connection ends ("Request types", NBD_CMD_READ, says that it must).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, Protocol

from mirrornet.client.nbd import wire
from mirrornet.client.nbd.extents import extents
from mirrornet.client.nbd.handshake import CONTEXT_ID
from mirrornet.client.nbd.wire import Error, Request
from mirrornet.client.reading.reader import Reader
from mirrornet.model.errors import MirrornetError

log = logging.getLogger(__name__)

Work = Callable[[], Coroutine[Any, Any, None]]

CHARGE: Final = 16 << 10  # bytes that a task counts at least: what it takes itself
WHOLE: Final = 1 << 20  # bytes of a read that may leave in one part, where chunks are not to be had
PIECE: Final = 512 << 10  # bytes of one chunk, at most
PAGES: Final = 16  # of the index, for one NBD_CMD_BLOCK_STATUS
TOGETHER: Final = 8  # blocks that one NBD_CMD_CACHE has fetched at a time
LEAVING: Final = "this export is leaving"


class Line(Protocol):
    """The connection, as its replies see it."""

    def send(self, header: bytes, data: bytes = b"") -> None:
        """Sends."""

    def refuse(self, request: Request, error: Error, why: str) -> None:
        """Sends an error as the whole reply."""

    def begin(self, charge: int, request: Request, work: Work, found: Coroutine[Any, Any, bytes] | None = None) -> None:
        """Runs `work` beside others; it counts `charge` bytes.  `found`: what it will await, closed if it does not."""

    def others(self) -> Awaitable[object]:
        """Until nothing but the caller is under way."""

    def room(self) -> Awaitable[object]:
        """Until the client has taken what was sent."""

    def abort(self, why: str) -> None:
        """Ends the connection."""


@dataclass(slots=True, eq=False)
class _Reply:
    """A read under way.  `next`: where its next piece begins; `left`: bytes of it that have not left."""

    request: Request
    next: int
    left: int
    error: str = ""

    @property
    def end(self) -> int:
        return self.request.offset + self.request.length


class Reads:
    """The replies of one connection.  `pending`: a read has pieces that were not begun; call `piece` for the next."""

    def __init__(self, reader: Reader, number: int, line: Line) -> None:
        """`number` tells readers apart."""
        self.structured = False
        self._reader, self._number, self._line = reader, number, line
        self._unit = reader.head.block_size
        self._current: _Reply | None = None

    @property
    def pending(self) -> bool:
        """Whether a read has pieces that were not begun."""
        return self._current is not None

    def forget(self) -> None:
        """The client is gone."""
        self._current = None

    def read(self, request: Request) -> bool:
        """Begins a valid NBD_CMD_READ; False where nothing else may leave until all that is under way has."""
        if self.structured and not request.flags & wire.FLAG_DF:
            self._current = _Reply(request, request.offset, request.length)
        elif request.length <= WHOLE:
            self._gathered(request)
        elif self.structured:
            self._line.refuse(request, Error.EOVERFLOW, f"{request.length} bytes in one chunk are more than {WHOLE}")
        else:
            self._line.begin(WHOLE, request, lambda: self._stream(request))
            return False
        return True

    # -- chunks

    def piece(self) -> None:
        """Begins the next piece of the read that has some left."""
        reply = self._current
        if reply is None:
            return
        at, reader, unit = reply.next, self._reader, self._unit
        zero = reader.zero(at // unit)
        end = min((at // unit + 1) * unit, reply.end)
        if zero:
            while end < reply.end and reader.zero(end // unit):
                end = min(end + unit, reply.end)
        else:
            end = min(end, at + PIECE)
        reply.next = end
        if end == reply.end:
            self._current = None
        size = end - at
        if zero:
            self._hole(reply, at, size)
        elif zero is None:
            self._later(reply, size, lambda: self._unknown(reply, at, size))
        else:
            found = reader.answer(at, size, self._number)
            if isinstance(found, bytes):
                self._chunk(reply, at, found)
            else:
                coming = found
                self._later(reply, size, lambda: self._awaited(reply, at, coming), coming)

    def _later(self, reply: _Reply, size: int, work: Work, found: Coroutine[Any, Any, bytes] | None = None) -> None:
        async def run() -> None:
            try:
                await work()
            except (Exception, asyncio.CancelledError) as error:
                if not isinstance(error, MirrornetError | asyncio.CancelledError):
                    log.exception("a read failed; this is a bug in mirrornet")
                self._failed(reply, size, str(error) or LEAVING)

        self._line.begin(max(CHARGE, size), reply.request, run, found)

    async def _unknown(self, reply: _Reply, at: int, size: int) -> None:
        """A piece of which the index has still to tell what it is."""
        ref, _ = await self._reader.timed(self._reader.row(at // self._unit), "the index")
        if ref is None:
            self._hole(reply, at, size)
        else:
            self._chunk(reply, at, await self._reader.read(at, size, self._number))

    async def _awaited(self, reply: _Reply, at: int, found: Coroutine[Any, Any, bytes]) -> None:
        self._chunk(reply, at, await found)

    def _hole(self, reply: _Reply, at: int, size: int) -> None:
        done = reply.left == size
        self._sent(reply, size, wire.hole(reply.request.cookie, at, size, done=done))

    def _chunk(self, reply: _Reply, at: int, data: bytes) -> None:
        done = reply.left == len(data)
        self._sent(reply, len(data), wire.data_header(reply.request.cookie, at, len(data), done=done), data)

    def _sent(self, reply: _Reply, size: int, header: bytes, data: bytes = b"") -> None:
        """`size` bytes of it leave now; after an error nothing but that, at the end."""
        reply.left -= size
        if not reply.error:
            self._line.send(header, data)
        elif reply.left == 0:
            self._line.refuse(reply.request, Error.EIO, reply.error)

    def _failed(self, reply: _Reply, size: int, why: str) -> None:
        if not reply.error:
            reply.error = why
            reply.left -= reply.end - reply.next  # what was not begun is not begun any more
            reply.next = reply.end
            if self._current is reply:
                self._current = None
        self._sent(reply, size, b"")

    # -- in one part

    def _gathered(self, request: Request) -> None:
        found = self._reader.answer(request.offset, request.length, self._number)
        if isinstance(found, bytes):
            self._whole(request, found)
            return
        coming = found

        async def wait() -> None:
            self._whole(request, await coming)

        self._line.begin(max(CHARGE, request.length), request, wait, coming)

    def _whole(self, request: Request, data: bytes) -> None:
        if self.structured:
            self._line.send(wire.data_header(request.cookie, request.offset, len(data), done=True), data)
        else:
            self._line.send(wire.simple(request.cookie), data)

    async def _stream(self, request: Request) -> None:
        await self._line.others()
        at, end = request.offset, request.offset + request.length
        data = await self._reader.read(at, WHOLE, self._number)
        self._line.send(wire.simple(request.cookie))
        try:
            while True:
                self._line.send(data)
                at += len(data)
                if at == end:
                    return
                await self._line.room()
                data = await self._reader.read(at, min(WHOLE, end - at), self._number)
        except MirrornetError as error:
            self._line.abort(f"a read that had begun to leave failed: {error}")
        except BaseException:
            self._line.abort("a read that had begun to leave was ended")
            raise

    # -- other requests

    async def status(self, request: Request) -> None:
        """NBD_CMD_BLOCK_STATUS, as far as PAGES pages of the index tell.  Raises MirrornetError."""
        reader, unit = self._reader, self._unit
        first, last = request.offset // unit, (request.offset + request.length - 1) // unit
        per_page = reader.head.page_entries
        last = min(last, (first // per_page + PAGES) * per_page - 1)
        one = bool(request.flags & wire.FLAG_REQ_ONE)
        zero: list[bool] = []
        for number in range(first // per_page, last // per_page + 1):
            start = number * per_page
            page = await reader.timed(reader.page(number), "the index")
            zero += [ref is None for ref in page.refs[max(0, first - start) : last + 1 - start]]
            if one and zero[0] != zero[-1]:
                break
            await asyncio.sleep(0)  # a page takes a millisecond
        found = extents(request.offset, request.length, unit, zero)
        self._line.send(wire.block_status(request.cookie, CONTEXT_ID, found[:1] if one else found))

    async def cache(self, request: Request) -> None:
        """NBD_CMD_CACHE: the blocks are brought here, behind whoever reads.  Raises MirrornetError."""
        unit = self._unit
        first, last = request.offset // unit, (request.offset + request.length - 1) // unit
        for start in range(first, last + 1, TOGETHER):
            blocks = range(start, min(start + TOGETHER, last + 1))
            await asyncio.gather(*(self._reader.prefetch(block) for block in blocks))
        cookie = request.cookie
        self._line.send(wire.none(cookie) if self.structured else wire.simple(cookie))
