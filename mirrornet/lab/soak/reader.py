"""A program: reads a mounted image at random, for ever, and compares every byte with the original.

    python reader.py MOUNTED ORIGINAL SEED DEADLINE

It begins when a line comes on its standard input, and ends at the next one with what it did, one JSON object.  Pages
of the file are dropped before each read, so that every read is the mount's.
"""

from __future__ import annotations

import json
import os
import random
import select
import sys
import time
from pathlib import Path
from typing import Any, Final

SIZES: Final = (4 << 10, 64 << 10, 1 << 20)
PAUSE: Final = 0.02  # seconds between two reads: a reader, not a flood
BINS: Final = [0.001 * 1.2**i for i in range(70)]  # seconds


def main(mounted: str, original: str, seed: int, deadline: float) -> dict[str, Any]:
    """Reads until a second line comes; what it did.  `deadline`: seconds after which a read is trouble."""
    dice = random.Random(seed)
    size = Path(original).stat().st_size
    count = total = 0
    slowest = 0.0
    counts = [0] * (len(BINS) + 1)
    troubled: list[tuple[float, str]] = []
    with Path(original).open("rb", buffering=0) as right:
        sys.stdin.readline()
        while not select.select([sys.stdin], [], [], PAUSE)[0]:
            length = dice.choice(SIZES)
            offset = dice.randrange(0, max(1, size - length)) & -4096
            began, at = time.monotonic(), time.time()
            what = ""
            try:
                got = _read(mounted, offset, length)
                if got != os.pread(right.fileno(), len(got), offset) or len(got) != min(length, size - offset):
                    what = f"{length} bytes at {offset} are wrong"
            except OSError as error:
                what = f"{length} bytes at {offset}: {error.strerror}"
            took = time.monotonic() - began
            count, total, slowest = count + 1, total + length, max(slowest, took)
            counts[next((i for i, edge in enumerate(BINS) if took <= edge), len(BINS))] += 1
            if not what and took > deadline:
                what = f"{length} bytes at {offset} took {took:.1f} s"
            if what:
                troubled.append((at, what))
    below = 0
    p99 = slowest
    for edge, number in zip(BINS, counts, strict=False):
        below += number
        if below >= 0.99 * count:
            p99 = min(edge, slowest)
            break
    return {"count": count, "bytes": total, "slowest": slowest, "p99": p99, "troubled": troubled[:100]}


def _read(path: str, offset: int, length: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, offset, length, os.POSIX_FADV_DONTNEED)
        pieces = []
        while length:
            piece = os.pread(descriptor, length, offset)
            if not piece:
                break
            pieces.append(piece)
            offset, length = offset + len(piece), length - len(piece)
        return b"".join(pieces)
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))))
