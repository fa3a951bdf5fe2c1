"""Real mounts over a life: a newer version is told of, staged, mounted; two share a cache; disk and network go."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import client_mirrors as world
import pytest
from kept import kept

from mirrornet.app.client.mounts import statuses, umount
from mirrornet.client.cache.ledger import Ledger
from mirrornet.client.fuse.mountpoint import mounted_at
from mirrornet.image.format.profile import Profile
from mirrornet.image.publishing.publish import publish

UNIT = 262144
PROFILE = Profile(UNIT, (0, 2, 5))


class Machine:
    """A machine with mount points of one image; runs `mirrornet` as its user would."""

    def __init__(self, folder: Path, image: world.Published, source: str) -> None:
        self.folder, self.image, self.source = folder, image, source
        self.points: list[Path] = []

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        folders = ["--state", str(self.folder / "state"), "--cache", str(self.folder / "cache")]
        more = folders if words[0] in ("mount", "pull", "pin") else []
        command = [sys.executable, "-c", "from mirrornet.cli import main; main()", *words, *more]
        return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)

    def told(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def mount(self, name: str, *words: str) -> Path:
        """Mounts at `name`; the image's file there."""
        point = self.folder / name
        point.mkdir(exist_ok=True)
        self.points.append(point)
        self.told(
            "mount", self.source, "disk", str(point), "--root", self.image.pin,
            "--log", str(self.folder / f"{name}.log"), "--read-deadline", "60s", *words,
        )  # fmt: skip
        return point / "disk.raw"

    def pull(self, *words: str) -> str:
        return self.told("pull", self.source, "disk", "--root", self.image.pin, *words)

    def status(self, file: Path, *, refresh: bool = False) -> dict[str, Any]:
        return statuses(file.parent, refresh=refresh)[0]

    def end(self) -> None:
        for point in self.points:
            if mounted_at(point) is not None:
                umount(point, force=True)
        for log in self.folder.glob("*.log"):
            assert "Traceback" not in log.read_text()


@pytest.fixture
def machine(need: Callable[..., None], tmp_path: Path) -> Iterator[Machine]:
    need("root", "fuse", "umount")
    image = world.published(tmp_path, profile=PROFILE)
    with world.mirrors(image.repo, 2, first=171) as servers:
        made = Machine(tmp_path, image, ",".join(server.url for server in servers))
        try:
            yield made
        finally:
            made.end()


def publish_next(image: world.Published, *numbers: int) -> bytes:
    """A version in which those blocks are new; its content."""
    content = bytearray(image.content)
    dice = random.Random(time.time_ns())
    for number in numbers:
        content[number * UNIT : (number + 1) * UNIT] = dice.randbytes(UNIT)
    image.image.write_bytes(content)
    publish(image.image, "disk", image.repo, image.keys, now=time.time(), profile=PROFILE)
    return bytes(content)


def test_a_newer_version_is_told_of_staged_and_mounted_and_nothing_changes_under_a_reader(machine: Machine) -> None:
    first = machine.image.content
    file = machine.mount("mnt")
    assert file.read_bytes() == first
    assert machine.status(file, refresh=True)["following"]["next"] is None
    second = publish_next(machine.image, 2, 7, 15)
    news = machine.status(file, refresh=True)["following"]["next"]
    assert (news["version"], news["blocks"], news["here"]) == (2, 3, 0)
    assert 3 * UNIT <= news["bytes"] == news["left"] < 3.1 * UNIT and 0 < news["seconds"] < 60
    told = machine.told("status", str(file.parent))
    assert "version 2 is out: 3 new blocks, 768." in told and "at the rate measured" in told, told
    assert "disk version 2, beside version 1: 3 blocks fetched, 768." in machine.pull("--next")
    news = machine.status(file)["following"]["next"]
    assert (news["here"], news["left"]) == (3, 0)
    assert "all of them here" in machine.told("status", str(file.parent))
    with file.open("rb") as stream:
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert stream.read() == first, "a running mount changed"
    newer = machine.mount("newer")
    assert newer.read_bytes() == second and machine.status(newer)["version"] == 2
    assert machine.status(newer)["reads"]["network"] == 0, "all of it was staged, or shared with version 1"
    older = machine.mount("older", "--version", "1")
    assert older.read_bytes() == first
    assert machine.status(older)["following"]["next"]["version"] == 2


def test_a_version_that_is_already_mounted_is_nothing_to_stage(machine: Machine) -> None:
    machine.mount("mnt").read_bytes()  # its profile included
    assert "disk version 1 is the newest, and mounted: there is nothing to stage" in machine.pull("--next")


def test_what_was_pulled_mounts_and_reads_without_a_network(machine: Machine) -> None:
    machine.pull()
    machine.source = "http://127.0.0.1:9"  # nobody
    file = machine.mount("mnt", "--offline")
    assert file.read_bytes() == machine.image.content
    status = machine.status(file)
    assert status["offline"] and status["reads"]["network"] == 0 and status["following"] is None
    assert (status["profile"]["blocks"], status["profile"]["cached"]) == (3, 3)
    told = machine.told("status", str(file.parent))
    assert "boots offline: yes, all of the image is here (profile 3 of 3)" in told and ", offline" in told
    assert status["holding"]["complete"] and status["holding"]["here"] == status["holding"]["bytes"]


def test_what_a_guest_is_started_with_is_part_of_booting_offline(machine: Machine) -> None:
    image = machine.image
    guest = {"kernel": b"a kernel", "initrd": b"an initrd", "cmdline": b"ro"}
    publish(image.image, "disk", image.repo, image.keys, now=time.time(), profile=PROFILE, attached=guest)
    file = machine.mount("mnt")
    assert file.read_bytes() == image.content
    assert machine.status(file)["guest_files"] == {"cmdline": False, "initrd": False, "kernel": False}
    assert "cmdline, initrd, kernel are not here" in " ".join(machine.told("status", str(file.parent)).split())
    machine.pull("--profile-only")
    assert "boots offline: yes" in machine.told("status", str(file.parent))


def test_two_mounts_share_a_cache_and_its_quota_and_pin_what_they_need(machine: Machine) -> None:
    quota = 8 * UNIT
    one = machine.mount("one", "--cache-size", str(quota))
    two = machine.mount("two")
    assert machine.status(two)["cache"]["quota"] == quota
    pinned = {line.split()[0] for line in machine.told("pin", "--list").splitlines()}
    assert pinned == {"disk@1"}
    assert one.read_bytes() == two.read_bytes() == machine.image.content
    with Ledger(machine.folder / "cache").account():  # held, nobody books: what is seen is there at once
        assert 0 < sum(kept(machine.folder / "cache").values()) <= quota
    umount(one.parent, force=False)
    assert two.read_bytes() == machine.image.content


def test_a_cache_that_fills_up_and_heals(machine: Machine, need: Callable[..., None]) -> None:
    need("mount")
    (machine.folder / "cache").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(machine.folder / "cache")], check=True)
    try:
        file = machine.mount("mnt")
        assert file.read_bytes() == machine.image.content
        status = machine.status(file)
        assert status["cache"]["refused"] == "No space left on device" and status["reads"]["errors"] == 0
        assert "nothing is kept at present: No space left" in machine.told("status", str(file.parent))
        publish_next(machine.image, 3, 4, 5)
        assert machine.status(file, refresh=True)["following"]["next"]["blocks"] == 3
        umount(file.parent, force=False)
    finally:
        subprocess.run(["umount", "-l", str(machine.folder / "cache")], check=True)
