"""A running mount looks for newer versions: once an hour and no two machines at once, when asked, whatever fails."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import async_solipsism
import pytest

from mirrornet.app.client.following import ASKED, EVERY, JITTER, Following
from mirrornet.client.cache.store import Cache
from mirrornet.client.mirrors.choice import Choice
from mirrornet.client.reading.forecast import Row
from mirrornet.client.repository import Trusted
from mirrornet.image.format.block import Codec, pack_block
from mirrornet.image.format.index import Head
from mirrornet.image.trust.versions import ImageVersion, Metadata
from mirrornet.model.errors import Unreachable

HEAD = Head(1 << 20, 262144, 0, 0, Codec.STORED, 0, 1024, (), ())
BLOCKS = [pack_block(random.Random(seed).randbytes(65536), Codec.STORED, 0) for seed in range(3)]


def version(number: int, new: int | None = 196608) -> ImageVersion:
    return ImageVersion("demo", number, 1 << 20, 1 << 20, "stored", "2026-11-23", None, "", b"", 1, new=new)


def metadata(*numbers: int) -> Metadata:
    return Metadata("0" * 64, b"", 1, 1, 2e9, {"demo": tuple(map(version, numbers))})


class Mirrors:
    """Stands in for repository and gather: what there is, when it was asked for, and what fails."""

    def __init__(self) -> None:
        self.now, self.asked = metadata(1), list[float]()
        self.failing = self.hanging = self.many = False

    async def newest(self, endpoints: object, name: str, *, now: float) -> Metadata:
        self.asked.append(asyncio.get_running_loop().time())
        if self.hanging:
            await asyncio.sleep(1000)
        if self.failing:
            raise Unreachable("tokyo: no connection")
        return self.now

    async def head(self, endpoints: object, metadata: Metadata, image: ImageVersion) -> Head:
        if self.failing:
            raise Unreachable("tokyo: no connection")
        return HEAD

    async def news(self, old: Head, new: Head) -> list[Row] | None:
        return None if self.many else [Row(ref, None) for ref, _ in BLOCKS]


def following(mirrors: Mirrors, folder: Path, dice: float = 0.5, at: int = 1) -> Following:
    trusted = Trusted(mirrors.now, version(at), HEAD, ())
    stand_in: Any = mirrors
    return Following(trusted, stand_in, list, stand_in, Cache(folder), Choice(), lambda: dice)


def play(work: Coroutine[Any, Any, None]) -> None:
    """In virtual time."""
    with asyncio.Runner(loop_factory=async_solipsism.EventLoop) as runner:
        runner.run(work)


@pytest.mark.parametrize("dice", [0.0, 0.5, 1.0])
def test_once_an_hour_give_or_take_a_quarter(tmp_path: Path, dice: float) -> None:
    async def work() -> None:
        mirrors = Mirrors()
        task = asyncio.create_task(following(mirrors, tmp_path, dice).run())
        await asyncio.sleep(10 * EVERY)
        task.cancel()
        steps = [b - a for a, b in zip([0.0, *mirrors.asked], mirrors.asked, strict=False)]
        assert steps == pytest.approx([EVERY * (1 - JITTER + 2 * JITTER * dice)] * len(steps)) and len(steps) >= 7

    play(work())


def test_who_asks_hears_of_it_now_and_a_mount_of_an_old_version_from_the_start(tmp_path: Path) -> None:
    async def work() -> None:
        mirrors = Mirrors()
        here = following(mirrors, tmp_path)
        task = asyncio.create_task(here.run())
        await here.look()
        assert here.status()["next"] is None and len(mirrors.asked) == 1
        mirrors.now = metadata(1, 2, 3)
        await here.look()
        found = here.status()["next"]
        assert (found["version"], found["blocks"], found["bytes"], found["here"]) == (3, 3, 3 * 65536, 0)
        Cache(tmp_path).put(*BLOCKS[1], 1e9)
        assert (here.status()["next"]["here"], here.status()["next"]["left"]) == (1, 2 * 65536)
        task.cancel()
        old = following(mirrors, tmp_path, at=2)
        task = asyncio.create_task(old.run())
        await asyncio.sleep(1)
        assert old.status()["next"]["version"] == 3 and len(mirrors.asked) == 2
        task.cancel()

    play(work())


def test_what_fails_is_told_and_tried_again(tmp_path: Path) -> None:
    async def work() -> None:
        mirrors = Mirrors()
        here = following(mirrors, tmp_path)
        task = asyncio.create_task(here.run())
        await here.look()
        mirrors.failing, mirrors.now = True, metadata(1, 2)
        await here.look()
        assert here.status()["failed"] == "tokyo: no connection" and here.status()["next"] is None
        mirrors.failing = False
        await asyncio.sleep(EVERY + 1)
        assert here.status()["failed"] == "" and here.status()["next"]["version"] == 2
        mirrors.hanging = True
        begun = asyncio.get_running_loop().time()
        await here.look()  # whoever asks is not kept for ever
        assert asyncio.get_running_loop().time() - begun == pytest.approx(ASKED)
        assert here.status()["next"]["version"] == 2
        task.cancel()

    play(work())


def test_where_nobody_counted_the_publishers_figure_stands(tmp_path: Path) -> None:
    async def work() -> None:
        mirrors = Mirrors()
        mirrors.many, mirrors.now = True, metadata(1, 2, 3)
        here = following(mirrors, tmp_path)
        task = asyncio.create_task(here.run())
        await asyncio.sleep(1)
        found = here.status()["next"]
        assert (found["version"], found["blocks"], found["bytes"], found["here"]) == (3, None, 2 * 196608, None)
        task.cancel()

    play(work())


def test_a_version_that_was_retired_is_told_of_no_more(tmp_path: Path) -> None:
    async def work() -> None:
        mirrors = Mirrors()
        mirrors.now = metadata(1, 2)
        here = following(mirrors, tmp_path)
        task = asyncio.create_task(here.run())
        await asyncio.sleep(1)
        assert here.status()["next"]["version"] == 2
        mirrors.now = metadata(1)
        await here.look()
        assert here.status()["next"] is None
        mirrors.now = metadata()
        await here.look()
        assert here.status()["next"] is None and here.status()["failed"] == ""
        task.cancel()

    play(work())
