"""deploy/check-boots: what it tells qemu, and what it makes of the console; qemu itself is a stand-in."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "check-boots"


def check(tmp_path: Path, guest: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs it with a qemu that writes its arguments, a line each, to `arguments` and then does `guest`."""
    fake = tmp_path / "bin" / "qemu-system-x86_64"
    fake.parent.mkdir()
    fake.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" >'{tmp_path}/arguments'\n{guest}\n")
    fake.chmod(0o755)
    path = f"{fake.parent}:{os.environ['PATH']}"
    environment = {"PATH": path, "IMAGE": "/tmp/a,b.raw", "ACCEL": "tcg", "TMPDIR": str(tmp_path), **environment}
    return subprocess.run([SCRIPT], env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_the_marker_ends_it_and_the_guest(tmp_path: Path) -> None:
    guest = f"echo $$ >'{tmp_path}/pid'; echo 'Debian login: '; exec sleep 1000"
    done = check(tmp_path, guest, KERNEL="/k", INITRD="/i", CMDLINE="root=/dev/vda a=b,c")
    assert done.returncode == 0, done.stderr
    arguments = (tmp_path / "arguments").read_text().splitlines()
    assert "file=/tmp/a,,b.raw,format=raw,if=virtio,snapshot=on" in arguments
    assert arguments[arguments.index("-kernel") + 1] == "/k" and arguments[arguments.index("-initrd") + 1] == "/i"
    assert arguments[arguments.index("-append") + 1] == "root=/dev/vda a=b,c"
    state = Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"
    assert not list(tmp_path.glob("tmp.*"))


@pytest.mark.parametrize("guest", ["echo 'Kernel panic'; exit 0", "echo 'Kernel panic'; exec sleep 1000"])
def test_a_guest_that_does_not_come_up(tmp_path: Path, guest: str) -> None:
    done = check(tmp_path, guest, SECONDS_AT_MOST="2")
    assert done.returncode == 1 and "did not come" in done.stderr and "Kernel panic" in done.stderr
    assert "-kernel" not in (tmp_path / "arguments").read_text().splitlines()  # its own boot loader
