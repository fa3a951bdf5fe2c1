"""What a plain client with both address families loses where the AAAA answers are far and the A answers near.

Whoever has IPv6 tries it first (RFC 6724; RFC 8305 gives IPv4 a chance only where IPv6 does not answer at all), so a
lone IPv6 mirror on another continent gets the browsers and package managers of the whole world.  Our own client takes
the ranked list and measures; it loses nothing.  `ipv6: near` of a select leaves the far ones out of AAAA.

Reckoned by country, for a zone file alone, without the map: `check` says it before anything is served.  What the map
says is in `simulate`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Final

from mirrornet.data.countries import COUNTRIES
from mirrornet.dns.ranking.nearest import rank
from mirrornet.dns.ranking.terms import NO_TERMS, Terms
from mirrornet.model.place import Place
from mirrornet.model.verdict import State, Verdict
from mirrornet.model.zone import Mirror, Select

WORTH_TELLING_MS: Final = 20.0
_UP: Final = Verdict(State.UP, 1.0)


@dataclass(frozen=True, slots=True)
class Loss:
    """In `country` the mirrors of AAAA are `ms` farther than those of A, by estimate and on average."""

    country: str
    ms: float


def losses(
    select: Select, mirrors: Sequence[Mirror], terms: Terms = NO_TERMS, countries: Iterable[str] = COUNTRIES
) -> list[Loss]:
    """Where dual-stack plain clients lose more than WORTH_TELLING_MS, the worst first, while all mirrors are up.

    `mirrors`: placed_mirrors(); those whose place is not known tell nothing and are left out.
    """
    placed = [m for m in mirrors if m.place.known or m.place.anycast]
    if not any(a.version == 6 for m in placed for a in m.addresses):
        return []
    found = []
    verdicts = {m.name: _UP for m in placed}
    for country in countries:
        ranking = rank(Place(country=country), select, placed, verdicts, terms=terms)
        four, six = ([ranking.estimates[name].ms for name in ranking.near[family]] for family in (4, 6))
        if four and six and mean(six) - mean(four) > WORTH_TELLING_MS:
            found.append(Loss(country, mean(six) - mean(four)))
    return sorted(found, key=lambda loss: (-loss.ms, loss.country))
