"""Member lists of as-sets and route-sets as registries have them, rubbish included."""

from __future__ import annotations

import pytest

from mirrornet.radb.facts import AutNum, Claim, Members, Reason, Rejected, Route, SetObject
from mirrornet.radb.reading.members import read_members
from mirrornet.radb.reading.objects import interpret


def as_set(members: str) -> Members:
    return read_members([members.encode("latin-1")], routes=False)


def route_set(members: str) -> list[str]:
    return [str(one) for one in read_members([members.encode()], routes=True).prefixes]


@pytest.mark.parametrize(
    ("text", "asns", "sets", "odd"),
    [
        ("AS1, AS2", (1, 2), (), 0),
        ("AS1,AS2,AS3,", (1, 2, 3), (), 0),
        (",, ,", (), (), 0),
        ("", (), (), 0),
        ("as1 aS2\tAS1", (1, 2), (), 0),
        ("As-Foo, ripe::as-bar", (), ("AS-FOO", "RIPE::AS-BAR"), 0),
        ("AS7473:AS-CUSTOMERS:AS23991", (), ("AS7473:AS-CUSTOMERS:AS23991",), 0),
        ("AS-ANY, ANY, PeerAS, RS-ANY, RADB::AS-ANY", (), (), 5),
        ("8.8.8.0/24, 2a00::/32, RS-FOO, 15169, AS, ASX, AS1:AS2", (), (), 7),
        ("AS0, AS23456, AS64512, AS4200000000, AS99999999999", (), (), 5),
        ("AS3.10", (196618,), (), 0),
        ("AS1^+", (), (), 1),
        ("AS-FOO^24", (), (), 1),
        ("AS\u00b2", (), (), 1),
    ],
)
def test_as_set_members(text: str, asns: tuple[int, ...], sets: tuple[str, ...], odd: int) -> None:
    assert as_set(text) == Members(asns, sets, (), odd)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("8.8.8.0/24", ["8.8.8.0/24"]),
        ("8.8.8.0/24^+", ["8.8.8.0/24^+"]),
        ("8.8.8.0/24^-", ["8.8.8.0/24^-"]),
        ("8.8.0.0/16^24", ["8.8.0.0/16^24"]),
        ("8.8.0.0/16^20-24, 8.8.0.0/16^20-24", ["8.8.0.0/16^20-24"]),
        ("8.8.8.0/24^24", ["8.8.8.0/24"]),
        ("8.8.8.8/24", ["8.8.8.0/24"]),
        ("2a00:1::/32^48", ["2a00:1::/32^48"]),
        ("8.8.8.0/24^16, 8.8.8.0/24^28-26, 8.8.8.0/24^33, 8.8.8.8/32^-, 8.8.8.0/24^x", []),
        (
            "0.0.0.0/0, 0.0.0.0/0^+, ::/0, 10.0.0.0/8, 192.0.2.0/24, 2001:db8::/32, 2a00::/65, 8.8.8.8, 8.8.8.0/24/24",
            [],
        ),
    ],
)
def test_route_set_prefixes(text: str, found: list[str]) -> None:
    assert route_set(text) == found


def test_a_route_set_takes_sets_and_numbers_with_their_operators_left_out() -> None:
    found = read_members([b"AS1^+, AS-FOO^24-32, RS-BAR^-, RADB::AS5:RS-BAZ"], routes=True)
    assert found == Members((1,), ("AS-FOO", "RS-BAR", "RADB::AS5:RS-BAZ"), (), 0)


def test_bogons_come_in_for_a_laboratory_only() -> None:
    values = [b"AS64500, 192.0.2.0/24"]
    assert read_members(values, routes=True).odd == 2
    found = read_members(values, routes=True, bogons=True)
    assert found.asns == (64500,) and str(found.prefixes[0]) == "192.0.2.0/24"


def test_an_as_set_with_everything() -> None:
    said = interpret(
        b"as-set:  As-Foo # ours\nmembers: AS1, # first\n AS2,\n+AS3 AS4\nMembers: AS1\nmp-members: AS-BAR\n"
        b"mbrs-by-ref: MAINT-A, maint-b\nremarks: members: AS9\nchanged: a@b 20200102\nsource: radb\n"
    )
    assert isinstance(said, SetObject)
    assert (said.class_name, said.name, said.source) == ("as-set", "AS-FOO", "RADB")
    assert said.members == Members((1, 2, 3, 4), ("AS-BAR",), (), 0)
    assert said.by_ref == ("MAINT-A", "MAINT-B") and said.newest == 20200102


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"as-set: FOO\nsource: RADB", Reason.BAD_SET),
        (b"as-set: AS1:AS2\nsource: RADB", Reason.BAD_SET),
        (b"as-set: RS-FOO\nsource: RADB", Reason.BAD_SET),
        (b"route-set: AS-FOO\nsource: RADB", Reason.BAD_SET),
        (b"as-set: RADB::AS-FOO\nsource: RADB", Reason.BAD_SET),
        (b"as-set: AS-" + b"X" * 500 + b"\nsource: RADB", Reason.BAD_SET),
        (b"as-set: AS-F\xc3\xb6\nsource: RADB", Reason.BAD_SET),
        (b"as-set: AS-FOO\nmembers: AS1", Reason.NO_SET_SOURCE),
    ],
)
def test_sets_that_nobody_could_name(text: bytes, reason: Reason) -> None:
    said = interpret(text)
    assert isinstance(said, Rejected) and said.reason is reason


def test_who_says_that_he_is_a_member() -> None:
    route = interpret(b"route: 8.8.8.0/24\norigin: AS15169\nmember-of: RS-Foo, rs-bar\nmnt-by: M-X\nsource: RADB")
    assert isinstance(route, Route) and route.claim == Claim(("RS-FOO", "RS-BAR"), ("M-X",))
    seat = interpret(b"aut-num: AS15169\nMember-Of: AS-Foo\nmnt-by: M-X, M-Y # both\nmnt-by: M-Z\nsource: RADB")
    assert isinstance(seat, AutNum) and seat.claim == Claim(("AS-FOO",), ("M-X", "M-Y", "M-Z"))
    assert interpret(b"aut-num: AS15169\nremarks: member-of: AS-X\nmnt-by: M-X\nsource: RADB").claim == Claim()  # type: ignore[union-attr]
