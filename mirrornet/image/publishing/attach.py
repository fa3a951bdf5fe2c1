"""Files beside an index: profile, kernel, initrd, cmdline, sbom.  Whole under their hash, as targets of the version.

They are gathered in the staging folder before the image is cut, so that one that is missing ends a publish at once, and
put in their places after it, by renames.  A kernel that the image itself has is taken out of it, and where it was is
signed with it, for whoever publishes the next version (`mirrornet refresh`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from mirrornet.image.contents.inside import take_out
from mirrornet.image.files import replacing, sync_folder, to_disk
from mirrornet.image.publishing.boot import Content, Inside
from mirrornet.image.small import open_regular
from mirrornet.image.trust.versions import ATTACHED_KIND, Attached, file_path, target_path
from mirrornet.model.errors import InputError

MAX_ATTACHED: Final = 1 << 30  # bytes; an initrd with firmware has 200 MB
_PIECE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Gathered:
    """A file beside an index that waits in the staging folder.  `inside`: its path in the image it came from, or ""."""

    kind: str
    file: Path
    hash: bytes
    length: int
    inside: str = ""


def check_attached(attached: Mapping[str, Content]) -> None:
    """Raises InputError for a kind that is no word, and a file that is not there: found out before the work."""
    for kind, content in attached.items():
        if not ATTACHED_KIND.fullmatch(kind) or kind == "index":
            raise InputError(f"{kind!r} cannot name a file beside an image: a word of lower-case letters is wanted")
        if isinstance(content, Path):
            if not content.is_file():
                raise InputError(f"{content}: is no file; it was to be published as {kind}")
            if not os.access(content, os.R_OK):
                raise InputError(f"{content}: may not be read; it was to be published as {kind}")


def gather(image: Path, staging: Path, attached: Mapping[str, Content]) -> list[Gathered]:
    """Each of `attached`, brought to the disk in `staging`.  Raises InputError, LocalError (debugfs), OSError."""
    return [_gathered(image, staging / f"beside-{kind}", kind, content) for kind, content in sorted(attached.items())]


def _gathered(image: Path, to: Path, kind: str, content: Content) -> Gathered:
    inside = ""
    with replacing(to) as file:
        counter = _Counter(file)
        if isinstance(content, bytes):
            counter.write(content)
        elif isinstance(content, Inside):
            inside = content.path
            take_out(image, inside, counter.write, MAX_ATTACHED)
        else:
            _copy(content, counter)
        to_disk(file)
    if not counter.length:
        what = content if isinstance(content, Path) else f"image:{inside}" if inside else kind
        raise InputError(f"{what}: is empty; it was to be published as {kind}")
    return Gathered(kind, to, counter.digest.digest(), counter.length, inside)


class _Counter:
    """Writes to a file, counts and hashes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.length = 0
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self.length += len(data)
        self.digest.update(data)
        self._file.write(data)


def _copy(source: Path, to: _Counter) -> None:
    """`source`, piece by piece.  Raises InputError where it is longer than anything beside an image."""
    with open_regular(source) as file:
        while piece := file.read(_PIECE):
            to.write(piece)
            if to.length > MAX_ATTACHED:
                raise InputError(f"{source}: is longer than {MAX_ATTACHED >> 20} MiB; is it the right file?")


def place(repository: Path, name: str, version: int, gathered: list[Gathered]) -> tuple[Attached, ...]:
    """Puts what was gathered beside the index of that version.  Raises OSError."""
    folder = repository / "files" / name / str(version)
    folder.mkdir(parents=True, exist_ok=True)
    placed = []
    for each in gathered:
        path = file_path(target_path(name, version, each.kind), each.hash.hex())
        each.file.rename(repository / path)
        placed.append(Attached(each.kind, path, each.hash, each.length, each.inside))
    sync_folder(folder)
    return tuple(placed)
