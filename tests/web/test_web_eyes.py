"""What is shown of others' eyes: the document, and the same in Prometheus' words."""

from __future__ import annotations

import json

from prometheus_client.parser import text_string_to_metric_families

from mirrornet.web.eyes import SharingStatus, VantageStatus, document
from mirrornet.web.metrics import Metrics
from mirrornet.web.status import Snapshot
from mirrornet.web.status import document as whole

SHARING = SharingStatus(
    url="redis://127.0.0.1:6379/0",
    name="ns1",
    trouble="connection refused",
    quorum=2,
    moved={"zone.test": 0.25},
    stopped={"zone.test": ("m2", "m3")},
    outvoted=("m1: up",),
    vantages=(
        VantageStatus("fra1", 64500, "DE", 990.0, True, "", ("m1: down",)),
        VantageStatus("tok1", 0, "", 0.0, False, "its clock is 6.0 s ahead: both need NTP"),
    ),
)


def figures(sharing: SharingStatus | None) -> dict[tuple[str, str], float]:
    """The metrics about eyes, by name and first label."""
    text = Metrics(lambda: Snapshot(1000.0, 400.0, (), sharing=sharing)).text().decode()
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith(("mirrornet_eyes", "mirrornet_vantage"))
    }


def test_the_document() -> None:
    told = json.loads(json.dumps(document(SHARING, 1000.0), allow_nan=False))
    assert (told["name"], told["quorum"], told["trouble"]) == ("ns1", 2, "connection refused")
    assert told["stopped"] == {"zone.test": ["m2", "m3"]}
    fra1, tok1 = told["vantages"]
    assert (fra1["age_seconds"], fra1["fresh"], fra1["outvoted"], fra1["refused"]) == (10, True, ["m1: down"], None)
    assert (tok1["age_seconds"], tok1["fresh"], tok1["asn"]) == (None, False, None)
    assert "ahead" in tok1["refused"]
    assert document(None, 1000.0) is None
    assert whole(Snapshot(1000.0, 400.0, ()))["eyes"] is None


def test_the_metrics() -> None:
    found = figures(SHARING)
    assert found["mirrornet_eyes_connected", ""] == 0
    assert found["mirrornet_eyes_moved_ratio", "zone.test"] == 0.25
    assert found["mirrornet_eyes_stopped_mirrors", "zone.test"] == 2
    assert found["mirrornet_vantage_fresh", "fra1"] == 1
    assert found["mirrornet_vantage_outvoted_mirrors", "fra1"] == 1
    assert found["mirrornet_vantage_refused", "tok1"] == 1
    assert ("mirrornet_vantage_heard_timestamp_seconds", "tok1") not in found
    assert figures(None) == {}
