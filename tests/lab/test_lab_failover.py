"""The goals of choosing and fetching, over real TCP at real distances: 40 ms, 200 Mbit/s."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lab_addresses
import lab_reader
import pytest
from lab_images import published

from mirrornet.client.mirrors.choice import HEDGE_BURST
from mirrornet.lab.mirrors import MirrorServer
from mirrornet.lab.network import Network

BLOCKS = 700
ROUNDS = 5  # what a busy machine adds is in some of them, what the program lacks in all
RATE = 200.0  # Mbit/s
SITES = {
    "home": ["198.18.1.1", "2001:db8:1::1"],
    "one": ["198.18.2.1", "2001:db8:2::1"],
    "two": ["198.18.3.1", "2001:db8:3::1"],
    "three": ["198.18.4.1", "2001:db8:4::1"],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    return published(tmp_path_factory.mktemp("failover"), BLOCKS)


class Place:
    """Three mirrors at the given round trips (ms) from a client."""

    def __init__(self, network: Network, made: tuple[Path, str], trips: Sequence[float]) -> None:
        self.network, self.made = network, made
        self.mirrors = [MirrorServer(network, site, made[0], linked=True) for site in ("one", "two", "three")]
        for mirror, trip in zip(self.mirrors, trips, strict=True):
            network.path("home", mirror.site, rtt=trip, rate=RATE)
            mirror.start()

    def reader(self, name: str = "reader") -> Reader:
        return Reader(self, name)


class Reader:
    """lab_reader.py at "home", fresh."""

    def __init__(self, place: Place, name: str) -> None:
        folder = place.network.folder / name
        folder.mkdir()
        source = ",".join(mirror.url.rstrip("/") for mirror in place.mirrors)
        self._process = place.network.start(
            "home",
            [sys.executable, lab_reader.__file__, source, "disk", place.made[1], folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._line() == {"ready": True}

    def begin(self, *words: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write((" ".join(map(str, words)) + "\n").encode())
        self._process.stdin.flush()

    def done(self) -> dict[str, Any]:
        return self._line()

    def does(self, *words: object) -> dict[str, Any]:
        self.begin(*words)
        return self.done()

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found

    def close(self) -> None:
        self.begin("end")
        self._process.wait(20)


@pytest.fixture
def network(machine: None, need: Any) -> Iterator[Network]:
    need("root", "nginx", "ip", "nsenter")
    with Network(SITES) as network:
        yield network


def at(waits: list[float], share: float) -> float:
    return sorted(waits)[int(share * len(waits))]


CONTROL = """
import http.client, sys, time
connection = http.client.HTTPConnection(sys.argv[1])
waits = []
for _ in range(30):
    begun = time.monotonic()
    connection.request("GET", sys.argv[2])
    connection.getresponse().read()
    waits.append(time.monotonic() - begun)
print(sorted(waits)[15])
"""


def test_random_reads_take_a_round_trip_and_no_slow_mirror_shows(network: Network, made: tuple[Path, str]) -> None:
    """The goals hold where plain HTTP beside them is as fast as the line: else this machine is too busy to say."""
    place = Place(network, made, (40, 40, 40))
    reader = place.reader()
    files = [path for path in (made[0] / "blocks").rglob("?" * 64)]
    transfer = sum(path.stat().st_size for path in files) / BLOCKS * 8 / (RATE * 1e6)

    def plain() -> float:
        words = [network.addresses["one"][0], f"/blocks/{files[0].parent.name}/{files[0].name}"]
        return float(network.run("home", [sys.executable, "-c", CONTROL, *words]).stdout)

    hedges, reads, rounds = 0, 0, []
    for _ in range(3):
        control = plain()
        healthy = reader.does("random", 100)
        slowest = next(mirror for mirror in place.mirrors if mirror.url.rstrip("/").endswith(healthy["favourite"]))
        network.path("home", slowest.site, rtt=800)
        slow = reader.does("random", 100)
        network.path("home", slowest.site, rtt=40)
        control = max(control, plain())
        hedges, reads = hedges + healthy["hedges"] + slow["hedges"], reads + 200
        served = slow["mirrors"][healthy["favourite"]] - healthy["mirrors"][healthy["favourite"]]
        assert served <= 10, "the slow one is left"
        p50, p99, p99_slow = at(healthy["waits"], 0.5), at(healthy["waits"], 0.99), at(slow["waits"], 0.99)
        quiet = control <= 0.04 + transfer + 0.004
        rounds.append((round(control, 4), round(p50, 4), round(p99, 4), round(p99_slow, 4), quiet))
        if good := p50 <= 1.3 * 0.04 + transfer and p99_slow <= 2 * p99 and max(slow["waits"]) < 1.0:
            break
    reader.close()
    print("plain HTTP, p50, p99, p99 with one 20 times slower, quiet:", rounds, "hedges", hedges, "of", reads)
    assert hedges <= 0.05 * reads + HEDGE_BURST
    assert good or not any(quiet for *_, quiet in rounds)


@pytest.mark.parametrize(
    ("what", "end"), [("random", "black hole"), ("order", "killed"), ("order", "black hole"), ("order", "frozen")]
)
def test_the_mirror_in_use_ends_in_mid_read(network: Network, made: tuple[Path, str], what: str, end: str) -> None:
    place = Place(network, made, (10, 40, 90))
    words = ("random", 60) if what == "random" else ("order", 300, 131072)
    rounds = []
    for number in range(ROUNDS):
        before, after = one_end(place, f"reader{number}", words, end)
        print(f"{what}, {end}: longest {max(before['waits']):.3f} s before, {max(after['waits']):.3f} s with it")
        print(before["mirrors"], after["mirrors"], after["blames"])
        assert any(after["mirrors"][name] > before["mirrors"][name] for name in list(after["mirrors"])[1:])
        load = max(0.0, max(before["waits"]) - 0.1)  # what this machine adds to an undisturbed read
        rounds.append((max(after["waits"]), 0.5 + load))
        if max(after["waits"]) <= 0.5 + load:
            return
    pytest.fail(f"longest read, and what it may take: {rounds}")


def one_end(place: Place, name: str, words: tuple[object, ...], end: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a fresh reader tells before and while the mirror that it uses ends, which is then as it was again."""
    reader = place.reader(name)
    before = reader.does(*words)
    reader.begin(*words)
    time.sleep(0.4)
    used = place.mirrors[0]
    {"killed": used.stop, "black hole": used.cut, "frozen": used.freeze}[end]()
    after = reader.done()
    reader.close()
    {"killed": used.start, "black hole": lambda: used.cut(False), "frozen": used.thaw}[end]()
    return before, after


def test_a_family_that_leads_nowhere_costs_a_quarter_of_a_second_once(network: Network, made: tuple[Path, str]) -> None:
    """Happy eyeballs (RFC 8305): the IPv6 address is a site's that is cut, the IPv4 address the mirror's."""
    place = Place(network, made, (40, 40, 40))
    network.path("home", "three", cut=True)
    block = next(path for path in (made[0] / "blocks").rglob("?" * 64))
    program = Path(lab_addresses.__file__)
    path = f"blocks/{block.parent.name}/{block.name}"
    words = [str(block.stat().st_size), path, "2001:db8:4::1", "198.18.2.1"]
    done = network.run("home", [sys.executable, program, place.mirrors[0].url.rstrip("/"), *words])
    assert done.returncode == 0, done.stderr
    first, *others = json.loads(done.stdout)
    print(f"connecting: first {first:.3f} s, then {min(others):.3f} to {max(others):.3f} s")
    assert 0.25 <= first <= 2.5, "before a connection attempt is given up, which is after 3 s"
    assert len(others) == 8 and min(others) < 0.25, "each a connection of its own, and the good address first"
