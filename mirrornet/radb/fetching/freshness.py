"""Whether anything is new since a table was made: what its inputs were, and what they are now.

The memory is the table's section "inputs": JSON, {"options": digest, "files": {name: [etag, modified, size] or null}},
without passwords.  Null is a file of which the server tells nothing, so it counts as new.  Files on disk are told by
size and time of change.  `options` is a digest of all else that makes the table what it is (which file was named for
what, ranks of sources, anycast prefixes, the program's version), so whoever changes any of it gets a new table.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, Protocol

from mirrornet.radb.fetching.limits import Version

SECTION: Final = "inputs"


class Remote(Protocol):
    """A file on a server (http.py, ftp.py)."""

    def unchanged(self, known: Version) -> bool: ...
    def close(self) -> None: ...


def digest(*options: object) -> str:
    """Of everything in `options`, which JSON can hold."""
    return hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()


def on_disk(name: str) -> Version | None:
    """The edition of a file of ours; None where it cannot be told."""
    try:
        status = Path(name).stat()
    except (OSError, ValueError):
        return None
    return Version("", str(status.st_mtime_ns), status.st_size)


def remember(options: str, files: Mapping[str, Version | None]) -> bytes:
    """The section for a table made with `options` of `files`."""
    plain = {name: list(version) if version else None for name, version in files.items()}
    return json.dumps({"options": options, "files": plain}, sort_keys=True).encode()


def nothing_new(
    section: bytes, options: str, local: Mapping[str, Version | None], remote: Sequence[tuple[str, Remote]]
) -> bool:
    """Whether `section` is of the same `options` and of the same editions of the `local` and `remote` files.

    Asks each server, and stops at the first that has something else.
    """
    try:
        said = json.loads(section)
        known = {name: Version(*version) if version else None for name, version in said["files"].items()}
        if said["options"] != options or known.keys() != {*local, *(name for name, _ in remote)}:
            return False
        if any(version is None or known[name] != version for name, version in local.items()):
            return False
    except (ValueError, TypeError, KeyError, AttributeError):  # another program's section
        return False
    for name, file in remote:
        with closing(file):
            version = known[name]
            if version is None or not file.unchanged(version):
                return False
    return True
