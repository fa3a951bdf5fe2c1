"""`pull` over real distances: how much of the link it fills, and that several slow mirrors are faster than one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab_images import published
from lab_stage import command, kept

from mirrornet.lab.mirrors import MirrorServer
from mirrornet.lab.network import Network

BLOCKS = 200
SITES = {
    "home": ["198.18.1.1", "2001:db8:1::1"],
    "one": ["198.18.2.1", "2001:db8:2::1"],
    "two": ["198.18.3.1", "2001:db8:3::1"],
    "three": ["198.18.4.1", "2001:db8:4::1"],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    return published(tmp_path_factory.mktemp("pull"), BLOCKS)


@pytest.fixture
def network() -> Iterator[Network]:
    with Network(SITES) as network:
        yield network


def pull(network: Network, made: tuple[Path, str], *mirrors: MirrorServer) -> dict[str, Any]:
    source = ",".join(mirror.url.rstrip("/") for mirror in mirrors)
    done = command(network, "home", "pull", source, "disk", "--root", made[1], "--json", *kept(network, "home"))
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def rate(pulled: dict[str, Any]) -> float:
    """Mbit/s."""
    return float(8 * pulled["fetched_bytes"] / pulled["seconds"] / 1e6)


def test_one_mirror_fills_most_of_the_link(network: Network, made: tuple[Path, str]) -> None:
    mirror = MirrorServer(network, "one", made[0], linked=True)
    network.path("home", "one", rtt=40, rate=50)
    mirror.start()
    pulled = pull(network, made, mirror)
    assert pulled["fetched"] == BLOCKS and rate(pulled) > 0.6 * 50, pulled


def test_three_slow_mirrors_are_faster_than_one(network: Network, made: tuple[Path, str]) -> None:
    mirrors = [MirrorServer(network, site, made[0], linked=True) for site in ("one", "two", "three")]
    for mirror, trip in zip(mirrors, (40, 60, 90), strict=True):
        network.path("home", mirror.site, rtt=trip, rate=15)
        mirror.start()
    pulled = pull(network, made, *mirrors)
    assert pulled["fetched"] == BLOCKS
    assert rate(pulled) > 1.5 * 15, pulled
    assert len(pulled["mirrors"]) == 3 and min(pulled["mirrors"].values()) > BLOCKS // 10, pulled
