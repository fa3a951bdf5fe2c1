"""A repository that is there already, held for a change of its metadata, with the keys at hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mirrornet.image.publishing.held import held
from mirrornet.image.trust.keys import first_root
from mirrornet.image.trust.ring import Folders, Ring
from mirrornet.image.trust.shelf import Shelf
from mirrornet.image.trust.versions import ImageVersion, Metadata, check_name
from mirrornet.model.errors import InputError


@dataclass(frozen=True, slots=True)
class Change:
    """What a change works on: the metadata as it stands (`was`), its shelf, the keys, a folder for what is written."""

    was: Metadata
    shelf: Shelf
    ring: Ring
    staging: Path

    def versions(self, name: str) -> tuple[ImageVersion, ...]:
        """The versions of `name`, ascending, at least one.  Raises InputError."""
        self.was.latest(check_name(name))
        return self.was.images[name]

    def commit(self) -> None:
        """Signs snapshot and timestamp over what was staged, and writes."""
        self.shelf.stage_snapshot(self.ring.sign)
        self.shelf.write(self.staging)


@contextmanager
def changing(
    repo: Path, keys: Path, what: str, *, now: float, passphrase: bytes | None, also: Folders = ()
) -> Iterator[Change]:
    """The repository alone, read and checked.  `what` it is held for, such as "a rotation"; `now` in Unix time.

    Raises InputError (no repository, other keys), LocalError (another one holds it, the disk refuses).
    """
    root = first_root(keys)
    if not (repo / "metadata" / "1.root.json").exists():
        raise InputError(f"{repo}: no repository; `mirrornet publish` makes one")
    with held(repo, keys, what) as staging:
        shelf = Shelf(repo, root, now)
        if shelf.verified is None:
            raise InputError(f"{repo}: nothing is published here yet; `mirrornet publish` does")
        yield Change(shelf.verified.metadata(now), shelf, Ring(keys, passphrase, also), staging)
