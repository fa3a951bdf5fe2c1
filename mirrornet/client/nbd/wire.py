"""The NBD protocol's numbers and messages: values to bytes and back.  Pure.

Source of all of it: doc/proto.md of NetworkBlockDevice/nbd, sections "Values" and "Protocol phases".  All integers
are big-endian.  Nothing here decides anything.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

# -- handshake

GREETING_MAGIC: Final = b"NBDMAGIC"
OPTION_MAGIC: Final = b"IHAVEOPT"
REPLY_MAGIC: Final = 0x0003E889045565A9
FIXED_NEWSTYLE: Final = 1
NO_ZEROES: Final = 2
OPTION: Final = struct.Struct(">8sII")  # magic, option, length
_OPTION_REPLY = struct.Struct(">QIII")
_EXPORT = struct.Struct(">HQH")  # info type, size, transmission flags
_BLOCK_SIZE = struct.Struct(">HIII")


class Option(IntEnum):
    """What a client asks for in the handshake."""

    EXPORT_NAME = 1
    ABORT = 2
    LIST = 3
    STARTTLS = 5
    INFO = 6
    GO = 7
    STRUCTURED_REPLY = 8
    LIST_META_CONTEXT = 9
    SET_META_CONTEXT = 10


class Rep(IntEnum):
    """What it is answered."""

    ACK = 1
    SERVER = 2
    INFO = 3
    META_CONTEXT = 4
    ERR_UNSUP = 0x80000001
    ERR_INVALID = 0x80000003
    ERR_UNKNOWN = 0x80000006
    ERR_TOO_BIG = 0x80000009


class Info(IntEnum):
    """What INFO and GO tell of an export."""

    EXPORT = 0
    NAME = 1
    DESCRIPTION = 2
    BLOCK_SIZE = 3


# -- transmission

HAS_FLAGS: Final = 1 << 0
READ_ONLY: Final = 1 << 1
SEND_DF: Final = 1 << 7
CAN_MULTI_CONN: Final = 1 << 8
SEND_CACHE: Final = 1 << 10

REQUEST_MAGIC: Final = 0x25609513
REQUEST: Final = struct.Struct(">IHHQQI")  # magic, flags, type, cookie, offset, length
_SIMPLE = struct.Struct(">IIQ")
_CHUNK = struct.Struct(">IHHQI")  # magic, flags, type, cookie, length
_DATA = struct.Struct(">IHHQIQ")  # the same, and the offset of the data
_HOLE = struct.Struct(">IHHQIQI")
_SIMPLE_MAGIC: Final = 0x67446698
_CHUNK_MAGIC: Final = 0x668E33EF
_DONE: Final = 1
_TYPE_DATA, _TYPE_HOLE, _TYPE_STATUS, _TYPE_NONE, _TYPE_ERROR = 1, 2, 5, 0, 0x8001

FLAG_DF: Final = 1 << 2
FLAG_REQ_ONE: Final = 1 << 3
HOLE: Final = 1  # NBD_STATE_HOLE of base:allocation
ZERO: Final = 2  # NBD_STATE_ZERO
TEXT: Final = 4096  # bytes of a string, at most ("Protocol phases")


class Command(IntEnum):
    """What a client asks for once it has its export."""

    READ = 0
    WRITE = 1
    DISC = 2
    FLUSH = 3
    TRIM = 4
    CACHE = 5
    WRITE_ZEROES = 6
    BLOCK_STATUS = 7


class Error(IntEnum):
    """Error values; they look like Linux's errno and are the same everywhere."""

    EPERM = 1
    EIO = 5
    EINVAL = 22
    EOVERFLOW = 75
    ESHUTDOWN = 108


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a client.  `kind`: a Command, or a number that is none; bytes for `offset` and `length`."""

    flags: int
    kind: int
    cookie: int
    offset: int
    length: int


def greeting() -> bytes:
    """What the server says first."""
    return GREETING_MAGIC + OPTION_MAGIC + struct.pack(">H", FIXED_NEWSTYLE | NO_ZEROES)


def option_reply(option: int, kind: Rep, data: bytes = b"") -> bytes:
    """One reply to an option; of an error `data` is a text for a person."""
    return _OPTION_REPLY.pack(REPLY_MAGIC, option, kind, len(data)) + data


def old_export(size: int, flags: int, zeroes: bool) -> bytes:
    """The reply to NBD_OPT_EXPORT_NAME, which has no header."""
    return struct.pack(">QH", size, flags) + bytes(124 if zeroes else 0)


def info_export(size: int, flags: int) -> bytes:
    """The data of NBD_INFO_EXPORT."""
    return _EXPORT.pack(Info.EXPORT, size, flags)


def info_block_size(minimum: int, preferred: int, maximum: int) -> bytes:
    """The data of NBD_INFO_BLOCK_SIZE, all in bytes."""
    return _BLOCK_SIZE.pack(Info.BLOCK_SIZE, minimum, preferred, maximum)


def info_text(kind: Info, text: str) -> bytes:
    """The data of NBD_INFO_NAME and NBD_INFO_DESCRIPTION."""
    return struct.pack(">H", kind) + text.encode()


def simple(cookie: int, error: int = 0) -> bytes:
    """A simple reply; of a read that went well its bytes follow."""
    return _SIMPLE.pack(_SIMPLE_MAGIC, error, cookie)


def data_header(cookie: int, offset: int, size: int, *, done: bool) -> bytes:
    """What goes before `size` bytes of the image from `offset`.  `done`: nothing else comes in this reply."""
    return _DATA.pack(_CHUNK_MAGIC, _DONE if done else 0, _TYPE_DATA, cookie, size + 8, offset)


def hole(cookie: int, offset: int, size: int, *, done: bool) -> bytes:
    """`size` zeroes from `offset`."""
    return _HOLE.pack(_CHUNK_MAGIC, _DONE if done else 0, _TYPE_HOLE, cookie, 12, offset, size)


def none(cookie: int) -> bytes:
    """The end of a reply that went well."""
    return _CHUNK.pack(_CHUNK_MAGIC, _DONE, _TYPE_NONE, cookie, 0)


def error_chunk(cookie: int, error: int, text: str) -> bytes:
    """The end of a reply that went wrong, with a text for a person."""
    told = text.encode("utf-8", "replace")[:TEXT].decode("utf-8", "ignore").encode()
    data = struct.pack(">IH", error, len(told)) + told
    return _CHUNK.pack(_CHUNK_MAGIC, _DONE, _TYPE_ERROR, cookie, len(data)) + data


def block_status(cookie: int, context: int, extents: Sequence[tuple[int, int]]) -> bytes:
    """The extents of one metadata context, as (bytes, flags) from the request's offset on; the end of its reply."""
    data = struct.pack(">I", context) + b"".join(struct.pack(">II", *extent) for extent in extents)
    return _CHUNK.pack(_CHUNK_MAGIC, _DONE, _TYPE_STATUS, cookie, len(data)) + data


def request_at(buffer: bytearray, at: int) -> Request | None:
    """The request that begins there, whose 28 bytes are all here; None where it is no NBD request."""
    magic, flags, kind, cookie, offset, length = REQUEST.unpack_from(buffer, at)
    return Request(flags, kind, cookie, offset, length) if magic == REQUEST_MAGIC else None
