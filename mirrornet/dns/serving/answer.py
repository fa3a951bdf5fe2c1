"""The answering path proper: query octets in, answer octets out, a microsecond or two in between.

Nearly every query is one of a few thousand questions we can foresee, bare or with an OPT record that holds nothing or
one ECS option.  So a question's octets, together with the section counts before them, are the key of a dictionary
whose value (`Hot`) keeps the answer written out from the flags to the last record, one per answer of the partition.
What is left to do is to read the address in place, to bisect the ranges, and to join id, answer and ECS option.

Everything else takes the road through `wire.parse`, `lookup.Tree.find` and `wire.compose`: other spellings of a name
(0x20), TCP, more options, answers that may be too long, what is negative or malformed.  Both roads write the same
octets; a test holds them equal.  `reference.py` says the same in plain lines.

Pure: the plan and the TTLs are given, nothing is read from the world.  A new plan is a new Responder.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from ipaddress import IPv6Address
from struct import Struct
from typing import Final

from mirrornet.dns.message import edns, wire
from mirrornet.dns.message.gate import Gate, short
from mirrornet.dns.message.rate import ANSWER, SILENCE
from mirrornet.dns.message.rrset import AAAA, CLASS_IN, NS, OWNER, A, RRset
from mirrornet.dns.message.wire import EMPTY, Malformed, Query, Section
from mirrornet.dns.planning.lookup import ANY_ANSWER, Found, Kind, Tree
from mirrornet.dns.planning.planfile import BETWEEN, Entry, Plan, ZoneInfo
from mirrornet.dns.serving import counters
from mirrornet.dns.serving.tally import Hot, Tally
from mirrornet.model.address import Family, key

_MAX_NSID = 128  # octets; so that OPT and question always fit 512

_BARE = b"\0\x01\0\0\0\0\0\0"  # one question
_EDNS = b"\0\x01\0\0\0\0\0\x01"  # one question and one additional record
_OPT_ECS = Struct("!HHBBHHHHHBB")  # the OPT behind its root owner, up to the address of its only option
_OPT_FIXED = 11  # octets of an OPT without options
_TO_SCOPE = 18  # octets from an OPT's start to the scope of an ECS option that comes first
# An OPT without options, with a client's COOKIE, with a server's as well: its size, and its rdlength and option header.
_WITH_COOKIE: Final = {11: b"\0\0", 23: b"\0\x0c\0\x0a\0\x08", 39: b"\0\x1c\0\x0a\0\x18"}
_SCOPES: Final = tuple(bytes([n]) for n in range(129))
_CLEAN4 = tuple((1 << (32 - n)) - 1 for n in range(33))
_CLEAN6 = tuple((1 << (64 - n)) - 1 for n in range(65))


class Responder:
    """Answers from one plan."""

    def __init__(
        self,
        plan: Plan,
        ttls: Sequence[int],
        *,
        nsid: bytes = b"",
        counts: list[int] | None = None,
        hits: memoryview | None = None,
        gate: Gate | None = None,
    ) -> None:
        """`ttls`: seconds, one per TTL slot; `nsid`: at most 128 octets, given to who asks for it (RFC 5001).

        `counts`, `hits` (u32): where to count, as in counters.py, and by TTL slot.  `gate`: cookies and limits; None:
        neither of them.  Raises ValueError where the NSID is too long.
        """
        if len(nsid) > _MAX_NSID:
            raise ValueError(f"an NSID has at most {_MAX_NSID} octets, and this one has {len(nsid)}")
        self.plan = plan
        self.counts = [0] * len(counters.NAMES) if counts is None else counts
        self.hits = memoryview(bytearray(4 * max(1, plan.slot_count))).cast("I") if hits is None else hits
        self._tally = Tally(self.counts, self.hits)
        self._ttls = list(ttls)
        self._nsid = edns.nsid_option(nsid) if nsid else b""
        self.gate = Gate() if gate is None else gate
        self._tree = Tree(plan.zones, plan.nodes)
        self._hot: dict[bytes, Hot] = {}
        for name, node in plan.nodes.items():
            for rtype, entry in node.entries.items():
                if self._tree.find(name, rtype).kind is not Kind.ANSWER or entry.last_resort:
                    continue  # glue, or what a delegation hides; or there is something to be said beside the answer
                question = name + rtype.to_bytes(2, "big") + CLASS_IN.to_bytes(2, "big")
                for before, with_opt in ((_BARE, False), (_EDNS, True)):
                    self._hot[before + question] = Hot(question, with_opt, entry, plan)

    def foreseen(self) -> Iterator[tuple[bytes, Entry]]:
        """(question, entry) for all that the quick road answers: name in lower case, type, class."""
        return ((hot.question, hot.entry) for hot in self._hot.values() if not hot.edns)

    def retime(self, ttls: Sequence[int]) -> None:
        """New TTLs for the same plan."""
        self._ttls = list(ttls)
        for hot in self._hot.values():
            for tails in hot.tails:
                tails.clear()

    def settle(self) -> None:
        """Brings `counts` and `hits` up to date: what the quick road has answered is counted by question till then."""
        self._tally.settle(self._hot.values())

    def slot_of(self, data: bytes, peer: bytes) -> int:
        """The TTL slot of the answer to `data` from `peer`: its answer class; -1: it has none."""
        try:
            query = wire.parse(data)
        except Malformed:
            return -1
        if query is None or not query.question:
            return -1
        found = self._tree.ask(query.name, query.qtype, query.qclass)
        if found.kind is not Kind.ANSWER or found.entry is None:
            return -1
        return found.entry.slots[self._choose(found.entry, query, peer)[0]]

    def respond(self, data: bytes, peer: bytes, transport: int) -> bytes | None:
        """The reply to the octets `data` from `peer` (4 or 16 packed octets), or None: say nothing.  Never raises.

        `transport`: wire.UDP, TCP or TLS.
        """
        try:
            at = data.index(0, 12) + 5  # where a question without a zero octet in its labels ends
            hot = self._hot.get(data[4:at])
            if hot is not None and not transport:
                reply = self._quick(hot, data, at, peer)
                if reply is not None:
                    return reply or None
        except (ValueError, IndexError):
            pass
        try:
            return self._slow(data, peer, transport)
        except Exception:  # a bug of ours is an answer to the asker and a number to the operator
            self.counts[counters.SERVFAIL] += 1
            return _failed(data)

    # The quick road: UDP, a foreseen question in lower case, an OPT with nothing or a COOKIE or ECS, or none.
    # None: take the other one.  No octets: silence.

    def _quick(self, hot: Hot, data: bytes, at: int, peer: bytes) -> bytes | None:
        recursion = data[2]  # QR, opcode, AA and TC are clear if this is 0 or 1
        if recursion > 1:
            return None
        size = len(data)
        ranges = hot.ranges4
        if not hot.edns:
            if size != at:
                return None
            answer = 0 if ranges is None else self._of_peer(hot.entry, peer)[0]
            tail = hot.tails[recursion].get(answer) or self._tail(hot, recursion, answer)
            if not 0 < len(tail) <= wire.UDP_MINIMUM - 2:
                return None
            if self.gate.limiter is not None and (verdict := self.gate.limiter.admit(peer, self.gate.now)):
                return self._cut_short(hot, data, verdict)
            hot.given[answer] += 1
            return data[:2] + tail
        extra = size - at
        if extra == _OPT_FIXED or (extra in _WITH_COOKIE and data[at + 12] == 10):
            # root owner, type OPT, version 0, no option or one COOKIE
            if data[at : at + 3] != b"\0\0\x29" or data[at + 6] or data[at + 9 : at + 15] != _WITH_COOKIE[extra]:
                return None
            cookie, valid = b"", False
            if extra != _OPT_FIXED:
                if self.gate.cookies is None:
                    return None
                sent, valid = self.gate.cookies.reply(data[at + 15 :], peer, int(self.gate.now))
                cookie = b"\0\x0a\0\x18" + sent
            kind = recursion | data[at + 7] >> 6 & 2
            answer = 0 if ranges is None else self._of_peer(hot.entry, peer)[0]
            tail = hot.tails[kind].get(answer) or self._tail(hot, kind, answer)
            room = data[at + 3] << 8 | data[at + 4]
            if not tail or len(tail) + 4 + len(cookie) > (512 if room < 512 else room if room < 1232 else 1232):
                return None
            if not valid and self.gate.limiter is not None:
                verdict = self.gate.limiter.admit(peer, self.gate.now)
                if verdict:
                    return self._cut_short(hot, data, verdict, cookie)
            hot.given[answer] += 1
            return data[:2] + tail + (b"\0\x1c" + cookie if cookie else b"\0\0")
        if size < at + _TO_SCOPE + 1 or data[at]:
            return None
        rtype, room, _, version, flags, length, code, inner, family, source, scope = _OPT_ECS.unpack_from(data, at + 1)
        address = data[at + _TO_SCOPE + 1 :]
        octets = len(address)
        if (
            rtype != 41
            or version
            or length != octets + 8
            or code != 8
            or inner != octets + 4
            or scope
            or not source
            or octets != (source + 7) >> 3
        ):
            return None
        if family == 1 and source < 33:
            value = int.from_bytes(address, "big") << (32 - 8 * octets)
            if value & _CLEAN4[source]:
                return None
        elif family == 2 and source < 65:
            value = int.from_bytes(address, "big") << (64 - 8 * octets)
            high = value >> 32
            if value & _CLEAN6[source] or high >> 16 == 0x2002 or high == 0x20010000 or high == 0x0064FF9B or not high:
                return None  # it may carry an IPv4, or is unclean
            ranges = hot.ranges6
        else:
            return None
        answer = width = 0
        if ranges is not None:
            index = bisect_right(ranges.starts, value) - 1
            answer = ranges.answers[index]
            width = ranges.scopes[index]
            if width == BETWEEN:
                width = ranges.scope(index, value)
        kind = recursion | flags >> 14 & 2
        tail = hot.tails[kind].get(answer) or self._tail(hot, kind, answer)
        if not tail or len(tail) + 4 + length > (512 if room < 512 else room if room < 1232 else 1232):
            return None
        if self.gate.limiter is not None and (verdict := self.gate.limiter.admit(peer, self.gate.now)):
            return self._cut_short(hot, data, verdict)
        hot.located[answer] += 1
        return data[:2] + tail + data[at + 9 : at + _TO_SCOPE] + _SCOPES[width] + address

    def _cut_short(self, hot: Hot, data: bytes, verdict: int, cookie: bytes = b"") -> bytes:
        """The limited reply to a packet that the quick road has read; no octets for silence."""
        self._tally.limited(verdict, cookie, hot.kind)
        query = None if verdict == SILENCE else wire.parse(data)
        return b"" if query is None else short(query, wire.UDP, verdict, cookie) or b""

    def _tail(self, hot: Hot, kind: int, answer: int) -> bytes:
        """What follows the id, up to and without the length of our OPT's options; kept for the next time.

        `kind`: RD + 2 * DO.  Empty where the answer is NODATA.
        """
        rrset = hot.entry.rrsets[answer]
        if rrset is None:
            return b""
        query = Query(0, (kind & 1) << 8, 0, hot.question[:-4], hot.question, 0, 0, None)
        message = wire.compose(query, wire.TCP, authoritative=True, answer=self._section(hot.entry, answer))
        if hot.edns:
            message = message[:11] + bytes([message[11] + 1]) + message[12:] + edns.opt(b"", kind > 1)[:-2]
        tail = hot.tails[kind][answer] = message[2:]
        return tail

    # The road for everything.

    def _slow(self, data: bytes, peer: bytes, transport: int) -> bytes | None:
        try:
            query = wire.parse(data)
        except Malformed as fault:
            if self.gate.count(peer, transport) != SILENCE:
                self._tally.refused(fault.rcode)
                return fault.reply()
            self._tally.limited(SILENCE)
            return None
        if query is None:
            self.counts[counters.DROPPED] += 1
            return None
        verdict, cookie = self.gate.admit(query, peer, transport)
        if verdict != ANSWER:
            self._tally.limited(verdict, cookie, counters.of_type(query.qtype) if query.question else None)
            return short(query, transport, verdict, cookie)
        if not query.question:
            reply = self.gate.without_question(query, peer, transport, cookie)
            self._tally.refused(reply[3] & 15)
            return reply
        found = self._tree.ask(query.name, query.qtype, query.qclass)
        subnet = query.edns.subnet if query.edns else None
        self.counts[counters.ECS] += subnet is not None
        answer, scope = (0, 0) if found.entry is None else self._choose(found.entry, query, peer)
        if found.kind is Kind.ANSWER and found.entry is not None and found.entry.rrsets[answer] is None:
            found, scope = Found(Kind.NODATA, found.zone), 0
        self._tally.found(query.qtype, found, answer)
        options = subnet.reply(scope) if subnet else b""
        options += edns.courtesies(query.edns, transport != wire.UDP, self._nsid) + cookie
        if found.error is not None:
            options += edns.extended_error(found.error)
        if found.kind is Kind.ANSWER and found.entry is not None and answer in found.entry.last_resort:
            options += edns.extended_error(edns.OTHER_ERROR, edns.ALL_DOWN)
        reply = self._reply(query, transport, found, answer, options)
        if found.kind is Kind.CNAME:
            self._tally.alias(reply[3] & 15)
        self.counts[counters.TRUNCATED] += bool(reply[2] & 2)
        return reply

    def _reply(self, query: Query, transport: int, found: Found, answer: int, options: bytes) -> bytes:
        match found.kind:
            case Kind.REFUSED:
                return wire.compose(query, transport, wire.REFUSED, options=options)
            case Kind.REFERRAL:
                delegation, glue = self._delegation(found.cut, query)
                return wire.compose(query, transport, authority=delegation, additional=glue, options=options)
            case Kind.ANY:
                section = Section(1, ANY_ANSWER.wire())
                return wire.compose(query, transport, authoritative=True, answer=section, options=options)
            case Kind.ANSWER if found.entry is not None:
                section = self._section(found.entry, answer)
                return wire.compose(query, transport, authoritative=True, answer=section, options=options)
            case Kind.CNAME if found.entry is not None:
                return self._alias(query, transport, found, found.entry, options)
        rcode = wire.NXDOMAIN if found.kind is Kind.NXDOMAIN else wire.NOERROR
        soa = self._soa(query, found.zone)
        return wire.compose(query, transport, rcode, authoritative=True, authority=soa, options=options)

    def _alias(self, query: Query, transport: int, found: Found, entry: Entry, options: bytes) -> bytes:
        """RFC 1034 4.3.2 step 3a, one step of it: what the alias points to, where that is static and of its zone."""
        section, authority, rcode = self._section(entry, 0), EMPTY, wire.NOERROR
        rrset = entry.rrsets[0]
        target = rrset.rdatas[0] if rrset is not None else b"\0"
        beyond = self._tree.find(target.lower(), query.qtype)
        if beyond.zone is found.zone and beyond.kind in (Kind.NODATA, Kind.NXDOMAIN):
            authority = self._soa(query, found.zone)  # RFC 2308 2.1, and 6604: the rcode is the last name's
            rcode = wire.NXDOMAIN if beyond.kind is Kind.NXDOMAIN else wire.NOERROR
        elif beyond.zone is found.zone and beyond.entry is not None and beyond.entry.partition < 0:
            more = self._section(beyond.entry, 0, target)
            section = Section(section.count + more.count, section.wire + more.wire)
        return wire.compose(
            query, transport, rcode, authoritative=True, answer=section, authority=authority, options=options
        )

    def _delegation(self, cut: bytes, query: Query) -> tuple[Section, Section]:
        """NS records, and the addresses we have of the servers they name (RFC 1034 4.3.2 step 3b, RFC 9471)."""
        servers = self._rrset(cut, NS)
        if servers is None:
            return EMPTY, EMPTY
        glue = [
            (rrset, server)
            for server in servers.rdatas
            for rtype in (A, AAAA)
            if (rrset := self._rrset(server.lower(), rtype)) is not None
        ]
        return (
            Section(len(servers.rdatas), servers.wire(owner=_pointer(query, cut))),
            Section(sum(len(r.rdatas) for r, _ in glue), b"".join(r.wire(owner=server) for r, server in glue)),
        )

    def _rrset(self, name: bytes, rtype: int) -> RRset | None:
        node = self._tree.nodes.get(name)
        entry = None if node is None else node.entries.get(rtype)
        return entry.rrsets[0] if entry is not None and entry.partition < 0 else None

    def _soa(self, query: Query, zone: ZoneInfo | None) -> Section:
        """The SOA for a negative answer, at its negative TTL (RFC 2308 section 3)."""
        if zone is None:
            return EMPTY
        return Section(1, zone.soa.wire(zone.negative_ttl, _pointer(query, zone.apex)))

    def _section(self, entry: Entry, answer: int, owner: bytes = OWNER) -> Section:
        rrset = entry.rrsets[answer]
        if rrset is None:
            return EMPTY
        return Section(len(rrset.rdatas), rrset.wire(self._ttl(entry, answer), owner))

    def _ttl(self, entry: Entry, answer: int) -> int | None:
        slot = entry.slots[answer]
        return None if slot < 0 else self._ttls[slot]

    def _choose(self, entry: Entry, query: Query, peer: bytes) -> tuple[int, int]:
        """(answer, scope to send) for who asks."""
        if entry.partition < 0:
            return 0, 0
        subnet = query.edns.subnet if query.edns else None
        if subnet is None:
            return self._of_peer(entry, peer)
        if not subnet.source:
            return 0, 0
        family, value = subnet.locate()
        answer, scope = self.plan.partitions[entry.partition].family(family).find(value)
        return answer, subnet.scope(scope)

    def _of_peer(self, entry: Entry, peer: bytes) -> tuple[int, int]:
        family: Family = 4
        if len(peer) == 4:
            value = int.from_bytes(peer, "big")
        else:
            family, value = key(IPv6Address(peer))
        return self.plan.partitions[entry.partition].family(family).find(value)


def _pointer(query: Query, ancestor: bytes) -> bytes:
    """A compression pointer to `ancestor` inside the question's name, so that its case, too, is as asked."""
    return (0xC000 | 12 + len(query.name) - len(ancestor)).to_bytes(2, "big")


def _failed(data: bytes, options: bytes = b"") -> bytes | None:
    """SERVFAIL for any query at all."""
    try:
        query = wire.parse(data)
    except Malformed as fault:
        return fault.reply()
    return (
        None if query is None else wire.compose(query, wire.UDP, wire.SERVFAIL, options=options if query.edns else b"")
    )


def not_ready(data: bytes, peer: bytes, transport: int) -> bytes | None:
    """The answer before there is a plan: SERVFAIL at once, so that a resolver asks our sibling (RFC 8914 4.15)."""
    return _failed(data, edns.extended_error(edns.NOT_READY))
