"""A repository held by one process: nobody else changes it meanwhile, and who does is told to whoever comes next.

The lock is flock on the repository's folder, so that a killed process leaves none behind.  Temporary files lie in one
folder whose name begins with a dot (no mirror copies it), which goes when the work ends, or when the next one begins.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mirrornet.image.files import locked
from mirrornet.image.small import read_small
from mirrornet.image.trust.keys import refuse_inside_repository
from mirrornet.model.errors import InputError, LocalError

STAGING: Final = ".partial"
_HOLDER: Final = "holder"
_PARTS: Final = frozenset({"blocks", "files", "metadata", STAGING})


@contextmanager
def held(repo: Path, keys: Path | None, what: str) -> Iterator[Path]:
    """The repository alone, its folders made; yields the folder for temporary files.  OSError becomes LocalError.

    `keys`: the folder of keys in use, which may not lie in the repository.  `what`: what this process does, such as
    "a publish", for the line that another one gets.
    """
    if keys is not None:
        refuse_inside_repository(keys)
        if keys.resolve().is_relative_to(repo.resolve()):
            raise InputError(f"{keys}: lies inside the repository {repo}; keep keys where no mirror copies them")
        if repo.resolve().is_relative_to(keys.resolve()):
            raise InputError(f"{repo}: lies inside the folder of keys {keys}; keep what is copied elsewhere")
    if repo.exists() and not repo.is_dir():
        raise InputError(f"{repo}: is not a folder")
    if repo.is_dir() and any(entry.name not in _PARTS for entry in repo.iterdir() if entry.name[0] != "."):
        strange = next(entry.name for entry in repo.iterdir() if entry.name not in _PARTS and entry.name[0] != ".")
        raise InputError(f"{repo}: holds {strange}, so it is no repository; name an empty or a new folder")
    staging = repo / STAGING
    try:
        repo.mkdir(parents=True, exist_ok=True)
        with locked(repo, lambda: _holder(staging)):
            shutil.rmtree(staging, ignore_errors=True)
            for part in ("blocks", "files", "metadata", STAGING):
                (repo / part).mkdir(exist_ok=True)
            try:
                (staging / _HOLDER).write_text(f"{what} (process {os.getpid()})")
                yield staging
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        where = error.filename or repo
        raise LocalError(f"{where}: {error.strerror}; what was published before still stands") from error


def _holder(staging: Path) -> str:
    """What the process that holds the repository does, for a line about waiting."""
    try:
        return f"{read_small(staging / _HOLDER, 80).decode()} is at work here"
    except (OSError, ValueError):
        return "another process is at work here"
