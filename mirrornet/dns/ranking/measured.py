"""From clients' reports to what an estimate may take from them: only differences, only medians, only so much.

*Differences.*  A client on a slow line is far from every mirror, so of a report only this counts: how much more (or
less) than estimated each mirror took, compared with the report's other mirrors (their median is taken off).  A mirror
of which nobody reports is thereby neither favoured nor punished.

*Votes.*  In a place every network has one, and the median decides, each weighted by its age: half after a day.  Fewer
than three say nothing.  Where a place is silent its AS in that country speaks, one vote a place; where that is silent,
too, the country, one vote an AS; never fewer than three votes.  A wider level counts half, for it is about others.

*Bounds.*  No estimate moves by more than max(20 ms, a quarter), by a wider level half of that.  So whoever owns every
vote of a place can bring a mirror before another only where the two estimates e < f have f - bound(f) <= e + bound(e):
of 40 ms those up to 80, of 100 ms those up to 166.  Nothing makes a mirror vanish, and no place hears from one of
another AS or country but through these votes.

What it is worth (`make bench-nearest`, of 8 mirrors, first of the list within 10 ms of the best): 95 % without reports,
99.7 % with those of three honest networks, 86 % where all who report lie.

Rejected: measured values in place of estimates (the nearest that nobody measured loses against all that slow lines
did); an AS's votes across countries (a cloud's AS is everywhere); a mean (one liar moves it).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Final

from mirrornet.dns.ranking.estimate import UNIT, estimate, located
from mirrornet.dns.ranking.rendezvous import place_key
from mirrornet.dns.ranking.reports import EARLY, FORGET, Reported
from mirrornet.dns.ranking.terms import Measured, Terms
from mirrornet.model.place import Place
from mirrornet.model.zone import Mirror

VOTES: Final = 3
HALF_LIFE: Final = 86400.0  # seconds
BOUND_MS: Final = 20.0
BOUND_PART: Final = 4  # or a quarter of the estimate
WIDER: Final = 2  # a wider level's bound is divided by this
MOST_PLACES: Final = 20_000  # of which anything is told to the planner

Shifts = dict[str, float]  # ms by mirror


def bound_ms(estimated: float, wider: bool = False) -> float:
    """How far an estimate of so many ms may move, in ms."""
    most = max(BOUND_MS, estimated / BOUND_PART)
    return most / WIDER if wider else most


def measured(
    reported: Iterable[Reported], mirrors: Sequence[Mirror], terms: Terms, places: Iterable[Place], now: float
) -> Measured:
    """What Terms.measured should be: ms by place_key() and mirror.

    `mirrors`: placed_mirrors(); `terms`: the other terms; `places`: the map's places in the countries of `reported`,
    of which silent ones may hear from a wider level.
    """
    plain = replace(terms, measured={})
    found = Votes(reported, mirrors, plain, now)
    result: dict[int, dict[str, float]] = {}
    for own, place in [*((True, one) for one in found.exact_places), *((False, located(one)) for one in places)]:
        number = place_key(place)
        if number in result or not place.known or (not own and len(result) >= MOST_PLACES):
            continue
        told = {}
        for mirror in mirrors:
            shift, wider = found.shift(place, mirror.name)
            if shift is not None:
                ms = estimate(place, mirror.place, plain, mirror.name).units / UNIT
                most = bound_ms(ms, wider)
                # Whole ms: a finer one would make a new plan of every breath.
                told[mirror.name] = float(round(ms + min(max(shift, -most), most)))
        if told:
            result[number] = told
    return result


class Votes:
    """The shifts by level: place, AS in a country, country."""

    def __init__(self, reported: Iterable[Reported], mirrors: Sequence[Mirror], plain: Terms, now: float) -> None:
        by_name = {m.name: m for m in mirrors}
        self.exact: dict[int, Shifts] = {}
        self.exact_places: list[Place] = []
        of_place: dict[tuple[int, str], dict[str, list[float]]] = {}
        for one in reported:
            votes = _votes(one, by_name, plain, now)
            shifts = {name: _weighted_median(cast) for name, cast in votes.items()}
            self.exact[place_key(one.place)] = {n: s for n, s in shifts.items() if len(votes[n]) >= VOTES}
            self.exact_places.append(one.place)
            if one.place.asn and one.place.country:
                _add(of_place.setdefault((one.place.asn, one.place.country), {}), shifts)
        self.of_asn = {where: _counted(cast) for where, cast in of_place.items()}
        of_country: dict[str, dict[str, list[float]]] = {}
        for (_, country), cast in of_place.items():
            _add(of_country.setdefault(country, {}), {name: median(votes) for name, votes in cast.items()})
        self.of_country = {country: _counted(cast) for country, cast in of_country.items()}

    def shift(self, place: Place, mirror: str) -> tuple[float | None, bool]:
        """(ms that `mirror` is farther from `place` than estimated, None where nobody says; by a wider level)."""
        own = self.exact.get(place_key(place), {}).get(mirror)
        if own is not None:
            return own, False
        if (wide := self.of_asn.get((place.asn, place.country), {}).get(mirror)) is not None:
            return wide, True
        return self.of_country.get(place.country, {}).get(mirror), True


def _votes(
    one: Reported, by_name: Mapping[str, Mirror], plain: Terms, now: float
) -> dict[str, list[tuple[float, float]]]:
    """(shift, weight) of each network, by mirror."""
    names = {name for report in one.reports.values() for name in report.rtt if name in by_name}
    estimates = {name: estimate(one.place, by_name[name].place, plain, name).units / UNIT for name in names}
    votes: dict[str, list[tuple[float, float]]] = {}
    for report in one.reports.values():
        age = now - report.at
        residuals = {name: ms - estimates[name] for name, ms in report.rtt.items() if name in estimates}
        if len(residuals) < 2 or not -EARLY <= age <= FORGET:
            continue
        middle = median(residuals.values())
        weight = 0.5 ** (max(age, 0.0) / HALF_LIFE)
        for name, residual in residuals.items():
            votes.setdefault(name, []).append((residual - middle, weight))
    return votes


def _weighted_median(votes: Sequence[tuple[float, float]]) -> float:
    """The value that half of the weight is not above; the mean of two where the weight is split even."""
    ordered = sorted(votes)
    half = sum(weight for _, weight in ordered) / 2
    passed = 0.0
    for index, (value, weight) in enumerate(ordered):
        passed += weight
        if passed > half:
            return value
        if passed == half and index + 1 < len(ordered):
            return (value + ordered[index + 1][0]) / 2
    return ordered[-1][0]


def _add(votes: dict[str, list[float]], shifts: Shifts) -> None:
    for name, shift in shifts.items():
        votes.setdefault(name, []).append(shift)


def _counted(votes: Mapping[str, list[float]]) -> Shifts:
    return {name: median(cast) for name, cast in votes.items() if len(cast) >= VOTES}
