"""`--read-deadline never`: a reader waits for the network to come back, and can be freed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import client_mirrors as world
import pytest
from waiting import until

from mirrornet.app.client.mounts import statuses, umount
from mirrornet.client.fuse.mountpoint import mounted_at

UNIT = 262144


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> world.Published:
    return world.published(tmp_path_factory.mktemp("published"))


@pytest.fixture
def point(need: Callable[..., None], image: world.Published, tmp_path: Path) -> Iterator[tuple[Path, world.Mirror]]:
    need("root", "fuse", "umount")
    point = tmp_path / "mnt"
    point.mkdir()
    with world.mirrors(image.repo, 1, first=32) as (server,):
        command = [sys.executable, "-c", "from mirrornet.cli import main; main()", "mount", server.url, "disk"]
        folders = ["--state", tmp_path / "state", "--cache", tmp_path / "cache", "--log", tmp_path / "log"]
        words = [point, "--root", image.pin, *folders, "--read-deadline", "never", "--prefetch", "none"]
        done = subprocess.run([*command, *map(str, words)], capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode == 0, done.stderr
        try:
            yield point, server
        finally:
            if mounted_at(point) is not None:
                umount(point, force=True)
    assert "Traceback" not in (tmp_path / "log").read_text()


def _reading(point: Path, block: int) -> tuple[threading.Thread, list[bytes | int | None]]:
    """A thread that reads ten bytes of a block, and what it got: the bytes, or an errno."""
    got: list[bytes | int | None] = []
    file = (point / "disk.raw").open("rb", buffering=0)
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)

    def read() -> None:
        with contextlib.suppress(OSError), file:  # closing it is an error, too, once the mount has gone
            try:
                got.append(os.pread(file.fileno(), 10, block * UNIT))
            except OSError as error:
                got.append(error.errno)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread, got


def test_a_read_waits_until_the_mirror_is_well_again(point: tuple[Path, world.Mirror], image: world.Published) -> None:
    folder, server = point
    server.behave = "die"
    thread, got = _reading(folder, 20)
    until(lambda: server.blocks_asked[-5:] and len(server.blocks_asked) >= 8, lambda: server.asked)
    assert not got and statuses(folder)[0]["reads_waiting"] == 1
    server.behave = "good"
    thread.join(60)
    assert got == [image.content[20 * UNIT :][:10]]


def test_a_read_that_waits_for_ever_ends_with_the_mount(point: tuple[Path, world.Mirror]) -> None:
    folder, server = point
    before = len(server.asked)
    server.behave = "hang"
    thread, got = _reading(folder, 15)
    until(lambda: len(server.asked) > before and statuses(folder)[0]["reads_waiting"] == 1)
    umount(folder, force=True)
    thread.join(60)
    assert got and isinstance(got[0], int)


def test_what_a_killed_reader_still_waits_for_does_not_hold_the_mount(point: tuple[Path, world.Mirror]) -> None:
    folder, server = point
    before = len(server.asked)
    server.behave = "hang"
    command = ["dd", f"if={folder / 'disk.raw'}", "of=/dev/null", "bs=4096", "count=1", f"skip={15 * UNIT // 4096}"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as reader:
        until(lambda: len(server.asked) > before and statuses(folder)[0]["reads_waiting"] > 0)
        reader.kill()
    umount(folder, force=False)  # which waited for the read, for ever
    assert mounted_at(folder) is None
