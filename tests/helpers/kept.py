"""What a client's cache holds on disk, looked at from outside while blocks may come and go."""

from __future__ import annotations

from pathlib import Path


def kept(cache: Path) -> dict[Path, int]:
    """The files of whole blocks and their sizes in bytes; not the half written ones, whose names begin with a dot."""
    found = {}
    for path in sorted((cache / "blocks").rglob("?" * 64)):
        try:
            found[path] = path.stat().st_size
        except FileNotFoundError:  # another one took its room meanwhile
            continue
    return found
