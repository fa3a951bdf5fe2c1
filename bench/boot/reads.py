"""Plain reads of a disk: 64 MB in order, and single blocks of 4 KiB at random places, each timed.

Both read where the image has something: holes cost nobody anything.  Which places, is a matter of a seed, the same for
every contestant; random places lie in blocks of 256 KiB of their own and not in the stretch that is read in order, so
that each is somebody's first touch.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

MEGABYTE = 1_000_000
BLOCK = 256 << 10
STRETCH = 64 * MEGABYTE // BLOCK * BLOCK
PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Places:
    """Where to read, in bytes: `start` of the stretch, and the random `offsets`."""

    start: int
    offsets: tuple[int, ...]


def full_blocks(image: Path) -> list[int]:
    """The numbers of the blocks that hold anything but zeroes."""
    zero = bytes(BLOCK)
    found = []
    with image.open("rb") as file:
        number = 0
        while data := file.read(BLOCK):
            if data != zero[: len(data)]:
                found.append(number)
            number += 1
    return found


def places(full: Sequence[int], count: int, dice: random.Random) -> Places:
    """The first stretch without a hole, and `count` places elsewhere.  Raises ValueError where the image has neither.

    `full`: the numbers of the blocks that hold anything, in order.
    """
    wide = STRETCH // BLOCK
    start = next((one for one, last in zip(full, full[wide - 1 :], strict=False) if last - one == wide - 1), None)
    if start is None:
        raise ValueError(f"the image has no {wide} blocks in a row without a hole")
    others = [number for number in full if not start - 8 <= number < start + wide + 8]
    if len(others) < count:
        raise ValueError(f"the image has {len(others)} other blocks, and {count} are wanted")
    chosen = dice.sample(others, count)
    return Places(start * BLOCK, tuple(number * BLOCK + dice.randrange(BLOCK // 4096) * 4096 for number in chosen))


def in_order(file: Path, start: int, size: int = STRETCH) -> float:
    """Seconds for `size` bytes from `start`, a megabyte at a time."""
    with file.open("rb", buffering=0) as opened:
        begun = time.monotonic()
        for offset in range(start, start + size, PIECE):
            want = min(PIECE, start + size - offset)
            while want:
                got = len(os.pread(opened.fileno(), want, offset))
                if not got:
                    raise OSError(f"{file} ends at {offset}")
                want, offset = want - got, offset + got
        return time.monotonic() - begun


def at_random(file: Path, offsets: Sequence[int], before: Callable[[int], object] = lambda number: None) -> list[float]:
    """Seconds that each 4 KiB took, one after the other; `before` is called with the number of each."""
    took = []
    with file.open("rb", buffering=0) as opened:
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for number, offset in enumerate(offsets):
            before(number)
            begun = time.monotonic()
            if len(os.pread(opened.fileno(), 4096, offset)) != 4096:
                raise OSError(f"{file} ends at {offset}")
            took.append(time.monotonic() - begun)
    return took
