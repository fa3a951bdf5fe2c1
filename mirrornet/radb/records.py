"""What the dumps said, as growing columns: routes, blocks, and the countries of AS numbers.

A route is 22 bytes in five numpy columns instead of 300 in a Python object, so four million of them fit where a laptop
has room.  The two readers feed the same columns: the fast one a batch at a time, the exact one an object at a time.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mirrornet.model.address import Family
from mirrornet.model.place import Evidence
from mirrornet.model.table import NONE
from mirrornet.radb.facts import Block, Route, Vrp
from mirrornet.radb.sets.gather import Gathered
from mirrornet.radb.sources import DEFAULT, NEVER, Weights

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
_FAMILIES: tuple[Family, Family] = (4, 6)
COORDINATES_LIMIT = 1 << 22  # different spots kept
GEOLOC_RADIUS_KM = 25  # a town; the holder chose the point, his customers live around it

Spot = tuple[float, float, int, Evidence]  # latitude, longitude, radius in km, where that is from


@dataclass(frozen=True, slots=True)
class Routes:
    """Columns of equal length.  `sources` index the Sources; `newest` as in objects.Route."""

    values: U64
    lengths: U8
    asns: U32
    sources: U8
    newest: U64


@dataclass(frozen=True, slots=True)
class Blocks:
    """Columns of equal length.  `countries` and `coordinates` are numbers of Geography, 0 where not said."""

    firsts: U64
    lasts: U64
    countries: NDArray[np.uint16]
    coordinates: U32
    evidence: U8
    sources: U8


@dataclass(frozen=True, slots=True)
class Vrps:
    """Columns of equal length: prefix, the greatest length it allows, and the ASN that may originate it (0: nobody)."""

    values: U64
    lengths: U8
    limits: U8
    asns: U32


class VrpColumns:
    """All validated ROA payloads of one file, growing."""

    def __init__(self) -> None:
        self._columns: dict[Family, tuple[array[int], ...]] = {
            family: tuple(array(code) for code in ("Q", "B", "B", "I")) for family in _FAMILIES
        }

    def add(self, vrp: Vrp) -> None:
        for column, value in zip(self._columns[vrp.family], vrp[1:], strict=True):
            column.append(value)

    def columns(self, family: Family) -> Vrps:
        values, lengths, limits, asns = self._columns[family]
        return Vrps(
            np.array(values, np.uint64),
            np.array(lengths, np.uint8),
            np.array(limits, np.uint8),
            np.array(asns, np.uint32),
        )


class Sources:
    """Numbers for the names of IRR sources, in order of appearance; 255 where there is no name or no number left."""

    def __init__(self, weights: Weights = DEFAULT) -> None:
        self.weights = weights
        self.names: list[str] = []
        self.dropped: set[str] = set()
        self._numbers = {"": NONE}

    def number(self, name: str) -> int:
        found = self._numbers.get(name)
        if found is None:
            if len(self.names) < NONE:
                found = self._numbers[name] = len(self.names)
                self.names.append(name)
            else:
                found = NONE
                if len(self.dropped) < 1000:
                    self.dropped.add(name)
        return found

    def ranks(self) -> U8:
        """The rank of every number, 255 included."""
        ranks = [self.weights.rank(name) for name in self.names]
        return np.array(ranks + [self.weights.rank("")] * (256 - len(ranks)), np.uint8)

    def alphabetical(self) -> U8:
        """Where each number's name stands in the alphabet, which does not depend on the order of the dumps."""
        places = np.full(256, NONE, np.uint8)
        places[sorted(range(len(self.names)), key=self.names.__getitem__)] = np.arange(len(self.names))
        return places


class Geography:
    """Numbers for countries and for spots (coordinates, how exact, and who says so); 0 is unknown."""

    def __init__(self) -> None:
        self.countries: list[str] = [""]
        self.coordinates: list[Spot | None] = [None]
        self._country_numbers = {"": 0}
        self._coordinate_numbers: dict[Spot, int] = {}

    def country(self, code: str) -> int:
        found = self._country_numbers.get(code)
        if found is None:
            found = self._country_numbers[code] = len(self.countries)
            self.countries.append(code)
        return found

    def spot(self, spot: Spot) -> int:
        """The number of `spot`; 0 where there are too many."""
        found = self._coordinate_numbers.get(spot)
        if found is None:
            if len(self.coordinates) >= COORDINATES_LIMIT:
                return 0
            found = self._coordinate_numbers[spot] = len(self.coordinates)
            self.coordinates.append(spot)
        return found

    def pair(self, coordinates: tuple[float, float] | None) -> int:
        """The number of a `geoloc:`."""
        return self.spot((*coordinates, GEOLOC_RADIUS_KM, Evidence.INETNUM)) if coordinates else 0


class Records:
    """Everything the dumps and statistics said, of both families."""

    def __init__(self, weights: Weights = DEFAULT) -> None:
        self.sources = Sources(weights)
        self.geography = Geography()
        self.vrps: VrpColumns | None = None  # None: nothing is known of RPKI
        self.seats: dict[int, tuple[int, str]] = {}  # ASN → (rank of who said it, country)
        self.sets = Gathered()
        self._seat_batches: list[tuple[U32, NDArray[np.uint16], U8]] = []
        self._batches: dict[Family, list[Routes]] = {4: [], 6: []}
        self._singles: dict[Family, tuple[array[int], ...]] = {4: _route_columns(), 6: _route_columns()}
        self._blocks: dict[Family, tuple[array[int], ...]] = {4: _block_columns(), 6: _block_columns()}
        self._block_batches: dict[Family, list[Blocks]] = {4: [], 6: []}

    def add_route(self, route: Route) -> None:
        row = (route.value, route.length, route.asn, self.sources.number(route.source), route.newest)
        for column, value in zip(self._singles[route.family], row, strict=True):
            column.append(value)

    def add_routes(self, family: Family, batch: Routes) -> None:
        if len(batch.values):
            self._batches[family].append(batch)

    def add_block(self, block: Block, evidence: Evidence) -> None:
        if not block.country and block.coordinates is None and evidence != Evidence.GEOFEED:
            return
        if evidence == Evidence.INETNUM and self.sources.weights.rank(block.source) == NEVER:
            return
        firsts, lasts, countries, coordinates, kinds, sources = self._blocks[block.family]
        firsts.append(block.first)
        lasts.append(block.last)
        countries.append(self.geography.country(block.country))
        coordinates.append(self.geography.pair(block.coordinates))
        kinds.append(evidence)
        sources.append(self.sources.number(block.source))

    def add_blocks(self, family: Family, batch: Blocks) -> None:
        """Blocks by the column; their numbers are those of our `geography` and `sources`."""
        if len(batch.firsts):
            self._block_batches[family].append(batch)

    def add_seat(self, asn: int, country: str, source_rank: int) -> None:
        """`asn` is held from `country`; the lower rank stays, among equals the first country in the alphabet."""
        if country and (source_rank, country) < self.seats.get(asn, (NEVER, "")):
            self.seats[asn] = (source_rank, country)

    def add_seats(self, asns: U32, countries: NDArray[np.uint16], ranks: U8) -> None:
        """Seats by the column; `countries` are numbers of our `geography`, those of 0 are passed over."""
        if len(asns):
            self._seat_batches.append((asns, countries, ranks))

    def seat_columns(self) -> tuple[U32, NDArray[np.uint16]]:
        """The AS numbers of which a country is known, in order, and its number."""
        single = [(asn, self.geography.country(country), rank) for asn, (rank, country) in self.seats.items()]
        columns = [np.array([one[place] for one in single], np.int64) for place in range(3)]
        asns, countries, ranks = (
            np.concatenate([column, *(batch[place] for batch in self._seat_batches)])
            for place, column in enumerate(columns)
        )
        sound = (countries > 0) & (ranks < NEVER)
        asns, countries, ranks = asns[sound], countries[sound], ranks[sound]
        codes = self.geography.countries
        alphabetical = np.empty(len(codes), np.int64)
        alphabetical[sorted(range(len(codes)), key=codes.__getitem__)] = np.arange(len(codes))
        order = np.argsort(asns << 24 | ranks << 16 | alphabetical[countries])
        asns = asns[order]
        first = np.ones(len(asns), bool)
        first[1:] = asns[1:] != asns[:-1]
        return asns[first].astype(np.uint32), countries[order][first].astype(np.uint16)

    def routes(self, family: Family) -> Routes:
        """All routes of `family`, and none are left behind: the batches are let go to save memory."""
        batches = self._batches[family]
        values, lengths, asns, sources, newest = self._singles[family]
        batches.append(
            Routes(
                np.array(values, np.uint64),
                np.array(lengths, np.uint8),
                np.array(asns, np.uint32),
                np.array(sources, np.uint8),
                np.array(newest, np.uint64),
            )
        )
        whole = Routes(
            np.concatenate([batch.values for batch in batches]),
            np.concatenate([batch.lengths for batch in batches]),
            np.concatenate([batch.asns for batch in batches]),
            np.concatenate([batch.sources for batch in batches]),
            np.concatenate([batch.newest for batch in batches]),
        )
        self._batches[family] = [whole]
        self._singles[family] = _route_columns()
        return whole

    def blocks(self, family: Family) -> Blocks:
        """All blocks of `family`: those that came alone, then the batches."""
        firsts, lasts, countries, coordinates, evidence, sources = self._blocks[family]
        alone = Blocks(
            np.array(firsts, np.uint64),
            np.array(lasts, np.uint64),
            np.array(countries, np.uint16),
            np.array(coordinates, np.uint32),
            np.array(evidence, np.uint8),
            np.array(sources, np.uint8),
        )
        batches = [alone, *self._block_batches[family]]
        if len(batches) == 1:
            return alone
        return Blocks(
            np.concatenate([batch.firsts for batch in batches]),
            np.concatenate([batch.lasts for batch in batches]),
            np.concatenate([batch.countries for batch in batches]),
            np.concatenate([batch.coordinates for batch in batches]),
            np.concatenate([batch.evidence for batch in batches]),
            np.concatenate([batch.sources for batch in batches]),
        )


def _route_columns() -> tuple[array[int], ...]:
    return tuple(array(code) for code in ("Q", "B", "I", "B", "Q"))


def _block_columns() -> tuple[array[int], ...]:
    return tuple(array(code) for code in ("Q", "Q", "H", "I", "B", "B"))


def select(routes: Routes, chosen: NDArray[np.int64] | Sequence[int]) -> Routes:
    """The routes with these numbers, in this order."""
    return Routes(
        routes.values[chosen],
        routes.lengths[chosen],
        routes.asns[chosen],
        routes.sources[chosen],
        routes.newest[chosen],
    )
