"""An old content as a new version: clients follow it like any update, and none has to accept an older number.

The new version has the old one's index and other targets, byte for byte, under its own number; every block is there
already.  It says what it repeats (`rollback_of`), so a person sees why version 7 looks like version 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from mirrornet.image.fetch import file_fetch
from mirrornet.image.format.block import open_block
from mirrornet.image.format.index import Page
from mirrornet.image.inventory import open_head
from mirrornet.image.publishing.attach import gather, place
from mirrornet.image.publishing.changing import changing
from mirrornet.image.publishing.listing import lacking
from mirrornet.image.publishing.previous import Previous
from mirrornet.image.publishing.tally import Tally
from mirrornet.image.trust.versions import Attached, ImageVersion, role_of
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
        index = Attached("index", old.index_path, old.index_hash, old.index_length)
        placed = _again(repo, change.staging, name, number, [index, *old.attached])
        entry = replace(
            old,
            version=number,
            created=f"{datetime.fromtimestamp(now, UTC):%Y-%m-%dT%H:%M:%SZ}",
            rollback_of=version,
            index_path=placed.pop("index").path,
            attached=tuple(placed.values()),
            new=_new_bytes(repo, change.staging, newest, old),
        )
        change.shelf.add(entry, change.ring.sign, change.ring.sign)
        change.commit()
        return RollbackReport(name, number, version, newest.version, change.shelf.timestamp.version)


def _again(repo: Path, staging: Path, name: str, number: int, old: Sequence[Attached]) -> dict[str, Attached]:
    """The files `old`, by kind, under version `number`, byte for byte.  Raises InputError where one is damaged."""
    signed = {target.kind: target for target in old}
    gathered = gather(repo, staging, {kind: repo / target.path for kind, target in signed.items()})
    for each in gathered:
        if each.hash != signed[each.kind].hash:
            raise InputError(f"{repo / signed[each.kind].path}: is damaged; publish that version's image again instead")
    again = [replace(each, inside=signed[each.kind].inside) for each in gathered]
    return {target.kind: target for target in place(repo, name, number, again)}


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
