"""A client at a lab's site that reads as a boot without think time does, and says what that took.

    python lab_boot.py SOURCE NAME PIN FOLDER PREFETCH NUMBER...      read these blocks, in order; one JSON object out
    python lab_boot.py SOURCE NAME PIN FOLDER none order BYTES        read so many bytes in order, as a kernel does

No mount: what is measured is the client.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from pathlib import Path

from waiting import eventually

from mirrornet.app.client.session import ClientOptions, Session
from mirrornet.client.reading.reader import Reader

PIECE = 128 << 10  # bytes of a read of the kernel's
AT_ONCE = 8


async def main(source: str, name: str, pin: str, folder: str, prefetch: str, *words: str) -> None:
    home = Path(folder)
    session = Session(ClientOptions(source, name, pin, cache=home / "cache", state=home / "state", prefetch=prefetch))
    await session.open()
    reader = session.read(follow=False)
    assert session.profiles is not None
    await eventually(lambda: all(record.first_byte is not None for record in session.choice.records()))
    begun, waits = time.monotonic(), []
    session.spawn(session.profiles.run())
    if words[0] == "order":
        await in_order(reader, int(words[1]))
    else:
        for number in map(int, words):
            at = time.monotonic()
            await reader.read(number * reader.head.block_size, 4096, handle=1)
            waits.append(time.monotonic() - at)
    seconds = time.monotonic() - begun
    profiles = session.profiles
    await eventually(lambda: profiles.status()["state"] != "running")
    profile = profiles.status()
    said = {
        "seconds": seconds,
        "longest": max(waits, default=0.0),
        "bytes": sum(record.bytes for record in session.choice.records()),
        "mirrors": {record.name: record.bytes for record in session.choice.records()},
        "profile": profile,
    }
    print(json.dumps(said), flush=True)
    await session.close()


async def in_order(reader: Reader, size: int) -> None:
    """Reads of 128 KiB, eight at once."""
    under_way: deque[asyncio.Task[bytes]] = deque()
    for at in range(0, size, PIECE):
        under_way.append(asyncio.create_task(reader.read(at, PIECE, 1)))
        if len(under_way) >= AT_ONCE:
            await under_way.popleft()
    while under_way:
        await under_way.popleft()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
