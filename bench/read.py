"""Warm reads: how fast what is in our disk cache reaches a program, beside others that serve a file through FUSE.

The image is the data of a Debian (tests/helpers/debian.py): its blocks that are not zeroes, one after the other, since
holes would flatter us; `whole` is the file system of 2 GB with its holes.  Our mounts are offline with a warm cache.
Before each measurement the kernel forgets the pages of the mounted file, so that every read is the server's to answer;
no 4 KiB page is read twice.  `--disk` makes it forget the pages of the cache (or of the peer's file) as well.

Beside ours in the same run: a pyfuse3 handler that does nothing but return zeroes, which is what Python and the
kernel cost; squashfuse_ll, in C, with the same compression and the same 256 KiB blocks, which inflates but verifies
nothing; bindfs, in C, which only passes on; nbdkit with nbdfuse.  CPU is user and system time of the server, in
seconds per GB (sequential) or per 1,000 reads.  Figures are medians of the rounds, contestants in turns.

`--sparse`: resident memory through a read of 50 GB of holes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import mmap
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

HOUSE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HOUSE / "tests" / "helpers"))
from debian import Missing, debian  # noqa: E402

PACKAGES = ("python3-minimal", "gcc", "git", "vim-tiny")
UPDATE = ("openssh-client",)
MIRRORNET = [sys.executable, "-c", "from mirrornet.cli import main; main()"]
UNIT, PAGE = 262144, 4096
WORKING = 64 << 20  # bytes
SECONDS = 4.0  # of random reads, at most
TICK = os.sysconf("SC_CLK_TCK")
COLUMNS = ("sequential", "random, 64 MB", "random, data", "random, whole")


@dataclass
class Round:
    """By what was measured: a rate, and the server's CPU seconds per GB or per 1,000 reads."""

    rates: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    resident: int = 0  # bytes, the most of its life


def cpu(pid: int) -> float:
    """User and system seconds of all threads of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident(pid: int) -> int:
    """The most bytes that were resident."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) * 1024


def quiet(*command: str | Path) -> str:
    """Runs it to its end; what it printed."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command[0]} failed: {done.stderr.strip()}")
    return done.stdout


def forget(file: Path) -> None:
    """The kernel forgets this file's pages."""
    with file.open("rb") as stream:
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def sequential(file: Path) -> tuple[float, float]:
    """(MB/s, GB) of reading it from end to end, 1 MiB at a time."""
    buffer = bytearray(1 << 20)
    begun, total = time.monotonic(), 0
    with file.open("rb", buffering=0) as stream:
        while count := stream.readinto(buffer):
            total += count
    return total / 1e6 / (time.monotonic() - begun), total / 1e9


def scattered(file: Path, size: int, seed: int) -> tuple[float, float]:
    """(reads a second, thousands of reads) of 4 KiB pages below `size` in random order, none of them twice."""
    pages = list(range(size // PAGE))
    random.Random(seed).shuffle(pages)
    done = 0
    with file.open("rb", buffering=0) as stream:
        descriptor = stream.fileno()
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        begun = time.monotonic()
        for page in pages:
            os.pread(descriptor, PAGE, page * PAGE)
            done += 1
            if time.monotonic() - begun > SECONDS:
                break
    return done / (time.monotonic() - begun), done / 1000


class Contestant:
    """Somebody who serves the files `data` and `whole` through FUSE."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rounds: list[Round] = []

    @contextmanager
    def serve(self, image: str, point: Path) -> Iterator[tuple[Path, int]]:
        """(the file, the server's process)."""
        raise NotImplementedError
        yield

    def below(self) -> list[Path]:
        """The files it reads from."""
        return []

    def round(self, point: Path, seed: int, disk: bool) -> None:
        """All measurements, once."""
        found = Round()
        for image in ("data", "whole"):
            with self.serve(image, point) as (file, pid):
                plan = [(f"random, {image}", lambda f=file: scattered(f, f.stat().st_size, seed))]
                if image == "data":
                    plan = [
                        ("sequential", lambda f=file: sequential(f)),
                        ("random, 64 MB", lambda f=file: scattered(f, WORKING, seed)),
                        *plan,
                    ]
                for what, work in plan:
                    if what == "random, 64 MB":  # it was read before, and is in memory where there is any
                        with file.open("rb", buffering=0) as stream:
                            for _ in range(WORKING // UNIT):
                                stream.read(UNIT)
                    forget(file)
                    for path in self.below():
                        forget(path) if disk else path.read_bytes()
                    before = cpu(pid)
                    found.rates[what], amount = work()
                    found.cpu[what] = (cpu(pid) - before) / amount
                found.resident = max(found.resident, resident(pid))
        self.rounds.append(found)


class Ours(Contestant):
    """mirrornet mount --offline, its cache warm."""

    def __init__(self, codec: str, images: dict[str, Path], folder: Path, warm: bool = True) -> None:
        super().__init__(f"**mirrornet, {codec}**")
        self.folder = folder / codec
        keys, self.repo, self.cache = self.folder / "keys", self.folder / "repo", self.folder / "cache"
        self.folder.mkdir()
        quiet(*MIRRORNET, "keygen", keys)
        for name, image in images.items():
            quiet(*MIRRORNET, "publish", image, "--name", name, "--repo", self.repo, "--keys", keys, "--codec", codec)
        point = self.folder / "mnt"
        point.mkdir()
        for name in images if warm else ():
            with self.serve(name, point, online=True) as (file, _):
                sequential(file)

    @contextmanager
    def serve(self, image: str, point: Path, online: bool = False) -> Iterator[tuple[Path, int]]:
        """A mount of its own."""
        quiet(
            *MIRRORNET, "mount", f"file://{self.repo}", image, point, "--root", self.repo / "metadata/1.root.json",
            "--state", self.folder / "state", "--cache", self.cache, *([] if online else ["--offline"]),
        )  # fmt: skip
        try:
            yield point / f"{image}.raw", json.loads(quiet(*MIRRORNET, "status", point, "--json"))[0]["pid"]
        finally:
            quiet(*MIRRORNET, "umount", point)

    def below(self) -> list[Path]:
        return [path for path in self.cache.rglob("*") if path.is_file()]


class Program(Contestant):
    """A program that stays in the foreground and serves."""

    def __init__(self, name: str, files: dict[str, Path], *words: str | Path, inside: str = "{image}") -> None:
        """`words`: its command line, `{file}` and `{point}` filled in.  `inside`: the file below its mount point."""
        super().__init__(name)
        self.files, self.words, self.inside = files, words, inside

    @contextmanager
    def serve(self, image: str, point: Path) -> Iterator[tuple[Path, int]]:
        fill = {"file": str(self.files[image]), "folder": str(self.files[image].parent), "point": str(point)}
        process = subprocess.Popen(
            [str(word).format(**fill) for word in self.words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        file = point / self.inside.format(image=image)
        try:
            ends = time.monotonic() + 10
            while not os.path.ismount(point) or not file.exists():
                if time.monotonic() > ends or process.poll() is not None:
                    sys.exit(f"{self.name} does not serve {file}")
                time.sleep(0.02)
            tune(point)
            yield file, process.pid
        finally:
            subprocess.run(["umount", str(point)], check=False)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
            process.wait()

    def below(self) -> list[Path]:
        return sorted(set(self.files.values()))


def tune(point: Path) -> None:
    """The same kernel readahead for everybody as ours sets for itself."""
    from mirrornet.client.fuse.mountpoint import READ_AHEAD

    device = point.stat().st_dev
    with contextlib.suppress(OSError):
        Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb").write_text(str(READ_AHEAD))


def empty(name: str, size: int, point: str) -> None:
    """The handler that does nothing: what pyfuse3 and the kernel cost."""
    import asyncio

    import pyfuse3

    from mirrornet.client.fuse import kernel
    from mirrornet.client.fuse.mount import Operations
    from mirrornet.image.format.block import Codec

    class Head:
        block_size, codec = UNIT, Codec.STORED

    class Reader:
        head, size = Head(), 0

    Reader.size = size
    zeroes = bytes(1 << 20)

    class Nothing(Operations):
        async def read(self, fh: int, off: int, size: int) -> bytes:  # type: ignore[override]
            return zeroes[:size]

    async def run() -> None:
        kernel.enable()
        pyfuse3.init(Nothing(name, Reader(), 0), point, set(pyfuse3.default_options))  # type: ignore[arg-type]
        await pyfuse3.main(min_tasks=1, max_tasks=192)
        pyfuse3.close(unmount=False)

    asyncio.run(run())


def contestants(folder: Path, images: dict[str, Path]) -> list[Contestant]:
    """All whose programs are here."""
    made: list[Contestant] = [Ours("zlib", images, folder), Ours("zstd", images, folder)]
    for codec, kind in (("gzip", "gzip"), ("zstd", "zstd")):
        if shutil.which("squashfuse_ll") and shutil.which("mksquashfs"):
            packed = folder / f"{codec}.squashfs"
            level = "6" if codec == "gzip" else "3"
            quiet("mksquashfs", *images.values(), packed, "-comp", kind, "-Xcompression-level", level, "-b", "256K")
            both = {"data": packed, "whole": packed}
            words = ("squashfuse_ll", "-f", "{file}", "{point}")
            made.append(Program(f"squashfuse_ll, {codec}", both, *words, inside="{image}.raw"))
    if shutil.which("bindfs"):
        made.append(Program("bindfs", images, "bindfs", "-f", "{folder}", "{point}", inside="{image}.raw"))
    if shutil.which("nbdkit") and shutil.which("nbdfuse"):
        words = ("nbdfuse", "-r", "{point}", "--command", "nbdkit", "-s", "-r", "file", "{file}")
        made.append(Program("nbdfuse of nbdkit", images, *words, inside="nbd"))
    me = (sys.executable, __file__, "--empty", "{file}", "{point}")
    made.append(Program("a pyfuse3 handler that does nothing", images, *me, inside="{image}.raw"))
    return made


def dense(image: Path, to: Path) -> None:
    """The blocks of `image` that are not zeroes."""
    zeroes = bytes(UNIT)
    with image.open("rb") as source, to.open("wb") as target:
        while block := source.read(UNIT):
            if block != zeroes[: len(block)]:
                target.write(block)


def table(all_: list[Contestant]) -> None:
    """Prints the medians."""
    print(
        "\n| | " + " | ".join(("MB/s", "4 KiB/s, 64 MB", "data", "whole", "CPU s a GB", "CPU s a 1,000, 64 MB", "MB"))
    )
    print("|---" * 8 + "|")
    for each in all_:
        rates = [median(found.rates[what] for found in each.rounds) for what in COLUMNS]
        costs = [median(found.cpu[what] for found in each.rounds) for what in COLUMNS[:2]]
        words = [f"{rate:,.0f}" for rate in rates] + [f"{cost:.3f}" for cost in costs]
        print(f"| {each.name} | " + " | ".join(words) + f" | {max(r.resident for r in each.rounds) / 1e6:.0f} |")


def sparse(folder: Path) -> None:
    """Resident memory through 50 GB of holes, past the kernel's page cache, which has better things to hold."""
    image = folder / "sparse.img"
    with image.open("wb") as stream:
        stream.truncate(50 << 30)
        stream.write(b"not only holes")
    ours = Ours("zstd", {"sparse": image}, folder, warm=False)
    with ours.serve("sparse", ours.folder / "mnt", online=True) as (file, pid), mmap.mmap(-1, 1 << 20) as buffer:
        descriptor = os.open(file, os.O_RDONLY | os.O_DIRECT)
        begun, total = time.monotonic(), 0
        while count := os.preadv(descriptor, [buffer], total):
            total += count
        os.close(descriptor)
        rate = total / 1e6 / (time.monotonic() - begun)
        print(f"50 GiB of holes: {rate:,.0f} MB/s, {resident(pid) / 1e6:.0f} MB resident at most, {cpu(pid):.1f} CPU s")


def compare(folder: Path, rounds: int, disk: bool, only: str) -> None:
    """All contestants, in turns, and the table."""
    try:
        base = debian("2G", PACKAGES, UPDATE).base
    except Missing as error:
        sys.exit(f"no Debian to read: {error}")
    images = {"data": folder / "images/data.raw", "whole": folder / "images/whole.raw"}
    images["data"].parent.mkdir()
    try:
        images["whole"].hardlink_to(base)  # a link by name would lead out of a mount
    except OSError:
        quiet("cp", "--sparse=always", base, images["whole"])
    dense(base, images["data"])
    point = folder / "mnt"
    point.mkdir()
    print(f"data {images['data'].stat().st_size / 1e6:.0f} MB, whole {base.stat().st_size / 1e6:.0f} MB")
    all_ = [each for each in contestants(folder, images) if only in each.name]
    for number in range(rounds):
        for each in all_:
            each.round(point, number, disk)
            print(each.name, each.rounds[-1], f"load {os.getloadavg()[0]:.1f}", flush=True)
    table(all_)


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--disk", action="store_true")
    parser.add_argument("--sparse", action="store_true")
    parser.add_argument("--only", default="", help="contestants whose name has this in it")
    parser.add_argument("--empty", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.empty:
        file = Path(options.empty[0])
        empty(file.stem, file.stat().st_size, options.empty[1])
        return
    if os.geteuid() != 0:
        sys.exit("needs root, as mounts of this size are made by root")
    with tempfile.TemporaryDirectory(prefix="bench-read-", dir="/var/tmp") as name:
        if options.sparse:
            sparse(Path(name))
        else:
            compare(Path(name), options.rounds, options.disk, options.only)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    main()
