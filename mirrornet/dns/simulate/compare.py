"""What moves when one plan takes the place of another, how far everybody is then, and how the load lies.

Pieces (space.py) that get the same before and after, from places with the same estimates, are one row; all is reckoned
on rows, of which the whole world has some hundred thousand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from mirrornet.dns.message import rrset
from mirrornet.dns.planning.crowding import NO_CROWD, crowds_in
from mirrornet.dns.planning.ground import Flags, Floats, Numbers
from mirrornet.dns.planning.rows import distinct
from mirrornet.dns.ranking import estimate as est
from mirrornet.dns.ranking.closing import limit_units
from mirrornet.dns.ranking.nearest import FAMILIES, under_url
from mirrornet.dns.simulate.scopes import Scope, client_scopes, world_scopes
from mirrornet.dns.simulate.sides import Set, Side, Yardstick
from mirrornet.dns.simulate.space import Pieces, Space, pieces, space
from mirrornet.model.address import Family
from mirrornet.model.verdict import State, Verdict

_UP: Final = Verdict(State.UP, 1.0)
TYPES: Final = (("A", rrset.A), ("AAAA", rrset.AAAA), ("URI", rrset.URI))
NOBODY: Final = ""


@dataclass(frozen=True, slots=True)
class Flow:
    """Who moves: from one mirror to another ("" is nobody).  `share` of all that counts; mean estimates, or None."""

    source: str
    target: str
    share: float
    ms_before: float | None
    ms_after: float | None


@dataclass(frozen=True, slots=True)
class Load:
    """One mirror's share, before and after, and of the weights of all that could have some (None: not in the zone)."""

    mirror: str
    before: float
    after: float
    weight: float | None


@dataclass(frozen=True, slots=True)
class Estimates:
    """Of those whose place says something: mean and 95th percentile of the answer's estimate, in ms."""

    mean: float | None
    p95: float | None


@dataclass(frozen=True, slots=True)
class DualStack:
    """What a plain client with both families loses, since it prefers AAAA (RFC 6724) where A is nearer.

    `share` of all that counts lose more than near-equals differ by; on average `mean` ms, at most `worst`.
    """

    share: float
    mean: float
    worst: float


@dataclass(frozen=True, slots=True)
class FamilyChange:
    """The askers of one family.  `weight`: addresses, /48s or clients; all shares are of it.

    `unplaced`: the share whose place says nothing about distance (they get the `anywhere` answer).
    """

    family: int
    weight: float
    moved: float
    unplaced: float
    flows: tuple[Flow, ...]
    loads: tuple[Load, ...]
    before: Estimates
    after: Estimates
    dual_stack: DualStack


@dataclass(frozen=True, slots=True)
class Answers:
    """One type under the select: distinct answers before and after; scopes after, by the asker's family."""

    rtype: str
    classes_before: int
    classes_after: int
    scopes: Mapping[int, tuple[Scope, ...]]


@dataclass(frozen=True, slots=True)
class Full:
    """A mirror that turns places away: its load, what it carries with all up (shares of both families), and the
    estimate in ms from which on it is closed to those it is not meant for."""

    mirror: str
    load: float
    usual: float
    within_ms: float


@dataclass(frozen=True, slots=True)
class Simulation:
    """One select.  `changes`: whether there are two sides at all, or one is described.

    `full`: the mirrors that turn places away afterwards; `overload`: how many times what `health: spill` lets them
    mirrors carry at most, where the rest cannot carry the load (planning/crowding.py).
    """

    select: str
    changes: bool
    clients: bool
    families: tuple[FamilyChange, ...]
    answers: tuple[Answers, ...]
    full: tuple[Full, ...] = ()
    overload: float = 1.0

    @property
    def moved(self) -> float:
        """The greater of the shares that move, of either family."""
        return max((one.moved for one in self.families), default=0.0)

    def json(self) -> dict[str, Any]:
        """As plain values, for json.dumps."""
        return {**asdict(self), "moved": self.moved}


def simulate(before: Side, after: Side, clients: Mapping[Family, Pieces] | None = None) -> Simulation:
    """What `after` changes; `before` may be the same object, which is then described.

    `clients`: these instead of all announced addresses.
    """
    spaces: dict[Family, Space] = {}
    families = []
    for family in FAMILIES:
        if clients is None:
            spaces[family] = space(family, (before.table, after.table), (before.zone, after.zone))
            borders = before.borders(family) + ([] if after is before else after.borders(family))
            some = pieces(family, spaces[family], borders)
        else:
            some = clients[family]
        if some.total > 0:
            families.append(_family(family, before, after, some))
    answers = []
    for word, rtype in TYPES:
        counts = [len({one for one in side.sets(rtype) if one}) for side in (before, after)]
        scopes: dict[int, tuple[Scope, ...]] = {}
        for family in FAMILIES:
            if any(one.family == family for one in families) and counts[1]:
                ranges = after.ranges(rtype, family)
                if clients is None:
                    scopes[family] = tuple(world_scopes(family, ranges, spaces[family]))
                else:
                    scopes[family] = tuple(client_scopes(family, ranges, clients[family]))
        answers.append(Answers(word, counts[0], counts[1], scopes))
    crowd = crowds_in(after.plan.notes).get(after.zone.name, {}).get(after.select.name, NO_CROWD)
    full = tuple(
        Full(name, crowd.loads.get(name, 0.0), crowd.usual.get(name, 0.0), limit_units(limit) / est.UNIT)
        for name, limit in sorted(crowd.limits.items())
    )
    changes = before is not after
    return Simulation(after.fqdn, changes, clients is not None, tuple(families), tuple(answers), full, crowd.overload)


@dataclass(slots=True)
class _Rows:
    """Rows of equal pieces: numbers of the sets before and after, spots after and before, weights (shares)."""

    before: Numbers
    after: Numbers
    spots: tuple[Numbers, Numbers]
    weights: Floats


def _family(family: Family, before: Side, after: Side, some: Pieces) -> FamilyChange:
    yardstick = Yardstick(before, after)
    sets_after, numbers_after = after.sent(family, some.values)
    sets_before, numbers_before = (sets_after, numbers_after) if before is after else before.sent(family, some.values)
    rows = _rows((numbers_before, numbers_after, *yardstick.places(family, some)), some)
    names = yardstick.mirrors
    index = {name: number for number, name in enumerate(names)}
    ms_before = _mean_ms(yardstick, _table(sets_before, index), rows.before, rows.spots)
    ms_after = _mean_ms(yardstick, _table(sets_after, index), rows.after, rows.spots)
    flows = _flows(yardstick, rows, sets_before, sets_after, names, index)
    unplaced = float(rows.weights[rows.spots[0] < 0].sum())
    loads_before, loads_after = _loads(rows.before, rows, sets_before), _loads(rows.after, rows, sets_after)
    weights = _weights(after, family)
    loads = tuple(
        Load(name, loads_before.get(name, 0.0), loads_after.get(name, 0.0), weights.get(name)) for name in names
    )
    return FamilyChange(
        family=family,
        weight=some.total,
        moved=sum(flow.share for flow in flows),
        unplaced=unplaced,
        flows=tuple(sorted(flows, key=lambda f: (-f.share, f.source, f.target))),
        loads=loads,
        before=_estimates(ms_before, rows.weights),
        after=_estimates(ms_after, rows.weights),
        dual_stack=dual_stack(after, family, some),
    )


def _rows(columns: tuple[Numbers, ...], some: Pieces) -> _Rows:
    first, numbers = distinct(columns)
    weights = np.bincount(numbers, weights=some.weights) / some.total
    before, after, *spots = (column[first] for column in columns)
    return _Rows(before, after, (spots[0], spots[1]), weights)


def _table(sets: list[Set], index: Mapping[str, int]) -> Numbers:
    """The sets as rows of mirror numbers, filled up with -1."""
    width = max((len(one) for one in sets), default=0) or 1
    return np.array([[index[n] for n in one] + [-1] * (width - len(one)) for one in sets], np.int64)


def _mean_ms(yardstick: Yardstick, table: Numbers, numbers: Numbers, spots: tuple[Numbers, Numbers]) -> Floats:
    """The mean estimate over each row's set; NaN where there is none."""
    members = table[numbers]
    total, count = np.zeros(len(numbers)), np.zeros(len(numbers))
    for column in range(members.shape[1]):
        there = members[:, column] >= 0
        total[there] += yardstick.ms((spots[0][there], spots[1][there]), members[there, column])
        count[there] += 1
    result: Floats = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return result


def _estimates(ms: Floats, weights: Floats) -> Estimates:
    known = ~np.isnan(ms)
    if not known.any():
        return Estimates(None, None)
    ms, weights = ms[known], weights[known]
    order = np.argsort(ms)
    reached = np.cumsum(weights[order])
    p95 = ms[order][min(int(np.searchsorted(reached, 0.95 * reached[-1])), len(ms) - 1)]
    return Estimates(float((ms * weights).sum() / weights.sum()), float(p95))


def moves(before: Set, after: Set) -> list[tuple[str, str, float]]:
    """The least that must move between equal shares of `before` and of `after`: (from, to, part of the whole)."""
    share_before = {name: 1 / len(before) for name in before} or {NOBODY: 1.0}
    share_after = {name: 1 / len(after) for name in after} or {NOBODY: 1.0}
    less = {n: s - share_after.get(n, 0.0) for n, s in share_before.items() if s - share_after.get(n, 0.0) > 1e-12}
    more = {n: s - share_before.get(n, 0.0) for n, s in share_after.items() if s - share_before.get(n, 0.0) > 1e-12}
    whole = sum(less.values())
    return [(source, target, gone * come / whole) for source, gone in less.items() for target, come in more.items()]


def _flows(
    yardstick: Yardstick,
    rows: _Rows,
    sets_before: list[Set],
    sets_after: list[Set],
    names: list[str],
    index: Mapping[str, int],
) -> list[Flow]:
    pairs, of_row = np.unique(rows.before * len(sets_after) + rows.after, return_inverse=True)
    listed = [
        moves(sets_before[pair // len(sets_after)], sets_after[pair % len(sets_after)]) for pair in pairs.tolist()
    ]
    counts = np.array([len(one) for one in listed], np.int64)
    if not counts.any():
        return []
    flat = [move for one in listed for move in one]
    where = {**index, NOBODY: len(names)}
    sources = np.array([where[source] for source, _, _ in flat], np.int64)
    targets = np.array([where[target] for _, target, _ in flat], np.int64)
    parts = np.array([part for _, _, part in flat])
    begins = np.cumsum(counts) - counts
    repeats = counts[of_row]
    row = np.repeat(np.arange(len(of_row)), repeats)
    within = np.arange(len(row)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    move = begins[of_row[row]] + within
    weight = rows.weights[row] * parts[move]
    spots = (rows.spots[0][row], rows.spots[1][row])
    cell = sources[move] * (len(names) + 1) + targets[move]
    size = (len(names) + 1) ** 2
    shares = np.bincount(cell, weights=weight, minlength=size)
    # Only who has an estimate at both ends is in the means; nobody's is none.
    ms = [_ms_or_none(yardstick, spots, ends[move], len(names)) for ends in (sources, targets)]
    known: Flags = ~np.isnan(ms[0]) & ~np.isnan(ms[1])
    sums = [np.bincount(cell[known], weights=(one * weight)[known], minlength=size) for one in ms]
    weights = np.bincount(cell[known], weights=weight[known], minlength=size)
    named = [*names, NOBODY]
    flows = []
    for at in np.flatnonzero(shares).tolist():
        means = [float(one[at] / weights[at]) if weights[at] else None for one in sums]
        flows.append(Flow(named[at // len(named)], named[at % len(named)], float(shares[at]), means[0], means[1]))
    return flows


def _ms_or_none(yardstick: Yardstick, spots: tuple[Numbers, Numbers], mirrors: Numbers, nobody: int) -> Floats:
    result = np.full(len(mirrors), np.nan)
    real = mirrors < nobody
    result[real] = yardstick.ms((spots[0][real], spots[1][real]), mirrors[real])
    return result


def _loads(numbers: Numbers, rows: _Rows, sets: list[Set]) -> dict[str, float]:
    loads: dict[str, float] = {}
    for one, weight in zip(sets, np.bincount(numbers, weights=rows.weights, minlength=len(sets)).tolist(), strict=True):
        for name in one:
            loads[name] = loads.get(name, 0.0) + weight / len(one)
    return loads


def _weights(side: Side, family: Family) -> dict[str, float]:
    """Each mirror's weight as a share of all that may stand in the answers of `family`; of all where none may."""
    candidates = side.zone.candidates(side.select)
    able = [m for m in candidates if under_url(m, _UP) and any(a.version == family for a in m.addresses)] or candidates
    whole = sum(m.weight for m in able) or 1
    return {m.name: (m.weight / whole if m in able else 0.0) for m in side.zone.mirrors}


def dual_stack(side: Side, family: Family, some: Pieces) -> DualStack:
    """What plain clients with both families lose, where the AAAA answer is farther than near-equals are from A's."""
    yardstick = Yardstick(side, side)
    numbers = [side.numbers(rtype, family, some.values) for rtype in (rrset.A, rrset.AAAA)]
    rows = _rows((*numbers, *yardstick.places(family, some)), some)
    index = {name: number for number, name in enumerate(yardstick.mirrors)}
    near, far = (
        _mean_ms(yardstick, _table(side.sets(rtype), index), of_row, rows.spots)
        for rtype, of_row in ((rrset.A, rows.before), (rrset.AAAA, rows.after))
    )
    loss = far - near
    margin = np.maximum(est.NEAR_UNITS / est.UNIT, near / 5)
    lost: Flags = loss > margin  # never where either is NaN
    if not lost.any():
        return DualStack(0.0, 0.0, 0.0)
    share = float(rows.weights[lost].sum())
    return DualStack(share, float((loss * rows.weights)[lost].sum() / share), float(loss[lost].max()))
