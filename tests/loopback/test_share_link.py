"""The board as it comes: a real Redis, one that hangs, one that is gone, and things that are no Redis at all."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from board import Board
from certificates import certificate

from mirrornet.health.eyes import link as link_module
from mirrornet.health.eyes.link import Link
from mirrornet.model.errors import PeerError

LIMIT = 100_000


async def test_what_is_put_up_is_read_as_far_as_asked_for(board: Board) -> None:
    link = Link(board.url, LIMIT)
    await link.write("a", b"\0\r\n" * 10_000, 50)
    assert await link.read(["a", "b", "a"], 4) == [b"\0\r\n\0", b"", b"\0\r\n\0"]
    assert await link.read(["a"], LIMIT) == [b"\0\r\n" * 10_000]
    board.put("big", b"x" * 1_000_000)
    assert [len(value) for value in await link.read(["big", "a"], LIMIT)] == [LIMIT, 30_000]
    assert 0 < int(board.ask("PTTL", "a")) <= 50_000
    board.ask("LPUSH", "list", "x")
    assert await link.read(["list", "a"], 1) == [b"\0", b"\0"]
    await link.close()


async def test_gone_and_back(board: Board) -> None:
    link = Link(board.url, LIMIT)
    await link.write("a", b"x", 50)
    board.stop()
    for _ in range(2):
        with pytest.raises(PeerError, match=r"refused|closed|reset"):
            await link.read(["a"], 4)
    board.start()
    assert await link.read(["a"], 4) == [b""]
    await link.close()


def test_a_connection_that_cannot_be_made_anew_is_told_as_a_first_one_is() -> None:
    lost = "Error 111 connecting to 127.0.0.1:6379. Connect call failed ('127.0.0.1', 6379)."
    assert link_module._line(ConnectionError(lost)) == "connection refused"
    assert link_module._line(ConnectionError("Connection lost")) == "Connection lost"


async def test_one_that_hangs_costs_so_much_time_and_no_more(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    link = Link(board.url, LIMIT)
    await link.write("a", b"first", 50)
    board.freeze()
    with monkeypatch.context() as hurried:
        hurried.setattr(link_module, "PATIENCE", 0.3)
        with pytest.raises(PeerError, match=r"no answer within 0\.3 s"):
            await link.read(["a"], 5)
    board.thaw()
    board.put("b", b"other")
    assert await link.read(["b"], 5) == [b"other"]  # and not what was asked for before
    await link.close()


async def test_passwords(board: Board) -> None:
    board.ask("CONFIG", "SET", "requirepass", "secret")
    for password in (None, "wrong"):
        with pytest.raises(PeerError) as caught:
            await Link(board.url, LIMIT, password).read(["a"], 4)
        assert "secret" not in str(caught.value) and "wrong" not in str(caught.value)
    link = Link(board.url, LIMIT, "secret")
    assert await link.read(["a"], 4) == [b""]
    await link.close()


async def test_inside_tls_and_by_a_unix_socket(
    tmp_path: Path, free_port: Callable[[], int], need: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    need("redis-server", "redis-cli")
    pair, port = certificate(tmp_path / "pair.pem", "localhost"), free_port()
    board = Board(tmp_path, free_port())
    tls = ["--tls-port", port, "--tls-cert-file", pair, "--tls-key-file", pair, "--tls-auth-clients", "no"]
    board.start(*map(str, tls), "--unixsocket", str(tmp_path / "redis.sock"))
    try:
        link = Link(f"unix://{tmp_path}/redis.sock", LIMIT)
        await link.write("a", b"x", 50)
        assert await link.read(["a"], 4) == [b"x"]
        await link.close()
        with pytest.raises(PeerError, match="its certificate is not trusted here: self"):
            await Link(f"rediss://localhost:{port}/0", LIMIT).read(["a"], 4)
        monkeypatch.setenv("SSL_CERT_FILE", str(pair))  # now its authority is trusted
        link = Link(f"rediss://localhost:{port}/0", LIMIT)
        assert await link.read(["a"], 4) == [b"x"]
        await link.close()
        with pytest.raises(PeerError, match="not trusted here: IP address mismatch"):
            await Link(f"rediss://127.0.0.1:{port}/0", LIMIT).read(["a"], 4)
    finally:
        board.stop()


HOSTILE = {
    "a length beyond what was asked for": b"$99999999999\r\n" + b"x" * 100_000,
    "a negative length": b"$-7\r\n",
    "no length": b"$abc\r\n",
    "an array of billions": b"*2000000000\r\n" + b":1\r\n" * 200_000,
    "arrays in arrays": b"*1\r\n" * 200_000,
    "a line without an end": b"+" + b"x" * 1_000_000,
    "many errors": b"-ERR \x1b[2J no\r\n" * 10_000,
    "another protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "nothing": b"",
}


@pytest.mark.parametrize("case", HOSTILE)
async def test_what_is_no_redis(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "PATIENCE", 0.5)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        try:
            writer.write(HOSTILE[case])
            await writer.drain()
            await reader.read(1 << 20)
        except OSError:
            pass
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    link = Link(f"redis://127.0.0.1:{port}/0", LIMIT)
    with pytest.raises(PeerError) as caught:
        await link.read(["a"], 512)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 300
    assert time.monotonic() - begun < 30  # and not for ever; the machine may be busy
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB
    await link.close()
    server.close()
