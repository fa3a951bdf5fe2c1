"""What a client and we agree upon before its first read: bytes in, bytes out, and in the end an `Agreed`.  Pure.

The fixed newstyle handshake of doc/proto.md ("Newstyle negotiation", "Option types").  The client haggles with
options; NBD_OPT_GO or NBD_OPT_EXPORT_NAME ends it well.  An option we do not know is answered with
NBD_REP_ERR_UNSUP, one that is malformed with NBD_REP_ERR_INVALID, and the haggling goes on; what is no option at all,
is too long or comes too often ends the connection, since nobody could tell where the next one begins.

The export has two names: that of its image, and "" (the default export).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from mirrornet.client.nbd import wire
from mirrornet.client.nbd.wire import Info, Option, Rep

LONGEST: Final = 64 << 10  # bytes of one option's data; a name has 4,096 at most, and queries are few
MOST: Final = 256  # options of one handshake; QEMU sends five
MAXIMUM: Final = 32 << 20  # bytes of one request; what clients assume where none is told ("Block sizes")
CONTEXT: Final = "base:allocation"
CONTEXT_ID: Final = 1


@dataclass(frozen=True, slots=True)
class Export:
    """What is exported.  `size`, `preferred` (the size of a read that suits us) in bytes."""

    name: str
    description: str
    size: int
    preferred: int


@dataclass(frozen=True, slots=True)
class Agreed:
    """What a handshake came to.  `structured`: replies are; `allocation`: the client may ask for holes."""

    structured: bool
    allocation: bool


class Malformed(ValueError):
    """The data of an option is not what it should be."""


class Handshake:
    """One client's.  Send `wire.greeting()` first; then `receive` what comes until `agreed` or `ended` is set."""

    def __init__(self, export: Export) -> None:
        self.agreed: Agreed | None = None
        self.ended = ""  # why the connection is to be closed
        self._export = export
        self._pending = bytearray()
        self._zeroes: bool | None = None  # None until the client's flags have come
        self._structured = self._allocation = False
        self._options = 0

    def receive(self, data: bytes) -> bytes:
        """Takes what came; gives what to send."""
        self._pending += data
        out = []
        while not self.agreed and not self.ended and (reply := self._step()) is not None:
            out.append(reply)
        return b"".join(out)

    def rest(self) -> bytes:
        """What came after the handshake: the first requests."""
        return bytes(self._pending)

    def _step(self) -> bytes | None:
        """One more message; None where it is not whole yet."""
        pending = self._pending
        if self._zeroes is None:
            if len(pending) < 4:
                return None
            flags = int.from_bytes(pending[:4], "big")
            del pending[:4]
            if flags & ~(wire.FIXED_NEWSTYLE | wire.NO_ZEROES) or not flags & wire.FIXED_NEWSTYLE:
                self.ended = f"client flags {flags:#x}"
                return b""
            self._zeroes = not flags & wire.NO_ZEROES
            return b""
        if len(pending) < wire.OPTION.size:
            return None
        magic, option, length = wire.OPTION.unpack_from(pending)
        if magic != wire.OPTION_MAGIC:
            self.ended = "that is no NBD client"
            return b""
        if length > LONGEST:
            self.ended = f"an option of {length} bytes"
            return wire.option_reply(option, Rep.ERR_TOO_BIG, b"that is too long")
        if len(pending) < wire.OPTION.size + length:
            return None
        data = bytes(pending[wire.OPTION.size : wire.OPTION.size + length])
        del pending[: wire.OPTION.size + length]
        self._options += 1
        if self._options > MOST:
            self.ended = f"more than {MOST} options"
            return b""
        try:
            return self._answer(option, data)
        except Malformed as error:
            return wire.option_reply(option, Rep.ERR_INVALID, str(error).encode())

    def _answer(self, option: int, data: bytes) -> bytes:
        if option == Option.EXPORT_NAME:
            return self._old(data)
        if option == Option.ABORT:
            self.ended = "the client gave up"
            return wire.option_reply(option, Rep.ACK)
        if option == Option.LIST:
            _empty(data)
            name, described = self._export.name.encode(), self._export.description.encode()
            listed = struct.pack(">I", len(name)) + name + described
            return wire.option_reply(option, Rep.SERVER, listed) + wire.option_reply(option, Rep.ACK)
        if option in (Option.INFO, Option.GO):
            return self._go(option, data)
        if option == Option.STRUCTURED_REPLY:
            _empty(data)
            self._structured = True
            return wire.option_reply(option, Rep.ACK)
        if option in (Option.LIST_META_CONTEXT, Option.SET_META_CONTEXT):
            return self._contexts(option, data)
        why = "there is no TLS here" if option == Option.STARTTLS else f"option {option} is not known"
        return wire.option_reply(option, Rep.ERR_UNSUP, why.encode())

    @property
    def _flags(self) -> int:
        flags = wire.HAS_FLAGS | wire.READ_ONLY | wire.CAN_MULTI_CONN | wire.SEND_CACHE
        return flags | (wire.SEND_DF if self._structured else 0)

    def _known(self, name: bytes) -> bool:
        return name in (b"", self._export.name.encode())

    def _old(self, name: bytes) -> bytes:
        """NBD_OPT_EXPORT_NAME, which can only be answered by the export or by the end."""
        if not self._known(name):
            self.ended = f"there is no export {_shown(name)}"
            return b""
        self.agreed = Agreed(self._structured, self._allocation)
        return wire.old_export(self._export.size, self._flags, bool(self._zeroes))

    def _go(self, option: int, data: bytes) -> bytes:
        name, at = _string(data, 0)
        if len(data) < at + 2:
            raise Malformed("the number of information requests is missing")
        count = int.from_bytes(data[at : at + 2], "big")
        if len(data) != at + 2 + 2 * count:
            raise Malformed("the information requests are not as many as they should be")
        wanted = set(struct.unpack_from(f">{count}H", data, at + 2))
        if refused := self._refused(option, name):
            return refused
        export = self._export
        told = [wire.info_export(export.size, self._flags), wire.info_block_size(1, export.preferred, MAXIMUM)]
        if Info.NAME in wanted:
            told.append(wire.info_text(Info.NAME, export.name))
        if Info.DESCRIPTION in wanted:
            told.append(wire.info_text(Info.DESCRIPTION, export.description))
        if option == Option.GO:
            self.agreed = Agreed(self._structured, self._allocation)
        return b"".join(wire.option_reply(option, Rep.INFO, each) for each in told) + wire.option_reply(option, Rep.ACK)

    def _refused(self, option: int, name: bytes) -> bytes:
        if not self._known(name):
            why = f"there is no export {_shown(name)}; there is {self._export.name!r}"
            return wire.option_reply(option, Rep.ERR_UNKNOWN, why.encode())
        return b""

    def _contexts(self, option: int, data: bytes) -> bytes:
        if not self._structured:
            raise Malformed("structured replies come first")
        name, at = _string(data, 0)
        if len(data) < at + 4:
            raise Malformed("the number of queries is missing")
        count = int.from_bytes(data[at : at + 4], "big")
        at += 4
        queries: list[bytes] = []
        while at < len(data) and len(queries) <= count:
            query, at = _string(data, at)
            queries.append(query)
        if len(queries) != count or at != len(data):
            raise Malformed("the queries are not as many as they should be")
        if refused := self._refused(option, name):
            return refused
        if option == Option.SET_META_CONTEXT:
            found = self._allocation = CONTEXT.encode() in queries
        else:  # no query, or the namespace alone, asks for all there are
            found = not queries or not {CONTEXT.encode(), b"base:"}.isdisjoint(queries)
        reply = b""
        if found:
            number = CONTEXT_ID if option == Option.SET_META_CONTEXT else 0
            reply = wire.option_reply(option, Rep.META_CONTEXT, struct.pack(">I", number) + CONTEXT.encode())
        return reply + wire.option_reply(option, Rep.ACK)


def _empty(data: bytes) -> None:
    if data:
        raise Malformed("this option has no data")


def _string(data: bytes, at: int) -> tuple[bytes, int]:
    """A string with its length before it, and where it ends."""
    if len(data) < at + 4:
        raise Malformed("a string's length is missing")
    end = at + 4 + int.from_bytes(data[at : at + 4], "big")
    if end > len(data) or end - at - 4 > wire.TEXT:
        raise Malformed("a string is longer than it may be")
    return data[at + 4 : end], end


def _shown(name: bytes) -> str:
    return repr(name.decode("utf-8", "replace")[:80])
