"""A signed file beside an image, from mirrors that behave and misbehave by script."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from mirrornet.client.fetching import attached
from mirrornet.client.fetching.attached import kept, obtain
from mirrornet.client.fetching.fetch import Fetched, Within
from mirrornet.client.mirrors.source import Endpoint
from mirrornet.image.trust.versions import Attached
from mirrornet.model.errors import LocalError, Missing, Unreachable, Untrusted

DATA = bytes(range(256)) * 64
TARGET = Attached("kernel", "files/disk/1/x.kernel", hashlib.sha256(DATA).digest(), len(DATA))
Sink = Callable[[bytes], Awaitable[None]]


def _mirrors(count: int) -> tuple[Endpoint, ...]:
    return tuple(Endpoint(f"m{number}", f"http://m{number}.example") for number in range(count))


class Scripted:
    """A fetcher: each mirror's behaviour is a list, one for each time it is asked; the last one stays."""

    def __init__(self, **behaviour: list[str]) -> None:
        self.behaviour = behaviour
        self.asked: list[tuple[str, int]] = []  # mirror and first byte

    async def fetch(
        self, endpoint: Endpoint, path: str, limit: int, sink: Sink, within: Within | None = None
    ) -> Fetched:
        offset = within.offset if within else 0
        self.asked.append((endpoint.name, offset))
        script = self.behaviour[endpoint.name]
        now = script.pop(0) if len(script) > 1 else script[0]
        data = DATA[offset:]
        assert limit == len(data)
        if now == "missing":
            raise Missing(f"{endpoint}: it does not have {path}")
        if now == "down":
            raise Unreachable(f"{endpoint}: no connection")
        if now == "long":
            raise Untrusted(f"{endpoint}: {path}: more than was signed")
        if now == "no ranges" and within:
            return Fetched(data, 0.0, 0.0)
        if now == "lie":
            data = bytes(len(data))
        for at in range(0, len(data), 1000):
            if at >= 5000 and now == "short":
                return Fetched(b"", 0.0, 0.0)
            if at >= 5000 and now == "silent":
                await asyncio.Event().wait()
            await sink(data[at : at + 1000])
        return Fetched(b"", 0.0, 0.0)


async def _obtain(folder: Path, fetcher: Scripted, count: int, blamed: list[str] | None = None, **options: Any) -> Path:
    def blame(mirror: Endpoint, why: str) -> None:
        (blamed if blamed is not None else []).append(mirror.name)

    return await obtain(TARGET, folder, lambda: _mirrors(count), fetcher, blame, **options)  # type: ignore[arg-type]


async def test_it_is_fetched_once_and_hashed_again_each_time(tmp_path: Path) -> None:
    fetcher = Scripted(m0=["good"])
    path = await _obtain(tmp_path / "new", fetcher, 1)
    assert path.read_bytes() == DATA and path.name == TARGET.hash.hex()
    assert await _obtain(tmp_path / "new", fetcher, 0) == path  # offline
    assert fetcher.asked == [("m0", 0)]
    path.write_bytes(DATA[:-1] + b"\0")
    assert kept(TARGET, path.parent) is None
    with pytest.raises(Missing, match="not kept here: a mirror has to be reached once"):
        await _obtain(path.parent, fetcher, 0)
    await _obtain(path.parent, fetcher, 1)
    assert kept(TARGET, path.parent) == path
    assert [each.name for each in path.parent.iterdir()] == [path.name]


async def test_a_mirror_that_falls_silent_is_followed_by_the_next_from_that_byte_on(tmp_path: Path) -> None:
    fetcher = Scripted(m0=["silent"], m1=["good"])
    blamed: list[str] = []
    path = await _obtain(tmp_path, fetcher, 2, blamed, silence=0.05)
    assert path.read_bytes() == DATA and fetcher.asked == [("m0", 0), ("m1", 5000)] and not blamed


async def test_a_server_without_ranges_can_go_on_too(tmp_path: Path) -> None:
    fetcher = Scripted(m0=["short"], m1=["no ranges"])
    assert (await _obtain(tmp_path, fetcher, 2)).read_bytes() == DATA


async def test_who_sends_a_wrong_file_is_blamed_and_not_asked_again(tmp_path: Path) -> None:
    fetcher = Scripted(m0=["lie"], m1=["long"], m2=["good"])
    blamed: list[str] = []
    assert (await _obtain(tmp_path, fetcher, 3, blamed)).read_bytes() == DATA
    assert blamed == ["m0", "m1"] and len(fetcher.asked) == 3


async def test_a_wrong_file_of_two_senders_blames_nobody_until_one_sent_all_of_it(tmp_path: Path) -> None:
    fetcher = Scripted(m0=["short", "good"], m1=["lie"])
    blamed: list[str] = []
    assert (await _obtain(tmp_path, fetcher, 2, blamed)).read_bytes() == DATA
    assert fetcher.asked == [("m0", 0), ("m1", 5000), ("m0", 0)] and not blamed


async def test_when_all_lie_or_lack_it_that_is_said_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(Untrusted, match="sent another file than was signed"):
        await _obtain(tmp_path, Scripted(m0=["lie"], m1=["missing"]), 2)
    with pytest.raises(Missing, match="no mirror has it"):
        await _obtain(tmp_path, Scripted(m0=["missing"], m1=["missing"]), 2)
    assert not list(tmp_path.iterdir())


async def test_it_is_given_up_when_nothing_comes_and_when_it_never_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attached, "PAUSE", 0.0)
    with pytest.raises(Unreachable, match="no mirror sent any of it"):
        await _obtain(tmp_path, Scripted(m0=["down"]), 1, patience=0.0)
    fetcher = Scripted(m0=["down", "good"])
    assert (await _obtain(tmp_path, fetcher, 1)).read_bytes() == DATA
    assert fetcher.asked == [("m0", 0), ("m0", 0)]
    with pytest.raises(Unreachable, match="4 times its length came"):
        await _obtain(tmp_path / "new", Scripted(m0=["short"], m1=["lie", "short"]), 2)


async def test_a_folder_that_cannot_be_written_is_this_machines_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalError, match="cannot be kept there"):
        await _obtain(tmp_path / "file" / "boot", Scripted(m0=["good"]), 1)
