"""A real Debian by `mirrornet boot`: published by the command line, booted, its client killed on the way."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import client_mirrors as world
import pytest
from sector_guest import Boot

from mirrornet.image.trust.keys import keygen

HOUSE = Path(__file__).resolve().parents[2]
GUEST = Path(os.environ.get("XDG_CACHE_HOME", "") or Path.home() / ".cache") / "mirrornet-tests" / "guest"
PATIENCE = 300.0  # seconds; it is up after 16 where nothing else runs


def test_a_debian_comes_up_though_its_disk_is_served_by_one_client_after_another(
    need: Callable[..., None], tmp_path: Path
) -> None:
    need("qemu-system-x86_64", "qemu-img")
    built = subprocess.run([HOUSE / "scripts/guest/build", GUEST], capture_output=True, text=True, check=False)
    if built.returncode:
        why = (built.stderr.strip().splitlines() or ["no reason given"])[-1]
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no guest could be built: {why}")
    repo, keys = tmp_path / "repo", tmp_path / "keys"
    pin = keygen(keys, passphrase=None)
    done = subprocess.run(
        [
            sys.executable, "-c", "from mirrornet.cli import main; main()", "publish", GUEST / "guest.img",
            "--name", "guest", "--repo", repo, "--keys", keys, "--codec", "zstd", "--level", "1",
            "--boot", "image:/vmlinuz,image:/initrd.img,root=/dev/vda console=ttyS0",
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    folders = ["--state", str(tmp_path / "state"), "--cache", str(tmp_path / "cache"), "--log", str(tmp_path / "log")]
    with world.mirrors(repo, 1, first=40) as servers:
        guest = Boot(tmp_path, servers[0].url, "guest", "--root", pin, *folders, "--accel", "tcg")
        try:
            for sign in ("Loading, please wait", "systemd[1]: Detected", "Reached target"):
                guest.until(sign, PATIENCE)
                os.kill(guest.children()["client"], signal.SIGKILL)
            guest.until("GUEST-READY", PATIENCE)
            assert guest.ended(PATIENCE) == 0, guest.errors
        finally:
            guest.end()
    assert guest.errors == ""
    assert b"I/O error" not in guest.seen and b"rror, dev vda" not in guest.seen
    assert "ERROR" not in (tmp_path / "log").read_text()
    cached = sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*") if path.is_file())
    assert cached < (GUEST / "guest.img").stat().st_blocks * 512 / 3  # only what it touched
    shutil.rmtree(repo)
