"""Files that are whole or absent, and folders that one process changes at a time.

A file is written under another name and renamed: whoever opens it sees the old one or the new one.  All rooms above
write their files by `replacing`.  Whether it is also brought to the disk is for the writer to say: metadata and blocks
must outlive a power cut (`write_whole`), a memory of verdicts or a cache need not, and an fsync costs an event loop
tens of milliseconds.  A folder is locked by flock on the folder itself, so that no lock file is copied to mirrors and
a killed process leaves nothing behind.  Waiting for a lock ends after `wait` seconds with a line that says who is
waited for.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mirrornet.model.errors import LocalError

LOCK_WAIT = 10.0  # seconds; a refresh or a resign holds a lock for milliseconds
_serial = itertools.count()  # threads of one process may write files of one name


def sync_folder(folder: Path) -> None:
    """Brings the names in `folder` to the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def replacing(path: Path, *, staging: Path | None = None, mode: int = 0o644) -> Iterator[BinaryIO]:
    """An open file that takes the place of `path` when the block ends well, and is gone when it does not.

    `staging`: a folder of the same file system for the temporary file (a repository's must not lie where mirrors copy
    from); else it lies beside `path`, with a dot before its name.  `mode` is subject to the umask.  Raises OSError,
    also where `path` is a folder or a device: root could rename a file over /dev/null.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EEXIST, "is there and no regular file, so nothing is put in its place", str(path))
    temporary = (staging or path.parent) / f".{path.name}.{os.getpid()}-{next(_serial)}"
    try:
        try:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        except OSError as error:  # by the name that somebody gave, who never heard of this one
            raise OSError(error.errno, error.strerror, str(path)) from None
        with os.fdopen(handle, "wb") as file:
            yield file
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def to_disk(file: BinaryIO) -> None:
    """Brings what was written to `file` to the disk; its name follows by `sync_folder`."""
    file.flush()
    os.fsync(file.fileno())


def write_whole(path: Path, data: bytes, *, staging: Path | None = None, mode: int = 0o644, sync: bool = True) -> None:
    """`data` as the file `path`, whole or not at all, durable on return.

    `staging` and `mode` as for `replacing`.  `sync` False leaves the name of the file, not its bytes, to be brought to
    the disk by the caller.  Raises OSError; the temporary file is gone then.
    """
    with replacing(path, staging=staging, mode=mode) as file:
        file.write(data)
        to_disk(file)
    if sync:
        sync_folder(path.parent)


@contextmanager
def locked(
    folder: Path, what: str | Callable[[], str], *, shared: bool = False, wait: float | None = None
) -> Iterator[None]:
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
                    doing = what if isinstance(what, str) else what()
                    raise LocalError(f"{folder}: {doing}; try again when that is done") from None
                time.sleep(0.05)
        yield
    finally:
        os.close(handle)
