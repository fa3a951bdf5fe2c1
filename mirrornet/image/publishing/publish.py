"""Publishing: an image becomes the next version of its name in a repository.

    blocks/ → pages (blocks, too) → files/NAME/VERSION/HASH.index → metadata/, timestamp.json last

In this order each file is written whole, so whoever reads or copies the repository at any moment has the old version or
the new one.  All keys that will be needed are opened before the first byte is read: a wrong passphrase must not end an
hour's work.  A killed publish leaves blocks that the next one finds; its temporary files lie in one folder and go then.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from mirrornet.image.contents.sbom import describe
from mirrornet.image.fetch import file_fetch
from mirrornet.image.files import write_whole
from mirrornet.image.format.block import (
    BLOCK_SIZE,
    MAX_BLOCK_SIZE,
    MIN_BLOCK_SIZE,
    TAKEN_OVER,
    Codec,
    check_level,
)
from mirrornet.image.format.index import Head
from mirrornet.image.format.profile import Profile
from mirrornet.image.publishing.attach import check_attached, gather, place
from mirrornet.image.publishing.boot import Content
from mirrornet.image.publishing.carry import carried, profile_of
from mirrornet.image.publishing.cut import Cutter, Plan, Progress
from mirrornet.image.publishing.held import held
from mirrornet.image.publishing.previous import Previous, Unfinished, published
from mirrornet.image.publishing.resign import went_back
from mirrornet.image.publishing.source import CloopSource, Source, opened
from mirrornet.image.publishing.store import Store
from mirrornet.image.trust.keyfiles import key_files
from mirrornet.image.trust.keys import first_root, pin_of
from mirrornet.image.trust.ring import Folders, Ring
from mirrornet.image.trust.shelf import Shelf, expiries, index_path
from mirrornet.image.trust.verify import versions_of
from mirrornet.image.trust.versions import ImageVersion, check_name, role_of
from mirrornet.model.errors import InputError


@dataclass(frozen=True, slots=True)
class PublishReport:
    """What a publish did.  Sizes in bytes.

    `blocks`: of the image, zero blocks included.  `stored`: bytes of its distinct blocks.  `new_blocks`, `new_bytes`:
    what a client that has the version before does not have.  `new_files`, `new_file_bytes`: what a mirror of that has
    to fetch, index and metadata included.  `files`: of this version; `repository_files`: of all there is.  `attached`:
    the kinds of files beside the index; `lost`: those that the version before had and this one has not.  `warnings`:
    lines about what a person should look after.
    """

    name: str
    version: int
    size: int
    block_size: int
    codec: str
    level: int
    blocks: int
    stored: int
    new_blocks: int
    new_bytes: int
    new_files: int
    new_file_bytes: int
    files: int
    repository_files: int
    packs: int
    pages: int
    index_length: int
    attached: tuple[str, ...]
    lost: tuple[str, ...]
    warnings: tuple[str, ...]
    pin: str
    seconds: float


def publish(
    image: Path,
    name: str,
    repo: Path,
    keys: Path,
    *,
    codec: Codec | None = None,
    level: int | None = None,
    block_size: int | None = None,
    packs: bool | None = None,
    profile: Profile | None = None,
    carry: bool = True,
    attached: Mapping[str, Content] = MappingProxyType({}),
    now: float,
    passphrase: bytes | None = None,
    also: Folders = (),
    progress: Progress | None = None,
) -> PublishReport:
    """Publishes the file or block device `image` as the next version of `name`.

    A .cloop keeps its own streams.  `codec`, `level`, `block_size` (bytes, a power of two) and `packs` (blocks go into
    packs only) None: as the version before has them, so that only what changed is new; for a first version zlib, the
    codec's default, 256 KiB and no.  `profile`: what a boot reads, which becomes a pack and a target; None: that of the
    version before, by where its blocks are now, unless `carry` is False.  `attached`: files beside the index, by kind,
    such as "kernel" (`parse_boot`); the list of packages, "sbom", is made of the image where it has one.  `now` in Unix
    time.  Raises InputError (a name, a key, an image that is empty or changes), LocalError (disk full, another publish
    at work).
    """
    started = time.monotonic()
    check_name(name)
    check_attached(attached)
    unit = BLOCK_SIZE if block_size is None else block_size
    if not MIN_BLOCK_SIZE <= unit <= MAX_BLOCK_SIZE or unit & (unit - 1):
        raise InputError(f"block size {unit}: a power of two from 64K to 4M is wanted; 256K is the default")
    if level is not None and (codec is not None or not repo.exists()):  # else the version before says the codec
        check_level(Codec.ZLIB if codec is None else codec, level)
    root = first_root(keys)
    with opened(image, unit) as source, held(repo, keys, "a publish") as staging:
        shelf = Shelf(repo, root, now)
        ring = Ring(keys, passphrase, also)
        before = versions_of(shelf.images[name], name) if name in shelf.images else ()
        previous = published(repo, before[-1]) if before else None
        if isinstance(source, CloopSource):
            if codec not in (None, Codec.ZLIB) or block_size not in (None, source.block_size):
                raise InputError(
                    f"{image}: a .cloop keeps its own blocks of {source.block_size >> 10}K in zlib; for others make it "
                    "raw with `qemu-img convert -f cloop -O raw`"
                )
        elif previous is not None and block_size is None:
            source = source.in_blocks_of(previous.head.block_size)
        chosen, degree = _degree(source, before[-1] if before else None, previous, codec, level)
        if packs is None:
            packs = previous is not None and any(not pack.single for pack in previous.head.packs)
        if profile is not None:
            profile = profile.resized(source.block_size, source.block_count)
            if not profile.blocks:
                raise InputError("the profile names no block of this image: it was recorded with another one")
        role = role_of(name)
        if name in shelf.images or key_files(keys, role):
            ring.sign(role)
        shelf.check_keys([role if name in shelf.images else "targets", "snapshot", "timestamp"], ring.sign)
        version = shelf.next_version(name)
        warnings = went_back(expiries(shelf)["timestamp"], now) if shelf.verified else []
        unfinished = Unfinished(repo, name)
        if profile is None and carry and previous is not None:
            known = profile_of(before[-1], file_fetch(repo))
            profile = known and carried(known, previous, source)
        if profile is not None:
            attached = {**attached, "profile": profile.encode()}
        plan = Plan(
            chosen,
            degree,
            packs=packs,
            profile=profile,
            previous=previous,
            unfinished=unfinished,
            boot_first=bool(before) and any(each.kind == "profile" for each in before[-1].attached),
        )
        if "sbom" not in attached and (sbom := describe(image, name, version, now)) is not None:
            attached = {**attached, "sbom": sbom}
        beside_it = gather(image, staging, attached)
        cutter = Cutter(source, Store(repo, staging), plan)
        head = cutter.cut(progress)
        entry = replace(
            _write_index(repo, staging, head, name, version, now),
            attached=place(repo, name, version, beside_it),
            new=cutter.counts.new_bytes,
        )
        shelf.add(entry, ring.sign, ring.sign_or_make)
        shelf.stage_snapshot(ring.sign)
        metadata = {path.name: path.stat().st_size for path in (repo / "metadata").iterdir()}
        shelf.write(staging)
        unfinished.done()
        total, fresh = _count_files(repo, metadata)
    counts = cutter.counts
    kinds = tuple(each.kind for each in entry.attached)
    beside = (entry.index_length, *(each.length for each in entry.attached))
    return PublishReport(
        name=name,
        version=version,
        size=head.size,
        block_size=head.block_size,
        codec=head.codec.name.lower(),
        level=head.level,
        blocks=head.block_count,
        stored=head.stored,
        new_blocks=counts.new_blocks,
        new_bytes=counts.new_bytes,
        new_files=counts.new_files + len(beside) + len(fresh),
        new_file_bytes=counts.new_file_bytes + sum(beside) + sum(fresh),
        files=counts.files + len(beside),
        repository_files=total,
        packs=len(head.packs),
        pages=len(head.pages),
        index_length=entry.index_length,
        attached=kinds,
        lost=tuple(each.kind for each in before[-1].attached if each.kind not in kinds) if before else (),
        warnings=tuple(warnings),
        pin=pin_of(root),
        seconds=time.monotonic() - started,
    )


def _degree(
    source: Source, before: ImageVersion | None, previous: Previous | None, codec: Codec | None, level: int | None
) -> tuple[Codec, int]:
    """(codec, level) of the new version: as asked for, else as the version before has them, else the defaults."""
    if isinstance(source, CloopSource):
        return Codec.ZLIB, TAKEN_OVER
    chosen = codec
    if chosen is None:
        chosen = Codec.ZLIB if before is None else Codec[before.codec.upper()]
    if level is None and previous is not None and previous.head.codec is chosen and previous.head.level != TAKEN_OVER:
        level = previous.head.level
    return chosen, check_level(chosen, level)


def _count_files(repo: Path, metadata: Mapping[str, int]) -> tuple[int, list[int]]:
    """(files of the repository, lengths of the metadata that was not in `metadata` before, or was another)."""
    total = 0
    fresh = []
    for part in ("blocks", "files", "metadata"):
        for folder, _, names in os.walk(repo / part):
            total += len(names)
            if part == "metadata":
                fresh = [
                    (Path(folder) / name).stat().st_size
                    for name in names
                    if name not in metadata or name == "timestamp.json"
                ]
    return total, fresh


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
