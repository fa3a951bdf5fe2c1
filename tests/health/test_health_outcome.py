"""The addresses of a mirror as one outcome: within a family the worst decides, of the families the better one."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from mirrornet.health.rule.outcome import Heard, Kind, Outcome, Sample, together

FOUR, OTHER, SIX = ip_address("192.0.2.1"), ip_address("192.0.2.2"), ip_address("2001:db8::1")
GOOD = Outcome(Kind.OK, 10, rtt_ms=5, version=7, serves_select=True, whole=2, expires=900)
BAD = Outcome(Kind.FAILED, 11, "connection refused", rtt_ms=900)


def test_within_a_family_the_worst_decides_and_is_named() -> None:
    both = together([(FOUR, GOOD), (OTHER, BAD)])
    assert (both.kind, both.reason) == (Kind.FAILED, "192.0.2.2: connection refused")
    assert both.families == {4: Heard(Kind.FAILED, "192.0.2.2: connection refused")}
    assert together([(FOUR, BAD)]).reason == "connection refused"


@pytest.mark.parametrize("kind", [Kind.FAILED, Kind.STALE])
def test_of_two_families_the_better_one_decides(kind: Kind) -> None:
    found = together([(SIX, replace(BAD, kind=kind)), (FOUR, GOOD)])
    assert (found.kind, found.reason) == (Kind.OK, "")
    assert found.families == {4: Heard(Kind.OK), 6: Heard(kind, "2001:db8::1: connection refused")}
    assert (found.at, found.rtt_ms, found.version, found.whole) == (11, 5, 7, 2)


def test_both_silent_is_silent() -> None:
    assert together([(SIX, BAD), (FOUR, replace(BAD, kind=Kind.STALE))]).kind is Kind.STALE


def test_one_lagging_family_makes_a_lagging_mirror() -> None:
    lagging = Outcome(Kind.LAGGING, 10, "behind", version=6, lag=30, until=500, rtt_ms=9)
    found = together([(SIX, lagging), (FOUR, GOOD)])
    assert (found.kind, found.lag, found.until, found.version, found.rtt_ms) == (Kind.LAGGING, 30, 500, 6, 9)


def test_who_lies_over_one_family_is_a_liar() -> None:
    bad = Sample("debian", b"\1" * 32, 10)
    lie = Outcome(Kind.CORRUPT, 10, "block is corrupt", suspects=(bad,), audit=300)
    found = together([(FOUR, GOOD), (SIX, lie)])
    assert (found.kind, found.reason, found.suspects) == (Kind.CORRUPT, "2001:db8::1: block is corrupt", (bad,))
    assert found.audit == 300


def test_a_family_we_cannot_route_is_no_evidence_unless_it_is_all() -> None:
    blind = Outcome(Kind.BLIND, 10, "this machine has no route there")
    found = together([(SIX, blind), (FOUR, Outcome(Kind.LAGGING, 10))])
    assert (found.kind, set(found.families)) == (Kind.LAGGING, {4})
    assert together([(SIX, blind), (FOUR, BAD)]).kind is Kind.FAILED
    alone = together([(SIX, blind)])
    assert (alone.kind, alone.families) == (Kind.FAILED, {})


def test_a_name_without_an_address_says_nothing_of_a_family() -> None:
    found = together([(None, Outcome(Kind.FAILED, 5, "a.example does not resolve"))])
    assert (found.kind, found.reason, found.families) == (Kind.FAILED, "a.example does not resolve", {})


def test_the_select_url_over_one_family_only() -> None:
    without = replace(GOOD, serves_select=False)
    found = together([(FOUR, GOOD), (SIX, without)])
    assert (found.kind, found.serves_select) == (Kind.OK, True)
    assert found.families[6] == Heard(Kind.FAILED, "the select url is not served over it")
    neither = together([(FOUR, without), (SIX, without)])
    assert (neither.serves_select, neither.families) == (False, {4: Heard(Kind.OK), 6: Heard(Kind.OK)})
    assert together([(FOUR, GOOD), (OTHER, without)]).serves_select is False
    assert together([(FOUR, replace(GOOD, serves_select=None))]).serves_select is None


def test_an_image_is_held_where_all_addresses_hold_it() -> None:
    some = (replace(GOOD, images={"a": True, "b": False}), replace(GOOD, images={"a": False, "b": True, "c": True}))
    for pair in (some, some[::-1]):
        assert together(list(zip((FOUR, OTHER), pair, strict=True))).images == {"a": False, "b": False, "c": True}


def test_the_first_certificate_to_end_and_the_longest_pause_count() -> None:
    one = replace(GOOD, certificate_until=500.0, retry_after=7.0)
    found = together([(FOUR, one), (OTHER, replace(one, certificate_until=400.0, retry_after=9.0)), (SIX, GOOD)])
    assert (found.certificate_until, found.retry_after) == (400.0, 9.0)


def test_nobody_was_asked() -> None:
    with pytest.raises(ValueError, match="without an address"):
        together([])
