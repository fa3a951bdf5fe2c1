"""`publish` beside casync and create_compressed_fs: time, CPU, memory, bytes stored, bytes new after an update.

A Debian of some 560 MB in a file system of 2 GB, and the same after an `apt-get install` (tests/helpers/debian.py makes
them once; that needs root and the network).  Like beside like: casync with zstd at its level (3) beside ours with zstd,
casync with gzip (level 6) beside ours with zlib, create_compressed_fs (level 9) beside `--level 9`.  casync cuts by
content around 256 KiB and we cut at 256 KiB; both hash by SHA-256.

Each is a process of its own on a warm page cache, in turns; medians of the rounds, ratios of what ran in the same
round.  CPU is user and system time of all its threads.  Ours brings its blocks to the disk, which the others do not.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

HOUSE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HOUSE / "tests" / "helpers"))
from debian import Debian, Missing, debian  # noqa: E402

PACKAGES = ("python3-minimal", "gcc", "git", "vim-tiny")
UPDATE = ("openssh-client",)
MIRRORNET = [sys.executable, "-c", "from mirrornet.cli import main; main()"]


@dataclass
class Run:
    """One run: seconds of wall clock and of CPU, bytes of memory at most."""

    wall: float
    cpu: float
    memory: int


def run(*command: str | Path) -> Run:
    """Runs it quietly to its end, on a disk that has nothing else to write."""
    os.sync()
    begun = time.monotonic()
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    told = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command[0]} failed: {told.decode().strip()}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def held(folder: Path) -> int:
    """Bytes of all files in `folder`, or of the file."""
    if folder.is_file():
        return folder.stat().st_size
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


class Contestant:
    """Publishes `base` and then `updated` into `store`."""

    def __init__(self, name: str, slow: bool = False) -> None:
        self.name, self.slow = name, slow
        self.runs: list[tuple[Run, Run | None, int, int]] = []

    def command(self, image: Path, store: Path) -> list[str | Path]:
        """What publishes `image`."""
        raise NotImplementedError

    def round(self, images: Debian, folder: Path) -> None:
        """Both images, measured."""
        store = folder / "store"
        shutil.rmtree(store, ignore_errors=True)
        store.mkdir()
        first = run(*self.command(images.base, store))
        stored = held(store)
        second = run(*self.command(images.updated, store))
        self.runs.append((first, second, stored, self.fresh(held(store), stored)))

    def fresh(self, now: int, before: int) -> int:
        """Bytes that are new to who has the first."""
        return now - before


class Casync(Contestant):
    """casync make, with a store of chunks."""

    def __init__(self, compression: str) -> None:
        super().__init__(f"casync {compression}")
        self.compression = compression

    def command(self, image: Path, store: Path) -> list[str | Path]:
        options = ["--what=blob-index", "--chunk-size=256K", "--digest=sha256", f"--compression={self.compression}"]
        return ["casync", "make", *options, f"--store={store}/chunks", store / f"{image.stem}.caibx", image]


class Cloop(Contestant):
    """create_compressed_fs: one file, sent anew after an update."""

    def __init__(self) -> None:
        super().__init__("create_compressed_fs", slow=True)

    def command(self, image: Path, store: Path) -> list[str | Path]:
        return ["create_compressed_fs", "-q", "-B", "256K", image, store / "out.cloop"]

    def fresh(self, now: int, before: int) -> int:
        return now


class Ours(Contestant):
    """mirrornet publish."""

    def __init__(self, name: str, keys: Path, *options: str, slow: bool = False) -> None:
        super().__init__(f"mirrornet {name}", slow)
        self.keys, self.options = keys, options

    def command(self, image: Path, store: Path) -> list[str | Path]:
        where = ["--repo", store / "repo", "--keys", self.keys]
        return [*MIRRORNET, "publish", image, "--name", "debian", *where, *self.options]


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    for tool in ("casync", "create_compressed_fs"):
        if shutil.which(tool) is None:
            sys.exit(f"needs {tool}: see scripts/setup")
    try:
        images = debian("2G", PACKAGES, UPDATE)
    except Missing as error:
        sys.exit(f"no Debian to publish: {error}")
    used = images.base.stat().st_blocks * 512
    print(f"2 GiB, {used / 1e6:.0f} MB used; {len(os.sched_getaffinity(0))} cores; {rounds} rounds")
    with tempfile.TemporaryDirectory(prefix="bench-publish-") as name:
        folder = Path(name)
        keys = folder / "keys"
        run(*MIRRORNET, "keygen", keys)
        pairs = [
            (Ours("zstd 3", keys, "--codec", "zstd"), Casync("zstd")),
            (Ours("zlib 5", keys), Casync("gzip")),
            (Ours("zlib 9", keys, "--level", "9", slow=True), Cloop()),
            (Ours("zlib 5 --packs", keys, "--packs"), Casync("gzip")),
        ]
        for image in (images.base, images.updated):
            run("cat", image)  # into the page cache
        for number in range(rounds):
            for pair in pairs:
                for each in pair:
                    if not (each.slow and number):
                        each.round(images, folder)
    print(f"{'':24}{'wall s':>8}{'CPU s':>8}{'MB RAM':>8}{'MB stored':>11}{'MB new':>8}{'update s':>9}")
    for pair in pairs:
        for each in pair:
            first = [one for one, _, _, _ in each.runs]
            second = [two for _, two, _, _ in each.runs if two]
            stored, new = each.runs[-1][2:]
            print(
                f"{each.name:24}{median(r.wall for r in first):8.2f}{median(r.cpu for r in first):8.2f}"
                f"{max(r.memory for r in first) / 1e6:8.0f}{stored / 1e6:11.1f}{new / 1e6:8.2f}"
                f"{median(r.wall for r in second):9.2f}"
            )
        ours, theirs = pair
        both = list(zip(ours.runs, theirs.runs, strict=True))
        wall, cpu = ([getattr(b[0], what) / getattr(a[0], what) for a, b in both] for what in ("wall", "cpu"))
        print(
            f"  {median(wall):.1f} times as fast ({min(wall):.1f}-{max(wall):.1f}), CPU 1/{median(cpu):.1f}, stored "
            f"{100 * (ours.runs[-1][2] / theirs.runs[-1][2] - 1):+.1f} %"
        )


if __name__ == "__main__":
    main()
