"""What `explain` says, as value, text and JSON, and the verb itself."""

from __future__ import annotations

import array
import json
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
import typer

from mirrornet.app.server.verdicts import write
from mirrornet.cli.explain import register
from mirrornet.dns.explain import Explanation, explain
from mirrornet.dns.explain_text import text
from mirrornet.dns.message import rrset
from mirrornet.dns.ranking.whereabouts import placed_mirrors
from mirrornet.model.address import parse_prefix
from mirrornet.model.errors import InputError
from mirrornet.model.place import UNKNOWN, Evidence, Place
from mirrornet.model.table import Mark, Match, encode, encode_place
from mirrornet.model.verdict import State, Verdict
from mirrornet.model.zone import Mirror, Select, Zone

JAPAN = Place(2501, "JP", 36.0, 138.0, 300, country_from=Evidence.DELEGATED, coordinates_from=Evidence.CENTROID)
MIRRORS = (
    Mirror("tokyo", "http://tokyo.test/", (ip_address("192.0.2.1"),), Place(2501, "JP", 35.68, 139.69)),
    Mirror("paris", "http://paris.test/", (ip_address("192.0.2.2"),), Place(3215, "FR", 48.86, 2.35)),
    Mirror("bucket", "https://bucket.test/os", (), Place(anycast=True), never=("continent:EU",)),
)
SELECT = Select("select", "http://select.zone.test/", ttl=20)
ZONE = Zone(Path("z.yaml"), "zone.test", "h@zone.test", 1, {}, None, (SELECT,), MIRRORS)
UP = Verdict(State.UP, 60.0)


def explained(match: Match, client: str = "133.11.0.1", **verdicts: Verdict) -> Explanation:
    known = {"tokyo": UP, "paris": UP, "bucket": UP} | verdicts
    scopes = {("select.zone.test", rrset.A): 8, ("_http._tcp.select.zone.test", rrset.URI): 9}
    mirrors = placed_mirrors(ZONE, lambda _: Match(UNKNOWN, None, ""))
    return explain(ZONE, SELECT, ip_address(client), match, mirrors, known, scopes)


ROUTE = Match(JAPAN, parse_prefix("133.11.0.0/16"), "RADB")


def test_place_and_provenance() -> None:
    found = explained(ROUTE)
    assert (found.prefix, found.source, found.asn, found.country_name) == ("133.11.0.0/16", "RADB", 2501, "Japan")
    assert found.country_from == "the registries' delegated statistics"
    assert found.coordinates_from == "the middle of the country"
    said = text(found)
    assert "AS2501, Japan (JP), 36.00° N 138.00° E within 300 km" in said
    assert "from 133.11.0.0/16 of RADB" in said


def test_the_first_line_is_what_he_gets() -> None:
    lines = text(explained(ROUTE)).splitlines()
    assert lines[0] == "select.zone.test for 133.11.0.1"
    assert lines[2:5] == ["  gets     A    tokyo", "           AAAA nothing", "           URI  tokyo, bucket, paris"]


def test_how_sure_the_origin_is() -> None:
    assert not explained(ROUTE).rpki_valid and "RPKI" not in text(explained(ROUTE))
    sure = explained(replace(ROUTE, marks=Mark.RPKI_VALID))
    assert sure.rpki_valid and "of RADB, RPKI valid" in text(sure)
    unsure = explained(replace(ROUTE, marks=Mark.SEVERAL_ORIGINS))
    assert unsure.several_origins and "registries name other origins of it, too" in text(unsure)


def test_terms_one_by_one_for_programs() -> None:
    parts = explained(ROUTE).json()["mirrors"][0]["parts"]
    assert parts["same_as"] is True and parts["km"] == pytest.approx(156, abs=1) and parts["measured_ms"] is None


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_narrow_terminal_loses_nothing(width: int) -> None:
    found = explained(ROUTE, paris=Verdict(State.DOWN, 4.0, reason="no answer from 192.0.2.2 in 3.0 s"))
    wide, narrow = text(found), text(found, width)
    # Names, addresses and the columns of a mirror cannot be broken; all else is.
    long = [line for line in narrow.splitlines() if len(line) > width]
    assert all("_http" in line or '"' in line or " ms " in line or "stands in" in line for line in long)
    if width == 80:
        assert not long
    lost = set(wide.split()) - set(narrow.split())
    assert lost <= {"why"}


def test_every_mirror_with_terms_verdict_and_reason() -> None:
    found = explained(ROUTE, paris=Verdict(State.DOWN, 4.0, reason="no answer from 192.0.2.2 in 3.0 s"))
    tokyo, bucket, paris = found.mirrors
    assert (tokyo.name, tokyo.rank, tokyo.why, tokyo.stands_in) == ("tokyo", 1, "nearest", ("A", "URI", "SRV"))
    assert tokyo.terms == "20 + 0.0125 × √(156 km² + 150 km²: a country is not a point) - 10: same AS"
    assert tokyo.ms == pytest.approx(12.7, abs=0.1)
    assert (bucket.name, bucket.rank, bucket.stands_in) == ("bucket", 2, ("URI",))
    assert bucket.terms == "20 + 0.0125 × √(1,000 km (the mirror is anycast)² + 150 km²: a country is not a point)"
    assert bucket.absent["A"] == "has no address of this family"
    assert (paris.name, paris.rank, paris.why, paris.state) == ("paris", None, "down", "down")
    assert paris.verdict in text(found)


def test_answers_with_ttl_scope_and_where_they_come_from() -> None:
    found = explained(ROUTE)
    address, six, uri, srv = found.answers[:4]
    assert (address.rtype, address.records, address.scope, address.block) == ("A", ("192.0.2.1",), 8, "133.0.0.0/8")
    assert (address.ttl, address.ttl_because) == (20, "the select's ttl")
    assert six.records == () and six.ttl_because == "no records"
    assert uri.records[0] == '1 1 "http://tokyo.test/#tokyo"' and uri.block == "133.0.0.0/9"
    assert srv.records[0] == "1 1 80 tokyo.select.zone.test"
    assert "scope /8: all of 133.0.0.0/8 gets this answer" in text(found)


@pytest.mark.parametrize(
    ("verdict", "ttl", "because"),
    [
        (Verdict(State.UP, 5.5), 5, "no probe can take tokyo out within 5.5 s"),
        (Verdict(State.DOWN, 2.0), 2, "no probe can bring tokyo back within 2.0 s"),
    ],
)
def test_what_decides_the_ttl(verdict: Verdict, ttl: int, because: str) -> None:
    found = explained(ROUTE, tokyo=verdict).answers[0]
    assert (found.ttl, found.ttl_because) == (ttl, because)


def test_last_resort_says_so() -> None:
    down = Verdict(State.DOWN, 9.0)
    found = explained(ROUTE, tokyo=down, paris=down, bucket=down)
    assert found.last_resort and found.answers[0].ttl == 1
    assert "WARNING" in text(found) and found.mirrors[0].why == "last resort: no mirror is usable"


def test_overload_is_told_where_it_is_more_than_a_lump() -> None:
    assert "carry up to 1.5 times" in text(replace(explained(ROUTE), overload=1.52))
    assert "carry up to" not in text(replace(explained(ROUTE), overload=1 + 2**-16))


def test_unknown_and_carried_addresses() -> None:
    found = explained(Match(UNKNOWN, None, ""), "::ffff:192.0.2.99")
    assert found.anywhere and found.carries == "192.0.2.99"
    said = text(found)
    assert "which carries 192.0.2.99" in said and "no prefix matches" in said and "spread over the world" in said


def test_a_block_without_a_route_has_a_country_and_no_prefix() -> None:
    said = text(explained(Match(replace(JAPAN, asn=0), None, "")))
    assert "no route covers it\n" in said and "no prefix matches" not in said and "country from" in said


def test_policy_is_told() -> None:
    europe = Place(1, "DE", 50.0, 8.0)
    bucket = next(m for m in explained(Match(europe, None, "")).mirrors if m.name == "bucket")
    assert bucket.rank is None and bucket.why == "never serves this place (`never`)"


def test_json_is_plain() -> None:
    found = json.loads(json.dumps(explained(ROUTE).json()))
    assert found["mirrors"][0]["name"] == "tokyo" and found["answers"][0]["scope"] == 8


ZONE_FILE = """
zone: zone.test
contact: h@zone.test
serial: 1
nameservers: {ns1.zone.test: [192.0.2.53]}
world: world.table
select: [{name: select}]
health: {probe: http}
mirrors:
  tokyo: {url: "http://tokyo.test/", addresses: [203.0.113.1], place: {country: JP}}
  paris: {url: "http://paris.test/", addresses: [203.0.113.2], place: {country: FR}}
"""


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Calls the verb on a small world with the arguments, and returns what it printed."""
    starts = array.array("I", [0, 133 << 24, 134 << 24]).tobytes()
    ranges4 = (starts, array.array("I", [0, 1, 0]).tobytes(), b"\xff\x08\xff", b"\xff\0\xff", bytes(3))
    ranges6 = (bytes(8), bytes(4), b"\xff", b"\xff", b"\0")
    pieces = encode(0.0, ranges4, ranges6, encode_place(UNKNOWN) + encode_place(JAPAN), ["RADB"])
    (tmp_path / "world.table").write_bytes(b"".join(pieces))
    (tmp_path / "zone.yaml").write_text(ZONE_FILE)
    app = typer.Typer(pretty_exceptions_enable=False)
    register(app)

    def call(*arguments: str) -> str:
        app([str(tmp_path / "zone.yaml"), *arguments, "--state", str(tmp_path)], standalone_mode=False)
        return capsys.readouterr().out

    return call


def test_the_verb_takes_verdicts_from_the_state_folder(run: Callable[..., str], tmp_path: Path) -> None:
    assert "all taken as up" in run("133.11.0.1")
    write(tmp_path, {"zone.test": {"tokyo": Verdict(State.DOWN, 3.0, reason="gone"), "paris": UP}})
    said = run("133.11.0.1")
    assert "all taken as up" not in said and "down: gone" in said


def test_the_verb_prints_json_with_the_plans_scopes(run: Callable[..., str]) -> None:
    found = json.loads(run("133.11.0.1", "--json"))["explanations"][0]
    assert found["prefix"] == "133.0.0.0/8" and found["assumed_up"]
    assert found["answers"][0]["records"] == ["203.0.113.1"] and found["answers"][0]["scope"] == 8


def test_the_verb_refuses_what_is_no_address(run: Callable[..., str]) -> None:
    with pytest.raises(InputError, match="'nonsense' is not an IPv4 or IPv6 address"):
        run("nonsense")
