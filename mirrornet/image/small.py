"""Files that somebody else may have put there: opened without waiting, and small ones read up to a limit.

A named pipe in the place of a key, or of a block on a stranger's disk, waits for ever for a writer, /dev/zero never
ends, and a disk image named as root.json fills the memory; each of these is one slip of a person.  So a file is opened
without waiting and must be a regular one, and keys, metadata and lists are read up to a limit.
"""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Final

KEY_LIMIT: Final = 64 << 10  # bytes; an encrypted Ed25519 key has 300
METADATA_LIMIT: Final = 64 << 20  # bytes; a list of 1,000 versions has 0.7 MB


class Irregular(OSError):
    """A folder, a pipe, a device: what stands where a file was wanted."""


def open_regular(path: Path) -> BufferedReader:
    """The regular file `path`, open to be read.  Raises OSError, of which `strerror` says what is in its place."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(handle).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(handle, "rb")
    os.close(handle)
    raise Irregular(errno.EINVAL, "is a folder" if stat.S_ISDIR(mode) else "is no regular file", str(path))


def read_small(path: Path, limit: int) -> bytes:
    """The bytes of the regular file `path`, at most `limit`.  Raises OSError, of which `strerror` says what it is."""
    with open_regular(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"is longer than {limit} bytes, so it is not what it should be", str(path))
    return data
