"""What the doctor makes of what it saw: every fault planted once, as a value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from mirrornet.app.doctor import delegation, machine, mirrors, servers
from mirrornet.app.doctor.delegation import Parent
from mirrornet.app.doctor.examination import questions
from mirrornet.app.doctor.finding import Finding, Level
from mirrornet.app.doctor.machine import Machine
from mirrornet.app.doctor.mirrors import Visited
from mirrornet.app.doctor.servers import Seen
from mirrornet.dns import asking
from mirrornet.dns.asking import Record, Reply
from mirrornet.health.rule.outcome import Kind, Outcome
from mirrornet.model.address import Prefix
from mirrornet.model.errors import PeerError
from mirrornet.model.zone import HealthSettings, Mirror, Select, Zone

DAY = 86400.0
NOW = 1_800_000_000.0
MIRROR = Mirror("tokyo", "https://tokyo.test/os", (ip_address("192.0.2.1"),))
ZONE = Zone(
    Path("zone.yaml"), "zone.test", "h@zone.test", 7,
    {"ns1.zone.test": (ip_address("192.0.2.53"),), "ns2.zone.test": (ip_address("192.0.2.54"),)},
    Path("world.table"), (Select("select", "http://select.zone.test/"),), (MIRROR,), HealthSettings(probe="block"),
)  # fmt: skip
NAMES = tuple(Record("zone.test", "NS", 60, name) for name in sorted(ZONE.nameservers))
SOA = Record("zone.test", "SOA", 60, "ns1.zone.test. h.zone.test. 7 1 2 3 4")
GOOD = Reply(asking.NOERROR, True, False, False, (SOA,), edns=True)
FOUND = Reply(asking.NOERROR, False, False, True, NAMES)
REFERRAL = Reply(asking.NOERROR, False, False, False, authority=NAMES)
ABOVE = Parent("test", "ns.test", REFERRAL)


def said(found: Iterable[Finding], level: Level) -> list[str]:
    """What is said at this level; every one that is not ok says what to do."""
    listed = list(found)
    assert all(bool(one.mend) == (one.level is not Level.OK) for one in listed)
    assert all("\n" not in str(one) for one in listed)
    return [f"{one.about}: {one.what}" for one in listed if one.level is level]


def found_by(heard: Reply | str, parent: Parent = ABOVE) -> tuple[list[str], list[str]]:
    told = list(delegation.judge(ZONE, "r", heard, parent))
    return said(told, Level.FAULT), said(told, Level.WARNING)


def test_a_zone_that_is_delegated_is_well() -> None:
    assert found_by(FOUND) == ([], [])
    assert found_by(FOUND, Parent()) == ([], [])  # a stub, in a network without the Internet


@pytest.mark.parametrize(
    ("heard", "part"),
    [
        ("does not answer", "zone.test through r: does not answer"),
        (Reply(asking.NXDOMAIN, False, False, True), "there is no such zone"),
        (Reply(asking.SERVFAIL, False, False, True), "finds no answer (SERVFAIL)"),
        (Reply(asking.NOERROR, False, False, True), "not as a zone with name servers"),
    ],
)
def test_a_zone_that_nobody_finds(heard: Reply | str, part: str) -> None:
    faults, _ = found_by(heard)
    assert len(faults) == 1 and part in faults[0]


def test_the_parent_has_the_last_word_but_where_a_stub_is_meant() -> None:
    nothing = replace(ABOVE, heard=Reply(asking.NXDOMAIN, True, False, False))
    assert found_by(FOUND, nothing) == (
        [], ["zone.test in its parent test: no delegation at ns.test (NXDOMAIN), yet r finds the zone (by a stub?)"],
    )  # fmt: skip
    faults, _ = found_by(Reply(asking.NXDOMAIN, False, False, True), nothing)
    assert len(faults) == 2 and "no delegation at ns.test (NXDOMAIN)" in faults[1]
    silent = replace(ABOVE, heard="does not answer")
    assert found_by(FOUND, silent) == ([], ["zone.test in its parent test: could not be asked: does not answer"])


def test_a_delegation_to_others_and_glue_that_leads_elsewhere() -> None:
    other = (*NAMES[:1], Record("zone.test", "NS", 60, "ns9.zone.test"))
    faults, _ = found_by(FOUND, replace(ABOVE, heard=replace(REFERRAL, authority=other)))
    assert faults == [
        "zone.test in its parent test: ns.test does not name ns2.zone.test and names ns9.zone.test, which "
        "`nameservers` does not"
    ]
    glue = (Record("ns1.zone.test", "A", 60, "192.0.2.99"),)
    faults, _ = found_by(FOUND, replace(ABOVE, heard=replace(REFERRAL, additional=glue)))
    assert faults == [
        "zone.test in its parent test: its glue for ns1.zone.test is 192.0.2.99, and the zone file says 192.0.2.53"
    ]
    _, warnings = found_by(replace(FOUND, answers=NAMES[:1]))
    assert warnings == ["zone.test through r: does not name ns2.zone.test"]


def seen(name: str = "ns1.zone.test", **keys: object) -> Seen:
    fields = {"udp": GOOD, "tcp": GOOD} | keys
    return Seen(name, "192.0.2.53", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("keys", "part"),
    [
        ({"udp": "does not answer", "tcp": "connection refused"}, "does not answer, neither by UDP nor by TCP"),
        ({"udp": "does not answer"}, "does not answer by UDP, though by TCP it answers"),
        ({"tcp": "connection refused"}, "connection refused by TCP, which resolvers need"),
        ({"udp": replace(GOOD, rcode=asking.REFUSED, answers=())}, "refuses zone.test"),
        ({"udp": replace(GOOD, rcode=asking.SERVFAIL, answers=())}, "has no plan yet (SERVFAIL)"),
        ({"udp": replace(GOOD, authoritative=False)}, "is not authoritative for zone.test (NOERROR)"),
        ({"udp": replace(GOOD, answers=())}, "is not authoritative for zone.test (NOERROR)"),
        ({"udp": replace(GOOD, edns=False)}, "answers without EDNS"),
    ],
)
def test_a_name_server_with_one_fault(keys: dict[str, object], part: str) -> None:
    faults = said(servers.judge(ZONE, 53, [seen(**keys)]), Level.FAULT)
    assert len(faults) == 1 and part in faults[0]


def test_two_name_servers_that_differ() -> None:
    assert not said(servers.judge(ZONE, 53, [seen(), seen("ns2.zone.test")]), Level.FAULT)
    older = replace(GOOD, answers=(replace(SOA, value="ns1.zone.test. h.zone.test. 6 1 2 3 4"),))
    faults = said(servers.judge(ZONE, 53, [seen(), seen("ns2.zone.test", udp=older)]), Level.FAULT)
    assert faults == ["zone.test: the servers have different serials: ns1.zone.test 7, ns2.zone.test 6"]
    warnings = said(servers.judge(ZONE, 53, [seen(udp=older)]), Level.WARNING)
    assert warnings == ["zone.test: the servers have serial 6, and this file has 7"]

    asked = ("select.zone.test", "A", Prefix(4, 0x08080800, 24))
    one, other = (
        replace(GOOD, answers=(Record(asked[0], "A", 5, text),), scope=8) for text in ("192.0.2.1", "192.0.2.2")
    )
    first, second = seen(answers={asked: one}), seen("ns2.zone.test", answers={asked: other})
    assert servers.different([first, second]) == [(second, asked)]
    warnings = said(servers.alike([first, second]), Level.WARNING)
    assert warnings == [
        "ns2.zone.test at 192.0.2.53: select.zone.test A for 8.8.8.0/24: other answers than ns1.zone.test at "
        "192.0.2.53, twice in a row"
    ]
    assert not said(servers.alike([first, replace(second, answers={asked: one})]), Level.WARNING)


def test_client_subnets_that_do_not_arrive() -> None:
    asked = ("select.zone.test", "A", Prefix(4, 0x08080800, 24))
    stripped = replace(GOOD, answers=(Record(asked[0], "A", 5, "192.0.2.1"),))
    faults = said(servers.alike([seen(answers={asked: stripped})]), Level.FAULT)
    assert faults == [
        "ns1.zone.test at 192.0.2.53: its answers have no client subnet (ECS), though the question had one"
    ]
    here, there = (replace(GOOD, answers=(Record(asked[0], "A", 5, text),)) for text in ("192.0.2.1", "192.0.2.2"))
    passes = servers.through("r", (here, there), (here, there))
    assert passes is not None and passes.level is Level.OK
    drops = servers.through("r", (here, there), (here, here))
    assert drops is not None and drops.level is Level.WARNING
    assert servers.through("r", (here, there), (here, "does not answer")) is None


FINE = Outcome(Kind.OK, NOW, rtt_ms=12.0, serves_select=True, version=9, certificate_until=NOW + 60 * DAY)
EXPIRIES = {"timestamp": NOW + 3 * DAY, "root": NOW + 300 * DAY}


def visited(outcome: Outcome, address: str = "192.0.2.1", skew: float | None = 0.4) -> Visited:
    return Visited(MIRROR, address, outcome, skew)


def judged(*visits: Visited, expiries: dict[str, float] = EXPIRIES) -> tuple[list[str], list[str]]:
    told = list(mirrors.judge(ZONE, visits, expiries, NOW))
    return said(told, Level.FAULT), said(told, Level.WARNING)


def test_mirrors_that_are_well() -> None:
    assert judged(visited(FINE), visited(FINE, "2001:db8::1")) == ([], [])


@pytest.mark.parametrize(
    ("change", "level", "part"),
    [
        ({"kind": Kind.FAILED, "reason": "connection refused"}, 0, "tokyo at 192.0.2.1: connection refused"),
        (
            {"kind": Kind.CORRUPT, "reason": "block 00… is corrupt"},
            0,
            "serves what was not signed: block 00… is corrupt",
        ),
        ({"kind": Kind.STALE, "reason": "timestamp.json is expired"}, 0, "timestamp.json is expired"),
        ({"kind": Kind.BLIND}, 1, "not seen, for this machine has no IPv4"),
        ({"serves_select": False}, 1, "but not under the select url"),
        ({"certificate_until": NOW + 3.5 * DAY}, 1, "its TLS certificate ends in 3 days"),
        ({"certificate_until": NOW - DAY}, 1, "its TLS certificate is over"),
    ],
)
def test_a_mirror_with_one_fault(change: dict[str, object], level: int, part: str) -> None:
    found = judged(visited(replace(FINE, **change)))  # type: ignore[arg-type]
    assert len(found[level]) == 1 and part in found[level][0] and not found[1 - level]


def test_a_copy_that_is_behind_and_a_host_that_does_not_resolve() -> None:
    _, warnings = judged(visited(FINE), visited(replace(FINE, version=7), "2001:db8::1"))
    assert len(warnings) == 1 and "its copy is 2 behind" in warnings[0]
    faults, _ = judged(visited(Outcome(Kind.FAILED, NOW, "tokyo.test does not resolve"), "", None))
    assert faults == ["tokyo: tokyo.test does not resolve"]


def test_metadata_that_ends_and_a_clock_that_is_wrong() -> None:
    _, warnings = judged(visited(FINE), expiries={"timestamp": NOW + DAY})
    assert warnings == ["the repository's metadata: timestamp expires in 24.0 h"]
    _, warnings = judged(visited(FINE), expiries=EXPIRIES | {"root": NOW + 10 * DAY})
    assert warnings == ["the repository's metadata: root expires in 10.0 d"]
    faults, _ = judged(visited(FINE), expiries=EXPIRIES | {"snapshot": NOW - 1})
    assert faults == ["the repository's metadata: is expired: snapshot"]
    _, warnings = judged(visited(FINE, skew=90.0))
    assert warnings == ["this machine's clock: 90.0 s behind 1 mirrors' (HTTP Date)"]
    faults, _ = judged(*(visited(FINE, skew=skew) for skew in (-4000.0, -4001.0, 2.0)))
    assert faults == ["this machine's clock: 67 min ahead of 3 mirrors' (HTTP Date)"]


HERE = Machine((DAY, 1000), "/state", 50 << 30, True, 20_000, "", None, True)


@pytest.mark.parametrize(
    ("change", "level", "part"),
    [
        ({"table": None}, Level.FAULT, "world.table: is not there"),
        ({"table": "this is no world.table"}, Level.FAULT, "this is no world.table"),
        ({"table": (9 * DAY, 5)}, Level.WARNING, "5 ranges, 9 days old"),
        ({"table": (90 * DAY, 5)}, Level.FAULT, "5 ranges, 90 days old"),
        ({"free": 10 << 20}, Level.FAULT, "/state: 10 MB free"),
        ({"free": 500 << 20}, Level.WARNING, "/state: 500 MB free"),
        ({"free": None}, Level.WARNING, "/state: is not there"),
        ({"writable": False}, Level.WARNING, "may not be written"),
        ({"files": 1024}, Level.WARNING, "may open 1024 files"),
        ({"fuse": "there is no /dev/fuse"}, Level.WARNING, "there is no /dev/fuse"),
        ({"serving": False}, Level.WARNING, "no server is running"),
        ({"unsound": ("is written twice",)}, Level.WARNING, "zone.yaml: is written twice"),
        ({"unit": {"LoadState": "loaded", "ActiveState": "failed", "Result": "exit-code"}}, Level.FAULT, "has failed"),
        ({"unit": {"LoadState": "loaded", "ActiveState": "inactive"}}, Level.WARNING, "is inactive"),
        ({"unit": {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "no"}}, Level.WARNING, "reboot"),
        (
            {"unit": {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled", "NRestarts": "4"}},
            Level.WARNING, "restarted it 4 times",
        ),
    ],
)  # fmt: skip
def test_a_machine_with_one_fault(change: dict[str, object], level: Level, part: str) -> None:
    assert not [one for one in machine.judge(ZONE, HERE) if one.level is not Level.OK]
    told = list(machine.judge(ZONE, replace(HERE, **change)))  # type: ignore[arg-type]
    other = Level.WARNING if level is Level.FAULT else Level.FAULT
    assert len(said(told, level)) == 1 and part in said(told, level)[0] and not said(told, other)


def test_a_unit_that_runs_and_one_that_is_not_there() -> None:
    for unit in (
        {"LoadState": "not-found"},
        {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled", "NRestarts": "0"},
    ):
        assert not [one for one in machine.judge(ZONE, replace(HERE, unit=unit)) if one.level is not Level.OK]


def test_questions_go_out_even_without_a_map() -> None:
    asked = questions(ZONE, None)
    assert len({one[2] for one in asked if one[2]}) == 2 and ("select.zone.test", "AAAA", None) in asked


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"", "no reply"),
        (b"\0\1" + bytes(30), "no reply"),  # a query
        (b"\0\2\x80" + bytes(30), "no reply"),  # another's
        (b"\0\1\x80\0\0\1\0\1\0\0\0\0\xc0\x0c\0\1\0\1", "cannot be read"),  # a name that points at itself
        (b"\0\1\x80\0" + bytes(9000), "9004 octets"),
    ],
)
def test_replies_that_are_none(data: bytes, part: str) -> None:
    with pytest.raises(PeerError, match=part):
        asking.read(data, 1)
