"""A body that breaks off is gone on with where it ended, or read again up to there.

A dump of 600 MB over a bad line never comes in one piece.  The server may honour a range, ignore it and begin again, or
have another file by now; the caller has already parsed what came.  So the CRC-32 of everything handed on is kept: a
body that begins again is skipped up to where the last one ended and must have the same sum there, else the file has
changed, and only a new start of everything helps (Changed).  The sum costs little beside inflating the same bytes.

This knows no protocol: `reopen(start)` is one of http.py's or ftp.py's.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator
from typing import Final

from mirrornet.model.errors import Unreachable
from mirrornet.model.units import format_duration
from mirrornet.radb.fetching.limits import Body, Broken, Changed, Limits

ATTEMPTS: Final = 20  # resumptions of one body
IDLE_ATTEMPTS: Final = 3  # of these in a row without a new byte


def resumed(
    body: Body,
    reopen: Callable[[int], Body],
    name: str,
    limits: Limits,
    deadline: float,
    pause: Callable[[float], None],
) -> Iterator[bytes]:
    """The portions of `body`, gone on with by `reopen` (from an offset) where it breaks off.

    `deadline`: of time.monotonic(), for all of it.  `pause` waits that many seconds.  Raises Changed, Unreachable, and
    what `reopen` raises other than Broken.
    """
    received, checksum = 0, 0
    attempts = idle = 0
    current: Body | None = body
    fault = ""
    while True:
        before = received
        try:
            if current is None:
                current = reopen(received)
            for portion in _from(current, received, checksum, name, deadline):
                if time.monotonic() > deadline:
                    raise Unreachable(f"{name}: not finished after {format_duration(limits.whole)}, so it was given up")
                checksum = zlib.crc32(portion, checksum)
                received += len(portion)
                yield portion
            return
        except Broken as broken:
            fault = str(broken)
        current = None
        attempts += 1
        idle = 1 if received > before else idle + 1
        if idle > IDLE_ATTEMPTS or attempts > ATTEMPTS:
            raise Unreachable(f"{name}: {fault}, {attempts} times, so it was given up: fetch it again")
        wait = limits.pause * 2 ** (idle - 1)
        if time.monotonic() + wait > deadline:
            raise Unreachable(f"{name}: not finished after {format_duration(limits.whole)}, so it was given up")
        pause(wait)


def _from(body: Body, wanted: int, checksum: int, name: str, deadline: float) -> Iterator[bytes]:
    """The portions of `body` from the offset `wanted` on; what lies before must have `checksum`."""
    if body.start not in (0, wanted):
        raise Changed(f"{name}: the server sends another part of the file than was asked for: fetch it again")
    to_skip = wanted - body.start
    skipped = 0
    for portion in body.portions:
        if to_skip:
            if time.monotonic() > deadline:
                raise Unreachable(f"{name}: too slow to be read a second time, so it was given up")
            head = portion[:to_skip]
            to_skip -= len(head)
            skipped = zlib.crc32(head, skipped)
            if not to_skip and skipped != checksum:
                raise Changed(f"{name}: the file changed while it was fetched: fetch it again")
            portion = portion[len(head) :]
        if portion:
            yield portion
    if to_skip:
        raise Broken("the connection ended too early")
