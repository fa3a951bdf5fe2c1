"""What was pulled boots on a machine that has never booted it, without a network."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import client_mirrors as world
import pytest
from sector_guest import Boot, sector_image, small_kernel

from mirrornet.app.client.pull import PullOptions, run_pull
from mirrornet.app.client.session import ClientOptions
from mirrornet.image.format.profile import Profile
from mirrornet.image.publishing.publish import publish
from mirrornet.image.trust.keys import keygen


@pytest.mark.parametrize(
    ("kernel", "profile_only", "sign"),
    [(False, False, "BOOTED 1"), (True, False, "KERNEL quiet"), (True, True, "KERNEL")],
)
def test_pulled_and_booted_offline(
    need: Callable[..., None], tmp_path: Path, kernel: bool, profile_only: bool, sign: str
) -> None:
    need("root", "qemu-system-x86_64", "qemu-img", "fuse")
    repo, keys = tmp_path / "repo", tmp_path / "keys"
    pin = keygen(keys, passphrase=None)
    attached = {"kernel": small_kernel(), "cmdline": b"quiet\n"} if kernel else {}
    image = sector_image(tmp_path / "disk.img")
    publish(image, "disk", repo, keys, now=time.time(), attached=attached, profile=Profile(262144, (0,)))
    with world.mirrors(repo, 1, first=175) as (server,):
        client = ClientOptions(server.url, "disk", pin, cache=tmp_path / "cache", state=tmp_path / "state")
        pulled = run_pull(PullOptions(client, profile_only), lambda done, total: None)
    assert ("kernel" in pulled.files) == kernel
    guest = Boot(
        tmp_path, "http://127.0.0.1:9", "disk", "--root", pin, "--state", str(tmp_path / "state"), "--offline",
        "--cache", str(tmp_path / "cache"), "--log", str(tmp_path / "log"), "--memory", "64M", "--accel", "tcg",
    )  # fmt: skip
    try:
        guest.until(sign)
        assert guest.off() == 0
    finally:
        guest.end()
