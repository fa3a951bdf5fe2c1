"""Boot profiles at a client: recorded, learnt, replayed from real servers; hostile ones change nothing."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import client_mirrors as world
import pytest
from waiting import eventually

from mirrornet.app.client.session import ClientOptions, Session
from mirrornet.client.reading.recording import Recording, Recordings
from mirrornet.client.reading.replay import Replay
from mirrornet.image.format.profile import MAX_PROFILE, Profile
from mirrornet.image.publishing.publish import publish
from mirrornet.image.trust.keys import keygen
from mirrornet.model.errors import PeerError

UNIT = 65536
COUNT = 160
BOOT = Profile(UNIT, tuple(random.Random(5).sample(range(COUNT), 60)))


class Publisher:
    def __init__(self, folder: Path) -> None:
        self.folder, self.repo = folder, folder / "repo"
        self.pin = keygen(folder / "keys", passphrase=None)
        dice = random.Random(3)
        self.content = b"".join(dice.randbytes(UNIT) for _ in range(COUNT))

    def publish(self, **options: Any) -> None:
        image = self.folder / "image"
        image.write_bytes(self.content)
        publish(image, "disk", self.repo, self.folder / "keys", block_size=UNIT, now=time.time(), **options)


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory) -> Publisher:
    publisher = Publisher(tmp_path_factory.mktemp("profiled"))
    publisher.publish(profile=BOOT)
    return publisher


@pytest.fixture
def servers(profiled: Publisher) -> Iterator[list[world.Mirror]]:
    with world.mirrors(profiled.repo, 2) as found:
        yield found


@asynccontextmanager
async def session(
    publisher: Publisher, mirrors: list[world.Mirror], folder: Path, cache: str = "cache", **options: Any
) -> AsyncIterator[Session]:
    source = ",".join(mirror.url for mirror in mirrors)
    used = Session(
        ClientOptions(source, "disk", publisher.pin, cache=folder / cache, state=folder / "state", **options)
    )
    try:
        await used.open()
        used.read()
        yield used
    finally:
        await used.close()


def state(used: Session) -> str:
    assert used.profiles is not None
    return str(used.profiles.status()["state"])


async def boot(used: Session, publisher: Publisher, blocks: tuple[int, ...] = BOOT.blocks) -> None:
    assert used.reader is not None
    for number in blocks:
        assert await used.reader.read(number * UNIT + 5, 100) == publisher.content[number * UNIT + 5 :][:100]


async def surveyed(used: Session) -> dict[str, Any]:
    assert used.profiles is not None and used.reader is not None
    await used.reader.settle()
    await used.profiles.survey()
    return used.profiles.status()


async def test_a_published_profile_comes_by_stretches(
    profiled: Publisher, servers: list[world.Mirror], tmp_path: Path
) -> None:
    async with session(profiled, servers, tmp_path, prefetch="profile") as used:
        assert used.reader is not None
        await eventually(lambda: state(used) == "done")
        told = await surveyed(used)
        assert (told["from"], told["blocks"], told["brought"], told["cached"]) == ("published", 60, 60, 60)
        ranges = [part for server in servers for part in server.parts]
        assert 4 <= len(ranges) <= 20  # 3.9 MB in requests of up to 256 KiB
        before = used.reader.figures.network
        await boot(used, profiled)
        assert used.reader.figures.network == before


async def test_a_guest_that_overtakes_the_replay_asks_for_nothing_twice(
    profiled: Publisher, servers: list[world.Mirror], tmp_path: Path
) -> None:
    for server in servers:
        server.delay = 0.05
    async with session(profiled, servers, tmp_path, prefetch="profile") as used:
        assert used.cache is not None
        await boot(used, profiled)
        await eventually(lambda: state(used) == "done")
        sent = sum(record.bytes for record in used.choice.records())
        assert sent < 1.15 * 60 * UNIT


async def test_a_mount_for_one_file_fetches_no_profile(
    profiled: Publisher, servers: list[world.Mirror], tmp_path: Path
) -> None:
    async with session(profiled, servers, tmp_path) as used:
        await eventually(lambda: state(used) == "waiting")
        await boot(used, profiled, BOOT.blocks[:12])
        told = await surveyed(used)
        assert told["state"] == "waiting" and 12 <= told["cached"] <= 24 and told["recorded"] == 12  # neighbours
        await boot(used, profiled, BOOT.blocks[12:20])  # now it looks like a boot
        await eventually(lambda: state(used) == "done")
    async with session(profiled, servers, tmp_path, "other", prefetch="none") as used:
        await eventually(lambda: state(used) == "off")
        await boot(used, profiled, BOOT.blocks[:30])
        assert 30 <= (await surveyed(used))["cached"] <= 46  # of neighbours at most 16 are bought on trust


async def test_what_boots_touch_is_learnt_and_serves_the_next_version(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path)
    publisher.publish()
    with world.mirrors(publisher.repo, 1) as mirrors:
        for cache in ("first", "second"):
            async with session(publisher, mirrors, tmp_path, cache, prefetch="none", boots=True) as used:
                await boot(used, publisher)
        async with session(publisher, mirrors, tmp_path, "third", boots=True) as used:
            await eventually(lambda: state(used) == "done")
            told = await surveyed(used)
            assert (told["from"], told["brought"], told["cached"]) == ("learnt", 60, 60)
        publisher.content = publisher.content[: 100 * UNIT] + random.Random(8).randbytes(60 * UNIT)
        publisher.publish()
        async with session(publisher, mirrors, tmp_path, "third", boots=True) as used:
            assert used.trusted is not None and used.trusted.image.version == 2
            await eventually(lambda: state(used) == "done")
            told = await surveyed(used)
            assert (told["from"], told["blocks"], told["cached"]) == ("learnt", 60, 60)
            assert told["brought"] == sum(number >= 100 for number in BOOT.blocks) == 60 - told["held"]
            await boot(used, publisher)
        assert sorted(path.name for path in (tmp_path / "state/profiles").glob("*/disk/*")) == ["1.json", "2.json"]
        async with session(publisher, mirrors, tmp_path, "third", offline=True) as used:
            assert used.reader is not None
            await eventually(lambda: state(used) == "waiting")
            told = await surveyed(used)
            assert told["cached"] == told["blocks"] == 60  # boots offline
            await boot(used, publisher)


@pytest.mark.parametrize(
    ("data", "warning"),
    [
        (b"\x00\xff garbage", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b'{"mirrornet-profile": 1, "block_size": 65536, "blocks": [1e400]}', "cannot be read"),
        (b'{"mirrornet-profile": 1, "block_size": 65536, "blocks": [' + b"1," * 70_000 + b"1]}", "cannot be read"),
        (b" " * (MAX_PROFILE + 1), "more than any may have"),
        (Profile(UNIT, tuple(range(COUNT, COUNT + 50))).encode(), "names no block of this image"),
    ],
    ids=["garbage", "nested", "infinite", "many", "long", "beyond"],
)
async def test_a_hostile_profile_is_passed_over(
    data: bytes, warning: str, tmp_path: Path, expected_warnings: list[str]
) -> None:
    expected_warnings.append(warning)
    publisher = Publisher(tmp_path)
    publisher.publish(attached={"profile": data})
    with world.mirrors(publisher.repo, 1) as mirrors:
        async with session(publisher, mirrors, tmp_path, prefetch="profile") as used:
            await boot(used, publisher)
            assert used.profiles is not None and await used.profiles.find() is None
            assert (await surveyed(used))["state"] == "none"


async def test_a_profile_with_strange_numbers_is_used_as_far_as_it_goes(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path)
    strange = {"mirrornet-profile": 1, "block_size": UNIT, "blocks": [3, 3, 1 << 47, 7, COUNT, 3, 9], "more": {}}
    publisher.publish(attached={"profile": json.dumps(strange).encode()})
    with world.mirrors(publisher.repo, 1) as mirrors:
        async with session(publisher, mirrors, tmp_path, prefetch="profile") as used:
            await eventually(lambda: state(used) == "done")
            assert (await surveyed(used))["brought"] == 3


async def test_another_mirror_goes_on_where_one_lies_dies_or_falls_silent(
    profiled: Publisher, tmp_path: Path, expected_warnings: list[str]
) -> None:
    expected_warnings.append("gave a corrupt block")
    for behave in ("lie", "die", "truncate", "hang", "missing"):
        with world.mirrors(profiled.repo, 2) as mirrors:
            mirrors[0].behave = behave
            mirrors[0].ranges = False
            async with session(profiled, mirrors, tmp_path, f"cache-{behave}", prefetch="profile") as used:
                begun = time.monotonic()
                await boot(used, profiled)
                await eventually(lambda used=used: state(used) == "done")  # type: ignore[misc]
                assert (await surveyed(used))["cached"] == 60, behave
                assert time.monotonic() - begun < 20, behave


async def test_a_network_that_goes_away_ends_the_replay(
    profiled: Publisher, servers: list[world.Mirror], tmp_path: Path
) -> None:
    for server in servers:
        server.delay = 0.02
    async with session(profiled, servers, tmp_path, prefetch="profile", read_deadline=1.0) as used:
        assert used.reader is not None
        await used.reader.read(BOOT.blocks[0] * UNIT, 10)
        for server in servers:
            server.stop()
        with pytest.raises(PeerError):
            await boot(used, profiled)
        await eventually(lambda: state(used) in ("given up", "done"))


async def test_a_replay_has_a_limit(profiled: Publisher, servers: list[world.Mirror], tmp_path: Path) -> None:
    async with session(profiled, servers, tmp_path, prefetch="none") as used:
        assert used.reader is not None
        replay = Replay(BOOT, used.reader, used.failover, used.cache, limit=10 * UNIT + 10_000)
        await replay.run()
        assert replay.figures.brought == 10 and replay.figures.bytes <= 10 * UNIT + 10_000


async def test_recordings_that_rotted_are_passed_over(
    profiled: Publisher, servers: list[world.Mirror], tmp_path: Path, expected_warnings: list[str]
) -> None:
    expected_warnings += ["it is passed over"]
    async with session(profiled, servers, tmp_path, prefetch="none", boots=True) as used:
        await boot(used, profiled)
    path = next((tmp_path / "state/profiles").glob("*/disk/1.json"))
    kept = Recordings.parse(path.read_bytes())
    assert [number for number, _ in kept.runs[0].touches] == list(BOOT.blocks) and kept.runs[0].boot
    path.write_bytes(path.read_bytes()[:-10])
    async with session(profiled, servers, tmp_path, prefetch="none", boots=True) as used:
        await boot(used, profiled)
    assert len(Recordings.parse(path.read_bytes()).runs) == 1


async def test_two_mounts_write_their_recordings_side_by_side(
    profiled: Publisher, servers: list[world.Mirror], tmp_path: Path
) -> None:
    async with (
        session(profiled, servers, tmp_path, "one", prefetch="none", boots=True) as one,
        session(profiled, servers, tmp_path, "two", prefetch="none") as two,
    ):
        await asyncio.gather(boot(one, profiled), boot(two, profiled))
        assert one.profiles is not None and two.profiles is not None
        await asyncio.gather(one.profiles.save(), two.profiles.save(), one.profiles.save())
    kept = Recordings.parse(next((tmp_path / "state/profiles").glob("*/disk/1.json")).read_bytes())
    assert sorted(run.boot for run in kept.runs) == [False, True]
    assert all(isinstance(run, Recording) and len(run.touches) == 60 for run in kept.runs)
