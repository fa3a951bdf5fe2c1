"""A client at a lab's site, which reads what it is told to and says how long each read took.

    python lab_reader.py SOURCE NAME PIN FOLDER      lines in: "random COUNT", "order COUNT BYTES", "end"
                                                     lines out: one JSON object for each

A read of "random" is 4 KiB of a block that no other one has read; "order" goes on where it stopped.  No mount: what is
measured is the client.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

from mirrornet.app.client.session import ClientOptions, Session


async def main(source: str, name: str, pin: str, folder: str) -> None:
    home = Path(folder)
    session = Session(ClientOptions(source, name, pin, cache=home / "cache", state=home / "state", prefetch="none"))
    await session.open()
    reader = session.read(follow=False)
    count = reader.head.block_count - 1
    unit = reader.head.block_size
    left = list(range(count))
    random.Random(1).shuffle(left)
    place = 0
    await reader.read(left.pop() * unit, 4096)
    for _ in range(200):  # as a mount that is a moment old: every mirror is measured
        if all(record.first_byte is not None for record in session.choice.records()):
            break
        await asyncio.sleep(0.05)
    say({"ready": True})
    loop = asyncio.get_running_loop()
    while (words := (await loop.run_in_executor(None, sys.stdin.readline)).split()) and words[0] != "end":
        waits: list[float] = []
        requests, hedges, begun = session.choice.requests, session.choice.hedges, time.monotonic()
        for number in range(int(words[1])):
            at = time.monotonic()
            if words[0] == "random":
                await reader.read(left.pop() * unit, 4096, handle=1000 + number)
            else:
                size = int(words[2])
                await reader.read(place, size, handle=1)
                place += size
            waits.append(time.monotonic() - at)
        choice = session.choice
        say(
            {
                "waits": waits,
                "seconds": time.monotonic() - begun,
                "requests": choice.requests - requests,
                "hedges": choice.hedges - hedges,
                "mirrors": {record.name: record.blocks for record in choice.records()},
                "blames": {record.name: dict(record.blames) for record in choice.records()},
                "favourite": choice.favourite,
            }
        )
    await session.close()


def say(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
