"""A mount whose person is impatient, mistaken, or has closed the door: what is said, and that nothing stays behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from client_mirrors import Mirror, Published, published

from mirrornet.client.fuse.mountpoint import mounted_at

COMMAND = [sys.executable, "-c", "from mirrornet.cli import main; main()"]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return published(tmp_path_factory.mktemp("published"), blocks=8)


class Desk:
    """One mount point, folders of its own, and the words of a mount."""

    def __init__(self, folder: Path, image: Published, url: str) -> None:
        self.folder, self.image, self.url = folder, image, url
        self.point = folder / "mnt"
        self.point.mkdir()

    def words(self, *more: str, url: str = "", root: str = "") -> list[str]:
        return [
            *COMMAND, "mount", url or self.url, "disk", str(self.point), "--root", root or self.image.pin,
            "--state", str(self.folder / "state"), "--cache", str(self.folder / "cache"),
            "--log", str(self.folder / "log"), *more,
        ]  # fmt: skip

    def mount(self, *more: str, root: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.words(*more, root=root), capture_output=True, text=True, timeout=180, check=False)

    def umount(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, "umount", str(self.point)], capture_output=True, text=True, timeout=180, check=False
        )

    def refused(self, code: int, told: str, *more: str, root: str = "") -> None:
        done = self.mount(*more, root=root)
        assert done.returncode == code and told in done.stderr and done.stderr.count("\n") == 1, done.stderr
        assert mounted_at(self.point) is None

    def alive(self) -> bool:
        """Whether a process of a mount here runs."""
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if str(self.point).encode() in process.read_bytes():
                    return True
            except OSError:
                continue
        return False


@pytest.fixture
def desk(need: Callable[..., None], image: Published, tmp_path: Path) -> Iterator[Desk]:
    need("root", "fuse", "umount")
    mirror = Mirror(image.repo, "127.0.0.61")
    made = Desk(tmp_path, image, mirror.url)
    yield made
    if mounted_at(made.point) is not None:
        subprocess.run(["umount", "-l", str(made.point)], check=False)
    mirror.stop()


def test_slips_in_root_and_log_are_told_and_never_waited_for(desk: Desk) -> None:
    pipe = desk.folder / "pipe"
    os.mkfifo(pipe)
    desk.refused(2, "pipe: is no regular file", root=str(pipe))
    desk.refused(2, "/dev/zero: is no regular file", root="/dev/zero")
    desk.refused(2, f"a pin is written with its kind: --root {desk.image.pin}", root=desk.image.pin[7:])
    desk.refused(2, "pipe: is a named pipe", "--log", str(pipe))
    shouted = desk.mount(root=f" {desk.image.pin.upper()} ")
    assert shouted.returncode == 0, shouted.stderr
    assert desk.umount().returncode == 0


def test_a_mount_needs_no_open_streams(desk: Desk) -> None:
    done = subprocess.run(["bash", "-c", 'exec "$@" <&- >&- 2>&-', "bash", *desk.words()], timeout=180, check=False)
    assert done.returncode == 0
    assert (desk.point / "disk.raw").read_bytes() == desk.image.content
    assert desk.umount().returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("more", [(), ("--foreground",)])
def test_a_signal_before_it_is_ready_leaves_nothing(desk: Desk, number: signal.Signals, more: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        process = subprocess.Popen(
            desk.words(*more, url=url), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            silent.settimeout(60)
            link, _ = silent.accept()  # it waits for the mirror now
            process.send_signal(number)
            begun = time.monotonic()
            _, told = process.communicate(timeout=60)
            link.close()
        finally:
            process.kill()
            process.wait()
    assert process.returncode == 130 and "mirrornet: interrupted" in told and "Traceback" not in told
    assert time.monotonic() - begun < 60 and mounted_at(desk.point) is None
    while desk.alive():
        assert time.monotonic() - begun < 60
    log = desk.folder / "log"
    assert not log.exists() or "Traceback" not in log.read_text()


def test_two_mounts_on_one_point_at_once_make_one(desk: Desk) -> None:
    done: list[subprocess.CompletedProcess[str]] = []
    threads = [threading.Thread(target=lambda: done.append(desk.mount())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(each.returncode for each in done)[0] == 0
    assert sum(each.returncode == 0 for each in done) == 1, [each.stderr for each in done]
    assert (desk.point / "disk.raw").read_bytes() == desk.image.content
    assert desk.umount().returncode == 0 and mounted_at(desk.point) is None
    assert desk.umount().returncode == 2
