"""Where file systems lie in a disk image: GPT, MBR with logical partitions, or none of both.  Pure.

Only what is needed to find an ext file system is read (its magic, 0xEF53 at byte 1,080 of it), at most some dozens of
kilobytes, and nothing in a table is believed further than the image is long.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

Read = Callable[[int, int], bytes]  # offset, length → as many bytes as there are

_EXTENDED: Final = frozenset({0x05, 0x0F, 0x85})
_MOST: Final = 256  # partitions
_MAGIC_AT: Final = 1080
_GPT_TABLE = struct.Struct("<QII")  # LBA of the entries, their number, the size of each


@dataclass(frozen=True, slots=True)
class Partition:
    """`offset`, `size` in bytes; the whole image is one at offset 0."""

    offset: int
    size: int


def ext_file_systems(read: Read, size: int) -> list[Partition]:
    """The ext2, 3 and 4 file systems in an image of `size` bytes."""
    found = [Partition(0, size), *partitions(read, size)]
    return [each for each in found if read(each.offset + _MAGIC_AT, 2) == b"\x53\xef"]


def partitions(read: Read, size: int) -> list[Partition]:
    """The partitions of an image; none where it has no table."""
    rows = _gpt(read, 512) or _gpt(read, 4096) or list(_mbr(read))
    return [Partition(start, min(length, size - start)) for start, length in rows if 0 < start < size and length > 0]


def _gpt(read: Read, sector: int) -> list[tuple[int, int]]:
    header = read(sector, 92)
    if len(header) < 92 or header[:8] != b"EFI PART":
        return []
    at, count, width = _GPT_TABLE.unpack_from(header, 72)
    if not 128 <= width <= 4096:
        return []
    table = read(at * sector, min(count, _MOST) * width)
    rows = []
    for start in range(0, len(table) - 47, width):
        first, last = struct.unpack_from("<QQ", table, start + 32)
        if table[start : start + 16] != bytes(16) and last >= first:
            rows.append((first * sector, (last - first + 1) * sector))
    return rows


def _mbr(read: Read) -> Iterator[tuple[int, int]]:
    for kind, first, count in _entries(read(0, 512)):
        if kind not in _EXTENDED:
            yield first * 512, count * 512
            continue
        link = first
        for _ in range(_MOST):  # a chain of tables, each with one partition and the way to the next
            entries = _entries(read(link * 512, 512))
            following = None
            for inner, offset, length in entries:
                if inner in _EXTENDED:
                    following = first + offset
                else:
                    yield (link + offset) * 512, length * 512
            if following is None or following <= link:
                break
            link = following


def _entries(sector: bytes) -> list[tuple[int, int, int]]:
    """(type, first sector, sectors) of the entries that are used."""
    if len(sector) < 512 or sector[510:] != b"\x55\xaa":
        return []
    rows = [(sector[at + 4], *struct.unpack_from("<II", sector, at + 8)) for at in range(446, 510, 16)]
    return [(kind, first, count) for kind, first, count in rows if kind and count]
