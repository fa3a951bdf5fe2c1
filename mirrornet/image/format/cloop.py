"""The CLOOP V2.0 file, which an image of zlib also is: its header, its table of offsets.  Pure.

    128 bytes preamble · u32 block size · u32 number of blocks n · n + 1 u64 offsets · n zlib streams, one by one

All integers are big-endian, offsets count from the start of the file, the last one is the file's length, and every
stream inflates to the block size (the last block is padded with zeroes).  As create_compressed_fs of Debian's
cloop-utils writes it, the kernel's cloop driver and qemu read it.  The table needs the stored lengths of all blocks,
which the index has: any part of it is computed from the head and one page (`offsets`).

Rejected: version 4 and the footer format ("CLOOP3"), which only newer cloop-utils know.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from mirrornet.image.format.block import MAX_BLOCK_SIZE, MIN_BLOCK_SIZE
from mirrornet.image.format.index import Head, Page

_HEADER: Final = struct.Struct(">128sII")
HEADER_SIZE: Final = _HEADER.size
_START: Final = b"#!/bin/sh"
_VERSION: Final = b"V2.0"  # at offset 11, which is all that the driver looks at


def is_cloop(start: bytes) -> bool:
    """Whether a file that begins with `start` (16 bytes or more) says that it is a .cloop of version 2.0."""
    return start.startswith(_START) and start[11:15] == _VERSION


@dataclass(frozen=True, slots=True)
class CloopHeader:
    """What stands before the table of offsets.  `preamble`: 128 bytes.  `block_size`: bytes."""

    preamble: bytes
    block_size: int
    block_count: int

    @property
    def body(self) -> int:
        """Where the first stream begins."""
        return HEADER_SIZE + 8 * (self.block_count + 1)

    def encode(self) -> bytes:
        """The 136 bytes."""
        return _HEADER.pack(self.preamble, self.block_size, self.block_count)

    @classmethod
    def parse(cls, data: bytes) -> CloopHeader:
        """The header in `data`.  Raises ValueError with what is wrong."""
        if len(data) < HEADER_SIZE or not is_cloop(data):
            raise ValueError("not a .cloop of version 2.0")
        preamble, block_size, block_count = _HEADER.unpack_from(data)
        if not MIN_BLOCK_SIZE <= block_size <= MAX_BLOCK_SIZE or block_size & (block_size - 1):
            raise ValueError(f"its blocks have {block_size} bytes, and only powers of two from 64K to 4M can be kept")
        if not block_count:
            raise ValueError("it has no blocks")
        return cls(preamble, block_size, block_count)


def header_of(head: Head) -> CloopHeader:
    """The header of the .cloop that an image of zlib is."""
    return CloopHeader(head.preamble, head.block_size, head.block_count)


def size_of(head: Head) -> int:
    """Bytes of that file."""
    return header_of(head).body + head.body


def starts(head: Head, page: Page, number: int) -> list[int]:
    """Where in the file the stream of each block of page `number` begins, and where the last of them ends."""
    zero = len(head.zero_stream)
    first = header_of(head).body + head.before[number]
    return list(accumulate((ref.stored if ref else zero for ref in page.refs), initial=first))


def offsets(head: Head, page: Page, number: int) -> bytes:
    """The entries of the offset table for the blocks of page `number`; after the last page's, the file's length too."""
    found = starts(head, page, number)
    if number < len(head.pages) - 1:
        found.pop()
    return struct.pack(f">{len(found)}Q", *found)
