"""A running server and its files: what is picked up, what is refused, what a full disk does, and no query is lost.

The stream below sends one query after another, up to a bound, over one socket: a reply that does not come within 30
seconds counts as lost, and one that is not a whole answer as wrong.
"""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dns.message
import dns.rcode
import pytest

OSAKA = '  osaka: {{url: "http://osaka.serve.test:{mirrors}/", addresses: [127.0.0.41], place: {{country: JP}}}}\n'


PACE = 0.001  # seconds between two queries; without it a slow minute would use up the bound


class Stream(threading.Thread):
    """Queries until told to stop, at most `bound` of them."""

    def __init__(self, port: int, bound: int = 60_000) -> None:
        super().__init__(daemon=True)
        self.port, self.bound = port, bound
        self.sent = self.lost = self.wrong = 0
        self.enough = threading.Event()

    def run(self) -> None:
        query = bytearray(dns.message.make_query("select.serve.test", "A").to_wire())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(("127.0.0.1", self.port))
            sock.settimeout(30)
            while self.sent < self.bound and not self.enough.wait(PACE):
                self.sent += 1
                query[:2] = (self.sent & 0xFFFF).to_bytes(2, "big")
                try:
                    sock.send(query)
                    reply = sock.recv(4096)
                except OSError:
                    self.lost += 1
                    continue
                told = dns.message.from_wire(reply)
                if reply[:2] != query[:2] or told.rcode() != dns.rcode.NOERROR or not told.answer:
                    self.wrong += 1

    def end(self) -> tuple[int, int]:
        """(lost, wrong), after a last query."""
        self.enough.set()
        self.join(60)
        assert 100 < self.sent < self.bound, self.sent
        return self.lost, self.wrong


def status(place: Any) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(place.http("status.json")[1])
    return told


def mirrors(place: Any) -> dict[str, dict[str, Any]]:
    return {mirror["name"]: mirror for zone in status(place)["zones"] for mirror in zone["mirrors"]}


def serial(place: Any) -> int:
    number: int = place.ask("serve.test", "SOA").answer[0][0].serial
    return number


def test_a_flip_an_edit_a_table_and_a_hangup_lose_no_query(steady: Any, made: Path) -> None:
    stream = Stream(steady.ports["dns"])
    stream.start()
    # A zone edit, noticed without being told.
    steady.write_zone(steady.ZONE.replace("serial: 7", "serial: 8"))
    steady.wait_for(lambda: serial(steady) == 8, "the edit to be noticed")
    # A new world.table, by rename, in which the Japanese client is in France.
    statistics = (steady.TREE / "zones" / "demo" / "delegated.txt").read_text().replace("|JP|", "|FR|")
    (steady.folder / "moved.txt").write_text(statistics)
    routes = str(steady.TREE / "zones" / "demo" / "routes.db")
    steady.run("import-radb", routes, "--delegated", "moved.txt", "--out", "world.table")
    steady.wait_for(lambda: steady.addresses(steady.TOKYO) == ["127.0.0.42"], "the new table")
    # The old table again, copied over it in place, as `cp` does it.
    shutil.copyfile(made / "world.table", steady.folder / "world.table")
    steady.wait_for(lambda: steady.addresses(steady.TOKYO) == ["127.0.0.41"], "the old table")
    # A verdict flips, and back.
    steady.kill("tokyo")
    steady.wait_for(lambda: steady.addresses(steady.TOKYO) == ["127.0.0.42"], "tokyo to leave")
    steady.mirror("tokyo")
    steady.wait_for(lambda: steady.addresses(steady.TOKYO) == ["127.0.0.41"], "tokyo to return")
    # A signal, with an edit that has had no time to rest.
    steady.write_zone(steady.ZONE.replace("serial: 7", "serial: 9"))
    steady.processes["serve"].send_signal(signal.SIGHUP)
    steady.wait_for(lambda: serial(steady) == 9, "the signal to be heard")
    assert stream.end() == (0, 0)
    assert "Traceback" not in steady.log()
    assert status(steady)["counters"]["restarts"] == 0


def test_a_faulty_edit_is_told_once_and_mended_without_a_word(steady: Any) -> None:
    steady.write_zone(steady.ZONE.replace("serial: 7", "serial: nine"))
    steady.wait_for(lambda: "reload refused" in steady.log(), "the refusal")
    assert "zone.yaml:4" in steady.log()
    (steady.folder / "static.zone").write_text("www IN A 192.0.2.1\nwww IN A 300.1.1.1\n")
    steady.write_zone(steady.ZONE.replace("serial: 7", "serial: 8"))
    steady.wait_for(lambda: "static.zone:2" in steady.log(), "the fault in the records file")
    told = steady.log().count("reload refused")
    assert serial(steady) == 7
    assert str(steady.ask("www.serve.test", "CNAME").answer[0][0]) == "select.serve.test."
    (steady.folder / "static.zone").unlink()
    steady.wait_for(lambda: steady.log().count("reload refused") > told, "the missing file to be told")
    (steady.folder / "static.zone").write_text("www IN A 192.0.2.1\n")
    steady.wait_for(lambda: serial(steady) == 8, "the mended files")
    assert str(steady.ask("www.serve.test", "A").answer[0][0]) == "192.0.2.1"
    assert steady.log().count("reload refused") == told + 1


def test_a_table_that_is_damaged_or_gone_keeps_the_old_one(steady: Any) -> None:
    table = steady.folder / "world.table"
    table.write_bytes(table.read_bytes()[:-100])
    steady.wait_for(lambda: "reload refused" in steady.log(), "the refusal")
    assert "world.table" in steady.log()
    table.unlink()
    steady.wait_for(lambda: "there is no such file any more" in steady.log(), "the second refusal")
    assert steady.addresses(steady.TOKYO) == ["127.0.0.41"]


def test_mirrors_that_stay_keep_their_memory_and_new_ones_are_probed_first(steady: Any) -> None:
    steady.kill("paris")
    steady.wait_for(lambda: mirrors(steady)["paris"]["state"] == "down", "paris to be down")
    before = mirrors(steady)
    steady.write_zone(steady.ZONE.replace("server:", OSAKA + "server:"))
    steady.processes["serve"].send_signal(signal.SIGHUP)
    steady.wait_for(lambda: "osaka" in mirrors(steady), "the new mirror")
    after = mirrors(steady)
    assert after["osaka"]["state"] == "up"
    assert after["paris"]["state"] == "down"
    assert after["paris"]["since"] == before["paris"]["since"]
    assert after["tokyo"]["since"] == before["tokyo"]["since"]
    assert after["tokyo"]["flips"] == before["tokyo"]["flips"]
    steady.mirror("paris")
    steady.wait_for(lambda: mirrors(steady)["paris"]["state"] == "up", "paris to be watched still")


def test_what_only_a_start_can_change_is_said(steady: Any) -> None:
    steady.write_zone(steady.ZONE.replace("workers: 2", "workers: 1").replace("serial: 7", "serial: 8"))
    steady.wait_for(lambda: serial(steady) == 8, "the rest of the edit")
    steady.wait_for(lambda: "takes effect when the server is started anew" in steady.log(), "the hint")
    lines = [line for line in steady.log().splitlines() if "started anew" in line]
    assert len(lines) == 1
    assert "server: workers:" in lines[0]
    assert status(steady)["counters"]["workers"] == 2


def test_a_state_folder_serves_one_server(steady: Any) -> None:
    steady.zone.with_name("other.yaml").write_text(
        steady.zone.read_text().replace(f":{steady.ports['dns']}", ":0").replace(f":{steady.ports['http']}", ":0")
    )
    told = steady.run("serve", "other.yaml", "--state", "state", code=1).strip().splitlines()
    assert len(told) == 1
    assert f"process {steady.processes['serve'].pid}" in told[0]
    assert "--state" in told[0]
    assert steady.addresses(steady.TOKYO) == ["127.0.0.41"]
    steady.kill("serve")  # SIGKILL leaves the file, and not the lock
    steady.serve()
    steady.wait_for(lambda: steady.addresses(steady.TOKYO) == ["127.0.0.41"], "the next server")


@pytest.fixture
def small_disk(place: Any, need: Callable[..., None]) -> Iterator[Path]:
    """The state folder on a file system of its own, of 8 MiB."""
    need("root", "mount", "umount")
    state: Path = place.folder / "state"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(state)], check=True, timeout=60)
    yield state
    for name in list(place.processes):
        place.kill(name, signal.SIGTERM)
    subprocess.run(["umount", str(state)], check=True, timeout=60)


def test_a_full_disk_leaves_the_last_plan_and_is_told_once(place: Any, small_disk: Path) -> None:
    place.mirror("tokyo", "paris")
    place.serve()
    generation = status(place)["plan"]["generation"]
    with (small_disk / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError, match="No space"):
        while True:
            filler.write(bytes(4096))
    place.kill("tokyo")
    place.wait_for(lambda: "no new plan, the last one stays in force" in place.log(), "the complaint")
    place.wait_for(lambda: mirrors(place)["tokyo"]["state"] == "down", "the verdict")
    place.write_zone(place.ZONE.replace("serial: 7", "serial: 8"))
    place.wait_for(lambda: "reload refused" in place.log(), "the reload to fail")
    stream = Stream(place.ports["dns"])
    stream.start()
    place.wait_for(lambda: stream.sent > 2000, "some queries")
    assert stream.end() == (0, 0)
    assert place.addresses(place.TOKYO) == ["127.0.0.41"]
    assert status(place)["plan"]["generation"] == generation
    for once in ("no new plan", "reload refused", "verdicts will not survive a restart"):
        assert place.log().count(once) == 1, place.log()
    assert not list(small_disk.glob(".plan*"))
    (small_disk / "filler").unlink()
    place.wait_for(lambda: place.addresses(place.TOKYO) == ["127.0.0.42"], "the plan after the disk has room")
    place.wait_for(lambda: serial(place) == 8, "the reload after the disk has room")
    assert "a new plan is in force again" in place.log() or "the files are in force again" in place.log()
    assert status(place)["counters"]["restarts"] == 0


def test_a_read_only_state_folder_is_one_clear_line(place: Any, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True, timeout=60)
    told = place.run("serve", "zone.yaml", "--state", "state", code=1).strip().splitlines()
    assert len(told) == 1
    assert "state" in told[0]
    assert "Read-only file system: the state folder must be writable" in told[0]
