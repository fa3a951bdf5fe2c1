"""Mirrors that are up and yet not for everybody: drained or coming back (a share), and out of reach of some."""

from __future__ import annotations

from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path

import pytest

from mirrornet.dns.explain import explain
from mirrornet.dns.explain_text import text
from mirrornet.dns.planning.plan import Planner
from mirrornet.dns.ranking.barring import barring_of
from mirrornet.dns.ranking.nearest import Ranking, Reason, rank
from mirrornet.model.address import parse_prefix
from mirrornet.model.override import Action, Override
from mirrornet.model.place import UNKNOWN, Place
from mirrornet.model.table import Match
from mirrornet.model.verdict import State, Verdict
from mirrornet.model.zone import Mirror, Select, Zone

UP = Verdict(State.UP, 30.0)
PLACES = [Place(asn, "JP", 35.0, 139.0) for asn in range(1, 601)]


def mirror(name: str, place: Place, number: int, addresses: str = "") -> Mirror:
    found = addresses or f"192.0.2.{number} 2001:db8::{number}"
    return Mirror(name, f"http://{name}.test/", tuple(map(ip_address, found.split())), place)


def city(name: str, number: int, latitude: float, longitude: float, country: str = "JP") -> Mirror:
    return mirror(name, Place(0, country, latitude, longitude), number)


TOKYO, OSAKA = city("tokyo", 1, 35.68, 139.69), city("osaka", 2, 34.69, 135.5)
SEOUL, PARIS = city("seoul", 3, 37.57, 126.98, "KR"), city("paris", 4, 48.86, 2.35, "FR")


def ranked(place: Place, mirrors: tuple[Mirror, ...], answers: int = 1, **verdicts: Verdict) -> Ranking:
    known = {m.name: verdicts.get(m.name, UP) for m in mirrors}
    barred = barring_of(mirrors, known).of(place, None)
    return rank(place, Select("select", "http://select.test/", answers=answers), mirrors, known, barred=barred)


def shared(share: float) -> Verdict:
    return Verdict(State.UP, 30.0, share=share)


@pytest.mark.parametrize("answers", [1, 3])
@pytest.mark.parametrize(
    "mirrors", [(TOKYO, SEOUL, PARIS), (TOKYO, OSAKA), (TOKYO, OSAKA, city("chiba", 5, 35.6, 140.1), SEOUL)]
)
def test_a_drain_by_a_tenth_moves_a_tenth_of_its_places_and_nobody_elses(
    mirrors: tuple[Mirror, ...], answers: int
) -> None:
    """With one near-equal as with many, and with fewer than an answer holds."""
    before = [ranked(place, mirrors, answers).near[4] for place in PLACES]
    after = [ranked(place, mirrors, answers, tokyo=shared(0.9)).near[4] for place in PLACES]
    had = [(old, new) for old, new in zip(before, after, strict=True) if "tokyo" in old]
    assert all(old == new for old, new in zip(before, after, strict=True) if "tokyo" not in old)
    left = sum("tokyo" not in new for _, new in had)
    assert 0.06 < left / len(had) < 0.14
    assert all(set(old) - {"tokyo"} <= set(new) for old, new in had)  # who stays, stays


def test_whoever_left_first_comes_back_last() -> None:
    here = [
        {place.asn for place in PLACES if "tokyo" in ranked(place, (TOKYO, SEOUL), tokyo=shared(share)).ordered}
        for share in (1.0, 0.9, 0.5, 0.1, 0.0)
    ]
    assert all(less < more for more, less in pairwise(here))
    assert not here[-1] and len(here[0]) == len(PLACES)


def test_two_mirrors_drained_shed_different_places() -> None:
    both = [ranked(place, (TOKYO, OSAKA, SEOUL), tokyo=shared(0.5), osaka=shared(0.5)).ordered for place in PLACES]
    neither = sum("tokyo" not in one and "osaka" not in one for one in both)
    assert 0.2 < neither / len(PLACES) < 0.3


def test_where_nobody_else_is_left_a_drain_means_nothing() -> None:
    found = ranked(PLACES[0], (TOKYO,), tokyo=shared(0.0))
    assert found.ordered == ("tokyo",) and not found.last_resort
    found = ranked(PLACES[0], (TOKYO, SEOUL), tokyo=shared(0.0), seoul=Verdict(State.DOWN, 1.0))
    assert found.ordered == ("tokyo",) and found.passed_over == {"seoul": Reason.DOWN}


def test_the_only_one_with_ipv6_keeps_aaaa_while_it_is_drained() -> None:
    old = mirror("old", SEOUL.place, 9, "192.0.2.9")
    found = ranked(PLACES[0], (TOKYO, old), tokyo=shared(0.0))
    assert found.near == {4: ("old",), 6: ("tokyo",)} and found.ordered == ("old",)
    assert found.not_near[4] == {"tokyo": Reason.LEFT} and found.passed_over["tokyo"] is Reason.LEFT


def test_the_places_without_a_place_leave_as_one() -> None:
    answers = [
        {
            ranked(place, (TOKYO, SEOUL, PARIS), tokyo=shared(share)).near[4]
            for place in (UNKNOWN, Place(7, anycast=True))
        }
        for share in (1.0, 0.75, 0.5, 0.25, 0.0)
    ]
    assert all(len(one) == 1 for one in answers)
    assert "tokyo" not in next(iter(answers[-1]))


def test_out_of_reach_is_down_for_those_askers_alone() -> None:
    barred = Verdict(State.UP, 30.0, barred={"AS7": "fra1 and ams1 get no answer", "not an item!": ""})
    assert ranked(PLACES[6], (TOKYO, SEOUL), tokyo=barred).passed_over == {"tokyo": Reason.BARRED}
    assert ranked(PLACES[7], (TOKYO, SEOUL), tokyo=barred).ordered == ("tokyo", "seoul")
    alone = ranked(PLACES[6], (TOKYO,), tokyo=barred)
    assert alone.ordered == ("tokyo",) and alone.last_resort  # better than nobody
    stale = ranked(PLACES[6], (TOKYO, SEOUL), tokyo=barred, seoul=Verdict(State.STALE, 1.0))
    assert stale.ordered == ("seoul",)  # it answers
    corrupt = ranked(PLACES[6], (TOKYO, SEOUL), tokyo=barred, seoul=Verdict(State.CORRUPT, 1.0))
    assert corrupt.ordered == ("tokyo",)


def test_nobody_is_left_without_a_plan_by_any_state() -> None:
    """The fourth group of last resorts was unknown to the planner."""
    zone = Zone(Path("z"), "z.test", "h@z.test", 1, {}, None, (Select("s", "http://s.z.test/"),), (TOKYO, SEOUL))
    planner = Planner([zone], None, {})
    for state in State:
        plan = planner.plan({"z.test": {"tokyo": Verdict(state, 1.0), "seoul": Verdict(State.CORRUPT, 1.0)}}, 1)
        assert plan.notes["answers"]["s.z.test A"][0], state


ZONE = Zone(Path("z"), "z.test", "h@z.test", 1, {}, None, (Select("s", "http://s.z.test/"),), (TOKYO, SEOUL))


def explained(asn: int, verdict: Verdict) -> str:
    match = Match(PLACES[asn - 1], parse_prefix("203.0.113.0/24"), "RADB")
    known = {"tokyo": verdict, "seoul": UP}
    return text(explain(ZONE, ZONE.select[0], ip_address("203.0.113.9"), match, ZONE.mirrors, known, {}))


def test_explain_says_who_has_left_and_who_has_not() -> None:
    override = Override("z.test", "tokyo", Action.DRAIN, 0.0)
    drained = Verdict(State.UP, 30.0, share=0.4, override=override)
    told = {explained(asn, drained).split("shifted  ")[1].split("\n")[0] for asn in range(1, 20)}
    assert told == {
        "tokyo is being drained (40 % left): this place already went to seoul",
        "tokyo is being drained (40 % left): this place is still with it",
    }
    told = {explained(asn, shared(0.4)).split("shifted  ")[1].split("\n")[0] for asn in range(1, 20)}
    assert told == {
        "tokyo comes back (40 % so far): this place is not back yet",
        "tokyo comes back (40 % so far): this place is back",
    }
    assert "shifted" not in explained(1, UP)


def test_explain_says_why_it_is_out_of_reach() -> None:
    barred = Verdict(State.UP, 30.0, barred={"AS7": "fra1 and ams1 get no answer"})
    said = explained(7, barred)
    assert "tokyo is out of reach from here: 203.0.113.0/24 is originated by AS7: fra1 and ams1 get no answer" in said
    assert "out of reach from here: " not in explained(8, barred)
