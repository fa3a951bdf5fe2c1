"""POST /v1/rtt over real sockets: what is taken, and what a hostile client can do to it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from mirrornet.model.address import Address, parse_address
from mirrornet.model.errors import LocalError
from mirrornet.model.rtt import RttReport
from mirrornet.web.reports import LIMITS, ReportListener

BODY = json.dumps({"v": 1, "select": "select.zone.test", "rtt": {"tokyo": 41.5, "paris": 240}}).encode()
HOME = parse_address("127.0.0.1")


class Box:
    """A listener and what it took."""

    def __init__(self, **limits: float) -> None:
        self.taken: list[tuple[Address, RttReport]] = []
        self.status = 204
        # The tests are quicker than any client; the one of the bucket sets its own.
        self.listener = ReportListener(self.take, replace(LIMITS, **({"rate": 1e6, "burst": 1e6} | limits)))

    def take(self, client: Address, report: RttReport) -> int:
        if self.status == 500:
            raise RuntimeError("a bug")
        self.taken.append((client, report))
        return self.status

    async def raw(self, octets: bytes, source: str = "127.0.0.1", end: bool = False) -> bytes:
        """What comes back for `octets`, until the server closes; `end`: half-closes after sending."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.listener.port, local_addr=(source, 0))
        try:
            writer.write(octets)
            if end:
                writer.write_eof()
            async with asyncio.timeout(60):
                return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    async def post(
        self, body: bytes = BODY, path: str = "/v1/rtt", headers: str = "", source: str = "127.0.0.1"
    ) -> int:
        head = f"POST {path} HTTP/1.1\r\nHost: ns1\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        return status(await self.raw(head.encode() + body, source))


def status(reply: bytes) -> int:
    return int(reply.split(b" ", 2)[1]) if reply.startswith(b"HTTP/1.") else 0


@pytest.fixture
async def box(request: pytest.FixtureRequest) -> AsyncIterator[Box]:
    running = Box(**getattr(request, "param", {}))
    await running.listener.start(HOME, 0)
    yield running
    await running.listener.stop()


async def test_a_report_is_handed_over_with_where_it_came_from(box: Box) -> None:
    assert await box.post(source="127.0.3.7") == 204
    ((client, report),) = box.taken
    assert str(client) == "127.0.3.7" and report == RttReport("select.zone.test", {"tokyo": 41.5, "paris": 240.0})


@pytest.mark.parametrize("code", [404, 429])
async def test_what_take_says_is_answered(box: Box, code: int) -> None:
    box.status = code
    assert await box.post() == code


async def test_a_bug_of_ours_is_a_500_and_one_line(box: Box, expected_warnings: list[str]) -> None:
    expected_warnings.append("a report cannot be taken: RuntimeError: a bug")
    box.status = 500
    assert await box.post() == 500


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        (b"GET /v1/rtt HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 404),
        (b"GET /status.json HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        (b"POST /v1/rtt HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"POST /v1/rtt HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        (b"POST /v1/rtt HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n", 400),
        (b"POST /v1/rtt HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", 411),
        (b"POST /v1/rtt HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}", 400),
        (b"POST /v1/rtt HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", 0),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)), 400),
        (b"\r\n\r\n\x00\x00\xff\xff\r\n\r\n", 400),
        (b"POST /v1/rtt HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 50_000 + b"\r\n", 0),
    ],
)
async def test_what_is_no_report(box: Box, octets: bytes, code: int) -> None:
    got = status(await box.raw(octets))
    assert (400 <= got < 500 or got == 0) if code == 0 else got == code
    assert not box.taken
    assert await box.post() == 204, "and it goes on"


@pytest.mark.parametrize(
    "body", [b"[" * 2000, BODY.replace(b"41.5", b"NaN"), BODY.replace(b"41.5", b'"41"'), b"\xff" * 100, b"x" * 2049]
)
async def test_bodies_that_are_none(box: Box, body: bytes) -> None:
    assert await box.post(body) in (400, 413)
    assert not box.taken


async def test_one_request_a_connection(box: Box) -> None:
    head = f"POST /v1/rtt HTTP/1.1\r\nHost: a\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()
    reply = await box.raw((head + BODY) * 3)
    assert reply.count(b"HTTP/1.1") == 1 and len(box.taken) == 1


@pytest.mark.parametrize("box", [{"deadline": 0.5}], indirect=True)
async def test_who_is_slow_is_cut(box: Box) -> None:
    head = b"POST /v1/rtt HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{"
    replies = await asyncio.gather(*(box.raw(octets) for octets in (b"", b"P", head, head[:30])))
    assert all(b"204" not in reply for reply in replies) and not box.taken
    assert await box.post() == 204


async def test_a_body_that_ends_early_is_refused(box: Box) -> None:
    head = b"POST /v1/rtt HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{"
    assert status(await box.raw(head, end=True)) in (0, 400) and not box.taken


@pytest.mark.parametrize("box", [{"deadline": 0.5, "connections": 8}], indirect=True)
async def test_a_flood_of_silent_connections_is_bounded_and_passes(box: Box) -> None:
    silent = [asyncio.create_task(box.raw(b"")) for _ in range(24)]
    try:
        worst = 0
        while not all(task.done() for task in silent):
            worst = max(worst, box.listener.open)
            await asyncio.sleep(0.02)
        assert 0 < worst <= 8
    finally:
        for task in silent:
            task.cancel()
    assert await box.post() == 204


async def test_connections_are_accepted_by_a_bucket() -> None:
    box = Box(rate=20.0, burst=2.0)
    await box.listener.start(HOME, 0)
    try:
        begun = time.monotonic()
        assert set(await asyncio.gather(*(box.post() for _ in range(12)))) == {204}
        assert time.monotonic() - begun >= 0.45, "ten of them at twenty a second"
    finally:
        await box.listener.stop()


async def test_a_port_in_use_is_one_line(box: Box) -> None:
    with pytest.raises(LocalError, match=r"reports cannot be taken \(the port is in use\)"):
        await ReportListener(box.take).start(HOME, box.listener.port)


async def test_stop_twice_and_without_a_start(box: Box) -> None:
    await box.listener.stop()
    await box.listener.stop()
    assert box.listener.port == 0
    await ReportListener(box.take).stop()
