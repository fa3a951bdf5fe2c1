"""Readers that share a cache and are killed: `python killed_cache.py REPO IMAGE HEAD URL FOLDER RUNS`.

A process of its own, since it forks and a test's process has threads.  Each run has two readers of the same image, of
which each compares what it reads with the image itself; both are killed (-9) after some reads, at a moment the dice
choose.  Then the cache is looked at: finished blocks within the quota, each of them right.  Prints what it counted.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import mmap
import os
import random
import select
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mirrornet.client.cache.store import Cache
from mirrornet.client.fetching.failover import Failover
from mirrornet.client.fetching.fetch import Fetcher
from mirrornet.client.mirrors.choice import Choice
from mirrornet.client.mirrors.source import Urls, endpoints_of
from mirrornet.client.reading.reader import Reader
from mirrornet.image.format.index import Head

QUOTA = 9 << 18  # nine blocks, of which the image has twenty
UNIT = 262144
READS = 40  # reads of 256 KiB before a reader is killed, at most


async def read(head: Head, content: mmap.mmap, url: str, folder: Path, seed: int, told: int) -> None:
    """Reads at random until killed: a dot for each right answer, W for a wrong one."""
    dice = random.Random(seed)
    pool, choice, fetcher = ThreadPoolExecutor(4), Choice(), Fetcher()
    choice.update(endpoints_of(Urls((url,))))
    cache = Cache(folder, QUOTA)
    cache.measure(time.time())
    reader = Reader(head, cache, Failover(fetcher, choice, pool), pool, memory=2 * UNIT)
    while True:
        offset = dice.randrange(len(content) - UNIT)
        size = dice.choice((1, 4096, UNIT, UNIT))
        right = await reader.read(offset, size) == content[offset : offset + size]
        os.write(told, b"." if right else b"W")


def start(head: Head, content: mmap.mmap, url: str, folder: Path, seed: int) -> tuple[int, int]:
    """A reader: (process, where it tells)."""
    there, here = os.pipe()
    pid = os.fork()
    if pid:
        os.close(here)
        return pid, there
    try:
        os.close(there)
        asyncio.run(read(head, content, url, folder, seed, here))
    finally:
        os._exit(3)


def watch(readers: dict[int, tuple[int, int]], dice: random.Random) -> tuple[int, int]:
    """Kills each reader after its number of reads and a moment more; (right, wrong) answers until then."""
    right = wrong = 0
    while readers:
        for pipe in select.select(list(readers), [], [], 30)[0]:
            pid, left = readers.pop(pipe)
            said = os.read(pipe, 4096)
            assert said, "a reader died of itself"
            right, wrong, left = right + said.count(b"."), wrong + said.count(b"W"), left - len(said)
            if left > 0:
                readers[pipe] = pid, left
                continue
            time.sleep(dice.random() * 0.004)  # into the middle of whatever comes next
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(pipe)
    return right, wrong


def main() -> None:
    repo, image, head_file, url, folder, runs = sys.argv[1:]
    head = Head.parse((Path(repo) / head_file).read_bytes())
    cache = Path(folder)
    right = wrong = over = spoilt = half = 0
    with Path(image).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for run in range(int(runs)):
            dice = random.Random(run)
            readers = {}
            for number in range(2):
                pid, pipe = start(head, content, url, cache, 1000 * run + number)
                readers[pipe] = pid, dice.randrange(1, READS)
            found = watch(readers, dice)
            right, wrong = right + found[0], wrong + found[1]
            files = [path for path in (cache / "blocks").rglob("*") if path.is_file()]
            whole = [path for path in files if not path.name.startswith(".")]
            half += len(files) - len(whole)
            over += sum(path.stat().st_size for path in whole) > QUOTA
            spoilt += sum(hashlib.sha256(path.read_bytes()).hexdigest() != path.name for path in whole)
    print(json.dumps({"right": right, "wrong": wrong, "over": over, "spoilt": spoilt, "half": half}))


if __name__ == "__main__":
    main()
