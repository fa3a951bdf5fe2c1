"""Nine o'clock in the classroom: many machines, one line, four kinds of mirror, two name servers; and everybody works.

The nearest mirror dies while all read, the second lies, the third is stale, one of the two name servers is cut off.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from lab_stage import Published, command, own, status, statuses
from waiting import until

from mirrornet.lab.authority import Authority
from mirrornet.lab.mirrors import Kind, MirrorServer
from mirrornet.lab.nameserver import ZONE, NameServer, zone_text
from mirrornet.lab.network import Network
from mirrornet.lab.resolvers import Brand, ResolverServer
from mirrornet.lab.world import Site, World

CLIENTS = 12
SIZE = 8 << 20
LINE = 200.0  # Mbit/s, shared by all
WORLD = World(
    (
        Site("osaka", 34.69, 135.50, "JP"),
        Site("seoul", 37.57, 126.98, "KR"),
        Site("taipei", 25.03, 121.57, "TW"),
        Site("singapore", 1.35, 103.82, "SG"),
        Site("classroom", 35.68, 139.69, "JP"),
        Site("server1", 35.18, 136.91, "JP"),
        Site("server2", 43.06, 141.35, "JP"),
    )
)
DIES, LIES, STALE, GOOD = "osaka", "seoul", "taipei", "singapore"
KINDS = dict(zip((DIES, LIES, STALE, GOOD), Kind, strict=True))
SERVERS = ("server1", "server2")
HEALTH = {"interval": "1600ms", "timeout": "1500ms", "up": 2, "ok": 2, "down": 2, "probe": "block"}


def usable(server: NameServer) -> list[str]:
    """The mirrors that it sends clients to."""
    mirrors = [one for zone in server.status()["zones"] for one in zone["mirrors"]]
    return [one["name"] for one in mirrors if one["usable"]]


@pytest.fixture(autouse=True)
def tools(need: Any) -> None:
    need("root", "nginx", "unbound", "curl", "openssl", "fuse", "nsenter")


@pytest.fixture
def network(machine: None) -> Iterator[Network]:
    with Network(WORLD.addresses()) as running:
        running.spread(WORLD)
        running.access("classroom", LINE)
        yield running


def test_everybody_works(network: Network, tmp_path: Path) -> None:
    made = Published(tmp_path, "debian", SIZE)
    authority = Authority(network.folder)
    trusting = {"SSL_CERT_FILE": str(authority.certificate)}
    mirrors = {name: MirrorServer(network, name, made.repo, kind, authority) for name, kind in KINDS.items()}
    for mirror in mirrors.values():
        mirror.start()
    mirrors[STALE].hold()
    made.image.write_bytes(os.urandom(SIZE))
    made.publish()
    for mirror in mirrors.values():
        mirror.take(made.repo)
    zone = zone_text(WORLD, list(mirrors.values()), SERVERS, made.root, ["debian"], HEALTH)
    servers = [NameServer(network, site, zone) for site in SERVERS]
    for server in servers:
        server.start(**trusting)
    resolver = ResolverServer(network, "classroom", Brand.ECS, {ZONE: [WORLD.address(site) for site in SERVERS]})
    resolver.start()
    for server in servers:
        until(lambda server=server: len(usable(server)) == len(KINDS), lambda server=server: usable(server), 120, 0.2)
    network.site(SERVERS[0], cut=True)

    points = []
    for number in range(CLIENTS):
        points.append(own(network, f"{number}") / "mount")
        points[-1].mkdir()

    def mount(number: int) -> str:
        home = own(network, f"{number}")
        options = ["--root", made.root, "--resolver", f"{resolver.addresses[0]}:53"]
        options += ["--state", home / "state", "--cache", home / "cache"]
        words = ["mount", f"select.{ZONE}", "debian", points[number], *options]
        return str(command(network, "classroom", *words, timeout=300, **trusting).stderr)

    def read(number: int) -> str:
        digest = hashlib.sha256()
        try:
            with (points[number] / "debian.raw").open("rb", buffering=0) as file:
                while piece := file.read(256 << 10):
                    digest.update(piece)
        except OSError as error:
            return f"{error}: {status(network, 'classroom', points[number])}"
        return digest.hexdigest()

    def sent(name: str) -> int:
        return sum(one.sent for one in mirrors[name].requests if one.source in network.addresses["classroom"])

    with ThreadPoolExecutor(CLIENTS) as pool:
        assert list(pool.map(mount, range(CLIENTS))) == [""] * CLIENTS
        mirrors[LIES].corrupt(random.Random(9))  # now, for the name server finds it out within seconds
        reads = [pool.submit(read, number) for number in range(CLIENTS)]
        until(lambda: sent(DIES) > SIZE or all(one.done() for one in reads), lambda: sent(DIES), 120)
        assert not any(one.done() for one in reads), "nobody is reading any more"
        mirrors[DIES].cut()
        got = [one.result(300) for one in reads]
    assert got == [hashlib.sha256(made.image.read_bytes()).hexdigest()] * CLIENTS
    found = statuses(network, "classroom", points)
    assert [one["version"] for one in found] == [2] * CLIENTS
    troubled = [(one["reads"], one["mirrors"]) for one in found if one["reads"]["errors"]]
    assert not troubled, "\n".join(map(str, troubled))
    blames = {(mirror["name"], blame) for one in found for mirror in one["mirrors"] for blame in mirror["blames"]}
    assert (LIES, "corrupt") in blames and (GOOD, "corrupt") not in blames, blames
    assert sent(GOOD) > SIZE
