"""What a repository in a folder holds, by its own signed metadata, and whether it is whole."""

from __future__ import annotations

from pathlib import Path

from mirrornet.image.fetch import file_fetch
from mirrornet.image.inventory import needed
from mirrornet.image.small import METADATA_LIMIT, read_small
from mirrornet.image.trust.shelf import Shelf
from mirrornet.image.trust.versions import ImageVersion, Metadata
from mirrornet.model.errors import InputError, PeerError


def shelf_of(repo: Path, now: float) -> Shelf:
    """The metadata of the repository in the folder `repo`, by its own first root.  `now` in Unix time.

    Raises InputError where there is none, or it does not hold together.
    """
    try:
        root = read_small(repo / "metadata" / "1.root.json", METADATA_LIMIT)
    except FileNotFoundError:
        raise InputError(f"{repo}: no repository (it has no metadata/1.root.json)") from None
    except OSError as error:
        raise InputError(f"{error.filename or repo}: cannot be read: {error.strerror}") from None
    shelf = Shelf(repo, root, now)
    if shelf.verified is None:
        raise InputError(f"{repo}: nothing is published here yet")
    return shelf


def listed(repo: Path, now: float) -> Metadata:
    """What the signed metadata of the repository says.  Raises as `shelf_of` does."""
    verified = shelf_of(repo, now).verified
    assert verified is not None
    return verified.metadata(now)


def lacking(repo: Path, version: ImageVersion) -> str:
    """The first file that `version` needs and that `repo` does not have, at its length; "" where it is complete.

    Blocks are not read: `mirrornet audit` does that.
    """
    last = version.index_path
    try:
        for stored in needed(version, file_fetch(repo)):
            last = stored.path
            if stored.size is not None and (repo / stored.path).stat().st_size != stored.size:
                return last
    except (PeerError, OSError):
        return last
    return ""
