"""Mirrors in four kinds, resolvers of four brands, our name server: as a client at a site meets them."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import until

from mirrornet.image.publishing.publish import publish
from mirrornet.image.trust.keys import keygen
from mirrornet.lab.authority import Authority
from mirrornet.lab.mirrors import Kind, MirrorServer, Request
from mirrornet.lab.nameserver import COMMAND, ZONE, NameServer, zone_text
from mirrornet.lab.network import Network
from mirrornet.lab.resolvers import Brand, ResolverServer
from mirrornet.lab.world import Site, World

WORLD = World(
    (
        Site("tokyo", 35.68, 139.69, "JP"),
        Site("paris", 48.86, 2.35, "FR"),
        Site("dallas", 32.78, -96.80, "US"),
        Site("lagos", 6.45, 3.39, "NG"),
        Site("osaka", 34.69, 135.50, "JP"),
        Site("berlin", 52.52, 13.40, "DE"),
        Site("london", 51.51, -0.13, "GB"),
    )
)
MIRRORS = dict(zip(("tokyo", "paris", "dallas", "lagos"), Kind, strict=True))
HEALTH = {"interval": "1600ms", "timeout": "1500ms", "up": 2, "ok": 2, "down": 2, "probe": "block"}  # 160 ms away
CLIENTS = {"osaka": "tokyo", "berlin": "paris"}  # who is nearest to whom


class Scene:
    """The world above, running."""

    def __init__(self, network: Network, made: Path) -> None:
        self.network, self.made = network, made
        network.spread(WORLD)
        self.authority = Authority(network.folder)
        self.trusting = {"SSL_CERT_FILE": str(self.authority.certificate)}
        self.mirrors = {
            site: MirrorServer(network, site, made / "repo", kind, self.authority) for site, kind in MIRRORS.items()
        }
        for mirror in self.mirrors.values():
            mirror.start()
        zone = zone_text(WORLD, list(self.mirrors.values()), ["london"], made / "keys" / "root.json", ["tiny"], HEALTH)
        self.nameserver = NameServer(network, "london", zone)
        self.nameserver.start(**self.trusting)
        self.resolvers = {site: ResolverServer(network, site, Brand.ECS, self.zones) for site in CLIENTS}
        for resolver in self.resolvers.values():
            resolver.start()

    @property
    def zones(self) -> dict[str, list[str]]:
        return {ZONE: [WORLD.address("london")]}

    def verdict(self, site: str) -> str:
        """The state of a mirror, as the name server has it."""
        zones = self.nameserver.status()["zones"]
        return str(next(one["state"] for zone in zones for one in zone["mirrors"] if one["name"] == site))

    def fetch(self, client: str, mirror: MirrorServer, path: str, host: str | None = None) -> str:
        """Status and size of what curl gets at `client`."""
        host = host or mirror.host
        url = mirror.url.replace(mirror.host, host)
        command = ["curl", "-s", "-m", "10", "-o", "/dev/null", "-w", "%{http_code} %{size_download}"]
        command += ["--cacert", self.authority.certificate, "--resolve", f"{host}:{mirror.port}:{mirror.addresses[0]}"]
        return str(self.network.run(client, [*command, url + path]).stdout)

    def command(self, site: str, *words: object) -> Any:
        """Our own command at `site`, with that site's resolver, cache and state."""
        own = self.network.folder / f"client-{site}"
        environment = {**os.environ, **self.trusting, "HOME": str(own), "XDG_STATE_HOME": str(own / "state")}
        return self.network.run(site, [*COMMAND, *map(str, words)], env=environment)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    (folder / "image").write_bytes(os.urandom(4 << 20))
    keygen(folder / "keys", passphrase=None)
    publish(folder / "image", "tiny", folder / "repo", folder / "keys", now=time.time())
    return folder


@pytest.fixture(scope="module")
def scene(machine: None, made: Path) -> Iterator[Scene]:
    with Network(WORLD.addresses()) as network:
        yield Scene(network, made)


@pytest.fixture(autouse=True)
def tools(need: Any) -> None:
    need("root", "nginx", "unbound", "named", "dig", "curl", "openssl", "fuse", "ip", "nsenter")


def test_the_four_kinds(scene: Scene, made: Path) -> None:
    block = next(path for path in (made / "repo/blocks").rglob("*") if path.is_file())
    name, size = str(block.relative_to(made / "repo")), block.stat().st_size
    lacking = {Kind.BUCKET: "403"}
    for mirror in scene.mirrors.values():
        before = len(mirror.requests)
        assert scene.fetch("berlin", mirror, name) == f"200 {size}"
        assert scene.fetch("berlin", mirror, "blocks/00/none").split()[0] == lacking.get(mirror.kind, "404")

        def asked(mirror: MirrorServer = mirror, before: int = before) -> list[Request]:
            return [one for one in mirror.requests[before:] if one.source == WORLD.address("berlin")]

        until(lambda: len(asked()) == 2, asked)  # curl may have the answer before nginx has written that it gave it
        assert (asked()[0].status, asked()[0].sent) == (200, size)
        if mirror.kind is not Kind.ADDRESS:
            assert scene.fetch("berlin", mirror, name, host="another.example").startswith(("404", "000"))


def test_resolvers_of_all_brands_find_the_zone(scene: Scene) -> None:
    for brand in (Brand.UNBOUND, Brand.BIND, Brand.EXPIRED):
        resolver = ResolverServer(scene.network, "lagos", brand, scene.zones)
        resolver.start()
        command = ["dig", "+short", f"@{resolver.addresses[0]}", f"_http._tcp.select.{ZONE}", "URI"]
        assert scene.network.run("lagos", command).stdout.split("\n")[0], brand
        resolver.stop()


def test_clients_of_two_continents_mount_from_the_nearest_and_outlive_its_end(scene: Scene, made: Path) -> None:
    image = (made / "image").read_bytes()
    until(lambda: all(scene.verdict(site) == "up" for site in MIRRORS), lambda: scene.nameserver.log[-2000:], 120, 0.2)
    for client, nearest in CLIENTS.items():
        point = scene.network.folder / f"mount-{client}"
        point.mkdir()
        resolver = f"{scene.resolvers[client].addresses[0]}:53"
        options = ["--root", made / "keys/root.json", "--resolver", resolver]
        done = scene.command(client, "mount", f"select.{ZONE}", "tiny", point, *options)
        assert done.returncode == 0, done.stderr
        with (point / "tiny.raw").open("rb") as file:
            assert file.read(1 << 20) == image[: 1 << 20]
            own = {WORLD.address(client), WORLD.address(client, 6)}
            sent = {
                name: sum(one.sent for one in mirror.requests if one.source in own and "/blocks/" in one.path)
                for name, mirror in scene.mirrors.items()
            }
            assert max(sent, key=lambda name: sent[name]) == nearest, sent
            scene.mirrors[nearest].cut()
            assert file.read() == image[1 << 20 :]
        scene.mirrors[nearest].cut(False)
        done = scene.command(client, "umount", point)
        assert done.returncode == 0, done.stderr


def test_what_goes_wrong_with_a_mirror_is_seen_by_the_name_server(scene: Scene, made: Path) -> None:
    def becomes(site: str, state: str) -> None:
        until(lambda: scene.verdict(site) == state, lambda: scene.nameserver.log[-2000:], 120, 0.2)

    scene.mirrors["tokyo"].freeze()
    becomes("tokyo", "down")
    scene.mirrors["tokyo"].thaw()
    scene.mirrors["paris"].corrupt(random.Random(1))
    becomes("paris", "corrupt")
    scene.mirrors["dallas"].stop()
    becomes("dallas", "down")
    scene.mirrors["dallas"].start()
    scene.mirrors["paris"].take(made / "repo")
    for site in ("tokyo", "dallas"):
        becomes(site, "up")
