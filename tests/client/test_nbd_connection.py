"""One NBD connection without a socket: any requests, cut anywhere, to a client that takes replies as it likes."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any

import nbd_client as c
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirrornet.client.nbd.connection import BUFFER, STALL, Connection
from mirrornet.client.nbd.handshake import Export
from mirrornet.client.nbd.reads import CHARGE, WHOLE
from mirrornet.model.errors import Unreachable

UNIT = 65536
BLOCKS = 60
BAD = 50  # the block that nobody has


class FakeReader:
    """An image of noise and holes; blocks come at once or later, in any order, and the index may be far."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self.zeroes = {block for block in range(BLOCKS) if self._dice.random() < 0.3} - {BAD}
        blocks = [bytes(UNIT) if n in self.zeroes else self._dice.randbytes(16) * (UNIT // 16) for n in range(BLOCKS)]
        self.content = b"".join(blocks)[: BLOCKS * UNIT - 77]
        self.head = SimpleNamespace(block_size=UNIT, size=len(self.content), page_entries=16)
        self.brought = 0  # bytes under way
        self.most = 0

    def zero(self, number: int) -> bool | None:
        return None if self._dice.random() < 0.2 else number in self.zeroes

    async def page(self, number: int) -> SimpleNamespace:
        await asyncio.sleep(0)
        blocks = range(number * 16, min(number * 16 + 16, BLOCKS))
        return SimpleNamespace(refs=tuple(None if block in self.zeroes else block for block in blocks))

    async def row(self, number: int) -> tuple[object, None]:
        await asyncio.sleep(0)
        return (None if number in self.zeroes else object()), None

    async def timed(self, work: Coroutine[Any, Any, Any], what: str) -> Any:
        return await work

    async def prefetch(self, number: int) -> bool:
        await asyncio.sleep(0)
        return number not in self.zeroes

    @staticmethod
    def _bad(offset: int, size: int) -> bool:
        return offset < (BAD + 1) * UNIT and offset + size > BAD * UNIT

    def answer(self, offset: int, size: int, handle: int) -> bytes | Coroutine[Any, Any, bytes]:
        assert size > 0 and offset + size <= self.head.size
        if self._bad(offset, size) or self._dice.random() < 0.5:
            return self.read(offset, size, handle)
        return self.content[offset : offset + size]

    async def read(self, offset: int, size: int, handle: int) -> bytes:
        size = min(size, self.head.size - offset)
        self.brought += size
        self.most = max(self.most, self.brought)
        try:
            for _ in range(self._dice.randrange(6)):
                await asyncio.sleep(0)
            if self._bad(offset, size):
                raise Unreachable("no mirror has it")
            return self.content[offset : offset + size]
        finally:
            self.brought -= size


class FakeTransport:
    """Keeps what is written, and tells the connection to pause as asyncio's would."""

    def __init__(self, connection: Connection) -> None:
        self.sent = bytearray()
        self.unsent = 0
        self.closed = self.aborted = self.paused = self.full = False
        self._connection = connection

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.sent += data
        self.unsent += len(data)
        if self.unsent > BUFFER and not self.full:
            self.full = True
            self._connection.pause_writing()

    def take(self, count: int) -> None:
        """The client takes some of it."""
        self.unsent = max(0, self.unsent - count)
        if self.full and self.unsent <= BUFFER // 4:
            self.full = False
            self._connection.resume_writing()

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def set_write_buffer_limits(self, high: int) -> None:
        assert high == BUFFER

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class Said(c.Replies):
    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        assert self.at + count <= len(self.data), "the last reply is not whole"
        self.at += count
        return self.data[self.at - count : self.at]


def _made(seed: int, window: int, hello: bytes) -> tuple[FakeReader, Connection, FakeTransport]:
    reader = FakeReader(seed)
    export = Export("x", "x version 1", reader.head.size, UNIT)
    connection = Connection(reader, export, 1, lambda: window, lambda _: "", lambda _: None)  # type: ignore[arg-type]
    transport = FakeTransport(connection)
    connection.connection_made(transport)  # type: ignore[arg-type]
    connection.data_received(hello)
    transport.sent.clear()
    transport.unsent = 0
    return reader, connection, transport


def _hello(structured: bool) -> bytes:
    both = c.option(c.OPT_STRUCTURED) + c.option(c.OPT_SET_META, c.meta_data(b"", b"base:allocation"))
    return b"\0\0\0\3" + (both if structured else b"") + c.option(c.OPT_GO, c.go_data(b""))


_SIZE = BLOCKS * UNIT - 77
_REQUESTS = st.lists(
    st.tuples(
        st.sampled_from([c.READ] * 8 + [c.WRITE, c.CACHE, c.STATUS, c.TRIM, 77]),
        st.one_of(st.integers(0, BAD * UNIT - 1), st.integers(0, _SIZE + 5)),
        st.one_of(st.integers(0, 5000), st.integers(1, 3 * UNIT), st.integers(1, BLOCKS * UNIT)),
        st.sampled_from([0, 0, 0, 4, 8]),
    ),
    max_size=30,
)


@given(
    requests=_REQUESTS, structured=st.booleans(), seed=st.integers(0, 99), window=st.sampled_from([1, CHARGE, 1 << 20])
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_every_request_is_answered_once_and_rightly(
    requests: list[tuple[int, int, int, int]], structured: bool, seed: int, window: int
) -> None:
    asyncio.run(_exchange(requests, structured, seed, window))


async def _exchange(requests: list[tuple[int, int, int, int]], structured: bool, seed: int, window: int) -> None:
    dice = random.Random(seed)
    reader, connection, transport = _made(seed, window, _hello(structured))
    assert connection.agreed
    data = b""
    for cookie, (kind, offset, length, flags) in enumerate(requests):
        data += c.request(kind, offset, length, cookie, flags) + (bytes(length) if kind == c.WRITE else b"")
    at = turns = 0
    while at < len(data) or reader.brought or turns < 200:
        if at < len(data) and not transport.paused:
            step = dice.choice([1, 27, 500, 200_000])
            connection.data_received(data[at : at + step])
            at += step
        await asyncio.sleep(0)
        transport.take(dice.choice([0, 10_000, 10_000_000]))
        turns = 0 if transport.unsent or connection.busy or at < len(data) else turns + 1
        if transport.aborted:
            break
    said = Said(bytes(transport.sent))
    said.structured = structured
    said.lengths = {cookie: (kind, offset, length) for cookie, (kind, offset, length, _) in enumerate(requests)}
    left = dict(enumerate(requests))
    if transport.aborted:  # a large simple reply that had begun met the bad block; all before it is whole
        assert not structured
        return
    while said.at < len(said.data):
        cookie, answer = said.answer()
        _judge(reader, answer, left.pop(cookie), structured)
    assert not left
    assert reader.most <= max(window, WHOLE) + BLOCKS * UNIT


def _judge(reader: FakeReader, answer: c.Answer, asked: tuple[int, int, int, int], structured: bool) -> None:
    kind, offset, length, flags = asked
    end = offset + length
    known = {c.READ: 4 * structured, c.CACHE: 0, c.STATUS: 8}
    if kind in (c.WRITE, c.TRIM):
        assert answer.error == c.EPERM
    elif (
        kind not in known or flags & ~known[kind] or not length or end > _SIZE or (kind == c.STATUS and not structured)
    ):
        assert answer.error == c.EINVAL
    elif kind == c.READ and flags & 4 and length > WHOLE:
        assert answer.error == c.EOVERFLOW
    elif kind == c.READ and offset < (BAD + 1) * UNIT and end > BAD * UNIT:
        assert answer.error == c.EIO and (answer.text == "no mirror has it") == structured
    elif kind == c.READ:
        assert answer.error == 0 and answer.joined == reader.content[offset:end]
        assert all(not any(reader.content[start : start + size]) for start, size in answer.holes)
        assert not flags & 4 or (answer.chunks == 1 and not answer.holes)
    elif kind == c.STATUS:
        at = offset
        for size, state in answer.extents:
            assert all(
                (block in reader.zeroes) == (state == 3) for block in range(at // UNIT, (at + size - 1) // UNIT + 1)
            )
            at += size
        assert offset < at <= end and (not flags & 8 or len(answer.extents) == 1)
    else:
        assert answer.error == 0


@pytest.mark.parametrize("structured", [True, False])
async def test_a_client_that_takes_nothing_is_not_read_for_and_is_ended(structured: bool) -> None:
    _, connection, transport = _made(3, 1 << 20, _hello(structured))
    for cookie in range(4000):
        if not transport.paused:
            connection.data_received(c.request(c.READ, 0, 20 * UNIT, cookie))
        await asyncio.sleep(0)
    assert transport.paused and len(transport.sent) < BUFFER + (1 << 20) + 3 * WHOLE
    now = asyncio.get_running_loop().time()
    connection.check(now + STALL - 1)
    assert not transport.aborted
    transport.unsent -= 100  # it took a little
    connection.check(now + STALL + 10)
    assert not transport.aborted
    connection.check(now + 2 * STALL + 11)
    assert transport.aborted
    connection.connection_lost(None)


async def test_a_handshake_has_its_time_and_a_silent_client_has_for_ever() -> None:
    _, slow, transport = _made(1, 1 << 20, b"\0\0")
    now = asyncio.get_running_loop().time()
    slow.check(now + 9)
    assert not transport.aborted
    slow.check(now + 11)
    assert transport.aborted
    _, silent, transport = _made(1, 1 << 20, _hello(True))
    silent.check(now + 1_000_000)
    assert not transport.aborted


async def test_a_client_that_leaves_takes_its_reads_with_it() -> None:
    reader, connection, _ = _made(5, 1 << 24, _hello(True))
    for cookie in range(100):
        connection.data_received(c.request(c.READ, cookie * 1000, 3 * UNIT, cookie))
    connection.connection_lost(ConnectionResetError())
    for _ in range(20):
        await asyncio.sleep(0)
    assert reader.brought == 0 and not connection.busy


async def test_what_ends_while_its_last_bytes_leave_ends_once() -> None:
    """asyncio's own transport: its buffer empties in one write, which lets the last request be answered at once."""
    loop = asyncio.get_running_loop()
    reader, lost, wrong = FakeReader(7), [], []
    loop.set_exception_handler(lambda _, context: wrong.append(context))
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    export = Export("x", "x version 1", reader.head.size, UNIT)
    transport, connection = await loop.connect_accepted_socket(
        lambda: Connection(reader, export, 1, lambda: 1 << 24, lambda _: "", lost.append),  # type: ignore[arg-type]
        ours,
    )
    transport.set_write_buffer_limits(high=1000)
    theirs.sendall(_hello(False) + c.request(c.READ, 0, UNIT, 1))
    for _ in range(1000):
        if transport.get_write_buffer_size() > 1000:
            break
        await asyncio.sleep(0.01)
    theirs.sendall(c.request(77, 0, 1, 2))
    theirs.shutdown(socket.SHUT_WR)
    await asyncio.sleep(0.01)
    assert not lost
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
    with theirs:
        async with asyncio.timeout(10):
            while await loop.sock_recv(theirs, 1 << 20):
                pass
    await asyncio.sleep(0.01)
    assert lost == [connection] and not wrong
