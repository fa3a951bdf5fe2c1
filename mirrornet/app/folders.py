"""Where state, cache and sockets live: the system's folders for root, XDG's for everybody else."""

from __future__ import annotations

import os
from pathlib import Path


def _folder(system: str, variable: str, fallback: str) -> Path:
    if os.geteuid() == 0:
        return Path(system)
    base = os.environ.get(variable, "")
    return (Path(base) if base else Path.home() / fallback) / "mirrornet"


def state_folder() -> Path:
    """What must survive a reboot: trust, verdicts, the plan."""
    return _folder("/var/lib/mirrornet", "XDG_STATE_HOME", ".local/state")


def cache_folder() -> Path:
    """What may be thrown away at any time: blocks."""
    return _folder("/var/cache/mirrornet", "XDG_CACHE_HOME", ".cache")


def run_folder() -> Path:
    """Control sockets; empty after a reboot."""
    if os.geteuid() == 0:
        return Path("/run/mirrornet")
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    return Path(base) / "mirrornet" if base else state_folder() / "run"
