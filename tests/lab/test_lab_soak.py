"""A minute of trouble: all read on, no byte is wrong, no answer is lost.  `make soak` has ten of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

SECONDS = 60
SEED = 14


def test_a_minute_of_trouble(machine: None, need: Callable[..., None]) -> None:
    need("root", "nginx", "unbound", "curl", "openssl", "fuse", "nsenter")
    command = [sys.executable, "-m", "mirrornet.lab.soak", "--seconds", str(SECONDS), "--seed", str(SEED)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert done.stdout.count("kept ") >= 5
