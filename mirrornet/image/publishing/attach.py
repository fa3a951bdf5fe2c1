"""Files beside an index: profile, kernel, initrd, sbom.  Written whole under their hash, as targets of the version."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mirrornet.image.files import replacing, sync_folder, to_disk, write_whole
from mirrornet.image.trust.versions import ATTACHED_KIND, Attached, file_path
from mirrornet.model.errors import InputError

MAX_ATTACHED: Final = 1 << 30  # bytes; an initrd with firmware has 200 MB
_PIECE: Final = 1 << 20


def check_attached(attached: Mapping[str, bytes | Path]) -> None:
    """Raises InputError for a kind that is no word, and a file that is not there: found out before the work."""
    for kind, content in attached.items():
        if not ATTACHED_KIND.fullmatch(kind) or kind == "index":
            raise InputError(f"{kind!r} cannot name a file beside an image: a word of lower-case letters is wanted")
        if isinstance(content, Path):
            if not content.is_file():
                raise InputError(f"{content}: is no file; it was to be published as {kind}")
            if content.stat().st_size > MAX_ATTACHED:
                raise InputError(f"{content}: is longer than {MAX_ATTACHED >> 20} MiB; is it the right file?")


def attach(
    repository: Path, staging: Path, name: str, version: int, attached: Mapping[str, bytes | Path]
) -> tuple[Attached, ...]:
    """Writes each into the repository.  Raises OSError."""
    return tuple(
        _attach(repository, staging, f"{name}/{version}/{kind}", content) for kind, content in sorted(attached.items())
    )


def _attach(repository: Path, staging: Path, target: str, content: bytes | Path) -> Attached:
    kind = target.rpartition("/")[2]
    folder = repository / "files" / target.rpartition("/")[0]
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        digest = hashlib.sha256(content)
        path = file_path(target, digest.hexdigest())
        write_whole(repository / path, content, staging=staging)
        return Attached(kind, path, digest.digest(), len(content))
    whole = staging / kind
    digest, length = hashlib.sha256(), 0
    with content.open("rb") as source, replacing(whole) as file:
        while piece := source.read(_PIECE):
            digest.update(piece)
            length += len(piece)
            file.write(piece)
        to_disk(file)
    path = file_path(target, digest.hexdigest())
    whole.rename(repository / path)
    sync_folder(folder)
    return Attached(kind, path, digest.digest(), length)
