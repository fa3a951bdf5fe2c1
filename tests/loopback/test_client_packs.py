"""Blocks out of packs, by range and from servers that know none; and what the very first read costs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import client_mirrors as world
import pytest
from contents import some_bytes

from mirrornet.client.cache.store import Cache
from mirrornet.client.fetching.failover import Failover
from mirrornet.client.fetching.fetch import Fetcher, Within
from mirrornet.client.mirrors.choice import Choice
from mirrornet.client.mirrors.source import Endpoint, Urls, endpoints_of
from mirrornet.client.reading.reader import Reader
from mirrornet.client.repository import Repository
from mirrornet.image.format.profile import Profile
from mirrornet.image.publishing.publish import publish
from mirrornet.image.trust.keys import keygen
from mirrornet.model.errors import Missing, Unreachable, Untrusted

UNIT = 262144


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> world.Published:
    return world.published(tmp_path_factory.mktemp("packed"), packs=True)


@asynccontextmanager
async def reading(pin: str, urls: list[str], folder: Path, name: str = "disk") -> AsyncIterator[Reader]:
    pool = ThreadPoolExecutor(2)
    fetcher = Fetcher(connect=2, progress=2)
    endpoints = endpoints_of(Urls(tuple(urls)))
    try:
        repository = Repository(folder / "state", pin, fetcher)
        trusted = await repository.open(endpoints, name, None, now=time.time(), require_fresh=False)
        choice = Choice()
        choice.update(endpoints)
        reader = Reader(trusted.head, Cache(folder / "cache"), Failover(fetcher, choice, pool), pool, deadline=20)
        yield reader
        await reader.close()
    finally:
        await fetcher.close()
        pool.shutdown()


@pytest.mark.parametrize("ranges", [True, False])
async def test_every_byte(image: world.Published, tmp_path: Path, ranges: bool) -> None:
    with world.mirrors(image.repo, 2) as servers:
        for server in servers:
            server.ranges = ranges
        async with reading(image.pin, [server.url for server in servers], tmp_path) as reader:
            content = image.content
            assert await reader.read(len(content) - 5, 5) == content[-5:]
            assert await reader.read(3 * UNIT + 7, 2 * UNIT) == content[3 * UNIT + 7 : 5 * UNIT + 7]
            assert await reader.read(0, len(content)) == content
            parts = [part for server in servers for part in server.parts]
            assert bool(parts) is ranges
            files = {path for server in servers for path in server.blocks_asked}
            assert len(files) == len(reader.head.packs) + len(reader.head.pages)
    assert len(list((image.repo / "blocks").rglob("?" * 64))) == len(files)


async def test_a_lie_in_a_pack_is_the_mirrors(
    image: world.Published, tmp_path: Path, expected_warnings: list[str]
) -> None:
    expected_warnings.append("gave a corrupt block")
    with world.mirrors(image.repo, 2) as servers:
        async with reading(image.pin, [server.url for server in servers], tmp_path) as reader:
            pages = {f"/{ref.path}" for ref in reader.head.pages}
            servers[0].behave, servers[0].spare = "lie", pages
            for first in range(0, len(image.content), 4 * UNIT):
                assert await reader.read(first, 4 * UNIT) == image.content[first : first + 4 * UNIT]


async def test_a_part_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(range(200)))
    local = Endpoint("local", tmp_path.as_uri(), allow_local=True)
    fetcher = Fetcher(connect=2, progress=2)
    try:
        with world.mirrors(tmp_path, 1) as servers:
            served = Endpoint("served", servers[0].url, allow_local=True)
            for endpoint in (local, served):
                for ranges in (True, False):
                    servers[0].ranges = ranges
                    for offset, count in ((0, 1), (7, 100), (199, 1), (0, 200), (190, 50)):
                        within = Within(offset, 200)
                        found = await fetcher.fetch(endpoint, "file", count, within=within)
                        assert found.data == bytes(range(200))[offset : offset + count]
            servers[0].ranges = False
            with pytest.raises(Untrusted, match="200 bytes where at most 150"):
                await fetcher.fetch(served, "file", 10, within=Within(0, 150))
            servers[0].behave = "missing"
            with pytest.raises(Missing):
                await fetcher.fetch(served, "nothing", 10, within=Within(0, 150))
    finally:
        await fetcher.close()


async def test_a_part_nobody_asked_for() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 206 Partial Content\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    fetcher = Fetcher(connect=2, progress=2)
    try:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(Unreachable, match="not asked for"):
            await fetcher.fetch(Endpoint("m", url, allow_local=True), "file", 10)
    finally:
        await fetcher.close()
        server.close()


async def test_the_first_read_of_2_gb(tmp_path: Path) -> None:
    """Beyond metadata two small requests, for the head and a page; then the block."""
    path = tmp_path / "large.img"
    with path.open("wb") as file:
        for number in range(8):
            file.seek(number << 28)
            file.write(some_bytes(UNIT, number))
        file.truncate(2 << 30)
    pin = keygen(tmp_path / "keys", passphrase=None)
    report = publish(path, "large", tmp_path / "repo", tmp_path / "keys", now=time.time())
    assert report.pages == 8
    with world.mirrors(tmp_path / "repo", 1) as (server,):
        async with reading(pin, [server.url], tmp_path, "large") as reader:
            assert await reader.read((5 << 28) + 100, 4096) == some_bytes(UNIT, 5)[100:4196]
        asked = [name for name in server.asked if not name.startswith("/metadata/")]
        assert len(asked) == 3, asked
        small = [(tmp_path / "repo" / name.lstrip("/")).stat().st_size for name in asked[:2]]
        assert asked[0].endswith(".index") and max(small) < 50_000


async def test_the_blocks_of_a_profile_stand_alone_as_well(tmp_path: Path) -> None:
    image = world.published(tmp_path, profile=Profile(UNIT, (3, 0, 20)))
    with world.mirrors(image.repo, 1) as (server,):
        async with reading(image.pin, [server.url], tmp_path) as reader:
            assert [pack.single for pack in reader.head.packs] == [True]
            assert await reader.read(0, len(image.content)) == image.content
        pack = f"/blocks/{reader.head.packs[0].hash.hex()[:2]}/{reader.head.packs[0].hash.hex()}"
        assert pack not in server.asked
        assert (image.repo / pack.lstrip("/")).is_file()
