"""`mirrornet profile` as a person uses it: a mount that was read, an image by its name, files from elsewhere, slips."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import client_mirrors as world
import pytest
from waiting import until

from mirrornet.app.client.mounts import statuses, umount
from mirrornet.client.fuse.mountpoint import mounted_at
from mirrornet.image.format.profile import Profile
from mirrornet.image.publishing.publish import publish
from mirrornet.image.trust.keys import keygen

UNIT = 65536
COUNT = 400
BOOT = tuple(random.Random(6).sample(range(0, COUNT, 4), 50))  # apart, so that the kernel reads nothing ahead


class Machine:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.point = folder / "mnt"
        self.point.mkdir()
        self.image = folder / "disk.img"
        self.image.write_bytes(random.Random(2).randbytes(COUNT * UNIT))
        self.pin = keygen(folder / "keys", passphrase=None)
        publish(self.image, "disk", folder / "repo", folder / "keys", block_size=UNIT, now=time.time())
        self.source = ""

    def run(self, *words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from mirrornet.cli import main; main()", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)

    def mount(self, *words: str) -> None:
        folders = ["--state", self.folder / "state", "--cache", self.folder / "cache"]
        done = self.run(
            "mount", self.source, "disk", self.point, "--root", self.pin, *folders, "--log", self.folder / "log", *words
        )
        assert done.returncode == 0, done.stderr

    def profile(self, *words: object) -> subprocess.CompletedProcess[str]:
        return self.run("profile", *words, "--state", self.folder / "state")

    def boot(self) -> None:
        """Reads a page of each block, as a guest would whose disk is opened without the host's cache in between."""
        with (self.point / "disk.raw").open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            for number in BOOT:
                os.pread(file.fileno(), 4096, number * UNIT)

    def read_ahead(self) -> int | None:
        """KiB that the kernel reads ahead; None where that cannot be set."""
        mount = mounted_at(self.point)
        assert mount is not None
        file = Path(f"/sys/class/bdi/{mount.device}/read_ahead_kb")
        return int(file.read_text()) if os.access(file, os.W_OK) else None

    def told(self) -> dict[str, Any]:
        found: dict[str, Any] = statuses(self.point)[0]["profile"]
        return found

    def end(self) -> None:
        if mounted_at(self.point) is not None:
            umount(self.point, force=True)
        assert not (self.folder / "log").exists() or "Traceback" not in (self.folder / "log").read_text()


@pytest.fixture
def machine(need: Callable[..., None], tmp_path: Path) -> Iterator[Machine]:
    need("root", "fuse", "umount")
    made = Machine(tmp_path)
    with world.mirrors(tmp_path / "repo", 1, first=31) as servers:
        made.source = servers[0].url
        yield made
        made.end()


def test_recorded_shown_published_and_replayed(machine: Machine) -> None:
    machine.mount()
    early = machine.profile(machine.point)
    assert early.returncode == 2 and "nothing has booted yet" in early.stderr
    assert machine.read_ahead() in (1024, None)
    machine.boot()
    out = machine.folder / "boot.profile"
    done = machine.profile(machine.point, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "profile: " in done.stdout and f"written to {out}" in done.stdout
    profile = Profile.parse(out.read_bytes())
    assert profile.block_size == UNIT
    assert [number for number in profile.blocks if number in BOOT] == [n for n in profile.blocks if n in BOOT]
    assert set(BOOT) <= set(profile.blocks) and len(profile.blocks) <= len(BOOT) + 3
    machine.end()

    by_name = json.loads(machine.profile("disk@1", "--json").stdout)
    assert by_name["blocks"] == list(profile.blocks) and len(by_name["recordings"]) == 1
    publish(
        machine.image, "disk", machine.folder / "repo", machine.folder / "keys", block_size=UNIT, profile=profile,
        now=time.time(),
    )  # fmt: skip
    shutil.rmtree(machine.folder / "cache")
    machine.mount("--prefetch", "profile")
    assert machine.read_ahead() in (32, None)  # the profile knows better than the kernel
    until(lambda: machine.told()["state"] == "done", machine.told)
    told = machine.told()
    assert told["from"] == "published" and told["cached"] == told["blocks"] == len(profile.blocks)
    machine.boot()
    assert statuses(machine.point)[0]["reads"]["disk"] == 0  # all of it is in memory already
    assert f"(profile {len(profile.blocks)} of {len(profile.blocks)})" in machine.run("status").stdout


def test_slips_are_told_in_one_line(machine: Machine) -> None:
    machine.mount()
    machine.boot()
    assert machine.profile(machine.point).returncode == 0
    garbage, other = machine.folder / "garbage", machine.folder / "other"
    garbage.write_bytes(b"\0" * 100)
    other.write_bytes(Profile(UNIT, (397, 398, 399)).encode())
    out = machine.folder / "out"
    for words, said in (
        (("nothing",), "nothing was recorded of it here"),
        (("disk@seven",), "write NAME or NAME@VERSION"),
        (("disk@7",), "nothing was recorded of it here"),
        (("Not An Image",), "cannot name an image"),
        (("/nowhere/at/all",), "nothing of mirrornet is mounted there"),
        (("disk", "--merge", garbage), "neither a profile nor recordings"),
        (("disk", "--merge", machine.folder), "is a folder"),
        (("disk", "--merge", machine.folder / "absent"), "No such file"),
        (("disk", "--merge", other, "--out", out), "have nothing in common"),
        (("disk", "--out", machine.folder / "absent" / "out"), "No such file"),
    ):
        done = machine.profile(*words)
        assert done.returncode in (1, 2) and said in done.stderr, (words, done)
        assert len(done.stderr.strip().splitlines()) == 1 and not out.exists()
    merged = machine.profile("disk", "--merge", other)
    assert merged.returncode == 0 and "nothing that most of them have in common" in merged.stdout
    wrong = machine.run("mount", machine.source, "disk", machine.folder, "--root", machine.pin, "--prefetch", "all")
    assert wrong.returncode == 2 and "auto, profile, none" in wrong.stderr
