"""Small root file systems in images, made by e2fsprogs, with the lists that package managers keep."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n'
SBIN = "/usr/sbin:/sbin:/usr/bin:/bin"


def dpkg_status(*packages: tuple[str, str, str]) -> str:
    """The status file of packages (name, version, value of Source or "")."""
    return "\n".join(
        f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\n"
        + (f"Source: {source}\n" if source else "")
        + f"Version: {version}\nDescription: it\n  does: things\n"
        for name, version, source in packages
    )


def ext_image(folder: Path, files: dict[str, str | bytes], size: int = 8 << 20, kind: str = "ext4") -> Path:
    """An image with one file system in it."""
    program = shutil.which(f"mkfs.{kind}", path=SBIN)
    if program is None:  # as conftest's `missing` has it
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs e2fsprogs")
    root, image = folder / "root", folder / "root.img"
    shutil.rmtree(root, ignore_errors=True)
    image.unlink(missing_ok=True)
    for name, content in files.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    subprocess.run([program, "-q", "-d", str(root), str(image), f"{size >> 10}k"], check=True, capture_output=True)
    return image


def debian_image(folder: Path, *packages: tuple[str, str, str]) -> Path:
    """One with Debian's lists."""
    return ext_image(folder, {"/var/lib/dpkg/status": dpkg_status(*packages), "/usr/lib/os-release": DEBIAN})
