"""Which parts of an image are holes, for NBD_CMD_BLOCK_STATUS and base:allocation.  Pure.

A block of zeroes is stored nowhere, so it is both NBD_STATE_HOLE and NBD_STATE_ZERO; any other block is data, also
where it holds a page of zeroes somewhere.  A server may tell of less than it was asked ("Request types"), which is what
we do when that would take much of the index.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mirrornet.client.nbd.wire import HOLE, ZERO

EMPTY: Final = HOLE | ZERO


def extents(offset: int, length: int, unit: int, zero: Sequence[bool]) -> list[tuple[int, int]]:
    """(bytes, flags) from byte `offset` on: neighbours of one kind together, no further than `length` bytes.

    `zero`: of each block, from the one that holds `offset` on, whether it is one of zeroes; at least one, and fewer
    than `length` needs where the rest is not to be told.  `unit`: bytes of a block.
    """
    found: list[tuple[int, int]] = []
    at, end = offset, offset + length
    block = offset // unit
    for is_zero in zero:
        block += 1
        size = min(block * unit, end) - at
        if size <= 0:
            break
        flags = EMPTY if is_zero else 0
        if found and found[-1][1] == flags:
            found[-1] = found[-1][0] + size, flags
        else:
            found.append((size, flags))
        at += size
    return found
