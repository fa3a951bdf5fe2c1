"""Two of the window's views of one Snapshot: the document and the metrics.  No sockets."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from mirrornet.model.place import Place
from mirrornet.model.verdict import State, Verdict
from mirrornet.model.zone import HealthSettings, Mirror, Select, Zone
from mirrornet.web.metrics import Metrics
from mirrornet.web.status import PlanStatus, Snapshot, TableStatus, ZoneStatus, document

EVIL = '<script>alert("x")</script>'
TOKYO = Mirror("tokyo", "http://tokyo.example:8080/os", (ip_address("192.0.2.1"),), Place(2500, "JP", 35.68, 139.69))
PARIS = Mirror("paris", f"http://paris.example/{EVIL}", (), Place(country="FR"), weight=50)
NEW = Mirror("new", "http://new.example/", (ip_address("2001:db8::1"),))
ZONE = Zone(
    file=Path("zones/x.yaml"),
    name="example.net",
    contact="hostmaster@example.net",
    serial=1,
    nameservers={},
    world=None,
    select=(Select("select", "http://select.example.net/"),),
    mirrors=(TOKYO, PARIS, NEW),
    health=HealthSettings(probe="block"),
)
VERDICTS = {
    "tokyo": Verdict(State.UP, 20.0, 900.0, "", 12.5, True, None, 7),
    "paris": Verdict(State.CORRUPT, 1.0, 990.0, f"block ab… is corrupt {EVIL}", None, False, frozenset({"debian"}), 6),
}
COUNTS = {
    "udp": 90, "tcp": 10, "ecs": 40, "nxdomain": 5, "refused": 3, "servfail": 1, "formerr": 1, "notimp": 0,
    "badvers": 0, "dropped": 2, "truncated": 4,
    "tailored": 70, "static": 8, "nodata": 6, "workers": 2, "restarts": 1, "generation": 3, "marvels": 8,
}  # fmt: skip
SNAPSHOT = Snapshot(
    now=1000.0,
    started=400.0,
    zones=(ZoneStatus(ZONE, VERDICTS, {"tokyo": 4}, probes=77),),
    plan=PlanStatus(3, 940.0, 0.25, 1234, 56),
    table=TableStatus(100.0, 968428, 5000, "ab" * 32),
    counters=COUNTS,
)


def test_the_document_says_all_there_is() -> None:
    told = json.loads(json.dumps(document(SNAPSHOT), allow_nan=False))
    assert (told["ready"], told["uptime_seconds"]) == (True, 600)
    assert told["plan"] == {
        "generation": 3, "made": 940.0, "age_seconds": 60, "build_seconds": 0.25, "ranges": 1234, "answer_classes": 56,
        "full_mirrors": [], "overload": 1.0,
    }  # fmt: skip
    assert told["world_table"]["age_seconds"] == 900
    assert told["counters"] == COUNTS
    (zone,) = told["zones"]
    assert (zone["zone"], zone["usable_mirrors"], zone["probes"]) == ("example.net", 1, 77)
    tokyo, paris, new = zone["mirrors"]
    assert tokyo["state"] == "up" and tokyo["usable"] and tokyo["for_seconds"] == 100
    assert (tokyo["rtt_ms"], tokyo["promise_seconds"], tokyo["flips"]) == (12.5, 20, 4)
    assert tokyo["place"] == {"country": "JP", "latitude": 35.68, "longitude": 139.69, "asn": 2500, "anycast": False}
    assert (tokyo["addresses"], tokyo["weight"], tokyo["repository_version"]) == (["192.0.2.1"], 100, 7)
    assert paris["state"] == "corrupt" and not paris["usable"] and paris["holds"] == ["debian"]
    assert (new["state"], new["since"], new["rtt_ms"]) == ("unknown", None, None)


def test_silent_families_and_the_certificates_days_are_told() -> None:
    seen = Verdict(State.UP, 20.0, families=frozenset({6}), certificate_until=1000.0 + 9.5 * 86400)
    told = document(replace(SNAPSHOT, zones=(ZoneStatus(ZONE, {"tokyo": seen, "new": seen}),)))
    tokyo, paris, new = told["zones"][0]["mirrors"]
    assert (tokyo["silent_over"], tokyo["certificate_days"], tokyo["certificate_until"]) == ([4], 9, 821800.0)
    assert (new["silent_over"], paris["silent_over"], paris["certificate_days"]) == ([], [], None)


def test_an_endless_promise_is_null_because_json_has_no_infinity() -> None:
    verdicts = {"tokyo": Verdict(State.UP, math.inf)}
    told = document(replace(SNAPSHOT, zones=(ZoneStatus(ZONE, verdicts),)))
    json.dumps(told, allow_nan=False)
    assert told["zones"][0]["mirrors"][0]["promise_seconds"] is None


def test_before_the_first_round_there_is_a_document_too() -> None:
    early = Snapshot(now=1.0, started=0.0, zones=(), not_ready="the first round of probes is not over")
    told = document(early)
    assert (told["ready"], told["plan"], told["world_table"]) == (False, None, None)
    assert told["reason"] == "the first round of probes is not over"
    assert "mirrornet_ready 0.0" in Metrics(lambda: early).text().decode()


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    found = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def test_the_metrics_say_the_same() -> None:
    told = samples(Metrics(lambda: SNAPSHOT))

    def value(name: str, **labels: str) -> float:
        return told[name, tuple(sorted(labels.items()))]

    tokyo = {"zone": "example.net", "mirror": "tokyo"}
    assert value("mirrornet_mirror_up", **tokyo) == 1
    assert value("mirrornet_mirror_up", zone="example.net", mirror="paris") == 0
    assert value("mirrornet_mirror_state", zone="example.net", mirror="paris", state="corrupt") == 1
    assert value("mirrornet_mirror_rtt_seconds", **tokyo) == 0.0125
    assert value("mirrornet_mirror_flips_total", **tokyo) == 4
    assert value("mirrornet_mirror_state_since_timestamp_seconds", **tokyo) == 900
    assert value("mirrornet_mirror_repository_version", **tokyo) == 7
    assert value("mirrornet_mirror_serves_select", zone="example.net", mirror="paris") == 0
    assert value("mirrornet_zone_usable_mirrors", zone="example.net") == 1
    assert value("mirrornet_dns_queries_total", transport="udp") == 90
    assert value("mirrornet_dns_responses_total", rcode="nxdomain") == 5
    assert value("mirrornet_dns_responses_total", rcode="noerror") == 70 + 8 + 6
    assert value("mirrornet_dns_ecs_queries_total") == 40
    assert value("mirrornet_worker_events_total", event="marvels") == 8
    assert value("mirrornet_plan_age_seconds") == 60
    assert value("mirrornet_plan_build_seconds") == 0.25
    assert value("mirrornet_world_table_age_seconds") == 900
    rtts = [key for key in told if key[0] == "mirrornet_mirror_rtt_seconds"]
    assert len(rtts) == 1  # what is not known is left out, not zero


def test_metric_names_follow_the_conventions() -> None:
    text = Metrics(lambda: SNAPSHOT).text().decode()
    for family in text_string_to_metric_families(text):
        assert re.fullmatch(r"(mirrornet|process)_[a-z0-9_]+", family.name)
        assert family.documentation
        assert not re.search(r"_(ms|milliseconds|minutes|hours|kb|count)(_|$)", family.name)
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples)


def test_two_windows_share_nothing() -> None:
    first, second = Metrics(lambda: SNAPSHOT), Metrics(lambda: replace(SNAPSHOT, counters={"udp": 1}))
    key = ("mirrornet_dns_queries_total", (("transport", "udp"),))
    assert (samples(first)[key], samples(second)[key]) == (90, 1)
