"""The link of the comparison: a client and mirrors in the lab, the same distance and rate for every contestant.

Mirrors are nginx with keep-alive, by address.  Each has the same tree: the guest published by mirrornet twice (`plain/`
and `profile/`, with the profile of the recorded boot), and `raw/` with the disk as it is, for whoever reads ranges.
What went over the wire is counted twice: requests in nginx's log, bytes with all headers by the lab itself.

    python bench/boot/link.py [--rtt 40] [--rate 200] [--mirrors 40,40,90] [--plain] [--think 0] [-- MOUNT OPTIONS]

mounts the guest over such a link, replays the boot on it and prints what that cost: to judge a change in a minute.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

sys.path.insert(0, str(Path(__file__).resolve().parent))

import guest
from recording import decode, touched
from replay import replay

from mirrornet.image.format.profile import Profile
from mirrornet.lab.mirrors import MirrorServer
from mirrornet.lab.network import Network

CLIENT = "client"
NAME = "guest"
MIRRORNET = [sys.executable, "-c", "import sys; from mirrornet.cli import main; sys.exit(main())"]
OWN = {"PYTHONPATH": str(guest.HOUSE)}  # the mirrornet we start is this tree's, wherever we are
PROFILED, PLAIN = "profile", "plain"


@dataclass(frozen=True, slots=True)
class Wire:
    """What went over the wire: bytes to the client, bytes from it, requests answered."""

    received: int
    sent: int
    requests: int

    def __sub__(self, other: Wire) -> Wire:
        return Wire(self.received - other.received, self.sent - other.sent, self.requests - other.requests)


class Link:
    """A network with mirrors that serve the guest.  A context manager."""

    def __init__(self, round_trips: Sequence[float], rate: float) -> None:
        """A mirror for each round trip (ms); `rate` in Mbit/s of each mirror's path."""
        self.round_trips, self.rate = tuple(round_trips), rate
        self.sites = [f"mirror{number}" for number in range(1, len(round_trips) + 1)]
        addresses = {site: [f"198.18.{number}.1"] for number, site in enumerate([CLIENT, *self.sites], 1)}
        self.network = Network(addresses)
        self.mirrors: list[MirrorServer] = []
        self._count = 0
        self.root = Path()

    def __enter__(self) -> Link:
        self.network.__enter__()
        try:
            self._build()
        except BaseException:
            self.network.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.network.close()

    def _build(self) -> None:
        tree, keys = self.network.folder / "tree", self.network.folder / "keys"
        profile = self.network.folder / "profile.json"
        blocks = touched(decode(guest.recorded().read_text()), guest.BLOCK)
        profile.write_bytes(Profile(guest.BLOCK, tuple(blocks)).encode())
        run([*MIRRORNET, "keygen", keys])
        self.root = keys / "root.json"
        for kind, more in ((PLAIN, []), (PROFILED, ["--profile", profile])):
            where = ["--name", NAME, "--repo", tree / kind, "--keys", keys]
            run([*MIRRORNET, "publish", guest.image(), *where, *more])
        (tree / "raw").mkdir()
        (tree / "raw/index.html").write_text('<a href="guest.img">guest.img</a>\n')  # rclone reads listings
        for site, rtt in zip(self.sites, self.round_trips, strict=True):
            self.network.path(CLIENT, site, rtt=rtt, rate=self.rate)
            mirror = MirrorServer(self.network, site, tree)
            (mirror.folder / "raw/guest.img").symlink_to(guest.image())
            settings = mirror.home / "nginx.conf"  # rclone takes a listing only as text/html
            settings.write_text(settings.read_text().replace("types { }", "types { text/html html; }"))
            self.mirrors.append(mirror)
            mirror.start()

    def heal(self) -> None:
        """All mirrors up and their paths as they were in the beginning."""
        for mirror, rtt in zip(self.mirrors, self.round_trips, strict=True):
            self.network.path(CLIENT, mirror.site, rtt=rtt, rate=self.rate, cut=False)
            mirror.stop()
            mirror.start()

    def url(self, path: str = "") -> str:
        """Of a file of the first mirror's."""
        return f"{self.mirrors[0].url}{path}"

    def source(self, kind: str) -> str:
        """SOURCE for mirrornet: PLAIN or PROFILED at all mirrors."""
        return ",".join(f"{mirror.url}{kind}/" for mirror in self.mirrors)

    def fresh(self) -> Path:
        """A new empty folder."""
        self._count += 1
        folder = self.network.folder / f"run{self._count}"
        folder.mkdir()
        return folder

    def wire(self) -> Wire:
        """What has gone over it so far."""
        received = sent = 0
        for (source, target), line in self.network.counts().items():
            received += line["bytes"] if target == CLIENT else 0
            sent += line["bytes"] if source == CLIENT else 0
        return Wire(received, sent, sum(len(mirror.requests) for mirror in self.mirrors))


class Mount:
    """`mirrornet mount` at the client: a process in the foreground, ready when its file has been read.

    `file`; `pid`; `seconds` from the command to a mount that is ready.  Raises RuntimeError.
    """

    def __init__(self, link: Link, kind: str, folder: Path, *options: str) -> None:
        """`folder` keeps state and cache: a second mount with the same one is warm."""
        self.point = folder / f"mount{time.monotonic_ns()}"
        self.point.mkdir()
        self.log = folder / "log"
        command = [*MIRRORNET, "mount", link.source(kind), NAME, self.point, "--root", link.root, "--foreground"]
        command += ["--state", folder / "state", "--cache", folder / "cache"]
        command += [*(("--prefetch", "profile") if kind == PROFILED else ()), *options]
        begun = time.monotonic()
        own = {**os.environ, **OWN, "XDG_RUNTIME_DIR": str(folder), "XDG_CONFIG_HOME": str(folder)}
        with self.log.open("ab") as log:
            self.process = link.network.start(CLIENT, [str(word) for word in command], stdout=log, stderr=log, env=own)
        self.pid = self.process.pid
        self.file = self.point / f"{NAME}.raw"
        try:
            guest.wait(self.file.exists, self.process)
            with self.file.open("rb") as file:
                file.read(4096)
        except (RuntimeError, OSError) as error:
            self.process.kill()
            raise RuntimeError(f"mirrornet mount: {error}: {self.log.read_text().strip()[-500:]}") from None
        self.seconds = time.monotonic() - begun

    def status(self) -> dict[str, object]:
        """What `mirrornet status` tells of it."""
        command = [*MIRRORNET, "status", str(self.point), "--json"]
        said = subprocess.run(command, capture_output=True, check=False, env=os.environ | OWN)
        found = json.loads(said.stdout or "[]")
        return dict(found[0]) if found else {}

    def close(self) -> None:
        """Ends it."""
        subprocess.run(["umount", "-l", str(self.point)], check=False, capture_output=True)
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def run(command: Sequence[object]) -> None:
    """Runs it quietly.  Raises RuntimeError with its last line."""
    words, environment = [str(word) for word in command], os.environ | OWN
    done = subprocess.run(words, check=False, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command[-4:]))}: {done.stderr.strip().splitlines()[-1:]}")


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rtt", type=float, default=40.0, help="ms, of every mirror")
    parser.add_argument("--rate", type=float, default=200.0, help="Mbit/s")
    parser.add_argument("--mirrors", help="round trips of several mirrors, ms, joined by commas")
    parser.add_argument("--plain", action="store_true", help="the image that has no profile")
    parser.add_argument("--think", type=float, default=0.0, help="divide the think time by this; 0 leaves it out")
    parser.add_argument("--again", action="store_true", help="then the same from the warm disk cache")
    parser.add_argument("--status", action="store_true", help="print what `mirrornet status` tells")
    parser.add_argument("options", nargs="*", help="more options of `mirrornet mount`, after --")
    options = parser.parse_args()
    all_steps = decode(guest.recorded().read_text())
    round_trips = [float(word) for word in options.mirrors.split(",")] if options.mirrors else [options.rtt]
    kind = PLAIN if options.plain else PROFILED
    with Link(round_trips, options.rate) as link:
        folder = link.fresh()
        for _ in range(2 if options.again else 1):
            before = link.wire()
            mount = Mount(link, kind, folder, *options.options)
            try:
                at_mount = guest.cpu(mount.pid)
                done = replay(mount.file, all_steps, options.think, guest.image())
                told = {key: round(value, 3) for key, value in asdict(done).items()}
                told |= {"mount": round(mount.seconds, 2), "cpu": round(guest.cpu(mount.pid) - at_mount, 2)}
                print(json.dumps(told | asdict(link.wire() - before)), flush=True)
                if options.status:
                    print(json.dumps(mount.status(), indent=1, ensure_ascii=False))
            finally:
                mount.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
