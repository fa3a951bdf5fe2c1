"""Blocks kept on disk: `blocks/ab/<hash>`, shared by all images, versions and mounts of a machine.

A file is the stored bytes as a mirror gave them, named by their SHA-256, so the cache needs no database: a restart
finds what is there, `sha256sum` checks it, and a cache may be copied from one machine to another.  Every read from it
is verified by whoever opens the block (hashing costs a tenth of inflating), so a disk that rots, a crash in mid-write
or a stranger's file is found, removed, and the block is fetched again.  For the same reason nothing is fsynced.

A file is written under another name and renamed.  The quota is a hard one: before a block goes in, the least recently
used leave (a hit renews the modification time, since most systems mount with relatime).  Several mounts share a
folder: each counts what it adds and looks again at what is really there every 1/32 of the quota.

A disk that is full, read-only or broken means serving on uncached: one line in the log, another try a minute later.

Rejected: SQLite for the order of use (a lock for every hit), one big file (nothing can share or check it).
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from mirrornet.image.files import replacing
from mirrornet.image.format.block import BlockRef, block_path
from mirrornet.model.units import format_size

log = logging.getLogger(__name__)

DEFAULT_QUOTA: Final = 10 << 30
RENEW: Final = 60.0  # seconds between two renewals of one file's time
SUSPEND: Final = 60.0  # seconds without writing after the disk refused
_LEFT: Final = 0.95  # of the quota, after the least recently used left
_ABANDONED: Final = 3600.0  # seconds after which somebody's unfinished file is nobody's


@dataclass(slots=True)
class CacheFigures:
    """What `status` tells of the cache; sizes in bytes."""

    folder: str
    quota: int
    bytes: int = 0
    hits: int = 0
    misses: int = 0
    corrupt: int = 0
    evicted: int = 0
    refused: str = ""  # why nothing is being kept at present


class Cache:
    """Synchronous and thread-safe; call it from a thread.  `now` is Unix time, since files carry it."""

    def __init__(self, folder: Path, quota: int = DEFAULT_QUOTA) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._added = 0
        self._suspended_until = 0.0
        self._scanned = False
        self.figures = CacheFigures(str(folder), quota)

    def get(self, ref: BlockRef, now: float) -> bytes | None:
        """The bytes kept under `ref`, not verified, or None."""
        path = self._folder / block_path(ref.hash)
        try:
            with path.open("rb") as stream:
                data = stream.read(ref.stored + 1)
                if now - os.fstat(stream.fileno()).st_mtime > RENEW:
                    with contextlib.suppress(OSError):
                        os.utime(path, (now, now))
        except OSError:
            self.figures.misses += 1
            return None
        self.figures.hits += 1
        return data

    def discard(self, ref: BlockRef) -> None:
        """What is kept under `ref` proved corrupt: it goes."""
        path = self._folder / block_path(ref.hash)
        self.figures.hits -= 1
        self.figures.corrupt += 1
        log.warning("the cache held a corrupt block, %s: it is removed and fetched again", path)
        with contextlib.suppress(OSError):
            path.unlink()

    def put(self, ref: BlockRef, stored: bytes, now: float) -> bool:
        """Keeps verified bytes.  False where they were not kept; never raises for a disk that refuses."""
        if len(stored) > self.figures.quota or now < self._suspended_until:
            return False
        path = self._folder / block_path(ref.hash)
        try:
            if path.exists():
                return True
            self._make_room(len(stored), now)
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                file.write(stored)
        except OSError as error:
            self._suspended_until = now + SUSPEND
            if not self.figures.refused:
                log.warning("the cache %s refuses (%s): serving on without it", self._folder, error.strerror)
            self.figures.refused = error.strerror or str(error)
            return False
        self.figures.refused = ""
        with self._lock:
            self.figures.bytes += len(stored)
            self._added += len(stored)
        return True

    def status(self) -> dict[str, object]:
        """The figures, by name."""
        return asdict(self.figures)

    def _make_room(self, size: int, now: float) -> None:
        quota = self.figures.quota
        with self._lock:
            if self._scanned and self._added <= quota // 32 and self.figures.bytes + size <= quota:
                return
            entries = sorted(self._scan(now))
            self._scanned, self._added = True, 0
            total = sum(length for _, length, _ in entries)
            if total + size > quota:
                goal = int(quota * _LEFT) - size
                for _, length, path in entries:
                    if total <= goal:
                        break
                    with contextlib.suppress(FileNotFoundError):
                        Path(path).unlink()
                    total -= length
                    self.figures.evicted += 1
                log.debug("the cache %s was trimmed to %s", self._folder, format_size(total))
            self.figures.bytes = total

    def _scan(self, now: float) -> Iterator[tuple[float, int, str]]:
        """(time of last use, size, path) of every block; what was abandoned in mid-write is removed."""
        root = self._folder / "blocks"
        if not root.is_dir():
            return
        for folder in os.scandir(root):
            if not folder.is_dir(follow_symlinks=False):
                continue
            for entry in os.scandir(folder.path):
                try:
                    facts = entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # another mount trims, too
                    continue
                if not entry.name.startswith("."):  # as `replacing` names what is not whole yet
                    yield facts.st_mtime, facts.st_size, entry.path
                elif now - facts.st_mtime > _ABANDONED:
                    with contextlib.suppress(OSError):
                        Path(entry.path).unlink()

    def measure(self, now: float) -> None:
        """Looks at what is there, so that `status` is right before the first write."""
        with contextlib.suppress(OSError), self._lock:
            self.figures.bytes = sum(length for _, length, _ in self._scan(now))
