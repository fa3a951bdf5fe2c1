"""What no version has needed for a while goes: `gc`, on the repository where versions are made and retired.

The signed metadata alone decides what is needed.  A version that was retired goes on being read, by clients that have
it mounted and by mirrors that are a day behind, so whatever any list of versions named within the last `grace` seconds
is needed still.  Those lists are there: each role's file is named by its version, and it ended when its successor was
signed.  The later of what the successor says itself and of what the disk says counts, so neither a copy of the
repository nor a clock that once went wrong makes anything older than it is.  A file that is younger than the grace
stays as well: a publish that was killed will want its blocks.  (A mirror sees only sets that it happened to copy; it
keeps a list of its own instead, see remains.py.)

The grace is at least as long as a snapshot lives.  For so long can a thief of the timestamp key show an old set as
fresh, and nobody can for longer without more keys than that.

Nothing is removed from a repository that is not whole (what a lost page names cannot be known) or whose metadata has
expired (the clock may be wrong, and then nothing is known about ages).  Roots stay for ever: clients walk their chain.
The repository is held meanwhile, so no publish and no copy is at work.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from tuf.api.metadata import Metadata as Signed
from tuf.api.metadata import Targets

from mirrornet.image.copying.names import Names
from mirrornet.image.copying.remains import unneeded
from mirrornet.image.fetch import file_fetch
from mirrornet.image.inventory import Seen, needed
from mirrornet.image.publishing.held import held
from mirrornet.image.publishing.listing import shelf_of
from mirrornet.image.small import METADATA_LIMIT, read_small
from mirrornet.image.trust.shelf import LIFE, Shelf
from mirrornet.image.trust.verify import versions_of
from mirrornet.image.trust.versions import ImageVersion, name_of
from mirrornet.model.errors import Expired, InputError, LimitError, PeerError
from mirrornet.model.units import format_duration

GRACE: Final = float(LIFE["snapshot"])  # seconds
_KINDS: Final = {"blocks": "block", "files": "target", "metadata": "metadata"}


@dataclass
class GcReport:
    """What was removed, or would be: files by kind (block, target, metadata), and their bytes.

    `kept`: files that nobody needs now, but somebody did within the grace, or that are younger than that themselves.
    """

    removed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_KINDS.values(), 0))
    bytes: int = 0
    kept: int = 0
    kept_bytes: int = 0


def gc(repo: Path, *, now: float, grace: float = GRACE, dry_run: bool = False, force: bool = False) -> GcReport:
    """Removes from the repository what no version has needed for `grace` seconds.  `now` is Unix time.

    Raises InputError (no repository, one that does not hold together), Expired, PeerError (a file that a version needs
    is missing or damaged), LimitError (a grace shorter than GRACE without `force`), LocalError (a publish at work).
    """
    if grace < GRACE and not force:
        raise LimitError(
            f"--grace: {format_duration(grace)} is shorter than signed metadata lives ({format_duration(GRACE)}): "
            "clients and mirrors may still use what would go; --force removes it all the same"
        )
    shelf_of(repo, now)  # no repository: told before it is made one by being held
    with held(repo, None, "a gc"):
        shelf = shelf_of(repo, now)
        assert shelf.verified is not None
        if shelf.verified.metadata(now).expired:
            raise Expired(
                f"{repo}: its metadata has expired, or the clock of this machine is wrong; `mirrornet resign` (on a "
                "mirror: `mirrornet sync`) comes first"
            )
        before = now - grace  # what was needed, or came, later than that stays
        ended = dict(_ended(repo, shelf))
        report = GcReport()
        signed = {path.relative_to(repo).as_posix() for path in (repo / "metadata").iterdir()} - ended.keys()
        names = _names(repo, shelf, [repo / path for path, end in ended.items() if end >= before], force)
        for name, size in unneeded(repo, names, signed):
            path = repo / name
            if max(path.stat().st_mtime, ended.get(name, 0.0)) >= before:
                report.kept += 1
                report.kept_bytes += size
                continue
            if not dry_run:
                path.unlink()
                _tidy(path.parent, repo / "files")
            report.removed[_KINDS[name.partition("/")[0]]] += 1
            report.bytes += size
        return report


def _tidy(folder: Path, above: Path) -> None:
    """Removes `folder` and those around it, below `above`, where they are empty."""
    while folder.is_relative_to(above) and folder != above and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def _ended(repo: Path, shelf: Shelf) -> Iterator[tuple[str, float]]:
    """Each metadata file that is not of the set in force, and the time at which its successor took its place."""
    files: dict[str, list[tuple[int, Path]]] = {}
    for path in (repo / "metadata").iterdir():
        digits, _, role = path.name.removesuffix(".json").partition(".")
        if digits.isdigit() and role != "root":
            files.setdefault(role, []).append((int(digits), path))
    current = {role.removesuffix(".json"): meta.version for role, meta in shelf.snapshot.meta.items()}
    current["snapshot"] = shelf.snapshot.version
    for role, numbered in files.items():
        numbered.sort()
        for at, (number, path) in enumerate(numbered):
            name = path.relative_to(repo).as_posix()
            if number > current.get(role, 0):  # of a change that was killed: no set ever had it
                yield name, 0.0
            elif number < current[role]:
                yield name, _signed_at(numbered[at + 1][1], role)


def _signed_at(path: Path, role: str) -> float:
    """When the metadata file `path` was signed: the later of what it says itself and of what the disk says."""
    try:
        expires = json.loads(read_small(path, METADATA_LIMIT))["signed"]["expires"]
        signed = datetime.fromisoformat(expires).timestamp() - LIFE.get(role, LIFE["targets"])
    except (ValueError, KeyError, TypeError):  # damaged: the disk's time is all there is
        signed = 0.0
    return max(signed, path.stat().st_mtime)


def _names(repo: Path, shelf: Shelf, recent: list[Path], force: bool) -> Names:
    """All that is needed: by the versions that are listed, and by those that one of the files `recent` listed."""
    fetch, seen, names = file_fetch(repo), Seen(), Names()
    current = {
        version.index_path: version for name, role in shelf.images.items() for version in versions_of(role, name)
    }
    former = {version.index_path: version for path in recent for version in _listed(path)}
    for path, version in (former | current).items():
        try:
            for stored in needed(version, fetch, seen):
                names.add(stored.sha256)
        except PeerError as error:
            if path not in current and force:
                continue
            raise type(error)(
                f"{version.name} version {version.version} is not whole here, so nothing is removed ({error}): copy "
                "what is missing from a mirror, or retire that version and wait"
            ) from None
    return names


def _listed(path: Path) -> tuple[ImageVersion, ...]:
    """The versions that a role's file lists, if it is an image's; not verified, since it can only keep more."""
    name = name_of(path.name.removesuffix(".json").partition(".")[2])
    if name is None:
        return ()
    try:
        return versions_of(Signed[Targets].from_bytes(read_small(path, METADATA_LIMIT)).signed, name)
    except OSError:
        raise
    except Exception as error:  # python-tuf raises many
        raise InputError(f"{path}: cannot be read ({error}); remove it if it is damaged") from None
