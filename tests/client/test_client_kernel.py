"""Waiting for the kernel's requests: once each, never in a spin, not fooled by one that vanished; then it is over."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pyfuse3.asyncio
import pytest
from waiting import eventually

from mirrornet.client.fuse.kernel import Requests, enable


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


async def test_a_request_that_is_there_is_not_waited_for(pipe: tuple[int, int]) -> None:
    requests = Requests()
    assert not requests.more()
    os.write(pipe[1], b"x")
    await requests.wait(pipe[0])
    assert requests.more()
    os.read(pipe[0], 1)
    assert not requests.more()
    requests.close(pipe[0])


async def test_each_is_waited_for_and_nobody_spins(pipe: tuple[int, int]) -> None:
    requests = Requests()
    for _ in range(3):
        waiting = asyncio.create_task(requests.wait(pipe[0]))
        await asyncio.sleep(0)
        assert not waiting.done()
        os.write(pipe[1], b"x")
        await waiting
        os.read(pipe[0], 1)
    os.write(pipe[1], b"y")  # nobody waits: all tasks are busy
    await eventually(lambda: not requests._watched)
    await requests.wait(pipe[0])
    requests.close(pipe[0])


async def test_one_that_vanished_is_not_there(pipe: tuple[int, int]) -> None:
    requests = Requests()
    waiting = asyncio.create_task(requests.wait(pipe[0]))
    await asyncio.sleep(0)
    requests._readable()  # announced, and gone before it was read: its process was killed
    for _ in range(10):
        await asyncio.sleep(0)
    assert not waiting.done(), "a read would have blocked the event loop here"
    os.write(pipe[1], b"x")
    await asyncio.wait_for(waiting, 60)
    requests.close(pipe[0])
    assert not asyncio.get_running_loop().remove_reader(pipe[0])


async def test_the_end_ends_the_wait(pipe: tuple[int, int]) -> None:
    requests = Requests()
    waiting = asyncio.create_task(requests.wait(pipe[0]))
    await asyncio.sleep(0)
    requests.close(pipe[0])
    with pytest.raises(pyfuse3.asyncio.ClosedResourceError):
        await waiting
    with pytest.raises(pyfuse3.asyncio.ClosedResourceError):
        await requests.wait(pipe[0])


async def test_pyfuse3_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for attribute in ("wait_readable", "notify_closing"):
        monkeypatch.setattr(pyfuse3.asyncio, attribute, getattr(pyfuse3.asyncio, attribute))
    monkeypatch.setattr(pyfuse3, "trio", getattr(pyfuse3, "trio", None), raising=False)
    requests = enable()
    assert pyfuse3.trio.lowlevel.wait_readable == requests.wait  # type: ignore[attr-defined]
    assert pyfuse3.trio.lowlevel.notify_closing == requests.close  # type: ignore[attr-defined]
