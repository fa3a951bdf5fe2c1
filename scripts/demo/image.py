"""Step 1: an ext4 image of real files, keys, and a signed repository."""

from __future__ import annotations

import shutil
import stat
import sysconfig
from pathlib import Path

from stage import MIRRORNET, Failed, Stage

WANTED = 66 << 20  # bytes of real files; the story asks for an image of at least 64 MB


def gather(target: Path) -> tuple[int, int]:
    """Copies real files of this machine (Python's own library, then the system's) into `target`: (files, bytes)."""
    files = size = 0
    for top in (Path(sysconfig.get_path("stdlib")), Path("/usr/share"), Path("/usr/lib"), Path("/usr/bin")):
        for path in sorted(top.rglob("*")):
            if any(part in ("site-packages", "__pycache__", "test") for part in path.parts):
                continue
            try:
                status = path.lstat()
                if not stat.S_ISREG(status.st_mode) or not 0 < status.st_size < 4 << 20:
                    continue
                copy = target / path.relative_to("/")
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
            except OSError:
                continue
            files, size = files + 1, size + status.st_size
            if size >= WANTED:
                return files, size
    return files, size


def publish(stage: Stage) -> str:
    """Makes the image and publishes it.  Returns the pin that clients are given."""
    stage.step("1. An ext4 image of real files; keys; blocks, index and signed metadata")
    source, picture = stage.work / "source", stage.work / "demo.ext4"
    files, size = gather(source)
    mke2fs = shutil.which("mke2fs", path="/usr/sbin:/sbin:/usr/bin") or "mke2fs"
    stage.run(mke2fs, "-q", "-t", "ext4", "-L", "demo", "-d", str(source), str(picture), "112M")
    length = picture.stat().st_size
    stage.check(
        "image of real files",
        length >= 64 << 20,
        f"{files} files, {size / 1e6:.0f} MB, in {length / 1e6:.0f} MB of ext4",
    )
    keys = stage.work / "keys"
    pin = next((word for word in stage.run(MIRRORNET, "keygen", str(keys)).split() if word.startswith("sha256:")), "")
    if not pin:
        raise Failed("keygen printed no pin")
    repository = stage.work / "repository"
    print(
        stage.run(
            MIRRORNET, "publish", str(picture), "--name", "demo", "--repo", str(repository), "--keys", str(keys)
        ).rstrip()
    )
    blocks = sum(1 for path in (repository / "blocks").rglob("*") if path.is_file())
    stage.check(
        "published", (repository / "metadata" / "timestamp.json").exists(), f"{blocks} block files, pin {pin[:18]}…"
    )
    shutil.copyfile(keys / "root.json", stage.work / "root.json")
    return pin
