"""What an estimate may know besides two places: detours, an operator's round trips, AS hops, what clients measured.

    detours       how much longer than the great circle the way between two regions is (data/detours.py); always there
    round_trips   the operator's own table, by country, region or continent (`round_trips:` of the zone file)
    hops          AS hops from each mirror's AS, where world.table has relationships (`import-radb --as-rel`)
    measured      round trips that clients reported, by place and mirror

Each is optional and small beside the distance: AS hops alone are no better than chance, and a table by country cannot
order two mirrors of one country.  The values are plain, so that the planner can lay them out as arrays.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from mirrornet.data.countries import COUNTRIES
from mirrornet.data.detours import CELL, DETOURS, LETTERS, MAP, REGIONS
from mirrornet.model.place import Place

MOST_HOPS: Final = 4  # farther, or not known: too many ASes for the number to mean anything
_ROWS: Final = len(MAP)
_COLUMNS: Final = len(MAP[0])
_NUMBERS: Final = {letter: number for number, letter in enumerate(LETTERS)}


@dataclass(frozen=True, slots=True)
class Hops:
    """AS hops along paths that pay (up to providers, over one peering, down to customers) from one AS.

    `asns`: ascending; `counts`: hops to each, at most MOST_HOPS.
    """

    asns: Sequence[int]
    counts: Sequence[int]

    def of(self, asn: int) -> int:
        """Hops to `asn`; MOST_HOPS where no path is known."""
        at = bisect_left(self.asns, asn)
        return self.counts[at] if at < len(self.asns) and self.asns[at] == asn else MOST_HOPS


RoundTrips = Mapping[tuple[str, str], float]
Measured = Mapping[int, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Terms:
    """`detours`: kilometres by two region numbers.  `round_trips`: ms by two words (see words()).

    `hops`: by the AS of a mirror; empty: no relationships are known, and no term is added.  `measured`: ms by
    rendezvous.place_key() of a place and the name of a mirror.
    """

    detours: Sequence[Sequence[int]] = DETOURS
    round_trips: RoundTrips = field(default_factory=dict)
    hops: Mapping[int, Hops] = field(default_factory=dict)
    measured: Measured = field(default_factory=dict)


NO_TERMS: Final = Terms()


def cell_of(latitude: float, longitude: float) -> tuple[int, int]:
    """(row, column) of MAP for a point in degrees.  Only exact arithmetic, so that arrays find the same."""
    return min(int((90.0 - latitude) / CELL), _ROWS - 1), int((longitude + 180.0) / CELL) % _COLUMNS


def region_of(latitude: float, longitude: float) -> int:
    """The number of the region that holds a point."""
    row, column = cell_of(latitude, longitude)
    return _NUMBERS[MAP[row][column]]


def words(country: str, region: int) -> tuple[str, ...]:
    """What a table of round trips may call a place, the most exact first: "JP", "region:japan", "continent:AS"."""
    known = COUNTRIES.get(country)
    found = [country] if country else []
    found += [f"region:{REGIONS[region]}"] if region >= 0 else []
    return (*found, f"continent:{known.continent}") if known else tuple(found)


def _pairs(one: Sequence[str], two: Sequence[str]) -> Iterator[tuple[str, str]]:
    """All pairs of words, the most exact first."""
    order = sorted((i + j, i, j) for i in range(len(one)) for j in range(len(two)))
    return ((one[i], two[j]) for _, i, j in order)


def round_trip(table: RoundTrips, one: Sequence[str], two: Sequence[str]) -> float | None:
    """The ms that `table` gives from a place to a mirror, each by its words(); one direction stands for both."""
    for pair in _pairs(one, two):
        found = table.get(pair, table.get((pair[1], pair[0])))
        if found is not None:
            return found
    return None


def words_of(place: Place) -> tuple[str, ...]:
    """words() of a place."""
    if place.latitude is None or place.longitude is None:
        return words(place.country, -1)
    return words(place.country, region_of(place.latitude, place.longitude))


def hops_between(hops: Mapping[int, Hops], asn: int, mirror_asn: int) -> int | None:
    """AS hops from an asker's AS to a mirror's; None where no relationships are known at all."""
    if not hops:
        return None
    if asn and asn == mirror_asn:
        return 0
    known = hops.get(mirror_asn)
    return MOST_HOPS if known is None else known.of(asn)
