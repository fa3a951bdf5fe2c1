"""A mirror that becomes known while the only one known before is silent: who waits already is served by it."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import client_mirrors as world
import pytest
from waiting import eventually

from mirrornet.client.cache.store import Cache
from mirrornet.client.fetching.failover import Failover
from mirrornet.client.fetching.fetch import Fetcher
from mirrornet.client.mirrors.choice import Choice
from mirrornet.client.mirrors.source import Urls, endpoints_of
from mirrornet.client.reading.reader import Reader
from mirrornet.client.repository import Repository

DEADLINE = 40.0  # seconds for the read; what hangs, hangs for longer than that


@pytest.mark.parametrize("behave", ["hang", "stall"])
async def test_a_reader_who_waits_is_served_by_a_mirror_that_is_known_later(tmp_path: Path, behave: str) -> None:
    image = world.published(tmp_path)
    fetcher, pool = Fetcher(progress=2 * DEADLINE), ThreadPoolExecutor(2)
    with world.mirrors(image.repo, 2) as servers:
        only, both = (endpoints_of(Urls(tuple(server.url for server in servers[:count]))) for count in (1, 2))
        repository = Repository(tmp_path / "state", image.pin, fetcher)
        trusted = await repository.open(only, "disk", None, now=time.time(), require_fresh=False)
        choice = Choice()
        choice.update(only)
        reader = Reader(
            trusted.head, Cache(tmp_path / "cache"), Failover(fetcher, choice, pool), pool, deadline=DEADLINE
        )
        await reader.read(0, 1)  # the page of the index is here
        servers[0].behave, before = behave, len(servers[0].blocks_asked)
        begun = time.monotonic()
        read = asyncio.create_task(reader.read(2 << 20, 4096))
        await eventually(lambda: len(servers[0].blocks_asked) > before)
        choice.update(both)
        assert await read == image.content[2 << 20 : (2 << 20) + 4096]
        assert time.monotonic() - begun < DEADLINE / 4
        await reader.close()
    await fetcher.close()
    pool.shutdown()
