"""`mirrornet serve` as an operator runs it: a process, real mirrors, dig and dnspython, signals."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dns.flags
import dns.rcode


def test_nearest_first_for_everybody_and_why(steady: Any) -> None:
    assert steady.addresses(steady.TOKYO) == ["127.0.0.41"]
    assert steady.addresses(steady.FRANKFURT) == ["127.0.0.42"]
    assert sorted(steady.addresses(steady.NOWHERE)) == ["127.0.0.41", "127.0.0.42"]
    ranked = steady.ask("_http._tcp.select.serve.test", "URI", steady.TOKYO).answer[0]
    targets = [record.target.decode() for record in sorted(ranked, key=lambda record: record.priority)]
    port = steady.ports["mirrors"]
    assert targets == [f"http://tokyo.serve.test:{port}/#tokyo", f"http://paris.serve.test:{port}/#paris"]
    told = steady.run("explain", "zone.yaml", steady.TOKYO, "--state", "state")
    assert "AS2500" in told
    assert "203.178.128.0/17" in told
    as_json = json.loads(steady.run("explain", "zone.yaml", steady.TOKYO, "--state", "state", "--json"))
    assert json.dumps(as_json).count("tokyo") > 0


def test_udp_tcp_static_records_and_what_is_not_there(steady: Any) -> None:
    for tcp in (False, True):
        answer = steady.ask("select.serve.test", "A", steady.TOKYO, tcp)
        assert answer.flags & dns.flags.AA
        assert not answer.flags & dns.flags.RA
        assert answer.rcode() == dns.rcode.NOERROR
        assert steady.ask("nothing.serve.test", "A", tcp=tcp).rcode() == dns.rcode.NXDOMAIN
        assert steady.ask("elsewhere.test", "A", tcp=tcp).rcode() == dns.rcode.REFUSED
    assert "mail.example." in str(steady.ask("serve.test", "MX").answer[0])
    assert str(steady.ask("www.serve.test", "CNAME").answer[0][0]) == "select.serve.test."
    assert steady.ask("_tcp.select.serve.test", "A").rcode() == dns.rcode.NOERROR
    assert steady.ask("serve.test", "SOA").answer[0][0].serial == 7


def test_dig_agrees(steady: Any, need: Callable[..., None]) -> None:
    need("dig")
    port = str(steady.ports["dns"])
    command = ["dig", "@127.0.0.1", "-p", port, "select.serve.test", "+subnet=203.178.136.0/24", "+nsid", "+norecurse"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=15, check=True).stdout
    assert "127.0.0.41" in told
    assert "CLIENT-SUBNET: 203.178.136.0/24/" in told
    assert '("here")' in told
    assert "WARNING" not in told


def test_a_dead_mirror_leaves_within_the_promise_and_returns(steady: Any) -> None:
    ttl = steady.ask("select.serve.test", "A", steady.TOKYO).answer[0].ttl
    assert 1 <= ttl <= 5
    steady.kill("tokyo")
    dead = time.monotonic()
    steady.wait_for(lambda: steady.addresses(steady.TOKYO) == ["127.0.0.42"], "tokyo to leave")
    assert time.monotonic() - dead < 2 * (0.5 + 0.45) + 10  # two probes, a plan, and whoever else wants the processor
    status = json.loads(steady.http("status.json")[1])
    states = {mirror["name"]: mirror["state"] for zone in status["zones"] for mirror in zone["mirrors"]}
    assert states == {"tokyo": "down", "paris": "up"}
    steady.mirror("tokyo")
    steady.wait_for(lambda: steady.addresses(steady.TOKYO) == ["127.0.0.41"], "tokyo to return")


def test_all_down_fails_open_with_the_shortest_ttl(steady: Any) -> None:
    steady.kill("tokyo")
    steady.kill("paris")

    def both_down() -> bool:
        zones = json.loads(steady.http("status.json")[1])["zones"]
        return all(mirror["state"] == "down" for zone in zones for mirror in zone["mirrors"])

    steady.wait_for(both_down, "both mirrors to be down")
    steady.wait_for(lambda: steady.ask("select.serve.test", "A", steady.TOKYO).answer[0].ttl == 1, "the shortest TTL")
    steady.wait_for(lambda: steady.addresses(steady.TOKYO) == ["127.0.0.41"], "the nearest all the same")


def test_a_corrupt_mirror_is_named_and_left_out(running: Any) -> None:
    for block in (running.folder / "tokyo" / "blocks").rglob("*"):
        if block.is_file():
            block.write_bytes(b"\0" + block.read_bytes()[1:])
    running.wait_for(lambda: running.addresses(running.TOKYO) == ["127.0.0.42"], "the liar to leave")

    def verdict() -> str:
        return str(json.loads((running.folder / "state" / "verdicts.json").read_text())["serve.test"]["tokyo"]["state"])

    running.wait_for(lambda: verdict() == "corrupt", "the verdict on disk, which follows the answers")
    assert b'mirrornet_mirror_up{mirror="tokyo",zone="serve.test"} 0.0' in running.http("metrics")[1]


def test_reload_takes_a_sound_file_and_refuses_a_faulty_one(steady: Any) -> None:
    steady.write_zone(steady.ZONE.replace("serial: 7", "serial: 8"))
    steady.processes["serve"].send_signal(signal.SIGHUP)
    steady.wait_for(lambda: steady.ask("serve.test", "SOA").answer[0][0].serial == 8, "the new serial")
    steady.write_zone(steady.ZONE.replace("serial: 7", "serial: nine"))
    steady.processes["serve"].send_signal(signal.SIGHUP)
    steady.wait_for(lambda: "reload refused" in steady.log(), "the refusal")
    assert "zone.yaml:4" in steady.log()
    assert steady.ask("serve.test", "SOA").answer[0][0].serial == 8


def test_the_reference_engine_gives_the_same(place: Any) -> None:
    place.mirror("tokyo", "paris")
    place.serve("--engine", "reference")
    assert place.addresses(place.TOKYO) == ["127.0.0.41"]
    assert place.addresses(place.FRANKFURT) == ["127.0.0.42"]
    assert place.ask("nothing.serve.test", "A", tcp=True).rcode() == dns.rcode.NXDOMAIN


def test_sigterm_ends_everything_and_says_nothing_ugly(running: Any) -> None:
    children = Path(
        f"/proc/{running.processes['serve'].pid}/task/{running.processes['serve'].pid}/children"
    ).read_text()
    assert len(children.split()) >= 2
    assert running.kill("serve", signal.SIGTERM) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in children.split())
    assert "Traceback" not in running.log()


def test_a_port_in_use_is_one_clear_line(steady: Any) -> None:
    told = steady.run("serve", "zone.yaml", "--state", "state2", code=1)
    line = told.strip().splitlines()[-1]
    assert f"port {steady.ports['dns']}" in line
    assert "another program has it" in line
