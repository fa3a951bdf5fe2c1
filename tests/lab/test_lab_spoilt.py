"""Handles of a lab that spoil slowly: a mirror that stays behind the others, a disk that is full."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab_stage import Published, command, kept, own, status

from mirrornet.lab.disks import Disk
from mirrornet.lab.mirrors import MirrorServer
from mirrornet.lab.network import Network
from mirrornet.model.errors import InputError, LocalError

SITES = {"publisher": ["198.18.1.1"], "tokyo": ["198.18.2.1"], "home": ["198.18.3.1"]}
DISK = 12 << 20  # holds one copy of 4 MB, not three


@pytest.fixture(autouse=True)
def tools(need: Any) -> None:
    need("root", "nginx", "curl", "fuse", "nsenter")


@pytest.fixture
def made(tmp_path: Path) -> Published:
    return Published(tmp_path)


@pytest.fixture
def network(machine: None) -> Iterator[Network]:
    with Network(SITES) as running:
        running.everywhere(rtt=20, rate=200)
        yield running


def newest(network: Network, mirror: MirrorServer) -> int:
    """The version that the mirror's timestamp speaks of, as a client at home sees it."""
    done = network.run("home", ["curl", "-s", "-m", "10", f"{mirror.url}metadata/timestamp.json"])
    return int(json.loads(done.stdout)["signed"]["meta"]["snapshot.json"]["version"])


def test_a_mirror_that_is_held_serves_the_old_version_until_it_catches_up(network: Network, made: Published) -> None:
    mirrors = [MirrorServer(network, site, made.repo) for site in ("publisher", "tokyo")]
    for mirror in mirrors:
        mirror.start()
    mirrors[1].hold()
    made.image.write_bytes(made.image.read_bytes()[::-1])
    made.publish()
    for mirror in mirrors:
        mirror.take(made.repo)
    assert [newest(network, mirror) for mirror in mirrors] == [2, 1]
    mirrors[1].catch_up()
    assert [newest(network, mirror) for mirror in mirrors] == [2, 2]
    made.publish()
    mirrors[1].take(made.repo)
    assert [newest(network, mirror) for mirror in mirrors] == [2, 3]


def test_a_mirror_whose_disk_is_full_keeps_what_it_has(network: Network, made: Published) -> None:
    source, mirror = MirrorServer(network, "publisher", made.repo), MirrorServer(network, "tokyo", made.repo, disk=DISK)
    assert mirror.disk is not None
    source.start()
    mirror.start()
    made.image.write_bytes(made.image.read_bytes()[::-1])
    made.publish()
    source.take(made.repo)
    keep = kept(network, "tokyo")[:2]
    mirror.disk.fill()
    assert mirror.disk.free == 0
    done = command(network, "tokyo", "sync", source.url, mirror.folder, "--root", made.root, *keep)
    assert done.returncode == 1 and "No space left on device" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    with pytest.raises(LocalError, match=r"lab: tokyo: .*No space left"):
        mirror.take(made.repo)
    assert newest(network, mirror) == 1
    mirror.disk.empty()
    done = command(network, "tokyo", "sync", source.url, mirror.folder, "--root", made.root, *keep)
    assert done.returncode == 0, done.stderr
    assert newest(network, mirror) == 2


def test_a_client_whose_cache_is_full_reads_on(network: Network, made: Published) -> None:
    mirror = MirrorServer(network, "tokyo", made.repo)
    mirror.start()
    disk = Disk(network, own(network, "home") / "cache", 1 << 20)
    disk.fill()
    point = network.folder / "mount"
    point.mkdir()
    done = command(network, "home", "mount", mirror.url, "tiny", point, "--root", made.root, *kept(network, "home"))
    assert done.returncode == 0, done.stderr
    assert (point / "tiny.raw").read_bytes() == made.image.read_bytes()
    assert status(network, "home", point)["cache"]["refused"]
    assert command(network, "home", "umount", point).returncode == 0


def test_no_disk_outside_of_the_lab(network: Network, tmp_path: Path) -> None:
    for folder, size, what in ((tmp_path, 1, "are below"), (network.folder / "d", 2 << 30, "are possible")):
        with pytest.raises(InputError, match=what):
            Disk(network, folder, size)
    disk = Disk(network, network.folder / "d", 1 << 20)
    network.close()
    assert not disk.folder.exists() and str(disk.folder) not in Path("/proc/mounts").read_text()
