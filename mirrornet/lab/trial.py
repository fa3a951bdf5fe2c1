"""A trial of an operator's network: every client mounts and reads, a mirror is cut off, and all read on.

Clients read one after the other, so that none measures another's load, and cold: each has a cache and a state of its
own, and every phase reads where nobody has read before.  What follows the cut they all do at once, as they would.

The image has three parts: the first is read before the cut, one block of the second in the moment of it, the third
after.  Between them is more than any client reads ahead, and nothing in it.

Rejected: asking mirrors directly with a client of the lab's own.  What an operator wants to know is what `mirrornet
mount` does with his zone, through a resolver, and that is what runs here.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_all
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mirrornet.lab.authority import Authority
from mirrornet.lab.blueprint import Blueprint
from mirrornet.lab.mirrors import MirrorServer
from mirrornet.lab.nameserver import COMMAND, NameServer
from mirrornet.lab.network import Network
from mirrornet.lab.report import Got, Outage, Report, Standing
from mirrornet.lab.resolvers import Brand, ResolverServer
from mirrornet.model.errors import LocalError

TOOLS: Final = {
    "nginx": "nginx", "unbound": "unbound", "dig": "bind9-dnsutils", "curl": "curl", "openssl": "openssl",
    "ip": "iproute2", "nsenter": "util-linux", "fusermount3": "fuse3",
}  # fmt: skip
PATIENCE: Final = 90.0  # seconds for a program to end, and for a read
BLOCK: Final = 256 << 10
GAP: Final = 32 << 20  # bytes of nothing between the parts
_MIRROR: Final = re.compile(r'#([a-z0-9-]+)"?$')


@dataclass(frozen=True, slots=True)
class Order:
    """What to try.  `zone`: its name; `select`: the balanced name in full; `zone_text`: the lab's zone file.

    `urls`: where each mirror serves.  `estimates`: the name server's, ms, by client's site and mirror.  `image`: in
    `repo`, laid out as parts() says for `read_bytes`, whole pages; `root`: its root.json.  `kill`: a mirror, "" the
    busiest.  `wait`: seconds at most for each thing that is waited for.
    """

    zone: str
    select: str
    zone_text: str
    urls: Mapping[str, str]
    estimates: Mapping[str, Mapping[str, float]]
    image: str
    repo: Path
    root: Path
    read_bytes: int
    kill: str
    wait: float
    ways: str
    notes: tuple[str, ...]


def parts(read_bytes: int) -> tuple[tuple[int, int], ...]:
    """Offset and length of each part of the image."""
    step = read_bytes + GAP
    return (0, read_bytes), (step, BLOCK), (2 * step, read_bytes)


def lacking() -> str | None:
    """Which program a trial would miss, and the Debian package that has it; None: none."""
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    for tool, package in TOOLS.items():
        if shutil.which(tool, path=path) is None:
            return f"there is no `{tool}`: install Debian's {package}"
    return None


class Trial:
    """One trial in a running network.  `tell` hears what is being done."""

    def __init__(self, network: Network, blueprint: Blueprint, order: Order, tell: Callable[[str], None]) -> None:
        self._network, self._blueprint, self._order, self._tell = network, blueprint, order, tell
        self._mirrors: dict[str, MirrorServer] = {}
        self._servers: list[NameServer] = []
        self._resolvers: dict[str, ResolverServer] = {}
        self._points: dict[str, Path] = {}
        self._lost: dict[str, str] = {}  # clients that mount nothing, or whose read never ended, and why
        self._pool = ThreadPoolExecutor(len(blueprint.clients), "client")
        self._trusting: dict[str, str] = {}
        self._killed = ""

    def run(self) -> Report:
        """Does all of it.  Raises LocalError where something does not start."""
        try:
            return self._run()
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)  # who still reads ends with the network

    def _run(self) -> Report:
        order, world = self._order, self._blueprint.world
        self._start()
        standing = self._settle()
        seconds = {}
        for site, client in self._blueprint.clients.items():
            self._tell(f"{client.name} mounts {order.image}")
            seconds[client.name] = self._mount(site)
        self._tell("all read")
        before, sent = self._phase(0)
        outages: tuple[Outage, ...] = ()
        after: tuple[Got, ...] = ()
        busiest = max(sent, key=lambda name: sent[name])
        if len(self._mirrors) > 1:
            self._killed = order.kill or busiest
            self._tell(f"{self._killed} is cut off; waiting for reads and for fresh answers")
            outages = self._outage()
            self._tell("all read again")
            after, _ = self._phase(2)
        for site in self._points:
            self._mirrornet(site, "umount", "--force", self._points[site])
        return Report(
            order.zone,
            order.select,
            order.image,
            order.read_bytes,
            world.rate,
            order.ways,
            order.notes,
            standing,
            seconds,
            before,
            self._killed,
            outages,
            after,
            order.wait,
        )

    # -- what runs

    def _start(self) -> None:
        network, order, blueprint = self._network, self._order, self._blueprint
        self._tell(f"starting {len(blueprint.mirrors)} mirrors and {len(blueprint.clients)} clients")
        network.spread(blueprint.world)
        authority = Authority(network.folder)
        self._trusting = {"SSL_CERT_FILE": str(authority.certificate)}
        for name in blueprint.mirrors:
            mirror = MirrorServer(network, name, order.repo, authority=authority, url=order.urls[name], linked=True)
            mirror.start()
            self._mirrors[name] = mirror
        for site in blueprint.nameservers:
            server = NameServer(network, site, order.zone_text)
            server.start(**self._trusting)
            self._servers.append(server)
        asked = {order.zone: [server.addresses[0] for server in self._servers]}
        for site in blueprint.clients:
            self._resolvers[site] = ResolverServer(network, site, Brand.ECS, asked)
            self._resolvers[site].start()

    def _settle(self) -> tuple[Standing, ...]:
        """Waits until every name server uses every mirror; those that they do not are told of."""
        self._tell("waiting for the name servers' verdicts")
        self._wait_for(lambda: all(one["usable"] for server in self._servers for one in self._verdicts(server)))
        return tuple(
            Standing(one["name"], one["url"], one["state"], one["reason"]) for one in self._verdicts(self._servers[0])
        )

    def _verdicts(self, server: NameServer) -> list[dict[str, Any]]:
        return [one for zone in server.status()["zones"] for one in zone["mirrors"]]

    def _mirrornet(self, site: str, *words: object) -> subprocess.CompletedProcess[str]:
        own = str(self._network.folder / f"own-{site}")
        return self._at(site, [*COMMAND, *map(str, words)], env={**os.environ, **self._trusting, "HOME": own})

    def _at(self, site: str, command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """What `command` did at `site`; one that does not end has failed."""
        try:
            done: subprocess.CompletedProcess[str] = self._network.run(site, command, PATIENCE, **options)
            return done
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, 1, "", f"it did not end within {PATIENCE:.0f} s")

    def _mount(self, site: str) -> float:
        """Mounts at `site`; the seconds it took."""
        order = self._order
        own = self._network.folder / f"own-{site}"
        self._points[site] = point = own / "mount"
        point.mkdir(parents=True)
        options = ["--root", order.root, "--resolver", f"{self._resolvers[site].addresses[0]}:53"]
        options += ["--state", own / "state", "--cache", own / "cache"]
        began = time.monotonic()
        done = self._mirrornet(site, "mount", order.select, order.image, point, *options)
        if done.returncode:
            self._lost[site] = done.stderr.strip().rpartition("\n")[2].removeprefix("mirrornet: ")
        return round(time.monotonic() - began, 2)

    # -- what is measured

    def _phase(self, part: int) -> tuple[tuple[Got, ...], dict[str, int]]:
        """Every client reads that part; what it got, and how many bytes each mirror sent in all."""
        total = dict.fromkeys(self._mirrors, 0)
        found = []
        for site in self._blueprint.clients:
            before = {name: len(mirror.requests) for name, mirror in self._mirrors.items()}
            read = self._reading(site, part)
            seconds, error = self._result(site, read)
            sent = self._sent(site, before)
            for name, count in sent.items():
                total[name] += count
            mirror = max(sent, key=lambda name: sent[name]) if any(sent.values()) else ""
            found.append(self._got(site, mirror, self._order.read_bytes / seconds if seconds else None, error))
        return tuple(found), total

    def _got(self, site: str, mirror: str, rate: float | None, error: str) -> Got:
        blueprint, order = self._blueprint, self._order
        offered = self._offered(site)
        alive = [name for name in self._mirrors if name != self._killed]
        nearest = min(alive, key=lambda name: blueprint.world.rtt(site, name))
        return Got(
            blueprint.clients[site].name,
            offered,
            mirror,
            round(order.estimates[site][mirror], 1) if mirror else None,
            round(blueprint.world.rtt(site, mirror), 1) if mirror else None,
            self._connect(site, mirror) if mirror else None,
            self._first_byte(site, mirror) if mirror else None,
            rate and round(rate),
            nearest if not offered or nearest in offered else f"{nearest}, not offered",
            round(blueprint.world.rtt(site, nearest), 1),
            error,
        )

    def _read(self, site: str, offset: int, count: int) -> float:
        """Reads; the seconds it took.  Raises OSError."""
        began = time.monotonic()
        with (self._points[site] / f"{self._order.image}.raw").open("rb", buffering=0) as file:
            while count:
                piece = os.pread(file.fileno(), min(count, 1 << 20), offset)
                if not piece:
                    raise OSError(0, "the image ends too soon")
                offset, count = offset + len(piece), count - len(piece)
        return time.monotonic() - began

    def _reading(self, site: str, part: int) -> Future[float] | None:
        offset, count = parts(self._order.read_bytes)[part]
        return None if site in self._lost else self._pool.submit(self._read, site, offset, count)

    def _result(self, site: str, read: Future[float] | None) -> tuple[float | None, str]:
        """The seconds that a read took; or None, and why."""
        if read is None:
            return None, self._lost[site]
        try:
            return read.result(max(PATIENCE, self._order.wait)), ""
        except TimeoutError:
            self._lost[site] = "a read did not end"
            return None, self._lost[site]
        except OSError as error:
            return None, f"the read failed: {error.strerror}"

    def _sent(self, site: str, before: Mapping[str, int]) -> dict[str, int]:
        """Bytes that each mirror sent to `site` since it had answered `before` requests."""
        own = self._network.addresses[site]
        return {
            name: sum(one.sent for one in mirror.requests[before[name] :] if one.source in own)
            for name, mirror in self._mirrors.items()
        }

    def _offered(self, site: str) -> tuple[str, ...]:
        """The mirrors as the client's resolver ranks them now."""
        server = f"@{self._resolvers[site].addresses[0]}"
        name = f"_http._tcp.{self._order.select}"
        done = self._at(site, ["dig", "+short", "+time=2", "+tries=1", server, name, "URI"])
        ranked = []
        for line in done.stdout.splitlines():
            priority, _, target = line.partition(" ")
            if priority.isdigit() and (found := _MIRROR.search(target)):
                ranked.append((int(priority), found[1]))
        return tuple(name for _, name in sorted(ranked))

    def _connect(self, site: str, name: str) -> float | None:
        """The best of three TCP connections, ms."""
        mirror = self._mirrors[name]
        address = next(iter(mirror.addresses))
        url = mirror.url.rstrip("/") + "/metadata/timestamp.json"
        command = ["curl", "-sk", "-m", "5", "-o", "/dev/null", "-w", "%{time_connect}"]
        command += ["--resolve", f"{mirror.host}:{mirror.port}:{address}", url]
        times = [float(done.stdout) for done in (self._at(site, command) for _ in range(3)) if not done.returncode]
        return round(min(times) * 1000, 1) if times else None

    def _first_byte(self, site: str, name: str) -> float | None:
        """What the client itself measures of the mirror, ms."""
        done = self._mirrornet(site, "status", self._points[site], "--json")
        if done.returncode:
            return None
        (status,) = json.loads(done.stdout)
        found = [one["first_byte_ms"] for one in status["mirrors"] if one["name"] == name]
        return float(found[0]) if found and found[0] is not None else None

    def _outage(self) -> tuple[Outage, ...]:
        """Cuts the mirror off, and waits for every client's read and for every resolver's answers."""
        sites = list(self._blueprint.clients)
        self._mirrors[self._killed].cut()
        began = time.monotonic()
        reads = {site: self._reading(site, 1) for site in sites}
        fresh: dict[str, float] = {}

        def all_fresh() -> bool:
            for site in sites:
                offered = () if site in fresh else self._offered(site)
                if offered and self._killed not in offered:
                    fresh[site] = round(time.monotonic() - began, 1)
            return len(fresh) == len(sites)

        self._wait_for(all_fresh, pause=max(0.25, len(sites) / 20))
        begun = [read for read in reads.values() if read is not None]
        wait_all(begun, timeout=max(0.0, began + self._order.wait - time.monotonic()))
        found = []
        for site in sites:
            took, error = self._result(site, reads[site])
            name = self._blueprint.clients[site].name
            found.append(Outage(name, None if took is None else round(took, 2), fresh.get(site), error))
        return tuple(found)

    def _wait_for(self, holds: Callable[[], bool], pause: float = 0.25) -> None:
        """Returns when `holds()`, or when the order's patience is over."""
        end = time.monotonic() + self._order.wait
        while True:
            try:
                if holds():
                    return
            except LocalError:
                if time.monotonic() > end:
                    raise
            if time.monotonic() > end:
                return
            time.sleep(pause)
