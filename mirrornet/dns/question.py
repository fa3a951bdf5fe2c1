"""The names that depend on mirrors, in plain code: which there are, and what each says to an asker at some place.

    S            A, AAAA    the near-equals                      S is the select name
    S            TXT        the ranked list, for people
    _http._tcp.S            URI the ranked list, SRV those of it that serve under the select url
    _https._tcp.S           SRV, likewise of the mirrors with TLS (the name exists only if there are some)
    M.S          A, AAAA    mirror M's own addresses
    _http._tcp.M.S          URI and SRV of the mirrors near M, the same for everybody (and _https._tcp.M.S)

The reference asks here for every query; the planner (plan.py) has the same names, with all answers made beforehand.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from dnslib.dns import AAAA, RD, SRV, TXT, A, DNSBuffer

from mirrornet.dns.message import rrset
from mirrornet.dns.message.rrset import RRset, name_to_wire
from mirrornet.dns.ranking.barring import Names, barring_of
from mirrornet.dns.ranking.closing import NO_LIMITS, Limits
from mirrornet.dns.ranking.nearest import rank, under_url, verdict_of
from mirrornet.dns.ranking.policy import Held, Policy
from mirrornet.dns.ranking.promise import answer_ttl, waiting
from mirrornet.dns.ranking.terms import NO_TERMS, Terms
from mirrornet.dns.records.rdata import MIRROR_TTL, TEXT_LIMIT, WEIGHT, address_set, named_url, srv_port
from mirrornet.model.address import Address, Family
from mirrornet.model.place import Place
from mirrornet.model.verdict import Verdicts
from mirrornet.model.zone import Mirror, Select, Zone

Key = tuple[bytes, int]  # a name in lower-case wire form, and a type
Asker = tuple[Place, Held, Names]  # where he is, what policy says of his address, and whom he cannot reach
_FAMILIES: Final[dict[int, Family]] = {rrset.A: 4, rrset.AAAA: 6}


@dataclass(frozen=True, slots=True)
class Question:
    """One (name, type) that a ranking answers.  `mirrors`: all of the zone, placed.  `tls`: of those with TLS only.

    `around`: the mirrors near this one, whoever asks.  `limits`: of the mirrors that are full (ranking/closing.py).
    """

    zone: Zone
    mirrors: Sequence[Mirror]
    policy: Policy
    select: Select
    rtype: int
    tls: bool = False
    around: Mirror | None = None
    terms: Terms = NO_TERMS
    limits: Limits = field(default_factory=dict)

    def answer(self, asker: Asker, verdicts: Verdicts) -> RRset:
        """The records for `asker`, with their TTL; without records it means NODATA."""
        family, chosen = _FAMILIES.get(self.rtype), self._chosen(asker, verdicts)
        inside = [verdict_of(m.name, verdicts) for m in chosen]
        others = [verdict_of(n, verdicts) for n in waiting(self.select, self.mirrors, verdicts, family)]
        ttl = answer_ttl(self.select.ttl, inside, others)
        if family:
            addresses = [address for m in chosen for address in m.addresses if address.version == family]
            return RRset(self.rtype, ttl, tuple(dict.fromkeys(packed(_address(address)) for address in addresses)))
        return RRset(self.rtype, ttl, tuple(self._listed(priority, m) for priority, m in enumerate(chosen, 1)))

    def last_resort(self, asker: Asker, verdicts: Verdicts) -> bool:
        """Whether all mirrors of that answer are down (fail open)."""
        chosen = self._chosen(asker, verdicts)
        return bool(chosen) and not any(verdict_of(m.name, verdicts).usable for m in chosen)

    def _chosen(self, asker: Asker, verdicts: Verdicts) -> list[Mirror]:
        if self.around:
            place, address = self.around.place, next(iter(self.around.addresses), None)
            held, barred = self.policy.of(place, address), barring_of(self.mirrors, verdicts).of(place, address)
        else:
            place, ward, barred = asker
            held = self.policy.held(place, ward)
        ranking = rank(place, self.select, self.mirrors, verdicts, held, self.terms, barred, self.limits)
        family = _FAMILIES.get(self.rtype)
        by_name = {mirror.name: mirror for mirror in self.mirrors}
        chosen = [by_name[name] for name in (ranking.near[family] if family else ranking.ordered)]
        if self.rtype == rrset.SRV:
            return [m for m in chosen if m.tls == self.tls and under_url(m, verdict_of(m.name, verdicts))]
        return [m for m in chosen if m.tls] if self.tls else chosen

    def _listed(self, priority: int, mirror: Mirror) -> bytes:
        if self.rtype == rrset.SRV:
            target = f"{mirror.name}.{self.zone.select_fqdn(self.select)}"
            return packed(SRV(priority, WEIGHT, srv_port(self.select, mirror), target))
        if self.rtype == rrset.TXT:
            text = f"{priority} {named_url(mirror)}".encode("ascii")
            return packed(TXT([text[at : at + TEXT_LIMIT] for at in range(0, len(text), TEXT_LIMIT)]))
        return struct.pack("!HH", priority, WEIGHT) + named_url(mirror).encode("ascii")  # dnslib knows no URI


def questions(
    zone: Zone,
    mirrors: Sequence[Mirror],
    policy: Policy,
    terms: Terms = NO_TERMS,
    full: Mapping[str, Limits] | None = None,
) -> Iterable[tuple[Key, Question]]:
    """All of `zone`; `mirrors` are its placed mirrors, `policy` whom they serve, `terms` what estimates go by.

    `full`: the limits of mirrors that are full, by the select's name.
    """
    for select in zone.select:
        told = (terms, (full or {}).get(select.name, NO_LIMITS))
        name = zone.select_fqdn(select)
        candidates = zone.candidates(select)
        services = {"_http._tcp": False} | ({"_https._tcp": True} if any(m.tls for m in candidates) else {})
        for rtype in (rrset.A, rrset.AAAA, rrset.TXT):
            yield (name_to_wire(name), rtype), Question(zone, mirrors, policy, select, rtype, False, None, *told)
        for service, tls in services.items():
            at = name_to_wire(f"{service}.{name}")
            if not tls:
                yield (at, rrset.URI), Question(zone, mirrors, policy, select, rrset.URI, False, None, *told)
            yield (at, rrset.SRV), Question(zone, mirrors, policy, select, rrset.SRV, tls, None, *told)
            for mirror in mirrors:
                if any(mirror.name == candidate.name for candidate in candidates):
                    at = name_to_wire(f"{service}.{mirror.name}.{name}")
                    for rtype in (rrset.URI, rrset.SRV):
                        yield (at, rtype), Question(zone, mirrors, policy, select, rtype, tls, mirror, *told)


def own_addresses(zone: Zone) -> Iterable[tuple[Key, RRset]]:
    """The mirrors' own names, and their addresses."""
    for select in zone.select:
        for mirror in zone.candidates(select):
            for rtype, family in _FAMILIES.items():
                one = address_set(family, [mirror], MIRROR_TTL)
                if one.rdatas:
                    yield (name_to_wire(f"{mirror.name}.{zone.select_fqdn(select)}"), rtype), one


def _address(address: Address) -> RD:
    return A(tuple(address.packed)) if address.version == 4 else AAAA(tuple(address.packed))


def packed(rdata: RD) -> bytes:
    """The rdata alone, its names uncompressed (RFC 3597 section 4)."""
    buffer = DNSBuffer()
    rdata.pack(buffer)
    return bytes(buffer.data)
