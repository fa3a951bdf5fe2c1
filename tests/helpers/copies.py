"""Mirrors without a network, for copies: a folder that answers as `image.copying` asks."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path

from mirrornet.image.copying.files import Mirror, Sink
from mirrornet.image.fetch import file_fetch
from mirrornet.image.inventory import needed_by
from mirrornet.image.publishing.listing import listed

Spoil = Callable[[str, bytes], bytes]  # path, bytes → bytes; may raise a PeerError


class FolderMirror:
    """`asked`: paths in order.  `spoil` changes or refuses what is sent.  `most`: most requests that were under way."""

    def __init__(self, folder: Path, name: str = "tokyo", spoil: Spoil | None = None) -> None:
        self.fetch = file_fetch(folder)
        self.asked: list[str] = []
        self.spoil = spoil
        self.now = self.most = 0
        self.mirror = Mirror(name, self._get)

    @property
    def content_asked(self) -> list[str]:
        return [path for path in self.asked if not path.startswith("metadata/")]

    async def _get(self, path: str, limit: int, sink: Sink | None) -> bytes:
        self.asked.append(path)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(0)
            data = self.fetch(path, limit)
            if self.spoil is not None:
                data = self.spoil(path, data)
            if sink is None:
                return data
            for at in range(0, len(data), 10_000):
                await sink(data[at : at + 10_000])
            return b""
        finally:
            self.now -= 1


def whole(repo: Path, now: float) -> list[str]:
    """Asserts that every file that the metadata of `repo` names is there, byte for byte; the versions, as NAME/N."""
    metadata = listed(repo, now)
    versions = [version for each in metadata.images.values() for version in each]
    fetch = file_fetch(repo)
    for stored in needed_by(versions, fetch):
        data = (repo / stored.path).read_bytes()
        assert hashlib.sha256(data).digest() == stored.sha256, stored.path
    return [f"{version.name}/{version.version}" for version in versions]


def tree(repo: Path) -> dict[str, bytes]:
    """All files of a repository that mirrors serve."""
    return {
        path.relative_to(repo).as_posix(): path.read_bytes()
        for path in repo.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(repo).parts)
    }


def same(copy: Path, repo: Path) -> bool:
    """Whether `copy` has all that `repo` has, but metadata that was replaced, and nothing else."""
    ours, theirs = tree(copy), tree(repo)
    missing = {path for path in theirs if path not in ours}
    return (
        all(theirs.get(path) == data for path, data in ours.items())
        and all(path.startswith("metadata/") and not path.endswith("root.json") for path in missing)
        and ours["metadata/timestamp.json"] == theirs["metadata/timestamp.json"]
    )
