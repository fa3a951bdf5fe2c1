"""`mirrornet serve` as an operator runs it, for every test of this folder: real mirrors, a process, signals."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import dns.edns
import dns.message
import dns.query
import pytest
from board import Board
from probed import Network, Watch, served, watching
from waiting import PATIENCE

from mirrornet.image.publishing.publish import publish
from mirrornet.image.trust.keys import keygen

TREE = Path(__file__).resolve().parents[2]
MIRRORNET = [sys.executable, "-c", "import sys; from mirrornet.cli import main; sys.exit(main())"]
STATIC = TREE / "scripts" / "demo" / "static_server.py"
ADDRESSES = {"tokyo": "127.0.0.41", "paris": "127.0.0.42"}
ZONE = """
zone: serve.test
contact: hostmaster@serve.test
serial: 7
nameservers: {{ns1.serve.test: [127.0.0.1]}}
world: world.table
records: static.zone
repository: {{root: root.json, images: [tiny]}}
select:
  - {{name: select, url: "http://select.serve.test:{mirrors}/", ttl: 5}}
health: {{interval: 500ms, timeout: 450ms, up: 2, ok: 2, down: 2, probe: block}}
mirrors:
  tokyo: {{url: "http://tokyo.serve.test:{mirrors}/", addresses: [127.0.0.41], place: {{country: JP}}}}
  paris: {{url: "http://paris.serve.test:{mirrors}/", addresses: [127.0.0.42], place: {{country: FR}}}}
server: {{listen: ["127.0.0.1:{dns}"], http: "127.0.0.1:{http}", workers: 2, nsid: here}}
"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


class Place:
    """A copy of the folder `made` with a zone file; processes end with the test."""

    ZONE, TREE = ZONE, TREE
    TOKYO, FRANKFURT, NOWHERE = "203.178.136.36", "2.160.1.1", "192.0.2.1"  # clients
    wait_for = staticmethod(wait_for)

    def __init__(self, folder: Path, free_port: Callable[[], int]) -> None:
        self.folder = folder
        self.ports = {"dns": free_port(), "http": free_port(), "mirrors": free_port()}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.zone = folder / "zone.yaml"
        self.write_zone(ZONE)

    def write_zone(self, text: str) -> None:
        """By rename, as editors and copying programs do."""
        new = self.zone.with_name("zone.yaml.new")
        new.write_text(text.format(**self.ports))
        new.rename(self.zone)

    def run(self, *words: str, code: int = 0) -> str:
        done = subprocess.run(
            [*MIRRORNET, *words], cwd=self.folder, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    def start(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)

    def mirror(self, *names: str) -> None:
        port = str(self.ports["mirrors"])
        for name in names:
            self.start(name, sys.executable, str(STATIC), str(self.folder / name), ADDRESSES[name], port)
        for name in names:
            url = f"http://{ADDRESSES[name]}:{port}/metadata/timestamp.json"
            wait_for(lambda url=url: _fetch(url)[0] == 200, f"{name} to serve")

    def serve(self, *options: str) -> None:
        self.start("serve", *MIRRORNET, "serve", "zone.yaml", "--state", "state", *options)
        wait_for(
            lambda: self.http("healthz")[0] == 200 or self.processes["serve"].poll() is not None, "the name server"
        )
        assert self.processes["serve"].poll() is None, self.log()

    def log(self) -> str:
        return (self.folder / "serve.log").read_text()

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        process = self.processes.pop(name)
        process.send_signal(number)
        return process.wait(PATIENCE)

    def http(self, path: str) -> tuple[int, bytes]:
        return _fetch(f"http://127.0.0.1:{self.ports['http']}/{path}")

    def ask(self, name: str, rdtype: str, client: str = "192.0.2.1", tcp: bool = False) -> dns.message.Message:
        query = dns.message.make_query(name, rdtype, use_edns=0, options=[dns.edns.ECSOption(client, 24)])
        over = dns.query.tcp if tcp else dns.query.udp
        return over(query, "127.0.0.1", timeout=30, port=self.ports["dns"])

    def addresses(self, client: str) -> list[str]:
        answer = self.ask("select.serve.test", "A", client).answer
        return [str(record) for rrset in answer for record in rrset]


def _fetch(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a published image on two mirrors, a root.json, static records and a world.table."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "image").write_bytes(os.urandom(1 << 20))
    keygen(folder / "keys", passphrase=None)
    publish(folder / "image", "tiny", folder / "tokyo", folder / "keys", now=time.time())
    shutil.copytree(folder / "tokyo", folder / "paris")
    shutil.copyfile(folder / "keys" / "root.json", folder / "root.json")
    (folder / "static.zone").write_text("www IN CNAME select\n@ IN MX 10 mail.example.\n")
    demo = TREE / "zones" / "demo"
    statistics = ("--delegated", str(demo / "delegated.txt"))
    command = [*MIRRORNET, "import-radb", str(demo / "routes.db"), *statistics, "--out", str(folder / "world.table")]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return folder


@contextlib.contextmanager
def _ending(place: Place) -> Iterator[Place]:
    yield place
    for process in place.processes.values():
        process.terminate()
    for process in place.processes.values():
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(PATIENCE)


@pytest.fixture
def place(made: Path, tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Place]:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    with _ending(Place(tmp_path, free_port)) as place:
        yield place


@pytest.fixture
def running(place: Place) -> Place:
    place.mirror("tokyo", "paris")
    place.serve()
    return place


@pytest.fixture(scope="module")
def standing(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("standing")
    shutil.copytree(made, folder, dirs_exist_ok=True)
    with _ending(Place(folder, _free_port)) as place:
        yield place


@pytest.fixture
def steady(standing: Place, made: Path) -> Place:
    """A server that other tests have used before, brought back to where `running` begins; its log begins anew."""
    for name in ("static.zone", "world.table"):
        shutil.copyfile(made / name, standing.folder / name)
    standing.write_zone(ZONE)
    standing.mirror(*(name for name in ADDRESSES if name not in standing.processes))
    if "serve" not in standing.processes:
        standing.serve()
    os.truncate(standing.folder / "serve.log", 0)
    standing.processes["serve"].send_signal(signal.SIGHUP)
    wait_for(lambda: "reloaded" in standing.log(), "the files to be as they were")
    wait_for(lambda: standing.addresses(Place.TOKYO) == ["127.0.0.41"], "tokyo")
    wait_for(lambda: standing.addresses(Place.FRANKFURT) == ["127.0.0.42"], "paris")
    os.truncate(standing.folder / "serve.log", 0)
    return standing


@pytest.fixture
def board(tmp_path: Path, free_port: Callable[[], int], need: Callable[..., None]) -> Iterator[Board]:
    """A Redis of the test's own, running."""
    need("redis-server", "redis-cli")
    board = Board(tmp_path, free_port())
    board.start()
    yield board
    board.stop()


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    """Three mirrors for the probes of a monitor, with no server."""
    async with served(tmp_path) as built:
        yield built


@pytest.fixture
async def watch(network: Network, expected_warnings: list[str]) -> AsyncIterator[Watch]:
    """watch(zone): a monitor of it that runs."""
    expected_warnings.append(": mirror ")
    async with watching(network.state) as start:
        yield start
