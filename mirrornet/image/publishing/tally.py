"""Which blocks were met before, for counting: eight bytes a block, however large the image.

A Python set takes some 130 bytes a hash, 530 MB for an image of 1 TB.  This is a table of the first eight bytes of each
hash in a file that has no name, so the kernel may put it away.  Two hashes that agree in eight bytes are taken for one:
a count may be one too low, once in a million images of 1 TB.  Hence nothing but figures rests on it; whether a block is
stored is asked of the folder.

Rejected: SQLite (20 times as slow), a Bloom filter (as large for that error, and it cannot be doubled).
"""

from __future__ import annotations

import mmap
import os
import tempfile
from pathlib import Path
from typing import Final

_FIRST: Final = 1 << 12  # places at the start; a power of two
_MARKS: Final = 3  # the two lowest bits of an entry


class Tally:
    """A set of hashes, each with marks 1 and 2.  For one thread."""

    def __init__(self, staging: Path) -> None:
        """`staging`: the folder of the nameless file."""
        self._staging = staging
        self._places = _FIRST
        self._held = 0
        self._map, self._table = self._new(_FIRST)

    def _new(self, places: int) -> tuple[mmap.mmap, memoryview]:
        with tempfile.TemporaryFile(dir=self._staging) as file:
            os.posix_fallocate(file.fileno(), 0, 8 * places)  # a full disk is told now, not by a signal later
            table = mmap.mmap(file.fileno(), 8 * places)
        return table, memoryview(table).cast("Q")

    def mark(self, hash: bytes, mark: int) -> int:
        """Adds `mark` to the hash; returns the marks it had before, 0 for a hash that is new."""
        at = self._find(int.from_bytes(hash[:8], "big") | _MARKS)
        entry = self._table[at]
        if entry:
            self._table[at] = entry | mark
            return entry & _MARKS
        self._table[at] = (int.from_bytes(hash[:8], "big") & ~_MARKS) | mark
        self._held += 1
        if 3 * self._held > 2 * self._places:
            self._grow()
        return 0

    def _find(self, key: int) -> int:
        """Where the entry of `key` (marks set) is, or the free place for it."""
        table, last = self._table, self._places - 1
        at = (key >> 2) & last
        while (entry := table[at]) and entry | _MARKS != key:
            at = (at + 1) & last
        return at

    def _grow(self) -> None:
        old_map, old = self._map, self._table
        self._places *= 2
        self._map, self._table = self._new(self._places)
        for entry in old:
            if entry:
                self._table[self._find(entry | _MARKS)] = entry
        old.release()
        old_map.close()

    def close(self) -> None:
        """Gives the file back."""
        self._table.release()
        self._map.close()
