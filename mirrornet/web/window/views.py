"""The page's routes: itself, its two files, /explain for the box, /events for what comes by itself.

/events is a stream of server-sent events (WHATWG HTML, section 9.2): `queries`, some of those that the name server
has just answered, and `changed`, when the page would look otherwise than before.  A stream costs a connection for as
long as somebody looks, so there are few at once, and who does not read is not waited for: the feed drops what a slow
reader would have to catch up with.  /explain costs some milliseconds of a processor: one at a time, few a second.  A
page of five hundred mirrors takes a tenth of a second to draw, in the loop that also probes them, so it is given out
again for as long as keeps that cost small.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from aiohttp import web

from mirrornet.model.address import Address, parse_address
from mirrornet.model.place import Place
from mirrornet.web.queries import Feed, Seen
from mirrornet.web.rate import Rates
from mirrornet.web.status import Snapshot
from mirrornet.web.window.page import render
from mirrornet.web.window.sparing import Spared
from mirrornet.web.window.vantages import alarms
from mirrornet.web.window.worldmap import point

_log = logging.getLogger(__name__)

Explain = Callable[[Address], Awaitable[str]]
Locate = Callable[[str, Address], Place]

FILES: Final = {"style.css": "text/css", "window.js": "text/javascript", "icon.svg": "image/svg+xml"}
ASKED_FOR: Final = {"favicon.ico": "icon.svg"}  # what browsers want beside a page that cannot name its icon
EXPLAINED: Final = 2.0  # explanations a second for one address
EXPLAINED_AT_ONCE: Final = 10.0
STREAMS_EACH: Final = 16  # streams of one address: nobody takes them all
_WAITING: Final = 8  # explanations asked for and not yet begun, of everybody
_LOOK: Final = 1.0  # seconds between two looks for a change
_QUIET: Final = 15.0  # seconds after which a stream says that it is alive
_SPARED: Final = 9  # times as long as drawing took, a page is not drawn again: a tenth of a processor at most
_LONGEST: Final = 64  # characters of an address


class _Shown(NamedTuple):
    """A map on the page: its id, and the zone and the select that it is of."""

    map: str
    zone: str
    fqdn: str


def _shown(snapshot: Snapshot) -> list[_Shown]:
    return [
        _Shown(f"map-{number}-{place}", status.zone.name, status.zone.select_fqdn(select))
        for number, status in enumerate(snapshot.zones)
        for place, select in enumerate(status.zone.select)
    ]


class Views:
    """`hold` spares a connection its deadline, or says False where too many are held (listener.py).

    `explain`: the text for an address; `locate(zone name, address)`: where an asker is; None: there is none of it.
    """

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        hold: Callable[[asyncio.BaseTransport | None], bool],
        explain: Explain | None = None,
        feed: Feed | None = None,
        locate: Locate | None = None,
    ) -> None:
        self._snapshot, self._hold = snapshot, hold
        self._explain, self._feed, self._locate = explain, feed, locate
        self._rates = Rates(EXPLAINED, EXPLAINED_AT_ONCE)
        self._one = asyncio.Lock()
        self._asked = 0
        self._streams: Counter[str | None] = Counter()  # by address
        self._looked, self._seen = (
            -math.inf,
            ("", list[_Shown]()),
        )  # when the last look for a change was; what it showed
        self._drawn = Spared(lambda: render(snapshot()), _SPARED, time.monotonic)
        self.over = asyncio.Event()  # ends all streams

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Adds the routes."""
        router.add_get("/", self._page)
        router.add_get("/explain", self._text)
        router.add_get("/events", self._events, allow_head=False)
        for name in (*FILES, *ASKED_FOR):
            router.add_get(f"/{name}", self._file)

    async def _page(self, request: web.Request) -> web.StreamResponse:
        response = web.Response(text=self._drawn.get(), content_type="text/html")
        response.enable_compression()
        return response

    async def _file(self, request: web.Request) -> web.StreamResponse:
        name = request.path.removeprefix("/")
        name = ASKED_FOR.get(name, name)
        response = web.Response(text=_read(name), content_type=FILES[name])
        response.enable_compression()
        return response

    async def _text(self, request: web.Request) -> web.StreamResponse:
        if self._explain is None:
            return web.Response(status=404, text="this server explains nothing\n")
        wait = self._rates.wait(request.remote, time.monotonic())
        if wait or self._asked >= _WAITING:
            text = "too many questions at once: ask again in a moment\n"
            return web.Response(status=429, text=text, headers={"Retry-After": str(math.ceil(wait) or 1)})
        given = request.query.get("address", "")
        try:
            address = parse_address(given.strip()[: _LONGEST + 1])
        except ValueError as error:
            return web.Response(status=400, text=f"address: {error}\n")
        self._asked += 1
        try:
            async with self._one:
                text = await self._explain(address)
        finally:
            self._asked -= 1
        return web.Response(text=text + "\n")

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if self._streams[request.remote] >= STREAMS_EACH or not self._hold(request.transport):
            text = "as many look already as may; the page goes on without\n"
            return web.Response(status=503, text=text, headers={"Retry-After": "60"})
        self._streams[request.remote] += 1
        try:
            return await self._told_by_events(request)
        finally:
            self._streams[request.remote] -= 1
            self._streams += Counter()  # forgets who has none

    async def _told_by_events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_type = "text/event-stream"
        response.charset = "utf-8"
        response.headers["X-Accel-Buffering"] = "no"  # a proxy of nginx's kind passes events on at once
        await response.prepare(request)
        with contextlib.suppress(ConnectionError, OSError):  # the reader has gone
            await response.write(b"retry: 5000\n\n")
            if self._feed is None:
                await self._stream(request, response, None)
            else:
                async with self._feed.listening() as queue:
                    await self._stream(request, response, queue)
        return response

    async def _stream(
        self, request: web.Request, response: web.StreamResponse, queue: asyncio.Queue[tuple[Seen, ...]] | None
    ) -> None:
        """Until the reader has gone or the server ends."""
        (known, _), spoke = self._look(), time.monotonic()
        while not self.over.is_set() and request.transport is not None:
            batch = await self._next(queue)
            told = [self._told(seen) for seen in batch]
            state, _ = self._look()
            if told:
                await response.write(b"event: queries\ndata: " + json.dumps(told).encode() + b"\n\n")
            if state != known:
                await response.write(b"event: changed\ndata: \n\n")
            if told or state != known:
                known, spoke = state, time.monotonic()
            elif time.monotonic() - spoke >= _QUIET:
                await response.write(b": quiet\n\n")
                spoke = time.monotonic()

    async def _next(self, queue: asyncio.Queue[tuple[Seen, ...]] | None) -> tuple[Seen, ...]:
        """What the feed has, after no longer than _LOOK."""
        over = asyncio.ensure_future(self.over.wait())
        batch = None if queue is None else asyncio.ensure_future(queue.get())
        try:
            await asyncio.wait(
                {over} if batch is None else {over, batch}, timeout=_LOOK, return_when=asyncio.FIRST_COMPLETED
            )
            return batch.result() if batch is not None and batch.done() else ()
        finally:
            for task in (over, batch):
                if task is not None:
                    task.cancel()

    def _look(self) -> tuple[str, list[_Shown]]:
        """Something that is another when the page would look otherwise, ages and figures aside; and its maps.

        Looked at twice a second, however many streams there are.
        """
        now = time.monotonic()
        if now - self._looked >= _LOOK / 2:
            shot = self._snapshot()
            plan = shot.plan.generation if shot.plan else 0
            states = [
                (name, verdict.state, verdict.share, verdict.override)
                for zone in shot.zones
                for name, verdict in zone.verdicts.items()
            ]
            served = [(zone.surveyed, {k: one.shares for k, one in zone.regions.items()}) for zone in shot.zones]
            self._looked = now
            said = alarms(shot.sharing)
            self._seen = repr((shot.not_ready, plan, states, served, said)), _shown(shot)
        return self._seen

    def _told(self, seen: Seen) -> dict[str, Any]:
        """A query for the browser, and where its asker is on the map of the zone that it asks for."""
        name = f".{seen.name.rstrip('.').lower()}"
        _, selects = self._look()
        under = [one for one in selects if name.endswith(f".{one.fqdn}")]
        found = max(under, key=lambda one: len(one.fqdn), default=None)  # the zone itself may be a select
        at = None
        if found is not None and self._locate is not None:
            with contextlib.suppress(ValueError):
                at = point(self._locate(found.zone, parse_address(seen.client.partition("/")[0])))
        return {
            "map": None if found is None else found.map,
            "client": seen.client,
            "name": seen.name,
            "type": seen.type,
            "rcode": seen.rcode,
            "mirrors": list(seen.mirrors),
            "x": None if at is None else round(at[0]),
            "y": None if at is None else round(at[1]),
        }


@cache
def _read(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
