"""What was recorded of an image's boots on this machine, for `mirrornet profile`: found, merged, written.

A mount's process holds the recording that is under way, so a mount is asked to write it down first; an image that is
not mounted is found by its name.  The files are read here, by whoever asks, and only read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mirrornet.app.client.mounts import socket_path
from mirrornet.app.client.profiles import recorded_versions
from mirrornet.app.control import answers, ask
from mirrornet.client.reading.recording import FEWEST, Recordings, combined
from mirrornet.image.files import replacing
from mirrornet.image.format.profile import MAX_PROFILE, Profile
from mirrornet.image.small import read_small
from mirrornet.image.trust.versions import check_name
from mirrornet.model.errors import InputError, LocalError
from mirrornet.model.units import format_size

_ALL = 1 << 48  # blocks: more than any image has


@dataclass(frozen=True, slots=True)
class Known:
    """Recordings of one image version, and the file they are in."""

    path: Path
    recordings: Recordings


def known(what: str, mountpoint: Path, state: Path) -> Known:
    """The recordings that `what` means: a mount at `mountpoint`, or NAME or NAME@VERSION in the folder `state`.

    Raises InputError where there are none, LocalError where a mount does not answer.
    """
    socket = socket_path(mountpoint)
    if socket.exists() and answers(socket):
        answer = ask(socket, {"do": "record"})
        if "error" in answer:
            raise LocalError(str(answer["error"]))
        if not answer.get("recordings"):
            raise InputError(f"{mountpoint}: fewer than {FEWEST} blocks were read there, so nothing has booted yet")
        return _read(Path(answer["recordings"]))
    if "/" in what:
        raise InputError(f"{mountpoint}: nothing of mirrornet is mounted there; name a mount, or an image by its NAME")
    return _read(_named(what, state))


def _named(what: str, state: Path) -> Path:
    name, _, number = what.partition("@")
    check_name(name)
    if number and not number.isdecimal():
        raise InputError(f"{what!r}: write NAME or NAME@VERSION, such as {name}@3")
    found = []
    with contextlib.suppress(OSError):
        for folder in sorted((state / "profiles").iterdir()):
            versions = [int(number)] if number else recorded_versions(folder / name)[:1]
            found += [path for path in (folder / name / f"{version}.json" for version in versions) if path.exists()]
    if not found:
        raise InputError(f"{what}: nothing was recorded of it here; mount it, boot from it, and ask again")
    if len(found) > 1:
        many = ", ".join(str(path) for path in found)
        raise InputError(f"{what}: several repositories have such an image ({many}): mount the one you mean, name that")
    return found[0]


def _read(path: Path) -> Known:
    try:
        return Known(path, Recordings.parse(read_small(path, MAX_PROFILE)))
    except OSError as error:
        raise LocalError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise LocalError(f"{path}: {error}; remove it, and it is recorded anew") from None


def written(found: Known, merge: Sequence[Path], out: Path | None) -> Profile | None:
    """The profile of `found` and of the files `merge`, written to `out` where given.

    None where they have nothing in common; InputError then, if it was to be written.
    """
    parts: list[Recordings | Profile] = [found.recordings, *(_foreign(path) for path in merge)]
    made = combined(parts, found.recordings.block_size, _ALL)
    if out is None:
        return made
    if made is None:
        raise InputError(f"{out}: is not written: most recordings have nothing in common")
    try:
        with replacing(out) as file:
            file.write(made.encode())
    except OSError as error:
        raise LocalError(f"{out}: {error.strerror}") from None
    return made


def _foreign(path: Path) -> Recordings | Profile:
    """A profile or recordings in a file that somebody named.  Raises InputError."""
    try:
        data = read_small(path, MAX_PROFILE)
    except OSError as error:
        raise InputError(f"--merge {path}: {error.strerror}") from None
    try:
        return Recordings.parse(data) if b'"mirrornet-recordings"' in data[:64] else Profile.parse(data)
    except ValueError as error:
        raise InputError(f"--merge {path}: {error}; neither a profile nor recordings of `mirrornet profile`") from None


def report(found: Known, made: Profile | None) -> dict[str, Any]:
    """What there is, as plain values."""
    unit = found.recordings.block_size
    return {
        "file": str(found.path),
        "block_size": unit,
        "recordings": [
            {
                "at": f"{datetime.fromtimestamp(run.at, UTC):%Y-%m-%d %H:%M}",
                "boot": run.boot,
                "blocks": len(run.touches),
                "seconds": max((ms for _, ms in run.touches), default=0) / 1000,
            }
            for run in found.recordings.runs
        ],
        "blocks": list(made.blocks) if made else [],
        "size": format_size(len(made.blocks) * unit) if made else "0 B",
    }
