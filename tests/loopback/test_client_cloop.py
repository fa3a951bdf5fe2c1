"""The .cloop view, any part of it, is what `export --cloop` writes; across pages of the index, holes and the table."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import client_mirrors as world
import pytest
from waiting import eventually

from mirrornet.client.cache.store import Cache
from mirrornet.client.fetching.failover import Failover
from mirrornet.client.fetching.fetch import Fetcher
from mirrornet.client.fuse.cloop import Cloop, absent
from mirrornet.client.mirrors.choice import Choice
from mirrornet.client.mirrors.source import Urls, endpoints_of
from mirrornet.client.reading.reader import Reader
from mirrornet.client.repository import Repository
from mirrornet.image.format.block import Codec
from mirrornet.image.format.cloop import HEADER_SIZE
from mirrornet.image.publishing.export import export
from mirrornet.image.publishing.publish import publish
from mirrornet.image.trust.keys import keygen
from mirrornet.model.errors import LocalError

UNIT = 65536
BLOCKS = 2 * 1024 + 300  # three pages of the index


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> world.Published:
    folder = tmp_path_factory.mktemp("published")
    dice = random.Random(3)
    disk = folder / "disk.img"
    with disk.open("wb") as file:
        for number in (0, 1, 5, *range(1015, 1040), 1500, 2047, 2048, *dice.sample(range(BLOCKS), 60)):
            file.seek(number * UNIT)
            file.write(dice.randbytes(3000) * 20)
        file.truncate(BLOCKS * UNIT - 700)
    keys, repo = folder / "keys", folder / "repo"
    pin = keygen(keys, passphrase=None)
    publish(disk, "disk", repo, keys, now=time.time(), block_size=UNIT)
    return world.Published(folder, disk, repo, keys, pin)


@pytest.fixture(scope="module")
def exported(image: world.Published, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    file = tmp_path_factory.mktemp("exported") / "disk.cloop"
    export(image.repo, "disk", file, "cloop", version=None, now=time.time())
    return file.read_bytes()


@asynccontextmanager
async def reading(image: world.Published, tmp_path: Path, server: world.Mirror | None) -> AsyncIterator[Reader]:
    """Without a server it is offline: metadata from the repository itself, blocks from the cache alone."""
    pool, fetcher = ThreadPoolExecutor(2), Fetcher()
    where = endpoints_of(Urls((server.url if server else f"file://{image.repo}",)))
    try:
        trusted = await Repository(tmp_path / "state", image.pin, fetcher).open(
            where, "disk", None, now=time.time(), require_fresh=False
        )
        choice = Choice()
        choice.update(where)
        failover = Failover(fetcher, choice, pool) if server else None
        reader = Reader(trusted.head, Cache(tmp_path / "cache"), failover, pool)
        yield reader
        await reader.close()
    finally:
        await fetcher.close()
        pool.shutdown()


async def test_any_part_is_exactly_that_of_the_export(image: world.Published, exported: bytes, tmp_path: Path) -> None:
    body = HEADER_SIZE + 8 * (BLOCKS + 1)
    edges = [
        0,
        1,
        127,
        128,
        HEADER_SIZE,
        HEADER_SIZE + 8 * 1024,
        HEADER_SIZE + 16 * 1024,
        body - 8,
        body,
        len(exported),
    ]
    dice = random.Random(4)
    spans = [(max(0, edge - before), edge + after) for edge in edges for before, after in ((1, 1), (0, 9), (13, 5000))]
    spans += [(at, at + dice.randrange(1, 300_000)) for at in (dice.randrange(len(exported)) for _ in range(60))]
    server = world.Mirror(image.repo, "127.0.0.64")
    try:
        async with reading(image, tmp_path, server) as reader:
            view = Cloop(reader)
            assert view.size == len(exported) and not absent(reader.head)
            for start, end in spans:
                assert await view.read(start, end - start) == exported[start:end], (start, end)
            assert await view.read(len(exported), 10) == b""
            whole = await asyncio.gather(*(view.read(at, 1 << 20) for at in range(0, len(exported), 1 << 20)))
            assert b"".join(whole) == exported
            pages = {f"/{page.path}" for page in reader.head.pages}
            asked = [path for path in server.blocks_asked if path not in pages]
            assert len(asked) == len(set(asked)), "each block comes once, whoever waits for it"
            await reader.settle()
        async with reading(image, tmp_path, None) as reader:
            assert await Cloop(reader).read(0, len(exported)) == exported
    finally:
        server.stop()


async def test_offline_without_the_block_is_an_error_and_the_table_is_not(
    image: world.Published, exported: bytes, tmp_path: Path
) -> None:
    server = world.Mirror(image.repo, "127.0.0.65")
    try:
        async with reading(image, tmp_path, server) as reader:
            await reader.row(0)  # its page is in the cache from now on
            await reader.settle()
        before = len(server.blocks_asked)
        async with reading(image, tmp_path, None) as reader:
            view = Cloop(reader)
            assert await view.read(HEADER_SIZE, 8 * 1024) == exported[HEADER_SIZE : HEADER_SIZE + 8 * 1024]
            with pytest.raises(LocalError, match="offline"):
                await view.read(view.size - 10, 10)
            with pytest.raises(LocalError, match="offline"):
                await view.read(HEADER_SIZE + 8 * (BLOCKS + 1), 10)
            assert reader.figures.errors == 2
        assert len(server.blocks_asked) == before
    finally:
        server.stop()


async def test_who_gives_up_leaves_the_others_their_block(
    image: world.Published, exported: bytes, tmp_path: Path
) -> None:
    server = world.Mirror(image.repo, "127.0.0.66")
    try:
        async with reading(image, tmp_path, server) as reader:
            view = Cloop(reader)
            await reader.row(0)
            server.delay = 0.3
            at = HEADER_SIZE + 8 * (BLOCKS + 1)
            first, second = (asyncio.create_task(view.read(at, 100)) for _ in range(2))
            await eventually(lambda: reader.blocks._passing)
            first.cancel()
            assert await second == exported[at : at + 100]
            with pytest.raises(asyncio.CancelledError):
                await first
    finally:
        server.stop()


async def test_only_zlib_has_it(tmp_path: Path) -> None:
    image = world.published(tmp_path, blocks=8, codec=Codec.STORED)
    async with reading(image, tmp_path, None) as reader:
        assert "stored" in absent(reader.head)
