"""An image whose blocks lie in packs only, mounted by the real command from a real web server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import client_mirrors as world

from mirrornet.image.format.block import Codec


def test_mounted_from_packs(need: Callable[..., None], tmp_path: Path) -> None:
    need("fuse")
    image = world.published(tmp_path, blocks=40, packs=True, codec=Codec.ZSTD)
    assert len(list((image.repo / "blocks").rglob("?" * 64))) <= 3  # a page, and two packs
    point = tmp_path / "mnt"
    point.mkdir()

    def mirrornet(*words: str) -> None:
        command = [sys.executable, "-c", "from mirrornet.cli import main; main()", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode == 0, done.stderr

    with world.mirrors(image.repo, 2, first=32) as servers:
        servers[1].ranges = False
        source = ",".join(server.url for server in servers)
        folders = ["--state", str(tmp_path / "state"), "--cache", str(tmp_path / "cache")]
        mirrornet("mount", source, "disk", str(point), "--root", image.pin, *folders)
        try:
            assert (point / "disk.raw").read_bytes() == image.content
        finally:
            mirrornet("umount", str(point))
    assert servers[0].parts
