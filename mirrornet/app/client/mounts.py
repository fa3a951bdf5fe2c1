"""What `umount` and `status` do: they find the mounts of this machine and speak to their processes.

A mount is found by its control socket, not by its mount point: looking at a mount point may wait for the very process
that is in trouble.  None of the client's machinery is imported here, so both verbs are quick.  A socket nobody
listens at was left by a process that was killed; it is removed on sight, but for one that is so young that its
process may be between making it and listening at it.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from pathlib import Path
from typing import Any, Final

from mirrornet.app.control import Ended, answers, ask
from mirrornet.app.folders import run_folder
from mirrornet.client.fuse import mountpoint as points
from mirrornet.model.errors import InputError, LocalError, MirrornetError

LEAVE: Final = 40.0  # seconds for an unmount: the system's umount has 20
SOON: Final = 10.0  # seconds for an answer that waits for no network
LOOK: Final = 30.0  # seconds for one that looks for newer versions; the mount gives that 20
GONE: Final = 10.0  # seconds for the process to end after that
YOUNG: Final = 60.0  # seconds of a socket's life before nobody at it means that its process is gone


def socket_path(mountpoint: Path) -> Path:
    """Where the mount at `mountpoint` (absolute) listens."""
    digest = hashlib.sha256(str(mountpoint).encode()).hexdigest()[:16]
    return run_folder() / f"mount-{digest}.sock"


def umount(mountpoint: Path, *, force: bool) -> None:
    """Unmounts `mountpoint` (absolute).  With `force` whoever holds it gets errors from then on.

    Raises LocalError, naming the holders, where somebody holds it; InputError where nothing of ours is mounted there.
    """
    path = socket_path(mountpoint)
    held: list[str] = []
    if path.exists() and answers(path):
        try:
            answer = _ask(mountpoint, path, {"do": "leave", "force": force}, LEAVE)
        except Ended:  # it was about to end anyway
            _wait_gone(path)
            if points.mounted_at(mountpoint) is None or points.detach(mountpoint, lazy=force):
                return
            answer = {}
        held += answer.get("held", [])  # of an NBD export its own process tells
        if "error" in answer:
            raise LocalError(str(answer["error"]))
        if answer.get("left"):
            _wait_gone(path)
            return
    elif points.mounted_at(mountpoint) is None:
        path.unlink(missing_ok=True)
        raise InputError(f"{mountpoint}: nothing of mirrornet is mounted there" + _known())
    elif points.detach(mountpoint, lazy=force):  # its process was killed
        path.unlink(missing_ok=True)
        return
    held = held or points.holders(mountpoint)
    who = "; ".join(held) if held else "somebody this user may not see"
    raise LocalError(f"{mountpoint} is held by {who}: end that first, or use --force")


def _wait_gone(path: Path) -> None:
    until = time.monotonic() + GONE
    while path.exists() and time.monotonic() < until:
        time.sleep(0.02)


def _known() -> str:
    known = sorted({mount.mountpoint for mount in points.mounts()})
    return f" (mounts: {', '.join(known)})" if known else ""


def statuses(mountpoint: Path | None, *, refresh: bool = False) -> list[dict[str, Any]]:
    """What each mount tells of itself; of `mountpoint` (absolute) alone where given.

    `refresh`: it looks for newer versions before it answers.  Raises InputError where nothing is mounted there.
    """
    request = {"do": "status", "refresh": refresh}
    patience = LOOK if refresh else SOON
    if mountpoint is not None:
        path = socket_path(mountpoint)
        if not path.exists() or not answers(path):
            stale = points.mounted_at(mountpoint) is not None
            why = "its process is gone: mirrornet umount it" if stale else "nothing of mirrornet is mounted there"
            raise InputError(f"{mountpoint}: {why}" + ("" if stale else _known()))
        return [{"mountpoint": str(mountpoint)} | _ask(mountpoint, path, request, patience)]
    found = []
    places = {socket_path(place): place for place in (Path(mount.mountpoint) for mount in points.mounts())}
    for path in sorted(run_folder().glob("mount-*.sock")):
        if not answers(path):
            _tidy(path)
            continue
        try:
            found.append({"mountpoint": str(path)} | ask(path, request, patience))
        except MirrornetError as error:
            found.append({"mountpoint": str(places.get(path, path)), "error": str(error)})
    return found


def _ask(mountpoint: Path, path: Path, request: dict[str, Any], patience: float) -> dict[str, Any]:
    """As `ask`; who gets no answer is told of which mount, and what helps."""
    try:
        return ask(path, request, patience)
    except Ended:
        raise
    except LocalError as error:
        raise LocalError(f"{mountpoint}: {error}: if that lasts, kill -9 it, and umount again") from None


def _tidy(path: Path) -> None:
    with contextlib.suppress(OSError):  # it has gone meanwhile, or is not ours
        if time.time() - path.stat().st_mtime > YOUNG:
            path.unlink()
