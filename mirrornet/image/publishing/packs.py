"""Packs: many blocks in one file, for boots and for hosts that count files.

    the boot's pack   the blocks of the profile in its order, beside the single blocks; always made with a profile
    --packs           all other blocks, some 16 MiB in a file, and no single ones

An image of 20 GB is 76,293 files and shared hosts allow 20,000 to 300,000; in packs it is some 500.  A pack is a file
of blocks/ under its own hash, so that copying, auditing and collecting know nothing of it.  A reader asks for a block
of a pack by its range and checks it like any other.

16 MiB: a server that knows no ranges sends what stands before the block as well, and a pack of which less than half is
still in use is written anew, so small packs cost an update less.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from pathlib import Path
from typing import BinaryIO, Final

from mirrornet.image.files import to_disk
from mirrornet.image.format.block import BlockRef, block_path
from mirrornet.image.format.index import Head, Pack, Place
from mirrornet.image.publishing.store import Store
from mirrornet.image.small import open_regular

PACK: Final = 16 << 20  # bytes; a pack is closed by the block that exceeds it
MAX_PACK: Final = 1 << 31  # bytes of a boot's pack; the format allows 4 GiB
_KNOWN: Final = 1 << 16  # blocks whose place is remembered, should they come again


def read_packed(repository: Path, head: Head, ref: BlockRef, place: Place) -> bytes:
    """The stored bytes of a block that lies in a pack, not verified.  Raises OSError."""
    with open_regular(repository / block_path(head.packs[place.pack].hash)) as file:
        file.seek(place.offset)
        return file.read(ref.stored)


class PackWriter:
    """Blocks written one after the other into packs.  For one thread."""

    def __init__(self, store: Store, packs: list[Pack], *, single: bool, limit: int = PACK) -> None:
        """`packs`: the pack table so far, to which finished ones are added.  `single`: they also stand alone."""
        self._store = store
        self._packs = packs
        self._single = single
        self._limit = limit
        self._known: OrderedDict[bytes, Place] = OrderedDict()
        self._file: BinaryIO | None = None
        self._path = Path()
        self._hash = hashlib.sha256()
        self._length = 0

    def __enter__(self) -> PackWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Finishes the last pack; after an error what is unfinished is left to whoever clears the staging folder."""
        if kind is None:
            self.close()
        elif self._file is not None:
            self._file.close()

    def add(self, ref: BlockRef, data: bytes) -> Place:
        """Where the block lies: it is written unless it was lately."""
        place = self._known.get(ref.hash)
        if place is not None:
            self._known.move_to_end(ref.hash)
            return place
        if self._file is None:
            self._path = self._store.staging / f"pack-{len(self._packs)}"
            self._file = self._path.open("wb")
            self._hash, self._length = hashlib.sha256(), 0
        place = Place(len(self._packs), self._length)
        self._file.write(data)
        self._hash.update(data)
        self._length += len(data)
        self._known[ref.hash] = place
        while len(self._known) > _KNOWN:
            self._known.popitem(last=False)
        if self._length >= self._limit:
            self.close()
        return place

    def close(self) -> None:
        """Finishes the pack under way, if there is one."""
        if self._file is None:
            return
        to_disk(self._file)
        self._file.close()
        self._file = None
        digest = self._hash.digest()
        self._packs.append(Pack(digest, self._length, self._single))
        self._store.adopt(self._path, digest, self._length)
