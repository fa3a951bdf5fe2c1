"""What a newer version will cost: the blocks that the one in use does not have.  Pure.

Pages of an index are named by hash, and equal where the image is, so only pages that differ are looked at: of an image
of 1 TB in which a package was upgraded, a handful of 4,096.  A block that moved here from a page that did not change
counts as new though it is not; that is rare, and on the safe side.

Where most of the image changed, nobody wants the pages fetched for a line of `status`: then the publisher's own figure
(what each version added to the one before) has to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from mirrornet.image.format.block import BlockRef
from mirrornet.image.format.index import Head, Page, Place
from mirrornet.image.trust.versions import ImageVersion

MOST_PAGES: Final = 256  # of 1,024 blocks: some 10 MB of index


class Row(NamedTuple):
    """A block, and its place in a pack where it is in one."""

    ref: BlockRef
    place: Place | None


def changed(old: Head, new: Head) -> tuple[list[int], list[int]]:
    """The pages of `old` and those of `new` that the other does not have, by number."""
    before, after = {ref.hash for ref in old.pages}, {ref.hash for ref in new.pages}
    return (
        [number for number, ref in enumerate(old.pages) if ref.hash not in after],
        [number for number, ref in enumerate(new.pages) if ref.hash not in before],
    )


def news(old: Iterable[Page], new: Iterable[Page]) -> list[Row]:
    """The blocks of the pages `new` that are in none of `old`, each once, in order."""
    known = {ref.hash for page in old for ref in page.refs if ref is not None}
    return [row for row in rows(new) if row.ref.hash not in known]


def rows(pages: Iterable[Page]) -> list[Row]:
    """The blocks of these pages, each once, in order; blocks of zeroes are nothing to fetch."""
    found: dict[bytes, Row] = {}
    for page in pages:
        for ref, place in zip(page.refs, page.places, strict=True):
            if ref is not None and ref.hash not in found:
                found[ref.hash] = Row(ref, place)
    return list(found.values())


def published_cost(versions: Sequence[ImageVersion], mounted: int, newest: int) -> int | None:
    """Stored bytes of what came after version `mounted`, up to `newest`, as the publisher told; None: he did not."""
    between = [image for image in versions if mounted < image.version <= newest]
    told = [image.new for image in between if image.new is not None]
    return sum(told) if between and len(told) == len(between) else None


def seconds(size: int, links: Iterable[tuple[float | None, float | None]]) -> float | None:
    """How long `size` bytes take from the best of `links`; None: nothing was measured.

    A link is a mirror's seconds to a first byte, and its line's bytes a second.  Requests overlap, so a round trip is
    paid twice: for the pages and for the first block.
    """
    times = [2 * first + size / rate for first, rate in links if first is not None and rate]
    return min(times) if times else None
