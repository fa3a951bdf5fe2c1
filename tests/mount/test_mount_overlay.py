"""`mount --overlay DIR`, for real: FUSE, a loop device, overlayfs; what is written, whom it belongs to, what dies."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import client_mirrors as world
import pytest
from waiting import until

from mirrornet.app.client.overlay import statuses
from mirrornet.app.client.telling import text
from mirrornet.app.folders import run_folder
from mirrornet.client.fuse.overlaid import mounted, rows
from mirrornet.image.publishing.publish import publish
from mirrornet.image.trust.keys import keygen
from mirrornet.model.errors import MirrornetError

NEEDS = ("root", "fuse", "mkfs.ext4", "sfdisk", "mount")
MIB = 1 << 20


def _file_system(folder: Path, files: dict[str, bytes], size: int = 8 * MIB) -> bytes:
    tree = folder / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    for name, content in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(content)
    image = folder / "made.img"
    image.unlink(missing_ok=True)
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run(["mkfs.ext4", "-q", "-d", tree, image], check=True)
    return image.read_bytes()


class House:
    """A published file system, its mirror, and a machine that mounts it writable."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.repo, self.keys = folder, folder / "repo", folder / "keys"
        self.pin = keygen(self.keys, passphrase=None)
        self.urls = ""
        self.point, self.changes = folder / "mnt", folder / "changes, kept: here"
        self.point.mkdir()
        self.strangers = set(run_folder().glob("overlay-*"))  # what others have mounted, or left when they were killed

    def publish(self, content: bytes) -> None:
        image = self.folder / "disk.img"
        image.write_bytes(content)
        publish(image, "disk", self.repo, self.keys, now=time.time())

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from mirrornet.cli import main; main()", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)

    def mount(self, *words: str, changes: Path | None = None) -> subprocess.CompletedProcess[str]:
        return self.run(
            "mount", self.urls, "disk", self.point, "--root", self.pin, "--overlay", changes or self.changes,
            "--state", self.folder / "state", "--cache", self.folder / "cache", "--log", self.folder / "log", *words,
        )  # fmt: skip

    def mounted(self, *words: str) -> None:
        done = self.mount(*words)
        assert (done.returncode, done.stderr) == (0, "")

    def umount(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run("umount", self.point, *words)

    def left(self) -> list[str]:
        ours = [row.mountpoint for row in rows() if row.mountpoint.startswith(str(self.folder))]
        new = set(run_folder().glob("overlay-*")) - self.strangers
        return ours + [str(path) for path in new if self._is_ours(path)]

    def _is_ours(self, place: Path) -> bool:
        try:
            return str(self.folder) in (place / "place.json").read_text()
        except FileNotFoundError:
            return place.exists()  # half made, and left


@pytest.fixture
def house(need: Callable[..., None], tmp_path: Path) -> Iterator[House]:
    need(*NEEDS)
    made = House(tmp_path)
    made.publish(_file_system(tmp_path, {"etc/hostname": b"one\n", "etc/motd": b"hello\n", "big": os.urandom(3 * MIB)}))
    with world.mirrors(made.repo, 1, first=130) as servers:
        made.urls = servers[0].url
        yield made
        made.umount("--force")
        assert made.left() == []


def test_what_is_written_is_kept_and_the_image_is_not_changed(house: House) -> None:
    big = (house.folder / "tree" / "big").read_bytes()
    house.mounted()
    assert (house.point / "big").read_bytes() == big
    (house.point / "etc/hostname").write_text("two\n")
    (house.point / "etc/motd").unlink()
    (house.point / "new").write_text("mine")
    status = statuses(house.point)[0]
    assert status["mountpoint"] == str(house.point) and status["overlay"] == str(house.changes)
    assert "writable: what is written is kept in" in text(status, time.time())
    assert any(each["mountpoint"] == str(house.point) for each in statuses(None))
    assert house.umount().returncode == 0 and house.left() == []
    house.mounted()
    assert (house.point / "etc/hostname").read_text() == "two\n" and (house.point / "new").read_text() == "mine"
    assert not (house.point / "etc/motd").exists() and (house.point / "big").read_bytes() == big
    assert house.umount().returncode == 0
    fresh = house.mount(changes=house.folder / "others")
    assert fresh.returncode == 0 and (house.point / "etc/hostname").read_text() == "one\n"


def test_changes_belong_to_their_version(house: House) -> None:
    house.mounted()
    (house.point / "new").write_text("mine")
    assert house.umount().returncode == 0
    house.publish(_file_system(house.folder, {"etc/hostname": b"three\n"}))
    done = house.mount()
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "belongs to disk version 1, this is version 2: add --version 1, or name another folder" in done.stderr
    assert house.left() == []
    house.mounted("--version", "1")
    assert (house.point / "new").read_text() == "mine"


def test_the_root_of_a_partitioned_disk(house: House) -> None:
    small = _file_system(house.folder, {"EFI": b"boot\n"}, 2 * MIB)
    root = _file_system(house.folder, {"etc/hostname": b"of the second partition\n"}, 8 * MIB)
    disk = house.folder / "whole.img"
    with disk.open("wb") as file:
        file.truncate(12 * MIB)
    table = b"label: gpt\nstart=2048, size=4096\nstart=6144, size=16384\n"
    subprocess.run(["sfdisk", "-q", disk], input=table, check=True)
    with disk.open("r+b") as file:
        file.seek(2048 * 512)
        file.write(small)
        file.write(root)
    house.publish(disk.read_bytes())
    house.mounted()
    assert (house.point / "etc/hostname").read_text() == "of the second partition\n"


def test_who_holds_it_is_named_and_force_does_not_ask(house: House) -> None:
    house.mounted()
    with (house.point / "new").open("w") as held:
        done = house.umount()
        assert done.returncode == 1 and f"process {os.getpid()}" in done.stderr and "--force" in done.stderr
        assert mounted(house.point) and (house.point / "etc/motd").read_text() == "hello\n"
        taken = house.mount(changes=house.folder / "others")
        assert taken.returncode == 2 and "already" in taken.stderr
        other = house.folder / "mnt2"
        other.mkdir()
        both = house.run("mount", house.urls, "disk", other, "--root", house.pin, "--overlay", house.changes)
        assert both.returncode == 2 and f"is in use at {house.point}" in both.stderr
        held.write("in time")
        assert house.umount("--force").returncode == 0
    until(lambda: house.left() == [], house.left)
    house.mounted()


def test_a_strangers_mount_over_it_is_left_alone(house: House) -> None:
    house.mounted()
    subprocess.run(["mount", "-t", "tmpfs", "stranger", house.point], check=True)
    try:
        done = house.umount()
        assert done.returncode == 1 and "is held by" in done.stderr
        assert [row.kind for row in rows() if row.mountpoint == str(house.point)] == ["overlay", "tmpfs"]
    finally:
        subprocess.run(["umount", house.point], check=True)
    assert house.umount().returncode == 0 and house.left() == []


def test_kill_9_of_the_images_process_is_told_and_loses_no_change(house: House) -> None:
    house.mounted()
    (house.point / "new").write_text("mine")
    os.kill(statuses(house.point)[0]["pid"], signal.SIGKILL)
    until(lambda: "is gone" in _told(house.point))
    assert "what was written is in" in _told(house.point) and f"umount {house.point}" in _told(house.point)
    assert any("is gone" in str(each.get("error")) for each in statuses(None) if each["mountpoint"] == str(house.point))
    done = house.umount()
    assert done.returncode == 0, done.stderr
    assert house.left() == []
    house.mounted()
    assert (house.point / "new").read_text() == "mine"


def _told(point: Path) -> str:
    try:
        statuses(point)
    except MirrornetError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("wrong", ["full", "file", "foreground", "missing", "note", "image"])
def test_a_slip_is_one_line_and_leaves_nothing(house: House, wrong: str) -> None:
    words: list[str] = []
    if wrong == "full":
        house.changes.mkdir()
        (house.changes / "precious").touch()
    elif wrong == "file":
        house.changes.touch()
    elif wrong == "foreground":
        words = ["--foreground"]
    elif wrong == "missing":
        house.point.rmdir()
    elif wrong == "note":
        house.changes.mkdir()
        (house.changes / "image.json").write_text("{")
    else:
        house.publish(os.urandom(MIB))
    done = house.mount(*words)
    assert done.returncode == (1 if wrong == "image" else 2), done.stderr
    assert len(done.stderr.splitlines()) == 1 and "Traceback" not in done.stderr
    assert house.left() == []
    house.point.mkdir(exist_ok=True)
