"""What a version of an image needs: every file of a repository without which some read of it would fail.

One walk, so that a copy, an audit, a collection of garbage, an export and the counts of a publish cannot disagree about
it.  The head is verified by the signed metadata, a page by the head, and only then are the names in them followed: a
mirror that lies makes us fetch nothing.  Blocks themselves are named here, not fetched.

The walk holds one page at a time (a 1 TB image has 4,096 of them), so a block that occurs in two places is told twice:
who counts keeps a set, who copies looks whether the file is there.  Pages are the unit in which versions are equal;
`Seen` remembers those that were walked, so the second version of a large image costs its changed pages only.

Rejected: a list of names as a signed target of its own (it would be as large as all pages, and a second truth).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from mirrornet.image.fetch import Fetch
from mirrornet.image.format.block import block_path, open_block
from mirrornet.image.format.index import MAX_HEAD, Head, Page
from mirrornet.image.trust.versions import ImageVersion
from mirrornet.model.errors import Untrusted

Kind = Literal["head", "page", "block", "pack", "target"]
KINDS: Final[tuple[Kind, ...]] = ("head", "page", "block", "pack", "target")
Seen = set[tuple[bytes, int, bytes]]  # pages walked: hash, block size, and which packs of their head have no singles


@dataclass(frozen=True, slots=True)
class Stored:
    """A file of the repository.

    `path`: relative to it.  `sha256`: 32 octets, of the file's bytes.  `size`: its bytes; None: only the hash is known.
    """

    path: str
    sha256: bytes
    size: int | None
    kind: Kind


def needed(version: ImageVersion, fetch: Fetch, seen: Seen | None = None) -> Iterator[Stored]:
    """Every file that `version` needs: its head, packs, each page and then that page's blocks, its other targets.

    A file may be told more than once.  Pages that are in `seen` are told but not walked again, and those walked are
    added to it: their blocks were told before.  `fetch` is asked for head and pages only.  Raises PeerError: what
    `fetch` raises, and Untrusted where its bytes are not what was signed.
    """
    seen = set() if seen is None else seen
    yield Stored(version.index_path, version.index_hash, version.index_length, "head")
    for target in version.attached:
        yield Stored(target.path, target.hash, target.length, "target")
    head = open_head(version, fetch)
    for pack in head.packs:
        yield Stored(block_path(pack.hash), pack.hash, pack.length, "pack")
    singles = bytes(pack.single for pack in head.packs)
    alone = b"" if all(singles) else singles
    for number, ref in enumerate(head.pages):
        key = (ref.hash, head.block_size, alone)
        yield Stored(ref.path, ref.hash, ref.stored, "page")
        if key in seen:
            continue
        page = Page.parse(open_block(fetch(ref.path, ref.stored), ref), head, number)
        for block, place in zip(page.refs, page.places, strict=True):
            if block is not None and (place is None or singles[place.pack]):
                yield Stored(block.path, block.hash, block.stored, "block")
        seen.add(key)  # not before its last block was told: a walk may be given up in the middle


def needed_by(versions: Iterable[ImageVersion], fetch: Fetch) -> Iterator[Stored]:
    """Every file that any of `versions` needs, as `needed` tells them; a page they share is walked once."""
    seen: Seen = set()
    for version in versions:
        yield from needed(version, fetch, seen)


def open_head(version: ImageVersion, fetch: Fetch) -> Head:
    """The head of the index of `version`, verified by what was signed.  Raises PeerError."""
    if version.index_length > MAX_HEAD:
        raise Untrusted(f"{version.index_path}: {version.index_length} bytes are more than an index may have")
    data = fetch(version.index_path, version.index_length)
    if len(data) != version.index_length or hashlib.sha256(data).digest() != version.index_hash:
        raise Untrusted(f"{version.index_path}: is not the index that was signed; ask another mirror")
    return Head.parse(data)
