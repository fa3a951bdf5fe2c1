"""Blocks kept on disk: `blocks/ab/<hash>`, shared by all images, versions and mounts of a machine.

A file is the stored bytes as a mirror gave them, named by their SHA-256, so the cache needs no database: a restart
finds what is there, `sha256sum` checks it, and a cache may be copied from one machine to another.  Every read from it
is verified by whoever opens the block (hashing costs a tenth of inflating), so a disk that rots, a crash in mid-write
or a stranger's file is found, removed, and the block is fetched again.  For the same reason nothing is fsynced.

A file is written under another name and renamed.  The quota is a hard one: room is booked in an account that all
processes share (ledger.py) before a byte is written, and where there is none the least recently used leave
(leaving.py), but for what is pinned (pins.py).  A hit renews the modification time, since most systems mount with
relatime.  A file has its full length from its first moment, so whoever counts sees what others are still writing, and
the account is never below what is there.

A disk that is full, read-only or broken means serving on uncached: one line in the log, another try a minute later.
The folder needs a file system with rename and flock.

Rejected: SQLite for the order of use (a lock for every hit), one big file (nothing can share or check it).
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import deque
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from mirrornet.client.cache.leaving import Candidate, Fate, remove, scan
from mirrornet.client.cache.ledger import DEFAULT_QUOTA, Account, Ledger, belongs, make_folder
from mirrornet.client.cache.pins import Pins
from mirrornet.image.files import replacing
from mirrornet.image.format.block import BlockRef, block_path

__all__ = ["DEFAULT_QUOTA", "Cache", "CacheFigures"]

log = logging.getLogger(__name__)

RENEW: Final = 60.0  # seconds between two renewals of one file's time
SUSPEND: Final = 60.0  # seconds without writing after the disk refused
_NO_WAIT: Final[int] = getattr(os, "RWF_NOWAIT", 0)  # Linux 4.14


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
    scans: int = 0  # times all files were looked at
    pinned: int = 0  # bytes, at the last of them
    refused: str = ""  # why nothing is being kept at present


class _NoRoom(Exception):
    """Everything that is there is pinned, or the block is larger than the quota."""


class Cache:
    """Synchronous and thread-safe; call it from a thread.  `now` is Unix time, since files carry it."""

    def __init__(self, folder: Path, quota: int | None = None) -> None:
        """`quota`: bytes, from now on for all who use this folder; None: as it is set there, or DEFAULT_QUOTA."""
        self.folder = folder
        self.pins = Pins(folder)
        self.figures = CacheFigures(str(folder), DEFAULT_QUOTA if quota is None else quota)
        self._blocks = str(folder / "blocks")
        self._quota = quota  # until it is written down
        self._ledger = Ledger(folder)
        self._refused_at = -SUSPEND
        self._refusals = 0
        self._barren_at = -SUSPEND  # when nothing was found that might leave
        self._room = threading.Lock()  # who makes room
        self._verdict = threading.Lock()  # who says whether the disk refuses
        self._leaving: deque[Candidate] = deque()
        self._pins_seen = -1

    def get(self, ref: BlockRef, now: float) -> bytes | None:
        """The bytes kept under `ref`, not verified, or None."""
        try:
            descriptor = os.open(self._path(ref), os.O_RDONLY | os.O_CLOEXEC)
            try:
                data = os.read(descriptor, ref.stored + 1)
                if abs(now - os.fstat(descriptor).st_mtime) > RENEW:
                    _used_at(descriptor, now)
            finally:
                os.close(descriptor)
        except OSError:
            self.figures.misses += 1
            return None
        self.figures.hits += 1
        return data

    def has(self, ref: BlockRef) -> bool:
        """Whether something of the right length is kept under `ref`; whether it is right, its reader will see."""
        try:
            return (self.folder / block_path(ref.hash)).stat().st_size == ref.stored
        except OSError:
            return False

    def at_hand(self, ref: BlockRef, now: float) -> bytes | None:
        """As `get`, but only if the kernel has the file's bytes in memory; None is no miss.

        An event loop may ask: it waits for no byte, at most for the file's name to be found.
        """
        if not _NO_WAIT:
            return None
        try:
            descriptor = os.open(self._path(ref), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            if abs(now - os.fstat(descriptor).st_mtime) > RENEW:
                return None  # `get` renews it
            data = bytearray(ref.stored + 1)
            count = os.preadv(descriptor, [data], 0, _NO_WAIT)
        except OSError:
            return None
        finally:
            os.close(descriptor)
        if count != ref.stored:
            return None
        self.figures.hits += 1
        return bytes(memoryview(data)[:count])

    def _path(self, ref: BlockRef) -> str:
        """Its file, without the price of a Path: this is asked for each block that is read."""
        name = ref.hash.hex()
        return f"{self._blocks}/{name[:2]}/{name}"

    def discard(self, ref: BlockRef) -> None:
        """What is kept under `ref` proved corrupt: it goes."""
        path = self.folder / block_path(ref.hash)
        self.figures.hits -= 1
        self.figures.corrupt += 1
        log.warning("the cache held a corrupt block, %s: it is removed and fetched again", path)
        with contextlib.suppress(OSError):
            size = path.stat().st_size
            path.unlink()
            self._give_back(size)

    def put(self, ref: BlockRef, stored: bytes, now: float) -> bool:
        """Keeps verified bytes.  False where they were not kept; never raises for a disk that refuses.

        It waits for other threads that make room or count what is there, so call it from a thread that no reader needs.
        """
        figures, size, refusals = self.figures, len(stored), self._refusals
        if (self._quota is not None and size > self._quota) or _since(self._refused_at, now):
            return False
        path = self.folder / block_path(ref.hash)
        booked = False
        try:
            if os.access(path, os.R_OK):  # else it is another user's, and a copy that may be read takes its place
                return True
            make_folder(path.parent, self.folder)
            with replacing(path) as file:
                belongs(file.fileno(), self.folder)
                os.ftruncate(file.fileno(), size)
                _used_at(file.fileno(), now)
                self._book(size, now)
                booked = True
                file.write(stored)
                file.flush()
                _used_at(file.fileno(), now)
        except _NoRoom as why:
            figures.refused = str(why) or figures.refused
            return False
        except OSError as error:
            if booked:
                self._give_back(size)
            self._refuses(error, now)
            return False
        with self._verdict:
            if refusals == self._refusals:  # what was under way when the disk began to refuse proves nothing
                figures.refused = ""
        return True

    def _refuses(self, error: OSError, now: float) -> None:
        """The disk refused: nothing is written for a while, and that is said once."""
        with self._verdict:
            new = not self.figures.refused
            self.figures.refused = error.strerror or str(error)
            self._refusals += 1
            self._refused_at = now  # last: whoever is turned away by it finds the reason
        if new:
            log.warning("the cache %s refuses (%s): serving on without it", self.folder, error.strerror)

    def measure(self, now: float) -> None:
        """Counts what is there, writes down the quota, and keeps to it; `status` is right from then on."""
        try:
            with self._room:
                self._count(now)
                while (over := self._try(0)) > 0 and self._trim(over, now):
                    pass
        except OSError as error:
            self.figures.refused = error.strerror or str(error)
            with contextlib.suppress(OSError):
                self.figures.bytes = scan(self.folder, (), now, 1).bytes

    def status(self) -> dict[str, object]:
        """The figures, by name."""
        return asdict(self.figures)

    # -- room

    def _book(self, size: int, now: float) -> None:
        """Books `size` bytes, and makes room for them if need be.  Raises _NoRoom, OSError."""
        while (over := self._try(size)) > 0:
            if size > self.figures.quota:
                raise _NoRoom("a block is larger than the quota")
            if _since(self._barren_at, now) and self.pins.stamp() == self._pins_seen:
                raise _NoRoom(self.figures.refused)  # not a look at all files for each block
            with self._room:
                if (over := self._try(size)) <= 0:
                    return  # whoever was in here before us made room, or counted
                if not self._trim(over, now, size):
                    self._barren_at = now
                    raise _NoRoom(
                        "all that is there is pinned, or not this user's to remove: give it more room (--cache-size)"
                    )

    def _try(self, size: int) -> int:
        """As Account.over.  Raises OSError."""
        with self._ledger.account() as account:
            self._settle_quota(account)
            over = account.over(size)
            self._note(account)
            return over

    def _give_back(self, size: int) -> None:
        with contextlib.suppress(OSError), self._ledger.account() as account:
            if account.used is not None:
                account.used = max(0, account.used - size)
            self._note(account)

    def _trim(self, over: int, now: float, unbooked: int = 0) -> bool:
        """Makes room for `over` bytes; whether it is worth looking again.  The caller holds `_room`.

        `unbooked`: bytes of the caller's own file, which is there and not in the account yet.
        """
        counted = moved = False
        freed = 0
        if self.pins.stamp() != self._pins_seen:
            self._leaving.clear()
        while freed < over:
            if not self._leaving:
                if counted:
                    break
                counted = True
                if self._count(now, unbooked):
                    return True  # nobody had counted; now it is known whether there is room
                continue
            candidate = self._leaving.popleft()
            fate = remove(self.folder, candidate)
            moved = moved or fate is not Fate.STUCK
            if fate is Fate.REMOVED:
                freed += candidate.size
                self.figures.evicted += 1
                self._give_back(candidate.size)
        return moved

    def _count(self, now: float, unbooked: int = 0) -> bool:
        """Looks at all files and puts the account right; whether that had not been counted at all."""
        with self._ledger.account() as account:
            before = replace(account)
        self._pins_seen = self.pins.stamp()
        found = scan(self.folder, self.pins.pinned(self.figures.quota), now)
        self._leaving = deque(found.oldest)
        figures = self.figures
        figures.scans += 1
        figures.pinned = found.pinned
        with self._ledger.account() as account:
            self._settle_quota(account)
            account.counted(found.bytes - unbooked, found.whole, before)
            self._note(account)
        return before.used is None

    def _settle_quota(self, account: Account) -> None:
        """What was asked for is written down, once; an account that is new gets what held before."""
        if self._quota is not None or account.used is None:
            account.quota, self._quota = self._quota or self.figures.quota, None

    def _note(self, account: Account) -> None:
        self.figures.quota = account.quota
        self.figures.bytes = account.used or 0


def _since(moment: float, now: float) -> bool:
    """Whether `moment` was less than SUSPEND seconds ago.  A clock that was set back makes nothing last for years."""
    return moment <= now < moment + SUSPEND


def _used_at(file: int | Path, now: float) -> None:
    """Its time of last use is `now`, where we may say so: the order of leaving is worth no error."""
    with contextlib.suppress(OSError):
        os.utime(file, (now, now))
