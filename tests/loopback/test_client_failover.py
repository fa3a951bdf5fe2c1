"""Blocks from real servers that are slow, empty, lying, cut off or silent: always the right bytes, blame by name."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import client_mirrors as world
import pytest
from kept import kept
from waiting import eventually

from mirrornet.client.cache.store import Cache
from mirrornet.client.fetching.failover import Failover
from mirrornet.client.fetching.fetch import Fetcher
from mirrornet.client.mirrors.choice import Blame, Choice
from mirrornet.client.mirrors.source import Urls, endpoints_of
from mirrornet.client.reading.reader import Reader
from mirrornet.client.repository import Repository
from mirrornet.image.format.index import Head
from mirrornet.model.errors import Expired, InputError, LocalError, Missing, PeerError, Unreachable, Untrusted


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> world.Published:
    return world.published(tmp_path_factory.mktemp("published"))


@pytest.fixture
def three(image: world.Published) -> Iterator[list[world.Mirror]]:
    with world.mirrors(image.repo, 3) as servers:
        yield servers


class Client:
    """The client's parts without a mount."""

    def __init__(self, head: Head, cache: Cache, choice: Choice, failover: Failover, reader: Reader) -> None:
        self.head, self.cache, self.choice, self.failover, self.reader = head, cache, choice, failover, reader

    def record(self, mirror: world.Mirror) -> Any:
        return next(record for record in self.choice.records() if record.name == mirror.name)


@asynccontextmanager
async def client(
    image: world.Published, servers: list[world.Mirror], tmp_path: Path, deadline: float = 20.0, silence: float = 10.0
) -> AsyncIterator[Client]:
    """`silence`: seconds after which a silent mirror is given up; a busy machine's good ones answer long before."""
    pool = ThreadPoolExecutor(2)
    fetcher = Fetcher(connect=silence, progress=silence)
    endpoints = endpoints_of(Urls(tuple(server.url for server in servers)))
    try:
        repository = Repository(tmp_path / "state", image.pin, fetcher)
        trusted = await repository.open(endpoints, "disk", None, now=time.time(), require_fresh=False)
        choice = Choice()
        choice.update(endpoints)
        failover = Failover(fetcher, choice, pool)
        cache = Cache(tmp_path / "cache")
        reader = Reader(trusted.head, cache, failover, pool, deadline=deadline)
        yield Client(trusted.head, cache, choice, failover, reader)
        await reader.close()
    finally:
        await fetcher.close()
        pool.shutdown()


async def test_any_range_is_exactly_those_bytes(
    image: world.Published, three: list[world.Mirror], tmp_path: Path
) -> None:
    content = image.content
    dice = random.Random(2)
    async with client(image, three, tmp_path) as c:
        for _ in range(40):
            offset = dice.randrange(len(content))
            size = dice.choice([1, 512, 4096, 262144, 1_000_000])
            assert await c.reader.read(offset, size) == content[offset : offset + size]
        assert await c.reader.read(0, len(content) + 10) == content
        assert await c.reader.read(len(content), 10) == b""
        assert c.reader.figures.zero > 0


async def test_a_block_that_many_want_is_fetched_once(
    image: world.Published, three: list[world.Mirror], tmp_path: Path
) -> None:
    async with client(image, three, tmp_path) as c:
        parts = await asyncio.gather(*(c.reader.read(number * 1000, 1000) for number in range(100)))
        assert b"".join(parts) == image.content[:100_000]
        first = (await c.reader.row(0))[0].path  # type: ignore[union-attr]
        assert sum(path == f"/{first}" for server in three for path in server.asked) <= 2  # one, and a hedge


@pytest.mark.parametrize("behave", ["missing", "lie", "truncate", "die", "hang", "gzip", "redirect", "circle", "long"])
async def test_one_bad_mirror_costs_nobody_a_byte(
    image: world.Published, three: list[world.Mirror], tmp_path: Path, behave: str, expected_warnings: list[str]
) -> None:
    expected_warnings.append("gave a corrupt block")
    three[0].behave = behave
    async with client(image, three, tmp_path, silence=0.5 if behave == "hang" else 10.0) as c:
        assert await c.reader.read(0, len(image.content)) == image.content
        bad = c.record(three[0])
        assert bad.blocks == 0
        if behave == "missing":
            assert bad.missing > 0 and not bad.blames
        elif behave in ("lie", "truncate", "gzip", "redirect", "long"):
            assert bad.blames[Blame.CORRUPT] >= 1 and bad.corrupt_until > time.monotonic() + 500
            assert len(three[0].blocks_asked) < 10, "a corrupt mirror is left alone"
        else:
            assert bad.blames[Blame.UNREACHABLE] + bad.blames[Blame.SLOW] >= 1
            assert behave != "circle" or "redirects" in bad.last_blame
        assert c.reader.figures.longest_stall < 9, "neither the reader's deadline nor a silent mirror's was waited for"


async def test_a_redirect_on_the_same_host_is_followed(
    image: world.Published, three: list[world.Mirror], tmp_path: Path
) -> None:
    three[0].behave = "moved"
    async with client(image, three[:1], tmp_path) as c:
        assert await c.reader.read(0, len(image.content)) == image.content
        assert not c.record(three[0]).blames


async def test_when_all_lie_the_reader_gets_an_error_and_no_byte(
    image: world.Published, three: list[world.Mirror], tmp_path: Path, expected_warnings: list[str]
) -> None:
    expected_warnings.append("gave a corrupt block")
    async with client(image, three, tmp_path) as c:
        await c.reader.read(0, 10)
        for server in three:
            server.behave = "lie"
        with pytest.raises(Untrusted, match="gave wrong bytes"):
            await c.reader.read(2 * 262144, 10)
        assert await c.reader.read(0, 10) == image.content[:10]


async def test_when_none_has_a_block_that_is_said_at_once(
    image: world.Published, three: list[world.Mirror], tmp_path: Path
) -> None:
    async with client(image, three, tmp_path) as c:
        await c.reader.read(0, 10)
        for server in three:
            server.behave = "missing"
        with pytest.raises(Missing, match="no mirror has it"):
            await c.reader.read(2 * 262144, 10)
        assert c.reader.figures.longest_stall < 10, "its deadline is 20 s"


async def test_a_slow_mirror_is_hedged_and_then_not_preferred(
    image: world.Published, three: list[world.Mirror], tmp_path: Path
) -> None:
    three[0].delay = 2.0
    async with client(image, three[:2], tmp_path) as c:
        for block in range(10):
            await c.reader.read(block * 262144, 10, handle=block)
        assert c.choice.hedges >= 1
        assert c.record(three[1]).blocks > c.record(three[0]).blocks
        order = c.choice.order(None, 100_000, time.monotonic())
        assert order[0].name == three[1].name


async def test_a_reader_does_not_sit_behind_a_prefetch_of_a_silent_mirror(
    image: world.Published, three: list[world.Mirror], tmp_path: Path
) -> None:
    async with client(image, three, tmp_path) as c:
        await c.reader.read(0, 10)
        best = c.choice.order(None, 1, time.monotonic())[0].name
        for server in three:
            if server.name == best:
                server.behave = "hang"
        prefetch = asyncio.create_task(c.reader.prefetch(15))
        await eventually(lambda: bool(c.reader.blocks._flights))
        begun = time.monotonic()
        assert await c.reader.read(15 * 262144, 10) == image.content[15 * 262144 :][:10]
        assert time.monotonic() - begun < 9, "before the silent mirror's own deadline, which is 10 s here"
        prefetch.cancel()
        await asyncio.wait([prefetch])


async def test_every_mirror_dead_is_an_error_within_the_deadline_and_life_goes_on(
    image: world.Published, three: list[world.Mirror], tmp_path: Path
) -> None:
    async with client(image, three, tmp_path, deadline=3.0) as c:
        assert await c.reader.read(0, 10) == image.content[:10]
        await c.reader.settle()
        for server in three:
            server.stop()
        begun = time.monotonic()
        with pytest.raises(Unreachable):
            await c.reader.read(2 * 262144, 10)
        assert time.monotonic() - begun < 9, "the reader's own deadline is 3 s, everything else's 10 s"
        assert c.choice.network_down
        assert await c.reader.read(5, 10) == image.content[5:15]


async def test_a_mirror_that_was_out_comes_back_by_a_verified_block(
    image: world.Published, three: list[world.Mirror], tmp_path: Path
) -> None:
    three[0].behave = "die"
    async with client(image, three, tmp_path) as c:
        watch = asyncio.create_task(c.failover.watch(c.head.pages[0], lambda: True))
        await c.reader.read(0, len(image.content))
        await eventually(lambda: c.record(three[0]).out_until is not None)
        three[0].behave = "good"
        await eventually(lambda: c.record(three[0]).out_until is None and c.record(three[0]).blocks >= 1)
        watch.cancel()


async def test_a_corrupt_cache_entry_is_fetched_again(
    image: world.Published, three: list[world.Mirror], tmp_path: Path, expected_warnings: list[str]
) -> None:
    expected_warnings.append("the cache held a corrupt block")
    async with client(image, three, tmp_path) as c:
        await c.reader.read(0, len(image.content))
    files = list(kept(tmp_path / "cache"))
    assert len(files) == len({path.name for path in files}) > 10
    for path in files[:3]:
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    files[3].write_bytes(b"")
    async with client(image, three, tmp_path) as c:
        assert await c.reader.read(0, len(image.content)) == image.content
        assert c.cache.figures.corrupt == 4 and c.reader.figures.network == 4


async def test_metadata_from_the_good_mirror_whatever_the_others_serve(
    image: world.Published, three: list[world.Mirror], tmp_path: Path
) -> None:
    portal = world.copy_of(image.repo, tmp_path / "portal")
    (portal / "metadata" / "timestamp.json").write_text("<html>Welcome to our hotel</html>")
    empty = tmp_path / "empty"
    empty.mkdir()
    three[0].folder, three[1].folder = portal, empty
    async with client(image, three, tmp_path) as c:
        assert await c.reader.read(0, 100) == image.content[:100]


async def test_trust_rules_without_a_mirror(image: world.Published, three: list[world.Mirror], tmp_path: Path) -> None:
    endpoints = endpoints_of(Urls(tuple(server.url for server in three)))
    fetcher = Fetcher()
    now = time.time()

    async def opened(
        pin: str = image.pin, used: Any = endpoints, at: float = now, fresh: bool = False, version: int | None = None
    ) -> Any:
        repository = Repository(tmp_path / "state", pin, fetcher)
        return await repository.open(used, "disk", version, now=at, require_fresh=fresh)

    with pytest.raises(PeerError, match="no mirror to fetch it from"):
        await opened(used=())
    with pytest.raises(PeerError, match="pin"):
        await opened(pin="sha256:" + "0" * 64)
    root_file = str(image.repo / "metadata" / "1.root.json")
    with pytest.raises(PeerError, match="no mirror is known"):
        await opened(pin=root_file, used=())
    assert (await opened()).image.version == 1
    assert (await opened(used=())).image.version == 1  # verified here before
    assert (await opened(pin=root_file, used=())).warnings == ()
    with pytest.raises(InputError, match="has no version 7"):
        await opened(version=7)
    with pytest.raises(InputError, match="cannot name an image"):
        await Repository(tmp_path / "state", image.pin, fetcher).open(
            endpoints, "Disk", None, now=now, require_fresh=False
        )
    late = now + 20 * 365 * 86400
    stale = await opened(at=late)
    assert stale.image.version == 1 and any("expired" in warning for warning in stale.warnings)
    with pytest.raises(Expired, match="require-fresh"):
        await opened(at=late, fresh=True)
    await fetcher.close()


async def test_offline_reads_what_is_cached_and_refuses_the_rest(
    image: world.Published, three: list[world.Mirror], tmp_path: Path
) -> None:
    async with client(image, three, tmp_path) as c:
        await c.reader.read(0, 3 * 262144)
        head = c.head
    pool = ThreadPoolExecutor(1)
    reader = Reader(head, Cache(tmp_path / "cache"), None, pool)
    assert await reader.read(100, 2 * 262144) == image.content[100 : 100 + 2 * 262144]
    with pytest.raises(LocalError, match="offline"):
        await reader.read(15 * 262144, 1)
    await reader.close()
    pool.shutdown()


async def test_who_stops_listening_in_mid_read_costs_nobody_that_read(
    image: world.Published, three: list[world.Mirror], tmp_path: Path
) -> None:
    async with client(image, three, tmp_path) as c:
        told: list[int] = []

        def touched(number: int) -> None:
            told.append(number)
            c.reader.touched = None  # the recording is full

        c.reader.touched = touched
        assert await c.reader.read(0, 4 * 262144) == image.content[: 4 * 262144]
        assert told and c.reader.touched is None
