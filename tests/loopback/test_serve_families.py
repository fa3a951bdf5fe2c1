"""IPv4 and IPv6 are answered each for itself: who is silent over one leaves A or AAAA, and stays in the other."""

from __future__ import annotations

import json
import socket
import sys
from typing import Any

import pytest

BOTH = 'tokyo: {{url: "http://tokyo.serve.test:{mirrors}/", addresses: [127.0.0.41, "::1"], place: {{country: JP}}}}'
FOUR = 'tokyo: {{url: "http://tokyo.serve.test:{mirrors}/", addresses: [127.0.0.41], place: {{country: JP}}}}'


def answers(place: Any, rdtype: str) -> list[str]:
    reply = place.ask("select.serve.test", rdtype, place.TOKYO)
    return [str(record) for rrset in reply.answer for record in rrset]


def told(place: Any) -> dict[str, Any]:
    zone = json.loads(place.http("status.json")[1])["zones"][0]
    return next(mirror for mirror in zone["mirrors"] if mirror["name"] == "tokyo")


def listen_over_ipv6(place: Any) -> None:
    static = str(place.TREE / "scripts" / "demo" / "static_server.py")
    place.start("tokyo6", sys.executable, static, str(place.folder / "tokyo"), "::1", str(place.ports["mirrors"]))


def test_each_family_is_answered_for_itself(place: Any) -> None:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("needs ::1")
    place.write_zone(place.ZONE.replace(FOUR, BOTH))
    place.mirror("tokyo", "paris")
    listen_over_ipv6(place)
    place.serve()
    place.wait_for(lambda: answers(place, "AAAA") == ["::1"], "IPv6")
    assert answers(place, "A") == ["127.0.0.41"]
    place.kill("tokyo6")
    place.wait_for(lambda: answers(place, "AAAA") == [], "IPv6 to leave")
    assert answers(place, "A") == ["127.0.0.41"]
    place.wait_for(lambda: told(place)["silent_over"] == [6], "the status to say so")
    assert told(place)["usable"] and "not over IPv6: ::1: " in told(place)["reason"]
    assert "does not answer over this family" in place.run("explain", "zone.yaml", place.TOKYO, "--state", "state")
    listen_over_ipv6(place)
    place.wait_for(lambda: answers(place, "AAAA") == ["::1"], "IPv6 to return")
    place.kill("tokyo")
    place.wait_for(lambda: answers(place, "A") == ["127.0.0.42"], "IPv4 to leave")
    assert answers(place, "AAAA") == ["::1"]
    assert told(place)["flips"] == 0
