"""What a running server tells of itself: counters that agree with what was asked, a query log, no secrets."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
from pathlib import Path
from typing import Any

import dns.edns
import dns.message
import dns.query
import pytest
from prometheus_client.parser import text_string_to_metric_families

EXAMPLE = Path(__file__).parents[2] / "zones" / "example"
SECRETS = {
    "cookies": "dd3bdf9344b678b185a6f5cb60fca715",
    "tokens": "7f1c8e3b9d2a46508e4f0b6c1d2e3f4a5b6c7d8e9f00112233445566778899aa",
    "password": "a-password-of-redis-57",
}


def figures(place: Any) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    status, text = place.http("metrics")
    assert status == 200
    families = text_string_to_metric_families(text.decode())
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in families for one in family.samples}


def by(place: Any, label: str, name: str, **others: str) -> dict[str, float]:
    return {
        labels[label]: value
        for (found, pairs), value in figures(place).items()
        if found == name and others.items() <= (labels := dict(pairs)).items()
    }


def ask(place: Any, name: str, kind: str, subnet: str = "", tcp: bool = False) -> None:
    query = dns.message.make_query(name, kind, use_edns=0)
    if subnet:
        query.use_edns(0, 0, 1232, options=[dns.edns.ECSOption(subnet, 24)])
    over = dns.query.tcp if tcp else dns.query.udp
    over(query, "127.0.0.1", timeout=30, port=place.ports["dns"])


def test_every_query_is_counted_once(place: Any) -> None:
    place.write_zone(place.ZONE.replace("probe: block", "probe: none"))
    place.serve()
    for _ in range(5):
        ask(place, "select.serve.test", "A", place.TOKYO.rsplit(".", 1)[0] + ".0")
    ask(place, "SELECT.serve.test", "AAAA")  # there is none: nothing of it is foreseen
    ask(place, "_http._tcp.select.serve.test", "URI", place.FRANKFURT.rsplit(".", 1)[0] + ".0")
    ask(place, "nothing.serve.test", "A")
    ask(place, "serve.test", "SOA")
    ask(place, "elsewhere.test", "A")
    ask(place, "select.serve.test", "A", tcp=True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", place.ports["dns"]))
        sock.settimeout(30)
        sock.send(bytes(12))
        assert sock.recv(512)[3] & 15 == 1
    place.wait_for(lambda: sum(by(place, "type", "mirrornet_dns_queries_by_type_total").values()) == 11, "the counters")
    assert by(place, "transport", "mirrornet_dns_queries_total") == {"udp": 11, "tcp": 1, "tls": 0}
    types = by(place, "type", "mirrornet_dns_queries_by_type_total")
    assert {kind: times for kind, times in types.items() if times} == {"A": 8, "AAAA": 1, "URI": 1, "SOA": 1}
    rcodes = by(place, "rcode", "mirrornet_dns_responses_total")
    wanted = {"noerror": 9, "nxdomain": 1, "refused": 1, "formerr": 1}
    assert {rcode: times for rcode, times in rcodes.items() if times} == wanted
    classes = by(place, "class", "mirrornet_dns_answers_total")
    assert (classes["nodata"], classes["nxdomain"], classes["static"]) == (1, 1, 1)
    assert classes["placed"] + classes["anywhere"] == 7 and classes["placed"] >= 5
    assert by(place, "mirror", "mirrornet_mirror_answers_total", records="A")["tokyo"] >= 5
    assert "list" in by(place, "records", "mirrornet_mirror_answers_total", mirror="paris")
    told = figures(place)
    assert told["mirrornet_dns_ecs_queries_total", ()] == 6
    assert told["mirrornet_dns_latency_seconds_count", ()] == 12
    assert 0 < told["mirrornet_dns_latency_seconds_sum", ()] < 60
    assert told["mirrornet_dns_socket_overflows_total", ()] == 0
    share = json.loads(place.http("status.json")[1])["zones"][0]["mirrors"]
    assert sum(mirror["query_share"] for mirror in share) == pytest.approx(1, abs=0.01)


def test_the_query_log_begins_and_ends_with_a_reload_and_holds_no_whole_address(steady: Any) -> None:
    path = steady.folder / "queries.jsonl"
    wanted = "nsid: here, query_log: {{file: queries.jsonl, sample: 1, most: 1000}}"
    steady.write_zone(steady.ZONE.replace("nsid: here", wanted))
    steady.processes["serve"].send_signal(signal.SIGHUP)
    steady.wait_for(lambda: "reloaded" in steady.log(), "the reload")
    assert "started anew" not in steady.log(), "this key is a live one"

    def asked() -> list[dict[str, Any]]:
        ask(steady, "SeLecT.serve.test", "A", "203.178.136.0")
        ask(steady, "gone.serve.test", "AAAA", tcp=True)
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    steady.wait_for(lambda: {line["transport"] for line in asked()} == {"udp", "tcp"}, "lines of both transports")
    udp = next(line for line in asked() if line["transport"] == "udp")
    tcp = next(line for line in asked() if line["transport"] == "tcp")
    assert (udp["client"], udp["subnet"], udp["name"], udp["type"]) == (
        "203.178.136.0/24",
        True,
        "select.serve.test",
        "A",
    )
    assert (udp["rcode"], udp["mirrors"], udp["of"]) == ("NOERROR", ["tokyo"], 1)
    assert (tcp["client"], tcp["rcode"], tcp["mirrors"]) == ("127.0.0.0/24", "NXDOMAIN", [])
    assert "127.0.0.1" not in path.read_text()
    assert (steady.folder / "state" / "control").stat().st_mode & 0o077 == 0
    assert by(steady, "outcome", "mirrornet_query_log_lines_total")["lost"] == 0
    steady.write_zone(steady.ZONE)
    steady.processes["serve"].send_signal(signal.SIGHUP)
    steady.wait_for(lambda: steady.log().count("reloaded") == 2, "the second reload")

    def quiet() -> bool:
        before = len(asked())
        return len(asked()) == before

    steady.wait_for(quiet, "no more lines")


def test_a_log_in_json_is_json_and_no_log_holds_a_secret(place: Any) -> None:
    for name, secret in SECRETS.items():
        (place.folder / name).write_text(f"ann {secret}\n" if name == "tokens" else f"{secret}\n")
        (place.folder / name).chmod(0o600)
    for name in ("tls.pem", "tls.key", "ns1.pem"):
        shutil.copy(EXAMPLE / name, place.folder / name)
        (place.folder / name).chmod(0o600)
    private = [line for name in ("tls.key", "ns1.pem") for line in (place.folder / name).read_text().splitlines()[1:-1]]
    more = (
        "nsid: here, cookies: cookies, token_file: tokens, rate_limit: 100, "
        'tls: {{certificate: tls.pem, key: tls.key, listen: ["127.0.0.1:0"]}}, '
        "share: {{url: 'redis://127.0.0.1:1/0', key: ns1.pem, password: password}}, "
        "vantages: {{ns1: {{key: 'ed25519:a4e5e638c54bb0d2a242cd23b0f8e5de122bf28db5a5b2b751a4728e2ccbe454'}}}}"
    )
    place.mirror("tokyo")
    place.write_zone(place.ZONE.replace("nsid: here", more))
    place.serve("--log-level", "debug", "--log-format", "json")
    place.http("v1/override")
    for wrong in ("cookies", "tokens", "tls.key"):  # what each reader says of a file that is no good any more
        text = (place.folder / wrong).read_text()
        (place.folder / wrong).write_text(text[: len(text) // 2] + "?" + text[len(text) // 2 :])
        place.processes["serve"].send_signal(signal.SIGHUP)
    place.wait_for(lambda: "worker" in place.log() and "cookies" in place.log(), "a worker's complaint")
    place.write_zone(place.ZONE.replace("nsid: here", more.replace("rate_limit: 100", "rate_limit: none")))
    place.wait_for(lambda: "reload refused" in place.log(), "a refused reload")
    assert place.kill("serve", signal.SIGTERM) == 0
    told = place.log()
    for line in told.splitlines():
        one = json.loads(line)
        assert {"time", "level", "source", "message"} <= one.keys()
    for secret in (*SECRETS.values(), *private):
        assert secret not in told
        assert secret[: len(secret) // 2] not in told
    assert os.environ.get("MIRRORNET_LOG_FORMAT") is None, "this process was left alone"
