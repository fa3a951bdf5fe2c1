"""The main thing: a real Debian boots over real distances, through mirrors that die, is upgraded, rolled back, offline.

Five mirrors of all four kinds at 10 to 250 ms, copies made by `sync`, the nearest chosen by a name server of ours
through unbound, a guest in QEMU.  One story, told in parts that build on one another.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from guest_package import installing
from lab_stage import command, kept, own, started, status
from waiting import until

from mirrornet.image.fetch import file_fetch
from mirrornet.image.inventory import needed
from mirrornet.image.publishing.listing import listed
from mirrornet.lab.authority import Authority
from mirrornet.lab.mirrors import Kind, MirrorServer, Request
from mirrornet.lab.nameserver import COMMAND, ZONE, NameServer, zone_text
from mirrornet.lab.network import Network
from mirrornet.lab.resolvers import Brand, ResolverServer
from mirrornet.lab.world import Site, World

GUEST = Path(os.environ.get("XDG_CACHE_HOME", "") or Path.home() / ".cache") / "mirrornet-tests" / "guest"
HOUSE = Path(__file__).resolve().parents[2]
# By distance from home, which is Tokyo; ms.
MIRRORS = {
    "osaka": (10, Kind.HTTPS, Site("osaka", 34.69, 135.50, "JP")),
    "taipei": (40, Kind.VIRTUAL_HOST, Site("taipei", 25.03, 121.57, "TW")),
    "singapore": (90, Kind.BUCKET, Site("singapore", 1.35, 103.82, "SG")),
    "paris": (160, Kind.ADDRESS, Site("paris", 48.86, 2.35, "FR")),
    "saopaulo": (250, Kind.VIRTUAL_HOST, Site("saopaulo", -23.55, -46.63, "BR")),
}
WORLD = World(
    (
        *(site for _, _, site in MIRRORS.values()),
        Site("home", 35.68, 139.69, "JP"),
        Site("server", 35.18, 136.91, "JP"),
        Site("publisher", 35.18, 136.91, "JP"),
    ),
    {("home", name): ms for name, (ms, _, _) in MIRRORS.items()}
    | {(near, name): 20.0 for name in MIRRORS for near in ("server", "publisher")},
)
HEALTH = {"interval": "1s", "timeout": "900ms", "up": 2, "ok": 2, "down": 2, "probe": "block"}
BOOT_SECONDS = 300.0  # on a busy machine without KVM
STALL = 10.0  # seconds that a read may take where its mirror dies; of a boot, nobody sees less
BEFORE_THE_CUT = 6 << 20  # bytes: a third of a boot
ALL_OF_BOOT = ("--boot", "image:/vmlinuz,image:/initrd.img,root=/dev/vda console=ttyS0 quiet")


class Story:
    """The network, and what a publisher, a mirror's operator and a client do in it."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.network, self.folder = network, folder
        self.repo, self.keys = folder / "repo", folder / "keys"
        network.spread(WORLD)
        for name in MIRRORS:
            network.path("publisher", name, rate=0)  # a copy is not what is tested
        self.authority = Authority(network.folder)
        self.trusting = {"SSL_CERT_FILE": str(self.authority.certificate)}
        self.here("keygen", self.keys)
        self.here("publish", GUEST / "guest.img", "--name", "guest", *self.repository, *ALL_OF_BOOT)
        self.note_blocks()
        self.publisher = MirrorServer(network, "publisher", self.repo, linked=True)
        self.publisher.start()
        empty = folder / "empty"
        empty.mkdir()
        self.mirrors = {
            name: MirrorServer(network, name, empty, kind, self.authority) for name, (_, kind, _) in MIRRORS.items()
        }
        self.copy_everywhere()
        for mirror in self.mirrors.values():
            mirror.start()
        zone = zone_text(WORLD, list(self.mirrors.values()), ["server"], self.root, ["guest"], HEALTH)
        self.nameserver = NameServer(network, "server", zone)
        self.nameserver.start(**self.trusting)
        self.resolver = ResolverServer(network, "home", Brand.ECS, {ZONE: [WORLD.address("server")]})
        self.resolver.start()
        until(lambda: all(one["state"] == "up" for one in self.verdicts()), self.verdicts, 180, 0.2)

    @property
    def root(self) -> Path:
        return self.keys / "root.json"

    @property
    def repository(self) -> list[str]:
        return ["--repo", str(self.repo), "--keys", str(self.keys)]

    def verdicts(self) -> list[dict[str, Any]]:
        return [one for zone in self.nameserver.status()["zones"] for one in zone["mirrors"]]

    def here(self, *words: object) -> str:
        """What the publisher does on his own machine."""
        done = subprocess.run([*COMMAND, *map(str, words)], capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def copy_everywhere(self) -> None:
        """Every mirror's operator runs `sync`, all at once."""

        def sync(name: str) -> None:
            words = ["sync", self.publisher.url, self.mirrors[name].folder, "--root", self.root]
            done = command(self.network, name, *words, *kept(self.network, name)[:2], timeout=300)
            assert done.returncode == 0, done.stderr

        with ThreadPoolExecutor(len(self.mirrors)) as pool:
            list(pool.map(sync, self.mirrors))

    def publish_news(self) -> None:
        """What the publisher did to his repository is taken up by his own server and by all mirrors."""
        self.note_blocks()
        self.publisher.take(self.repo)
        self.copy_everywhere()

    def of(self, name: str) -> list[Request]:
        """The blocks of images that a mirror has sent home, whole or not; pages of indexes are not among them."""
        asking = self.network.addresses["home"]
        return [
            one
            for one in self.mirrors[name].requests
            if one.source in asking and one.path.rpartition("/")[2] in self.names and one.status in (200, 206)
        ]

    def note_blocks(self) -> None:
        """Finds out which blocks the repository's images have."""
        versions = listed(self.repo, time.time()).images["guest"]
        found = (one for version in versions for one in needed(version, file_fetch(self.repo)))
        self.names = {one.sha256.hex() for one in found if one.kind == "block"}

    def sent(self) -> dict[str, int]:
        return {name: size(self.of(name)) for name in self.mirrors}

    def blocks(self) -> list[Request]:
        """The same of all mirrors, in order."""
        return sorted((one for name in self.mirrors for one in self.of(name)), key=lambda one: one.at)

    def kept(self) -> set[str]:
        """The hashes of the blocks in the client's cache; what was under way from a mirror as it was cut never came."""
        return {path.name for path in own(self.network, "home").rglob("blocks/??/*") if not path.name.startswith(".")}

    @property
    def source(self) -> str:
        return f"select.{ZONE}"

    @property
    def options(self) -> list[object]:
        where = ["--root", self.root, "--resolver", f"{WORLD.address('home')}:53"]
        return [*where, *kept(self.network, "home")]


def size(requests: Sequence[Request]) -> int:
    return sum(one.sent for one in requests)


def hashes(requests: Sequence[Request]) -> set[str]:
    return {one.path.rpartition("/")[2] for one in requests}


class Guest:
    """A boot at home, running."""

    def __init__(self, story: Story, name: str, *more: str) -> None:
        self._story = story
        self.console = story.network.folder / f"console-{name}"
        # A mount namespace of its own: what is left of a boot that is killed goes with it.
        self._process = started(
            story.network,
            "home",
            "boot",
            story.source,
            "guest",
            *story.options,
            "--accel",
            "tcg",
            "--log",
            story.network.folder / f"log-{name}",
            *more,
            log=self.console,
            before=("unshare", "--mount", "--"),
            **story.trusting,
        )
        self.status: dict[str, Any] = {}

    @property
    def said(self) -> str:
        return self.console.read_text("utf-8", "replace")

    def look(self) -> bool:
        """Takes a look at the client's status, and says whether the guest has come up or gone."""
        done = command(self._story.network, "home", "status", "--json")
        assert done.returncode == 0, done.stderr
        cache = str(own(self._story.network, "home"))
        found = [
            one for one in json.loads(done.stdout) if str(one.get("cache", {}).get("folder", "")).startswith(cache)
        ]
        self.status = found[0] if found else self.status
        return "GUEST-READY" in self.said or self._process.poll() is not None

    def ready(self) -> str:
        """Waits for the marker and for the end; which version of the guest it was."""
        end = time.monotonic() + BOOT_SECONDS
        while not self.look() and time.monotonic() < end:
            time.sleep(0.2)
        assert "GUEST-READY" in self.said, self.said[-3000:]
        assert self._process.wait(60) == 0, self.said[-3000:]
        return self.said.partition("GUEST-READY ")[2][:1]


@pytest.fixture(scope="module")
def story(machine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    done = subprocess.run([HOUSE / "scripts/guest/build", GUEST], stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no guest could be built; see above")
    with Network(WORLD.addresses()) as network:
        yield Story(network, tmp_path_factory.mktemp("story"))


@pytest.fixture(autouse=True)
def tools(need: Any) -> None:
    need(
        "root",
        "nginx",
        "unbound",
        "curl",
        "openssl",
        "fuse",
        "qemu-system-x86_64",
        "qemu-img",
        "debootstrap",
        "dpkg-deb",
        "debugfs",
        "unshare",
    )


def test_a_guest_boots_while_its_mirror_dies(story: Story) -> None:
    guest = Guest(story, "one")
    until(lambda: sum(story.sent().values()) > BEFORE_THE_CUT or guest.look(), lambda: guest.said[-2000:], BOOT_SECONDS)
    before = story.sent()
    used = max(before, key=lambda name: before[name])
    assert used in ("osaka", "taipei"), before  # the nearest; on a busy machine the second
    story.mirrors[used].cut()
    assert "GUEST-READY" not in guest.said
    assert guest.ready() == "1"
    after = story.sent()
    assert sum(after.values()) - after[used] > sum(before.values()) - before[used] + (4 << 20), (before, after)
    assert guest.status["reads"]["longest_stall"] < STALL
    assert guest.status["reads"]["errors"] == 0
    # What a client sent into the cut is sent again by its kernel, also after the client has ended: nobody is to answer.
    story.mirrors[used].stop()
    story.mirrors[used].start()
    story.mirrors[used].cut(False)


def test_an_update_costs_its_new_blocks(story: Story) -> None:
    first, kept = story.blocks(), story.kept()
    assert len(kept) > 0.9 * len(hashes(first))
    words = installing(2, story.folder)
    news = json.loads(story.here("refresh", "guest", *story.repository, "--json", "--", *words))
    assert [name for name, _ in news["changes"]["added"]] == ["lab-package"]
    story.publish_news()
    assert Guest(story, "two").ready() == "2"
    fetched = story.blocks()[len(first) :]
    again = [one for one in fetched if hashes([one]) & kept]  # mirrors are measured by a page of the index
    assert size(again) < size(first) / 100, f"blocks that the cache has came a second time: {again}"
    assert 0 < size(fetched) < news["published"]["new_bytes"] + size(first) / 4, (size(fetched), size(first), news)


def test_a_rollback_costs_nothing_and_boots_from_the_cache_when_all_mirrors_are_gone(story: Story) -> None:
    before, kept = story.blocks(), story.kept()
    story.here("rollback", "guest", 1, *story.repository)
    story.publish_news()
    point = story.network.folder / "mount"
    point.mkdir()
    done = command(story.network, "home", "mount", story.source, "guest", point, *story.options, **story.trusting)
    assert done.returncode == 0, done.stderr
    assert status(story.network, "home", point)["version"] == 3
    asked = subprocess.run(
        ["debugfs", "-R", "cat /etc/guest-version", point / "guest.raw"], capture_output=True, text=True, check=True
    )
    assert asked.stdout == "1\n"
    assert command(story.network, "home", "umount", point).returncode == 0
    again = [one for one in story.blocks()[len(before) :] if hashes([one]) & kept]
    assert size(again) < size(before) / 100, again
    for mirror in story.mirrors.values():
        mirror.cut()
    story.nameserver.stop()
    known = len(story.blocks())
    assert Guest(story, "three", "--offline").ready() == "1"
    assert len(story.blocks()) == known
