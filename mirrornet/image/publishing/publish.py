"""Publishing: an image becomes the next version of its name in a repository.

    blocks/ → pages (blocks, too) → files/NAME/VERSION/HASH.index → metadata/, timestamp.json last

In this order each file is written whole, so whoever reads or copies the repository at any moment has the old version or
the new one.  All keys that will be needed are opened before the first byte is read: a wrong passphrase must not end an
hour's work.  A killed publish leaves blocks that the next one finds; its temporary files lie in one folder and go then.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mirrornet.image.files import write_whole
from mirrornet.image.format.block import (
    BLOCK_SIZE,
    MAX_BLOCK_SIZE,
    MIN_BLOCK_SIZE,
    Codec,
    check_level,
)
from mirrornet.image.format.index import Head
from mirrornet.image.publishing.cut import Progress, Store, cut, opened
from mirrornet.image.publishing.held import held
from mirrornet.image.trust.keyfiles import key_files
from mirrornet.image.trust.keys import first_root, pin_of
from mirrornet.image.trust.ring import Ring
from mirrornet.image.trust.shelf import Shelf, index_path
from mirrornet.image.trust.versions import ImageVersion, check_name, role_of
from mirrornet.model.errors import InputError


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
    with opened(image, block_size) as source, held(repo, keys, "a publish") as staging:
        shelf = Shelf(repo, root, now)
        ring = Ring(keys, passphrase)
        role = role_of(name)
        if name in shelf.images or key_files(keys, role):
            ring.sign(role)
        shelf.check_keys([role if name in shelf.images else "targets", "snapshot", "timestamp"], ring.sign)
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
