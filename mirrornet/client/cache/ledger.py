"""The account of a cache folder: how many bytes its blocks take and how many they may, one for all who use it.

`usage` is a line of three numbers under flock, so that mounts of one machine share one quota to the byte: room is
booked before a block is written, and given back after a file is gone.  What a killed process had booked stays booked
until somebody counts the files again, so the account is never below the truth.  The lock is held for microseconds,
never while blocks are written, removed or counted.

The quota belongs to the folder, not to a mount: whoever names one sets it for all, at once; who names none takes what
is there.  Otherwise a mount with 10 GiB and a pull with 50 would fight over the difference.

A folder that root and others use together: what is made in it gets the folder's own mode and, where root makes it, the
folder's owner.  Neither locks the other out.

Rejected: each counts his own and looks now and then (together they exceed the quota), a lock for as long as a file is
written (a stopped process would stop them all).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DEFAULT_QUOTA: Final = 10 << 30
PATIENCE = 3.0  # seconds for the lock: it is held for microseconds, unless its holder was stopped
_FILE: Final = "usage"
_LINE: Final = 128  # bytes read of the file; it has 63


@dataclass(slots=True)
class Account:
    """`used`: bytes of blocks, also those on their way; None: nobody has counted.  `quota`: bytes.

    `booked`: bytes that were ever booked, so that whoever counts files knows what came while he did.
    """

    used: int | None
    quota: int
    booked: int = 0

    def over(self, size: int) -> int:
        """Books `size` bytes if there is room, and answers 0; else how many bytes too many they are.

        Where nobody has counted, all are.
        """
        if self.used is None:
            return max(size, 1)
        if (over := self.used + size - self.quota) <= 0:
            self.used += size
            self.booked += size
        return max(over, 0)

    def counted(self, seen: int, whole: int, before: Account) -> None:
        """The files were counted, one after the other, since the account was `before`: `seen` bytes, of which `whole`
        in finished files.

        What is there is at most what was seen and all that was booked meanwhile, and at most what the account says: the
        lesser is right.  If it is certainly more than the account says, a stranger put files there.
        """
        came = self.booked - before.booked
        if self.used is None or before.used is None:
            self.used = seen + came if self.used is None else min(self.used, seen + came)
            return
        gone = max(0, came - (self.used - before.used))
        self.used = seen + came if whole - gone > self.used else min(self.used, seen + came)

    @classmethod
    def parse(cls, line: bytes) -> Account:
        """The account in `line`; a fresh one where that is not one."""
        words = line.split()
        numbers = [int(word) if word.isdigit() and len(word) <= 20 else None for word in words]
        if len(words) != 3 or not numbers[1]:
            return cls(None, DEFAULT_QUOTA)
        return cls(numbers[0], numbers[1], numbers[2] or 0)

    def encode(self) -> bytes:
        """A line of always the same length, so that it is replaced in place.  What was not counted is written as no
        number, hence read as not counted."""
        used = "?" * 20 if self.used is None else f"{self.used:020d}"
        return f"{used} {self.quota:020d} {self.booked % 10**20:020d}\n".encode()


class Ledger:
    """The account of the cache `folder`, for all threads of this process and all processes of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._handle = -1
        self._lock = threading.Lock()

    @contextmanager
    def account(self) -> Iterator[Account]:
        """The account, held; what is changed in it is written when the block ends well.  Raises OSError."""
        if not self._lock.acquire(timeout=PATIENCE):
            raise _late()
        try:
            handle = self._locked()
            try:
                line = os.pread(handle, _LINE, 0)
                account = Account.parse(line)
                yield account
                if (after := account.encode()) != line:
                    os.pwrite(handle, after, 0)
                    if len(line) > len(after):
                        os.ftruncate(handle, len(after))
            finally:
                fcntl.flock(handle, fcntl.LOCK_UN)
        finally:
            self._lock.release()

    def _locked(self) -> int:
        """The open file, locked; a new one where somebody has removed it."""
        deadline = time.monotonic() + PATIENCE
        while True:
            if self._handle < 0:
                self._handle = self._open()
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise _late() from None
                time.sleep(0.001)
                continue
            if os.fstat(self._handle).st_nlink:
                return self._handle
            os.close(self._handle)
            self._handle = -1

    def _open(self) -> int:
        make_folder(self.folder, self.folder)
        path = self.folder / _FILE
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(path, flags)
        except FileNotFoundError:
            pass
        handle = os.open(path, flags | os.O_CREAT, 0o600)
        belongs(handle, self.folder)
        return handle

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            if self._handle >= 0:
                os.close(self._handle)
                self._handle = -1


def _late() -> OSError:
    return TimeoutError(errno.ETIMEDOUT, "another process holds its account and does not let go")


def belongs(handle: int, folder: Path) -> None:
    """The file just made, open as `handle`, becomes one of the cache `folder`: its mode, and by root its owner."""
    facts = folder.stat()
    mode = stat.S_IMODE(facts.st_mode) & 0o666
    own = os.fstat(handle)
    with contextlib.suppress(OSError):
        if stat.S_IMODE(own.st_mode) != mode:
            os.fchmod(handle, mode)
        if os.geteuid() == 0 and (own.st_uid, own.st_gid) != (facts.st_uid, facts.st_gid):
            os.fchown(handle, facts.st_uid, facts.st_gid)


def make_folder(path: Path, folder: Path) -> None:
    """The folder `path` of the cache `folder`, made if need be.  Raises OSError."""
    try:
        path.mkdir()
    except FileExistsError:
        if path.is_dir() and (path == folder or not path.is_symlink()):
            return  # below the cache's own folder a link could lead root anywhere
        raise NotADirectoryError(errno.ENOTDIR, "is there and is no folder", str(path)) from None
    except FileNotFoundError:
        if path == folder:
            path.mkdir(parents=True, exist_ok=True)
            return
        make_folder(path.parent, folder)
        make_folder(path, folder)
        return
    if path == folder:
        return
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        facts = folder.stat()
        with contextlib.suppress(OSError):
            os.fchmod(handle, stat.S_IMODE(facts.st_mode))
            if os.geteuid() == 0:
                os.fchown(handle, facts.st_uid, facts.st_gid)
    finally:
        os.close(handle)
