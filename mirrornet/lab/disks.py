"""Small disks in a lab, to be filled: a mirror's, a client's cache or state.  No disk of this machine ever is.

A disk is a tmpfs of a fixed size, mounted below the lab's folder, so it is detached with all else of the lab, after a
crash too.  It is full as any disk is: writes fail with ENOSPC, what was written before stays readable.

Rejected: a quota (few file systems have them on), an image file on a loop device (more to remove, and nothing gained).
"""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path
from typing import Final

from mirrornet.lab.network import Network
from mirrornet.model.errors import InputError, LocalError

LARGEST: Final = 1 << 30  # bytes; it is memory
_FILLER: Final = ".filler"
_PIECE: Final = bytes(1 << 20)


class Disk:
    """A disk of `size` bytes, mounted at the empty folder `folder`, which lies in the lab's folder.

    Raises InputError where it would be elsewhere or larger than LARGEST, LocalError where it cannot be mounted.
    """

    def __init__(self, network: Network, folder: Path, size: int) -> None:
        if network.folder not in folder.parents:
            raise InputError(f"lab: {folder}: a lab's disks are below {network.folder}")
        if not 0 < size <= LARGEST:
            raise InputError(f"lab: a disk of {size} bytes: 1 to {LARGEST} are possible")
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "lab", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LocalError(f"lab: {folder}: {done.stderr.strip()}")

    @property
    def free(self) -> int:
        """Bytes that can still be written."""
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def fill(self) -> None:
        """From now on nothing can be written to it, until empty()."""
        piece = _PIECE
        with (self.folder / _FILLER).open("ab", buffering=0) as file:
            while piece:  # it ends, for the disk is small: see above
                try:
                    file.write(piece)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    piece = piece[: len(piece) // 2]

    def empty(self) -> None:
        """What filled it is gone; all else stays."""
        (self.folder / _FILLER).unlink(missing_ok=True)
