"""Files of an ext2, 3 or 4 file system that lies somewhere in an image, by debugfs of e2fsprogs.

debugfs opens read-only, needs no root and mounts nothing.  It gets the image as an open file, so a name with a `?`
(debugfs reads options behind it) or a file that is replaced meanwhile do no harm.  What a journal still holds is not
replayed: an image has to be unmounted cleanly to be published anyway.

debugfs follows the symbolic links in the middle of a path, but not one at its end: `resolve` does, and both stay within
the file system, since there `/` is its own root.
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from mirrornet.model.errors import LocalError

TIMEOUT: Final = 60.0  # seconds for one file
LINKS: Final = 40  # as Linux has it, path_resolution(7)
_TOLD: Final = 4096  # bytes of what it complains of
_STATUS: Final = 64 << 10  # bytes of what `stat` prints
_PIECE: Final = 1 << 20
_LINK: Final = re.compile(rb'^Fast link dest: "(.*)"$', re.MULTILINE | re.DOTALL)


def debugfs() -> str | None:
    """Where debugfs is, if it is installed (in /sbin, which is not everybody's PATH)."""
    return shutil.which("debugfs", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def read_file(image: Path, offset: int, path: str, limit: int) -> bytes | None:
    """The file `path` of the file system at byte `offset` of `image`; None where it is not there.

    `limit`: bytes; a longer file is as good as none.  Raises LocalError where debugfs is missing, cannot read the file
    system, or takes longer than a minute.
    """
    data = bytearray()
    return bytes(data) if copy_file(image, offset, path, data.extend, limit) else None


def copy_file(image: Path, offset: int, path: str, write: Callable[[bytes], object], limit: int) -> bool:
    """The same piece by piece to `write`; whether all of it was there, in at most `limit` bytes.  Raises the same."""
    told, fits = _debugfs(image, offset, f"cat {_quoted(path)}", write, limit)
    return fits and not told


def resolve(image: Path, offset: int, path: str) -> str:
    """The regular file that the absolute `path` leads to, links followed within the file system.

    Raises ValueError, which says what is there instead; LocalError as `read_file` does.
    """
    at = path
    for _ in range(LINKS):
        status = bytearray()
        told, _ = _debugfs(image, offset, f"stat {_quoted(at)}", status.extend, _STATUS)
        if told:
            raise ValueError("it is not there" if at == path else f"it leads to {at}, which is not there")
        kind = re.search(rb"Type: (\S+)", status)
        if kind is not None and kind[1] == b"regular":
            return at
        if kind is None or kind[1] != b"symlink":
            raise ValueError("it is no regular file" if at == path else f"it leads to {at}, which is no regular file")
        fast = _LINK.search(status)
        target = fast[1] if fast else read_file(image, offset, at, 4096)
        if not target:
            raise ValueError(f"the link {at} cannot be read")
        at = posixpath.join(posixpath.dirname(at), os.fsdecode(bytes(target)))
    raise ValueError(f"it leads through more than {LINKS} links")


def _quoted(path: str) -> str:
    """`path` as a word of debugfs's command line.  Raises ValueError where none can say it."""
    if "\n" in path or "\0" in path:
        raise ValueError("a name with a line break in it cannot be read")
    return '"' + path.replace('"', '""') + '"'


def _debugfs(
    image: Path, offset: int, request: str, write: Callable[[bytes], object], limit: int
) -> tuple[list[str], bool]:
    """(what debugfs complained of, whether what it printed had at most `limit` bytes)."""
    program = debugfs()
    if program is None:
        raise LocalError("debugfs is missing: install e2fsprogs")
    with image.open("rb") as file:
        process = subprocess.Popen(
            [program, "-R", request, f"/proc/self/fd/{file.fileno()}?offset={offset}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(file.fileno(),),
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "DEBUGFS_PAGER": "cat"},
        )
        assert process.stdout is not None and process.stderr is not None
        watch = threading.Timer(TIMEOUT, process.kill)
        watch.start()
        try:
            left = limit
            while left >= 0 and (piece := process.stdout.read(min(_PIECE, left + 1))):
                left -= len(piece)
                if left >= 0:
                    write(piece)
            if left < 0:
                process.kill()
            errors = process.stderr.read(_TOLD)
            process.wait()
        finally:
            slow = not watch.is_alive()
            watch.cancel()
            process.kill()
            process.wait()
            process.stdout.close()
            process.stderr.close()
    if slow:
        raise LocalError(f"{image}: debugfs took longer than {TIMEOUT:.0f} s; is the file system sound?")
    told = [line for line in errors.decode("utf-8", "replace").splitlines() if not line.startswith("debugfs ")]
    if any("while trying to open" in line or "Filesystem not open" in line for line in told):
        raise LocalError(f"{image}: debugfs cannot read its file system: {told[0][:200]}")
    return told, left >= 0
