"""What an estimate may know besides two places, and what it makes of it."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from mirrornet.data.countries import COUNTRIES
from mirrornet.data.detours import CELL, DETOURS, LETTERS, MAP, REGIONS
from mirrornet.dns.planning.hops import Graph
from mirrornet.dns.ranking.estimate import estimate, located, share_of_table
from mirrornet.dns.ranking.rendezvous import place_key
from mirrornet.dns.ranking.terms import MOST_HOPS, Terms, region_of, round_trip, words, words_of
from mirrornet.model import links
from mirrornet.model.links import Links
from mirrornet.model.place import Place

SAO_PAULO = Place(1, "BR", -23.55, -46.63)
CAPE_TOWN = Place(2, "ZA", -33.92, 18.42)
LONDON = Place(3, "GB", 51.51, -0.13)
TOKYO = Place(4, "JP", 35.68, 139.69)
LAGOS = Place(5, "NG", 6.45, 3.39)


def region(place: Place) -> str:
    assert place.latitude is not None and place.longitude is not None
    return REGIONS[region_of(place.latitude, place.longitude)]


def test_the_map_is_whole_and_every_region_is_on_it() -> None:
    assert len(MAP) * CELL == 180 and {len(row) * CELL for row in MAP} == {360}
    assert set("".join(MAP)) == set(LETTERS) and len(LETTERS) == len(REGIONS) == len(DETOURS)
    assert all(DETOURS[i][j] == DETOURS[j][i] for i, j in product(range(len(REGIONS)), repeat=2))
    assert [region(p) for p in (SAO_PAULO, CAPE_TOWN, LONDON, TOKYO, LAGOS)] == [
        "brazil-south",
        "southern-africa",
        "europe-west",
        "japan",
        "west-africa",
    ]


@pytest.mark.parametrize("point", [(90.0, 180.0), (-90.0, -180.0), (-90.0, 180.0), (90.0, -180.0), (0.0, 0.0)])
def test_every_point_has_a_region(point: tuple[float, float]) -> None:
    assert 0 <= region_of(*point) < len(REGIONS)


def test_every_country_has_a_region_of_its_neighbourhood() -> None:
    far = {}
    for country in COUNTRIES.values():
        name = REGIONS[region_of(country.latitude, country.longitude)]
        far.setdefault(country.continent, set()).add(name)
    assert far["EU"].isdisjoint(far["SA"] | far["OC"]) and far["AF"].isdisjoint(far["SA"] | far["NA"])


def test_the_way_from_brazil_to_south_africa_is_by_europe_or_america_though_they_face_each_other() -> None:
    assert estimate(SAO_PAULO, CAPE_TOWN).ms > estimate(SAO_PAULO, LONDON).ms > estimate(CAPE_TOWN, LONDON).ms
    assert estimate(SAO_PAULO, CAPE_TOWN).detour_km > 8000
    assert estimate(TOKYO, LONDON).ms > 190


def test_a_detour_never_parts_neighbours() -> None:
    """Two places 50 km apart at a border of two regions are near each other, whatever the way between the middles."""
    haifa, suez = Place(0, "IL", 32.6, 34.99), Place(0, "IL", 32.4, 34.99)
    for terms in (Terms(), Terms(detours=[[20_000] * len(REGIONS)] * len(REGIONS))):
        assert estimate(haifa, suez, terms).ms < 20 + 0.0125 * 4 * 25


def test_a_correction_takes_at_most_a_third_of_the_great_circle() -> None:
    short = Terms(detours=[[-50_000] * len(REGIONS)] * len(REGIONS))
    found = estimate(SAO_PAULO, LONDON, short)
    assert found.km is not None and found.distance_ms == pytest.approx(20 + 0.0125 * found.km * 2 / 3)


def test_a_place_by_its_words_the_most_exact_first() -> None:
    assert words_of(TOKYO) == ("JP", "region:japan", "continent:AS")
    assert words("", 3) == ("region:us-south",) and words("XX", -1) == ("XX",)
    table = {("JP", "GB"): 210.0, ("continent:AS", "continent:EU"): 180.0, ("region:japan", "continent:EU"): 200.0}
    assert round_trip(table, words_of(TOKYO), words_of(LONDON)) == 210.0
    assert round_trip(table, words_of(LONDON), words_of(TOKYO)) == 210.0, "one direction stands for both"
    assert round_trip(table, words_of(TOKYO), words_of(located(Place(country="DE")))) == 200.0
    assert round_trip(table, words_of(located(Place(country="SG"))), words_of(LONDON)) == 180.0
    assert round_trip(table, words_of(SAO_PAULO), words_of(LONDON)) is None


def test_an_operators_table_counts_by_half_far_away_and_not_at_all_nearby() -> None:
    plain = estimate(TOKYO, LONDON)
    told = estimate(TOKYO, LONDON, Terms(round_trips={("JP", "GB"): 300.0}))
    assert told.ms == pytest.approx((plain.ms + 300) / 2, abs=0.02) and told.table_ms == 300.0
    osaka = Place(0, "JP", 34.69, 135.5)
    assert estimate(TOKYO, osaka, Terms(round_trips={("JP", "JP"): 300.0})).ms == estimate(TOKYO, osaka).ms
    assert [share_of_table(km) for km in (0, 500, 1000, 1500, 20000)] == [0, 0, 0.25, 0.5, 0.5]


def test_what_was_measured_counts_within_its_bounds() -> None:
    plain = estimate(TOKYO, LONDON).units
    for ms, expected in ((plain / 64 + 7, plain + 7 * 64), (1.0, plain - plain // 2), (4000.0, plain + plain // 2)):
        terms = Terms(measured={place_key(TOKYO): {"london": ms}})
        assert estimate(TOKYO, LONDON, terms, "london").units == pytest.approx(expected, abs=1)
        assert estimate(TOKYO, LONDON, terms, "other").units == plain
        assert estimate(LAGOS, LONDON, terms, "london").units == estimate(LAGOS, LONDON).units


#   1 --- 2        peers at the top
#   |     |
#   3     4 --- 5  5 is a peer of 4
#   |     |
#   6     7
ROWS = [(1, 2, 0), (1, 3, -1), (2, 4, -1), (3, 6, -1), (4, 7, -1), (4, 5, 0)]


def graph(rows: list[tuple[int, int, int]]) -> Graph:
    found = Links.read(memoryview(links.encode(rows)))
    assert found is not None
    return Graph(found)


def test_hops_follow_who_pays_whom() -> None:
    seven = graph(ROWS).hops(7)
    assert [seven.of(asn) for asn in (7, 4, 2, 5, 1)] == [0, 1, 2, 2, 3]
    assert seven.of(6) == MOST_HOPS, "five hops are not told from four"
    five = graph(ROWS).hops(5)
    assert (five.of(4), five.of(7)) == (1, 2)
    assert five.of(2) == MOST_HOPS, "nobody carries a peer's traffic up to his provider"
    assert seven.of(99) == MOST_HOPS and graph(ROWS).hops(99).of(7) == MOST_HOPS


def brute(rows: list[tuple[int, int, int]], start: int) -> dict[int, int]:
    """The same by walking (AS, may still go up), one hop after the other."""
    steps: dict[int, list[tuple[int, str]]] = {}
    for a, b, kind in rows:
        steps.setdefault(a, []).append((b, "down" if kind == -1 else "over"))
        steps.setdefault(b, []).append((a, "up" if kind == -1 else "over"))
    here, found = {(start, True)}, {start: 0}
    seen = set(here)
    for hop in range(1, MOST_HOPS):
        here = {
            (there, way == "up") for asn, free in here for there, way in steps.get(asn, []) if way == "down" or free
        } - seen
        seen |= here
        for asn, _ in here:
            found.setdefault(asn, hop)
    return found


@pytest.mark.parametrize("seed", range(20))
def test_hops_are_those_of_a_plain_walk(seed: int) -> None:
    dice = np.random.default_rng(seed)
    rows = [
        (int(a), int(b), int(k))
        for a, b, k in zip(*dice.integers(1, 30, (2, 40)), dice.integers(-1, 1, 40), strict=True)
    ]
    read = Links.read(memoryview(links.encode(rows)))
    assert read is not None
    kept = list(zip(read.a.tolist(), read.b.tolist(), read.kind.tolist(), strict=True))
    swept = graph(rows)
    for start in range(1, 30):
        walked = brute(kept, start)
        hops = swept.hops(start)
        assert [hops.of(asn) for asn in range(1, 30) if asn != start] == [
            walked.get(asn, MOST_HOPS) for asn in range(1, 30) if asn != start
        ]


def test_each_hop_costs_five_ms_and_an_unknown_as_four_hops() -> None:
    swept = graph(ROWS)
    terms = Terms(hops={7: swept.hops(7), 0: swept.hops(0)})
    mirror = Place(7, "GB", 51.51, -0.13)

    def extra(asn: int, at: Place = mirror) -> float:
        here = Place(asn, "GB", 51.0, 0.0)
        return estimate(here, at, terms).ms - estimate(here, at).ms

    assert (extra(7), extra(4), extra(2), extra(6), extra(0), extra(99)) == (0, 5, 10, 20, 20, 20)
    assert extra(4, Place(0, "GB", 51.51, -0.13)) == 20
    assert estimate(LAGOS, LONDON).hops is None
