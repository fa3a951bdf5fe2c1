"""A block that stops half-way goes on elsewhere, fairly; and stretches of blocks by one request."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import client_mirrors as world
import pytest
from contents import some_bytes
from waiting import eventually

from mirrornet.client.fetching.attempt import Wanted
from mirrornet.client.fetching.body import Within
from mirrornet.client.fetching.failover import Failover
from mirrornet.client.fetching.fetch import Fetcher
from mirrornet.client.fetching.stretch import Piece
from mirrornet.client.mirrors.choice import Blame, Choice, Record
from mirrornet.client.mirrors.source import Urls, endpoints_of
from mirrornet.image.format.block import BlockRef, Codec, block_path
from mirrornet.model.errors import Missing, Unreachable, Untrusted

UNIT = 262144
COUNT = 20
SILENCE = 30.0  # seconds until the fetcher gives a silent mirror up


class Pack:
    """A pack of stored blocks in a repository of its own, and each block by itself, too."""

    def __init__(self, folder: Path) -> None:
        self.blocks = [some_bytes(UNIT, number) for number in range(COUNT)]
        self.refs = tuple(self._put(folder, block) for block in self.blocks)
        self.path = self._put(folder, b"".join(self.blocks)).path

    @staticmethod
    def _put(folder: Path, data: bytes) -> BlockRef:
        hash_ = hashlib.sha256(data).digest()
        file = folder / block_path(hash_)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        return BlockRef(hash_, len(data), len(data), Codec.STORED)

    def piece(self, first: int = 0, last: int = COUNT) -> Piece:
        return Piece(self.path, Within(first * UNIT, COUNT * UNIT), self.refs[first:last])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("packs")


@pytest.fixture(scope="module")
def pack(folder: Path) -> Pack:
    return Pack(folder)


@pytest.fixture
def three(pack: Pack, folder: Path) -> Iterator[list[world.Mirror]]:
    with world.mirrors(folder, 3) as servers:
        yield servers


@asynccontextmanager
async def failover(servers: list[world.Mirror], measured: BlockRef, usual: float = 0.15) -> AsyncIterator[Failover]:
    """All mirrors measured; the first is the favourite.

    `usual`: seconds to a first byte, as it is believed; a busy machine needs more where nobody is to be asked twice.
    """
    pool = ThreadPoolExecutor(2)
    fetcher = Fetcher(connect=SILENCE, progress=SILENCE)
    choice = Choice()
    endpoints = endpoints_of(Urls(tuple(server.url for server in servers)))
    choice.update(endpoints)
    made = Failover(fetcher, choice, pool)
    try:
        made._default_proof = Wanted(measured, measured.path)
        for endpoint in endpoints:
            await made.prove(endpoint, 60)
        for server in servers:
            server.asked.clear()
            server.parts.clear()
        choice.favourite = servers[0].name
        for record in choice.records():
            record.measures.first_byte = record.measures.deviation = usual
        yield made
    finally:
        await fetcher.close()
        pool.shutdown()


def record(made: Failover, server: world.Mirror) -> Record:
    found = made.choice.record(server.name)
    assert found is not None
    return found


async def read(made: Failover, ref: BlockRef, deadline: float = 120.0) -> bytes:
    wanted = asyncio.Event()
    wanted.set()
    return (await made.block(ref, deadline=time.monotonic() + deadline, wanted=wanted)).data


@pytest.mark.parametrize("behave", ["stall", "die", "trickle"])
async def test_the_rest_is_asked_of_another_mirror(pack: Pack, three: list[world.Mirror], behave: str) -> None:
    async with failover(three, pack.refs[0]) as made:
        three[0].behave = behave
        begun = time.monotonic()
        assert await read(made, pack.refs[1]) == pack.blocks[1]
        assert time.monotonic() - begun < 0.9 * SILENCE, "before the fetcher's own deadline"
        others = [part for server in three[1:] for part in server.parts]
        assert others and all(int(part.removeprefix("bytes=").split("-")[0]) > 0 for part in others), others
        assert not any(record(made, server).blames[Blame.CORRUPT] for server in three)


async def test_of_joined_bytes_that_do_not_verify_the_liar_is_found(
    pack: Pack, three: list[world.Mirror], expected_warnings: list[str]
) -> None:
    expected_warnings.append("gave a corrupt block")
    async with failover(three, pack.refs[0]) as made:
        three[0].behave = "lie-stall"
        assert await read(made, pack.refs[2]) == pack.blocks[2]
        assert record(made, three[0]).blames[Blame.CORRUPT] == 1
        assert not any(record(made, server).blames[Blame.CORRUPT] for server in three[1:])


async def test_a_stretch_is_one_request(pack: Pack, three: list[world.Mirror]) -> None:
    async with failover(three, pack.refs[0], usual=5.0) as made:
        piece = pack.piece(3, 17)
        came = [arrived async for arrived in made.stretch(piece, time.monotonic() + 120)]
        assert [arrived.ref for arrived in came] == list(piece.refs)
        assert [arrived.data for arrived in came] == pack.blocks[3:17]
        assert [arrived.stored for arrived in came] == pack.blocks[3:17]
        assert [server.parts for server in three if server.asked] == [[f"bytes={3 * UNIT}-{17 * UNIT - 1}"]]
        assert sum(one.blocks for one in made.choice.records()) == 14 + 3
        assert all(one.under_way == 0 for one in made.choice.records())


@pytest.mark.parametrize("behave", ["stall", "die", "lie-stall", "missing", "hang", "lie"])
async def test_a_stretch_goes_on_elsewhere(
    pack: Pack, three: list[world.Mirror], behave: str, expected_warnings: list[str]
) -> None:
    expected_warnings.append("gave a corrupt block")
    async with failover(three, pack.refs[0]) as made:
        three[0].behave = behave
        begun = time.monotonic()
        came = [arrived async for arrived in made.stretch(pack.piece(), time.monotonic() + 120)]
        assert [arrived.data for arrived in came] == pack.blocks
        assert time.monotonic() - begun < 0.9 * SILENCE, "before the fetcher's own deadline"
        blames = record(made, three[0]).blames
        assert blames[Blame.CORRUPT] == ("lie" in behave)
        assert behave == "missing" or blames
        assert not any(record(made, server).blames[Blame.CORRUPT] for server in three[1:])
        given = {arrived.mirror for arrived in came}
        assert (three[0].name in given) == (behave in ("stall", "die", "lie")), "what came whole was kept"


async def test_a_stretch_that_nobody_has_or_finishes(pack: Pack, three: list[world.Mirror]) -> None:
    async with failover(three, pack.refs[0]) as made:
        with pytest.raises(Missing):
            absent = Piece("blocks/00/none", Within(0, UNIT), pack.refs[:1])
            _ = [arrived async for arrived in made.stretch(absent, time.monotonic() + 120)]
        for server in three:
            server.behave = "die"
        came = []
        with pytest.raises(Unreachable):
            async for arrived in made.stretch(pack.piece(COUNT - 1), time.monotonic() + 120):
                came.append(arrived)
        assert not came


async def test_a_stretch_of_liars_raises_after_what_was_good(
    pack: Pack, three: list[world.Mirror], expected_warnings: list[str]
) -> None:
    expected_warnings.append("gave a corrupt block")
    async with failover(three, pack.refs[0]) as made:
        for server in three:
            server.behave = "lie"
        came = []
        with pytest.raises(Untrusted):
            async for arrived in made.stretch(pack.piece(), time.monotonic() + 120):
                came.append(arrived)
        assert [arrived.data for arrived in came] == pack.blocks[: COUNT - 1], "the last byte is the wrong one"


async def test_a_slow_consumer_slows_the_sender_and_is_nobodys_fault(pack: Pack, three: list[world.Mirror]) -> None:
    async with failover(three, pack.refs[0], usual=5.0) as made:
        came = 0
        async for arrived in made.stretch(pack.piece(), time.monotonic() + 120):
            assert arrived.data == pack.blocks[came]
            came += 1
            await asyncio.sleep(0.15 if came < 5 else 0)
        assert came == COUNT
        assert not any(one.blames for one in made.choice.records())
        assert sum(len(server.asked) for server in three) == 1


async def test_what_nobody_waits_for_waits_for_room_and_readers_do_not(pack: Pack, three: list[world.Mirror]) -> None:
    async with failover(three[:1], pack.refs[0], usual=5.0) as made:
        three[0].behave = "hang"
        nobody = asyncio.Event()
        deadline = time.monotonic() + 120
        ahead = [asyncio.create_task(made.block(ref, deadline=deadline, wanted=nobody)) for ref in pack.refs[1:12]]
        limit = made.choice.records()[0].window.limit
        await eventually(lambda: len(three[0].asked) == limit)
        assert made.choice.records()[0].under_way == limit < 11
        three[0].behave = "good"
        assert await read(made, pack.refs[15]) == pack.blocks[15], "the reader went past all of them"
        nobody.set()  # and now a reader waits for each of those that stood in line
        got = await asyncio.gather(*ahead[limit:])
        assert [opened.data for opened in got] == pack.blocks[1 + limit : 12]
        for task in ahead[:limit]:
            task.cancel()
        await asyncio.wait(ahead)
        assert made.choice.records()[0].under_way == 0
