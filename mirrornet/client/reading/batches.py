"""Blocks that will be needed, grouped into requests: neighbours in a pack come as one stretch of it.  Pure.

A batch is small, so that the first blocks are here soon and few wait for one unlucky connection (replay.py).  A gap (a
block that is here already) ends a batch: fetching what is here costs more than another request on a connection that is
open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mirrornet.image.format.block import BlockRef
from mirrornet.image.format.index import Place

SIZE: Final = 256 << 10  # stored bytes of a batch, unless one block has more


@dataclass(frozen=True, slots=True)
class Needed:
    """A block that is not zero: its number, its reference, where in a pack it lies."""

    number: int
    ref: BlockRef
    place: Place | None


@dataclass(frozen=True, slots=True)
class Batch:
    """Blocks one after the other in a pack, or one block that stands alone."""

    blocks: tuple[Needed, ...]

    @property
    def size(self) -> int:
        """Stored bytes."""
        return sum(block.ref.stored for block in self.blocks)


def batched(blocks: Sequence[Needed], limit: int = SIZE) -> list[Batch]:
    """`blocks` in their order, cut into batches of up to `limit` stored bytes."""
    found: list[Batch] = []
    held: list[Needed] = []
    for block in blocks:
        size = sum(each.ref.stored for each in held)
        if held and (not _follows(held[-1], block) or size + block.ref.stored > limit):
            found.append(Batch(tuple(held)))
            held = []
        held.append(block)
    if held:
        found.append(Batch(tuple(held)))
    return found


def _follows(one: Needed, other: Needed) -> bool:
    if one.place is None or other.place is None or one.place.pack != other.place.pack:
        return False
    return other.place.offset == one.place.offset + one.ref.stored
