"""One NBD client: its requests in, our replies out (reads.py), and what bounds both.

- `window`, bytes: pieces that were begun and have not left.  It is the connection's share of a total (server.py).
  Beyond it no piece is begun, no request is taken from what came, and soon nothing is received any more.
- TURN requests a turn of the event loop; then others have theirs.
- A handshake that takes longer than HANDSHAKE, and a client that takes nothing for STALL while we owe it something,
  are ended by the server's clock.  A client that asks for nothing may stay for ever.
- What is no request ends the connection; nobody could tell where the next one begins.

Requests that make no sense are answered with errors ("Error values"): EPERM for what would write, EINVAL beyond the
end, for commands and flags that are not known.  The data of a write is passed over as it comes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, cast

from mirrornet.client.nbd import wire
from mirrornet.client.nbd.handshake import MAXIMUM, Export, Handshake
from mirrornet.client.nbd.reads import CHARGE, LEAVING, Reads, Work
from mirrornet.client.nbd.wire import Command, Error, Request
from mirrornet.client.reading.reader import Reader
from mirrornet.model.errors import MirrornetError

log = logging.getLogger(__name__)

HANDSHAKE: Final = 10.0  # seconds
STALL: Final = 60.0  # seconds
TURN: Final = 64  # requests
BUFFER: Final = 256 << 10  # bytes sent and not taken, beyond which no more is begun
JOINED: Final = 128 << 10  # bytes that are copied behind their header rather than sent by themselves
KEPT: Final = 64 << 10  # bytes received and not looked at, beyond which nothing more is received
_READS: Final = frozenset({Command.READ, Command.CACHE, Command.BLOCK_STATUS})
_WRITES: Final = frozenset({Command.WRITE, Command.TRIM, Command.WRITE_ZEROES})


class Connection(asyncio.Protocol):
    """One client, from its first byte to its last."""

    def __init__(
        self,
        reader: Reader,
        export: Export,
        number: int,
        window: Callable[[], int],
        opened: Callable[[Connection], str],
        closed: Callable[[Connection], None],
    ) -> None:
        """`number` tells readers apart; `opened` says why it may not stay, or ""; `closed` is called at its end."""
        self.number = number
        self.agreed = False  # the handshake came to an export
        self._reads = Reads(reader, number, self)
        self._export, self._window, self._opened, self._closed = export, window, opened, closed
        self._since = asyncio.get_running_loop().time()  # of the handshake, or of the last byte a stalled client took
        self._sent = self._taken = 0  # bytes: written by us, and of those seen to have left
        self._handshake: Handshake | None = None
        self._allocation = False
        self._pending = bytearray()
        self._skip = 0  # bytes of a write still to come, which nobody reads
        self._refused: Request | None = None  # that write
        self._ending = False  # no more requests; it ends when the replies have left
        self._eof = False  # nothing more comes; what came is still answered
        self._held = 0  # bytes of pieces begun
        self._alone = False  # a reply is leaving that nothing may interrupt
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()  # the client takes what we send
        self._room.set()
        self._paused = self._called = False
        self._transport: asyncio.Transport | None = None

    # -- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if why := self._opened(self):
            self.abort(why)
            return
        self._transport.set_write_buffer_limits(high=BUFFER)
        self._handshake = Handshake(self._export)
        self._transport.write(wire.greeting())

    def data_received(self, data: bytes) -> None:
        if self._handshake is not None:
            data = self._haggle(self._handshake, data)
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
        self._pending += data
        self._pump()

    def eof_received(self) -> bool:
        self._eof = True
        self._pump()
        return True  # replies to what it sent may still leave

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        for task in tuple(self._tasks):
            task.cancel()
        self._reads.forget()
        self._pending.clear()
        self._closed(self)

    def pause_writing(self) -> None:
        self._room.clear()
        self._mark(asyncio.get_running_loop().time())

    def resume_writing(self) -> None:
        self._room.set()
        self._call()  # not now: a transport that is closed while it writes calls connection_lost twice (CPython 3.11)

    # -- the server's side

    @property
    def busy(self) -> bool:
        """Whether more is to be done here than the request being answered."""
        return bool(self._tasks) or len(self._pending) >= 2 * wire.REQUEST.size

    def check(self, now: float) -> None:
        """Ends it where its time is up.  `now`: of the event loop's clock."""
        if self._transport is None:
            return
        if not self.agreed:
            if now - self._since > HANDSHAKE:
                self.abort(f"no handshake within {HANDSHAKE:.0f} s")
        elif not self._room.is_set():
            if self._sent - self._transport.get_write_buffer_size() > self._taken:
                self._mark(now)
            elif now - self._since > STALL:
                self.abort(f"it took nothing for {STALL:.0f} s")

    def abort(self, why: str) -> None:
        """Ends it now, whatever is under way."""
        if self._transport is not None and not self._transport.is_closing():
            log.info("connection %d is ended: %s", self.number, why)
            self._transport.abort()

    # -- the replies' side

    def send(self, header: bytes, data: bytes = b"") -> None:
        """Sends, unless the client is gone."""
        if self._transport is None or self._transport.is_closing():
            return
        self._sent += len(header) + len(data)
        if len(data) <= JOINED:
            self._transport.write(header + data)
        else:
            self._transport.write(header)
            self._transport.write(data)

    def refuse(self, request: Request, error: Error, why: str) -> None:
        """Sends an error as the whole reply."""
        if self._reads.structured:
            self.send(wire.error_chunk(request.cookie, error, why))
        else:
            self.send(wire.simple(request.cookie, error))

    def begin(self, charge: int, request: Request, work: Work, found: Coroutine[Any, Any, bytes] | None = None) -> None:
        """Runs `work`, which replies unless it fails; it counts `charge` bytes.  `found` is closed at its end."""

        async def run() -> None:
            try:
                await work()
            except MirrornetError as error:
                self.refuse(request, Error.EIO, str(error))
            except asyncio.CancelledError:  # the reads were ended, or the connection
                self.refuse(request, Error.ESHUTDOWN, LEAVING)
                raise
            except Exception as error:  # a client must not wait for ever
                log.exception("a request failed; this is a bug in mirrornet")
                self.refuse(request, Error.EIO, f"a bug in mirrornet: {type(error).__name__}")

        def over(task: asyncio.Task[None]) -> None:
            if found is not None:
                found.close()  # it was never awaited where the task was cancelled before it ran
            self._tasks.discard(task)
            self._held -= charge
            self._alone = self._alone and bool(self._tasks)
            self._pump()

        self._held += charge
        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(over)

    async def others(self) -> None:
        """Until nothing but the caller is under way; nothing else is begun meanwhile."""
        if others := self._tasks - {asyncio.current_task()}:
            await asyncio.wait(others)

    def room(self) -> Awaitable[object]:
        """Until the client has taken what was sent."""
        return self._room.wait()

    # -- within

    def _mark(self, now: float) -> None:
        self._since = now
        self._taken = self._sent - (self._transport.get_write_buffer_size() if self._transport else 0)

    def _end_if_done(self) -> None:
        over = self._ending or (self._eof and len(self._pending) < wire.REQUEST.size)
        if over and self._transport and not (self._tasks or self._reads.pending):
            self._transport.close()  # what was written still leaves

    def _haggle(self, handshake: Handshake, data: bytes) -> bytes:
        """The handshake goes on; gives what came after it."""
        self.send(handshake.receive(data))
        if handshake.ended:
            log.info("connection %d ended in its handshake: %s", self.number, handshake.ended)
            self._handshake = None
            self._ending = True
            return b""
        if handshake.agreed is None:
            return b""
        self._reads.structured, self._allocation = handshake.agreed.structured, handshake.agreed.allocation
        self._handshake, self.agreed = None, True
        return handshake.rest()

    def _pump(self) -> None:
        """Begins what may be begun; then receives more, or does not."""
        at, taken, pending = 0, 0, self._pending
        while self._may_begin():
            if taken == TURN:
                self._call()
                break
            taken += 1
            if self._reads.pending:
                self._reads.piece()
                continue
            if self._refused is not None:
                if self._skip:
                    break
                request, self._refused = self._refused, None
                self.refuse(request, Error.EPERM, "an image is read-only")
            if self._ending or not self.agreed or len(pending) - at < wire.REQUEST.size:
                break
            asked = wire.request_at(pending, at)
            if asked is None:
                self.abort("what it sent is no NBD request")
                break
            at += wire.REQUEST.size
            if asked.kind == Command.WRITE:
                skipped = min(asked.length, len(pending) - at)
                self._refused, self._skip = asked, asked.length - skipped
                at += skipped
            else:
                self._take(asked)
        del pending[:at]
        self._receive_or_not()
        self._end_if_done()

    def _may_begin(self) -> bool:
        if self._transport is None or self._transport.is_closing() or self._alone or not self._room.is_set():
            return False
        return self._held == 0 or self._held < self._window()

    def _call(self) -> None:
        if not self._called:
            self._called = True
            asyncio.get_running_loop().call_soon(self._called_back)

    def _called_back(self) -> None:
        self._called = False
        self._pump()

    def _receive_or_not(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        stop = len(self._pending) > KEPT
        if stop != self._paused:
            self._paused = stop
            (self._transport.pause_reading if stop else self._transport.resume_reading)()

    def _take(self, request: Request) -> None:
        kind, size = request.kind, self._export.size
        if kind == Command.DISC:
            self._ending = True
        elif kind in _WRITES:
            self.refuse(request, Error.EPERM, "an image is read-only")
        elif kind not in _READS:
            self.refuse(request, Error.EINVAL, f"command {kind} is not known here")
        elif request.flags & ~self._flags_of(kind):
            self.refuse(request, Error.EINVAL, f"the flags {request.flags:#x} do not go with this command")
        elif request.length == 0 or request.offset + request.length > size:
            self.refuse(request, Error.EINVAL, f"{request.length} bytes from {request.offset} of {size}")
        elif kind == Command.BLOCK_STATUS:
            if self._allocation:
                self.begin(CHARGE, request, lambda: self._reads.status(request))
            else:
                self.refuse(request, Error.EINVAL, "base:allocation was not asked for in the handshake")
        elif request.length > MAXIMUM:
            self.refuse(request, Error.EINVAL, f"{request.length} bytes are more than {MAXIMUM}")
        elif kind == Command.CACHE:
            self.begin(CHARGE, request, lambda: self._reads.cache(request))
        else:
            self._alone = not self._reads.read(request)

    def _flags_of(self, kind: int) -> int:
        if kind == Command.READ and self._reads.structured:
            return wire.FLAG_DF
        return wire.FLAG_REQ_ONE if kind == Command.BLOCK_STATUS else 0
