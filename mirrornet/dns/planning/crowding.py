"""When so many mirrors are out that the rest would be overrun: who is full, and from where on.

A mirror's *usual* load is what it carries when all mirrors are up, or its part of all weights, whichever is more: the
operator put it there for the one, and says by the other what it can carry beside its fellows.  While mirrors are out,
none shall carry more than `spill` times its usual load (zone file: `health: spill`, 2).  So with all up nothing ever
happens, and one of two equals may carry both.

Who would carry more turns places away, the farthest first (closing.turn(): then for whom it is meant, then the near),
and those go to the next with room.  It is Gale and Shapley's deferred acceptance (1962), which content networks use for
the same end (Maggs and Sitaraman, "Algorithmic Nuggets in Content Delivery", CCR 2015): in rounds, what is turned away
once is never taken back, so that it ends; and the outcome is one number for each mirror that is full, its limit, so
that the plan, the plain ranking and a person go by the same.  A place cannot be divided, so no bound is less than the
largest part of a single place that a mirror has with all up.  No place is turned away by all: where that happens the
rest cannot carry the load, and the bounds of all that turned it away rise by some percent, until it fits.  So nobody
collapses before the others are as full, and the plan says by how much they are overloaded.

Load is the share of the world's addresses (loads.py).  Places that say nothing about distance are left out: they get
one answer, which no limit changes.

Rejected: queries as loads (each server sees its own, and they change by the minute); prices, that is milliseconds added
to whoever is full (the optimum of the sum, but a price that is a little higher moves a whole country at once).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from mirrornet.dns.planning.dealing import Dealt, farness, turns
from mirrornet.dns.planning.ground import Flags, Floats, Numbers
from mirrornet.dns.planning.loads import Carried, Demand
from mirrornet.dns.planning.spots import Spots
from mirrornet.dns.planning.standing import Standing
from mirrornet.dns.planning.views import View, lots, packed
from mirrornet.dns.ranking.closing import Limits
from mirrornet.dns.ranking.rendezvous import LOT_BITS
from mirrornet.model.zone import Select

_OPEN: Final = np.iinfo(np.int64).max  # no limit
_SLACK: Final = 1.05  # places are lumps: bounds that add up to the load exactly do not hold it
_RAISE: Final = 1.15
_RAISES: Final = 24  # to the thirtyfold
_LEAST: Final = 1000  # an even share by this is what any mirror carries
_WORK: Final = 60_000_000  # rows times mirrors that are dealt anew, a few seconds; then it stands as it is


@dataclass(frozen=True, slots=True)
class Crowd:
    """Who is full under one select.  Loads are shares of all that is counted.

    `limits`: of those that turn places away.  `loads`, `usual`, `bounds`: of every mirror that carries something, or
    should.
    `overload`: how many times its bound the most loaded mirror carries, where bounds had to be raised; 1 where not.
    """

    limits: Limits = field(default_factory=dict)
    loads: Mapping[str, float] = field(default_factory=dict)
    usual: Mapping[str, float] = field(default_factory=dict)
    bounds: Mapping[str, float] = field(default_factory=dict)
    overload: float = 1.0

    def json(self) -> dict[str, Any]:
        """For the plan's notes."""
        return {
            "limits": dict(self.limits),
            "loads": dict(self.loads),
            "usual": dict(self.usual),
            "bounds": dict(self.bounds),
            "overload": self.overload,
        }


NO_CROWD: Final = Crowd()


def crowd_of(told: Mapping[str, Any]) -> Crowd:
    """From Crowd.json()."""
    return Crowd(told["limits"], told["loads"], told["usual"], told["bounds"], told["overload"])


def crowds_in(notes: Mapping[str, Any]) -> dict[str, dict[str, Crowd]]:
    """Who is full by a plan's notes, by zone name and select name."""
    return {z: {name: crowd_of(told) for name, told in some.items()} for z, some in notes.get("crowds", {}).items()}


def limits_in(notes: Mapping[str, Any]) -> dict[str, dict[str, Limits]]:
    """The limits alone."""
    return {z: {name: crowd.limits for name, crowd in some.items()} for z, some in crowds_in(notes).items()}


@dataclass(frozen=True, slots=True)
class Usual:
    """The usual load of each mirror, and the largest part of a single place that one carries with all up."""

    loads: Floats
    lump: float


class Crowding:
    """The loads of one zone's mirrors, and who turns away whom.  `demand`: demand_of() the ground that views are of."""

    def __init__(self, spots: Spots, demand: Demand) -> None:
        self._spots, self._demand = spots, demand
        self._weights = np.array([m.weight for m in spots.mirrors], np.float64)

    def loads(self, dealt: Dealt) -> Floats:
        """What each mirror carries."""
        return Carried(self._spots, self._demand, dealt).loads()

    def usual(self, dealt: Dealt, standing: Standing) -> Usual:
        """What is usual, where `dealt` is what places get with all up, and `standing` says so."""
        carried = Carried(self._spots, self._demand, dealt)
        loads = carried.loads()
        able = standing.holds & (standing.able[4] | standing.able[6])
        if not able.any():
            able = standing.holds
        weights = np.where(able, self._weights, 0)
        whole = float(weights.sum())
        part = np.floor(float(loads.sum()) * weights / whole) if whole else weights
        least = np.floor(float(loads.sum()) / _LEAST / max(1, len(loads)))  # a bound of nothing could never rise
        return Usual(np.maximum(np.maximum(loads, part), np.where(standing.holds, least, 0)), carried.lump())

    def relieve(self, select: Select, standing: Standing, dealt: Dealt, usual: Usual, spill: float) -> Crowd:
        """Who is full, given what places get without limits; NO_CROWD where nobody carries over `spill` times `usual`.

        Mirrors that are not usable are never full: they serve where all else is lost.
        """
        loads = self.loads(dealt)
        bounds = np.floor(usual.loads * spill)
        bounds = np.maximum(bounds, np.where(bounds > 0, usual.lump, 0))
        whole = float(loads.sum())
        if not whole or not (standing.usable & (loads > bounds)).any():
            return NO_CROWD
        room = float(bounds[standing.usable].sum())
        raised = np.full(len(bounds), _SLACK * whole / room if room < whole else 1.0)
        work = _WORK
        for _ in range(_RAISES):
            attempt = _Attempt(self._spots, select, standing, dealt, self._demand, np.floor(bounds * raised), work)
            stuck, work = attempt.run(), attempt.work
            if not stuck.any() or work <= 0:
                break
            raised = np.where(stuck, raised * _RAISE, raised)
        loads = attempt.carried.loads()
        names = [m.name for m in self._spots.mirrors]
        over = (loads / np.maximum(bounds, 1))[standing.usable].max(initial=1.0)
        said = np.flatnonzero((loads > 0) | (usual.loads > 0)).tolist()
        return Crowd(
            {names[i]: int(attempt.limits[i]) for i in np.flatnonzero(attempt.limits < _OPEN).tolist()},
            {names[i]: float(loads[i] / whole) for i in said},
            {names[i]: float(usual.loads[i] / whole) for i in said},
            {names[i]: float(bounds[i] / whole) for i in said},
            float(over),
        )


class _Attempt:
    """Deferred acceptance with these bounds; `work`: how many cells (rows times mirrors) may still be dealt anew."""

    def __init__(
        self,
        spots: Spots,
        select: Select,
        standing: Standing,
        dealt: Dealt,
        demand: Demand,
        bounds: Floats,
        work: int,
    ) -> None:
        self.spots, self.select, self.standing, self.view = spots, select, standing, dealt.view
        self.bounds, self.work = bounds, work
        self.limits = np.full(len(bounds), _OPEN, np.int64)
        self.carried = Carried(spots, demand, dealt)

    def run(self) -> Flags:
        """Until nobody turns anybody away; the mirrors that cannot, for what they carry has been turned away by all."""
        while self.work > 0:
            loads = self.carried.loads()
            over = np.flatnonzero(self.standing.usable & (loads > self.bounds)).tolist()
            if not over:
                break
            before = self.limits.copy()
            touched = np.zeros(len(self.view.rows), np.bool_)
            carried = self.carried.of_each(over)
            for mirror in over:
                self._turn_away(mirror, *carried[mirror], touched)
            if (self.limits == before).all():
                return self._stuck(over)
            rows = np.flatnonzero(touched)
            self.work -= len(rows) * len(self.bounds)
            self.carried.put(self.select, self.standing, self._limited(rows))
        return np.zeros(len(self.bounds), np.bool_)

    def _beyond(self, mirror: int, rows: Numbers) -> Flags:
        """Which of `rows` stand at or beyond the mirror's limit."""
        limit = int(self.limits[mirror])
        spots = self.view.spots[self.view.of_row[rows]]
        far, edge = farness(self.spots, spots, mirror), limit >> LOT_BITS
        found = far > edge
        level = np.flatnonzero(far == edge)
        lot = lots(self.view.keys[rows[level]], int(self.spots.mirror_keys[mirror]))
        found[level] = lot >= limit & (1 << LOT_BITS) - 1
        return found

    def _turn_away(self, mirror: int, rows: Numbers, parts: Floats, touched: Flags) -> None:
        """Lowers the mirror's limit until it carries no more than its bound; `touched`: who may get others by that."""
        limit = int(self.limits[mirror])
        turn = turns(self.spots, self.view, mirror, rows)
        stays = turn >= limit  # turned away by all, so it is still here
        room = self.bounds[mirror] - parts[stays].sum()
        order = np.argsort(turn[~stays], kind="stable")
        filled = np.cumsum(parts[~stays][order])
        first = int(np.searchsorted(filled, room, side="right"))
        if first == len(filled):
            return
        self.limits[mirror] = turn[~stays][order][first]
        some = np.flatnonzero(self.carried.touched(mirror, farness(self.spots, self.view.spot_of_row, mirror)))
        touched[some[self._beyond(mirror, some)]] = True

    def _limited(self, rows: Numbers) -> View:
        """The view of these rows (positions among the view's), closed where a limit is."""
        closed = np.zeros((len(rows), len(self.bounds)), np.bool_)
        for mirror in np.flatnonzero(self.limits < _OPEN).tolist():
            closed[:, mirror] = self._beyond(mirror, rows)
        return self.view.only(rows).split(closed=packed(closed))

    def _stuck(self, over: Sequence[int]) -> Flags:
        """The mirrors that turned away a row which one of these carries all the same, and those themselves."""
        found = np.zeros(len(self.bounds), np.bool_)
        found[over] = True
        pool = self.spots.pool(slice(0, len(self.view)), self.standing, self.view) & self.standing.usable
        carried = self.carried.of_each(over)
        for mirror in over:
            rows = carried[mirror][0]
            rows = rows[self._beyond(mirror, rows)]
            for other in np.flatnonzero((self.limits < _OPEN) & ~found).tolist():
                theirs = rows[pool[self.view.of_row[rows], other]]
                found[other] |= self._beyond(other, theirs).any()
        return found
