"""Packed bytes → plain bytes, as a stream: gzip (RFC 1952) and bzip2, told by their first bytes, or nothing at all.

Servers rename, and some unpack on the way, so names say nothing.  Members may follow each other.  A file that is cut
short has no trailer, a damaged one another checksum in it: both are errors that name the file.  How much comes out is
for the caller to bound (a bomb grows a thousandfold); here never more than a portion does at once.
"""

from __future__ import annotations

import bz2
import zlib
from collections.abc import Callable, Iterator
from typing import Final, Protocol, cast

from mirrornet.model.errors import InputError
from mirrornet.radb.fetching.limits import PORTION

_DAMAGED: tuple[type[BaseException], ...] = (zlib.error, OSError, EOFError, ValueError)


class _Inflater(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def unconsumed_tail(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


_inflater: Callable[[int], _Inflater] = zlib.decompressobj
try:
    from isal import isal_zlib

    _inflater, _DAMAGED = isal_zlib.decompressobj, (*_DAMAGED, cast(type[Exception], isal_zlib.IsalError))
except ImportError:  # zlib does the same at half the speed
    pass


class _Gzip:
    """zlib's object, which wants its own tail back, with the manners of bz2's, which keeps it."""

    def __init__(self) -> None:
        self._inner: _Inflater = _inflater(31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    def decompress(self, data: bytes, max_length: int) -> bytes:
        tail = self._inner.unconsumed_tail
        return self._inner.decompress(tail + data if tail else data, max_length)


_KINDS: Final[tuple[tuple[bytes, str, Callable[[], _Gzip | bz2.BZ2Decompressor]], ...]] = (
    (b"\x1f\x8b", "gzip", _Gzip),
    (b"BZh", "bzip2", bz2.BZ2Decompressor),
)


def unpacked(raw: Iterator[bytes], name: str) -> Iterator[bytes]:
    """`raw` itself, or what is packed in it.  Raises InputError that names the file."""
    first = b""
    for portion in raw:
        first += portion
        if len(first) >= 3:
            break
    for magic, kind, make in _KINDS:
        if first.startswith(magic):
            try:
                yield from _members(first, raw, make, f"{name}: this {kind} file is cut short: fetch it again")
            except _DAMAGED as error:
                raise InputError(f"{name}: this {kind} file is damaged ({error}): fetch it again") from None
            return
    if first:
        yield first
    yield from raw


def _members(
    first: bytes, raw: Iterator[bytes], make: Callable[[], _Gzip | bz2.BZ2Decompressor], cut_short: str
) -> Iterator[bytes]:
    machine, waiting = make(), first
    while True:
        while waiting or not (machine.eof or machine.needs_input):
            out = machine.decompress(waiting, PORTION)
            waiting = b""
            if out:
                yield out
            if machine.eof:
                waiting = machine.unused_data.lstrip(b"\0")  # tape blocks are padded with zeros
                if waiting:
                    machine = make()
        following = next(raw, None)
        if following is None:
            break
        if machine.eof:
            following = following.lstrip(b"\0")
            if following:
                machine = make()
        waiting = following
    if not machine.eof:
        raise InputError(cut_short)
