"""The name server in plain lines: read this first.  (`mirrornet serve --engine reference` runs it.)

    the strict reader lets a packet through      wire.py
    dnslib parses its question                   packing.py
    the trie finds where the asker is            `find`, pytricia's longest match
    the ranking picks mirrors near that place    nearest.py
    dnslib packs the answer                      question.py, packing.py

All that makes the real server fast is missing here: no plan, no ranges, no prebuilt answers.  The scope of an answer is
found as it is defined, by trying one prefix length after the other until all addresses within get this very answer.
The answering path proper (plan.py, answer.py) is held equal to this, answer for answer, by tests.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address

from mirrornet.dns import packing
from mirrornet.dns.message import edns, rrset, wire
from mirrornet.dns.message.gate import Gate, short
from mirrornet.dns.message.rate import ANSWER, SILENCE
from mirrornet.dns.message.rrset import RRset, name_to_wire
from mirrornet.dns.planning.hops import graph_of, terms_of
from mirrornet.dns.planning.lookup import ANY_ANSWER, Found, Kind, Tree
from mirrornet.dns.planning.planfile import Entry, Node, ZoneInfo
from mirrornet.dns.question import Asker, Key, Question, own_addresses, questions
from mirrornet.dns.ranking.barring import NOBODY, Barring, barring_of
from mirrornet.dns.ranking.closing import Limits
from mirrornet.dns.ranking.policy import NOTHING, Policy, policy_of
from mirrornet.dns.ranking.terms import Measured
from mirrornet.dns.ranking.whereabouts import CARRIERS, TUNNELS, Find, placed_mirrors, whereabouts
from mirrornet.dns.records.rdata import SOA_TIMERS, STATIC_WINS, static_sets
from mirrornet.model.address import Address, Family, Prefix, key, mask, width
from mirrornet.model.place import UNKNOWN
from mirrornet.model.sets import SECTION, Sets
from mirrornet.model.table import WorldTable
from mirrornet.model.verdict import Verdicts
from mirrornet.model.zone import Zone

FOUR: Family = 4
SIX: Family = 6
Records = list[tuple[bytes, RRset]]  # owner, and its records


class Reference:
    """Answers for `zones`; `find` is the look-up in the trie made of `table`; `records` and `verdicts` by zone name.

    `full`: which mirrors are full, by zone name and select name (planning/crowding.py, for it is a matter of all places
    at once).
    """

    def __init__(
        self,
        zones: Sequence[Zone],
        table: WorldTable,
        find: Find,
        records: Mapping[str, dict[bytes, dict[int, RRset]]],
        verdicts: Mapping[str, Verdicts],
        *,
        nsid: bytes = b"",
        gate: Gate | None = None,
        measured: Mapping[str, Measured] | None = None,
        full: Mapping[str, Mapping[str, Limits]] | None = None,
    ) -> None:
        self.table, self.find, self.verdicts = table, find, verdicts
        self.nsid = edns.nsid_option(nsid) if nsid else b""
        self.gate = Gate() if gate is None else gate
        self.questions: dict[Key, Question] = {}
        self.policies: dict[str, Policy] = {}
        self.barrings: dict[str, Barring] = {}
        sets, graph = Sets.read(table.section(SECTION)), graph_of(table)
        nodes: dict[bytes, dict[int, Entry]] = {}
        zone_infos = {}
        for zone in zones:
            policy = policy_of(zone, sets)
            self.policies[zone.name] = policy
            mirrors = placed_mirrors(zone, find)
            terms = terms_of(zone, mirrors, graph, (measured or {}).get(zone.name))
            asked = dict(questions(zone, mirrors, policy, terms, (full or {}).get(zone.name)))
            self.barrings[zone.name] = barring_of(mirrors, verdicts.get(zone.name, {}))
            fixed = dict(own_addresses(zone))
            static = static_sets(zone, records.get(zone.name, {}))
            for name, types in static.items():
                for rtype, one in types.items():
                    if rtype in STATIC_WINS or not ((name, rtype) in asked or (name, rtype) in fixed):
                        fixed[name, rtype] = one
            self.questions |= {where: question for where, question in asked.items() if where not in fixed}
            for name, rtype in asked | fixed:
                nodes.setdefault(name, {})[rtype] = Entry((fixed.get((name, rtype)),), (-1,))
            apex = name_to_wire(zone.name)
            zone_infos[apex] = ZoneInfo(apex, static[apex][rrset.SOA], SOA_TIMERS[3])
        cuts = {name for name, types in nodes.items() if rrset.NS in types} - zone_infos.keys()
        self.tree = Tree(zone_infos, {name: Node(types, name in cuts) for name, types in nodes.items()})

    def respond(self, data: bytes, peer: bytes, transport: int) -> bytes | None:
        """The reply to the octets `data` from `peer` (4 or 16 packed octets), or None: say nothing."""
        try:
            query = wire.parse(data)
        except wire.Malformed as fault:
            return None if self.gate.count(peer, transport) == SILENCE else fault.reply()
        if query is None:
            return None
        verdict, cookie = self.gate.admit(query, peer, transport)
        if verdict != ANSWER:
            return short(query, transport, verdict, cookie)
        if not query.question:
            return self.gate.without_question(query, peer, transport, cookie)
        subnet = query.edns.subnet if query.edns else None
        found = self.tree.ask(query.name, query.qtype, query.qclass)
        scope, answer, last_resort = 0, self._static(found, 0), False
        question = self.questions.get((query.name, query.qtype))
        if question is not None and found.kind is Kind.ANSWER:
            scope, answer, last_resort = self._tailored(question, subnet, peer)
            if not answer.rdatas:
                found, scope = Found(Kind.NODATA, found.zone), 0
        message = self._message(query, found, answer)
        options = subnet.reply(scope) if subnet else b""
        options += edns.courtesies(query.edns, transport != wire.UDP, self.nsid) + cookie
        if found.error is not None:
            options += edns.extended_error(found.error)
        if last_resort and answer.rdatas:
            options += edns.extended_error(edns.OTHER_ERROR, edns.ALL_DOWN)
        return packing.finish(message, query, transport, options)

    # Who asks, what he gets, and for whom else it holds.

    def _tailored(self, question: Question, subnet: edns.ClientSubnet | None, peer: bytes) -> tuple[int, RRset, bool]:
        """(scope, records, whether all of their mirrors are down) for who asks."""
        if question.around or (subnet and not subnet.source):
            nobody = (UNKNOWN, NOTHING, NOBODY)
            return 0, self._answer(question, nobody), self._last_resort(question, nobody)
        family, value = subnet.locate() if subnet else key(ip_address(peer))
        asker = self._asker(question.zone, family, value)
        answer, down = self._answer(question, asker), self._last_resort(question, asker)
        if not subnet or not answer.rdatas:
            return 0, answer, down
        return subnet.scope(self._scope(question, family, value, answer)), answer, down

    def _last_resort(self, question: Question, asker: Asker) -> bool:
        return question.last_resort(asker, self.verdicts.get(question.zone.name, {}))

    def _asker(self, zone: Zone, family: Family, value: int) -> Asker:
        place = whereabouts(zone, self.find, _somebody(family, value)).place
        barred = self.barrings[zone.name].at(place, family, value)
        return place, self.policies[zone.name].ward(family, value), barred

    def _answer(self, question: Question, asker: Asker) -> RRset:
        return question.answer(asker, self.verdicts.get(question.zone.name, {}))

    def _scope(self, question: Question, family: Family, value: int, answer: RRset) -> int:
        """The shortest prefix around `value` in which everybody gets `answer`; 0 only if the whole world does."""
        told: dict[Asker, bool] = {}

        def same(family: Family, point: int) -> bool:
            asker = self._asker(question.zone, family, point)
            if asker not in told:
                told[asker] = self._answer(question, asker) == answer
            return told[asker]

        if all(same(f, p) for f in (FOUR, SIX) for p in self._points(question.zone, Prefix(f, 0, 0))):
            return 0
        for length in range(1, width(family)):
            block = Prefix(family, mask(family, value, length), length)
            if family == SIX and any(carrier in block and carrier != block for carrier in CARRIERS):
                continue  # some within are answered by the IPv4 they carry
            if all(same(family, point) for point in self._points(question.zone, block)):
                return length
        return width(family)

    def _points(self, zone: Zone, block: Prefix) -> Iterator[int]:
        """An address of each place and ward within `block`: its first, and wherever one may end and another begin."""
        yield block.value
        for policy in (self.policies[zone.name], self.barrings[zone.name].policy):
            for first, last in policy.blocks(block.family):
                yield from (edge for edge in (first, last + 1) if _outside(edge, block))
        edges = [o.prefix for o in zone.places if o.prefix.family == block.family]
        edges += [carrier for carrier in CARRIERS if carrier.family == block.family]
        yield from (edge for prefix in edges for edge in (prefix.value, prefix.last + 1) if _outside(edge, block))
        starts = self.table.ranges[block.family].starts
        for index in range(bisect_left(starts, block.value), bisect_right(starts, block.last)):
            if _outside(starts[index], block):
                yield starts[index]

    # RFC 1034 section 4.3.2: what stands where in the reply.

    def _message(self, query: wire.Query, found: Found, answer: RRset) -> packing.Message:
        answers: Records = []
        authority: Records = []
        additional: Records = []
        rcode = {Kind.REFUSED: wire.REFUSED, Kind.NXDOMAIN: wire.NXDOMAIN}.get(found.kind, wire.NOERROR)
        soa: Records = []
        if found.zone is not None:
            soa = [(found.zone.apex, replace(found.zone.soa, ttl=found.zone.negative_ttl))]
        if found.kind in (Kind.NODATA, Kind.NXDOMAIN):
            authority = soa
        elif found.kind is Kind.ANY:
            answers = [(query.name, ANY_ANSWER)]
        elif found.kind is Kind.ANSWER:
            answers = [(query.name, answer)]
        elif found.kind is Kind.REFERRAL:
            servers = self._at(found.cut, rrset.NS)
            authority = [(found.cut, servers)]
            names = [name.lower() for name in servers.rdatas]
            additional = [(name, self._at(name, rtype)) for name in names for rtype in (rrset.A, rrset.AAAA)]
        elif found.kind is Kind.CNAME:
            answers = [(query.name, answer)]
            target = answer.rdatas[0].lower()
            beyond = self.tree.find(target, query.qtype)
            if beyond.zone is found.zone and beyond.kind in (Kind.NODATA, Kind.NXDOMAIN):
                authority = soa
                rcode = wire.NXDOMAIN if beyond.kind is Kind.NXDOMAIN else wire.NOERROR
            elif beyond.zone is found.zone:
                answers.append((target, self._static(beyond, query.qtype)))
        authoritative = found.kind not in (Kind.REFUSED, Kind.REFERRAL)
        return packing.reply(query, rcode, authoritative, answers, authority, additional)

    def _at(self, name: bytes, rtype: int) -> RRset:
        node = self.tree.nodes.get(name)
        return self._static(Found(Kind.ANSWER, entry=node.entries.get(rtype) if node else None), rtype)

    def _static(self, found: Found, rtype: int) -> RRset:
        """The records that are the same for everybody; an empty set where there are none."""
        one = found.entry.rrsets[0] if found.entry else None
        return one or RRset(rtype, 0, ())


def _outside(point: int, block: Prefix) -> bool:
    """Whether `point` is in `block` and outside the tunnels, all of whose addresses carry an IPv4."""
    return point in block and not (block.family == SIX and any(point in tunnel for tunnel in TUNNELS))


def _somebody(family: Family, value: int) -> Address:
    """An address that the map holds under `value`, and that carries no IPv4."""
    return IPv4Address(value) if family == 4 else IPv6Address(value << 64 | 1 << 48)
