"""Looks at this machine; machine.py judges."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mirrornet.app.control import answers
from mirrornet.app.doctor.machine import Machine, Unit
from mirrornet.app.lock import FILE
from mirrornet.app.server.voices.overriding import SOCKET
from mirrornet.model.table import WorldTable

SYSTEMD: Final = Path("/run/systemd/system")
UNIT: Final = "mirrornet-serve.service"
_WANTED: Final = "LoadState,ActiveState,UnitFileState,NRestarts,Result"


def look(table: WorldTable | str | None, state: Path, unsound: Sequence[str]) -> Machine:
    """What there is.  `table`: opened, or why it cannot be; `unsound`: warnings about the zone file."""
    there = state.is_dir()
    told: tuple[float, int] | str | None = None
    if isinstance(table, WorldTable):
        told = time.time() - table.created, sum(len(ranges.starts) for ranges in table.ranges.values())
    else:
        told = table
    return Machine(
        table=told,
        state=str(state),
        free=shutil.disk_usage(state).free if there else None,
        writable=there and os.access(state, os.W_OK),
        files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        fuse=_fuse(),
        unit=_unit(),
        serving=_serving(state),
        unsound=tuple(unsound),
    )


def _fuse() -> str:
    if not Path("/dev/fuse").exists():
        return "there is no /dev/fuse (modprobe fuse)"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "/dev/fuse may not be opened by this user"
    if shutil.which("fusermount3", path=os.environ.get("PATH", "") + ":/usr/bin:/bin") is None:
        return "there is no fusermount3 (Debian: fuse3)"
    return ""


def _unit() -> Unit | None:
    systemctl = shutil.which("systemctl")
    if systemctl is None or not SYSTEMD.is_dir():
        return None
    try:
        done = subprocess.run(
            [systemctl, "show", UNIT, "-p", _WANTED], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def _serving(state: Path) -> bool:
    """Whether a server answers at the state folder's socket, or holds its lock.

    The lock by the kernel's list, for to try it would be to hold it; on overlayfs the list names another device.
    """
    if answers(state / SOCKET):
        return True
    try:
        file = (state / FILE).stat()
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return False
    device = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
    return any(words[1:2] == ["FLOCK"] and device in words for words in map(str.split, lines))
