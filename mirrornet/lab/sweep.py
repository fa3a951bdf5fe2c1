"""Removing what a lab left: processes in its namespaces, mounts and files under its folder.

Whatever runs in one of a lab's namespaces belongs to the lab, however it was started and whoever its parent is now; so
nothing has to be registered, and a daemon of a daemon is found as well.  A namespace is known by its inode.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from mirrornet.lab.namespaces import cookie
from mirrornet.model.errors import LocalError

PATIENCE: Final = 5.0  # seconds for killed processes to be gone
_MNT_DETACH: Final = 2
_libc = ctypes.CDLL(None, use_errno=True)


def inside(inodes: Collection[int]) -> Iterator[int]:
    """The processes in the network namespaces with these inodes, but for the caller."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if (entry / "ns/net").stat().st_ino in inodes:
                    yield int(entry.name)


def kill_all(inodes: Collection[int], patience: float = PATIENCE) -> list[int]:
    """Kills every process in these namespaces; those that are still there after `patience` seconds are returned."""
    end = time.monotonic() + patience
    while left := list(inside(inodes)):
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        if time.monotonic() > end:
            break
        time.sleep(0.02)
    return left


def unmount_below(folder: Path) -> list[str]:
    """Detaches every mount at or below `folder`, the deepest first; returns what was mounted."""
    found = []
    for line in Path("/proc/self/mounts").read_text("utf-8", "surrogateescape").splitlines():
        point = line.split(" ")[1].encode("utf-8", "surrogateescape").decode("unicode_escape")
        if Path(point) == folder or folder in Path(point).parents:
            found.append(point)
    for point in reversed(found):
        _libc.umount2(os.fsencode(point), _MNT_DETACH)
    return found


def sweep_leftovers(records: Path) -> None:
    """Removes what labs left whose forwarder was killed; `records` holds a file for each lab.

    The inode of a namespace that is gone is given to the next one made, so a process counts as a leftover only if the
    kernel's own number of its namespace is the one on record.
    """
    for record in records.glob("*.json"):
        try:
            known = json.loads(record.read_text())
            if started(known["pid"]) == known["started"]:
                continue
            cookies = {number for number in known["cookies"] if number}
            ours = {inode for inode in known["inodes"] if _cookie_of(inode) in cookies}
            sweep(ours, Path(known["folder"]))
        except (ValueError, KeyError, TypeError, OSError):
            pass  # half-written or somebody else's: nothing in it can be believed
        record.unlink(missing_ok=True)


def started(process: int) -> str:
    """When `process` began, in the kernel's ticks: with its number, it names one process for good.

    "" where there is none, or only its zombie.
    """
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def _cookie_of(inode: int) -> int:
    for process in inside([inode]):
        with contextlib.suppress(OSError, LocalError):
            descriptor = os.open(f"/proc/{process}/ns/net", os.O_RDONLY)
            try:
                return cookie(descriptor)
            finally:
                os.close(descriptor)
    return 0


def sweep(inodes: Collection[int], folder: Path) -> None:
    """Ends all that runs in the namespaces, takes mounts below `folder` away, and then the folder."""
    kill_all(inodes)
    unmount_below(folder)
    shutil.rmtree(folder, ignore_errors=True)
