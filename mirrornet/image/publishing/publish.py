"""Publishing: an image becomes the next version of its name in a repository.  And keeping what is signed fresh.

    blocks/ → pages (blocks, too) → files/NAME/VERSION/HASH.index → metadata/, timestamp.json last

In this order each file is written whole, so whoever reads or copies the repository at any moment has the old version or
the new one.  All keys that will be needed are opened before the first byte is read: a wrong passphrase must not end an
hour's work.  A killed publish leaves blocks that the next one finds; its temporary files lie in one folder and go then.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from securesystemslib.signer import CryptoSigner

from mirrornet.image.files import locked, write_whole
from mirrornet.image.format.block import (
    BLOCK_SIZE,
    MAX_BLOCK_SIZE,
    MIN_BLOCK_SIZE,
    Codec,
    check_level,
)
from mirrornet.image.format.index import Head
from mirrornet.image.publishing.cut import Progress, Store, cut, opened
from mirrornet.image.small import METADATA_LIMIT, read_small
from mirrornet.image.trust.keys import (
    first_root,
    is_encrypted,
    key_path,
    load_key,
    new_key,
    pin_of,
    refuse_inside_repository,
)
from mirrornet.image.trust.shelf import DAY, LIFE, Shelf, expiries, index_path
from mirrornet.image.trust.versions import ImageVersion, Metadata, check_name, role_of
from mirrornet.model.errors import InputError, LocalError

STAGING: Final = ".partial"
_BUSY: Final = "another publish or resign is at work here"
_PARTS: Final = frozenset({"blocks", "files", "metadata", STAGING})


@dataclass(frozen=True, slots=True)
class PublishReport:
    """What a publish did.  `new_*`: what an up-to-date mirror has to fetch besides metadata.  Sizes in bytes."""

    name: str
    version: int
    size: int
    blocks: int
    stored: int
    new_blocks: int
    new_bytes: int
    pages: int
    index_length: int
    pin: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ResignReport:
    """`timestamp`, `snapshot`: their versions now.  `warnings`: lines about what offline keys must renew soon."""

    timestamp: int
    snapshot: int
    expires: float
    warnings: tuple[str, ...]


def publish(
    image: Path,
    name: str,
    repo: Path,
    keys: Path,
    *,
    codec: Codec = Codec.ZLIB,
    level: int | None = None,
    block_size: int = BLOCK_SIZE,
    now: float,
    passphrase: bytes | None = None,
    progress: Progress | None = None,
) -> PublishReport:
    """Publishes the file or block device `image` as the next version of `name`.

    `level` None is the codec's default; `block_size` in bytes, a power of two; `now` in Unix time.  Raises InputError
    (a name, a key, an image that is empty or changes), LocalError (disk full, another publish at work).
    """
    started = time.monotonic()
    check_name(name)
    level = check_level(codec, level)
    if not MIN_BLOCK_SIZE <= block_size <= MAX_BLOCK_SIZE or block_size & (block_size - 1):
        raise InputError(f"block size {block_size}: a power of two from 64K to 4M is wanted; 256K is the default")
    root = first_root(keys)
    with opened(image, block_size) as source, _at_work(repo, keys) as staging:
        shelf = Shelf(repo, root, now)
        ring = Ring(keys, passphrase)
        role = role_of(name)
        if name not in shelf.images:
            ring.sign("targets")
        elif not key_path(keys, role).exists():
            raise InputError(
                f"{key_path(keys, role)}: the key of the image {name} is not here; bring it to this machine"
            )
        if key_path(keys, role).exists():
            ring.sign(role)
        ring.sign("snapshot")
        ring.sign("timestamp")
        version = shelf.next_version(name)

        store = Store(repo, staging)
        head = cut(source, store, codec, level, progress)
        entry = _write_index(repo, staging, head, name, version, now)
        shelf.add(entry, ring.sign, ring.sign_or_make)
        shelf.stage_snapshot(ring.sign)
        shelf.write(staging)
    return PublishReport(
        name=name,
        version=version,
        size=head.size,
        blocks=head.block_count,
        stored=head.stored,
        new_blocks=store.new,
        new_bytes=store.new_bytes,
        pages=len(head.pages),
        index_length=entry.index_length,
        pin=pin_of(root),
        seconds=time.monotonic() - started,
    )


def resign(repo: Path, keys: Path, *, now: float, passphrase: bytes | None = None) -> ResignReport:
    """Renews the timestamp, and the snapshot when half its life is over; needs only these two keys.

    Raises InputError (no repository, other keys), LocalError (a publish at work: its timestamp is fresh anyway).
    """
    root = first_root(keys)
    if not (repo / "metadata" / "1.root.json").exists():
        raise InputError(f"{repo}: no repository; `mirrornet publish` makes one")
    with _at_work(repo, keys) as staging:
        shelf = Shelf(repo, root, now)
        if shelf.verified is None:
            raise InputError(f"{repo}: nothing is published here yet; `mirrornet publish` does")
        ring = Ring(keys, passphrase)
        ends = expiries(shelf)
        before = ends["timestamp"]
        if ends["snapshot"] - now < LIFE["snapshot"] / 2:
            shelf.stage_snapshot(ring.sign)
        else:
            shelf.stage_timestamp(ring.sign)
        shelf.write(staging)
        ends = expiries(shelf)
    warnings = []
    if ends["timestamp"] < before - DAY:  # not refused: it was ahead then, or it is behind now
        warnings.append(f"the clock went back to {datetime.fromtimestamp(now, UTC):%Y-%m-%d}: is it right now?")
    for role, end in sorted(ends.items()):
        life = LIFE.get(role, LIFE["targets"])
        if role in ("snapshot", "timestamp") or end - now >= life / 3:
            continue
        day = datetime.fromtimestamp(end, UTC)
        what = "publish it again" if role.startswith("image-") else f"sign it with {key_path(keys, role)}"
        warnings.append(f"{role} {'expired' if end <= now else 'expires'} on {day:%Y-%m-%d}: {what}")
    return ResignReport(shelf.timestamp.version, shelf.snapshot.version, min(ends.values()), tuple(warnings))


class Ring:
    """The keys opened so far."""

    def __init__(self, keys: Path, passphrase: bytes | None) -> None:
        self._keys, self._passphrase = keys, passphrase
        self._open: dict[str, CryptoSigner] = {}

    def sign(self, role: str) -> CryptoSigner:
        """The signer of `role`.  Raises InputError."""
        if role not in self._open:
            self._open[role] = load_key(self._keys, role, self._passphrase)
        return self._open[role]

    def sign_or_make(self, role: str) -> CryptoSigner:
        """The same; a key that does not exist yet is made (that of a new image)."""
        path = key_path(self._keys, role)
        if role not in self._open and not path.exists():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            self._open[role] = new_key(path, self._passphrase if is_encrypted(self._keys) else None)
        return self.sign(role)


@contextmanager
def _at_work(repo: Path, keys: Path) -> Iterator[Path]:
    """The repository alone, its folders made; yields the folder for temporary files.  OSError becomes LocalError."""
    refuse_inside_repository(keys)
    if keys.resolve().is_relative_to(repo.resolve()):
        raise InputError(f"{keys}: lies inside the repository {repo}; keep keys where no mirror copies them")
    if repo.exists() and not repo.is_dir():
        raise InputError(f"{repo}: is not a folder")
    if repo.is_dir() and any(entry.name not in _PARTS for entry in repo.iterdir() if entry.name[0] != "."):
        strange = next(entry.name for entry in repo.iterdir() if entry.name not in _PARTS)
        raise InputError(f"{repo}: holds {strange}, so it is no repository; name an empty or a new folder")
    try:
        repo.mkdir(parents=True, exist_ok=True)
        with locked(repo, _BUSY):
            staging = repo / STAGING
            shutil.rmtree(staging, ignore_errors=True)
            for part in ("blocks", "files", "metadata", STAGING):
                (repo / part).mkdir(exist_ok=True)
            try:
                yield staging
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        where = error.filename or repo
        raise LocalError(f"{where}: {error.strerror}; what was published before still stands") from error


def _write_index(repo: Path, staging: Path, head: Head, name: str, version: int, now: float) -> ImageVersion:
    data = head.encode()
    Head.parse(data)  # what clients would refuse is not published
    digest = hashlib.sha256(data).digest()
    path = index_path(name, version, digest)
    (repo / path).parent.mkdir(parents=True, exist_ok=True)
    write_whole(repo / path, data, staging=staging)
    return ImageVersion(
        name=name,
        version=version,
        size=head.size,
        stored=head.stored,
        codec=head.codec.name.lower(),
        created=f"{datetime.fromtimestamp(now, UTC):%Y-%m-%dT%H:%M:%SZ}",
        rollback_of=None,
        index_path=path,
        index_hash=digest,
        index_length=len(data),
    )


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
