"""Three name servers and four vantages on a network with distances: what some cannot reach, and who hears whom."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab_stage import started
from waiting import until

from mirrornet.image.trust.seal import make_seal
from mirrornet.lab.mirrors import MirrorServer
from mirrornet.lab.nameserver import ZONE, NameServer, zone_text
from mirrornet.lab.network import Network
from mirrornet.lab.world import Site, World

WORLD = World(
    (
        Site("tokyo", 35.68, 139.69, "JP"),  # four mirrors
        Site("paris", 48.86, 2.35, "FR"),
        Site("dallas", 32.78, -96.80, "US"),
        Site("lagos", 6.45, 3.39, "NG"),
        Site("osaka", 34.69, 135.50, "JP"),  # four vantages, each near one
        Site("berlin", 52.52, 13.40, "DE"),
        Site("denver", 39.74, -104.99, "US"),
        Site("accra", 5.60, -0.19, "GH"),
        Site("london", 51.51, -0.13, "GB"),  # three name servers
        Site("sydney", -33.87, 151.21, "AU"),
        Site("quito", -0.18, -78.47, "EC"),
        Site("board", 50.11, 8.68, "DE"),
    )
)
MIRRORS = ("tokyo", "paris", "dallas", "lagos")
VANTAGES = {"osaka": 64501, "berlin": 64502, "denver": 64503, "accra": 64504}
SERVERS = ("london", "sydney", "quito")
HEALTH = {"interval": "1s", "timeout": "900ms", "up": 2, "ok": 2, "down": 2, "probe": "http"}
PATIENCE = 120.0  # seconds


class Scene:
    """The world above, running."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.network, self.folder = network, folder
        network.everywhere(rtt=30, rate=200)
        (folder / "repo/metadata").mkdir(parents=True)
        (folder / "repo/metadata/timestamp.json").write_text("{}")
        (folder / "repo/blocks").mkdir()
        (folder / "root.json").write_text("{}")
        mirrors = [MirrorServer(network, site, folder / "repo") for site in MIRRORS]
        for mirror in mirrors:
            mirror.start()
        board = WORLD.address("board")
        redis = ["redis-server", "--bind", board, "--save", "", "--protected-mode", "no", "--dir", str(folder)]
        with (folder / "redis.log").open("wb") as log:
            network.start("board", redis, stdout=log, stderr=log)
        zone = json.loads(zone_text(WORLD, mirrors, SERVERS, folder / "root.json", ["tiny"], HEALTH))
        keys = {site: make_seal(folder / site, None) for site in (*VANTAGES, *SERVERS)}
        for site, asn in VANTAGES.items():
            for prefix in WORLD.prefixes(site):
                zone["places"][prefix] = zone["places"][prefix] | {"asn": asn}
        zone["server"] = {
            "share": {"url": f"redis://{board}:6379/0", "key": "key.pem"},
            "vantages": {site: {"key": key, "asn": VANTAGES.get(site, 64500)} for site, key in keys.items()},
        }
        text = json.dumps(zone)
        (folder / "zone.yaml").write_text(text)
        self.servers = {site: NameServer(network, site, text) for site in SERVERS}
        for site, server in self.servers.items():
            shutil.copy(folder / site, server.home / "key.pem")
            server.start()
        for site in VANTAGES:
            key = ["--key", folder / site, "--state", folder / f"of-{site}"]
            started(network, site, "vantage", folder / "zone.yaml", "--name", site, *key, log=folder / f"{site}.log")

    def answers(self, client: str) -> set[tuple[str, ...]]:
        """What the three servers answer to `client`'s network: one tuple of sites where they agree."""
        by_address = {WORLD.address(site): site for site in MIRRORS}
        found = set()
        for site in SERVERS:
            ask = ["dig", "+short", "+time=2", f"@{WORLD.address(site)}", f"+subnet={WORLD.prefixes(client)[0]}"]
            said = self.network.run(site, [*ask, f"select.{ZONE}", "A"]).stdout.split()
            found.add(tuple(sorted(by_address[one] for one in said)))
        return found

    def eyes(self, site: str) -> dict[str, Any]:
        return dict(self.servers[site].status()["eyes"])

    def fresh(self, site: str) -> set[str]:
        """Whose votes count at the server of `site`."""
        return {one["name"] for one in self.eyes(site)["vantages"] if one["fresh"]}

    def outvoted(self, site: str) -> dict[str, list[str]]:
        """Who is outvoted at the server of `site`, and on what."""
        return {one["name"]: one["outvoted"] for one in self.eyes(site)["vantages"] if one["outvoted"]}

    def told(self) -> str:
        logs = [server.log[-1500:] for server in self.servers.values()]
        return "\n".join([*logs, *((self.folder / f"{site}.log").read_text()[-500:] for site in VANTAGES)])

    def until(self, holds: Callable[[], object]) -> None:
        """Each look is three programs: seldom is often enough."""
        until(holds, self.told, PATIENCE, 0.3)


@pytest.fixture(autouse=True)
def tools(need: Any) -> None:
    need("root", "nginx", "dig", "curl", "ip", "nsenter", "redis-server")


@pytest.fixture
def scene(machine: None, tmp_path: Path) -> Iterator[Scene]:
    with Network(WORLD.addresses()) as network:
        yield Scene(network, tmp_path)


def test_three_servers_and_four_vantages(scene: Scene) -> None:
    network = scene.network
    for site in SERVERS:
        scene.until(lambda site=site: scene.fresh(site) == {*VANTAGES, *SERVERS})
    scene.until(lambda: scene.answers("osaka") == {("tokyo",)})
    scene.until(lambda: scene.answers("sydney") == {("tokyo",)})

    # A mirror that one network cannot reach is kept from that network, and from nobody else.
    network.path("tokyo", "osaka", cut=True)
    scene.until(lambda: ("tokyo",) not in scene.answers("osaka") and len(scene.answers("osaka")) == 1)
    scene.until(
        lambda: scene.answers("sydney") == {("tokyo",)} and scene.outvoted("quito") == {"osaka": ["tokyo: down"]}
    )

    # Four of seven cannot reach it: it is out, also for the servers that can.
    for site in ("berlin", "denver", "london"):
        network.path("tokyo", site, cut=True)
    scene.until(lambda: ("tokyo",) not in scene.answers("sydney") and len(scene.answers("sydney")) == 1)

    # A server that hears nobody goes by its own eyes, and says so; the others do without it.
    network.site("quito", cut=True)
    for site in MIRRORS:
        network.path("quito", site, cut=False)
    scene.until(lambda: scene.eyes("quito")["trouble"])
    scene.until(lambda: scene.fresh("quito") == set())
    scene.until(lambda: scene.fresh("london") == {*VANTAGES, "london", "sydney"})
    scene.until(lambda: ("tokyo",) in scene.answers("sydney") and len(scene.answers("sydney")) == 2)
    assert "vantage quito is silent" in scene.servers["london"].log

    # It is heard again: one answer again.
    network.site("quito", cut=False)
    scene.until(lambda: scene.fresh("quito") == {*VANTAGES, *SERVERS} and scene.eyes("quito")["trouble"] is None)
    scene.until(lambda: ("tokyo",) not in scene.answers("sydney") and len(scene.answers("sydney")) == 1)

    # The board is gone: each by its own eyes, which by now all reach the mirror but London's.
    network.site("board", cut=True)
    for site in SERVERS:
        scene.until(lambda site=site: scene.fresh(site) == set())
    scene.until(lambda: ("tokyo",) in scene.answers("sydney"))
    assert "Traceback" not in scene.told()
