"""Small files that somebody names: keys, metadata, lists.  Read whole, and never waited for.

A named pipe in the place of a key waits for ever for a writer, /dev/zero never ends, and a disk image named as
root.json fills the memory; each of these is one slip of a person.  So a file is opened without waiting, must be a
regular one, and is read up to a limit.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

KEY_LIMIT: Final = 64 << 10  # bytes; an encrypted Ed25519 key has 300
METADATA_LIMIT: Final = 64 << 20  # bytes; a list of 1,000 versions has 0.7 MB


def open_regular(path: Path) -> int:
    """A handle to read the regular file `path`.  Raises OSError, of which `strerror` says what else it is."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(handle).st_mode
    if stat.S_ISREG(mode):
        return handle
    os.close(handle)
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, "is a folder", str(path))
    raise OSError(errno.EINVAL, "is no regular file", str(path))


def read_small(path: Path, limit: int) -> bytes:
    """The bytes of the regular file `path`, at most `limit`.  Raises OSError, of which `strerror` says what it is."""
    handle = open_regular(path)
    try:
        data = bytearray()
        while len(data) <= limit and (part := os.read(handle, limit + 1 - len(data))):
            data += part
    finally:
        os.close(handle)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"is longer than {limit} bytes, so it is not what it should be", str(path))
    return bytes(data)
