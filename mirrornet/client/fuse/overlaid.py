"""A file system of an image, made writable: its loop mount, and an overlayfs over that.

    MOUNTPOINT   overlayfs        what is seen, and written
      DIR/upper, DIR/work         what was written, on a disk of this machine
      lower      ext4, read-only  by a loop device over
      image/     FUSE             NAME.raw

DIR is worth something over that one image version only: overlayfs keeps whole files and the names of those removed, and
over other files below that makes a system which nobody ever had.  So DIR/image.json says which version it is for.

Mounting is mount(2) itself where mount(8) would take a comma or a colon in a folder's name for its own.  All of this
waits for the process that serves the image, so it must not be called from there.

Rejected: a device mapper snapshot (keeps blocks, so a file system check writes the whole journal, and its space must be
said beforehand), overlayfs inside the image's process (a loop mount there waits for itself).
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import re
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from mirrornet.client.fuse.mountpoint import holders
from mirrornet.image.files import replacing
from mirrornet.image.small import read_small
from mirrornet.model.errors import InputError, LocalError

NOTE: Final = "image.json"
_NOTE_LIMIT: Final = 4096
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8  # linux/fs.h
_PATIENCE: Final = 60.0  # seconds for mount(8): it reads a few blocks, which may come from far


@dataclass(frozen=True, slots=True)
class Bound:
    """The image version that a folder of changes belongs to.  `repository`: its id."""

    repository: str
    image: str
    version: int


def bound_to(folder: Path) -> Bound | None:
    """What `folder` belongs to; None where it is new.  Raises InputError where it is something else."""
    note = folder / NOTE
    try:
        found: Any = json.loads(read_small(note, _NOTE_LIMIT))
        return Bound(str(found["repository"]), str(found["image"]), int(found["version"]))
    except FileNotFoundError:
        pass
    except (OSError, ValueError, TypeError, KeyError):
        raise InputError(f"{note}: cannot be read: name another folder for --overlay") from None
    try:
        names = sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"--overlay {folder}: {error.strerror}") from None
    if names:
        raise InputError(f"--overlay {folder}: holds {names[0]}, which is not ours: name an empty folder")
    return None


def check_bound(folder: Path, ours: Bound) -> None:
    """Raises InputError where `folder` belongs to another version than `ours`, with what to do."""
    bound = bound_to(folder)
    if bound is None or bound == ours:
        return
    if (bound.repository, bound.image) != (ours.repository, ours.image):
        raise InputError(f"--overlay {folder}: belongs to {bound.image} of another repository: name another folder")
    raise InputError(
        f"--overlay {folder}: what was written there belongs to {bound.image} version {bound.version}, this is version "
        f"{ours.version}: add --version {bound.version}, or name another folder and start afresh"
    )


def bind(folder: Path, ours: Bound) -> None:
    """Makes `folder` ready for changes to `ours`.  Raises LocalError."""
    try:
        for name in ("upper", "work"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        if not (folder / NOTE).exists():
            with replacing(folder / NOTE) as file:
                file.write(json.dumps(asdict(ours), indent=1).encode() + b"\n")
    except OSError as error:
        raise LocalError(f"--overlay {folder}: {error.strerror}: it must be writable") from None


def loop_mount(image: Path, offset: int, size: int, lower: Path) -> None:
    """Mounts the file system at byte `offset` of `image`, `size` bytes long, read-only on `lower`.

    Raises LocalError.
    """
    options = f"loop,ro,offset={offset},sizelimit={size}" if offset else "loop,ro"
    command = ["mount", "-o", options, "--", str(image), str(lower)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE, check=False, env={**os.environ, "LC_ALL": "C"}
        )
    except FileNotFoundError:
        raise LocalError("mount(8) is not installed (Debian: mount)") from None
    except subprocess.TimeoutExpired:
        raise LocalError(f"the file system in the image could not be read within {_PATIENCE:.0f} s") from None
    if done.returncode:
        told = done.stderr.strip().splitlines() or ["it does not say why"]
        raise LocalError(f"the file system in the image cannot be mounted: {told[0].removeprefix('mount: ')}")


def overlay_mount(source: str, lower: Path, folder: Path, mountpoint: Path) -> None:
    """Mounts an overlayfs of `lower` and `folder` on `mountpoint`.  Raises LocalError."""
    parts = {"lowerdir": lower, "upperdir": folder / "upper", "workdir": folder / "work"}
    data = ",".join(f"{key}={_escaped(str(path))}" for key, path in parts.items())
    system = ctypes.CDLL(None, use_errno=True)
    if system.mount(os.fsencode(source), os.fsencode(mountpoint), b"overlay", 0, os.fsencode(data)) == 0:
        return
    number = ctypes.get_errno()
    why = os.strerror(number)
    if number == errno.ENODEV:
        why = "this kernel has no overlayfs (modprobe overlay)"
    elif number in (errno.EINVAL, errno.ENOTSUP):
        why = f"overlayfs cannot write to {folder}: it must be on a local disk (ext4, xfs, btrfs, tmpfs)"
    raise LocalError(f"{mountpoint}: {why}")


def _escaped(path: str) -> str:
    for character in "\\,:":
        path = path.replace(character, f"\\{character}")
    return path


@dataclass(frozen=True, slots=True)
class Row:
    """A mount of this mount namespace: where, the type of what is mounted, and that file system's options."""

    mountpoint: str
    kind: str
    options: str


def rows() -> list[Row]:
    """All mounts, in their order (proc(5), mountinfo)."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        found.append(Row(_plain(fields[4]), kind[0], _plain(kind[-1])))
    return found


def mounted(point: Path) -> bool:
    """Whether anything is mounted at `point` itself (absolute)."""
    return any(row.mountpoint == str(point) for row in rows())


def overlay_at(point: Path, lower: Path) -> bool:
    """Whether what is seen at `point` is an overlay over `lower`; not where somebody mounted something over that."""
    top = next((row for row in reversed(rows()) if row.mountpoint == str(point)), None)
    wanted = f"lowerdir={_escaped(str(lower))}"
    return top is not None and top.kind == "overlay" and wanted in top.options.split(",")


def unmount(point: Path, *, lazy: bool) -> None:
    """Unmounts what is seen at `point`.  Raises LocalError, naming who holds it."""
    system = ctypes.CDLL(None, use_errno=True)
    if system.umount2(os.fsencode(point), _UMOUNT_NOFOLLOW | (_MNT_DETACH if lazy else 0)) == 0:
        return
    number = ctypes.get_errno()
    if number != errno.EBUSY:
        raise LocalError(f"{point}: {os.strerror(number)}")
    who = "; ".join(holders(point)) or "somebody this user may not see"
    raise LocalError(f"{point} is held by {who}: end that first, or use --force")


def _plain(text: str) -> str:
    """proc(5) writes space, tab, newline and backslash as three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
