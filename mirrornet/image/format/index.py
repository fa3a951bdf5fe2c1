"""The index of an image version: a head with a table of pages, and pages with a row for every block.  Pure.

FORMAT.md is normative; this is its reader and writer.  The head is small (48 bytes a page of 1,024 blocks: 200 KB for
an image of 1 TB) and is the signed target; pages are blocks named by hash, so the first read of any image costs the
head and one page, and whatever collects, copies or audits blocks handles pages as well.

The sum of stored lengths before a page stands beside the page's hash in the head, not in the page: one changed block
would otherwise shift the sums of all later pages, and every update would write and send nearly the whole index again.
Pages stay equal where the image is; all pages of zeroes are one page.  Rows are columns, because lengths and codecs
deflate to little when the incompressible hashes do not stand between them.

Rejected: one flat list (must be fetched whole), a tree (two levels reach 16 TB), JSON (5 times as large).
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from mirrornet.image.format.block import (
    MAX_BLOCK_SIZE,
    MIN_BLOCK_SIZE,
    ZERO_HASH,
    BlockRef,
    Codec,
    inflate,
    pack_block,
    stored_limit,
)
from mirrornet.model.errors import Untrusted

MAGIC: Final = b"MNINDEX1"
PAGE_ENTRIES: Final = 1024
MAX_PAGE_ENTRIES: Final = 65536
MAX_PAGES: Final = 1 << 18  # 64 TiB in blocks of 256 KiB
MAX_HEAD: Final = 1 << 24  # bytes; what a client fetches at most
ENTRY: Final = 43  # bytes of a row in a page: hash 32, stored 4, codec 1, pack 2, offset 4
PREAMBLE: Final = (
    b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\nexit $?\n"
).ljust(128, b"\0")
_HEADER = struct.Struct("<8sIIQQQQIIIBBHI4x")
_PAGE = struct.Struct("<32sIB3xQ")
_PACK = struct.Struct("<32sQB7x")
assert _HEADER.size == 72 and _PAGE.size == 48 and _PACK.size == 48


@dataclass(frozen=True, slots=True)
class Pack:
    """A file of many blocks one after the other, in blocks/ under its own hash.  `single`: each also stands alone."""

    hash: bytes
    length: int
    single: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a pack a block lies: `pack` is a position in Head.packs, `offset` in bytes."""

    pack: int
    offset: int


@dataclass(frozen=True, slots=True)
class Head:
    """The head of an index.

    `size`: true length of the image in bytes.  `stored`: bytes of its distinct blocks.  `body`: bytes of all blocks in
    order, zero blocks counted as `zero_stream` (the body of its .cloop).  `before[n]`: the same sum of all blocks
    before page n.  `preamble` and `zero_stream` are empty unless `codec` is ZLIB.
    """

    size: int
    block_size: int
    stored: int
    body: int
    codec: Codec
    level: int
    page_entries: int
    pages: tuple[BlockRef, ...]
    before: tuple[int, ...]
    preamble: bytes = b""
    zero_stream: bytes = b""
    packs: tuple[Pack, ...] = ()

    @property
    def block_count(self) -> int:
        return -(-self.size // self.block_size)

    def entries(self, number: int) -> int:
        """How many blocks page `number` lists."""
        return min(self.page_entries, self.block_count - number * self.page_entries)

    def locate(self, block: int) -> tuple[int, int]:
        """(page number, position in that page) of a block.  Raises IndexError beyond the image."""
        if not 0 <= block < self.block_count:
            raise IndexError(f"block {block} of {self.block_count}")
        return divmod(block, self.page_entries)

    def page_at(self, offset: int) -> int:
        """The page in whose blocks byte `offset` of the .cloop body falls."""
        return max(0, bisect_right(self.before, offset) - 1)

    def sum_after(self, number: int) -> int:
        """Summed stored length of all blocks up to the end of page `number`."""
        return self.before[number + 1] if number + 1 < len(self.before) else self.body

    def encode(self) -> bytes:
        """The head's bytes."""
        parts = [self.preamble, self.zero_stream]
        parts += [_PAGE.pack(p.hash, p.stored, p.codec, b) for p, b in zip(self.pages, self.before, strict=True)]
        parts += [_PACK.pack(p.hash, p.length, p.single) for p in self.packs]
        rest = b"".join(parts)
        return (
            _HEADER.pack(
                MAGIC,
                _HEADER.size + len(rest),
                self.block_size,
                self.size,
                self.block_count,
                self.stored,
                self.body,
                self.page_entries,
                len(self.pages),
                len(self.packs),
                self.codec,
                self.level,
                len(self.preamble),
                len(self.zero_stream),
            )
            + rest
        )

    @classmethod
    def parse(cls, data: bytes) -> Head:
        """The head in `data`.  Raises Untrusted where any rule of FORMAT.md is broken."""
        try:
            return _parse_head(data)
        except (ValueError, struct.error) as error:
            raise Untrusted(f"the index head is malformed: {error}; a newer mirrornet may be needed") from None


def _is_power(value: int, lowest: int, highest: int) -> bool:
    return lowest <= value <= highest and value & (value - 1) == 0


def _demand(holds: bool, rule: str) -> None:
    if not holds:
        raise ValueError(rule)


def _parse_head(data: bytes) -> Head:
    _demand(len(data) >= _HEADER.size, "shorter than its header")
    (magic, length, block_size, size, block_count, stored, body, page_entries, page_count, pack_count, codec, level,
     preamble_length, zero_length) = _HEADER.unpack_from(data)  # fmt: skip
    _demand(magic == MAGIC, "not an index of version 1")
    _demand(length == len(data) <= MAX_HEAD, "its length field lies")
    _demand(data[68:72] == bytes(4), "reserved bytes are not zero")
    _demand(_is_power(block_size, MIN_BLOCK_SIZE, MAX_BLOCK_SIZE), f"block size {block_size}")
    _demand(size > 0 and block_count == -(-size // block_size), "size and block count disagree")
    _demand(_is_power(page_entries, 64, MAX_PAGE_ENTRIES), f"{page_entries} entries a page")
    _demand(page_count == -(-block_count // page_entries) <= MAX_PAGES, "block count and page count disagree")
    _demand(codec in (0, 1, 2), f"codec {codec}")
    _demand((preamble_length == 128 and zero_length > 0) == (codec == Codec.ZLIB), "preamble or zero stream")
    _demand(codec == Codec.ZLIB or preamble_length == zero_length == 0, "preamble or zero stream")
    _demand(zero_length <= stored_limit(block_size), "zero stream too long")
    tables = _HEADER.size + preamble_length + zero_length
    _demand(length == tables + page_count * _PAGE.size + pack_count * _PACK.size, "its tables do not fill it")
    preamble = data[_HEADER.size : _HEADER.size + preamble_length]
    zero_stream = data[_HEADER.size + preamble_length : tables]
    if zero_length:
        _demand(inflate(zero_stream, Codec.ZLIB, block_size) == bytes(block_size), "zero stream is not zeroes")
    packs_at = tables + page_count * _PAGE.size
    pages, before = [], []
    for number, (hash_, page_stored, page_codec, sum_before) in enumerate(_PAGE.iter_unpack(data[tables:packs_at])):
        page_size = ENTRY * min(page_entries, block_count - number * page_entries)
        _demand(page_codec in (0, 1, 2) and 0 < page_stored <= stored_limit(page_size), f"page {number}")
        _demand(page_codec or page_stored == page_size, f"page {number}: stored length")
        pages.append(BlockRef(hash_, page_stored, page_size, Codec(page_codec)))
        before.append(sum_before)
    _demand(_padding_is_zero(data[tables:packs_at], _PAGE.size, 37, 40), "reserved bytes are not zero")
    _demand(before[0] == 0 and all(a <= b for a, b in pairwise([*before, body])), "the sums of stored lengths fall")
    _demand(stored <= body, "stored exceeds the sum of all blocks")
    packs = []
    for hash_, pack_length, flags in _PACK.iter_unpack(data[packs_at:]):
        _demand(flags in (0, 1) and 0 < pack_length < 1 << 32, "pack")
        packs.append(Pack(hash_, pack_length, bool(flags)))
    _demand(pack_count < 65536 and _padding_is_zero(data[packs_at:], _PACK.size, 41, 48), "packs")
    return Head(size, block_size, stored, body, Codec(codec), level, page_entries, tuple(pages), tuple(before),
                preamble, zero_stream, tuple(packs))  # fmt: skip


def _padding_is_zero(table: bytes, record: int, start: int, end: int) -> bool:
    zeroes = bytes(end - start)
    return all(table[at + start : at + end] == zeroes for at in range(0, len(table), record))


@dataclass(frozen=True, slots=True)
class Page:
    """One page: the references of up to `page_entries` blocks, and where in a pack each lies."""

    refs: tuple[BlockRef | None, ...]
    places: tuple[Place | None, ...]

    def __len__(self) -> int:
        return len(self.refs)

    def block(self, position: int) -> BlockRef | None:
        """The block at `position`; None is an all-zero block: nothing to fetch."""
        return self.refs[position]

    def place(self, position: int) -> Place | None:
        """Where in a pack that block lies, if it is in one."""
        return self.places[position]

    def encode(self) -> bytes:
        """The page's bytes, not compressed."""
        refs, places = self.refs, self.places
        count = len(refs)
        return b"".join(
            (
                b"".join(r.hash if r else ZERO_HASH for r in refs),
                struct.pack(f"<{count}I", *(r.stored if r else 0 for r in refs)),
                bytes(r.codec if r else 0 for r in refs),
                struct.pack(f"<{count}H", *(p.pack + 1 if p else 0 for p in places)),
                struct.pack(f"<{count}I", *(p.offset if p else 0 for p in places)),
            )
        )

    @classmethod
    def parse(cls, data: bytes, head: Head, number: int) -> Page:
        """Page `number` of `head` from its inflated bytes.  Raises Untrusted where any rule of FORMAT.md is broken."""
        try:
            page = _parse_page(data, head, number)
        except (ValueError, struct.error) as error:
            raise Untrusted(f"index page {number} is malformed: {error}") from None
        return page


def page_of(refs: Sequence[BlockRef | None]) -> Page:
    """A page of blocks of which none is in a pack."""
    return Page(tuple(refs), (None,) * len(refs))


def summed(refs: Sequence[BlockRef | None], zero: int) -> int:
    """Summed stored length of `refs`, each zero block counted as `zero` bytes."""
    return sum(ref.stored if ref else zero for ref in refs)


def _parse_page(data: bytes, head: Head, number: int) -> Page:
    _demand(0 <= number < len(head.pages), "no such page")
    count = head.entries(number)
    _demand(len(data) == count * ENTRY, f"{len(data)} bytes for {count} blocks")
    stored = struct.unpack_from(f"<{count}I", data, count * 32)
    codecs = data[count * 36 : count * 37]
    packs = struct.unpack_from(f"<{count}H", data, count * 37)
    offsets = struct.unpack_from(f"<{count}I", data, count * 39)
    size, limit = head.block_size, stored_limit(head.block_size)
    allowed = (head.codec,) if head.codec is not Codec.ZSTD else (Codec.ZSTD, Codec.STORED)
    refs: list[BlockRef | None] = []
    places: list[Place | None] = []
    for at in range(count):
        hash_ = data[at * 32 : at * 32 + 32]
        if hash_ == ZERO_HASH:
            _demand(not (stored[at] or codecs[at] or packs[at] or offsets[at]), f"row {at}: a zero block with a length")
            refs.append(None)
            places.append(None)
            continue
        _demand(codecs[at] in allowed, f"row {at}: codec {codecs[at]} in an image of {head.codec.name.lower()}")
        _demand(0 < stored[at] <= limit, f"row {at}: stored length {stored[at]}")
        _demand(codecs[at] != Codec.STORED or stored[at] == size, f"row {at}: stored length {stored[at]}")
        refs.append(BlockRef(hash_, stored[at], size, Codec(codecs[at])))
        if packs[at]:
            _demand(packs[at] <= len(head.packs), f"row {at}: no pack {packs[at]}")
            _demand(offsets[at] + stored[at] <= head.packs[packs[at] - 1].length, f"row {at}: beyond its pack")
            places.append(Place(packs[at] - 1, offsets[at]))
        else:
            _demand(offsets[at] == 0, f"row {at}: an offset without a pack")
            places.append(None)
    _demand(
        summed(refs, len(head.zero_stream)) == head.sum_after(number) - head.before[number],
        "its stored lengths are not what the head says",
    )
    return Page(tuple(refs), tuple(places))


def zero_stream(codec: Codec, level: int, block_size: int) -> bytes:
    """The stored form of a block of zeroes in a .cloop of this codec and level; empty unless ZLIB."""
    return pack_block(bytes(block_size), codec, level)[1] if codec is Codec.ZLIB else b""
