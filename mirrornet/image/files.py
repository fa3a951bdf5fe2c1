"""Files that are whole or absent, and folders that one process changes at a time.

A file is written under another name, brought to the disk and renamed: whoever opens it sees the old one or the new
one.  A folder is locked by flock on the folder itself, so that no lock file is copied to mirrors and a killed process
leaves nothing behind.  Waiting for a lock ends after `wait` seconds with a line that says who is waited for.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mirrornet.model.errors import LocalError

LOCK_WAIT = 10.0  # seconds; a refresh or a resign holds a lock for milliseconds


def sync_folder(folder: Path) -> None:
    """Brings the names in `folder` to the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, data: bytes, *, staging: Path | None = None, mode: int = 0o644, sync: bool = True) -> None:
    """`data` as the file `path`, whole or not at all, durable on return.

    `staging`: a folder of the same file system for the temporary file (a repository's must not lie where mirrors copy
    from).  `sync` False leaves the name of the file, not its bytes, to be brought to the disk by the caller.
    Raises OSError; the temporary file is gone then.
    """
    temporary = (staging or path.parent) / f".{path.name}.{os.getpid()}"
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(handle, view) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if sync:
        sync_folder(path.parent)


@contextmanager
def locked(folder: Path, what: str, *, shared: bool = False, wait: float | None = None) -> Iterator[None]:
    """Holds `folder` alone, or with other readers where `shared`; waits `wait` seconds for it (None: LOCK_WAIT).

    Raises LocalError, with `what` the other one does.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + (LOCK_WAIT if wait is None else wait)
        while True:
            try:
                fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise LocalError(f"{folder}: {what}; try again when that is done") from None
                time.sleep(0.05)
        yield
    finally:
        os.close(handle)
