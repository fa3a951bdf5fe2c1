"""The listener of POST /v1/rtt: reports of clients' round trips (model/rtt.py says what one is).

It has a socket of its own, for anybody may speak to it, while the status page is for friends.  So it can be flooded,
and the loop it runs in also probes mirrors: hence connections are accepted by a bucket, at most RATE a second, and the
rest waits in the kernel's queue or is refused there, at no cost here.  A connection serves one request and is cut
after DEADLINE seconds, whatever it does; CONNECTIONS are open at once; heads are small, and a body that says it is
longer than a report is not read.

This module parses HTTP only: what a report means, and whether it counts, `take` says.

Rejected: a path on the status page's port (its rights differ); a limit per address in here (reports.py counts networks,
and who has a thousand addresses passes it anyway); UDP (an address could be forged, and the place hangs on it).
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Callable
from typing import Final

from aiohttp import web

from mirrornet.model.address import Address, bracketed, parse_address
from mirrornet.model.errors import LocalError
from mirrornet.model.rtt import BODY_LIMIT, PATH, RttReport, parse_report

log = logging.getLogger(__name__)

RATE: Final = 50.0  # connections accepted a second: some 2 % of a processor, and 180,000 reports an hour
BURST: Final = 100.0
CONNECTIONS: Final = 128  # open at once
DEADLINE: Final = 5.0  # seconds that a connection may last
HEAD_LIMIT: Final = 2048  # bytes of one header line
BACKLOG: Final = 128
_PAUSE: Final = 1.0  # seconds without accepting where the system has nothing left
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_SILENT: Final = logging.getLogger(f"{__name__}.http")  # what strangers get wrong fills no log
_SILENT.setLevel(logging.CRITICAL + 1)
_LOOK: Final = 0.25  # seconds between two looks at who is late

Take = Callable[[Address, RttReport], int]  # the HTTP status: 204, 404 or 429


class ReportListener:
    """Listens for reports; `take` is called in the event loop for each that is well-formed."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._socket: socket.socket | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._open: dict[asyncio.Transport, float] = {}  # and when each is cut
        self._server: web.Server | None = None
        self.counts: dict[str, int] = {}  # by HTTP status

    @property
    def port(self) -> int:
        """The port really bound; 0 while stopped."""
        return 0 if self._socket is None else int(self._socket.getsockname()[1])

    async def start(self, address: Address, port: int) -> None:
        """Listens on `address` and `port`, 0 for any.  Raises LocalError where it cannot."""
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((str(address), port))
            sock.listen(BACKLOG)
            sock.setblocking(False)
        except OSError as error:
            sock.close()
            why = "the port is in use" if error.errno == errno.EADDRINUSE else os.strerror(error.errno or 0).lower()
            where = f"{bracketed(address)}:{port}"
            raise LocalError(f"{where}: reports cannot be taken ({why}): end that, or change `server: rtt`") from None
        self._socket = sock
        self._server = web.Server(
            self._handle,
            access_log=None,
            logger=_SILENT,
            max_line_size=HEAD_LIMIT,
            max_field_size=HEAD_LIMIT,
            lingering_time=0,
        )
        self._tasks = [asyncio.create_task(self._accept(sock, self._server)), asyncio.create_task(self._cut())]

    async def stop(self) -> None:
        """Closes the socket and all connections.  May be called twice, and without a start."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        sock, self._socket = self._socket, None
        if sock is not None:
            sock.close()
        for transport in self._open:
            transport.abort()
        self._open.clear()
        if self._server is not None:
            await self._server.shutdown(1.0)
            self._server = None

    async def _accept(self, sock: socket.socket, server: web.Server) -> None:
        loop = asyncio.get_running_loop()
        tokens, at = BURST, loop.time()
        while True:
            tokens, at = min(BURST, tokens + (loop.time() - at) * RATE), loop.time()
            if tokens < 1 or len(self._open) >= CONNECTIONS:
                await asyncio.sleep(1 / RATE)
                continue
            try:
                connection, _ = await loop.sock_accept(sock)
                tokens -= 1
                transport, _ = await loop.connect_accepted_socket(server, connection)
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    await asyncio.sleep(_PAUSE)
                continue
            self._open[transport] = loop.time() + DEADLINE

    async def _cut(self) -> None:
        """Ends connections at their deadlines, and forgets those that have ended by themselves."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_LOOK)
            for transport, end in list(self._open.items()):
                if transport.is_closing() or end <= loop.time():
                    transport.abort()
                    del self._open[transport]

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        status, text = await self._answer(request)
        self.counts[str(status)] = self.counts.get(str(status), 0) + 1
        headers = {"Connection": "close", "Cache-Control": "no-store", "Server": "mirrornet"}
        if status == 429:
            headers["Retry-After"] = "3600"
        response = web.Response(status=status, text=f"{text}\n" if text else None, headers=headers)
        response.force_close()
        return response

    async def _answer(self, request: web.BaseRequest) -> tuple[int, str]:
        if request.path != PATH:
            return 404, f"reports are sent to {PATH}"
        if request.method != "POST":
            return 405, "a report is sent by POST"
        if request.content_length is None or request.headers.get("Content-Encoding", "identity") != "identity":
            return 411, "a report says how long it is, and is not compressed"
        if request.content_length > BODY_LIMIT:
            return 413, f"a report has at most {BODY_LIMIT} bytes"
        peer = request.transport.get_extra_info("peername") if request.transport is not None else None
        try:
            body = await request.content.readexactly(request.content_length)
            report = parse_report(body)
            client = parse_address(str(peer[0]).partition("%")[0] if peer else "")
        except (ValueError, asyncio.IncompleteReadError) as error:
            return 400, str(error)
        except OSError:
            return 400, "the connection ended"
        try:
            status = self._take(client, report)
        except Exception as error:  # a bug of ours is one line, and no traceback reaches a stranger
            log.error("a report cannot be taken: %s: %s", type(error).__name__, error)
            return 500, ""
        return status, {404: "no such select name here", 429: "this network has reported within the hour"}.get(
            status, ""
        )
