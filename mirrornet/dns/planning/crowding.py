"""When so many mirrors are out that the rest would be overrun: who is full, and from where on.

A mirror's *usual* load is what it carries when all mirrors are up, or its part of all weights, whichever is more: the
operator put it there for the one, and says by the other what it can carry beside its fellows.  While mirrors are out,
none shall carry more than `spill` times its usual load (zone file: `health: spill`, 2).  So with all up nothing ever
happens, and one of two equals may carry both.

Who would carry more turns places away, the farthest first (closing.turn(): then for whom it is meant, then the near),
and those go to the next with room.  It is Gale and Shapley's deferred acceptance (1962), which content networks use for
the same end (Maggs and Sitaraman, "Algorithmic Nuggets in Content Delivery", CCR 2015): in rounds, what is turned away
once is never taken back, so that it ends; and the outcome is one number for each mirror that is full, its limit, so
that the plan, the plain ranking and a person go by the same.  No place is turned away by all: where that happens the
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

from mirrornet.dns.planning.dealing import Dealt, turns
from mirrornet.dns.planning.ground import Flags, Floats, Numbers
from mirrornet.dns.planning.loads import Carried, Demand
from mirrornet.dns.planning.spots import Spots
from mirrornet.dns.planning.standing import Standing
from mirrornet.dns.planning.views import View, packed, unpacked
from mirrornet.dns.ranking.closing import Limits
from mirrornet.dns.ranking.rendezvous import LOT_BITS
from mirrornet.model.zone import Select

_OPEN: Final = np.iinfo(np.int64).max  # no limit
_SLACK: Final = 1.05  # places are lumps: bounds that add up to the load exactly do not hold it
_RAISE: Final = 1.15
_RAISES: Final = 24  # to the thirtyfold; beyond that all is as if there were no bounds
_LEAST: Final = 1000  # an even share by this is what any mirror carries
_ROUNDS: Final = 64  # deferred acceptance ends by itself; this is for the case that we are wrong


@dataclass(frozen=True, slots=True)
class Crowd:
    """Who is full under one select.  Loads are shares of all that is counted.

    `limits`: of those that turn places away.  `loads`, `usual`: of every mirror that carries something, or should.
    `overload`: how many times its bound the most loaded mirror carries, where bounds had to be raised; 1 where not.
    """

    limits: Limits = field(default_factory=dict)
    loads: Mapping[str, float] = field(default_factory=dict)
    usual: Mapping[str, float] = field(default_factory=dict)
    overload: float = 1.0

    def json(self) -> dict[str, Any]:
        """For the plan's notes."""
        return {
            "limits": dict(self.limits),
            "loads": dict(self.loads),
            "usual": dict(self.usual),
            "overload": self.overload,
        }


NO_CROWD: Final = Crowd()


def crowd_of(told: Mapping[str, Any]) -> Crowd:
    """From Crowd.json()."""
    return Crowd(told["limits"], told["loads"], told["usual"], told["overload"])


def crowds_in(notes: Mapping[str, Any]) -> dict[str, dict[str, Crowd]]:
    """Who is full by a plan's notes, by zone name and select name."""
    return {z: {name: crowd_of(told) for name, told in some.items()} for z, some in notes.get("crowds", {}).items()}


def limits_in(notes: Mapping[str, Any]) -> dict[str, dict[str, Limits]]:
    """The limits alone."""
    return {z: {name: crowd.limits for name, crowd in some.items()} for z, some in crowds_in(notes).items()}


class Crowding:
    """The loads of one zone's mirrors, and who turns away whom.  `demand`: demand_of() the ground that views are of."""

    def __init__(self, spots: Spots, demand: Demand) -> None:
        self._spots, self._demand = spots, demand
        self._weights = np.array([m.weight for m in spots.mirrors], np.float64)

    def loads(self, dealt: Dealt) -> Floats:
        """What each mirror carries."""
        return Carried(self._spots, self._demand, dealt).loads()

    def usual(self, dealt: Dealt, standing: Standing) -> Floats:
        """The usual load of each mirror, where `dealt` is what places get with all up, and `standing` says so."""
        loads = self.loads(dealt)
        able = standing.holds & (standing.able[4] | standing.able[6])
        if not able.any():
            able = standing.holds
        weights = np.where(able, self._weights, 0)
        whole = float(weights.sum())
        part = np.floor(float(loads.sum()) * weights / whole) if whole else weights
        least = np.floor(float(loads.sum()) / _LEAST / max(1, len(loads)))  # a bound of nothing could never rise
        usual: Floats = np.maximum(np.maximum(loads, part), np.where(standing.holds, least, 0))
        return usual

    def relieve(self, select: Select, standing: Standing, dealt: Dealt, usual: Floats, spill: float) -> Crowd:
        """Who is full, given what places get without limits; NO_CROWD where nobody carries over `spill` times `usual`.

        Mirrors that are not usable are never full: they serve where all else is lost.
        """
        loads = self.loads(dealt)
        bounds = np.floor(usual * spill)
        whole = float(loads.sum())
        if not whole or not (standing.usable & (loads > bounds)).any():
            return NO_CROWD
        room = float(bounds[standing.usable].sum())
        raised = np.full(len(bounds), max(1.0, _SLACK * whole / room) if room else 1.0)
        for _ in range(_RAISES):
            attempt = _Attempt(self._spots, select, standing, dealt, self._demand, np.floor(bounds * raised))
            stuck = attempt.run()
            if not stuck.any():
                break
            raised = np.where(stuck, raised * _RAISE, raised)
        else:
            attempt = _Attempt(self._spots, select, standing, dealt, self._demand, np.full(len(bounds), np.inf))
        loads = attempt.carried.loads()
        names = [m.name for m in self._spots.mirrors]
        over = (loads / np.maximum(bounds, 1))[standing.usable].max(initial=1.0)
        said = np.flatnonzero((loads > 0) | (usual > 0)).tolist()
        return Crowd(
            {names[i]: int(attempt.limits[i]) for i in np.flatnonzero(attempt.limits < _OPEN).tolist()},
            {names[i]: float(loads[i] / whole) for i in said},
            {names[i]: float(usual[i] / whole) for i in said},
            float(over),
        )


class _Attempt:
    """Deferred acceptance with these bounds."""

    def __init__(
        self, spots: Spots, select: Select, standing: Standing, dealt: Dealt, demand: Demand, bounds: Floats
    ) -> None:
        self.spots, self.select, self.standing, self.view = spots, select, standing, dealt.view
        self.bounds = bounds
        self.limits = np.full(len(bounds), _OPEN, np.int64)
        self.carried = Carried(spots, demand, dealt)
        self._turns: dict[int, Numbers] = {}

    def run(self) -> Flags:
        """Until nobody turns anybody away; the mirrors that cannot, for what they carry has been turned away by all."""
        for _ in range(_ROUNDS):
            loads = self.carried.loads()
            over = np.flatnonzero(self.standing.usable & (loads > self.bounds)).tolist()
            if not over:
                return np.zeros(len(self.bounds), np.bool_)
            before = self.limits.copy()
            touched = np.zeros(len(self.view.rows), np.bool_)
            for mirror in over:
                touched |= self._turn_away(mirror)
            if (self.limits == before).all():
                return self._stuck(over)
            self._deal_again(np.flatnonzero(touched))
        return self._stuck(over)

    def _turns_of(self, mirror: int) -> Numbers:
        if mirror not in self._turns:
            self._turns[mirror] = turns(self.spots, self.view, mirror)
        return self._turns[mirror]

    def _turn_away(self, mirror: int) -> Flags:
        """Lowers the mirror's limit until it carries no more than its bound; the rows that may get others by that."""
        rows, parts = self.carried.of(mirror)
        turn, limit = self._turns_of(mirror), int(self.limits[mirror])
        theirs = turn[rows]
        stays = theirs >= limit  # turned away by all, so it is still here
        room = self.bounds[mirror] - parts[stays].sum()
        order = np.argsort(theirs[~stays], kind="stable")
        filled = np.cumsum(parts[~stays][order])
        first = int(np.searchsorted(filled, room, side="right"))
        if first == len(filled):
            return np.zeros(len(turn), np.bool_)
        self.limits[mirror] = theirs[~stays][order][first]
        beyond = np.flatnonzero((turn >= self.limits[mirror]) & (turn < limit))
        touched = np.zeros(len(turn), np.bool_)
        touched[beyond] = self.carried.touched(mirror, beyond, turn[beyond] >> LOT_BITS)
        return touched

    def _closed(self, rows: Numbers) -> Flags:
        """Who is closed to these rows: by a limit, or by its share."""
        closed = np.zeros((len(rows), len(self.bounds)), np.bool_)
        if self.view.closed is not None:
            closed |= unpacked(self.view.closed[self.view.of_row[rows]], len(self.bounds))
        for mirror in np.flatnonzero(self.limits < _OPEN).tolist():
            closed[:, mirror] |= self._turns_of(mirror)[rows] >= self.limits[mirror]
        return closed

    def _apart(self, rows: Numbers) -> View:
        return self.view.apart(rows, packed(self._closed(rows)))

    def _deal_again(self, rows: Numbers) -> None:
        self.carried.put(rows, self.select, self.standing, self._apart(rows))

    def _stuck(self, over: Sequence[int]) -> Flags:
        """The mirrors that turned away a row which one of these carries all the same, and those themselves."""
        found = np.zeros(len(self.bounds), np.bool_)
        found[over] = True
        for mirror in over:
            rows, _ = self.carried.of(mirror)
            rows = rows[self._turns_of(mirror)[rows] >= self.limits[mirror]]
            view = self.view.apart(rows, packed(np.zeros((len(rows), len(found)), np.bool_)))
            pool = self.spots.pool(slice(0, len(view)), self.standing, view) & self.standing.usable
            for other in np.flatnonzero(self.limits < _OPEN).tolist():
                found[other] |= (pool[:, other] & (self._turns_of(other)[rows] >= self.limits[other])).any()
        return found
