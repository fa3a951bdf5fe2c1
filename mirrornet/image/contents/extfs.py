"""One file out of an ext2, 3 or 4 file system that lies somewhere in an image, by debugfs of e2fsprogs.

debugfs opens read-only, needs no root and mounts nothing.  It gets the image as an open file, so a name with a `?`
(debugfs reads options behind it) or a file that is replaced meanwhile do no harm.  What a journal still holds is not
replayed: an image has to be unmounted cleanly to be published anyway.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Final

from mirrornet.model.errors import LocalError

TIMEOUT: Final = 60.0  # seconds for one file
_TOLD: Final = 4096  # bytes of what it complains of


def debugfs() -> str | None:
    """Where debugfs is, if it is installed (in /sbin, which is not everybody's PATH)."""
    return shutil.which("debugfs", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def read_file(image: Path, offset: int, path: str, limit: int) -> bytes | None:
    """The file `path` of the file system at byte `offset` of `image`; None where it is not there.

    `limit`: bytes; a longer file is as good as none.  Raises LocalError where debugfs is missing, cannot read the file
    system, or takes longer than a minute.
    """
    program = debugfs()
    if program is None:
        raise LocalError("debugfs is missing: install e2fsprogs")
    with image.open("rb") as file:
        process = subprocess.Popen(
            [program, "-R", f"cat {path}", f"/proc/self/fd/{file.fileno()}?offset={offset}"],
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
            data = process.stdout.read(limit + 1)
            if len(data) > limit:
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
    return data if not told and len(data) <= limit else None
