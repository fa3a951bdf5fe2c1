"""Policy in words: why an item holds for an asker, by which prefix, origin, and chain of sets.

    203.0.113.0/24 is originated by AS64500, a member of AS-CHILD (RADB), which is in AS-EXAMPLE (RADB)

Said from what decided (policy.py), for explain; nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mirrornet.data.countries import COUNTRIES
from mirrornet.dns.ranking.nearest import Ranking, Reason
from mirrornet.dns.ranking.policy import Held, Policy, is_set
from mirrornet.dns.ranking.whereabouts import OPERATOR_SOURCE
from mirrornet.model.address import Address, fold, key
from mirrornet.model.expansion import Expansion
from mirrornet.model.table import Match
from mirrornet.model.zone import Mirror

EMPTY_SET: Final = "has no members"
_TOLD: Final = 3  # held sets


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
