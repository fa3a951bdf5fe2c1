"""The HTTP server of `serve --http`: /healthz, /status.json, /metrics, and / for people.

It runs in the supervisor's event loop and answers from one Snapshot, made when somebody asks.  GET and HEAD only; no
request has a body; no path but these.  Every response, errors too, carries headers that leave a browser nothing to run
and nobody a reason to frame it.
"""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from mirrornet.model.address import bracketed, parse_address
from mirrornet.model.errors import LocalError
from mirrornet.web.metrics import CONTENT_TYPE, Metrics
from mirrornet.web.page import STYLE, render
from mirrornet.web.status import Snapshot, document

_log = logging.getLogger(__name__)
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Server": "mirrornet",
}
_GRACE: Final = 1.0  # seconds that `stop` waits for requests under way
_IDLE: Final = 15.0  # seconds a connection may be kept alive


class Window:
    """`snapshot` is called once a request, in the event loop, and should take no longer than a millisecond or two."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot
        self._metrics = Metrics(snapshot)
        self._runner: web.AppRunner | None = None
        self._port = 0

    @property
    def port(self) -> int:
        """The port really bound; 0 while stopped."""
        return self._port

    async def start(self, address: str, port: int) -> None:
        """Listens on `address`, an IP address, and `port`, 0 for any.  Raises LocalError where it cannot."""
        app = web.Application(client_max_size=1024, middlewares=[_last_border])
        app.on_response_prepare.append(_add_headers)
        app.router.add_get("/", self._page)
        app.router.add_get("/style.css", self._style)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/status.json", self._status)
        app.router.add_get("/metrics", self._text)
        runner = web.AppRunner(app, access_log=None, keepalive_timeout=_IDLE, shutdown_timeout=_GRACE)
        await runner.setup()
        try:
            await web.TCPSite(runner, address, port).start()
        except OSError as error:
            await runner.cleanup()
            where = bracketed(parse_address(address))
            raise LocalError(
                f"{where}:{port}: the status page cannot listen ({_short(error)}): end that, or give another --http"
            ) from None
        self._runner = runner
        self._port = int(runner.addresses[0][1])

    async def stop(self) -> None:
        """Closes all connections.  May be called twice, and without a start."""
        runner, self._runner, self._port = self._runner, None, 0
        if runner is not None:
            await runner.cleanup()

    async def _page(self, request: web.Request) -> web.Response:
        return web.Response(text=render(self._snapshot()), content_type="text/html")

    async def _style(self, request: web.Request) -> web.Response:
        return web.Response(text=STYLE, content_type="text/css")

    async def _healthz(self, request: web.Request) -> web.Response:
        reason = self._snapshot().not_ready
        return web.Response(status=503, text=f"{reason}\n") if reason else web.Response(text="ok\n")

    async def _status(self, request: web.Request) -> web.Response:
        text = json.dumps(document(self._snapshot()), allow_nan=False, indent=1, ensure_ascii=False)
        return web.Response(text=text + "\n", content_type="application/json")

    async def _text(self, request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.text(), headers={"Content-Type": CONTENT_TYPE})


def _short(error: OSError) -> str:
    known = {errno.EADDRINUSE: "the port is in use", errno.EADDRNOTAVAIL: "this machine has no such address"}
    return known.get(error.errno or 0) or (os.strerror(error.errno) if error.errno else str(error))


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)


@web.middleware
async def _last_border(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """A bug of ours is one line in the log and a 500 without a traceback."""
    try:
        return await handler(request)
    except web.HTTPException:
        raise
    except Exception as error:
        _log.error("%s cannot be shown: %s: %s", request.path, type(error).__name__, error)
        return web.Response(status=500, text="this cannot be shown just now; the log says why\n")
