"""The world of a soak: six mirrors in four kinds, two name servers, a resolver, a publisher, and what befalls them.

All sites are cities; clients and their resolver are in Tokyo, behind a line of RATE.  Whoever is published to takes the
new version at once, one mirror after the other, unless it is held or its disk is full.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mirrornet.lab.authority import Authority
from mirrornet.lab.mirrors import Kind as Way
from mirrornet.lab.mirrors import MirrorServer
from mirrornet.lab.nameserver import COMMAND, ZONE, NameServer, zone_text
from mirrornet.lab.network import Network
from mirrornet.lab.resolvers import Brand, ResolverServer
from mirrornet.lab.soak.schedule import Fault, Kind
from mirrornet.lab.world import Site, World
from mirrornet.model.errors import LocalError

RATE: Final = 200.0  # Mbit/s of every path
HOME: Final = "tokyo"
IMAGE: Final = "disk"
WORLD: Final = World(
    (
        Site("osaka", 34.69, 135.50, "JP"),
        Site("seoul", 37.57, 126.98, "KR"),
        Site("taipei", 25.03, 121.57, "TW"),
        Site("singapore", 1.35, 103.82, "SG"),
        Site("sydney", -33.87, 151.21, "AU"),
        Site("frankfurt", 50.11, 8.68, "DE"),
        Site(HOME, 35.68, 139.69, "JP"),
        Site("nagoya", 35.18, 136.91, "JP"),
        Site("sapporo", 43.06, 141.35, "JP"),
    ),
    rate=RATE,
)
MIRRORS: Final = tuple(site.name for site in WORLD.sites[:6])
SERVERS: Final = ("nagoya", "sapporo")
SMALL: Final = ("taipei",)  # whose disk can be filled
_WAYS: Final = (Way.ADDRESS, Way.VIRTUAL_HOST, Way.HTTPS, Way.BUCKET, Way.ADDRESS, Way.VIRTUAL_HOST)
_HEALTH: Final = {"interval": "2s", "timeout": "1500ms", "up": 2, "ok": 2, "down": 2, "probe": "block"}


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of the image, and what a publication changes of it."""

    image: int = 192 << 20
    change: int = 4 << 20


class Publisher:
    """An image, its versions as they were, and the repository that mirrors copy."""

    def __init__(self, folder: Path, sizes: Sizes, dice: random.Random) -> None:
        self.repo, self.keys, self.root = folder / "repo", folder / "keys", folder / "keys" / "root.json"
        self._folder, self._sizes, self._dice = folder, sizes, dice
        self._image = folder / "image"
        with self._image.open("wb") as file:
            for _ in range(0, sizes.image, 1 << 20):
                file.write(dice.randbytes(1 << 20))
        _mirrornet("keygen", self.keys)
        self.version = 0
        self.publish()

    def publish(self) -> None:
        """The next version: some of the image is new."""
        with self._image.open("r+b") as file:
            for _ in range(0, self._sizes.change, 1 << 20):
                file.seek(self._dice.randrange(self._sizes.image >> 20) << 20)
                file.write(self._dice.randbytes(1 << 20))
        _mirrornet("publish", self._image, "--name", IMAGE, "--repo", self.repo, "--keys", self.keys)
        self.version += 1
        shutil.copyfile(self._image, self.original(self.version))

    def retire(self) -> None:
        """All versions but two are nobody's any more, and what they alone needed leaves by the usual grace."""
        _mirrornet("retire", IMAGE, "--keep", "2", "--repo", self.repo, "--keys", self.keys)
        _mirrornet("gc", "--repo", self.repo)

    def original(self, version: int) -> Path:
        """The image as it was at `version`."""
        return self._folder / f"image.{version}"


class Stage:
    """All that runs.  `strike` and `relent` do a fault to it and undo it; both may be called from several threads."""

    def __init__(self, network: Network, sizes: Sizes, seed: int) -> None:
        self.network = network
        self.counts = {"versions published": 1, "drains obeyed": 0, "probes' verdicts changed": 0}
        self._dice = random.Random(seed)
        self._publishing = threading.Lock()
        self._paths = threading.Lock()
        folder = network.folder / "publisher"
        folder.mkdir()
        self.publisher = Publisher(folder, sizes, random.Random(seed))
        authority = Authority(network.folder)
        self.trusting = {"SSL_CERT_FILE": str(authority.certificate)}
        self.mirrors = {
            name: MirrorServer(
                network,
                name,
                self.publisher.repo,
                way,
                authority,
                disk=4 * sizes.image if name in SMALL else 0,
                linked=name not in SMALL,
            )
            for name, way in zip(MIRRORS, _WAYS, strict=True)
        }
        zone = zone_text(WORLD, list(self.mirrors.values()), SERVERS, self.publisher.root, [IMAGE], _HEALTH)
        self.servers = {name: NameServer(network, name, zone) for name in SERVERS}
        self.resolver = ResolverServer(network, HOME, Brand.ECS, {ZONE: [WORLD.address(name) for name in SERVERS]})

    def start(self) -> None:
        """Starts all of it.  Raises LocalError."""
        self.network.spread(WORLD)
        for mirror in self.mirrors.values():
            mirror.start()
        for server in self.servers.values():
            server.start(**self.trusting)
        self.resolver.start()

    def strike(self, fault: Fault) -> None:
        """The fault begins.  Raises LocalError where it cannot be done."""
        match fault.kind:
            case Kind.STOP:
                self.mirrors[fault.target].stop()
            case Kind.FREEZE:
                self.mirrors[fault.target].freeze()
            case Kind.CUT | Kind.SERVER_CUT:
                self._site(fault.target, cut=True)
            case Kind.SLOW:
                self._site(fault.target, rate=fault.amount * 8 / 1000)
            case Kind.LOSE:
                self._site(fault.target, loss=fault.amount)
            case Kind.CORRUPT:
                self.mirrors[fault.target].corrupt(self._dice, fault.amount)
            case Kind.HOLD:
                self.mirrors[fault.target].hold()
            case Kind.FILL:
                disk = self.mirrors[fault.target].disk
                assert disk is not None
                disk.fill()
            case Kind.DRAIN:
                self._by_hand("drain", fault.target, "--rate", "600", "--why", "soak")
            case Kind.SERVER_KILL:
                self.servers[fault.target].stop(signal.SIGKILL)
            case Kind.SERVER_RESTART:
                self.servers[fault.target].stop()
                self.servers[fault.target].start(**self.trusting)
            case Kind.RESOLVER_RESTART:
                self.resolver.stop()
                self.resolver.start()
            case Kind.PUBLISH:
                with self._publishing:
                    self.publisher.publish()
                    self._deliver()
                self.counts["versions published"] += 1
            case Kind.RETIRE:
                with self._publishing:
                    self.publisher.retire()
                    self._deliver()

    def relent(self, fault: Fault) -> None:
        """The fault ends: all is as it was, or as it is elsewhere."""
        match fault.kind:
            case Kind.STOP:
                self.mirrors[fault.target].start()
            case Kind.FREEZE:
                self.mirrors[fault.target].thaw()
            case Kind.CUT | Kind.SERVER_CUT:
                self._site(fault.target, cut=False)
            case Kind.SLOW:
                self._site(fault.target, rate=RATE)
            case Kind.LOSE:
                self._site(fault.target, loss=0)
            case Kind.CORRUPT:
                with self._publishing:
                    self._give(self.mirrors[fault.target])
            case Kind.HOLD:
                with self._publishing:
                    self.mirrors[fault.target].catch_up()
            case Kind.FILL:
                mirror = self.mirrors[fault.target]
                assert mirror.disk is not None
                mirror.disk.empty()
                with self._publishing:
                    self._give(mirror)
            case Kind.DRAIN:
                self._by_hand("auto", fault.target)
            case Kind.SERVER_KILL:
                self.servers[fault.target].start(**self.trusting)
            case _:
                pass

    def flips(self) -> int:
        """How often a mirror's verdict has changed, at the name servers that answer."""
        total = 0
        for server in self.servers.values():
            try:
                total += sum(mirror["flips"] for zone in server.status()["zones"] for mirror in zone["mirrors"])
            except LocalError:
                continue
        return total

    def _site(self, name: str, **conditions: float | bool) -> None:
        with self._paths:
            self.network.site(name, **conditions)

    def _deliver(self) -> None:
        for mirror in self.mirrors.values():
            self._give(mirror)

    def _give(self, mirror: MirrorServer) -> None:
        try:
            mirror.take(self.publisher.repo)
        except LocalError:
            if mirror.disk is None:
                raise  # a full disk is what the day is for; nothing else is

    def _by_hand(self, verb: str, mirror: str, *options: str) -> None:
        for server in self.servers.values():
            if server.running:
                words = (*COMMAND, verb, mirror, "--state", str(server.home / "state"), *options)
                done = self.network.run(server.site, words)
                self.counts["drains obeyed"] += verb == "drain" and done.returncode == 0


def _mirrornet(verb: str, *words: str | Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "MIRRORNET_PASSPHRASE"}
    command: Sequence[str] = [*COMMAND, verb, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise LocalError(f"soak: mirrornet {verb}: {done.stderr.strip().rpartition(chr(10))[2]}")
