"""What is published: a disk image or block device, or a .cloop whose streams are kept as they are.

Both are a row of blocks that many threads read side by side, each where it wants to (pread), so that reading needs no
queue of raw data.  Holes are found without reading (SEEK_DATA); a file system that cannot tell has none.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from mirrornet.image.format.block import Codec, inflate, stored_limit
from mirrornet.image.format.cloop import HEADER_SIZE, CloopHeader, is_cloop
from mirrornet.image.format.index import PREAMBLE, zero_stream
from mirrornet.model.errors import InputError

_TABLE: Final = 8192  # offsets of a .cloop read at once


@dataclass(frozen=True, slots=True)
class Span:
    """Blocks one after the other; `hole`: they are known to be zeroes."""

    first: int
    count: int
    hole: bool


class _File:
    """An open regular file or block device."""

    def __init__(self, path: Path, handle: int) -> None:
        self.path = path
        self.handle = handle
        status = os.fstat(handle)
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISBLK(status.st_mode)):
            raise InputError(f"{path}: is neither a file nor a block device")
        try:
            self.length = os.lseek(handle, 0, os.SEEK_END)
        except OSError as error:  # such as /proc/self/mem
            raise InputError(f"{path}: has no size ({error.strerror}); name an image file or block device") from None
        if self.length == 0:
            raise InputError(f"{path}: is empty; there is nothing to publish")
        self.regular = stat.S_ISREG(status.st_mode)
        self._state = (status.st_size, status.st_mtime_ns)

    def read(self, offset: int, count: int) -> bytes:
        """Exactly `count` bytes.  Raises InputError where it is shorter now."""
        data = os.pread(self.handle, count, offset)
        while len(data) < count:
            more = os.pread(self.handle, count - len(data), offset + len(data))
            if not more:
                raise InputError(f"{self.path}: ended at byte {offset} while it was read; publish a copy nobody writes")
            data += more
        return data

    def check_unchanged(self) -> None:
        """Raises InputError where it was written to since it was opened (a mounted image, for example)."""
        status = os.fstat(self.handle)
        if (status.st_size, status.st_mtime_ns) != self._state:
            raise InputError(f"{self.path}: changed while it was read; publish a copy nobody writes")


class RawSource:
    """A disk image, byte for byte."""

    def __init__(self, file: _File, block_size: int) -> None:
        self._file = file
        self.size = file.length
        self.block_size = block_size
        self.block_count = -(-self.size // block_size)
        self._sparse = file.regular
        self.check_unchanged = file.check_unchanged

    def in_blocks_of(self, block_size: int) -> RawSource:
        """The same image, cut otherwise."""
        return RawSource(self._file, block_size)

    def spans(self) -> Iterator[Span]:
        """All blocks in order: those that have any data, and those in holes."""
        at = 0
        while at < self.block_count:
            start, end = self._data(at * self.block_size)
            first = min(start // self.block_size, self.block_count)
            if first > at:
                yield Span(at, first - at, True)
            at = max(first, min(-(-end // self.block_size), self.block_count))
            if at > first:
                yield Span(first, at - first, False)

    def _data(self, offset: int) -> tuple[int, int]:
        """The next stretch of data at or after `offset`, as (start, end)."""
        if self._sparse:
            try:
                start = os.lseek(self._file.handle, offset, os.SEEK_DATA)
                return start, os.lseek(self._file.handle, start, os.SEEK_HOLE)
            except OSError as error:
                if error.errno == errno.ENXIO:  # holes to the end
                    return self.size + self.block_size, self.size + self.block_size
                self._sparse = False
        return offset, self.size

    def block(self, number: int) -> bytes:
        """Block `number`, the last one padded with zeroes.  Safe for many threads."""
        offset = number * self.block_size
        return self._file.read(offset, min(self.block_size, self.size - offset)).ljust(self.block_size, b"\0")

    def middle(self, number: int, count: int) -> bytes:
        """The `count` bytes from the middle of block `number` on, fewer where the image ends: a sample of it."""
        offset = number * self.block_size + self.block_size // 2
        return self._file.read(offset, max(0, min(count, self.size - offset)))


class CloopSource:
    """A .cloop of version 2.0: streams that are blocks already."""

    def __init__(self, file: _File) -> None:
        """Reads the whole table of offsets once.  Raises InputError where it does not hold together."""
        self._file = file
        try:
            self.header = CloopHeader.parse(file.read(0, min(HEADER_SIZE, file.length)))
            self.block_size, self.block_count = self.header.block_size, self.header.block_count
            self.size = self.block_size * self.block_count
            shortest = self._check()
        except ValueError as error:
            raise InputError(f"{file.path}: {error}; make it raw with `qemu-img convert -f cloop -O raw`") from None
        self.zero_stream = self._zero(shortest)
        self.check_unchanged = file.check_unchanged

    def _check(self) -> tuple[int, int]:
        """(length, number) of the shortest stream."""
        if self.header.body > self._file.length:
            raise ValueError("it ends within its table of offsets")
        limit, at, shortest = stored_limit(self.block_size), self.header.body, (1 << 62, 0)
        for first in range(0, self.block_count, _TABLE):
            table = self.offsets(first, min(_TABLE, self.block_count - first))
            if table[0] != at:
                raise ValueError("its streams do not follow each other")
            for number, (begin, end) in enumerate(pairwise(table), first):
                if not 0 < end - begin <= limit:
                    raise ValueError(f"block {number} has {end - begin} bytes")
                shortest = min(shortest, (end - begin, number))
            at = table[-1]
        if at != self._file.length:
            raise ValueError(f"its table of offsets ends at byte {at}, the file at {self._file.length}")
        return shortest

    def _zero(self, shortest: tuple[int, int]) -> bytes:
        """What a block of zeroes is in this file: nothing gets shorter, so the shortest stream is asked."""
        stream = self.stream(shortest[1])
        try:
            if not inflate(stream, Codec.ZLIB, self.block_size).strip(b"\0"):
                return stream
        except ValueError:  # told with its number when its turn comes
            pass
        return zero_stream(Codec.ZLIB, 9, self.block_size)

    def offsets(self, first: int, count: int) -> tuple[int, ...]:
        """Where `count` streams from block `first` on begin, and where the last of them ends."""
        return struct.unpack(f">{count + 1}Q", self._file.read(HEADER_SIZE + 8 * first, 8 * (count + 1)))

    def spans(self) -> Iterator[Span]:
        """All blocks: a .cloop has no holes."""
        yield Span(0, self.block_count, False)

    def stream(self, number: int) -> bytes:
        """The stored bytes of block `number`.  Safe for many threads."""
        begin, end = self.offsets(number, 1)
        return self._file.read(begin, end - begin)

    def block(self, number: int) -> tuple[bytes, bytes]:
        """(stream, what it inflates to).  Raises InputError where it does not."""
        stream = self.stream(number)
        try:
            return stream, inflate(stream, Codec.ZLIB, self.block_size)
        except ValueError as error:
            raise InputError(f"{self._file.path}: block {number}: {error}") from None


Source = RawSource | CloopSource


def preamble_of(source: Source) -> bytes:
    """The first 128 bytes of the image's .cloop."""
    return source.header.preamble if isinstance(source, CloopSource) else PREAMBLE


@contextmanager
def opened(path: Path, block_size: int) -> Iterator[Source]:
    """The source at `path`; a .cloop has its own block size.  Raises InputError where there is none."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a named pipe is not waited for
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; name an image file or block device") from None
    try:
        file = _File(path, handle)
        yield CloopSource(file) if is_cloop(file.read(0, min(16, file.length))) else RawSource(file, block_size)
    finally:
        os.close(handle)
