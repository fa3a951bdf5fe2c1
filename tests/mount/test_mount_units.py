"""Mounts as a machine's boot makes them: a line of fstab, and deploy/mirrornet-mount@.service, under a real systemd."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator

import pytest
from little_systemd import TREE, LittleSystemd, Unable
from waiting import until

from mirrornet.image.publishing.publish import publish
from mirrornet.image.trust.keys import keygen

HELPER = """#!/bin/sh
export PYTHONPATH=/opt/tree:/opt/packages LD_LIBRARY_PATH=/opt/python/lib
exec /opt/python/bin/python3 -P -c "import sys; from mirrornet.cli import mount_helper; sys.exit(mount_helper())" "$@"
"""
CONTENT = bytes(range(256)) * 4096


@pytest.fixture(scope="module")
def pin_and_systemd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, LittleSystemd]]:
    folder = tmp_path_factory.mktemp("mounts")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs /dev/fuse")
    pin = keygen(folder / "keys", passphrase=None)
    (folder / "image").write_bytes(CONTENT)
    publish(folder / "image", "demo", folder / "repo", folder / "keys", now=time.time())
    packed = subprocess.run(["tar", "-C", str(folder), "-c", "repo"], capture_output=True, check=True).stdout
    try:
        made = LittleSystemd(folder)
    except Unable as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no systemd to try: {error}")
    try:
        made.write("/srv/repo.tar", packed)
        made.run("tar", "-C", "/srv", "-xf", "/srv/repo.tar")
        made.write("/sbin/mount.mirrornet", HELPER)
        made.run("chmod", "755", "/sbin/mount.mirrornet")
        yield pin, made
    finally:
        made.close()


def content(systemd: LittleSystemd, folder: str) -> bytes:
    done = subprocess.run(systemd.command("cat", f"{folder}/demo.raw"), capture_output=True, timeout=60, check=False)
    return done.stdout


def test_a_line_of_fstab_is_mounted_by_systemd(pin_and_systemd: tuple[str, LittleSystemd]) -> None:
    pin, systemd = pin_and_systemd
    systemd.write("/etc/fstab", f"file:///srv/repo#demo /mnt/line mirrornet ro,root={pin},nofail,_netdev 0 0\n")
    systemd.run("systemctl", "daemon-reload")
    wanted = systemd.run("systemctl", "show", "--value", "--property=WantedBy", "mnt-line.mount").stdout
    assert "remote-fs.target" in wanted
    assert systemd.run("systemctl", "start", "mnt-line.mount", code=None).returncode == 0, systemd.run(
        "systemctl", "status", "mnt-line.mount", code=None
    ).stdout
    assert content(systemd, "/mnt/line") == CONTENT
    systemd.run("systemctl", "stop", "mnt-line.mount")
    until(lambda: not systemd.run("pgrep", "-f", "mount_[h]elper", code=None).stdout, systemd.journal)


def test_the_unit_mounts_and_mounts_again_when_it_was_killed(pin_and_systemd: tuple[str, LittleSystemd]) -> None:
    pin, systemd = pin_and_systemd
    systemd.write(
        "/etc/systemd/system/mirrornet-mount@.service", (TREE / "deploy/mirrornet-mount@.service").read_text()
    )
    settings = f"SOURCE=file:///srv/repo\nNAME=demo\nROOT={pin}\nOPTIONS=--cache-size 1G --prefetch none\n"
    systemd.write("/etc/mirrornet/mounts/mnt-unit.conf", settings)
    systemd.write("/etc/systemd/system/mirrornet-mount@.service.d/try.conf", "[Service]\nRestartSec=100ms\n")
    systemd.run("systemctl", "daemon-reload")
    systemd.run("systemctl", "start", "mirrornet-mount@mnt-unit")
    assert content(systemd, "/mnt/unit") == CONTENT
    systemd.run("systemctl", "kill", "--signal=KILL", "mirrornet-mount@mnt-unit")
    until(lambda: content(systemd, "/mnt/unit") == CONTENT, systemd.journal, 60)
    systemd.run("systemctl", "stop", "mirrornet-mount@mnt-unit")
    assert "/mnt/unit" not in systemd.run("cat", "/proc/self/mounts").stdout
