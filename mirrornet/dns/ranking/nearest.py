"""The ranking: which mirrors a place gets, in which order, and why the others do not stand there.

Three questions, one after the other, each with its own reasons:

1. *Who may serve?*  The select's images, the mirror's `only` and `never` (policy.py), its verdict.  Where nobody who
   may is usable, the best of the unusable serve (fail open): first the stale, which at least answer, then the silent,
   and those caught lying last.  A client checks every block, so an old or broken mirror costs time, never a wrong byte.
   A mirror that is barred to the asker (barring.py) counts as silent; one that is closed to his place (closing.py)
   serves only where all others are closed, too.
2. *In which order?*  Pinned ones, then `prefer`, then by estimate; a lagging or slow mirror stands after all that are
   near-equal to it.  A place that is unknown or anycast says nothing about distance, so its list is spread over the
   world instead: always the mirror farthest from those already taken.  Lists end after eight, and hold the nearest
   mirror of each address family and one of another AS than the first, where there are such.
3. *Who stands in A and AAAA?*  Resolvers shuffle these, so only near-equals may: within 10 ms or 10 % of the best that
   has an address of the family, answers over it and serves under the select url; with `ipv6: near`, AAAA also only
   what is near-equal to the best of A, since a dual-stack client takes whatever AAAA says.  If there are more than
   `answers`, a weighted rendezvous hash of the place chooses.  Preferred mirrors have A to themselves; of pinned ones,
   whose order means something, the first that can stands there alone.  Lagging mirrors take part, for a publication
   must not move everybody to whoever copied first.

Rejected: dropping a lagging mirror from near-equals (that is such a move); ordering A by place (it would part places
with the same mirrors into different answers, and scopes would shrink for nothing).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from mirrornet.dns.ranking import rendezvous
from mirrornet.dns.ranking.barring import NOBODY, Names
from mirrornet.dns.ranking.closing import NO_LIMITS, Limits, has_left, turn
from mirrornet.dns.ranking.estimate import Estimate, estimate, located, margin
from mirrornet.dns.ranking.policy import PREFERRED, Held, Policy, tier
from mirrornet.dns.ranking.terms import NO_TERMS, Terms
from mirrornet.model.address import Family
from mirrornet.model.place import UNKNOWN, Place, great_circle_km
from mirrornet.model.verdict import State, Verdict, Verdicts
from mirrornet.model.zone import Mirror, Select

LIST_LENGTH: Final = 8  # URI and SRV
FAMILIES: Final[tuple[Family, ...]] = (4, 6)
NEVER_PROBED: Final = Verdict(State.UNKNOWN, 1.0, reason="not probed yet")
DEMOTED: Final = frozenset({State.LAGGING, State.SLOW})
# Fail open: the first of these groups that has anybody serves.
LAST_RESORTS: Final = (
    frozenset({State.STALE}),
    frozenset({State.UNKNOWN, State.DOWN}),
    frozenset({State.DRAINED, State.FORCED_DOWN}),  # better than a liar, and somebody meant it
    frozenset({State.CORRUPT}),
)
SILENT: Final = 1  # the group of whoever is barred


class Reason(StrEnum):
    """Why a mirror does not stand in a list, as a person reads it."""

    DOWN = "down"
    STALE = "stale: its copy is too old"
    CORRUPT = "corrupt: it served bytes that were not signed"
    UNKNOWN = "not probed yet"
    DRAINED = "drained by hand"
    FORCED_DOWN = "forced down by hand"
    BARRED = "up, but out of reach from here"
    LEFT = "up, but it sheds places, and this is one of them"
    FULL = "up, but full: this place goes to the next with room"
    NO_IMAGE = "does not hold the image"
    NOT_ONLY = "serves only others (`only`)"
    NEVER = "never serves this place (`never`)"
    LIST_FULL = "beyond the list's length"
    NO_ADDRESS = "has no address of this family"
    NOT_UNDER_URL = "does not serve under the select url"
    SILENT = "does not answer over this family"
    FAR_IPV6 = "far, where the IPv4 answers are near (`ipv6: near`)"
    NOT_PINNED = "another mirror is pinned here (`places`)"
    NOT_PREFERRED = "another mirror is preferred here (`prefer`)"
    FARTHER = "not near-equal to the best"
    NOT_DRAWN = "near-equal, but others share this place"
    ENOUGH = "`answers` are found"


_STATES = {
    State.DOWN: Reason.DOWN,
    State.STALE: Reason.STALE,
    State.CORRUPT: Reason.CORRUPT,
    State.UNKNOWN: Reason.UNKNOWN,
    State.DRAINED: Reason.DRAINED,
    State.FORCED_DOWN: Reason.FORCED_DOWN,
}


@dataclass(frozen=True, slots=True)
class Ranking:
    """Who serves one place under one select name.

    `ordered`: the ranked list of URI and SRV, at most eight names.  `near`: for each family the mirrors of A or AAAA,
    as they stand there.  `passed_over`: a reason for every mirror not in `ordered`; `not_near`: likewise per family.
    `preferred`: who is ranked first by `prefer`; `pinned`: who comes before these, in order.  `last_resort`: nobody
    usable, fail open.  `anywhere`: the place says nothing about distance, so the list is spread over the world.
    """

    ordered: tuple[str, ...]
    near: Mapping[Family, tuple[str, ...]]
    passed_over: Mapping[str, Reason]
    not_near: Mapping[Family, Mapping[str, Reason]]
    estimates: Mapping[str, Estimate]
    preferred: frozenset[str] = frozenset()
    pinned: tuple[str, ...] = ()
    last_resort: bool = False
    anywhere: bool = False


def verdict_of(name: str, verdicts: Verdicts) -> Verdict:
    """The verdict of the mirror `name`; "not probed yet" where there is none."""
    return verdicts.get(name, NEVER_PROBED)


def holds_images(mirror: Mirror, select: Select, verdict: Verdict) -> bool:
    """Whether it holds what `select` asks for: by the zone file, else by what probes saw, else taken as so."""
    held = mirror.holds if mirror.holds is not None else verdict.holds
    return select.images is None or held is None or select.images <= held


def has_family(mirror: Mirror, family: Family) -> bool:
    """Whether the zone file gives `mirror` an address of `family`."""
    return any(address.version == family for address in mirror.addresses)


def unable(mirror: Mirror, verdict: Verdict, family: Family) -> Reason | None:
    """Why `mirror` may not stand in A (4) or AAAA (6) at all, or None."""
    if not has_family(mirror, family):
        return Reason.NO_ADDRESS
    if not verdict.answers(family):
        return Reason.SILENT
    return None if under_url(mirror, verdict) else Reason.NOT_UNDER_URL


def under_url(mirror: Mirror, verdict: Verdict) -> bool:
    """Whether it may stand under the select url: it has addresses, and no probe has shown that it does not serve it."""
    return bool(mirror.addresses) and verdict.serves_select is not False


def spread(mirrors: Sequence[Mirror], steps: int = LIST_LENGTH) -> list[Mirror]:
    """`mirrors` so that any number of them from the front is spread over the world: farthest point first.

    The heaviest begins.  After `steps` of them the rest follow by their distance from those.  Mirrors of which no
    place is known come last, by weight.
    """
    heaviest = sorted(mirrors, key=lambda m: (-m.weight, m.name))
    placed = [m for m in heaviest if m.place.known]
    if not placed:
        return heaviest
    order = [placed.pop(0)]
    gap = {m.name: _km(m.place, order[0].place) for m in placed}
    while placed:
        best = min(placed, key=lambda m: (-gap[m.name], -m.weight, m.name))
        placed.remove(best)
        order.append(best)
        if len(order) == steps:
            order += sorted(placed, key=lambda m: (-gap[m.name], -m.weight, m.name))
            break
        for m in placed:
            gap[m.name] = min(gap[m.name], _km(m.place, best.place))
    return order + [m for m in heaviest if not m.place.known]


def _km(one: Place, two: Place) -> int:
    assert one.latitude is not None and one.longitude is not None
    assert two.latitude is not None and two.longitude is not None
    return round(great_circle_km(one.latitude, one.longitude, two.latitude, two.longitude))


def shortlist(ordered: Sequence[Mirror], length: int = LIST_LENGTH) -> list[Mirror]:
    """The first `length` of `ordered`, but with the first of each family and the first of another AS kept in."""
    if len(ordered) <= length:
        return list(ordered)
    rules: list[Callable[[Mirror], bool]] = [
        lambda m: has_family(m, 4),
        lambda m: has_family(m, 6),
        lambda m: m.place.asn != ordered[0].place.asn,
    ]
    must = {found.name for rule in rules if (found := next(filter(rule, ordered), None)) is not None}
    free = length - len(must)
    kept = []
    for mirror in ordered:
        if mirror.name in must:
            kept.append(mirror)
        elif free > 0:
            kept.append(mirror)
            free -= 1
    return kept


@dataclass(slots=True)
class _Field:
    """Who may serve: `pool`, and why the others may not."""

    pool: list[Mirror]
    passed_over: dict[str, Reason] = field(default_factory=dict)
    last_resort: bool = False


def _admit(held: Held, select: Select, mirrors: Sequence[Mirror], verdicts: Verdicts, barred: Names) -> _Field:
    result = _Field([])
    allowed = []
    for mirror in mirrors:
        if not holds_images(mirror, select, verdict_of(mirror.name, verdicts)):
            result.passed_over[mirror.name] = Reason.NO_IMAGE
        elif held.any_of(mirror.never):
            result.passed_over[mirror.name] = Reason.NEVER
        elif mirror.only and not held.any_of(mirror.only):
            result.passed_over[mirror.name] = Reason.NOT_ONLY
        else:
            allowed.append(mirror)
    groups: list[list[Mirror]] = [[] for _ in LAST_RESORTS]
    for mirror in allowed:
        verdict = verdict_of(mirror.name, verdicts)
        if not verdict.usable:
            groups[next(n for n, group in enumerate(LAST_RESORTS) if verdict.state in group)].append(mirror)
        elif mirror.name in barred:
            groups[SILENT].append(mirror)
        else:
            result.pool.append(mirror)
    if not result.pool and allowed:
        result.last_resort = True
        result.pool = next(filter(None, groups), [])
    inside = {m.name for m in result.pool}
    for mirror in allowed:
        if mirror.name not in inside:
            result.passed_over[mirror.name] = _STATES.get(verdict_of(mirror.name, verdicts).state, Reason.BARRED)
    return result


def rank(
    place: Place,
    select: Select,
    mirrors: Sequence[Mirror],
    verdicts: Verdicts,
    held: Held | None = None,
    terms: Terms = NO_TERMS,
    barred: Names = NOBODY,
    limits: Limits = NO_LIMITS,
) -> Ranking:
    """The ranking of `mirrors` (each with its completed() place) for `place` under `select`.

    `held`: what Policy.held() says of the asker; None: what it says of the place where no table has sets.  `terms`:
    what estimates may use besides the places.  `barred`: whom this asker cannot reach (barring.py).  `limits`: of the
    mirrors that are full (closing.py).
    """
    place = located(place)
    anywhere = not place.known
    held = Policy(mirrors).held(place) if held is None else held
    admitted = _admit(held, select, mirrors, verdicts, barred)
    estimates = {m.name: estimate(place, m.place, terms, m.name) for m in mirrors}
    preferred = frozenset(m.name for m in admitted.pool if held.any_of(m.prefer))
    tiers = {m.name: tier(m, held) for m in admitted.pool}
    states = {m.name: verdict_of(m.name, verdicts).state for m in admitted.pool}

    def sort(pool: Sequence[Mirror]) -> list[Mirror]:
        if anywhere:
            return sorted(spread(pool), key=lambda m: (tiers[m.name], states[m.name] is State.SLOW))

        def place_in_list(mirror: Mirror) -> tuple[int, int, str]:
            units = estimates[mirror.name].units
            after_equals = margin(units) if states[mirror.name] in DEMOTED else 0
            return tiers[mirror.name], units + after_equals, mirror.name

        return sorted(pool, key=place_in_list)

    closed: dict[str, Reason] = {}
    key = rendezvous.place_key(UNKNOWN if anywhere else place)
    for mirror in admitted.pool:
        lot = rendezvous.lot(key, rendezvous.name_key(mirror.name))
        if not verdict_of(mirror.name, verdicts).usable:
            continue
        if has_left(lot, verdict_of(mirror.name, verdicts).share):
            closed[mirror.name] = Reason.LEFT
        elif not anywhere and mirror.name in limits:
            standing = turn(tiers[mirror.name], estimates[mirror.name].units, lot)
            if standing >= limits[mirror.name]:
                closed[mirror.name] = Reason.FULL
    whole = sort(admitted.pool)
    ordered = sort([m for m in admitted.pool if m.name not in closed]) or whole
    kept = shortlist(ordered)
    inside = {m.name for m in kept}
    passed_over = admitted.passed_over | closed | {m.name: Reason.LIST_FULL for m in ordered}
    passed_over = {name: why for name, why in passed_over.items() if name not in inside}
    near, not_near = {}, {}
    reach: int | None = None  # of A, in units, where AAAA must not go beyond
    for family in FAMILIES:
        unfit = {}
        for mirror in whole:
            why = unable(mirror, verdict_of(mirror.name, verdicts), family)
            if why is None and family == 6 and reach is not None and estimates[mirror.name].units > reach:
                why = Reason.FAR_IPV6
            if why is not None:
                unfit[mirror.name] = why
        able = [m for m in ordered if m.name not in unfit] or [m for m in whole if m.name not in unfit]
        reasons = admitted.passed_over | closed | unfit
        if family == 4 and select.ipv6 == "near" and able and not anywhere:
            best = min((tiers[m.name], estimates[m.name].units) for m in able)[1]
            reach = best + margin(best)
        chosen = _near(place, select, able, tiers, estimates, states, anywhere, reasons)
        order = rendezvous.arranged([m.name for m in chosen], [m.weight for m in chosen])
        near[family] = tuple(chosen[i].name for i in order)
        not_near[family] = {name: why for name, why in reasons.items() if name not in near[family]}
    return Ranking(
        ordered=tuple(m.name for m in kept),
        near=near,
        passed_over=passed_over,
        not_near=not_near,
        estimates=estimates,
        preferred=preferred,
        pinned=tuple(m.name for m in ordered if m.name in held.pins),
        last_resort=admitted.last_resort,
        anywhere=anywhere,
    )


def _near(
    place: Place,
    select: Select,
    able: Sequence[Mirror],
    tiers: Mapping[str, int],
    estimates: Mapping[str, Estimate],
    states: Mapping[str, State],
    anywhere: bool,
    reasons: dict[str, Reason],
) -> list[Mirror]:
    """The mirrors of A or AAAA among `able` (in ranked order), in no particular order; fills `reasons`."""
    if not able:
        return []
    first = min(tiers[m.name] for m in able)
    why = Reason.NOT_PINNED if first < PREFERRED else Reason.NOT_PREFERRED
    reasons.update({m.name: why for m in able if tiers[m.name] != first})
    able = [m for m in able if tiers[m.name] == first]
    if anywhere:
        reasons.update({m.name: Reason.ENOUGH for m in able[select.answers :]})
        return able[: select.answers]
    best = min(estimates[m.name].units for m in able)
    limit = best + margin(best)
    equals = [m for m in able if estimates[m.name].units <= limit]
    reasons.update({m.name: Reason.FARTHER for m in able if estimates[m.name].units > limit})
    key = rendezvous.place_key(place)

    def drawn(mirror: Mirror) -> tuple[bool, float, str]:
        drawn_by = rendezvous.score(key, rendezvous.name_key(mirror.name), mirror.weight)
        return states[mirror.name] is State.SLOW, drawn_by, mirror.name

    equals.sort(key=drawn)
    reasons.update({m.name: Reason.NOT_DRAWN for m in equals[select.answers :]})
    return equals[: select.answers]
