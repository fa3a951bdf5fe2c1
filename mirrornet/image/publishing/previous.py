"""The version before: what of it stays, block by block.

Most blocks of a new version stand where they stood.  To see that, the old stored bytes are inflated and compared, which
costs a fifth of compressing, and they stay as they are even when the encoder has changed with its version since: an
update must not send an image again because a library was upgraded.

A publish that was killed leaves such a version, too: what it had stored, listed in a head that nobody signed
(`Unfinished`).  The next one believes nothing of it but looks there as well, so it is spared the compressing.  Packs it
writes again, from the blocks it finds: they come out the same, byte for byte, and those of an image that was changed
meanwhile are not published for the few blocks that are still of use.

One walk at the start also tells what an up-to-date client has (for the figures), and how much of each pack is in use:
a pack that is less than half used is not used again, and what is left of it goes into new ones.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Final, NamedTuple

from mirrornet.image.fetch import file_fetch
from mirrornet.image.files import write_whole
from mirrornet.image.format.block import BlockRef, Codec, block_path, open_block
from mirrornet.image.format.index import MAX_HEAD, Head, Page, Place
from mirrornet.image.inventory import open_head
from mirrornet.image.publishing.packs import read_packed
from mirrornet.image.publishing.tally import Tally
from mirrornet.image.small import open_regular, read_small
from mirrornet.image.trust.versions import ImageVersion
from mirrornet.model.errors import PeerError, Untrusted

_PAGES: Final = 16  # parsed pages kept


class Same(NamedTuple):
    """A block as it was stored.  `place`: in a pack of that version.  `file`: these bytes are a file of their own."""

    ref: BlockRef
    data: bytes
    place: Place | None
    file: bool


class Previous:
    """Blocks that a repository has, by the head of an index.  `same` is safe for many threads."""

    def __init__(self, repository: Path, head: Head, last: bytes = b"") -> None:
        """`last`: the stored bytes of the last page, where the repository does not have it."""
        self._repository = repository
        self._last = last
        self._fetch = file_fetch(repository)
        self.head = head
        self._pages: OrderedDict[int, Page | None] = OrderedDict()
        self._lock = Lock()

    def walk(self, tally: Tally, mark: int) -> list[int]:
        """Marks the hash of every block, page and pack; returns the bytes in use of each pack."""
        live = [0] * len(self.head.packs)
        for pack in self.head.packs:
            tally.mark(pack.hash, mark)
        seen: set[bytes] = set()
        for number, ref in enumerate(self.head.pages):
            if ref.hash in seen:
                continue
            seen.add(ref.hash)
            tally.mark(ref.hash, mark)
            page = self._page(number)
            for block, place in zip(page.refs, page.places, strict=True) if page else ():
                if block is not None and not tally.mark(block.hash, mark) and place is not None:
                    live[place.pack] += block.stored
        return live

    def same(self, number: int, raw: bytes) -> Same | None:
        """Block `number` as it was stored, if it is `raw` and what is stored is whole."""
        row = self._row(number)
        if row is None:
            return None
        ref, place = row
        file = place is None or self.head.packs[place.pack].single
        try:
            stored = self._stored(ref, None if file else place)
            return Same(ref, stored, place, file) if open_block(stored, ref) == raw else None
        except (PeerError, OSError):  # damaged or gone: it is made anew
            return None

    def raw(self, number: int) -> bytes | None:
        """Block `number`, inflated; None where it is zeroes, beyond the end, or damaged."""
        row = self._row(number)
        if row is None:
            return None
        ref, place = row
        try:
            file = place is None or self.head.packs[place.pack].single
            return open_block(self._stored(ref, None if file else place), ref)
        except (PeerError, OSError):
            return None

    def _row(self, number: int) -> tuple[BlockRef, Place | None] | None:
        if number >= self.head.block_count:
            return None
        page_number, position = self.head.locate(number)
        page = self._page(page_number)
        ref = page.block(position) if page else None
        return None if page is None or ref is None else (ref, page.place(position))

    def whole(self, position: int) -> bool:
        """Whether the pack at that position is what its name says, all of it: mirrors will ask."""
        pack = self.head.packs[position]
        try:
            with open_regular(self._repository / block_path(pack.hash)) as file:
                return hashlib.file_digest(file, "sha256").digest() == pack.hash
        except OSError:
            return False

    def _stored(self, ref: BlockRef, place: Place | None) -> bytes:
        if place is None:
            return self._fetch(ref.path, ref.stored)
        return read_packed(self._repository, self.head, ref, place)

    def _page(self, number: int) -> Page | None:
        with self._lock:
            if number in self._pages:
                self._pages.move_to_end(number)
                return self._pages[number]
            ref = self.head.pages[number]
            try:
                inline = self._last and number == len(self.head.pages) - 1
                data = self._last if inline else self._fetch(ref.path, ref.stored)
                page = Page.parse(open_block(data, ref), self.head, number)
            except PeerError:
                page = None
            self._pages[number] = page
            while len(self._pages) > _PAGES:
                self._pages.popitem(last=False)
            return page

    def fits(self, codec: Codec, level: int, block_size: int) -> bool:
        """Whether its blocks may stand in an image of this kind: another level was asked for on purpose."""
        return (self.head.codec, self.head.level, self.head.block_size) == (codec, level, block_size)


def published(repository: Path, version: ImageVersion) -> Previous | None:
    """The blocks of `version`; None where its index is damaged, and then nothing of it is used again."""
    try:
        return Previous(repository, open_head(version, file_fetch(repository)))
    except PeerError:
        return None


class Unfinished:
    """What a publish of `name` has done so far: a file beside the repository's folders that no mirror copies.

    It is a head, the stored bytes of its last page where that is still under way, and their length in 4 bytes.
    """

    def __init__(self, repository: Path, name: str) -> None:
        self._repository = repository
        self._path = repository / f".unfinished-{name}"

    def found(self) -> Previous | None:
        """What one that was killed had done, if there is any of it."""
        try:
            data = read_small(self._path, 2 * MAX_HEAD)
            end = len(data) - 4
            begin = max(0, end - int.from_bytes(data[end:], "little"))
            return Previous(self._repository, Head.parse(data[:begin]), data[begin:end])
        except (OSError, Untrusted):
            return None

    def keep(self, head: Head, last: bytes, staging: Path) -> None:
        """Writes down that the pages of `head` are stored, or are `last`, and all they list.  Raises OSError."""
        write_whole(self._path, head.encode() + last + len(last).to_bytes(4, "little"), staging=staging, sync=False)

    def done(self) -> None:
        """The version is published."""
        self._path.unlink(missing_ok=True)


def kept_packs(head: Head, live: list[int], skip_first: bool) -> Iterator[int]:
    """Positions of the packs that are at least half in use; the first is a profile's where `skip_first`."""
    for position, pack in enumerate(head.packs):
        if not (skip_first and position == 0) and 2 * live[position] >= pack.length:
            yield position
