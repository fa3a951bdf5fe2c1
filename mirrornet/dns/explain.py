"""Why this client gets these mirrors: the whole reasoning for one address as a value, and as JSON.

explain_text.py says the same to a person.

Nothing is reckoned anew here: the place is whereabouts()'s, the order and every reason are rank()'s, the TTL is
answer_ttl()'s, and the scopes are given by the caller, who has them from the plan that the server would serve.  So what
is explained is what happens.

Rejected: an explanation that the ranking writes as it goes (it would slow the planner and be worded for nobody).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from mirrornet.data.countries import COUNTRIES
from mirrornet.dns.message import rrset
from mirrornet.dns.planning.crowding import NO_CROWD, Crowd
from mirrornet.dns.ranking import estimate as est
from mirrornet.dns.ranking.barring import barring_of
from mirrornet.dns.ranking.estimate import Estimate, located
from mirrornet.dns.ranking.nearest import FAMILIES, Ranking, rank, under_url, verdict_of
from mirrornet.dns.ranking.policy import Policy, policy_of
from mirrornet.dns.ranking.promise import answer_ttl, waiting
from mirrornet.dns.ranking.reasons import outside, sentence, shedding, told
from mirrornet.dns.ranking.terms import NO_TERMS, Terms
from mirrornet.dns.records.rdata import named_url, srv_port
from mirrornet.model.address import Address, Family, Prefix, fold, key, mask
from mirrornet.model.place import Evidence, Place
from mirrornet.model.table import Mark, Match
from mirrornet.model.units import format_duration
from mirrornet.model.verdict import Verdicts
from mirrornet.model.zone import Mirror, Select, Zone

EVIDENCE: Final = {
    Evidence.NONE: "unknown",
    Evidence.AUT_NUM: "the origin's aut-num (the seat of its holder)",
    Evidence.DELEGATED: "the registries' delegated statistics",
    Evidence.INETNUM: "an inetnum object",
    Evidence.GEOFEED: "a geofeed",
    Evidence.CENTROID: "the middle of the country",
    Evidence.MMDB: "a geolocation database",
    Evidence.OPERATOR: "the operator",
}
Scopes = Mapping[tuple[str, int], int]  # by owner and type; only for answers that depend on who asks


@dataclass(frozen=True, slots=True)
class Line:
    """One mirror.  `rank` in URI, from 1, None where it is passed over; `why`: the reason of either.

    `stands_in`: the types that hold it; `absent`: why it is in none of A or AAAA, by type.  `policy`: what `only`,
    `prefer`, `never` and pins did to it, and by which prefix, origin and set ("" nothing).  `parts`: the terms of the
    estimate one by one, as ranking/estimate.py has them.  `shed`: what a mirror that is up and yet not for everybody
    does here: it is drained, comes back, is full, or cannot be reached from here.
    """

    name: str
    url: str
    rank: int | None
    ms: float
    km: float | None
    terms: str
    state: str
    verdict: str
    why: str
    stands_in: tuple[str, ...]
    absent: Mapping[str, str]
    policy: str = ""
    shed: str = ""
    parts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """One record set.  `scope` None: the same for everybody.  `block`: the addresses that get the same answer."""

    owner: str
    rtype: str
    records: tuple[str, ...]
    ttl: int
    ttl_because: str
    scope: int | None
    block: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything about one address under one select name."""

    zone: str
    select: str
    address: str
    carries: str  # the IPv4 that an IPv6 address carries, or ""
    prefix: str
    source: str
    asn: int
    country: str
    country_name: str
    country_from: str
    latitude: float | None
    longitude: float | None
    radius_km: int
    coordinates_from: str
    anycast: bool
    anywhere: bool
    last_resort: bool
    assumed_up: bool
    mirrors: tuple[Line, ...]
    answers: tuple[Answer, ...]
    sets: tuple[str, ...] = ()  # what is unusual about the sets that the zone names
    rpki_valid: bool = False
    several_origins: bool = False
    overload: float = 1.0  # Crowd.overload

    def json(self) -> dict[str, Any]:
        """As plain values, for json.dumps."""
        return asdict(self)


def explain(
    zone: Zone,
    select: Select,
    address: Address,
    match: Match,
    mirrors: Sequence[Mirror],
    verdicts: Verdicts,
    scopes: Scopes,
    assumed_up: bool = False,
    terms: Terms = NO_TERMS,
    policy: Policy | None = None,
    crowd: Crowd = NO_CROWD,
) -> Explanation:
    """Why `address`, of which `match` (whereabouts()) is known, gets what it gets under `select`.

    `mirrors`: placed_mirrors().  `assumed_up`: there were no verdicts, so all were taken as up.  `terms`: terms_of().
    `policy`: policy_of(); None: as where no table has sets.  `crowd`: who is full.
    """
    place = located(match.place)
    policy = policy_of(zone, None) if policy is None else policy
    held = policy.of(match.place, address)
    barring = barring_of(mirrors, verdicts)
    ranking = rank(match.place, select, mirrors, verdicts, held, terms, barring.of(match.place, address), crowd.limits)
    said = {m.name: sentence(m, ranking, policy, held, match, address) for m in mirrors}
    shed = {m.name: shedding(m.name, ranking, verdicts, crowd.limits) for m in mirrors}
    shed |= {m.name: why for m in mirrors if (why := outside(m.name, ranking, verdicts, barring, match, address))}
    carried = fold(address)
    country = COUNTRIES.get(place.country)
    return Explanation(
        zone=zone.name,
        select=zone.select_fqdn(select),
        address=str(address),
        carries="" if carried == address else str(carried),
        prefix=str(match.prefix) if match.prefix else "",
        source=match.source,
        asn=place.asn,
        country=place.country,
        country_name=country.name if country else "",
        country_from=EVIDENCE[place.country_from],
        latitude=place.latitude,
        longitude=place.longitude,
        radius_km=place.radius_km,
        coordinates_from=EVIDENCE[place.coordinates_from],
        anycast=place.anycast,
        anywhere=ranking.anywhere,
        last_resort=ranking.last_resort,
        assumed_up=assumed_up,
        mirrors=tuple(
            replace(m, policy=said[m.name], shed=shed[m.name]) for m in _lines(place, ranking, mirrors, verdicts)
        ),
        answers=tuple(_answers(zone, select, address, ranking, mirrors, verdicts, scopes)),
        sets=tuple(told(policy)),
        rpki_valid=Mark.RPKI_VALID in match.marks,
        several_origins=Mark.SEVERAL_ORIGINS in match.marks,
        overload=crowd.overload,
    )


def _lines(place: Place, ranking: Ranking, mirrors: Sequence[Mirror], verdicts: Verdicts) -> tuple[Line, ...]:
    by_name = {m.name: m for m in mirrors}
    order = [*ranking.ordered, *sorted(ranking.passed_over, key=lambda n: (ranking.estimates[n].units, n))]
    lines = []
    for name in order:
        mirror, verdict, estimated = by_name[name], verdict_of(name, verdicts), ranking.estimates[name]
        position = ranking.ordered.index(name) + 1 if name in ranking.ordered else None
        standing = [_type(family) for family in FAMILIES if name in ranking.near[family]]
        if position:
            standing.append("URI")
            if under_url(mirror, verdict):
                standing.append("SRV")
        absent = {_type(f): str(ranking.not_near[f][name]) for f in FAMILIES if name in ranking.not_near[f]}
        if position is None:
            why = str(ranking.passed_over[name])
        elif ranking.last_resort:
            why = "last resort: no mirror is usable"
        elif name in ranking.pinned:
            why = "pinned here (`places`)"
        elif name in ranking.preferred:
            why = "preferred here (`prefer`)"
        elif ranking.anywhere:
            why = "spread over the world" if position > 1 else "the heaviest begins"
        else:
            why = "nearest" if position == 1 else "by estimate"
        lines.append(
            Line(
                name=name,
                url=mirror.url,
                rank=position,
                ms=round(estimated.ms, 1),
                km=None if estimated.km is None else round(estimated.km),
                terms=summed(place, mirror.place, estimated),
                state=str(verdict.state),
                verdict=verdict.reason,
                why=why,
                stands_in=tuple(standing),
                absent=absent,
                parts={k: round(v, 1) if isinstance(v, float) else v for k, v in asdict(estimated).items()},
            )
        )
    return tuple(lines)


def _type(family: Family) -> str:
    return "A" if family == 4 else "AAAA"


def summed(place: Place, mirror_place: Place, estimated: Estimate) -> str:
    """The estimate as a sum a person can follow."""
    if estimated.km is not None:
        distance = f"{estimated.km:,.0f} km"
    elif mirror_place.anycast:
        distance = f"{est.ANYCAST_KM:,.0f} km (the mirror is anycast)"
    else:
        whose = "the mirror's" if place.known else "the client's"
        distance = f"{est.FARTHEST_KM:,.0f} km ({whose} place says nothing about distance)"
    if estimated.detour_km:
        sign = "-" if estimated.detour_km < 0 else "+"
        distance = f"({distance} {sign} {abs(estimated.detour_km):,.0f} km detour)"
    if estimated.spread_km:
        distance = f"√({distance}² + {estimated.spread_km:,.0f} km²: a country is not a point)"
    text = f"{est.BASE_MS:.0f} + {est.MS_PER_KM} × {distance}"
    if estimated.table_ms is not None:
        text = f"{100 * estimated.table_share:.0f} % of the table's {estimated.table_ms:g} ms, else {text}"
    if estimated.hops is not None:
        text += f" + {estimated.hops} AS hops × {est.HOP_UNITS // est.UNIT}"
    if estimated.same_as:
        text += f" - {est.SAME_AS_UNITS // est.UNIT}: same AS"
    if estimated.measured_ms is not None:
        text = f"{estimated.measured_ms:g} as clients there measured, in place of {text}"
    return text


def _answers(
    zone: Zone,
    select: Select,
    address: Address,
    ranking: Ranking,
    mirrors: Sequence[Mirror],
    verdicts: Verdicts,
    scopes: Scopes,
) -> Iterable[Answer]:
    by_name = {m.name: m for m in mirrors}
    name = zone.select_fqdn(select)
    ordered = [by_name[n] for n in ranking.ordered]
    able = [m for m in ordered if under_url(m, verdict_of(m.name, verdicts))]

    def answer(
        owner: str, rtype: int, word: str, chosen: list[Mirror], texts: list[str], family: Family | None = None
    ) -> Answer:
        names = waiting(select, mirrors, verdicts, family)
        scope = scopes.get((owner, rtype))
        ttl, because = _lifetime(select, [m.name for m in chosen], names, verdicts)
        return Answer(owner, word, tuple(texts), ttl, because, scope, _block(address, scope))

    for family in FAMILIES:
        near = [by_name[n] for n in ranking.near[family]]
        texts = list(dict.fromkeys(str(a) for m in near for a in m.addresses if a.version == family))
        yield answer(name, rrset.A if family == 4 else rrset.AAAA, _type(family), near, texts, family)
    http = f"_http._tcp.{name}"
    yield answer(
        http, rrset.URI, "URI", ordered, [f'{position} 1 "{named_url(m)}"' for position, m in enumerate(ordered, 1)]
    )
    for service, tls in ((http, False), (f"_https._tcp.{name}", True)):
        those = [m for m in able if m.tls == tls]
        if those or not tls:
            ports = [f"{n} 1 {srv_port(select, m)} {m.name}.{name}" for n, m in enumerate(those, 1)]
            yield answer(service, rrset.SRV, "SRV", those, ports)


def _lifetime(select: Select, inside: Sequence[str], others: Sequence[str], verdicts: Verdicts) -> tuple[int, str]:
    """(TTL in seconds, what decides it)"""
    known = {name: verdict_of(name, verdicts) for name in (*inside, *others)}
    ttl = answer_ttl(select.ttl, [known[n] for n in inside], [known[n] for n in others])
    if not inside:
        return ttl, "no records"
    if any(not known[n].usable for n in inside):
        return ttl, "no mirror is usable, so this answer is a last resort"
    first = min([*inside, *others], key=lambda n: known[n].promise)
    if known[first].promise >= select.ttl:
        return ttl, "the select's ttl"
    promise = format_duration(known[first].promise)
    if first in inside:
        return ttl, f"no probe can take {first} out within {promise}"
    return ttl, f"no probe can bring {first} back within {promise}"


def _block(address: Address, scope: int | None) -> str:
    if scope is None:
        return ""
    family, value = key(address)
    return str(Prefix(family, mask(family, value, scope), scope))
