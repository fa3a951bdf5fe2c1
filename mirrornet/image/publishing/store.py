"""The blocks/ folder of a repository, written by many threads: what is not there yet is added, whole.

A block is written under another name and renamed, so a killed publish leaves whole blocks or none, and the next one
goes on where it stopped.  A file of the right name with other bytes in it, which a bad disk makes, is written again.

Bytes reach the disk in batches: temporary files first, then one syncfs for all of them, then their names.  One fsync a
block costs a tenth of a publish on a good disk and most of it on a spinning one; names before bytes would, after a
power cut, leave empty files of good names on some file systems.
"""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path
from threading import Lock
from typing import Final

from mirrornet.image.files import sync_folder
from mirrornet.image.format.block import BlockRef, block_path

BATCH: Final = 64 << 20  # bytes written before they are brought to the disk,
FILES: Final = 4096  # or so many files,
AGE: Final = 5.0  # or as much as there is after so many seconds: at level 9 a batch takes half a minute
_libc = ctypes.CDLL(None, use_errno=True)


class Store:
    """Blocks of one repository.  Everything but `sync` is safe for many threads; one of them flushes at a time."""

    def __init__(self, repository: Path, staging: Path) -> None:
        """`staging`: a folder of the same file system for temporary files."""
        self.repository = repository
        self.staging = staging
        self._begun: set[bytes] = set()
        self._written: list[tuple[bytes, Path]] = []  # whole, and not yet named
        self._bytes = 0
        self._flushed = time.monotonic()
        self._lock = Lock()
        self._folders: set[Path] = set()

    def has(self, ref: BlockRef, data: bytes) -> bool:
        """Whether the block is there, whole."""
        path = self.repository / block_path(ref.hash)
        try:
            return path.stat().st_size == ref.stored and path.read_bytes() == data
        except FileNotFoundError:
            return False

    def put(self, ref: BlockRef, data: bytes) -> None:
        """Stores the block unless it is there.  It has its name after the next `flush`."""
        if self.has(ref, data):
            return
        path = self.staging / ref.hash.hex()
        with self._lock:
            if ref.hash in self._begun:
                return
            self._begun.add(ref.hash)
        with path.open("wb") as file:
            file.write(data)
        self.adopt(path, ref.hash, ref.stored)

    def adopt(self, path: Path, hash: bytes, length: int) -> None:
        """Takes a finished file of the staging folder as the block, or the pack, of that hash."""
        with self._lock:
            self._written.append((hash, path))
            self._bytes += length

    @property
    def full(self) -> bool:
        """Whether enough waits that `flush` is due."""
        aged = bool(self._written) and time.monotonic() - self._flushed >= AGE
        return aged or self._bytes >= BATCH or len(self._written) >= FILES

    def flush(self) -> None:
        """Brings to the disk what was written until now, and gives it its names."""
        with self._lock:
            written, self._written, self._bytes = self._written, [], 0
            self._flushed = time.monotonic()
        if not written:
            return
        _syncfs(self.staging)
        for hash, path in written:
            place = self.repository / block_path(hash)
            if place.parent not in self._folders:
                place.parent.mkdir(exist_ok=True)
                self._folders.add(place.parent)
            path.rename(place)
        with self._lock:
            self._begun.difference_update(hash for hash, _ in written)

    def sync(self) -> None:
        """`flush`, and the names are on the disk, too."""
        self.flush()
        for folder in sorted(self._folders):
            sync_folder(folder)
        if self._folders:
            sync_folder(self.repository / "blocks")
        self._folders.clear()


def _syncfs(folder: Path) -> None:
    """Brings all of a file system to its disk.  Raises OSError, also for what could not be written before."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _libc.syncfs(handle):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(folder))
    finally:
        os.close(handle)
