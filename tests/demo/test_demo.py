"""The whole story of `make demo`, with mirrors served by the built-in static server; make demo itself prefers nginx."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]


def test_the_story_holds_without_nginx(need: Callable[..., None]) -> None:
    need("root", "fuse", "mke2fs")
    command = [sys.executable, "scripts/demo", "--server", "builtin"]
    done = subprocess.run(command, cwd=TREE, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    last = done.stdout.rstrip().splitlines()[-1]
    assert re.fullmatch(r"demo: \d+ checks passed", last)
    assert int(last.split()[1]) >= 20
    assert not any("mirrornet-demo" in line for line in Path("/proc/mounts").read_text().splitlines())
