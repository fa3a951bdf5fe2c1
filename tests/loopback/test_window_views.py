"""The routes of the status page over real sockets: what is explained, what comes by itself, and who asks too much."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from lively import SNAPSHOT, ZONE_NAME
from waiting import eventually

from mirrornet.model.address import Address
from mirrornet.model.place import Place
from mirrornet.web.queries import Seen
from mirrornet.web.server import LIMITS, Window
from mirrornet.web.window.views import STREAMS_EACH

SEEN = Seen(1.0, "udp", "203.178.136.0/24", True, f"select.{ZONE_NAME}", "A", "NOERROR", ("tokyo", "sydney"))


class Feed:
    """Queries by hand."""

    def __init__(self) -> None:
        self.queues: list[asyncio.Queue[tuple[Seen, ...]]] = []

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[asyncio.Queue[tuple[Seen, ...]]]:
        queue: asyncio.Queue[tuple[Seen, ...]] = asyncio.Queue(4)
        self.queues.append(queue)
        try:
            yield queue
        finally:
            self.queues.remove(queue)


class Server:
    """A window whose snapshot and explanations may be changed; `held`: streams at once."""

    def __init__(self, held: int = 2) -> None:
        self.snapshot = SNAPSHOT
        self.feed = Feed()
        self.explained: list[Address] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.fault: Exception | None = None
        self.window = Window(
            lambda: self.snapshot,
            replace(LIMITS, held=held),
            explain=self.explain,
            feed=self.feed,
            locate=lambda zone, address: Place(0, "JP", 35.0, 139.0) if address.version == 4 else Place(),
        )

    async def explain(self, address: Address) -> str:
        self.explained.append(address)
        await self.gate.wait()
        if self.fault:
            raise self.fault
        return f"why {address}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.window.port}"


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    running = Server()
    await running.window.start("127.0.0.1", 0)
    yield running
    await running.window.stop()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(60)) as opened:
        yield opened


async def ask(session: aiohttp.ClientSession, url: str, **options: Any) -> tuple[int, str]:
    async with session.get(url, **options) as answer:
        return answer.status, await answer.text()


async def test_an_address_is_explained(server: Server, session: aiohttp.ClientSession) -> None:
    for given, taken in [("203.0.113.7", "203.0.113.7"), (" 2001:DB8::1 ", "2001:db8::1")]:
        assert await ask(session, f"{server.url}/explain", params={"address": given}) == (200, f"why {taken}\n")
    async with session.get(f"{server.url}/explain?address=192.0.2.1") as answer:
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    "given", ["", "tokyo", "10.0.0.0/8", "::1%lo", "1" * 3000, "<script>", "\x00", "1.2.3.4\r\nX: y", "２０３.0.113.7"]
)
async def test_what_is_no_address_is_refused_in_a_line(
    server: Server, session: aiohttp.ClientSession, given: str
) -> None:
    status, text = await ask(session, f"{server.url}/explain", params={"address": given})
    assert status == 400 and text.startswith("address: ") and len(text) < 300 and text.count("\n") == 1
    assert server.explained == []


async def test_who_asks_for_too_much_waits(server: Server, session: aiohttp.ClientSession) -> None:
    found = [await ask(session, f"{server.url}/explain?address=192.0.2.{n}") for n in range(12)]
    assert [status for status, _ in found][:10] == [200] * 10
    assert found[-1][0] == 429 and "ask again" in found[-1][1]


async def test_explanations_come_one_after_another_and_a_queue_has_an_end(
    server: Server, session: aiohttp.ClientSession
) -> None:
    server.gate.clear()
    asked = [asyncio.create_task(ask(session, f"{server.url}/explain?address=192.0.2.{n}")) for n in range(10)]
    refused, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result()[0] for task in refused] == [429] * len(refused) and len(server.explained) == 1
    server.gate.set()
    assert sorted(status for status, _ in await asyncio.gather(*asked)) == [200] * 8 + [429] * 2


async def test_a_bug_in_an_explanation_is_one_line(
    server: Server, session: aiohttp.ClientSession, expected_warnings: list[str]
) -> None:
    expected_warnings.append("cannot be shown")
    server.fault = RuntimeError("secret detail")
    status, text = await ask(session, f"{server.url}/explain?address=192.0.2.1")
    assert status == 500 and "secret" not in text and "Traceback" not in text
    server.fault = None
    assert (await ask(session, f"{server.url}/explain?address=192.0.2.1"))[0] == 200


async def test_a_server_that_explains_nothing_says_so(session: aiohttp.ClientSession) -> None:
    window = Window(lambda: SNAPSHOT)
    await window.start("127.0.0.1", 0)
    try:
        assert (await ask(session, f"http://127.0.0.1:{window.port}/explain?address=192.0.2.1"))[0] == 404
    finally:
        await window.stop()


async def event(answer: aiohttp.ClientResponse) -> tuple[str, Any]:
    """The next event of a stream, and its data."""
    name = ""
    async with asyncio.timeout(60):
        async for line in answer.content:
            if line.startswith(b"event: "):
                name = line[7:].strip().decode()
            elif line.startswith(b"data: ") and name:
                return name, json.loads(line[6:]) if line[6:].strip() else None
    raise AssertionError("the stream has ended")


async def until_listened(server: Server, count: int = 1) -> None:
    await eventually(lambda: len(server.feed.queues) == count, lambda: server.feed.queues)


async def test_queries_come_as_they_are_seen(server: Server, session: aiohttp.ClientSession) -> None:
    async with session.get(f"{server.url}/events") as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
        await until_listened(server)
        server.feed.queues[0].put_nowait(
            (SEEN, replace(SEEN, client="2001:db8::/56", name="other.example", mirrors=()))
        )
        name, told = await event(answer)
        assert name == "queries"
        assert told[0] | {"x": 0, "y": 0} == {
            "map": "map-0-0", "client": "203.178.136.0/24", "name": f"select.{ZONE_NAME}", "type": "A",
            "rcode": "NOERROR", "mirrors": ["tokyo", "sydney"], "x": 0, "y": 0,
        }  # fmt: skip
        assert told[0]["x"] == round(1000 + (139 - 11) / 360 * 2000) and 200 < told[0]["y"] < 400
        assert (told[1]["map"], told[1]["x"], told[1]["y"], told[1]["mirrors"]) == (None, None, None, [])
    await until_listened(server, 0)  # who has gone is not served


async def test_a_query_is_drawn_on_the_map_of_its_select(server: Server, session: aiohttp.ClientSession) -> None:
    (status,) = SNAPSHOT.zones
    (select,) = status.zone.select
    zone = replace(status.zone, select=(replace(select, name="@"), select))
    server.snapshot = replace(SNAPSHOT, zones=(replace(status, zone=zone),))
    drawn_on = {
        f"_http._tcp.tokyo.select.{ZONE_NAME}": "map-0-1",
        f"SELECT.{ZONE_NAME}.": "map-0-1",
        ZONE_NAME: "map-0-0",
        f"ns1.{ZONE_NAME}": "map-0-0",
        f"not{ZONE_NAME}": None,
        "": None,
    }
    async with session.get(f"{server.url}/events") as answer:
        await until_listened(server)
        server.feed.queues[0].put_nowait(tuple(replace(SEEN, name=name) for name in drawn_on))
        assert {one["name"]: one["map"] for one in (await event(answer))[1]} == drawn_on


async def test_a_change_is_told_and_a_figure_is_none(server: Server, session: aiohttp.ClientSession) -> None:
    async with session.get(f"{server.url}/events") as answer:
        await until_listened(server)
        server.snapshot = replace(SNAPSHOT, counters={"udp": 5}, now=SNAPSHOT.now + 9)
        server.feed.queues[0].put_nowait((SEEN,))
        assert (await event(answer))[0] == "queries"
        assert SNAPSHOT.plan is not None
        server.snapshot = replace(SNAPSHOT, plan=replace(SNAPSHOT.plan, generation=18))
        assert await event(answer) == ("changed", None)


async def test_streams_are_few_and_end_with_the_server(server: Server, session: aiohttp.ClientSession) -> None:
    async with session.get(f"{server.url}/events") as one, session.get(f"{server.url}/events") as two:
        await until_listened(server, 2)
        status, text = await ask(session, f"{server.url}/events")
        assert status == 503 and "look already" in text
        assert (await ask(session, f"{server.url}/healthz"))[0] == 200
        async with asyncio.timeout(60):
            await server.window.stop()
        for answer in (one, two):
            with contextlib.suppress(aiohttp.ClientError):
                async for line in answer.content:
                    assert b"event" not in line
    assert server.feed.queues == []


async def test_one_address_does_not_take_all_streams(session: aiohttp.ClientSession) -> None:
    server = Server(held=LIMITS.held)
    await server.window.start("127.0.0.1", 0)
    try:
        async with contextlib.AsyncExitStack() as open_ones:
            for _ in range(STREAMS_EACH):
                await open_ones.enter_async_context(session.get(f"{server.url}/events"))
            await until_listened(server, STREAMS_EACH)
            assert (await ask(session, f"{server.url}/events"))[0] == 503
            local = aiohttp.TCPConnector(local_addr=("127.0.0.9", 0))
            async with aiohttp.ClientSession(connector=local) as other, other.get(f"{server.url}/events") as answer:
                assert answer.status == 200
        await until_listened(server, 0)
        async with session.get(f"{server.url}/events") as answer:
            assert answer.status == 200
    finally:
        await server.window.stop()


async def test_a_stream_is_no_answer_to_head(server: Server, session: aiohttp.ClientSession) -> None:
    async with session.head(f"{server.url}/events") as answer:
        assert answer.status == 405


async def test_the_page_travels_compressed(server: Server, session: aiohttp.ClientSession) -> None:
    async with session.get(server.url, headers={"Accept-Encoding": "gzip"}, auto_decompress=False) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert len(await answer.read()) < 40_000
    async with session.get(server.url, headers={"Accept-Encoding": "identity"}) as answer:
        assert "Content-Encoding" not in answer.headers and "<svg" in await answer.text()
