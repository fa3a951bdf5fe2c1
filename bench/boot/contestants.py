"""Who serves the guest's disk over a link: mirrornet and those who do the same job today.

    local file        no network at all: what everybody is measured by
    mirrornet         `mount`; of the image as it is, and with the published profile of a boot; and that one by `nbd`
    qemu http         qemu's own http driver, readahead 256 KiB; elsewhere than in a boot by qemu-storage-daemon's FUSE
    rclone            `mount` of an http remote, --vfs-cache-mode full
    nbdkit            curl plugin behind the filters cache and readahead, mounted by nbdfuse
    casync            `extract` of the whole image from an http store, then a local file

All but these two read the disk itself (raw/guest.img); casync its own store of chunks.  Debian: qemu-block-extra,
qemu-system-common, rclone, nbdkit, libnbd-bin, casync; who is missing is left out of the tables with a line.  casync
could serve blocks on demand by `mkdev`, which needs the kernel's nbd devices; desync, which has `mount-index`, is
in none of Debian's packages.  Where either is possible it should stand here.

A contestant is started for one run and closed after it.  The same folder again means a second start with what the first
one kept; nbdkit's cache filter and qemu keep nothing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import guest
from link import CLIENT, MIRRORNET, NAME, OWN, PLAIN, PROFILED, Link, Mount


class Contestant:
    """`file` is the disk as this machine's programs see it; `seconds` it took until it could be read.

    `drive`, `prefix`: for guest.boot(); `processes`: whose CPU counts.
    """

    name = ""
    needs: tuple[str, ...] = ()  # programs, or files with a slash
    keeps = False  # a cache on disk, for the next start
    boots_only = False  # it has no file, or one that is like any other

    def __init__(self, link: Link, folder: Path) -> None:
        """Starts it.  Raises RuntimeError or OSError where it does not come up; nothing is left behind then."""
        self.link, self.folder = link, folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self.point = folder / f"mount{time.monotonic_ns()}"
        self.file = self.point / "guest.img"
        self.prefix: list[str] = []
        begun = time.monotonic()
        try:
            self.open()
        except BaseException:
            self.close()
            raise
        self.seconds = time.monotonic() - begun

    @property
    def drive(self) -> list[str]:
        """The disk as qemu's "base"."""
        return guest.file_drive(self.file)

    def open(self) -> None:
        """Starts its programs and waits until `file` can be read."""
        raise NotImplementedError

    def start(self, *command: object) -> subprocess.Popen[bytes]:
        """A program at the client; what it says is in the folder."""
        with (self.folder / "log").open("ab") as log:
            words = [str(word) for word in command]
            process = self.link.network.start(CLIENT, words, stdout=log, stderr=log, env=os.environ | OWN)
        self.processes.append(process)
        return self.processes[-1]

    def cpu(self) -> float:
        """Seconds of user and system time so far."""
        return sum(guest.cpu(process.pid) for process in self.processes)

    def close(self) -> None:
        """Ends it."""
        subprocess.run(["umount", "-l", str(self.point)], check=False, capture_output=True)
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    @classmethod
    def missing(cls) -> str | None:
        """What it needs and this machine lacks."""
        for need in cls.needs:
            if not (Path(need).exists() if "/" in need else shutil.which(need)):
                return need
        return None


class Local(Contestant):
    """The file."""

    name = "local file"

    def open(self) -> None:
        self.file = guest.image()


class Ours(Contestant):
    """mirrornet mount."""

    name = "mirrornet"
    kind = PLAIN
    keeps = True
    mount: Mount | None = None

    def open(self) -> None:
        self.mount = Mount(self.link, self.kind, self.folder)
        self.processes = [self.mount.process]
        self.file = self.mount.file

    def close(self) -> None:
        if self.mount is not None:
            self.mount.close()


class OursProfiled(Ours):
    """The same with the boot's profile published."""

    name = "mirrornet, profile"
    kind = PROFILED


class OursNbd(Contestant):
    """The same, exported to qemu by NBD instead of a mount: no page cache and no readahead in between."""

    name = "mirrornet nbd, profile"
    keeps = True
    boots_only = True

    def open(self) -> None:
        self.socket = self.folder / f"socket{time.monotonic_ns()}"
        command = [
            *MIRRORNET,
            "nbd",
            self.link.source(PROFILED),
            NAME,
            "--root",
            self.link.root,
            "--socket",
            self.socket,
        ]
        folders = ["--state", self.folder / "state", "--cache", self.folder / "cache"]
        process = self.start(*command, *folders, "--foreground", "--prefetch", "profile")
        guest.wait(self.socket.exists, process)

    @property
    def drive(self) -> list[str]:
        server = f"server.type=unix,server.path={self.socket}"
        return ["-blockdev", f"driver=nbd,{server},export={NAME},node-name=base,read-only=on"]


class QemuHttp(Contestant):
    """qemu's http driver.  In a boot it is in qemu itself: its CPU is the guest's then."""

    name = "qemu http"
    needs = ("qemu-storage-daemon", "/usr/lib/x86_64-linux-gnu/qemu/block-curl.so")

    def open(self) -> None:
        self.prefix = self.link.network.at(CLIENT, [])
        self.file.parent.mkdir()
        self.file.touch()
        export = f"type=fuse,id=export,node-name=base,mountpoint={self.file},writable=off"
        process = self.start("qemu-storage-daemon", *self.drive, "--export", export)
        guest.wait(lambda: self.file.stat().st_size, process)

    @property
    def drive(self) -> list[str]:
        url = self.link.url("raw/guest.img")
        first = f"driver=http,url={url},readahead=262144,node-name=base-file,read-only=on"
        return ["--blockdev", first, "--blockdev", "driver=raw,file=base-file,node-name=base,read-only=on"]

    def close(self) -> None:
        subprocess.run(["umount", "-l", str(self.file)], check=False, capture_output=True)
        super().close()


class Rclone(Contestant):
    """rclone mount."""

    name = "rclone"
    needs = ("rclone",)
    keeps = True

    def open(self) -> None:
        self.point.mkdir()
        cache = ["--cache-dir", self.folder / "cache", "--vfs-cache-mode", "full"]
        options = ["--config", "/dev/null", "--http-url", self.link.url("raw/"), "--read-only"]
        process = self.start("rclone", "mount", ":http:", self.point, *options, *cache)
        guest.wait(self.file.exists, process)


class Nbdkit(Contestant):
    """nbdkit and nbdfuse."""

    name = "nbdkit, nbdfuse"
    needs = ("nbdkit", "nbdfuse")

    def open(self) -> None:
        self.point.mkdir()
        socket = self.folder / "socket"
        socket.unlink(missing_ok=True)
        filters = ["--filter=readahead", "--filter=cache"]
        command = ["nbdkit", "--foreground", "--readonly", "--unix", socket, *filters, "curl"]
        process = self.start(*command, self.link.url("raw/guest.img"), "cache-on-read=true")
        guest.wait(socket.exists, process)
        process = self.start("nbdfuse", "-r", self.file, "--unix", socket)
        guest.wait(self.file.exists, process)


class Casync(Contestant):
    """casync extract, then a file."""

    name = "casync extract"
    needs = ("casync", "/usr/lib/casync/protocols/casync-http")
    keeps = True
    boots_only = True

    def open(self) -> None:
        self.point = self.folder
        self.file = self.folder / "guest.img"
        if not self.file.exists():
            command = ["casync", "extract", f"--store={self.link.url('casync/store/')}"]
            process = self.start(*command, self.link.url("casync/guest.caibx"), self.file)
            if process.wait(600):
                raise RuntimeError(f"casync extract: {(self.folder / 'log').read_text().strip()[-300:]}")

    @staticmethod
    def publish(link: Link) -> None:
        """Chunks of 256 KiB on average, compressed by gzip as our blocks are, at every mirror."""
        made = link.network.folder / "casync"
        made.mkdir()
        command = ["casync", "make", "--what=blob-index", "--chunk-size=256K", "--compression=gzip"]
        command += [f"--store={made / 'store'}", str(made / "guest.caibx"), str(guest.image())]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for mirror in link.mirrors:
            with contextlib.suppress(FileExistsError):
                (mirror.folder / "casync").symlink_to(made)


ALL: tuple[type[Contestant], ...] = (Local, Ours, OursProfiled, OursNbd, QemuHttp, Rclone, Nbdkit, Casync)
