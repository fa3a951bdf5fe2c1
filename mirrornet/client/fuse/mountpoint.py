"""A mount point as the kernel and other processes see it: free, stale, held by somebody, tuned.

`prepare` makes sure that nothing is hidden by a mount: the folder is there, empty, and no mount of a dead client lies
on it ("Transport endpoint is not connected"; such a one is detached).  `holders` says who keeps a mount busy, by
/proc and /sys alone: open files, mapped files, working directories, and loop devices, which no process holds and
which fuser therefore does not find.

`tune` raises two limits of the kernel, where root may.  It reads ahead 128 KiB through FUSE, which cuts a 256 KiB
block in two (0.4–0.7 GB/s against 4.0 GB/s at 1,024 KiB, measured with empty reads), and keeps 12 background reads
in flight, which is what a link of 40 ms needs for 200 Mbit/s only when nothing goes wrong.  While a boot's profile is
replayed the kernel's guesses are the worse ones: it then reads ahead 32 KiB (BOOTING), since a read that runs on into a
block that no boot needs is not answered before that block is here.  A boot of 18 MB so fetched 24.5 MB and waited for
50 blocks by themselves.

Nothing here looks at a path below a mount point: that would wait for the client it is about.  Nor may a child of ours
close what it inherits before it executes its program: where that is a file of our own mount (the first read's), the
close waits for us, while we wait for the child, in vfork(2) and with the interpreter's lock.  So system calls do what
mount(8) would, and fusermount3, which alone may unmount for a user, is run with `close_fds=False`: the kernel closes
what is not to be inherited, after vfork(2) has returned.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mirrornet.model.errors import InputError, LocalError

log = logging.getLogger(__name__)

TYPE: Final = "fuse.mirrornet"
READ_AHEAD: Final = 1024  # KiB
BOOTING: Final = 32  # KiB
MAX_BACKGROUND: Final = 128  # reads that the kernel keeps in flight
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8  # linux/fs.h
_CONNECTIONS: Final = Path("/sys/fs/fuse/connections")


@dataclass(frozen=True, slots=True)
class Mounted:
    """One mirrornet mount as /proc/self/mountinfo lists it.  `device` is "major:minor"."""

    mountpoint: str
    source: str
    device: str


def mounts() -> list[Mounted]:
    """All mirrornet mounts of this mount namespace; the last one of a folder is the one seen."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(kind) > 1 and kind[0] == TYPE:
            found.append(Mounted(_unescape(fields[4]), _unescape(kind[1]), fields[2]))
    return found


def mounted_at(mountpoint: Path) -> Mounted | None:
    """The mirrornet mount at `mountpoint` (absolute), or None."""
    path = str(mountpoint)
    return next((mount for mount in reversed(mounts()) if mount.mountpoint == path), None)


def prepare(mountpoint: Path) -> None:
    """Makes `mountpoint` (absolute) ready to be mounted on, detaching what a dead client left there.

    Raises InputError where it is no folder, not empty or mounted already; LocalError without /dev/fuse.
    """
    if not Path("/dev/fuse").exists():
        raise LocalError("there is no /dev/fuse here: load the kernel's module (modprobe fuse), as root")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        raise LocalError("/dev/fuse may not be opened by this user: run as root, or let it (chmod 666 /dev/fuse)")
    for _ in range(8):  # mounts may lie on each other
        try:
            entries = [entry.name for entry in mountpoint.iterdir()]
            break
        except FileNotFoundError:
            raise InputError(f"{mountpoint} does not exist: make it with mkdir") from None
        except NotADirectoryError:
            raise InputError(f"{mountpoint} is not a folder") from None
        except OSError as error:
            if error.errno not in (errno.ENOTCONN, errno.EIO, errno.ECONNABORTED) or mounted_at(mountpoint) is None:
                raise InputError(f"{mountpoint}: {error.strerror}") from None
            log.info("%s: detaching what a dead client left mounted there", mountpoint)
            detach(mountpoint, lazy=True)
    else:
        raise LocalError(f"{mountpoint}: dead mounts lie on each other there: umount -l {mountpoint}")
    if mounted_at(mountpoint) is not None:
        raise InputError(f"{mountpoint} has an image mounted already: mirrornet umount {mountpoint}")
    if entries:
        raise InputError(f"{mountpoint} is not empty ({entries[0]}…): mount on an empty folder")


def detach(mountpoint: Path, *, lazy: bool) -> bool:
    """Unmounts; False where somebody holds it.  `lazy`: at once, whoever holds it.  Waits, so call it in a thread.

    Raises LocalError where the system refuses for another reason.
    """
    if os.geteuid() == 0:
        return _umount2(mountpoint, lazy=lazy)
    command = ["fusermount3", "-u", *(["-z"] if lazy else []), "--", str(mountpoint)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, close_fds=False)
    except FileNotFoundError:
        raise LocalError("fusermount3 is not installed (Debian: fuse3)") from None
    except subprocess.TimeoutExpired:
        return False
    if done.returncode == 0 or mounted_at(mountpoint) is None:
        return True
    if "busy" in done.stderr:
        return False
    raise LocalError(f"{mountpoint}: {' '.join(done.stderr.split())}")


def _umount2(mountpoint: Path, *, lazy: bool) -> bool:
    system = ctypes.CDLL(None, use_errno=True)
    if system.umount2(os.fsencode(mountpoint), _UMOUNT_NOFOLLOW | (_MNT_DETACH if lazy else 0)) == 0:
        return True
    error = ctypes.get_errno()
    if mounted_at(mountpoint) is None:
        return True
    if error == errno.EBUSY:
        return False
    raise LocalError(f"{mountpoint}: {os.strerror(error)}")


def holders(mountpoint: Path) -> list[str]:
    """Who holds the mount, one line each, as far as this user may see."""
    found: dict[str, None] = {}
    for line in _holding_processes(str(mountpoint)):
        found[line] = None
    for device in sorted(Path("/sys/block").glob("loop*/loop/backing_file")):
        try:
            backing = device.read_text().rstrip("\n")
        except OSError:
            continue
        if _below(backing, str(mountpoint)):
            name = f"/dev/{device.parts[3]}"
            used = _mounted_from(name)
            found[f"{name}, whose backing file is {backing}" + (f", mounted on {', '.join(used)}" if used else "")] = (
                None
            )
    return list(found)


def _holding_processes(mountpoint: str) -> Iterator[str]:
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            name = (process / "comm").read_text().strip()
            for link in ("cwd", "root"):
                if _below(_link(process / link), mountpoint):
                    yield f"process {process.name} ({name}), whose working directory is in it"
            for descriptor in (process / "fd").iterdir():
                path = _link(descriptor)
                if _below(path, mountpoint):
                    yield f"process {process.name} ({name}), which has {path} open"
            for line in (process / "maps").read_text(errors="replace").splitlines():
                path = line.partition("/")[1] + line.partition("/")[2]
                if path and _below(path, mountpoint):
                    yield f"process {process.name} ({name}), which has {path} mapped"
        except OSError:  # it has ended, or is somebody else's
            continue


def tune(mountpoint: Path, read_ahead: int = READ_AHEAD) -> None:
    """Sets the kernel's limits for this mount where we may; what fails is only slower.  Call it in a thread.

    `read_ahead` in KiB, for files that are opened from now on.
    """
    mount = mounted_at(mountpoint)
    if mount is None or os.geteuid() != 0:
        return
    _set(Path(f"/sys/class/bdi/{mount.device}/read_ahead_kb"), read_ahead)
    connection = _CONNECTIONS / mount.device.partition(":")[2]
    if not connection.exists() and _CONNECTIONS.is_dir():
        # systemd mounts it everywhere; containers and small systems do without.
        ctypes.CDLL(None).mount(b"fusectl", os.fsencode(_CONNECTIONS), b"fusectl", 0, None)
    _set(connection / "max_background", MAX_BACKGROUND)
    _set(connection / "congestion_threshold", MAX_BACKGROUND * 3 // 4)


def _set(file: Path, value: int) -> None:
    try:
        if int(file.read_text()) != value:
            file.write_text(str(value))
    except (OSError, ValueError) as error:
        log.debug("%s stays as it is: %s", file, error)


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def _below(path: str, mountpoint: str) -> bool:
    return path == mountpoint or path.startswith(mountpoint.rstrip("/") + "/")


def _mounted_from(device: str) -> list[str]:
    rows = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    return [_unescape(row[1]) for row in rows if row[0] == device]


def _unescape(text: str) -> str:
    """proc(5) writes space, tab, newline and backslash as three octal digits."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
