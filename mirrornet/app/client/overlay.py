"""`mirrornet mount --overlay DIR`: the image's root file system, writable, at the mount point.

Three mounts on each other (client/fuse/overlaid.py).  The lowest is an ordinary `mirrornet mount`, in the run folder;
the other two are made by the command itself once that is ready, and taken down again by `umount`, from the top.  They
could not be made by the image's process: it would wait for itself.

    run folder/overlay-<hash of MOUNTPOINT>/   image/   lower/   place.json

Whoever kills the image's process finds reads of what is not in memory failing, as on a disk that was pulled out, and
cannot revive them: a loop device keeps the file that it was given.  What was written is safe in DIR.  `status` says so;
`umount` takes the rest down, and the next mount has it all again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mirrornet.app.client import mounts
from mirrornet.app.client.mounts import socket_path
from mirrornet.app.control import answers, ask
from mirrornet.app.folders import run_folder
from mirrornet.app.lock import FILE as LOCK
from mirrornet.app.lock import alone
from mirrornet.client.fuse import overlaid
from mirrornet.image.contents.partitions import Partition
from mirrornet.model.errors import InputError, LocalError, MirrornetError

_NOTE: Final = "place.json"
FREE: Final = 5.0  # seconds in which a loop device lets go of its file after its file system was unmounted


@dataclass(frozen=True, slots=True)
class Overlay:
    """`mountpoint`, `folder` (DIR): absolute."""

    mountpoint: Path
    folder: Path

    @property
    def place(self) -> Path:
        """Where its lower mounts are."""
        digest = hashlib.sha256(str(self.mountpoint).encode()).hexdigest()[:16]
        return run_folder() / f"overlay-{digest}"

    @property
    def image(self) -> Path:
        """Where the image itself is mounted."""
        return self.place / "image"

    @property
    def lower(self) -> Path:
        """Where its file system is."""
        return self.place / "lower"


@contextlib.contextmanager
def standing(overlay: Overlay, name: str) -> Iterator[None]:
    """Around what mounts the image `name` and calls `put_up`; where that fails, all is taken down again.

    What can be wrong is found out before the network is asked.  Raises InputError, LocalError.
    """
    if os.geteuid() != 0:
        raise LocalError("--overlay mounts a file system of the image, which only root may do")
    point = overlay.mountpoint
    already = f"{point} has an image mounted already{{who}}: mirrornet umount {point}"
    refused = "the run folder must be writable"
    if _up(overlay):
        raise InputError(already.format(who=""))
    _check(overlay, name)
    # The image's process inherits the lock, so it holds as long as that lives.
    with alone(overlay.place, taken=already, refused=refused):
        try:
            for each in (overlay.image, overlay.lower):
                each.mkdir(exist_ok=True)
            note = {"mountpoint": str(point), "folder": str(overlay.folder)}
            (overlay.place / _NOTE).write_text(json.dumps(note))
        except OSError as error:
            raise LocalError(f"{overlay.place}: {error.strerror}: {refused}") from None
        try:
            yield
        except BaseException:
            with contextlib.suppress(MirrornetError):
                take_down(overlay, force=True)
            raise


def _check(overlay: Overlay, name: str) -> None:
    """Raises InputError where the mount point or the folder is not what it should be."""
    point, folder = overlay.mountpoint, overlay.folder
    if point.is_symlink():
        raise InputError(f"{point} is a link: name the folder that it leads to")
    if overlaid.mounted(point):
        raise InputError(f"{point}: something is mounted there already")
    try:
        if entries := sorted(path.name for path in point.iterdir()):
            raise InputError(f"{point} is not empty ({entries[0]}…): mount on an empty folder")
    except FileNotFoundError:
        raise InputError(f"{point} does not exist: make it with mkdir") from None
    except OSError as error:
        raise InputError(f"{point}: {error.strerror}") from None
    bound = overlaid.bound_to(folder)
    if bound is not None and bound.image != name:
        raise InputError(f"--overlay {folder}: belongs to the image {bound.image}: name another folder")
    if other := next((each for each in every() if each.folder == folder and _up(each)), None):
        raise InputError(f"--overlay {folder}: is in use at {other.mountpoint}")


def _up(overlay: Overlay) -> bool:
    """Whether any of it is mounted."""
    over = overlaid.overlay_at(overlay.mountpoint, overlay.lower)
    return over or overlaid.mounted(overlay.lower) or overlaid.mounted(overlay.image)


def put_up(overlay: Overlay) -> None:
    """Mounts the file system and the overlay over the image, which is mounted.  Raises MirrornetError."""
    status = ask(socket_path(overlay.image), {"do": "status"})
    if "error" in status:
        raise LocalError(str(status["error"]))
    ours = overlaid.Bound(status["repository"], status["image"], status["version"])
    overlaid.check_bound(overlay.folder, ours)
    file = overlay.image / f"{ours.image}.raw"
    root = _root(file)
    overlaid.loop_mount(file, root.offset, root.size, overlay.lower)
    overlaid.bind(overlay.folder, ours)
    overlaid.overlay_mount(f"{status['source']}#{ours.image}", overlay.lower, overlay.folder, overlay.mountpoint)


def _root(image: Path) -> Partition:
    """The image's root file system.  Raises LocalError."""
    from mirrornet.image.contents.sbom import file_systems, ranked  # which `status` and `umount` do without

    try:
        systems = file_systems(image)
        if len(systems) > 1:
            systems = [partition for partition, _ in ranked(image)]
    except OSError as error:
        raise LocalError(f"{image}: {error.strerror}") from None
    return systems[0] if systems else Partition(0, image.stat().st_size)  # mount(8) may know it


def take_down(overlay: Overlay, *, force: bool) -> None:
    """Unmounts all of it, from the top.  Raises LocalError, naming who holds it."""
    while overlaid.overlay_at(overlay.mountpoint, overlay.lower):
        overlaid.unmount(overlay.mountpoint, lazy=force)
    if overlaid.mounted(overlay.lower):
        overlaid.unmount(overlay.lower, lazy=force)
    until = time.monotonic() + FREE
    while True:
        try:
            mounts.umount(overlay.image, force=force)
            break
        except InputError:  # it was not mounted, or is no more
            break
        except LocalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
    _forget(overlay)


def _forget(overlay: Overlay) -> None:
    for name in (_NOTE, LOCK):
        (overlay.place / name).unlink(missing_ok=True)
    for folder in (overlay.image, overlay.lower, overlay.place):
        with contextlib.suppress(OSError):
            folder.rmdir()


def at(mountpoint: Path) -> Overlay | None:
    """The overlay at `mountpoint` (absolute), or what is left of it; None where there was none."""
    overlay = Overlay(mountpoint, Path())
    if not overlay.place.is_dir():
        return None
    return next((each for each in every() if each.mountpoint == mountpoint), overlay)


def every() -> list[Overlay]:
    """All overlays of this machine."""
    found = []
    for note in sorted(run_folder().glob(f"overlay-*/{_NOTE}")):
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            told: Any = json.loads(note.read_text())
            found.append(Overlay(Path(told["mountpoint"]), Path(told["folder"])))
    return found


# -- what the verbs do, with overlays as without


def umount(mountpoint: Path, *, force: bool) -> None:
    """As `mounts.umount`, with all that lies over the image."""
    overlay = at(mountpoint)
    if overlay is None:
        mounts.umount(mountpoint, force=force)
    else:
        take_down(overlay, force=force)


def statuses(mountpoint: Path | None, *, refresh: bool = False) -> list[dict[str, Any]]:
    """As `mounts.statuses`; an overlay's is its image's, with `overlay`, where what is written is kept."""
    overlays = every()
    if mountpoint is not None:
        overlay = next((each for each in overlays if each.mountpoint == mountpoint), None)
        if overlay is not None and not answers(socket_path(overlay.image)):
            raise InputError(f"{mountpoint}: {_gone(overlay)}")
        seat = overlay.image if overlay is not None else mountpoint
        return [_over(each, overlays) for each in mounts.statuses(seat, refresh=refresh)]
    found = [_over(each, overlays) for each in mounts.statuses(None, refresh=refresh)]
    known = {each["mountpoint"] for each in found}
    lost = [each for each in overlays if str(each.mountpoint) not in known and _up(each)]
    return found + [{"mountpoint": str(each.mountpoint), "error": _gone(each)} for each in lost]


def _over(status: dict[str, Any], overlays: list[Overlay]) -> dict[str, Any]:
    for overlay in overlays:
        if status["mountpoint"] == str(overlay.image):
            return {**status, "mountpoint": str(overlay.mountpoint), "overlay": str(overlay.folder)}
    return status


def _gone(overlay: Overlay) -> str:
    return (
        "the image's process is gone, so what is not in memory cannot be read; what was written is in "
        f"{overlay.folder}: mirrornet umount {overlay.mountpoint}"
    )
