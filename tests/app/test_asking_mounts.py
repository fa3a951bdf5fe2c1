"""`status` of all mounts: one that is in trouble, busy, just beginning or gone hides no other, and loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mirrornet.app.client import holding as module
from mirrornet.app.client import mounts, overlay
from mirrornet.app.client.holding import Holding
from mirrornet.app.control import Control, answers
from mirrornet.model.errors import InputError, LocalError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for place in (mounts, overlay):
        monkeypatch.setattr(place, "run_folder", lambda: tmp_path)
    return tmp_path


@contextlib.contextmanager
def bound(path: Path, age: float = 0.0) -> Iterator[socket.socket]:
    """A socket at which nobody listens (yet, or any more), made `age` seconds ago."""
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))
        os.utime(path, (time.time() - age,) * 2)
        yield made


async def test_a_mount_that_answers_with_an_error_hides_no_other(folder: Path) -> None:
    async def fails(_: dict[str, Any]) -> dict[str, Any]:
        raise InputError("it is ending")

    async def tells(_: dict[str, Any]) -> dict[str, Any]:
        return {"mountpoint": "/mnt", "ready": True}

    one, two = Control(folder / "mount-1.sock", fails), Control(folder / "mount-2.sock", tells)
    await one.start()
    await two.start()
    failed, good = await asyncio.to_thread(overlay.statuses, None)
    assert (failed["mountpoint"], failed["error"]) == (str(folder / "mount-1.sock"), "it is ending")
    assert good == {"mountpoint": "/mnt", "ready": True}
    await one.stop()
    await two.stop()


def test_a_socket_is_removed_only_when_its_process_is_gone_for_sure(folder: Path) -> None:
    gone, begins, busy = (folder / f"mount-{number}.sock" for number in range(3))
    with contextlib.ExitStack() as stack:
        stack.enter_context(bound(gone, 2 * mounts.YOUNG))
        stack.enter_context(bound(begins))
        server = stack.enter_context(bound(busy, 2 * mounts.YOUNG))
        server.listen(0)
        caller = stack.enter_context(socket.socket(socket.AF_UNIX))
        caller.connect(str(busy))  # nobody takes the call, and there is no room for another
        assert answers(busy)
        (told,) = mounts.statuses(None)
        assert told["mountpoint"] == str(busy) and "no answer" in told["error"]
        place = Path("/srv/mnt")
        mounts.socket_path(place).symlink_to(busy)
        with pytest.raises(LocalError, match=r"/srv/mnt: .*: no answer.*: if that lasts, kill -9 it, and umount again"):
            mounts.statuses(place)
        with pytest.raises(LocalError, match=r"/srv/mnt: .*: no answer"):
            mounts.umount(place, force=True)
    assert not gone.exists() and begins.exists() and busy.exists()


async def test_a_mount_that_ends_while_it_is_asked_to_leave_has_left(folder: Path) -> None:
    place = folder / "mnt"

    async def ends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        path.unlink()
        writer.close()

    path = mounts.socket_path(place)
    server = await asyncio.start_unix_server(ends, path)
    await asyncio.to_thread(mounts.umount, place, force=False)
    server.close()
    with pytest.raises(InputError, match="nothing of mirrornet is mounted there"):
        mounts.umount(place, force=False)


async def test_two_may_ask_at_once_what_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 60.0)
    begun, go = threading.Event(), threading.Event()

    class Slow:
        def present(self, *_: object) -> tuple[int, int, bool]:
            begun.set()
            assert go.wait(60)
            return 7, 7, True

    holding = Holding(Slow(), ("pin", "disk", 1), SimpleNamespace(block_count=1))  # type: ignore[arg-type]
    both = asyncio.gather(holding.survey(), holding.survey())
    await asyncio.to_thread(begun.wait, 60)
    go.set()
    await both
    assert holding.status() == {"bytes": 7, "here": 7, "complete": True}
