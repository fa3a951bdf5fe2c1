"""A real Debian in an ext4 image, and the same after an `apt-get install`: made once, kept under ~/.cache.

debootstrap and apt need root, a loop device and the network; `Missing` says what of it there is not.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SUITE = "bookworm"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", "") or Path.home() / ".cache") / "mirrornet-tests"
TOOLS = ("debootstrap", "mkfs.ext4", "mount", "chroot")
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class Missing(Exception):
    """What cannot be had here."""


@dataclass(frozen=True)
class Debian:
    """Two images: `base`, and `updated` with one more package installed by its own apt."""

    base: Path
    updated: Path


def debian(size: str, packages: Sequence[str], update: Sequence[str]) -> Debian:
    """minbase and `packages` in an ext4 file system of `size`, and then `update` installed in it.

    Raises Missing.
    """
    recipe = hashlib.sha256(repr((SUITE, size, *packages, "then", *update)).encode()).hexdigest()[:16]
    folder = CACHE / f"{SUITE}-{recipe}"
    found = Debian(folder / "base.img", folder / "updated.img")
    if found.updated.exists():
        return found
    if os.geteuid() != 0:
        raise Missing("needs root, for debootstrap and mount")
    for tool in TOOLS:
        if shutil.which(tool, path=_PATH) is None:
            raise Missing(f"needs {tool}")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix=".making-") as name:
        _make(Path(name), size, packages, update)
        shutil.rmtree(folder, ignore_errors=True)
        (Path(name) / "images").rename(folder)
    return found


def _make(folder: Path, size: str, packages: Sequence[str], update: Sequence[str]) -> None:
    root, images = folder / "root", folder / "images"
    images.mkdir()
    _run("debootstrap", "--variant=minbase", SUITE, root)
    shutil.copy("/etc/resolv.conf", root / "etc" / "resolv.conf")
    (root / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")  # nothing is started in there
    (root / "usr/sbin/policy-rc.d").chmod(0o755)
    _install(root, packages, "apt-get update -qq")
    base, updated = images / "base.img", images / "updated.img"
    _run("truncate", "-s", size, base)
    _run("mkfs.ext4", "-q", "-F", "-d", root, base)
    _run("cp", "--sparse=always", base, updated)
    with _mounted(updated, folder / "mnt") as inside:
        _install(inside, update)


def _install(root: Path, packages: Sequence[str], before: str = "true") -> None:
    words = " ".join(packages)
    install = f"apt-get install -y -qq --no-install-recommends {words}" if words else "true"
    _run(
        "chroot", root, "env", "-i", f"PATH={_PATH}", "DEBIAN_FRONTEND=noninteractive",
        "sh", "-c", f"{before} && {install} && apt-get clean",
    )  # fmt: skip


@contextmanager
def _mounted(image: Path, point: Path) -> Iterator[Path]:
    point.mkdir()
    _run("mount", "-o", "loop", image, point)
    try:
        yield point
    finally:
        _run("umount", point)


def _run(*command: str | Path) -> None:
    environment = {"PATH": _PATH, **{key: value for key, value in os.environ.items() if key.endswith("_proxy")}}
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=900, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise Missing(f"`{' '.join(words[:3])} …` failed: {lines[-1] if lines else done.returncode}")
