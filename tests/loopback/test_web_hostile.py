"""What a stranger can do to the status page's socket: nothing but wait."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from mirrornet.model.address import parse_address
from mirrornet.web.listener import Limits, Listener
from mirrornet.web.rate import Rates
from mirrornet.web.server import BURST, LIMITS, Window
from mirrornet.web.status import Snapshot

READY = Snapshot(now=10.0, started=0.0, zones=())
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
CLOSE = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
HEADERS = (b"Content-Security-Policy: default-src 'none'", b"X-Content-Type-Options: nosniff", b"X-Frame-Options: DENY")


class Server:
    def __init__(self, **limits: float) -> None:
        generous = {"rate": 1e6, "burst": 1e6}
        self.window = Window(lambda: READY, replace(LIMITS, **(generous | limits)))

    async def open(self, source: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.window.port, local_addr=(source, 0))

    async def raw(self, octets: bytes, source: str = "127.0.0.1") -> bytes:
        """All that comes back until the server closes."""
        reader, writer = await self.open(source)
        try:
            with contextlib.suppress(ConnectionError):
                writer.write(octets)
                await writer.drain()
            async with asyncio.timeout(20):
                return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    async def well(self, source: str = "127.0.9.9") -> bool:
        return b"\r\n\r\nok\n" in await self.raw(CLOSE, source)


@pytest.fixture
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    running = Server(**getattr(request, "param", {}))
    await running.window.start("127.0.0.1", 0)
    yield running
    await running.window.stop()


def codes(reply: bytes) -> list[int]:
    return [int(part[:3]) for part in reply.replace(b"HTTP/1.0 ", b"HTTP/1.1 ").split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize(
    "octets",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"<script>alert(1)</script> / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 9000 + b"\r\n\r\n",
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 40_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 2\r\n\r\n",
    ],
    ids=["tls", "http2", "script", "colon", "nul", "long", "path", "many", "both", "chunk", "lengths"],
)
async def test_what_is_no_http_learns_nothing(server: Server, octets: bytes) -> None:
    reply = await server.raw(octets)
    assert all(400 <= code < 500 for code in codes(reply)) and len(codes(reply)) <= 1
    assert b"aiohttp" not in reply and b"Python" not in reply and b"Traceback" not in reply
    assert b"<script" not in reply and b"aaaa" not in reply, "it does not hand back what it was sent"
    if reply:
        assert all(header in reply for header in HEADERS)
    assert await server.well()


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd", "/..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/./metrics/.",
        "/metrics%00.html", "/metrics/../status.json/..", "/.git/config", "/window.css/../../zone.yaml", "/\\..\\x",
        "http://127.0.0.1/etc/passwd", "http://elsewhere.example/", "/%ff%fe", "*",
    ],
)  # fmt: skip
async def test_no_path_leads_out(server: Server, path: str) -> None:
    (code,) = codes(reply := await server.raw(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()))
    assert code in (400, 404) or path.startswith("http://elsewhere"), reply
    assert b"root:" not in reply


async def test_nothing_that_was_sent_becomes_a_header(server: Server) -> None:
    head = b"Host: x%0d%0aY: z\r\nX-Forwarded-For: 1.2.3.4\r\nConnection: close\r\n\r\n"
    reply = await server.raw(b"GET /%0d%0aSet-Cookie:%20a=b HTTP/1.1\r\n" + head)
    assert codes(reply) in ([400], [404])
    head = reply.partition(b"\r\n\r\n")[0]
    assert b"Set-Cookie" not in head and b"\nY:" not in head


async def test_http_1_0_and_pipelined_requests_get_what_they_asked_in_order(server: Server) -> None:
    old = await server.raw(b"GET /healthz HTTP/1.0\r\n\r\n")
    assert codes(old) == [200] and old.endswith(b"ok\n")
    many = await server.raw(HEALTH * 3 + b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n" + CLOSE)
    assert codes(many) == [200, 200, 200, 404, 200]
    assert codes(await server.raw(b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")) == [200]


async def test_nothing_is_changed_without_a_token(server: Server) -> None:
    for method in (b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"CONNECT", b"PROPFIND"):
        reply = await server.raw(
            method + b" /status.json HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        assert codes(reply) in ([405], [400], [404]), method
    huge = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000000\r\n\r\n" + b"x" * 100_000
    assert codes(await server.raw(huge)) in ([405], [413], [])
    assert await server.well()


async def test_who_asks_too_often_waits_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirrornet.web.server.RATE", 0.01)
    server = Server()
    await server.window.start("127.0.0.1", 0)
    try:
        reply = await server.raw(HEALTH * int(2 * BURST) + CLOSE, "127.0.7.7")
        assert codes(reply) == [200] * int(BURST) + [429] * (int(BURST) + 1)
        assert b"Retry-After: 1" in reply
        assert await server.well("127.0.8.8")
        told = await server.raw(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "127.0.8.8")
        assert f'mirrornet_http_requests_total{{code="429"}} {BURST + 1:.1f}'.encode() in told
    finally:
        await server.window.stop()


@pytest.mark.parametrize("server", [{"deadline": 1.0}], indirect=True)
async def test_who_is_slow_to_ask_or_to_read_is_cut(server: Server) -> None:
    slow = (
        b"",
        b"G",
        HEALTH[:20],
        b"GET / HTTP/1.1\r\nHost: x\r\nX: ",
        b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n1",
    )
    replies = await asyncio.gather(*(server.raw(octets) for octets in slow))
    assert not any(200 in codes(reply) for reply in replies)
    reader, writer = await server.open()
    for _ in range(2000):  # asks, and never reads
        with contextlib.suppress(ConnectionError):
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(20):
        with contextlib.suppress(ConnectionError):
            while await reader.read(1 << 16):
                pass
    writer.close()
    assert await server.well()


async def test_a_kept_connection_is_good_for_more_than_one_request(server: Server) -> None:
    reader, writer = await server.open()
    for _ in range(3):
        writer.write(HEALTH)
        async with asyncio.timeout(20):
            assert b"ok\n" in await reader.readuntil(b"\r\n\r\nok\n")
    writer.close()


@pytest.mark.parametrize("server", [{"connections": 8, "each": 4}], indirect=True)
async def test_the_silent_leave_when_others_come(server: Server) -> None:
    silent = [await server.open(f"127.0.1.{number}") for number in range(1, 21)]
    for number in range(12):
        assert await server.well(f"127.0.2.{number + 1}"), "there is room for who asks"
    assert server.window._listener is not None and server.window._listener.open <= 8
    crowd = [await server.open("127.0.3.1") for _ in range(10)]
    assert await server.well("127.0.3.2")
    assert server.window._listener._clients["127.0.3.1"] <= 4, "one address has not more than its part"
    for _, writer in (*silent, *crowd):
        writer.close()


async def test_a_stream_may_be_held_and_only_so_many() -> None:
    made: asyncio.Queue[asyncio.BaseTransport] = asyncio.Queue()

    class Silent(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.put_nowait(transport)

    listener = Listener(Silent, replace(LIMITS, deadline=1.5, held=1))
    listener.start(parse_address("127.0.0.1"), 0, "", "")
    try:
        ends = [await asyncio.open_connection("127.0.0.1", listener.port) for _ in range(2)]
        first, second = await made.get(), await made.get()
        assert listener.hold(first) and not listener.hold(second) and not listener.hold(None)
        async with asyncio.timeout(20):
            assert await ends[1][0].read() == b"", "this one was cut at its deadline"
        listener.renew(first)
        assert listener.open == 1 and not first.is_closing()
    finally:
        await listener.stop()
    async with asyncio.timeout(20):
        with contextlib.suppress(ConnectionError):
            assert await ends[0][0].read() == b""
    for _, writer in ends:
        writer.close()


async def test_connections_are_taken_by_a_bucket_and_the_rest_waits() -> None:
    server = Server(rate=20.0, burst=2.0)
    await server.window.start("127.0.0.1", 0)
    try:
        begun = asyncio.get_running_loop().time()
        assert all(await asyncio.gather(*(server.well() for _ in range(10))))
        assert asyncio.get_running_loop().time() - begun >= 0.35, "eight of them at twenty a second"
    finally:
        await server.window.stop()


@pytest.mark.parametrize("seed", range(3))
async def test_random_octets(server: Server, seed: int) -> None:
    import random

    dice = random.Random(seed)
    seeds = [HEALTH, CLOSE, b"GET /metrics HTTP/1.1\r\nHost: x\r\nRange: bytes=0-1\r\n\r\n"]

    async def one() -> None:
        data = bytearray(dice.choice(seeds) * dice.randrange(1, 3))
        for _ in range(dice.randrange(1, 8)):
            at = dice.randrange(len(data))
            data[at : at + dice.randrange(3)] = dice.randbytes(dice.randrange(4))
        reader, writer = await server.open(f"127.1.{seed}.{dice.randrange(1, 250)}")
        with contextlib.suppress(ConnectionError):
            writer.write(bytes(data))
            writer.write_eof()
            async with asyncio.timeout(20):
                reply = await reader.read()
            assert b"Traceback" not in reply and 500 not in codes(reply)
        writer.close()

    await asyncio.gather(*(one() for _ in range(60)))
    assert await server.well()


def test_buckets_fill_again_are_bounded_and_forgive_a_clock() -> None:
    rates = Rates(2.0, 4.0, most=3)
    assert [rates.wait("a", 100.0) for _ in range(5)] == [0, 0, 0, 0, pytest.approx(0.5)]
    assert rates.wait("a", 100.6) == 0 and rates.wait("a", 100.6) > 0
    assert rates.wait("b", 100.6) == 0, "another's bucket is full"
    assert rates.wait("a", 200.0) == 0
    assert [rates.wait("a", 50.0) for _ in range(2)] != [0, 0] or len(rates) == 2
    for key in "cdefg":
        rates.wait(key, 300.0)
    assert len(rates) == 3


def test_limits_are_stated_once() -> None:
    assert isinstance(LIMITS, Limits) and LIMITS.each < LIMITS.connections and LIMITS.held < LIMITS.connections
    told: Any = LIMITS
    assert told.deadline > 5
