"""Policy in words: why an item holds for an asker, by which prefix, origin, and chain of sets.

    203.0.113.0/24 is originated by AS64500, a member of AS-CHILD (RADB), which is in AS-EXAMPLE (RADB)

Said from what decided (policy.py), for explain; nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mirrornet.data.countries import COUNTRIES
from mirrornet.dns.ranking.barring import Barring
from mirrornet.dns.ranking.closing import Limits, limit_units
from mirrornet.dns.ranking.estimate import UNIT
from mirrornet.dns.ranking.nearest import Ranking, Reason, verdict_of
from mirrornet.dns.ranking.policy import Held, Policy, is_set
from mirrornet.dns.ranking.whereabouts import OPERATOR_SOURCE
from mirrornet.model.address import Address, fold, key
from mirrornet.model.expansion import Expansion
from mirrornet.model.override import Action
from mirrornet.model.table import Match
from mirrornet.model.verdict import Verdicts
from mirrornet.model.zone import Mirror

EMPTY_SET: Final = "has no members"
_TOLD: Final = 3  # held sets
_CLOSED: Final = (Reason.LEFT, Reason.FULL)


def because(policy: Policy, item: str, match: Match, address: Address) -> str:
    """Why `item`, which holds, does: a clause about `address`, of which `match` is known."""
    meaning, place = policy.meanings[item], match.place
    expansion = policy.expansion(item) if is_set(item) else None
    if expansion is not None:
        return _because_of_set(expansion, match, address)
    if place.asn in meaning.asns:
        return origin(match, address)
    if place.country in meaning.countries:
        country = COUNTRIES.get(place.country)
        named = f"{country.name} ({place.country})" if country else place.country
        return f"{fold(address)} is in {named}" + ("" if item == place.country else f", so in {item}")
    return f"{fold(address)} is in {item}"


def origin(match: Match, address: Address) -> str:
    """Who originates `address`, and by which prefix we know."""
    if match.prefix is None or match.source == OPERATOR_SOURCE:
        return f"{fold(address)} belongs to AS{match.place.asn}"
    return f"{match.prefix} is originated by AS{match.place.asn}"


def _because_of_set(expansion: Expansion, match: Match, address: Address) -> str:
    listed = expansion.asns.get(match.place.asn)
    if listed is not None:
        return f"{origin(match, address)}, {expansion.membership(listed)}"
    family, value = key(address)
    covering = [one for one in expansion.prefixes if one.prefix.family == family and value in one.prefix]
    narrowest = max(covering, key=lambda one: one.prefix.length)
    return f"{fold(address)} is in {narrowest}, {expansion.membership(expansion.prefixes[narrowest])}"


def sentence(mirror: Mirror, ranking: Ranking, policy: Policy, held: Held, match: Match, address: Address) -> str:
    """What policy did to `mirror`, without its name: "first: …", "never: …"; "" where nothing."""

    def first_of(items: Iterable[str]) -> str:
        return because(policy, next(item for item in items if item in held.items), match, address)

    passed = ranking.passed_over.get(mirror.name)
    if passed is Reason.NEVER:
        return f"never: {first_of(mirror.never)}"
    if passed is Reason.NOT_ONLY:
        lacking = [item for item in mirror.only if item in policy.lacking]
        unknown = f"; world.table has no {' and no '.join(lacking)}" if lacking else ""
        return f"only for others: {fold(address)} is none of {', '.join(mirror.only)}{unknown}"
    leads = ranking.ordered[:1] == (mirror.name,)
    pin = policy.pin_of(*key(address))
    if pin is not None and mirror.name in ranking.pinned:
        order = ", ".join(pin.mirrors)
        return (
            f"{'first' if leads else 'pinned'}: {fold(address)} is in {pin.prefix}, which gets {order} first (`places`)"
        )
    if mirror.name in ranking.preferred:
        return f"{'first' if leads else 'preferred'}: {first_of(mirror.prefer)}"
    if mirror.only and passed not in (Reason.NO_IMAGE,):
        return f"allowed: {first_of(mirror.only)}"
    return ""


def shedding(name: str, ranking: Ranking, verdicts: Verdicts, limits: Limits) -> str:
    """What closes the mirror `name` to some places, and whether to this one; "" where nothing does.

    is being drained (40 % left): this place already went to seoul
    """
    verdict = verdict_of(name, verdicts)
    instead = f"went to {ranking.ordered[0]}" if ranking.ordered else "went elsewhere"
    why = ranking.passed_over.get(name)
    if verdict.usable and verdict.share < 1:
        draining = verdict.override is not None and verdict.override.action is Action.DRAIN
        how = f"is being drained ({verdict.share:.0%} left)" if draining else f"comes back ({verdict.share:.0%} so far)"
        if why is Reason.LEFT:
            return f"{how}: this place {'already ' + instead if draining else 'is not back yet'}".replace("%", " %")
        if why not in _CLOSED:
            return f"{how}: this place {'is still with it' if draining else 'is back'}".replace("%", " %")
    if name in limits and (why is Reason.FULL or why not in _CLOSED) and not ranking.anywhere:
        within = (
            f"is full while others are out, and keeps whom it is meant for and who is within {_ms(limits[name])} ms"
        )
        return f"{within}: this place {instead}" if why is Reason.FULL else within
    return ""


def outside(name: str, ranking: Ranking, verdicts: Verdicts, barring: Barring, match: Match, address: Address) -> str:
    """Why the mirror `name`, which is up, is taken as out of reach of `address`; "" where it is not."""
    if ranking.passed_over.get(name) is not Reason.BARRED:
        return ""
    held = barring.policy.of(match.place, address)
    verdict = verdict_of(name, verdicts)
    items = [item for item in verdict.barred if item in held.items]
    return "is out of reach from here: " + "; ".join(
        f"{because(barring.policy, item, match, address)}: {verdict.barred[item]}" for item in items
    )


def _ms(limit: int) -> str:
    return f"{limit_units(limit) / UNIT:.0f}"


def told(policy: Policy) -> list[str]:
    """What there is to know of the sets of `policy`, whoever asks: what lacks, was held back, or cut."""
    found = []
    for item in filter(is_set, policy.meanings):
        found += [f"{item}: {fact}" for fact in facts_of(policy.expansion(item))]
    return found


def facts_of(expansion: Expansion | None) -> list[str]:
    """What is unusual about a set; None: the table does not have it."""
    if expansion is None:
        return ["world.table has no such set, so it means nobody"]
    found = []
    if not expansion.asns and not expansion.prefixes:
        found.append(EMPTY_SET)
    for name, (kept, offered) in list(expansion.held.items())[:_TOLD]:
        what = "is held back" if name == expansion.name else f"holds {name}, which is held back"
        found.append(f"{what} (members kept {kept:,}, now {offered:,}): `import-radb --confirm {name}` accepts that")
    if len(expansion.held) > _TOLD:
        found.append(f"holds {len(expansion.held) - _TOLD:,} more sets that are held back")
    if expansion.cut:
        found.append("is too large or too deep, so members are lacking")
    return found
