"""Clients' reports through a running server: told by DNS where to send them, believed after a restart, explained."""

from __future__ import annotations

import http.client
import json
import signal
from pathlib import Path
from typing import Any

import pytest

ZONE = """
zone: serve.test
contact: hostmaster@serve.test
serial: 7
nameservers: {{ns1.serve.test: [127.0.0.1], ns2.serve.test: [127.0.0.2]}}
world: world.table
select: [{{name: select, ttl: 5}}]
health: {{probe: none}}
mirrors:
  milan: {{url: "http://select.serve.test/", addresses: [127.0.0.41], place: {{latitude: 45.46, longitude: 9.19}}}}
  paris: {{url: "http://select.serve.test/", addresses: [127.0.0.42], place: {{latitude: 48.86, longitude: 2.35}}}}
places:
  127.0.0.0/8: {{latitude: 41.9, longitude: 12.5}}
server: {{listen: ["127.0.0.1:{dns}"], http: "127.0.0.1:{http}", workers: 1, rtt: "0.0.0.0:{mirrors}"}}
"""


def post(place: Any, source: str, rtt: dict[str, float], select: str = "select.serve.test") -> int:
    link = http.client.HTTPConnection("127.0.0.1", place.ports["mirrors"], timeout=60, source_address=(source, 0))
    link.request("POST", "/v1/rtt", json.dumps({"v": 1, "select": select, "rtt": rtt}))
    return link.getresponse().status


def ranked(place: Any) -> list[str]:
    answer = place.ask("_http._tcp.select.serve.test", "URI", "127.0.9.1").answer
    records = sorted((record.priority, record.target.decode()) for rrset in answer for record in rrset)
    return [target.partition("#")[2] for _, target in records]


@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_three_networks_reorder_near_mirrors_and_a_restart_keeps_it(place: Any, engine: str) -> None:
    place.write_zone(ZONE)
    place.serve("--engine", engine)
    told = place.ask("_rtt._tcp.select.serve.test", "URI").answer[0]
    port = place.ports["mirrors"]
    assert {r.target.decode() for r in told} == {f"http://ns{n}.serve.test:{port}/v1/rtt" for n in (1, 2)}
    assert ranked(place) == ["milan", "paris"]

    near_paris = {"milan": 90.0, "paris": 60.0, "no-mirror-of-ours": 1.0}
    assert post(place, "127.0.1.1", near_paris) == 204
    assert post(place, "127.0.1.2", near_paris) == 429, "the same /24"
    assert post(place, "127.0.2.1", near_paris, "select.elsewhere.test") == 404
    assert post(place, "127.0.2.1", near_paris) == 204
    assert post(place, "127.0.3.1", near_paris) == 204
    assert place.kill("serve", signal.SIGTERM) == 0

    kept = place.folder / "state" / "rtt-reports"
    assert kept.stat().st_mode & 0o777 == 0o600
    place.serve("--engine", engine)
    assert ranked(place) == ["paris", "milan"]
    said = place.run("explain", "zone.yaml", "127.0.9.1", "--state", "state")
    assert "measured" in said and said.index("paris") < said.index("milan")
    assert "Traceback" not in place.log()


def test_a_damaged_memory_is_begun_anew_with_a_warning(place: Any) -> None:
    place.write_zone(ZONE)
    state: Path = place.folder / "state"
    state.mkdir()
    (state / "rtt-reports").write_bytes(b"\0" * 100_000)
    place.serve()
    assert ranked(place) == ["milan", "paris"]
    assert "rtt-reports: reports of round trips are begun anew: it is damaged" in place.log()
    assert post(place, "127.0.1.1", {"milan": 90.0, "paris": 60.0}) == 204


def test_without_the_key_there_is_no_listener_and_no_record(place: Any) -> None:
    place.write_zone(ZONE.replace(', rtt: "0.0.0.0:{mirrors}"', ""))
    place.serve()
    assert not place.ask("_rtt._tcp.select.serve.test", "URI").answer
    with pytest.raises(OSError, match="refused"):
        post(place, "127.0.1.1", {"milan": 90.0, "paris": 60.0})
