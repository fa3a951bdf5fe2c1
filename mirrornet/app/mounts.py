"""What `umount` and `status` do: they find the mounts of this machine and speak to their processes.

A mount is found by its control socket, not by its mount point: looking at a mount point may wait for the very process
that is in trouble.  None of the client's machinery is imported here, so both verbs are quick.  A socket nobody
listens at was left by a process that was killed; it is removed on sight.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any, Final

from mirrornet.app.control import answers, ask
from mirrornet.app.folders import run_folder
from mirrornet.client import mountpoint as points
from mirrornet.model.errors import InputError, LocalError, MirrornetError
from mirrornet.model.units import format_duration, format_size

LEAVE: Final = 40.0  # seconds for an unmount: the system's umount has 20
GONE: Final = 10.0  # seconds for the process to end after that


def socket_path(mountpoint: Path) -> Path:
    """Where the mount at `mountpoint` (absolute) listens."""
    digest = hashlib.sha256(str(mountpoint).encode()).hexdigest()[:16]
    return run_folder() / f"mount-{digest}.sock"


def umount(mountpoint: Path, *, force: bool) -> None:
    """Unmounts `mountpoint` (absolute).  With `force` whoever holds it gets errors from then on.

    Raises LocalError, naming the holders, where somebody holds it; InputError where nothing of ours is mounted there.
    """
    path = socket_path(mountpoint)
    if path.exists() and answers(path):
        answer = ask(path, {"do": "leave", "force": force}, LEAVE)
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
    held = points.holders(mountpoint)
    who = "; ".join(held) if held else "somebody this user may not see"
    raise LocalError(f"{mountpoint} is held by {who}: end that first, or use --force")


def _wait_gone(path: Path) -> None:
    until = time.monotonic() + GONE
    while path.exists() and time.monotonic() < until:
        time.sleep(0.02)


def _known() -> str:
    known = sorted({mount.mountpoint for mount in points.mounts()})
    return f" (mounts: {', '.join(known)})" if known else ""


def statuses(mountpoint: Path | None) -> list[dict[str, Any]]:
    """What each mount tells of itself; of `mountpoint` (absolute) alone where given.

    Raises InputError where nothing is mounted there.
    """
    if mountpoint is not None:
        path = socket_path(mountpoint)
        if not path.exists() or not answers(path):
            stale = points.mounted_at(mountpoint) is not None
            why = "its process is gone: mirrornet umount it" if stale else "nothing of mirrornet is mounted there"
            raise InputError(f"{mountpoint}: {why}" + ("" if stale else _known()))
        return [ask(path, {"do": "status"})]
    found = []
    for path in sorted(run_folder().glob("mount-*.sock")):
        if not answers(path):
            path.unlink(missing_ok=True)
            continue
        try:
            found.append(ask(path, {"do": "status"}))
        except MirrornetError as error:
            found.append({"mountpoint": str(path), "error": str(error)})
    return found


def text(status: dict[str, Any]) -> str:
    """One mount's status as a person reads it."""
    if "mirrors" not in status:
        return f"{status['mountpoint']}: {status.get('error', 'not ready yet')}"
    reads, cache = status["reads"], status["cache"]
    lines = [
        f"{status['mountpoint']}: {status['image']} version {status['version']} from {status['source']}"
        + (", offline" if status["offline"] else "")
        + (", leaving" if status["leaving"] else ""),
        f"  pid {status['pid']}, up {format_duration(status['uptime'])}, {status['open_handles']} open",
    ]
    lines += [f"  warning: {warning}" for warning in status["warnings"]]
    if status["network_down"]:
        lines.append("  no mirror answers: the network seems to be down")
    if status["name_server"]:
        lines.append(f"  name server: {status['name_server']}")
    for mirror in status["mirrors"]:
        known = "" if mirror["first_byte_ms"] is None else f", first byte {mirror['first_byte_ms']:.0f} ms"
        if mirror["rate"]:
            known += f", {format_size(mirror['rate'])}/s"
        blames = ", ".join(f"{count} {blame}" for blame, count in mirror["blames"].items())
        lines.append(
            f"  mirror {mirror['name']} ({mirror['url']}): {mirror['state']}{known}, {mirror['blocks']} blocks"
            + ("" if mirror["offered"] else ", no longer offered by the name server")
            + (f"; blamed: {blames}; last: {mirror['last_blame']}" if blames else "")
        )
    lines.append(
        f"  blocks read: {reads['memory']} from memory, {reads['disk']} from the disk cache, {reads['network']} from "
        f"mirrors, {reads['zero']} of zeroes; {status['hedges']} hedges, {reads['errors']} errors"
    )
    lines.append(f"  longest stall of a read: {format_duration(reads['longest_stall'])}")
    if reads["last_error"]:
        lines.append(f"  last error: {reads['last_error']}")
    lines.append(
        f"  cache {cache['folder']}: {format_size(cache['bytes'])} of {format_size(cache['quota'])}, "
        f"{cache['corrupt']} corrupt blocks found, {cache['evicted']} gone for room"
        + (f"; refuses: {cache['refused']}" if cache["refused"] else "")
    )
    return "\n".join(lines)
