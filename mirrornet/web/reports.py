"""The listener of POST /v1/rtt: reports of clients' round trips (model/rtt.py says what one is).

It has a socket of its own, for anybody may speak to it, while the status page is for friends.  So it can be flooded,
and the loop it runs in also probes mirrors: hence a Listener (listener.py) with tight limits.  A connection serves one
request; heads are small, and a body that says it is longer than a report is not read.

This module parses HTTP only: what a report means, and whether it counts, `take` says.

Rejected: a path on the status page's port (its rights differ); a rate per address in here (the ranking counts networks,
and who has a thousand addresses passes it anyway); UDP (an address could be forged, and the place hangs on it).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from aiohttp import web

from mirrornet.model.address import Address, parse_address
from mirrornet.model.rtt import BODY_LIMIT, PATH, RttReport, parse_report
from mirrornet.web.handler import HEADERS, handlers
from mirrornet.web.listener import Limits, Listener

log = logging.getLogger(__name__)

# 50 connections a second are some 2 % of a processor, and 180,000 reports an hour.
LIMITS: Final = Limits(rate=50.0, burst=100.0, connections=128, each=64, deadline=5.0)
HEAD_LIMIT: Final = 2048  # bytes of one header line

Take = Callable[[Address, RttReport], int]  # the HTTP status: 204, 404 or 429


class ReportListener:
    """Listens for reports; `take` is called in the event loop for each that is well-formed."""

    def __init__(self, take: Take, limits: Limits = LIMITS) -> None:
        self._take = take
        self._limits = limits
        self._listener: Listener | None = None
        self._server: web.Server | None = None
        self.counts: dict[str, int] = {}  # by HTTP status

    @property
    def port(self) -> int:
        """The port really bound; 0 while stopped."""
        return 0 if self._listener is None else self._listener.port

    @property
    def open(self) -> int:
        """Connections open now."""
        return 0 if self._listener is None else self._listener.open

    async def start(self, address: Address, port: int) -> None:
        """Listens on `address` and `port`, 0 for any.  Raises LocalError where it cannot."""
        server = web.Server(self._handle)
        listener = Listener(handlers(server, HEAD_LIMIT, self._limits.deadline), self._limits)
        listener.start(address, port, "reports cannot be taken", "end that, or change `server: rtt`")
        self._listener, self._server = listener, server

    async def stop(self) -> None:
        """Closes the socket and all connections.  May be called twice, and without a start."""
        listener, self._listener = self._listener, None
        if listener is not None:
            await listener.stop()
        if self._server is not None:
            await self._server.shutdown(1.0)
            self._server = None

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        status, text = await self._answer(request)
        self.counts[str(status)] = self.counts.get(str(status), 0) + 1
        headers = {**HEADERS, "Connection": "close"}
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
