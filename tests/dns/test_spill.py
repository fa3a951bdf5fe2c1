"""Many mirrors out at once: who is full, where the others go, and that the plan comes to the same as plain code."""

from __future__ import annotations

import array
import random
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address, ip_address
from math import floor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirrornet.dns.explain import explain
from mirrornet.dns.explain_text import text
from mirrornet.dns.planning.crowding import NO_CROWD, Crowd, crowds_in
from mirrornet.dns.planning.plan import Planner
from mirrornet.dns.ranking import rendezvous
from mirrornet.dns.ranking.closing import turn
from mirrornet.dns.ranking.estimate import estimate, located
from mirrornet.dns.ranking.nearest import Ranking, rank, unable
from mirrornet.dns.ranking.policy import Policy, tier
from mirrornet.dns.ranking.whereabouts import placed_mirrors
from mirrornet.dns.simulate.compare import simulate
from mirrornet.dns.simulate.sides import Side
from mirrornet.dns.simulate.text import text as shown
from mirrornet.model.place import UNKNOWN, Place
from mirrornet.model.table import WorldTable, encode, encode_place
from mirrornet.model.verdict import State, Verdict
from mirrornet.model.zone import HealthSettings, Mirror, Select, Zone

UP, DOWN = Verdict(State.UP, 30.0), Verdict(State.DOWN, 5.0)
SELECT = Select("select", "http://select.zone.test/")
CITIES = {
    "tokyo": ("JP", 35.68, 139.69),
    "seoul": ("KR", 37.57, 126.98),
    "sydney": ("AU", -33.87, 151.21),
    "frankfurt": ("DE", 50.11, 8.68),
    "paris": ("FR", 48.86, 2.35),
    "newyork": ("US", 40.71, -74.01),
    "dallas": ("US", 32.78, -96.8),
    "saopaulo": ("BR", -23.55, -46.63),
}


def world(places: list[Place], blocks: list[int], blocks6: list[int]) -> WorldTable:
    """A table where block n of IPv4 (a /16 from 1.0.0.0 on) and of IPv6 (a /44) are at the place of that number."""
    families = []
    for code, first, size, numbers in (("I", 1 << 24, 1 << 16, blocks), ("Q", 0x2400 << 48, 1 << 20, blocks6)):
        starts = [0, *(first + n * size for n in range(len(numbers) + 1))]
        owners = [0, *(number + 1 for number in numbers), 0]
        columns = [bytes(16 if owner else 255 for owner in owners), bytes(0 if owner else 255 for owner in owners)]
        columns = [array.array(code, starts).tobytes(), array.array("I", owners).tobytes(), *columns]
        families.append((*columns, bytes(len(owners))))
    records = b"".join(map(encode_place, [UNKNOWN, *places]))
    return WorldTable(b"".join(encode(0.0, *families, records, ["RADB"])))


def mirror(name: str, city: str, number: int, weight: int = 100, six: bool = True) -> Mirror:
    country, latitude, longitude = CITIES[city]
    addresses = [f"192.0.2.{number + 1}"] + ([f"2001:db8::{number + 1}"] if six else [])
    place = Place(0, country, latitude, longitude)
    return Mirror(name, f"http://{name}.test/", tuple(map(ip_address, addresses)), place, weight)


def zone(*mirrors: Mirror, spill: float = 2.0, select: Select = SELECT) -> Zone:
    health = HealthSettings(spill=spill)
    return Zone(Path("z"), "zone.test", "h@zone.test", 1, {}, None, (select,), mirrors, health)


def askers(city: str, count: int, first: int = 1) -> list[Place]:
    country, latitude, longitude = CITIES[city]
    return [Place(asn, country, latitude, longitude) for asn in range(first, first + count)]


def crowd(of: Zone, table: WorldTable, *down: str) -> Crowd:
    plan = Planner([of], table, {}).plan({of.name: {m.name: DOWN if m.name in down else UP for m in of.mirrors}}, 1)
    return crowds_in(plan.notes).get(of.name, {}).get("select", NO_CROWD)


def test_of_ten_equals_six_die_and_the_four_share_evenly_and_the_plan_says_so() -> None:
    of = zone(*(mirror(f"m{n}", "tokyo", n) for n in range(10)), select=replace(SELECT, answers=1))
    table = world(askers("tokyo", 400), list(range(400)), list(range(400)))
    found = crowd(of, table, *(f"m{n}" for n in range(6)))
    assert found.overload == pytest.approx(2.5 / 2, rel=0.15)  # each carries two and a half times its usual load
    loads = [found.loads[f"m{n}"] for n in range(6, 10)]
    assert sum(loads) == pytest.approx(1) and max(loads) < 0.29
    assert crowd(of, table, *(f"m{n}" for n in range(4))) == NO_CROWD  # ten thirds of six: within the bound
    assert crowd(of, table) == NO_CROWD


def test_a_continents_only_two_die_and_the_next_fills_up_before_the_one_after() -> None:
    of = zone(*(mirror(name, name, n) for n, name in enumerate(("frankfurt", "paris", "newyork", "dallas", "tokyo"))))
    places = [*askers("frankfurt", 120), *askers("newyork", 40, 500), *askers("dallas", 40, 700)]
    places += askers("tokyo", 40, 900)
    table = world(places, list(range(240)), list(range(240)))
    found = crowd(of, table, "frankfurt", "paris")
    assert found.overload == 1.0
    assert {name: round(load, 1) for name, load in found.usual.items() if name == "newyork"} == {"newyork": 0.2}
    assert found.loads["newyork"] == pytest.approx(0.4, abs=0.01) and found.loads["newyork"] <= 0.4
    assert found.loads["dallas"] == pytest.approx(0.4, abs=0.01)  # New York's overflow, up to the bound as well
    assert found.loads["tokyo"] == pytest.approx(0.2, abs=0.02)  # the rest
    assert set(found.limits) == {"newyork", "dallas"}
    one = crowd(of, table, "frankfurt")
    assert one == NO_CROWD  # Paris is near, and may carry both


def test_whom_a_mirror_has_always_served_stays_and_those_from_afar_go_on() -> None:
    of = zone(*(mirror(name, name, n) for n, name in enumerate(("frankfurt", "newyork", "dallas"))))
    places = [*askers("frankfurt", 120), *askers("newyork", 60, 500), *askers("dallas", 60, 700)]
    table = world(places, list(range(240)), list(range(240)))
    verdicts = {"frankfurt": DOWN, "newyork": UP, "dallas": UP}
    plan = Planner([of], table, {}).plan({of.name: verdicts}, 1)
    limits = crowds_in(plan.notes)[of.name]["select"].limits
    ordered = [rank(place, SELECT, of.mirrors, verdicts, limits=limits).ordered for place in places]
    assert set(ordered[120:180]) == {("newyork", "dallas")}
    assert set(ordered[180:]) <= {
        ("dallas", "newyork"),
        ("dallas",),
    }
    assert sum(one[0] == "dallas" for one in ordered[:120]) == 20


def test_weights_are_capacities() -> None:
    """The great one dies; of the others, equally near, the heavier takes more."""
    of = zone(
        mirror("great", "newyork", 0, 600), mirror("middle", "dallas", 1, 300), mirror("small", "saopaulo", 2, 100)
    )
    table = world(askers("newyork", 300), list(range(300)), list(range(300)))
    found = crowd(of, table, "great")
    assert found.usual == pytest.approx({"great": 1.0, "middle": 0.3, "small": 0.1}, abs=0.01)
    # They hold 0.8 of 1 together, so each is as full as the other, but for five parts in a hundred of the whole.
    assert found.overload == pytest.approx(1.25, rel=0.06)
    assert found.loads["middle"] == pytest.approx(0.75, abs=0.05) and found.loads["small"] == pytest.approx(
        0.25, abs=0.05
    )


def test_whom_a_mirror_is_meant_for_leaves_last_however_far() -> None:
    sponsor = replace(mirror("sponsor", "newyork", 1), prefer=("DE",))
    of = zone(mirror("frankfurt", "frankfurt", 0), sponsor, mirror("dallas", "dallas", 2), spill=1.2)
    places = [*askers("frankfurt", 50), *askers("newyork", 50, 500), *askers("dallas", 50, 700)]
    table = world(places, list(range(150)), list(range(150)))
    verdicts = {"frankfurt": UP, "sponsor": UP, "dallas": DOWN}
    plan = Planner([of], table, {}).plan({of.name: verdicts}, 1)
    found = crowds_in(plan.notes)[of.name]["select"]
    policy = Policy(of.mirrors)
    firsts = [rank(p, SELECT, of.mirrors, verdicts, policy.held(p), limits=found.limits).ordered[0] for p in places]
    assert set(firsts[:100]) == {"sponsor"}
    assert firsts[100:].count("frankfurt") == 30  # where there is room, though it is across the sea
    assert found.overload == 1.0 and set(found.limits) == {"sponsor"}


def test_what_is_full_is_said_by_explain_and_by_simulate() -> None:
    of = zone(*(mirror(name, name, n) for n, name in enumerate(("frankfurt", "newyork", "dallas"))))
    places = [*askers("frankfurt", 120), *askers("newyork", 60, 500), *askers("dallas", 60, 700)]
    table = world(places, list(range(240)), list(range(240)))
    planner = Planner([of], table, {})
    verdicts = {"frankfurt": DOWN, "newyork": UP, "dallas": UP}
    plan = planner.plan({of.name: verdicts}, 1)
    found = crowds_in(plan.notes)[of.name]["select"]
    asked = [IPv4Address((1 << 24) + (n << 16)) for n in range(240)]
    told = [
        text(explain(of, SELECT, asked[n], table.match(asked[n]), of.mirrors, verdicts, {}, crowd=found))
        for n in (*range(0, 120, 10), 130)
    ]
    first = {one.split("shifted  ")[1].split("\n")[0].partition(":")[2] for one in told[:-1]}
    assert first == {" this place went to dallas", ""}
    assert "newyork is full while others are out, and keeps whom it is meant for and who is within" in told[0]

    side = Side(of, SELECT, plan, planner.survey(of.name), table)
    simulation = simulate(side, side)
    assert [(one.mirror, round(one.load, 1), round(one.usual, 1)) for one in simulation.full] == [("newyork", 0.7, 0.3)]
    assert "full: newyork, 66.7 % of the load (usually 33.3 %), keeps those within" in shown(simulation)
    loads = {one.mirror: one.after for one in simulation.families[0].loads}
    assert loads == pytest.approx(dict(found.loads) | {"frankfurt": 0.0}, abs=0.001)


# The rule once more, in plain code, one place at a time.


class Plain:
    """Deferred acceptance over the places of `table`, which says nothing of wards."""

    def __init__(self, of: Zone, table: WorldTable, verdicts: Mapping[str, Verdict]) -> None:
        self.zone, self.select, self.verdicts = of, of.select[0], verdicts
        self.mirrors = placed_mirrors(of, table.match)
        self.policy = Policy(self.mirrors)
        self.places = [located(table.place(number)) for number in range(table.place_count)]
        self.demand = {family: [0] * len(self.places) for family in (4, 6)}
        for family, last in ((4, (1 << 32) - 1), (6, (1 << 64) - 1)):
            starts, numbers = list(table.ranges[family].starts), list(table.ranges[family].places)
            joined: list[tuple[int, int, int]] = []
            for start, end, number in zip(starts, [s - 1 for s in starts[1:]] + [last], numbers, strict=True):
                begins = joined.pop()[0] if joined and joined[-1][2] == number else start
                joined.append((begins, end, number))
            for start, end, number in joined:
                self.demand[family][number] += counted(family, start, end)
            for number, place in enumerate(self.places):
                self.demand[family][number] *= place.known
            whole = sum(self.demand[family])
            scale = 2**40 // whole * 840 if whole else 0
            self.demand[family] = [weight * scale for weight in self.demand[family]]

    def ranking(self, number: int, verdicts: Mapping[str, Verdict], limits: Mapping[str, int]) -> Ranking:
        return rank(self.places[number], self.select, self.mirrors, verdicts, limits=limits)

    def sent(self, verdicts: Mapping[str, Verdict], limits: Mapping[str, int]) -> list[dict[str, int]]:
        """What of each place every mirror carries."""
        found = []
        for number, place in enumerate(self.places):
            parts: dict[str, int] = {}
            if place.known:
                ranking = self.ranking(number, verdicts, limits)
                four = ranking.near[4] or ranking.ordered[:1]
                for family, names in ((4, four), (6, ranking.near[6] or four)):
                    for name in names:
                        parts[name] = parts.get(name, 0) + self.demand[family][number] // len(names)
            found.append(parts)
        return found

    def loads(self, sent: list[dict[str, int]]) -> dict[str, int]:
        return {m.name: sum(one.get(m.name, 0) for one in sent) for m in self.mirrors}

    def turn(self, number: int, one: Mirror) -> int:
        place = self.places[number]
        lot = rendezvous.lot(rendezvous.place_key(place), rendezvous.name_key(one.name))
        return turn(tier(one, self.policy.held(place)), estimate(place, one.place, mirror=one.name).units, lot)

    def usual(self) -> tuple[dict[str, int], int]:
        up = {m.name: replace(self.verdicts[m.name], state=State.UP, share=1.0, families=None) for m in self.mirrors}
        sent = self.sent(up, {})
        loads = self.loads(sent)
        able = [m for m in self.mirrors if None in (unable(m, up[m.name], 4), unable(m, up[m.name], 6))] or self.mirrors
        whole, weights = sum(loads.values()), sum(m.weight for m in able)
        parts = {m.name: whole * m.weight // weights for m in able} if weights else {}
        usual = {n: max(load, parts.get(n, 0), whole // 1000 // len(self.mirrors)) for n, load in loads.items()}
        return usual, self.lump(up)

    def lump(self, up: Mapping[str, Verdict]) -> int:
        """The largest part of one family of one place."""
        found = 0
        for number, place in enumerate(self.places):
            if place.known:
                ranking = self.ranking(number, up, {})
                four = ranking.near[4] or ranking.ordered[:1]
                for family, names in ((4, four), (6, ranking.near[6] or four)):
                    found = max(found, self.demand[family][number] // max(1, len(names)))
        return found

    def limits(self) -> dict[str, int]:
        usable = [m for m in self.mirrors if self.verdicts[m.name].usable]
        usual, lump = self.usual()
        bounds = {name: floor(load * self.zone.health.spill) for name, load in usual.items()}
        bounds = {name: max(bound, lump) if bound else 0 for name, bound in bounds.items()}
        loads = self.loads(self.sent(self.verdicts, {}))
        if all(loads[m.name] <= bounds[m.name] for m in usable):
            return {}
        room = sum(bounds[m.name] for m in usable)
        whole = sum(loads.values())
        raised = dict.fromkeys(bounds, 1.05 * whole / room if room < whole else 1.0)
        for _ in range(24):
            limits, stuck = self.attempt(usable, {name: floor(bounds[name] * raised[name]) for name in bounds})
            if not stuck:
                break
            raised = {name: by * 1.15 if name in stuck else by for name, by in raised.items()}
        return limits

    def attempt(self, usable: list[Mirror], bounds: Mapping[str, int]) -> tuple[dict[str, int], set[str]]:
        limits: dict[str, int] = {}
        while True:
            sent = self.sent(self.verdicts, limits)
            loads = self.loads(sent)
            over = [m for m in usable if loads[m.name] > bounds[m.name]]
            if not over:
                return limits, set()
            lower = {}
            for one in over:
                rows = [
                    (self.turn(number, one), parts[one.name]) for number, parts in enumerate(sent) if one.name in parts
                ]
                limit = limits.get(one.name, 1 << 63)
                room = bounds[one.name] - sum(part for key, part in rows if key >= limit)
                for key, part in sorted(row for row in rows if row[0] < limit):
                    room -= part
                    if room < 0:
                        lower[one.name] = key
                        break
            if not lower:
                return limits, self.stuck(usable, over, sent, limits)
            limits |= lower

    def stuck(
        self, usable: list[Mirror], over: list[Mirror], sent: list[dict[str, int]], limits: Mapping[str, int]
    ) -> set[str]:
        found = {m.name for m in over}
        for number, parts in enumerate(sent):
            held = self.policy.held(self.places[number])
            for one in over:
                if one.name in parts and one.name in limits and self.turn(number, one) >= limits[one.name]:
                    found |= {
                        m.name
                        for m in usable
                        if m.name in limits
                        and not held.any_of(m.never)
                        and (not m.only or held.any_of(m.only))
                        and self.turn(number, m) >= limits[m.name]
                    }
        return found


def counted(family: int, first: int, last: int) -> int:
    return last - first + 1 if family == 4 else min((last - first) // 65536, 65535) + 1


def random_world(dice: random.Random, count: int) -> tuple[Zone, WorldTable, dict[str, Verdict]]:
    places = []
    for asn in range(1, dice.choice([3, 12, 40])):
        country, latitude, longitude = CITIES[dice.choice(list(CITIES))]
        places.append(Place(asn, country, latitude + dice.choice([0, 0, 2]), longitude))
    blocks = [dice.randrange(len(places)) for _ in range(dice.choice([len(places), 80]))]
    blocks6 = [dice.randrange(len(places)) for _ in range(dice.choice([0, 30]))]
    mirrors = []
    for number in range(count):
        one = mirror(
            f"m{number}", dice.choice(list(CITIES)), number, dice.choice([100, 100, 20, 500]), dice.random() < 0.6
        )
        if dice.random() < 0.1:
            one = replace(one, addresses=one.addresses[1:])
        if dice.random() < 0.25:
            key = dice.choice(["only", "prefer", "never"])
            one = replace(one, **{key: (dice.choice(["JP", "US", "continent:EU", "AS3"]),)})
        mirrors.append(one)
    states = dice.choice([[State.UP, State.DOWN], [State.UP] * 3 + [State.DOWN, State.STALE], [State.UP, State.SLOW]])
    verdicts = {}
    for one in mirrors:
        families = dice.choice([None] * 5 + [frozenset({4})])
        verdicts[one.name] = Verdict(dice.choice(states), 9.0, share=dice.choice([1, 1, 1, 0.5]), families=families)
    answers, ipv6 = dice.choice([1, 2, 3]), dice.choice(["all", "near"])
    select = replace(SELECT, answers=answers, ipv6=ipv6)
    of = zone(*mirrors, spill=dice.choice([1.0, 1.3, 2.0]), select=select)
    return of, world(places, blocks, blocks6), verdicts


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 9))
def test_the_plan_comes_to_the_limits_that_plain_code_comes_to(seed: int, mirrors: int) -> None:
    of, table, verdicts = random_world(random.Random(seed), mirrors)
    plan = Planner([of], table, {}).plan({of.name: verdicts}, 1)
    found = crowds_in(plan.notes).get(of.name, {}).get("select", NO_CROWD)
    plain = Plain(of, table, verdicts)
    assert found.limits == plain.limits()
    if found is not NO_CROWD:
        loads = plain.loads(plain.sent(verdicts, found.limits))
        assert found.loads == pytest.approx(
            {n: load / sum(loads.values()) for n, load in loads.items() if n in found.loads}
        )
        assert all(load == 0 for name, load in loads.items() if name not in found.loads)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 12))
def test_nobody_is_over_the_bound_while_others_have_room(seed: int, count: int) -> None:
    """Where everybody may go everywhere, and beside the load there is room for the largest place at every mirror."""
    dice = random.Random(seed)
    of, table, verdicts = random_world(dice, count)
    mirrors = tuple(
        replace(m, only=(), never=(), addresses=mirror("any", "tokyo", n).addresses) for n, m in enumerate(of.mirrors)
    )
    verdicts = {name: replace(verdict, share=1.0, families=None) for name, verdict in verdicts.items()}
    of = replace(of, mirrors=mirrors, select=(replace(SELECT, answers=1),))
    plan = Planner([of], table, {}).plan({of.name: verdicts}, 1)
    found = crowds_in(plan.notes).get(of.name, {}).get("select", NO_CROWD)
    if found is NO_CROWD:
        return
    up = [m.name for m in mirrors if verdicts[m.name].usable]
    plain = Plain(of, table, verdicts)
    whole = sum(plain.loads(plain.sent(verdicts, {})).values())
    lump = max(map(sum, zip(*plain.demand.values(), strict=True))) / whole
    bound = {name: found.bounds[name] for name in up}
    over = [name for name in up if found.loads.get(name, 0) > bound[name] + 1e-9]
    assert bool(over) == (found.overload > 1 + 1e-9)
    if sum(bound.values()) >= 1 + lump * len(up):
        assert not over
