"""One heap for all threads of a client: freed blocks are there for the next block, whoever freed or takes them.

glibc gives each thread an arena of its own, and what is freed in one serves no other.  Blocks of 256 KiB that are
inflated by several threads and forgotten by one leave each arena as large as it ever was: 215 MB resident after random
reads of a Debian, with 72 MiB of blocks in memory; with one arena 145 MB, at the same speed (a block is one allocation,
and inflating it takes a thousand times as long).

The threshold above which glibc maps each allocation anew, and unmaps it when it is freed, is set beyond the largest
read: pages that come back from the kernel have to be filled with zeroes first, a tenth of what inflating costs.

Nothing happens where the C library has no mallopt (musl): memory is larger then, and all works.
"""

from __future__ import annotations

import ctypes
from typing import Final

# malloc.h: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX
SETTINGS: Final = ((-1, 16 << 20), (-3, 32 << 20), (-8, 1))


def one_heap() -> bool:
    """Has the process allocate from one heap; False where the C library knows no such thing.  Before any thread."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    mallopt.argtypes, mallopt.restype = [ctypes.c_int, ctypes.c_int], ctypes.c_int
    return all([mallopt(name, value) == 1 for name, value in SETTINGS])
