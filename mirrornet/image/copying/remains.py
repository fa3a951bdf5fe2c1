"""What a repository holds and does not need, and taking it away once that has been so for long enough.

A reader may be in the middle of an older version, and a client may hold metadata that names files of it; so a file goes
only when it has not been needed for the whole grace.  Since when, `.unneeded` in the repository says: a line a file,
Unix time and path.  Whatever is not named as our files are is nobody's business here and stays.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mirrornet.image.copying.names import Names
from mirrornet.image.files import write_whole
from mirrornet.image.small import read_small
from mirrornet.model.names import IMAGE_NAME

LIST: Final = ".unneeded"
LIST_LIMIT: Final = 1 << 30  # bytes; a line has 100
_BLOCK: Final = re.compile(r"[0-9a-f]{64}")
_TARGET: Final = re.compile(rf"files/{IMAGE_NAME.pattern}/[1-9][0-9]{{0,8}}/([0-9a-f]{{64}})\.[a-z][a-z0-9_-]{{0,31}}")
_ROLE: Final = re.compile(rf"metadata/[1-9][0-9]*\.(snapshot|targets|image-{IMAGE_NAME.pattern})\.json")


@dataclass(frozen=True, slots=True)
class Remains:
    """Files that nothing needs.  `files`, `bytes`: of all; `removed`, `removed_bytes`: of those taken away."""

    files: int
    bytes: int
    removed: int = 0
    removed_bytes: int = 0


def unneeded(repo: Path, names: Names, signed: Collection[str]) -> Iterator[tuple[str, int]]:
    """(path, bytes) of each file of ours in `repo` that is neither in `names` nor, in metadata/, in `signed`.

    Old root.json are needed for ever: a client starts from the first.
    """
    for first in range(256):
        folder = repo / "blocks" / f"{first:02x}"
        if not folder.is_dir():
            continue
        bucket = {hash_.hex() for hash_ in names.bucket(first)}
        for path in sorted(folder.iterdir()):
            if path.name not in bucket and _BLOCK.fullmatch(path.name) and path.name.startswith(folder.name):
                yield f"blocks/{folder.name}/{path.name}", path.stat().st_size
    targets: dict[int, set[bytes]] = {}
    for path in sorted((repo / "files").glob("*/*/*")):
        name = path.relative_to(repo).as_posix()
        match = _TARGET.fullmatch(name)
        if match is None:
            continue
        hash_ = bytes.fromhex(match[1])
        if hash_ not in targets.setdefault(hash_[0], names.bucket(hash_[0])):
            yield name, path.stat().st_size
    for path in sorted((repo / "metadata").glob("*.json")):
        name = f"metadata/{path.name}"
        if name not in signed and _ROLE.fullmatch(name):
            yield name, path.stat().st_size


def clear(repo: Path, staging: Path, names: Names, signed: Collection[str], grace: float, now: float) -> Remains:
    """Takes away what has not been needed for `grace` seconds; `now` is Unix time.  Raises OSError."""
    before = _read(repo / LIST)
    since: dict[str, float] = {}
    files = bytes_ = removed = removed_bytes = 0
    for path, size in unneeded(repo, names, signed):
        files += 1
        bytes_ += size
        first = min(before.get(path, now), now)
        if now - first < grace:
            since[path] = first
            continue
        (repo / path).unlink(missing_ok=True)
        removed += 1
        removed_bytes += size
    for folder in {(repo / path).parent for path in before if path.startswith("files/")}:
        for empty in (folder, folder.parent):
            if empty.is_dir() and not any(empty.iterdir()):
                empty.rmdir()
    if since != before:
        lines = "".join(f"{when:.0f} {path}\n" for path, when in since.items())
        write_whole(repo / LIST, lines.encode(), staging=staging)
    return Remains(files, bytes_, removed, removed_bytes)


def _read(path: Path) -> dict[str, float]:
    """The list, or nothing where it is not there or not whole."""
    try:
        rows = [line.split(" ", 1) for line in read_small(path, LIST_LIMIT).decode().splitlines()]
        return {name: float(when) for when, name in rows}
    except (OSError, ValueError):
        return {}
