"""A small NBD client, written from the protocol's document and not from our server: one socket, blocking."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass, field
from pathlib import Path

HELLO = b"NBDMAGICIHAVEOPT"
OPT_EXPORT_NAME, OPT_ABORT, OPT_LIST, OPT_INFO, OPT_GO, OPT_STRUCTURED, OPT_SET_META = 1, 2, 3, 6, 7, 8, 10
READ, WRITE, DISC, FLUSH, TRIM, CACHE, ZEROES, STATUS = range(8)
EPERM, EIO, EINVAL, EOVERFLOW = 1, 5, 22, 75


def option(number: int, data: bytes = b"") -> bytes:
    return b"IHAVEOPT" + struct.pack(">II", number, len(data)) + data


def go_data(name: bytes, *wanted: int) -> bytes:
    return struct.pack(">I", len(name)) + name + struct.pack(f">H{len(wanted)}H", len(wanted), *wanted)


def meta_data(name: bytes, *queries: bytes) -> bytes:
    listed = b"".join(struct.pack(">I", len(query)) + query for query in queries)
    return struct.pack(">I", len(name)) + name + struct.pack(">I", len(queries)) + listed


def request(kind: int, offset: int, length: int, cookie: int = 7, flags: int = 0) -> bytes:
    return struct.pack(">IHHQQI", 0x25609513, flags, kind, cookie, offset, length)


@dataclass
class Answer:
    """One reply: `data` by offset, holes included; `extents` of base:allocation."""

    error: int = 0
    text: str = ""
    data: dict[int, bytes] = field(default_factory=dict)
    holes: list[tuple[int, int]] = field(default_factory=list)
    extents: list[tuple[int, int]] = field(default_factory=list)
    chunks: int = 0

    @property
    def joined(self) -> bytes:
        out = b""
        first = min(self.data)
        for offset in sorted(self.data):
            assert offset == first + len(out), "chunks overlap, or leave a gap"
            out += self.data[offset]
        return out


class Replies:
    """What a server says, as it is understood; `take` brings its bytes."""

    def __init__(self) -> None:
        self.structured = False
        self._under_way: dict[int, Answer] = {}
        self.lengths: dict[int, tuple[int, int, int]] = {}  # of requests: kind, offset, length

    def take(self, count: int) -> bytes:
        raise NotImplementedError

    def answer(self) -> tuple[int, Answer]:
        """The next reply that is whole: (cookie, reply)."""
        while True:
            magic = int.from_bytes(self.take(4), "big")
            if magic == 0x67446698:
                error, cookie = struct.unpack(">IQ", self.take(12))
                kind, offset, length = self.lengths[cookie]
                assert not (self.structured and kind == READ)
                answer = Answer(error=error)
                if kind == READ and not error:
                    answer.data[offset] = self.take(length)
                return cookie, answer
            assert magic == 0x668E33EF, hex(magic)
            flags, kind, cookie, length = struct.unpack(">HHQI", self.take(16))
            payload = self.take(length)
            answer = self._under_way.setdefault(cookie, Answer())
            answer.chunks += 1
            if kind == 1:
                answer.data[int.from_bytes(payload[:8], "big")] = payload[8:]
            elif kind == 2:
                offset, size = struct.unpack(">QI", payload)
                answer.holes.append((offset, size))
                answer.data[offset] = bytes(size)
            elif kind == 5:
                numbers = struct.unpack(f">{length // 4}I", payload)
                answer.extents = list(zip(numbers[1::2], numbers[2::2], strict=True))
            elif kind == 0x8001:
                answer.error, size = struct.unpack(">IH", payload[:6])
                answer.text = payload[6 : 6 + size].decode()
            else:
                assert kind == 0
            if flags & 1:
                return cookie, self._under_way.pop(cookie)


class Client(Replies):
    """A connection."""

    def __init__(self, place: Path | tuple[str, int], timeout: float = 120.0) -> None:
        super().__init__()
        if isinstance(place, Path):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(timeout)
            self.sock.connect(str(place))
        else:
            self.sock = socket.create_connection(place, timeout)
        self.size = self.flags = 0

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def take(self, count: int) -> bytes:
        out = bytearray()
        while len(out) < count:
            piece = self.sock.recv(min(count - len(out), 1 << 20))
            if not piece:
                raise ConnectionError("the server hung up")
            out += piece
        return bytes(out)

    def hello(self, flags: int = 3) -> None:
        assert self.take(16) == HELLO and self.take(2) == b"\0\3"
        self.sock.sendall(struct.pack(">I", flags))

    def haggle(self, number: int, data: bytes = b"") -> list[tuple[int, bytes]]:
        """The replies to one option, until ACK or an error."""
        self.sock.sendall(option(number, data))
        found = []
        while True:
            magic, which, kind, length = struct.unpack(">QIII", self.take(20))
            assert magic == 0x3E889045565A9 and which == number
            found.append((kind, self.take(length)))
            if kind == 1 or kind >= 1 << 31:
                return found

    def connect(self, name: bytes = b"", *, structured: bool = True, allocation: bool = True) -> Client:
        self.hello()
        if structured:
            assert self.haggle(OPT_STRUCTURED)[-1][0] == 1
            self.structured = True
            if allocation:
                found = self.haggle(OPT_SET_META, meta_data(name, b"base:allocation"))
                assert [kind for kind, _ in found] == [4, 1]
        found = self.haggle(OPT_GO, go_data(name))
        assert found[-1][0] == 1, found
        self.size, self.flags = struct.unpack(">QH", found[0][1][2:])
        return self

    def ask(self, kind: int, offset: int, length: int, cookie: int = 7, flags: int = 0, data: bytes = b"") -> None:
        self.lengths[cookie] = kind, offset, length
        self.sock.sendall(request(kind, offset, length, cookie, flags) + data)

    def do(self, kind: int, offset: int, length: int, flags: int = 0, data: bytes = b"") -> Answer:
        """One request and its reply."""
        self.ask(kind, offset, length, flags=flags, data=data)
        return self.answer()[1]

    def read(self, offset: int, length: int) -> bytes:
        answer = self.do(READ, offset, length)
        assert not answer.error, answer
        return answer.joined

    def gone(self) -> bool:
        """Whether the server hangs up; waits for it."""
        try:
            while self.sock.recv(1 << 16):
                pass
        except ConnectionError:
            return True
        except TimeoutError:
            return False
        return True
