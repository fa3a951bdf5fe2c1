"""The status page of a real `mirrornet serve`: it says what `explain` says, and shows queries that were asked."""

from __future__ import annotations

import json
import re
import urllib.request
from typing import Any


def shares(place: Any) -> dict[str, float]:
    """Each mirror's share of IPv4 addresses, once it is known."""
    (zone,) = json.loads(place.http("status.json")[1])["zones"]
    return {m["name"]: m["address_share"].get("select", {}).get("ipv4", -1.0) for m in zone["mirrors"]}


def test_explain_is_what_the_verb_says(steady: Any) -> None:
    status, told = steady.http(f"explain?address={steady.TOKYO}")
    said = steady.run("explain", "zone.yaml", steady.TOKYO, "--state", "state")

    def lasting(text: str) -> str:
        return re.sub(r"TTL \d+ s: .*", "", text)  # what a probe may change from one moment to the next

    assert status == 200 and "AS2500" in said
    assert lasting(told.decode()) == lasting(said)


def test_regions_are_there_and_follow_the_plan(steady: Any) -> None:
    steady.wait_for(lambda: min(shares(steady).values()) >= 0, "the regions")
    before = shares(steady)
    assert before["tokyo"] > 0 and before["paris"] > 0 and abs(sum(before.values()) - 1) < 1e-3
    page = steady.http("")[1].decode()
    assert re.search(r'href="#land-JP" class="tint\d" data-by="tokyo"><title>Japan: tokyo 100 %', page)
    assert 'data-mirror="paris"' in page and 'class="tint' in page
    steady.kill("paris")
    steady.wait_for(lambda: shares(steady) == {"tokyo": 1.0, "paris": 0.0}, "the regions of the next plan")
    (zone,) = json.loads(steady.http("status.json")[1])["zones"]
    paris = next(m for m in zone["mirrors"] if m["name"] == "paris")
    assert [change["state"] for change in paris["changes"]][-2:] == ["up", "down"]
    assert "down" in steady.http("")[1].decode()


def test_a_query_that_is_asked_comes_by_itself(steady: Any) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{steady.ports['http']}/events", timeout=60) as stream:
        told: list[dict[str, Any]] = []

        def seen() -> bool:
            """Asks until the stream tells of it: samples begin a moment after somebody listens."""
            steady.ask("select.serve.test", "A", steady.TOKYO)
            line = stream.readline()
            if line.startswith(b"data: ["):
                told.extend(json.loads(line[6:]))
            return any(one["client"] == "203.178.136.0/24" for one in told)

        steady.wait_for(seen, "the query")
    one = next(one for one in told if one["client"] == "203.178.136.0/24")
    assert (one["name"], one["type"], one["rcode"], one["mirrors"]) == ("select.serve.test", "A", "NOERROR", ["tokyo"])
    assert one["map"] == "map-0-0" and 1600 < one["x"] < 1800 and 200 < one["y"] < 400  # Japan
    assert "203.178.136.36" not in json.dumps(told)
