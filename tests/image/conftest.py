"""A publisher, mirrors that misbehave on demand, and a client, all on real metadata with real keys."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mirrornet.image.publishing.publish import PublishReport, publish
from mirrornet.image.publishing.resign import resign
from mirrornet.image.trust import attempt as trust
from mirrornet.image.trust.attempt import Metadata, file_fetch
from mirrornet.image.trust.keys import keygen

NOW = 1_800_000_000.0  # Unix time: no test reads a clock
SMALL = 65536  # block size


class Publisher:
    """Keys and a repository."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.keys, self.repo = folder, folder / "keys", folder / "repo"
        self.pin = keygen(self.keys, passphrase=None, now=NOW)
        self.root = (self.keys / "root.json").read_bytes()

    def image(self, data: bytes) -> Path:
        path = self.folder / "image.raw"
        path.write_bytes(data)
        return path

    def publish(self, data: bytes, name: str = "demo", now: float = NOW, **options: object) -> PublishReport:
        settings = {"block_size": SMALL, **options}
        return publish(self.image(data), name, self.repo, self.keys, now=now, **settings)  # type: ignore[arg-type]

    def resign(self, now: float = NOW) -> None:
        resign(self.repo, self.keys, now=now)

    def copy(self, to: str) -> Path:
        """The repository as it is now."""
        return Path(shutil.copytree(self.repo, self.folder / to))


class Mirror:
    """Serves a folder; `instead` maps paths to other bytes or an exception, `always` answers everything."""

    def __init__(self, folder: Path) -> None:
        self._fetch = file_fetch(folder)
        self.instead: dict[str, bytes | Exception] = {}
        self.always: bytes | None = None
        self.asked: list[str] = []

    def __call__(self, path: str, limit: int) -> bytes:
        self.asked.append(path)
        if self.always is not None:
            return self.always
        answer = self.instead.get(path)
        if isinstance(answer, Exception):
            raise answer
        return self._fetch(path, limit) if answer is None else answer


class Client:
    """A trust folder."""

    def __init__(self, folder: Path, root: bytes) -> None:
        self.folder = folder
        trust.initialise(folder, root)

    def refresh(self, mirror: trust.Fetch, *names: str, now: float = NOW) -> Metadata:
        """One attempt, committed."""
        scratch = trust.new_scratch(self.folder)
        metadata = trust.attempt(self.folder, scratch, mirror, names or ("demo",), now)
        assert trust.commit(self.folder, scratch)
        assert not scratch.exists()
        return metadata

    def load(self, *names: str, now: float = NOW) -> Metadata:
        return trust.load(self.folder, names or ("demo",), now)


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher(tmp_path)


@pytest.fixture
def make_publisher(tmp_path: Path) -> Callable[[str], Publisher]:
    def make(name: str) -> Publisher:
        (tmp_path / name).mkdir()
        return Publisher(tmp_path / name)

    return make


@pytest.fixture
def mirror() -> type[Mirror]:
    return Mirror


@pytest.fixture
def client(tmp_path: Path) -> Callable[..., Client]:
    """client(root): a new trust folder; client(root, "b") another one."""

    def make(root: bytes, name: str = "trust") -> Client:
        return Client(tmp_path / name, root)

    return make
