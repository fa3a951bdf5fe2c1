"""The HTTP server of `serve --http`: /healthz, /status.json, /metrics, and for people what is in window/.

It runs in the supervisor's event loop and answers from one Snapshot, made when somebody asks.  GET and HEAD only, no
body, and no path but these and POST /v1/override (overriding.py).  Every response, errors too, carries headers that
leave a browser nothing to run and nobody a reason to frame it.

The loop also probes mirrors, so nobody may keep it busy: connections come through a Listener (listener.py), heads are
small, and one address may ask RATE times a second; what is over gets 429 and costs no Snapshot.  A connection that
sends no request, or does not read its answer, is cut at its deadline.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from mirrornet.model.address import parse_address
from mirrornet.model.errors import LocalError
from mirrornet.web.handler import HEADERS, handlers
from mirrornet.web.listener import Limits, Listener
from mirrornet.web.metrics import CONTENT_TYPE, Metrics
from mirrornet.web.overriding import PATH, OverrideDoor
from mirrornet.web.queries import Feed
from mirrornet.web.rate import Rates
from mirrornet.web.status import Snapshot, document
from mirrornet.web.window.views import Explain, Locate, Views

_log = logging.getLogger(__name__)
_GRACE: Final = 1.0  # seconds that `stop` waits for requests under way
LIMITS: Final = Limits(rate=50.0, burst=100.0, connections=128, each=64, deadline=15.0, held=32)
RATE: Final = 20.0  # requests a second of one address: a page with its parts, and a scraper beside it
BURST: Final = 60.0
HEAD_LIMIT: Final = 4096  # bytes of one header line


class Window:
    """`snapshot` is called once a request, in the event loop, and should take no longer than a millisecond or two.

    `explain`, `feed`, `locate`: as in window/views.py.  `overrides` None: there is no POST /v1/override.
    """

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        limits: Limits = LIMITS,
        *,
        explain: Explain | None = None,
        feed: Feed | None = None,
        locate: Locate | None = None,
        overrides: OverrideDoor | None = None,
    ) -> None:
        self._snapshot = snapshot
        self._limits = limits
        self._rates = Rates(RATE, BURST)
        self._views = Views(snapshot, self._hold, explain, feed, locate)
        self._overrides = overrides
        self._answered: Counter[int] = Counter()  # by status
        self._runner: web.AppRunner | None = None
        self._listener: Listener | None = None

    @property
    def port(self) -> int:
        """The port really bound; 0 while stopped."""
        return 0 if self._listener is None else self._listener.port

    async def start(self, address: str, port: int) -> None:
        """Listens on `address`, an IP address, and `port`, 0 for any.  Raises LocalError where it cannot."""
        app = web.Application(client_max_size=1024, middlewares=[self._border])
        app.on_response_prepare.append(self._prepare)
        self._views.over.clear()
        self._views.add_to(app.router)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/status.json", self._status)
        app.router.add_get("/metrics", self._text)
        if self._overrides is not None:
            app.router.add_post(PATH, self._overrides.handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_GRACE)
        await runner.setup()
        assert runner.server is not None
        listener = Listener(handlers(runner.server, HEAD_LIMIT, self._limits.deadline), self._limits)
        try:
            what, remedy = "the status page cannot listen", "end that, or give another --http"
            listener.start(parse_address(address), port, what, remedy)
        except LocalError:
            await runner.cleanup()
            raise
        self._runner, self._listener = runner, listener

    async def stop(self) -> None:
        """Closes all connections.  May be called twice, and without a start."""
        self._views.over.set()
        listener, self._listener = self._listener, None
        runner, self._runner = self._runner, None
        if listener is not None:
            await listener.stop()
        if runner is not None:
            await runner.cleanup()

    @web.middleware
    async def _border(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Who asks too often waits; a bug of ours is one line in the log and a 500 without a traceback."""
        if self._listener is not None:
            self._listener.renew(request.transport)
        wait = self._rates.wait(request.remote, time.monotonic())
        if wait:
            text = f"one address may ask {RATE:.0f} times a second\n"
            return web.Response(status=429, text=text, headers={"Retry-After": str(math.ceil(wait))})
        try:
            return await handler(request)
        except web.HTTPException:
            raise
        except Exception as error:
            _log.error("%s cannot be shown: %s: %s", request.path, type(error).__name__, error)
            return web.Response(status=500, text="this cannot be shown just now; the log says why\n")

    def _hold(self, transport: asyncio.BaseTransport | None) -> bool:
        return self._listener is not None and self._listener.hold(transport)

    async def _healthz(self, request: web.Request) -> web.Response:
        reason = self._snapshot().not_ready
        return web.Response(status=503, text=f"{reason}\n") if reason else web.Response(text="ok\n")

    async def _status(self, request: web.Request) -> web.Response:
        text = json.dumps(document(self._snapshot()), allow_nan=False, indent=1, ensure_ascii=False)
        return web.Response(text=text + "\n", content_type="application/json")

    async def _text(self, request: web.Request) -> web.Response:
        snapshot = self._snapshot()
        metrics = Metrics(lambda: snapshot, dict(self._answered))
        text = await asyncio.to_thread(metrics.text)  # a tenth of a second for 500 mirrors
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE})

    async def _prepare(self, request: web.Request, response: web.StreamResponse) -> None:
        self._answered[response.status] += 1
        response.headers.update(HEADERS)
