"""The window over real sockets, with hostile requests as well."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from mirrornet.model.errors import LocalError
from mirrornet.web.server import Window
from mirrornet.web.status import Snapshot

READY = Snapshot(now=10.0, started=0.0, zones=())


class Server:
    """What the Window looks at; `snapshot` may be changed, or be an exception."""

    def __init__(self) -> None:
        self.snapshot: Snapshot | Exception = READY
        self.window = Window(self.look)

    def look(self) -> Snapshot:
        if isinstance(self.snapshot, Exception):
            raise self.snapshot
        return self.snapshot

    async def ask(self, path: str, method: str = "GET", **options: Any) -> tuple[int, dict[str, str], str]:
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, f"http://127.0.0.1:{self.window.port}{path}", **options) as answer,
        ):
            return answer.status, dict(answer.headers), await answer.text()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    running = Server()
    await running.window.start("127.0.0.1", 0)
    yield running
    await running.window.stop()


async def test_healthz_says_why_not(server: Server) -> None:
    assert (await server.ask("/healthz"))[::2] == (200, "ok\n")
    server.snapshot = replace(READY, not_ready="the first round of probes is not over")
    assert (await server.ask("/healthz"))[::2] == (503, "the first round of probes is not over\n")


async def test_each_view_is_there_with_its_type(server: Server) -> None:
    for path, kind in [
        ("/", "text/html"),
        ("/status.json", "application/json"),
        ("/metrics", "text/plain"),
        ("/style.css", "text/css"),
    ]:
        status, headers, body = await server.ask(path)
        assert status == 200 and body
        assert headers["Content-Type"].startswith(kind)
    assert json.loads((await server.ask("/status.json"))[2])["ready"] is True


async def test_every_answer_has_the_security_headers(server: Server) -> None:
    for path, method in [("/", "GET"), ("/absent", "GET"), ("/", "POST"), ("/healthz", "HEAD")]:
        _, headers, _ = await server.ask(path, method)
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Server"] == "mirrornet"


async def test_get_and_head_only(server: Server) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        assert (await server.ask("/status.json", method))[0] == 405
    status, _, body = await server.ask("/status.json", "HEAD")
    assert (status, body) == (200, "")


async def test_no_path_but_ours(server: Server) -> None:
    for path in ("/../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/status.json/", "/.git/config", "/%00"):
        assert (await server.ask(path))[0] == 404


async def test_a_bug_is_one_line_and_no_traceback(server: Server, expected_warnings: list[str]) -> None:
    expected_warnings.append("cannot be shown")
    server.snapshot = RuntimeError("secret detail")
    for path in ("/", "/status.json", "/metrics"):
        status, _, body = await server.ask(path)
        assert status == 500
        assert "secret" not in body and "Traceback" not in body
    server.snapshot = READY
    assert (await server.ask("/"))[0] == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x00" * 1000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\nHost: x\r\n\r\nhello",
    ],
    ids=["tls", "long-header", "long-path", "version", "zeroes", "negative", "smuggling"],
)
async def test_nonsense_gets_an_error_and_the_window_goes_on(server: Server, request_bytes: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.window.port)
    writer.write(request_bytes)
    async with asyncio.timeout(60):
        answer = await reader.read(4096)
    writer.close()
    assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")) and b"Traceback" not in answer
    assert (await server.ask("/healthz"))[0] == 200


async def test_a_port_in_use_is_one_line(server: Server) -> None:
    other = Window(lambda: READY)
    with pytest.raises(LocalError, match=r"127\.0\.0\.1:\d+: .*the port is in use") as caught:
        await other.start("127.0.0.1", server.window.port)
    assert "\n" not in str(caught.value)
    await other.stop()


async def test_an_address_of_somebody_else_is_one_line() -> None:
    window = Window(lambda: READY)
    with pytest.raises(LocalError, match="no such address"):
        await window.start("192.0.2.1", 0)


async def test_stop_frees_the_port_and_may_be_called_twice(server: Server) -> None:
    port = server.window.port
    async with aiohttp.ClientSession() as session:  # a connection that is kept alive does not keep it from stopping
        async with session.get(f"http://127.0.0.1:{port}/healthz") as answer:
            assert answer.status == 200
        async with asyncio.timeout(60):
            await server.window.stop()
            await server.window.stop()
    assert server.window.port == 0
    again = Window(lambda: READY)
    await again.start("127.0.0.1", port)
    await again.stop()
