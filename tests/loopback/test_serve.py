"""`mirrornet serve` as an operator runs it: a process, real mirrors, dig and dnspython, signals."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

from mirrornet.image.keys import keygen
from mirrornet.image.publish import publish

TREE = Path(__file__).resolve().parents[2]
MIRRORNET = [sys.executable, "-c", "import sys; from mirrornet.cli import main; sys.exit(main())"]
STATIC = TREE / "scripts" / "demo" / "static_server.py"
ADDRESSES = {"tokyo": "127.0.0.41", "paris": "127.0.0.42"}
TOKYO, FRANKFURT, NOWHERE = "203.178.136.36", "2.160.1.1", "192.0.2.1"
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
health: {{interval: 200ms, timeout: 150ms, up: 2, ok: 2, down: 2, probe: block}}
mirrors:
  tokyo: {{url: "http://tokyo.serve.test:{mirrors}/", addresses: [127.0.0.41], place: {{country: JP}}}}
  paris: {{url: "http://paris.serve.test:{mirrors}/", addresses: [127.0.0.42], place: {{country: FR}}}}
server: {{listen: ["127.0.0.1:{dns}"], http: "127.0.0.1:{http}", workers: 2, nsid: here}}
"""


def wait_for(condition: Callable[[], object], what: str, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


class Place:
    """A copy of that folder with a zone file; processes end with the test."""

    def __init__(self, folder: Path, free_port: Callable[[], int]) -> None:
        self.folder = folder
        self.ports = {"dns": free_port(), "http": free_port(), "mirrors": free_port()}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.zone = folder / "zone.yaml"
        self.write_zone(ZONE)

    def write_zone(self, text: str) -> None:
        self.zone.write_text(text.format(**self.ports))

    def run(self, *words: str, code: int = 0) -> str:
        done = subprocess.run(
            [*MIRRORNET, *words], cwd=self.folder, capture_output=True, text=True, timeout=60, check=False
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
        return process.wait(15)

    def http(self, path: str) -> tuple[int, bytes]:
        return _fetch(f"http://127.0.0.1:{self.ports['http']}/{path}")

    def ask(self, name: str, rdtype: str, client: str = NOWHERE, tcp: bool = False) -> dns.message.Message:
        query = dns.message.make_query(name, rdtype, use_edns=0, options=[dns.edns.ECSOption(client, 24)])
        over = dns.query.tcp if tcp else dns.query.udp
        return over(query, "127.0.0.1", timeout=5, port=self.ports["dns"])

    def addresses(self, client: str) -> list[str]:
        answer = self.ask("select.serve.test", "A", client).answer
        return [str(record) for rrset in answer for record in rrset]


def _fetch(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""


@pytest.fixture(scope="module")
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
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Place]:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    place = Place(tmp_path, free_port)
    yield place
    for process in place.processes.values():
        process.terminate()
    for process in place.processes.values():
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


@pytest.fixture
def running(place: Place) -> Place:
    place.mirror("tokyo", "paris")
    place.serve()
    return place


def test_nearest_first_for_everybody_and_why(running: Place) -> None:
    assert running.addresses(TOKYO) == ["127.0.0.41"]
    assert running.addresses(FRANKFURT) == ["127.0.0.42"]
    assert sorted(running.addresses(NOWHERE)) == ["127.0.0.41", "127.0.0.42"]
    ranked = running.ask("_http._tcp.select.serve.test", "URI", TOKYO).answer[0]
    targets = [record.target.decode() for record in sorted(ranked, key=lambda record: record.priority)]
    port = running.ports["mirrors"]
    assert targets == [f"http://tokyo.serve.test:{port}/#tokyo", f"http://paris.serve.test:{port}/#paris"]
    told = running.run("explain", "zone.yaml", TOKYO, "--state", "state")
    assert "AS2500" in told
    assert "203.178.128.0/17" in told
    as_json = json.loads(running.run("explain", "zone.yaml", TOKYO, "--state", "state", "--json"))
    assert json.dumps(as_json).count("tokyo") > 0


def test_udp_tcp_static_records_and_what_is_not_there(running: Place) -> None:
    for tcp in (False, True):
        answer = running.ask("select.serve.test", "A", TOKYO, tcp)
        assert answer.flags & dns.flags.AA
        assert not answer.flags & dns.flags.RA
        assert answer.rcode() == dns.rcode.NOERROR
        assert running.ask("nothing.serve.test", "A", tcp=tcp).rcode() == dns.rcode.NXDOMAIN
        assert running.ask("elsewhere.test", "A", tcp=tcp).rcode() == dns.rcode.REFUSED
    assert "mail.example." in str(running.ask("serve.test", "MX").answer[0])
    assert str(running.ask("www.serve.test", "CNAME").answer[0][0]) == "select.serve.test."
    assert running.ask("_tcp.select.serve.test", "A").rcode() == dns.rcode.NOERROR
    assert running.ask("serve.test", "SOA").answer[0][0].serial == 7


def test_dig_agrees(running: Place, need: Callable[..., None]) -> None:
    need("dig")
    port = str(running.ports["dns"])
    command = ["dig", "@127.0.0.1", "-p", port, "select.serve.test", "+subnet=203.178.136.0/24", "+nsid", "+norecurse"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=15, check=True).stdout
    assert "127.0.0.41" in told
    assert "CLIENT-SUBNET: 203.178.136.0/24/" in told
    assert '("here")' in told
    assert "WARNING" not in told


def test_a_dead_mirror_leaves_within_the_promise_and_returns(running: Place) -> None:
    ttl = running.ask("select.serve.test", "A", TOKYO).answer[0].ttl
    assert 1 <= ttl <= 5
    running.kill("tokyo")
    dead = time.monotonic()
    wait_for(lambda: running.addresses(TOKYO) == ["127.0.0.42"], "tokyo to leave", 5)
    assert time.monotonic() - dead < 2 * (0.2 + 0.15) + 2
    status = json.loads(running.http("status.json")[1])
    states = {mirror["name"]: mirror["state"] for zone in status["zones"] for mirror in zone["mirrors"]}
    assert states == {"tokyo": "down", "paris": "up"}
    running.mirror("tokyo")
    wait_for(lambda: running.addresses(TOKYO) == ["127.0.0.41"], "tokyo to return", 5)


def test_all_down_fails_open_with_the_shortest_ttl(running: Place) -> None:
    running.kill("tokyo")
    running.kill("paris")

    def both_down() -> bool:
        zones = json.loads(running.http("status.json")[1])["zones"]
        return all(mirror["state"] == "down" for zone in zones for mirror in zone["mirrors"])

    wait_for(both_down, "both mirrors to be down")
    wait_for(lambda: running.ask("select.serve.test", "A", TOKYO).answer[0].ttl == 1, "the shortest TTL")
    assert running.addresses(TOKYO) == ["127.0.0.41"]


def test_a_corrupt_mirror_is_named_and_left_out(running: Place) -> None:
    for block in (running.folder / "tokyo" / "blocks").rglob("*"):
        if block.is_file():
            block.write_bytes(b"\0" + block.read_bytes()[1:])
    wait_for(lambda: running.addresses(TOKYO) == ["127.0.0.42"], "the liar to leave", 8)
    verdicts = json.loads((running.folder / "state" / "verdicts.json").read_text())
    assert verdicts["serve.test"]["tokyo"]["state"] == "corrupt"
    assert b'mirrornet_mirror_up{mirror="tokyo",zone="serve.test"} 0.0' in running.http("metrics")[1]


def test_reload_takes_a_sound_file_and_refuses_a_faulty_one(running: Place) -> None:
    running.write_zone(ZONE.replace("serial: 7", "serial: 8"))
    running.processes["serve"].send_signal(signal.SIGHUP)
    wait_for(lambda: running.ask("serve.test", "SOA").answer[0][0].serial == 8, "the new serial")
    running.write_zone(ZONE.replace("serial: 7", "serial: nine"))
    running.processes["serve"].send_signal(signal.SIGHUP)
    wait_for(lambda: "reload refused" in running.log(), "the refusal")
    assert "zone.yaml:4" in running.log()
    assert running.ask("serve.test", "SOA").answer[0][0].serial == 8


def test_the_reference_engine_gives_the_same(place: Place) -> None:
    place.mirror("tokyo", "paris")
    place.serve("--engine", "reference")
    assert place.addresses(TOKYO) == ["127.0.0.41"]
    assert place.addresses(FRANKFURT) == ["127.0.0.42"]
    assert place.ask("nothing.serve.test", "A", tcp=True).rcode() == dns.rcode.NXDOMAIN


def test_sigterm_ends_everything_and_says_nothing_ugly(running: Place) -> None:
    children = Path(
        f"/proc/{running.processes['serve'].pid}/task/{running.processes['serve'].pid}/children"
    ).read_text()
    assert len(children.split()) >= 2
    assert running.kill("serve", signal.SIGTERM) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in children.split())
    assert "Traceback" not in running.log()


def test_a_port_in_use_is_one_clear_line(running: Place) -> None:
    told = running.run("serve", "zone.yaml", "--state", "state2", code=1)
    line = told.strip().splitlines()[-1]
    assert f"port {running.ports['dns']}" in line
    assert "another program has it" in line
