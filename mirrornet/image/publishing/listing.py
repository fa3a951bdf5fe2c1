"""What a repository in a folder holds, by its own signed metadata."""

from __future__ import annotations

from pathlib import Path

from mirrornet.image.small import METADATA_LIMIT, read_small
from mirrornet.image.trust.shelf import Shelf
from mirrornet.image.trust.versions import Metadata
from mirrornet.model.errors import InputError


def listed(repo: Path, now: float) -> Metadata:
    """What the signed metadata of the repository in the folder `repo` says, by its own first root.

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
    return shelf.verified.metadata(now)
