"""Estimates, rankings and their reasons, case by case."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address

import pytest

from mirrornet.data.countries import COUNTRIES
from mirrornet.dns.ranking import rendezvous
from mirrornet.dns.ranking.estimate import estimate, located, margin
from mirrornet.dns.ranking.nearest import Ranking, Reason, rank, shortlist, spread
from mirrornet.dns.ranking.whereabouts import completed
from mirrornet.model.place import UNKNOWN, Evidence, Place
from mirrornet.model.verdict import State, Verdict
from mirrornet.model.zone import Mirror, Select

SELECT = Select("select", "http://select.test/", answers=3)
UP = Verdict(State.UP, 30.0)
CITIES = {
    "tokyo": Place(2500, "JP", 35.68, 139.69),
    "osaka": Place(2501, "JP", 34.69, 135.50),
    "frankfurt": Place(3320, "DE", 50.11, 8.68),
    "paris": Place(3215, "FR", 48.86, 2.35),
    "newyork": Place(701, "US", 40.71, -74.01),
    "saopaulo": Place(22548, "BR", -23.55, -46.63),
    "johannesburg": Place(2018, "ZA", -26.20, 28.05),
    "sydney": Place(1221, "AU", -33.87, 151.21),
    "mumbai": Place(9498, "IN", 19.08, 72.88),
}


def mirror(name: str, place: Place | None = None, addresses: str = "192.0.2.1", **keys: object) -> Mirror:
    found = tuple(ip_address(text) for text in addresses.split())
    return Mirror(name, f"http://{name}.test/", found, place or CITIES.get(name, UNKNOWN), **keys)  # type: ignore[arg-type]


def ranked(place: Place, *mirrors: Mirror, select: Select = SELECT, **states: Verdict | State) -> Ranking:
    verdicts = {m.name: UP for m in mirrors}
    for name, state in states.items():
        verdicts[name] = Verdict(state, 5.0) if isinstance(state, State) else state
    return rank(place, select, mirrors, verdicts)


def test_the_line_is_20_ms_and_12_and_a_half_a_thousand_kilometres() -> None:
    found = estimate(CITIES["tokyo"], CITIES["osaka"])
    assert found.km == pytest.approx(396, abs=5)  # as the crow flies
    assert found.ms == pytest.approx(20 + 0.0125 * 396, abs=0.2)
    assert estimate(CITIES["tokyo"], CITIES["tokyo"]).ms == 10  # same AS, same spot


def test_same_as_takes_10_ms_off_but_unknown_is_not_an_as() -> None:
    here, there = Place(0, "JP", 35.0, 139.0), Place(0, "JP", 36.0, 139.0)
    far = estimate(here, there)
    assert not far.same_as
    same = estimate(Place(7, "JP", 35.0, 139.0), Place(7, "JP", 36.0, 139.0))
    assert same.same_as and far.ms - same.ms == 10


def test_a_country_is_not_a_point() -> None:
    russia = located(Place(country="RU"))
    assert russia.coordinates_from is Evidence.CENTROID and russia.radius_km == COUNTRIES["RU"].radius_km
    middle = Place(latitude=russia.latitude, longitude=russia.longitude)
    found = estimate(russia, middle)
    assert found.km == 0.0
    assert found.ms == pytest.approx(20 + 0.0125 * russia.radius_km / 2, abs=0.01)


def test_unknown_is_farthest_and_an_anycast_mirror_is_close_to_everybody() -> None:
    assert estimate(CITIES["tokyo"], UNKNOWN).ms == pytest.approx(270.2, abs=0.2)
    assert estimate(CITIES["tokyo"], Place(anycast=True)).ms == 32.5


def test_a_mirrors_place_is_completed_from_its_address() -> None:
    table = Place(64500, "DE", 51.0, 9.0, 200, country_from=Evidence.DELEGATED)
    assert completed(UNKNOWN, table) == table
    assert completed(Place(country="DE"), table).latitude == 51.0
    abroad = completed(Place(country="JP"), table)  # the operator says Japan: the table's coordinates are not of it
    assert abroad.asn == 64500 and abroad.latitude == COUNTRIES["JP"].latitude
    exact = completed(Place(1, "JP", 35.0, 139.0), table)
    assert (exact.asn, exact.latitude) == (1, 35.0)
    assert not completed(UNKNOWN, Place(1, "US", 37.0, -97.0, anycast=True)).anycast


def test_nearest_first_and_only_near_equals_in_a() -> None:
    found = ranked(Place(0, "JP", 35.0, 137.0), *map(mirror, ("frankfurt", "osaka", "newyork", "tokyo")))
    assert found.ordered == ("osaka", "tokyo", "newyork", "frankfurt")  # the way to Europe is by Suez
    assert set(found.near[4]) == {"osaka", "tokyo"} and found.near[6] == ()
    assert found.not_near[4] == {"frankfurt": Reason.FARTHER, "newyork": Reason.FARTHER}
    assert found.not_near[6]["tokyo"] is Reason.NO_ADDRESS
    assert not found.anywhere and not found.last_resort and not found.passed_over


def test_margin_is_10_ms_or_a_tenth() -> None:
    assert margin(20 * 64) == 10 * 64
    assert margin(200 * 64) == 20 * 64


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        (State.DOWN, Reason.DOWN),
        (State.STALE, Reason.STALE),
        (State.CORRUPT, Reason.CORRUPT),
        (State.UNKNOWN, Reason.UNKNOWN),
    ],
)
def test_unusable_mirrors_leave_with_their_reason(verdict: State, reason: Reason) -> None:
    found = ranked(CITIES["tokyo"], mirror("tokyo"), mirror("osaka"), tokyo=verdict)
    assert found.ordered == ("osaka",)
    assert found.passed_over == {"tokyo": reason}
    assert found.not_near[4]["tokyo"] is reason


def test_a_mirror_without_a_verdict_is_not_probed_yet() -> None:
    found = rank(CITIES["tokyo"], SELECT, [mirror("tokyo"), mirror("osaka")], {"osaka": UP})
    assert found.ordered == ("osaka",) and found.passed_over["tokyo"] is Reason.UNKNOWN


def test_lagging_stays_in_a_but_stands_after_its_equals_in_the_list() -> None:
    place = Place(0, "JP", 35.6, 139.0)
    found = ranked(place, mirror("tokyo"), mirror("osaka"), mirror("frankfurt"), tokyo=State.LAGGING)
    assert found.ordered == ("osaka", "tokyo", "frankfurt")
    assert set(found.near[4]) == {"tokyo", "osaka"}


def test_a_slow_mirror_is_drawn_last() -> None:
    mirrors = [mirror(f"m{n}", CITIES["tokyo"]) for n in range(4)]
    found = ranked(CITIES["osaka"], *mirrors, m0=State.SLOW)
    assert set(found.near[4]) == {"m1", "m2", "m3"} and found.not_near[4]["m0"] is Reason.NOT_DRAWN


def test_fail_open_prefers_the_stale_to_the_silent_to_the_liars() -> None:
    three = [mirror("tokyo"), mirror("osaka"), mirror("paris")]
    found = ranked(CITIES["tokyo"], *three, tokyo=State.CORRUPT, osaka=State.DOWN, paris=State.STALE)
    assert found.last_resort and found.ordered == ("paris",) and found.near[4] == ("paris",)
    found = ranked(CITIES["tokyo"], *three, tokyo=State.CORRUPT, osaka=State.DOWN, paris=State.UNKNOWN)
    assert found.ordered == ("osaka", "paris") and found.passed_over == {"tokyo": Reason.CORRUPT}
    found = ranked(CITIES["tokyo"], *three, tokyo=State.CORRUPT, osaka=State.CORRUPT, paris=State.CORRUPT)
    assert found.ordered == ("tokyo", "osaka", "paris")


def test_images_by_zone_file_and_by_probe() -> None:
    select = Select("s", "http://s.test/", images=frozenset({"debian"}))
    with_it = mirror("tokyo", holds=frozenset({"debian", "fedora"}))
    without = mirror("osaka", holds=frozenset({"fedora"}))
    probed = mirror("paris")
    found = ranked(CITIES["tokyo"], with_it, without, probed, select=select)
    assert found.ordered == ("tokyo", "paris") and found.passed_over["osaka"] is Reason.NO_IMAGE
    seen = Verdict(State.UP, 5.0, holds=frozenset({"fedora"}))
    found = ranked(CITIES["tokyo"], with_it, without, probed, select=select, paris=seen)
    assert found.passed_over["paris"] is Reason.NO_IMAGE


def test_only_and_never() -> None:
    members = mirror("osaka", only=("AS2500", "KR"))
    shy = mirror("tokyo", never=("continent:EU",))
    home = ranked(CITIES["tokyo"], members, shy, mirror("paris"))
    assert home.ordered == ("tokyo", "osaka", "paris")
    europe = ranked(CITIES["frankfurt"], members, shy, mirror("paris"))
    assert europe.ordered == ("paris",)
    assert europe.passed_over == {"osaka": Reason.NOT_ONLY, "tokyo": Reason.NEVER}


def test_prefer_comes_before_distance_and_has_a_to_itself() -> None:
    sponsor = mirror("newyork", prefer=("AS2500",))
    found = ranked(CITIES["tokyo"], mirror("tokyo"), sponsor)
    assert found.ordered == ("newyork", "tokyo") and found.preferred == {"newyork"}
    assert found.near[4] == ("newyork",) and found.not_near[4]["tokyo"] is Reason.NOT_PREFERRED
    assert ranked(CITIES["osaka"], mirror("tokyo"), sponsor).ordered == ("tokyo", "newyork")


def test_who_serves_only_under_his_own_url_stands_in_uri_alone() -> None:
    bucket = mirror("tokyo", addresses="")
    elsewhere = Verdict(State.UP, 5.0, serves_select=False)
    found = ranked(CITIES["tokyo"], bucket, mirror("osaka"), mirror("paris"), osaka=elsewhere)
    assert found.ordered == ("tokyo", "osaka", "paris")
    assert found.near[4] == ("paris",)  # the nearest that can
    assert found.not_near[4] == {"tokyo": Reason.NO_ADDRESS, "osaka": Reason.NOT_UNDER_URL}


def test_each_family_has_its_own_near_equals() -> None:
    found = ranked(CITIES["tokyo"], mirror("tokyo"), mirror("paris", addresses="2001:db8::1 192.0.2.2"))
    assert found.near[4] == ("tokyo",) and found.near[6] == ("paris",)


def test_a_list_ends_after_eight_and_keeps_a_mirror_of_each_family_and_another_as() -> None:
    same = [mirror(f"m{n:02}", Place(7, "JP", 35.0, 130.0 + n)) for n in range(10)]
    six = mirror("six", Place(7, "JP", 35.0, 150.0), addresses="2001:db8::1")
    other = mirror("other", Place(8, "JP", 35.0, 160.0))
    found = ranked(Place(7, "JP", 35.0, 130.0), *same, six, other)
    assert found.ordered == ("m00", "m01", "m02", "m03", "m04", "m05", "six", "other")
    assert {n for n, r in found.passed_over.items() if r is Reason.LIST_FULL} == {"m06", "m07", "m08", "m09"}
    assert shortlist(same[:3]) == same[:3]


def test_unknown_and_anycast_askers_get_mirrors_spread_over_the_world() -> None:
    mirrors = [mirror(name) for name in CITIES]
    for place in (UNKNOWN, Place(13335, "US", 37.0, -97.0, anycast=True), Place(asn=64500)):
        found = ranked(place, *mirrors)
        assert found.anywhere and len(found.ordered) == 8 and len(found.near[4]) == 3
        continents = {COUNTRIES[CITIES[name].country].continent for name in found.ordered[:5]}
        assert len(continents) >= 4
    assert spread(mirrors)[:2] == [mirror("frankfurt"), mirror("sydney")]  # the first by name, the farthest from it


def test_spread_begins_with_the_heaviest_and_ends_with_the_unplaced() -> None:
    mirrors = [mirror("lost"), mirror("tokyo"), mirror("paris", weight=500), mirror("sydney")]
    assert [m.name for m in spread(mirrors)] == ["paris", "sydney", "tokyo", "lost"]


def test_near_equals_share_places_by_weight_and_a_leaver_moves_only_his_own() -> None:
    mirrors = [mirror("a", CITIES["tokyo"], weight=300), *(mirror(n, CITIES["tokyo"]) for n in "bc")]
    one = Select("s", "http://s.test/", answers=1)
    places = [Place(asn, "JP", 35.0, 139.0) for asn in range(1, 3001)]
    before = [ranked(place, *mirrors, select=one).near[4][0] for place in places]
    share = Counter(before)
    assert 0.56 < share["a"] / 3000 < 0.64 and 0.17 < share["b"] / 3000 < 0.23  # 3 : 1 : 1
    after = [ranked(place, *mirrors, select=one, b=State.DOWN).near[4][0] for place in places]
    assert all(old == new for old, new in zip(before, after, strict=True) if old != "b")
    without = ranked(places[0], *mirrors[::-1], select=one).near[4][0]
    assert without == before[0]  # the order of the zone file means nothing


def test_weight_zero_is_drawn_only_when_nobody_else_is_there() -> None:
    idle, busy = mirror("idle", CITIES["tokyo"], weight=0), mirror("busy", CITIES["tokyo"], weight=1)
    one = Select("s", "http://s.test/", answers=1)
    for asn in range(50):
        assert ranked(Place(asn, "JP", 35.0, 139.0), idle, busy, select=one).near[4] == ("busy",)
    assert ranked(CITIES["osaka"], idle, select=one).near[4] == ("idle",)


def test_one_set_of_mirrors_has_one_order() -> None:
    names, weights = ["x", "y", "z"], [100, 100, 100]
    first = [names[i] for i in rendezvous.arranged(names, weights)]
    second = [names[::-1][i] for i in rendezvous.arranged(names[::-1], weights)]
    assert first == second


def test_no_mirrors_at_all() -> None:
    found = ranked(CITIES["tokyo"])
    assert found.ordered == () and found.near == {4: (), 6: ()} and not found.last_resort
