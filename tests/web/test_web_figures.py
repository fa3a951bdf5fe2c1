"""/metrics in full: what workers, mirrors and the metadata tell, by Prometheus' conventions."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from mirrornet.dns.serving import counters
from mirrornet.model.override import Action, Override
from mirrornet.model.regions import Regions
from mirrornet.model.verdict import State, Verdict
from mirrornet.model.zone import Mirror, Select, Zone
from mirrornet.web.metrics import Metrics
from mirrornet.web.status import PlanStatus, Snapshot, TableStatus, ZoneStatus

TOKYO = Mirror("tokyo", "https://tokyo.example/", (ip_address("192.0.2.1"), ip_address("2001:db8::1")), weight=70)
PARIS = Mirror("paris", "http://paris.example/", (ip_address("192.0.2.2"),))
ZONE = Zone(
    file=Path("zones/x.yaml"),
    name="example.net",
    contact="hostmaster@example.net",
    serial=1,
    nameservers={},
    world=None,
    select=(Select("select", "http://select.example.net/"),),
    mirrors=(TOKYO, PARIS),
)
DRAIN = Override("example.net", "tokyo", Action.DRAIN, 500.0, 2000.0, "ann", "disk")
VERDICTS = {
    "tokyo": Verdict(
        State.LAGGING, 20.0, 900.0, "", 12.5, True, repository_version=7, families=frozenset({4}), share=0.4,
        override=DRAIN, lag=61.0,
        certificate_until=9000.0, barred={"AS64500": "dead from there", "DE": "dead from there"},
    ),
    "paris": Verdict(State.DOWN, 1.0, 990.0, "refused"),
}  # fmt: skip
COUNTS = dict.fromkeys(counters.NAMES, 0) | {
    "udp": 90, "tcp": 12, "tls": 2, "badcookie": 3, "silenced": 7, "limited": 11, "shortened": 1, "nxdomain": 5,
    "tailored": 60, "anywhere": 9, "last_resort": 1, "static": 4, "type_aaaa": 33, "type_uri": 2,
    "within_10us": 50, "within_25us": 30, "later": 1, "latency_ns": 2_500_000,
    "workers": 2, "restarts": 1, "queued": 4096, "overflowed": 13, "log_lines": 21, "log_lost": 2,
}  # fmt: skip
SNAPSHOT = Snapshot(
    now=1000.0,
    started=400.0,
    zones=(
        ZoneStatus(
            ZONE,
            VERDICTS,
            {"tokyo": 4},
            probes=77,
            regions={"select": Regions({4: {"tokyo": 0.75, "paris": 0.25}})},
            answers={("tokyo", "A"): 40, ("tokyo", "list"): 8},
            expiries={"timestamp": 5000.0, "root": 90000.0},
        ),
    ),
    plan=PlanStatus(3, 940.0, 0.25, 1234, 56),
    table=TableStatus(100.0, 968428, 5000, "ab" * 32),
    counters=COUNTS,
    reports={"204": 5, "429": 2, "400": 1, "413": 1},
)


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    found = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def by(label: str, name: str, snapshot: Snapshot = SNAPSHOT, **others: str) -> dict[str, float]:
    """The samples of `name`, by the value of one label."""
    return {
        labels[label]: value
        for (found, pairs), value in samples(Metrics(lambda: snapshot)).items()
        if found == name and others.items() <= (labels := dict(pairs)).items()
    }


def test_every_counter_of_a_worker_is_known_here() -> None:
    assert by("event", "mirrornet_worker_events_total") == {}
    new = replace(SNAPSHOT, counters=COUNTS | {"marvels": 8})
    assert by("event", "mirrornet_worker_events_total", new) == {"marvels": 8}


def test_queries_by_transport_type_rcode_and_answer_class() -> None:
    assert by("transport", "mirrornet_dns_queries_total") == {"udp": 90, "tcp": 10, "tls": 2}
    types = by("type", "mirrornet_dns_queries_by_type_total")
    assert (types["AAAA"], types["URI"], types["A"], types["other"]) == (33, 2, 0, 0)
    rcodes = by("rcode", "mirrornet_dns_responses_total")
    assert (rcodes["badcookie"], rcodes["nxdomain"], rcodes["noerror"]) == (3, 5, 60 + 4 + 1)
    classes = by("class", "mirrornet_dns_answers_total")
    assert (classes["placed"], classes["anywhere"], classes["last_resort"], classes["static"]) == (50, 9, 1, 4)
    assert by("reply", "mirrornet_dns_rate_limited_total") == {"none": 7, "short": 4}
    assert by("outcome", "mirrornet_query_log_lines_total") == {"written": 21, "lost": 2}


def test_the_histogram_is_cumulative_and_in_seconds() -> None:
    buckets = by("le", "mirrornet_dns_latency_seconds_bucket")
    assert list(buckets.values()) == sorted(buckets.values())
    assert (buckets["1e-05"], buckets["2.5e-05"], buckets["0.1"], buckets["+Inf"]) == (50, 80, 80, 81)
    bounds = [float(bound) for bound in buckets]
    assert bounds[:-1] == list(counters.LATENCIES), "as the workers count"
    told = samples(Metrics(lambda: SNAPSHOT))
    assert told["mirrornet_dns_latency_seconds_sum", ()] == 0.0025
    assert told["mirrornet_dns_latency_seconds_count", ()] == 81


def test_requests_at_the_window_by_status() -> None:
    told = samples(Metrics(lambda: SNAPSHOT, {200: 7, 429: 2}))
    assert told["mirrornet_http_requests_total", (("code", "429"),)] == 2


def test_what_sockets_and_workers_tell() -> None:
    told = samples(Metrics(lambda: SNAPSHOT))
    assert told["mirrornet_dns_socket_queued_bytes", ()] == 4096
    assert told["mirrornet_dns_socket_overflows_total", ()] == 13
    assert told["mirrornet_worker_restarts_total", ()] == 1
    assert told["process_resident_memory_bytes", ()] > 1_000_000


def test_mirrors_with_all_that_is_known_of_them() -> None:
    tokyo = {"zone": "example.net", "mirror": "tokyo"}
    told = samples(Metrics(lambda: SNAPSHOT))

    def value(name: str, **labels: str) -> float:
        return told[name, tuple(sorted((tokyo | labels).items()))]

    assert value("mirrornet_mirror_share_ratio") == 0.4
    assert value("mirrornet_mirror_weight") == 70
    assert value("mirrornet_mirror_lag_seconds") == 61
    assert value("mirrornet_mirror_barred_networks") == 2
    assert value("mirrornet_mirror_certificate_expiry_timestamp_seconds") == 9000
    assert value("mirrornet_mirror_override", action="drain") == 1
    assert value("mirrornet_mirror_override", action="force-up") == 0
    assert value("mirrornet_mirror_override_until_timestamp_seconds") == 2000
    assert value("mirrornet_mirror_family_up", family="ipv4") == 1
    assert value("mirrornet_mirror_family_up", family="ipv6") == 0
    assert value("mirrornet_mirror_address_share_ratio", select="select", family="ipv4") == 0.75
    assert by("records", "mirrornet_mirror_answers_total", **tokyo) == {"A": 40, "list": 8}
    assert by("mirror", "mirrornet_mirror_override", action="drain") == {"tokyo": 1, "paris": 0}
    assert by("mirror", "mirrornet_mirror_certificate_expiry_timestamp_seconds") == {"tokyo": 9000}
    assert by("family", "mirrornet_mirror_family_up", mirror="paris") == {"ipv4": 0}


def test_metadata_ends_by_role_and_reports_by_outcome() -> None:
    assert by("role", "mirrornet_repository_expiry_timestamp_seconds") == {"timestamp": 5000, "root": 90000}
    assert by("outcome", "mirrornet_rtt_reports_total") == {
        "taken": 5, "too_soon": 2, "unknown_select": 0, "malformed": 2, "error": 0,
    }  # fmt: skip


def test_no_label_says_who_asked_or_for_what() -> None:
    labels = {
        label
        for family in text_string_to_metric_families(Metrics(lambda: SNAPSHOT).text().decode())
        for sample in family.samples
        for label in sample.labels
    }
    assert labels <= {
        "zone", "mirror", "state", "family", "action", "select", "records", "role", "transport", "type", "rcode",
        "class", "reply", "le", "outcome", "event", "version", "vantage", "code",
    }  # fmt: skip


def test_promtool_has_nothing_to_say(need: Callable[..., None]) -> None:
    need("promtool")
    text = Metrics(lambda: SNAPSHOT).text()
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, timeout=30, check=False)
    complaints = [line for line in (done.stdout + done.stderr).decode().splitlines() if line.startswith("mirrornet")]
    assert done.returncode in (0, 3) and not complaints


def test_a_scrape_of_many_mirrors_is_quick_enough_and_names_each_once() -> None:
    zone = replace(ZONE, mirrors=tuple(replace(TOKYO, name=f"m{n}") for n in range(200)))
    text = Metrics(lambda: replace(SNAPSHOT, zones=(ZoneStatus(zone, {}),))).text().decode()
    assert len(re.findall(r'^mirrornet_mirror_up\{.*"m7"', text, re.M)) == 1
    assert text.count("# TYPE mirrornet_mirror_up ") == 1
