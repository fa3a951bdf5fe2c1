"""The ranking for all places at once, with numpy; equal to nearest.rank(), which is what it means.

Many places differ only in an AS that no mirror cares about.  A *spot* is what an estimate can depend on: coordinates,
radius, and AS and country where a mirror shares or names them.  Estimates per spot and mirror are computed once; a
verdict that flips only sorts them anew.  Choices among near-equals depend on the whole place and are made per place,
for the spots that have more near-equals than answers.

Where a mirror is barred or closed to some places of a spot and not to others, the spot is split for as long as that
lasts: a View (views.py) says how.

Work goes in slices of spots or places, so that memory stays bounded with any number of mirrors.  Places that say
nothing about distance (unknown, anycast) are not here: plan.py asks nearest.rank() for those, once for each kind.

Rejected: an order of mirrors per place kept between plans (twice the memory, and lagging mirrors change it anyway).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from mirrornet.dns.planning.distances import apart, distances
from mirrornet.dns.planning.ground import Columns, Flags, Floats, Keys, Numbers, mix
from mirrornet.dns.planning.kinds import kinds_of
from mirrornet.dns.planning.rows import Rows, distinct, distinct_rows
from mirrornet.dns.planning.standing import Standing
from mirrornet.dns.planning.views import View, unpacked
from mirrornet.dns.ranking import estimate as est
from mirrornet.dns.ranking import rendezvous
from mirrornet.dns.ranking.nearest import LAST_RESORTS, LIST_LENGTH, SILENT
from mirrornet.dns.ranking.policy import Held, Policy, tier
from mirrornet.dns.ranking.terms import NO_TERMS, Terms
from mirrornet.model.zone import Mirror

_CELLS: Final = 1 << 20  # spots (or places) times mirrors in one slice: some 8 MB for each array
_TIER: Final = 1 << 40  # a whole tier (policy.tier()) behind
_OUT: Final = 1 << 60  # not in the pool
_INDEX: Final = (1 << 16) - 1


class Spots:
    """The spots of `columns` as `mirrors` (placed, sorted by name) see them.

    `kind_of[place]`: the number of the place's kind, that is what policy says of it; `kinds`: what that is.
    `spot_of[place]` is -1 where distance means nothing.  `tiers[kind, mirror]`: policy.tier().  `keys`: of the places,
    `mirror_keys`: of the mirrors, for the rendezvous hash.
    """

    def __init__(
        self,
        columns: Columns,
        mirrors: Sequence[Mirror],
        policy: Policy,
        wards: Sequence[Held],
        terms: Terms = NO_TERMS,
    ) -> None:
        """`columns.wards` are numbers of `wards`."""
        self.mirrors = mirrors
        self.kinds, self.kind_of = kinds_of(columns, policy, wards)
        self._allowed = np.array([[_allowed(m, held) for m in mirrors] for held in self.kinds], np.bool_)
        tiers = np.array([tier(m, held) for held in self.kinds for m in mirrors], np.int64)
        self.tiers = tiers = tiers.reshape(len(self.kinds), len(mirrors))
        self._tiers = (tiers - tiers.min(axis=1, keepdims=True, initial=_INDEX)) * _TIER
        self._tiered = bool(self._tiers.any())

        own = np.array(sorted({m.place.asn for m in mirrors} - {0}), np.int64)
        near_asns = np.where(np.isin(columns.asns, own), columns.asns, 0)
        self.keys = columns.keys
        self.mirror_keys = np.array([rendezvous.name_key(m.name) for m in mirrors], np.uint64)
        self._weights = np.array([m.weight for m in mirrors], np.float64)
        self._has = {f: np.array([any(a.version == f for a in m.addresses) for m in mirrors]) for f in (4, 6)}
        self._asns = np.array([m.place.asn for m in mirrors], np.int64)

        placed = np.flatnonzero(columns.known & bool(mirrors))  # without mirrors nothing is worth sorting
        self.spot_of = np.full(len(columns), -1, np.int64)
        self.first = placed
        if len(placed):
            told = apart(columns, mirrors, terms)
            keys = (columns.latitudes, columns.longitudes, columns.radii, near_asns, self.kind_of, *told)
            first, numbers = distinct([key[placed] for key in keys])
            self.first = placed[first]
            self.spot_of[placed] = numbers
        self.kind = self.kind_of[self.first]  # of each spot
        self._units = np.zeros((len(self.first), len(mirrors)), np.uint16)
        for rows in self._slices(len(self.first)):
            self._units[rows] = distances(columns, self.first[rows], mirrors, terms)

    def __len__(self) -> int:
        return len(self.first)

    @property
    def estimates(self) -> npt.NDArray[np.uint16]:
        """1/64 ms from each spot to each mirror."""
        return self._units

    def _slices(self, count: int) -> Iterator[slice]:
        step = max(1, _CELLS // max(1, len(self.mirrors)))
        for start in range(0, count, step):
            yield slice(start, min(count, start + step))

    def pool(self, rows: slice, standing: Standing, view: View) -> Flags:
        """Who may serve the spots `rows` of `view`: nearest._admit()."""
        allowed = self._allowed[self.kind[view.spots[rows]]] & standing.holds
        barred = None if view.barred is None else unpacked(view.barred[rows], len(self.mirrors)) & standing.usable
        pool: Flags = allowed & standing.usable
        if barred is not None:
            pool &= ~barred
        for group in range(len(LAST_RESORTS)):
            empty = ~pool.any(axis=1)
            if not empty.any():
                break
            those = allowed[empty] & ~standing.usable & (standing.resort == group)
            if group == SILENT and barred is not None:
                those |= allowed[empty] & barred[empty]
            pool[empty] = those
        return pool

    def _open(self, able: Flags, rows: slice, view: View) -> Flags:
        """Those of `able` that are open; where none is, all of them."""
        if view.closed is None:
            return able
        found = able & ~unpacked(view.closed[rows], len(self.mirrors))
        none = ~found.any(axis=1)
        found[none] = able[none]
        return found

    def ranked(self, standing: Standing, view: View) -> Rows:
        """The ranked list of every spot of `view`."""
        found = np.full((len(view), LIST_LENGTH), -1, np.int16)
        for rows in self._slices(len(view)):
            units = self._units[view.spots[rows]].astype(np.int64)
            after_equals = np.where(standing.demoted, np.maximum(est.NEAR_UNITS, units // est.NEAR_PART), 0)
            order = (units + after_equals) << 16 | np.arange(len(self.mirrors))
            if self._tiered:
                order += self._tiers[self.kind[view.spots[rows]]]
            order[~self._open(self.pool(rows, standing, view), rows, view)] = _OUT
            found[rows] = self._shortlist(order)
        return found

    def _shortlist(self, order: Numbers) -> Rows:
        count = order.shape[1]
        if count <= LIST_LENGTH:
            best = np.sort(order, axis=1)
        else:
            best = np.sort(np.partition(order, LIST_LENGTH, axis=1)[:, : LIST_LENGTH + 1], axis=1)
        rows = np.where(best < _OUT, best & _INDEX, -1).astype(np.int16)
        if count <= LIST_LENGTH:
            padded = np.full((len(rows), LIST_LENGTH), -1, np.int16)
            padded[:, :count] = rows
            return padded
        result: Rows = rows[:, :LIST_LENGTH].copy()
        first_as = self._asns[best[:, 0] & _INDEX]
        must = np.stack(
            [
                np.where(self._has[4], order, _OUT).min(axis=1),
                np.where(self._has[6], order, _OUT).min(axis=1),
                np.where(self._asns != first_as[:, None], order, _OUT).min(axis=1),
            ],
            axis=1,
        )
        lacking = np.flatnonzero(((must < _OUT) & (must > best[:, LIST_LENGTH - 1 : LIST_LENGTH])).any(axis=1))
        if len(lacking):
            result[lacking] = _completed(best[lacking, :LIST_LENGTH], must[lacking])
        return result

    def near(self, standing: Standing, view: View, family: int, answers: int, within: int = 0) -> tuple[Rows, Numbers]:
        """(distinct sets of mirrors, the number of each of `view.rows`' set): who stands in A (4) or AAAA (6).

        Rows are sorted by mirror.  `within`: a family beyond whose near-equals no mirror may be, where it has any; 0:
        none.
        """
        answers = max(1, min(answers, len(self.mirrors)))
        by_spot = np.full((len(view), answers), -1, np.int16)
        drawn_places: list[Numbers] = []
        drawn_rows: list[Rows] = []
        for rows in self._slices(len(view)):
            spots = view.spots[rows]
            units = self._units[spots].astype(np.int64)
            if self._tiered:
                units += self._tiers[self.kind[spots]]
            pool = self.pool(rows, standing, view)
            able = pool & standing.able[family]
            if within:
                other = np.where(self._open(pool & standing.able[within], rows, view), units, _OUT).min(axis=1)
                reach = np.where(other < _OUT, _reach(other & (_TIER - 1)), _OUT)
                able &= self._units[spots] <= reach[:, None]
            able = self._open(able, rows, view)
            units[~able] = _OUT
            best = units.min(axis=1)
            limit = best - (best & (_TIER - 1)) + _reach(best & (_TIER - 1))
            members = (units <= limit[:, None]) & (units < _OUT)
            counts = members.sum(axis=1)
            few = counts <= answers
            spot, mirror, position = _listed(members & few[:, None])
            by_spot[rows.start + spot, position] = mirror
            if few.all():
                continue
            first, after = np.searchsorted(view.of_row, [rows.start, rows.stop])
            places = np.arange(first, after)
            places = places[~few[view.of_row[places] - rows.start]]
            for part in self._slices(len(places)):
                some = places[part]
                drawn_places.append(some)
                theirs = members[view.of_row[some] - rows.start]
                drawn_rows.append(self._draw(view.keys[some], theirs, standing.slow, answers))
        sets, numbers = distinct_rows(np.concatenate([by_spot, *drawn_rows]))
        of_row = numbers[view.of_row]
        if drawn_places:
            of_row[np.concatenate(drawn_places)] = numbers[len(view) :]
        return sets, of_row

    def _draw(self, places: Keys, members: Flags, slow: Flags, answers: int) -> Rows:
        """The winners among the `members` of each of `places` (keys); see rendezvous.score() and nearest._near()."""
        place, mirror, position = _listed(members)
        fraction = ((mix(places[place] ^ self.mirror_keys[mirror]) >> np.uint64(11)) + 0.5) * 2.0**-53
        weights = self._weights[mirror]
        scores: Floats = -np.log(fraction) / np.where(weights > 0, weights, 1)
        scores[weights <= 0] = 500  # the greatest score there is stays under 38
        scores += np.where(slow[mirror], 1000, 0)
        width = int(position.max()) + 1
        table = np.full((len(places), width), np.inf)
        table[place, position] = scores
        names = np.full((len(places), width), -1, np.int16)
        names[place, position] = mirror
        winners = np.argsort(table, axis=1, kind="stable")[:, :answers]
        return np.sort(np.take_along_axis(names, winners, axis=1), axis=1)


def _reach(best: Numbers) -> Numbers:
    """Up to where mirrors are near-equal to the `best`."""
    farthest: Numbers = best + np.maximum(est.NEAR_UNITS, best // est.NEAR_PART)
    return farthest


def _completed(best: Numbers, must: Numbers) -> Rows:
    """Rows of the first of `best` and all of `must`, in order, no mirror twice (nearest.shortlist())."""
    every = np.sort(np.concatenate([best, must], axis=1), axis=1)
    valid = every < _OUT
    valid[:, 1:] &= every[:, 1:] != every[:, :-1]
    wanted = valid & (every[:, :, None] == must[:, None, :]).any(axis=2)
    free = LIST_LENGTH - wanted.sum(axis=1)
    others = valid & ~wanted
    kept = wanted | (others & (np.cumsum(others, axis=1) <= free[:, None]))
    chosen = np.sort(np.where(kept, every, _OUT), axis=1)[:, :LIST_LENGTH]
    return np.where(chosen < _OUT, chosen & _INDEX, -1).astype(np.int16)


def _listed(members: Flags) -> tuple[Numbers, Numbers, Numbers]:
    """(row, column, position within the row) of each true cell, row by row."""
    row, column = np.nonzero(members)
    counts = members.sum(axis=1)
    return row, column, np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)


def _allowed(mirror: Mirror, held: Held) -> bool:
    return not held.any_of(mirror.never) and (not mirror.only or held.any_of(mirror.only))
