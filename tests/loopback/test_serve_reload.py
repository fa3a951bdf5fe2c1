"""A running server and its files: what is picked up, what is refused, what a full disk does, and no query is lost.

The stream below sends one query after another, up to a bound, over one socket: a reply that does not come within two
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
            sock.settimeout(2)
            while self.sent < self.bound and not self.enough.is_set():
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
        self.join(10)
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


def test_a_flip_an_edit_a_table_and_a_hangup_lose_no_query(running: Any, made: Path) -> None:
    stream = Stream(running.ports["dns"])
    stream.start()
    # A zone edit, noticed without being told.
    running.write_zone(running.ZONE.replace("serial: 7", "serial: 8"))
    running.wait_for(lambda: serial(running) == 8, "the edit to be noticed")
    # A new world.table, by rename, in which the Japanese client is in France.
    statistics = (running.TREE / "zones" / "demo" / "delegated.txt").read_text().replace("|JP|", "|FR|")
    (running.folder / "moved.txt").write_text(statistics)
    routes = str(running.TREE / "zones" / "demo" / "routes.db")
    running.run("import-radb", routes, "--delegated", "moved.txt", "--out", "world.table")
    running.wait_for(lambda: running.addresses(running.TOKYO) == ["127.0.0.42"], "the new table")
    # The old table again, copied over it in place, as `cp` does it.
    shutil.copyfile(made / "world.table", running.folder / "world.table")
    running.wait_for(lambda: running.addresses(running.TOKYO) == ["127.0.0.41"], "the old table")
    # A verdict flips, and back.
    running.kill("tokyo")
    running.wait_for(lambda: running.addresses(running.TOKYO) == ["127.0.0.42"], "tokyo to leave")
    running.mirror("tokyo")
    running.wait_for(lambda: running.addresses(running.TOKYO) == ["127.0.0.41"], "tokyo to return")
    # A signal, with an edit that has had no time to rest.
    running.write_zone(running.ZONE.replace("serial: 7", "serial: 9"))
    running.processes["serve"].send_signal(signal.SIGHUP)
    running.wait_for(lambda: serial(running) == 9, "the signal to be heard")
    assert stream.end() == (0, 0)
    assert "Traceback" not in running.log()
    assert status(running)["counters"]["restarts"] == 0


def test_a_faulty_edit_is_told_once_and_mended_without_a_word(running: Any) -> None:
    running.write_zone(running.ZONE.replace("serial: 7", "serial: nine"))
    running.wait_for(lambda: "reload refused" in running.log(), "the refusal")
    assert "zone.yaml:4" in running.log()
    (running.folder / "static.zone").write_text("www IN A 192.0.2.1\nwww IN A 300.1.1.1\n")
    running.write_zone(running.ZONE.replace("serial: 7", "serial: 8"))
    running.wait_for(lambda: "static.zone:2" in running.log(), "the fault in the records file")
    told = running.log().count("reload refused")
    assert serial(running) == 7
    assert str(running.ask("www.serve.test", "CNAME").answer[0][0]) == "select.serve.test."
    (running.folder / "static.zone").unlink()
    running.wait_for(lambda: running.log().count("reload refused") > told, "the missing file to be told")
    (running.folder / "static.zone").write_text("www IN A 192.0.2.1\n")
    running.wait_for(lambda: serial(running) == 8, "the mended files")
    assert str(running.ask("www.serve.test", "A").answer[0][0]) == "192.0.2.1"
    assert running.log().count("reload refused") == told + 1


def test_a_damaged_table_keeps_the_old_one(running: Any) -> None:
    table = running.folder / "world.table"
    table.write_bytes(table.read_bytes()[:-100])
    running.wait_for(lambda: "reload refused" in running.log(), "the refusal")
    assert "world.table" in running.log()
    assert running.addresses(running.TOKYO) == ["127.0.0.41"]


def test_mirrors_that_stay_keep_their_memory_and_new_ones_are_probed_first(running: Any) -> None:
    running.kill("paris")
    running.wait_for(lambda: mirrors(running)["paris"]["state"] == "down", "paris to be down")
    before = mirrors(running)
    running.write_zone(running.ZONE.replace("server:", OSAKA + "server:"))
    running.processes["serve"].send_signal(signal.SIGHUP)
    running.wait_for(lambda: "osaka" in mirrors(running), "the new mirror")
    after = mirrors(running)
    assert after["osaka"]["state"] == "up"
    assert after["paris"]["state"] == "down"
    assert after["paris"]["since"] == before["paris"]["since"]
    assert after["tokyo"]["since"] == before["tokyo"]["since"]
    assert after["tokyo"]["flips"] == before["tokyo"]["flips"]
    running.mirror("paris")
    running.wait_for(lambda: mirrors(running)["paris"]["state"] == "up", "paris to be watched still")


def test_what_only_a_start_can_change_is_said(running: Any) -> None:
    running.write_zone(running.ZONE.replace("workers: 2", "workers: 1").replace("serial: 7", "serial: 8"))
    running.wait_for(lambda: serial(running) == 8, "the rest of the edit")
    running.wait_for(lambda: "takes effect when the server is started anew" in running.log(), "the hint")
    lines = [line for line in running.log().splitlines() if "started anew" in line]
    assert len(lines) == 1
    assert "server: workers:" in lines[0]
    assert status(running)["counters"]["workers"] == 2


def test_a_state_folder_serves_one_server(running: Any) -> None:
    running.zone.with_name("other.yaml").write_text(
        running.zone.read_text().replace(f":{running.ports['dns']}", ":0").replace(f":{running.ports['http']}", ":0")
    )
    told = running.run("serve", "other.yaml", "--state", "state", code=1).strip().splitlines()
    assert len(told) == 1
    assert f"process {running.processes['serve'].pid}" in told[0]
    assert "--state" in told[0]
    assert running.addresses(running.TOKYO) == ["127.0.0.41"]
    running.kill("serve")  # SIGKILL leaves the file, and not the lock
    running.serve()
    running.wait_for(lambda: running.addresses(running.TOKYO) == ["127.0.0.41"], "the next server")


@pytest.fixture
def small_disk(place: Any, need: Callable[..., None]) -> Iterator[Path]:
    """The state folder on a file system of its own, of 8 MiB."""
    need("root", "mount", "umount")
    state: Path = place.folder / "state"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(state)], check=True, timeout=10)
    yield state
    for name in list(place.processes):
        place.kill(name, signal.SIGTERM)
    subprocess.run(["umount", str(state)], check=True, timeout=10)


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
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True, timeout=10)
    told = place.run("serve", "zone.yaml", "--state", "state", code=1).strip().splitlines()
    assert len(told) == 1
    assert "state" in told[0]
    assert "Read-only file system: the state folder must be writable" in told[0]
