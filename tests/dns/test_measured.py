"""What clients report, and how little a liar can do with it."""

from __future__ import annotations

import random
from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornet.dns.ranking import reports as rep
from mirrornet.dns.ranking.estimate import estimate, located
from mirrornet.dns.ranking.measured import BOUND_MS, HALF_LIFE, bound_ms, measured
from mirrornet.dns.ranking.nearest import rank
from mirrornet.dns.ranking.rendezvous import place_key
from mirrornet.dns.ranking.reports import FORGET, OFTEN, PER_PLACE, Reported, Reports, Taken, decode, network_of
from mirrornet.dns.ranking.terms import NO_TERMS, Measured
from mirrornet.model.address import Prefix
from mirrornet.model.place import Place
from mirrornet.model.verdict import State, Verdict
from mirrornet.model.zone import Mirror, Select

SECRET = bytes(range(16))
NOW = 1_800_000_000.0
ROME = Place(100, "IT", 41.9, 12.5)
MIRRORS = tuple(
    Mirror(name, f"http://{name}.test/", (ip_address("192.0.2.1"),), Place(0, country, latitude, longitude))
    for name, country, latitude, longitude in (
        ("milan", "IT", 45.46, 9.19),
        ("paris", "FR", 48.86, 2.35),
        ("sofia", "BG", 42.7, 23.3),
        ("tokyo", "JP", 35.68, 139.69),
    )
)
TRUTH = {m.name: estimate(ROME, m.place, NO_TERMS, m.name).ms for m in MIRRORS}


def network(number: int) -> Prefix:
    return network_of(ip_address((11 << 24) + (number << 8) + 7))


def filled(count: int, rtt: dict[str, float], place: Place = ROME, first: int = 0, at: float = NOW) -> Reports:
    found = Reports(SECRET)
    for number in range(first, first + count):
        found.take("zone", place, network(number), rtt, at)
    return found


def told(found: Reports, places: tuple[Place, ...] = (), now: float = NOW) -> Measured:
    return measured(found.of_zone("zone"), MIRRORS, NO_TERMS, places, now)


def moved(by: dict[str, float], base: float = 0.0) -> dict[str, float]:
    return {name: ms + base + by.get(name, 0.0) for name, ms in TRUTH.items()}


def test_three_networks_move_an_estimate_and_two_do_not() -> None:
    assert told(filled(2, moved({"paris": 15}))) == {}
    found = told(filled(3, moved({"paris": 15})))[place_key(ROME)]
    assert found == {name: pytest.approx(ms + (15 if name == "paris" else 0), abs=0.6) for name, ms in TRUTH.items()}


def test_a_slow_line_is_no_fault_of_the_mirrors() -> None:
    found = told(filled(3, moved({"paris": 15}, base=400)))[place_key(ROME)]
    assert found["milan"] == pytest.approx(TRUTH["milan"], abs=0.6) and found["paris"] == pytest.approx(
        TRUTH["paris"] + 15, abs=0.6
    )


def test_the_median_decides_and_not_the_mean() -> None:
    found = filled(4, moved({}))
    for number in range(50, 53):
        found.take("zone", ROME, network(number), moved({"milan": 4000}), NOW)
    assert told(found)[place_key(ROME)]["milan"] == pytest.approx(TRUTH["milan"], abs=0.6)


def test_the_old_weigh_less() -> None:
    found = filled(3, moved({"paris": 10}), at=NOW - 2 * HALF_LIFE)
    for number in (50, 51):
        found.take("zone", ROME, network(number), moved({"paris": -10}), NOW)
    assert told(found)[place_key(ROME)]["paris"] == pytest.approx(TRUTH["paris"] - 10, abs=0.6)
    assert told(filled(3, moved({"paris": 10}), at=NOW - FORGET - 1)) == {}


def test_one_report_of_a_network_an_hour() -> None:
    found = Reports(SECRET)
    assert found.take("zone", ROME, network(1), moved({}), NOW) is Taken.KEPT
    assert found.take("zone", ROME, network(1), moved({"milan": 9}), NOW + OFTEN - 1) is Taken.TOO_SOON
    assert found.take("zone", ROME, network(1), moved({}), NOW + OFTEN) is Taken.KEPT and len(found) == 1
    assert network_of(ip_address("192.0.2.1")) == network_of(ip_address("192.0.2.250"))
    assert network_of(ip_address("2001:db8:1:2::3")) == network_of(ip_address("2001:db8:1:ffff::9"))
    assert network_of(ip_address("2001:db8:1::")) != network_of(ip_address("2001:db8:2::"))


def test_who_has_no_place_or_one_mirror_says_nothing() -> None:
    found = Reports(SECRET)
    assert found.take("zone", Place(1, "IT"), network(1), moved({}), NOW) is Taken.NO_PLACE
    assert found.take("zone", replace(ROME, anycast=True), network(1), moved({}), NOW) is Taken.NO_PLACE
    assert found.take("zone", ROME, network(1), {"milan": 1.0}, NOW) is Taken.TOO_FEW
    assert len(found) == 0


def test_a_places_networks_are_a_sample_that_haste_does_not_change() -> None:
    numbers = list(range(200))
    kept = []
    for seed in range(3):
        random.Random(seed).shuffle(numbers)
        found = Reports(SECRET)
        for number in numbers:
            found.take("zone", ROME, network(number), moved({}), NOW)
        assert len(found) == PER_PLACE
        kept.append({name for one in found.of_zone("zone") for name in one.reports})
    assert kept[0] == kept[1] == kept[2]


def test_the_memory_is_bounded_and_the_oldest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rep, "MOST_REPORTS", 100)
    found = Reports(SECRET)
    for number in range(400):
        place = Place(number + 1, "IT", 41.9, 12.5)
        found.take("zone", place, network(number), moved({}), NOW + number)
        assert len(found) <= 100
    ages = [report.at for one in found.of_zone("zone") for report in one.reports.values()]
    assert max(ages) == NOW + 399 and min(ages) >= NOW + 290


def test_what_is_old_and_zones_that_are_gone_are_forgotten() -> None:
    found = filled(3, moved({}))
    found.take("other", ROME, network(1), moved({}), NOW)
    found.forget(NOW, ["zone"])
    assert len(found) == 3 and not list(found.of_zone("other"))
    found.forget(NOW + FORGET + 1, ["zone"])
    assert len(found) == 0 and not list(found.of_zone("zone"))


# -- wider levels


def places_of(asns: list[int], country: str = "IT") -> list[Place]:
    return [Place(asn, country, 40.0 + index, 12.0) for index, asn in enumerate(asns)]


def spoken(places: list[Place], by: float) -> Reports:
    """One network in each of `places`, to which paris is farther by `by` ms."""
    found = Reports(SECRET)
    for number, place in enumerate(places):
        rtt = {m.name: estimate(place, m.place, NO_TERMS, m.name).ms for m in MIRRORS}
        found.take("zone", place, network(number), rtt | {"paris": rtt["paris"] + by}, NOW)
    return found


def test_where_a_place_is_silent_its_as_speaks_by_places_and_its_country_by_ases() -> None:
    silent, other_as = Place(100, "IT", 38.1, 13.4), Place(999, "IT", 38.1, 13.4)
    abroad = Place(100, "FR", 43.3, 5.4)
    plain = {p: estimate(p, MIRRORS[1].place, NO_TERMS, "paris").ms for p in (silent, other_as)}
    by_as = told(spoken(places_of([100, 100, 100]), 8), (silent, other_as, abroad))
    assert by_as[place_key(silent)]["paris"] == pytest.approx(plain[silent] + 8, abs=0.6)
    assert place_key(other_as) not in by_as and place_key(abroad) not in by_as
    by_country = told(spoken(places_of([1, 2, 3]), 8), (other_as, abroad))
    assert by_country[place_key(other_as)]["paris"] == pytest.approx(plain[other_as] + 8, abs=0.6)
    assert place_key(abroad) not in by_country
    assert not told(spoken(places_of([1, 2]), 8), (other_as,))
    # A hundred places of one AS are one vote of the country.
    assert place_key(other_as) not in told(spoken(places_of([1] * 40 + [2]), 8), (other_as,))


def test_a_wider_level_moves_half_as_far() -> None:
    silent = Place(100, "IT", 38.1, 13.4)
    found = told(spoken(places_of([100, 100, 100]), 1000), (silent,))
    plain = estimate(silent, MIRRORS[1].place, NO_TERMS, "paris").ms
    assert found[place_key(silent)]["paris"] == pytest.approx(plain + bound_ms(plain) / 2, abs=0.6)


# -- liars

ANY = st.dictionaries(st.sampled_from([m.name for m in MIRRORS]), st.floats(0.1, 5000), min_size=2)
UP = {m.name: Verdict(State.UP, 60.0) for m in MIRRORS}
SELECT = Select("select", "http://s.test/", answers=3)


def honest_at_most(lied_ms: float) -> float:
    """The greatest estimate that lies can bring down to `lied_ms`."""
    return max(lied_ms + BOUND_MS, lied_ms * 4 / 3) + 1


@given(st.lists(ANY, min_size=1, max_size=40))
def test_liars_who_own_every_vote_only_reorder_near_mirrors(lies: list[dict[str, float]]) -> None:
    """A thousand addresses or one: no estimate leaves its bound, and no far mirror comes first."""
    found = Reports(SECRET)
    for number, lie in enumerate(lies):
        found.take("zone", ROME, network(number), lie, NOW)
    terms = replace(NO_TERMS, measured=told(found))
    honest = rank(ROME, SELECT, MIRRORS, UP)
    lied = rank(ROME, SELECT, MIRRORS, UP, None, terms)
    for name, ms in TRUTH.items():
        assert abs(lied.estimates[name].ms - ms) <= bound_ms(ms) + 0.6
    assert set(lied.ordered) == set(honest.ordered), "nothing vanishes"
    best = min(TRUTH.values())
    limit = best + bound_ms(best)
    assert TRUTH[lied.ordered[0]] <= honest_at_most(limit)
    for name in lied.near[4]:  # near-equals: 10 ms or a fifth beyond the first
        assert TRUTH[name] <= honest_at_most(max(limit + 10, limit * 1.2))
    assert lied.ordered[-1] == "tokyo" and "tokyo" not in lied.near[4]


def test_a_liar_with_a_thousand_addresses_in_one_network_is_one_voice() -> None:
    found = filled(3, moved({}))
    for host in range(250):
        found.take("zone", ROME, network_of(ip_address((12 << 24) + host)), moved({"milan": 4000}), NOW + host)
    assert len(found) == 4 and told(found)[place_key(ROME)]["milan"] == pytest.approx(TRUTH["milan"], abs=0.6)


def test_a_liar_is_not_heard_in_other_countries() -> None:
    elsewhere = tuple(located(Place(asn, country)) for asn in (100, 7) for country in ("FR", "DE", "US", "JP"))
    lies = filled(1000, moved({"milan": 4000}))
    assert set(told(lies, elsewhere)) == {place_key(ROME)}


# -- the file


def test_reports_outlive_a_restart() -> None:
    found = filled(5, moved({"paris": 15}))
    again = decode(found.encode())
    assert len(again) == 5 and told(again) == told(found)
    assert again.take("zone", ROME, network(2), moved({}), NOW + 1) is Taken.TOO_SOON


def test_no_address_is_in_the_file() -> None:
    found = Reports(SECRET)
    found.take("zone", ROME, network_of(ip_address("203.0.113.77")), moved({}), NOW)
    data = found.encode()
    assert b"203.0.113" not in data and str(int(ip_address("203.0.113.0"))).encode() not in data


@given(st.data())
def test_a_damaged_file_is_refused(data: st.DataObject) -> None:
    whole = filled(3, moved({})).encode()
    at = data.draw(st.integers(0, len(whole) - 1))
    kind = data.draw(st.sampled_from(["cut", "flip", "noise"]))
    broken = whole[:at] if kind == "cut" else whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
    with pytest.raises(ValueError, match="damaged"):
        decode(data.draw(st.binary()) if kind == "noise" else broken)


@pytest.mark.parametrize("body", [b"{}", b"[]", b"null", b'{"secret":"00","zones":{}}', b'{"secret":5,"zones":{}}'])
def test_a_file_of_another_program_with_a_right_checksum(body: bytes) -> None:
    import hashlib

    with pytest.raises(ValueError, match=r"\w"):
        decode(f"mirrornet rtt reports 1 {hashlib.sha256(body).hexdigest()}\n".encode() + body)


def test_an_empty_place_says_nothing() -> None:
    assert measured([Reported(ROME)], MIRRORS, NO_TERMS, [ROME], NOW) == {}
