"""An old content as a new version: clients follow it like any update, and none has to accept an older number.

The new version has the old one's index and other targets, byte for byte, under its own number; every block is there
already.  It says what it repeats (`rollback_of`), so a person sees why version 7 looks like version 5.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from mirrornet.image.fetch import file_fetch
from mirrornet.image.files import write_whole
from mirrornet.image.format.block import open_block
from mirrornet.image.format.index import Page
from mirrornet.image.inventory import open_head
from mirrornet.image.publishing.changing import changing
from mirrornet.image.publishing.listing import lacking
from mirrornet.image.publishing.previous import Previous
from mirrornet.image.publishing.tally import Tally
from mirrornet.image.small import METADATA_LIMIT, read_small
from mirrornet.image.trust.versions import ImageVersion, file_path, role_of, target_path
from mirrornet.model.errors import InputError, PeerError


@dataclass(frozen=True, slots=True)
class RollbackReport:
    """`version`: the new one; `rollback_of`: whose content it has; `before`: the newest until now."""

    name: str
    version: int
    rollback_of: int
    before: int
    timestamp: int


def rollback(
    repo: Path, keys: Path, name: str, version: int, *, now: float, passphrase: bytes | None = None
) -> RollbackReport:
    """Makes the content of `version` of the image `name` its newest version.

    Raises InputError (no such version, it is the newest, a file of it is gone), LocalError.
    """
    with changing(repo, keys, "a rollback", now=now, passphrase=passphrase) as change:
        newest = change.versions(name)[-1]
        old = change.was.version(name, version)
        if old.index_hash == newest.index_hash and old.attached == newest.attached:
            raise InputError(f"{name} version {version} is what clients have already (version {newest.version})")
        change.shelf.check_keys([role_of(name), "snapshot", "timestamp"], change.ring.sign)
        if gone := lacking(repo, old):
            raise InputError(f"{name} version {version} is not complete here ({gone}); publish its image again instead")
        number = change.shelf.next_version(name)
        targets = [(old.index_path, old.index_hash, "index")]
        targets += [(other.path, other.hash, other.kind) for other in old.attached]
        paths = {}
        for source, digest, kind in targets:
            data = read_small(repo / source, METADATA_LIMIT)
            if hashlib.sha256(data).digest() != digest:
                raise InputError(f"{repo / source}: is damaged; publish the image of version {version} again instead")
            paths[kind] = file_path(target_path(name, number, kind), digest.hex())
            (repo / paths[kind]).parent.mkdir(parents=True, exist_ok=True)
            write_whole(repo / paths[kind], data, staging=change.staging)
        entry = replace(
            old,
            version=number,
            created=f"{datetime.fromtimestamp(now, UTC):%Y-%m-%dT%H:%M:%SZ}",
            rollback_of=version,
            index_path=paths["index"],
            attached=tuple(replace(other, path=paths[other.kind]) for other in old.attached),
            new=_new_bytes(repo, change.staging, newest, old),
        )
        change.shelf.add(entry, change.ring.sign, change.ring.sign)
        change.commit()
        return RollbackReport(name, number, version, newest.version, change.shelf.timestamp.version)


def _new_bytes(repo: Path, staging: Path, newest: ImageVersion, old: ImageVersion) -> int | None:
    """Stored bytes of the blocks of `old` that `newest` does not have; None where that cannot be told."""
    tally = Tally(staging)
    try:
        Previous(repo, open_head(newest, file_fetch(repo))).walk(tally, 1)
        fetch, total = file_fetch(repo), 0
        head = open_head(old, fetch)
        for number, ref in enumerate(head.pages):
            page = Page.parse(open_block(fetch(ref.path, ref.stored), ref), head, number)
            total += sum(block.stored for block in page.refs if block is not None and not tally.mark(block.hash, 2))
    except PeerError:  # the newest is damaged: all the more reason to go back
        return None
    finally:
        tally.close()
    return total
