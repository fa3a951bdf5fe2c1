"""Packets: one strict pass over a query, and the writing of a reply.  No name is ever decoded into text.

The reader takes what an authoritative server needs and nothing else: header, the one question, and the OPT record
with its options.  Other records are stepped over, not read; compression pointers are allowed in their owners and never
followed, so time is linear in the packet, and at most `MAX_RECORDS` records are stepped over.

    what arrives                                            what leaves
    under 12 octets, or QR=1                                nothing (an answer to an answer is a loop)
    opcode other than QUERY                                 NOTIMP, header only (RFC 8906 8.1.4: all sections empty)
    no question, two, or one that cannot be read            FORMERR, header only
    garbage behind the question, two OPT, OPT elsewhere     FORMERR, question echoed, OPT as far as one was seen
    EDNS version over 0                                     BADVERS, OPT of version 0 (RFC 6891 6.1.3)
    a bad ECS option                                        FORMERR (RFC 7871 6)

Rejected: dnslib (one packet of 7.6 KB costs it 1.55 s, zero-length options vanish, labels must be UTF-8), dnspython
(right, and 40 times slower).
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address
from struct import Struct
from typing import Final

from mirrornet.model.address import Family, key

NOERROR: Final = 0
FORMERR: Final = 1
SERVFAIL: Final = 2
NXDOMAIN: Final = 3
NOTIMP: Final = 4
REFUSED: Final = 5
BADVERS: Final = 16

QR: Final = 0x8000
AA: Final = 0x0400
TC: Final = 0x0200
RD: Final = 0x0100
DO: Final = 0x8000  # in the OPT record's TTL

UDP_MINIMUM: Final = 512  # octets, RFC 1035 4.2.1: without EDNS
UDP_MAXIMUM: Final = 1232  # octets: never fragmented on a path with IPv6's minimum MTU (DNS flag day 2020)
TCP_MAXIMUM: Final = 65535  # octets: the length field of RFC 1035 4.2.2
MAX_RECORDS: Final = 8  # behind the question; OPT, TSIG and an IXFR's SOA are three

NSID: Final = 3  # option codes
CLIENT_SUBNET: Final = 8
EXTENDED_ERROR: Final = 15
NOT_READY: Final = 14  # an INFO-CODE of RFC 8914

_HEADER = Struct("!6H")
_QUESTION = Struct("!HH")
_RECORD = Struct("!HHBBHH")  # type, class, extended rcode, version, flags, rdlength: an OPT's view of RFC 1035 4.1.3
_OPTION = Struct("!HH")
_ECS = Struct("!HBB")
_OPT = 41


@dataclass(frozen=True, slots=True)
class ClientSubnet:
    """An ECS option (RFC 7871 section 6).  `address` has `width(family)` bits, the unused ones zero.

    `source` is 0 to 32 or 0 to 128, as sent; 0 means "do not use my address".  `sent` is the option's data.
    """

    family: int
    source: int
    address: int
    sent: bytes

    def reply(self, scope: int) -> bytes:
        """The whole option for the answer: family, source and address as sent, and `scope`."""
        return _OPTION.pack(CLIENT_SUBNET, len(self.sent)) + self.sent[:3] + bytes([scope]) + self.sent[4:]

    def locate(self) -> tuple[Family, int, int]:
        """Where to look: family, address, and how many bits of scope come before those of the map.

        An IPv6 that carries an IPv4 is looked up as that (model/address.py): a scope of n bits there is one of 96 + n
        here (mapped, NAT64) or 16 + n (6to4); in Teredo the IPv4 comes last, behind bits that mean nothing to us, so
        128 is the scope.  The scope to send is `min(128, offset + n)`.
        """
        if self.family == 4:
            return 4, self.address, 0
        value = int.from_bytes(self.sent[4:].ljust(16, b"\0"), "big")
        family, folded = key(IPv6Address(value))
        if family == 6:
            return 6, folded, 0
        if value >> 112 == 0x2002:
            return 4, folded, 16
        return 4, folded, 128 if value >> 96 == 0x20010000 else 96


@dataclass(frozen=True, slots=True)
class Edns:
    """The OPT record: `udp_size` in octets as sent, DO, and the options we know."""

    udp_size: int
    version: int
    do: bool
    subnet: ClientSubnet | None
    nsid: bool


@dataclass(frozen=True, slots=True)
class Query:
    """A query that can be answered.  `name` is lower-case wire form; `question` is name, type and class as sent."""

    id: int
    flags: int
    opcode: int
    name: bytes
    question: bytes
    qtype: int
    qclass: int
    edns: Edns | None


class Malformed(Exception):
    """A query that gets `rcode` and nothing else.  `question` as sent, or empty; `edns`: the reply needs an OPT."""

    def __init__(self, rcode: int, identifier: int, flags: int, question: bytes = b"", edns: bool = False) -> None:
        super().__init__(f"rcode {rcode}")
        self.rcode = rcode
        self.id = identifier
        self.flags = flags
        self.question = question
        self.edns = edns

    def reply(self) -> bytes:
        """The answer that says so."""
        flags = QR | self.flags & (RD | 0x7800) | self.rcode & 15
        header = _HEADER.pack(self.id, flags, 1 if self.question else 0, 0, 0, int(self.edns))
        return header + self.question + (opt(b"", rcode=self.rcode) if self.edns else b"")


def parse(data: bytes) -> Query | None:
    """The query in `data`; None where silence is the answer.  Raises Malformed."""
    size = len(data)
    if size < 12:
        return None
    identifier, flags, questions, answers, authorities, additionals = _HEADER.unpack_from(data)
    if flags & QR:
        return None
    if flags & 0x7800:
        raise Malformed(NOTIMP, identifier, flags)
    at = _end_of_name(data, 12, False)
    if questions != 1 or not 0 < at <= size - 4:
        raise Malformed(FORMERR, identifier, flags)
    name = data[12:at].lower()  # a length octet is under 64 and stays as it is
    qtype, qclass = _QUESTION.unpack_from(data, at)
    at += 4
    question = data[12:at]
    found: Edns | None = None
    if answers + authorities + additionals > MAX_RECORDS:
        raise Malformed(FORMERR, identifier, flags, question)
    for number in range(answers + authorities + additionals):
        fixed = _end_of_name(data, at, True)
        if not 0 < fixed <= size - 10:
            raise Malformed(FORMERR, identifier, flags, question, found is not None)
        rtype, udp_size, _, version, eflags, length = _RECORD.unpack_from(data, fixed)
        rdata = fixed + 10
        if rdata + length > size:
            raise Malformed(FORMERR, identifier, flags, question, found is not None)
        if rtype == _OPT:
            if found is not None or fixed != at + 1 or number < answers + authorities:
                raise Malformed(FORMERR, identifier, flags, question, True)
            if version:  # the options of a version we do not know are not ours to judge
                raise Malformed(BADVERS, identifier, flags, question, True)
            options = _options(data[rdata : rdata + length])
            if options is None:
                raise Malformed(FORMERR, identifier, flags, question, True)
            found = Edns(udp_size, version, bool(eflags & DO), *options)
        at = rdata + length
    if at != size:
        raise Malformed(FORMERR, identifier, flags, question, found is not None)
    return Query(identifier, flags, 0, name, question, qtype, qclass, found)


def _end_of_name(data: bytes, at: int, pointers: bool) -> int:
    """Where the name that starts at `at` ends; 0 if it is none.  A pointer (if allowed) points back and ends it."""
    size = len(data)
    last = min(size, at + 255)  # RFC 1035 2.3.4: no name is longer
    while at < last:
        length = data[at]
        if not length:
            return at + 1
        if length > 63:
            if not pointers or length < 0xC0 or at + 2 > size:
                return 0
            return at + 2 if (length & 0x3F) << 8 | data[at + 1] < at else 0
        at += 1 + length
    return 0


def _options(data: bytes) -> tuple[ClientSubnet | None, bool] | None:
    """(ECS, whether NSID was asked for) of an OPT's rdata; None where it is malformed.  Of two ECS the first counts."""
    at, size = 0, len(data)
    subnet: ClientSubnet | None = None
    nsid = False
    while at < size:
        if at + 4 > size:
            return None
        code, length = _OPTION.unpack_from(data, at)
        at += 4
        if at + length > size:
            return None
        if code == CLIENT_SUBNET and subnet is None:
            try:
                subnet = parse_subnet(data[at : at + length])
            except ValueError:
                return None
        elif code == NSID:
            nsid = True
        at += length
    return subnet, nsid


def parse_subnet(data: bytes) -> ClientSubnet | None:
    """An ECS option's data.  None: a family nobody has told us of, so the option is ignored.

    Raises ValueError where RFC 7871 section 6 wants FORMERR: scope not 0, source too long, too few or too many
    octets, bits set beyond the source.  Family 0 with source 0 and no address (as `dig +subnet=0` sends) is a plain
    "do not use my address".
    """
    if len(data) < 4:
        raise ValueError("shorter than its fixed part")
    family, source, scope = _ECS.unpack_from(data)
    if family not in (0, 1, 2):
        return None
    limit = (0, 32, 128)[family]
    address = data[4:]
    if scope or source > limit or len(address) != (source + 7) // 8:
        raise ValueError("a scope in a query, or a source or length that is not of the family")
    if source % 8 and address[-1] & (0xFF >> source % 8):
        raise ValueError("bits beyond the source")
    if family == 2:
        return ClientSubnet(6, source, int.from_bytes(address[:8].ljust(8, b"\0"), "big"), data)
    return ClientSubnet(4, source, int.from_bytes(address.ljust(4, b"\0"), "big"), data)


def opt(options: bytes, do: bool = False, rcode: int = 0) -> bytes:
    """Our OPT record, version 0, with `options`; `rcode`'s upper eight bits go here (RFC 6891 section 6.1.3)."""
    return b"\0" + _RECORD.pack(_OPT, UDP_MAXIMUM, rcode >> 4, 0, DO if do else 0, len(options)) + options


def extended_error(code: int) -> bytes:
    """An Extended DNS Error option (RFC 8914 section 2) without text."""
    return _OPTION.pack(EXTENDED_ERROR, 2) + code.to_bytes(2, "big")


def nsid_option(name: bytes) -> bytes:
    """Our NSID option (RFC 5001 section 2.3)."""
    return _OPTION.pack(NSID, len(name)) + name


def limit(query: Query, tcp: bool) -> int:
    """The greatest reply in octets: RFC 1035 4.2.1, RFC 6891 6.2.3 to 6.2.5 (a size under 512 counts as 512)."""
    if tcp:
        return TCP_MAXIMUM
    if query.edns is None:
        return UDP_MINIMUM
    return min(max(query.edns.udp_size, UDP_MINIMUM), UDP_MAXIMUM)


@dataclass(frozen=True, slots=True)
class Section:
    """Records of one section, written out: how many, and their octets."""

    count: int = 0
    wire: bytes = b""


EMPTY: Final = Section()


def compose(
    query: Query,
    tcp: bool,
    rcode: int = NOERROR,
    *,
    authoritative: bool = False,
    answer: Section = EMPTY,
    authority: Section = EMPTY,
    additional: Section = EMPTY,
    options: bytes = b"",
) -> bytes:
    """The reply.  RD is copied; RA, AD, CD and Z are clear; OPT iff the query had one.

    Where it is too long for the asker: TC, and no records at all (RFC 2181 section 9), so that he comes back by TCP.
    """
    edns = query.edns
    tail = b"" if edns is None else opt(options, edns.do, rcode)
    flags = QR | query.flags & RD | (AA if authoritative else 0) | rcode & 15
    total = 12 + len(query.question) + len(answer.wire) + len(authority.wire) + len(additional.wire) + len(tail)
    if total > limit(query, tcp):
        answer = authority = additional = EMPTY
        flags |= TC
    counts = (1, answer.count, authority.count, additional.count + (edns is not None))
    return b"".join(
        (_HEADER.pack(query.id, flags, *counts), query.question, answer.wire, authority.wire, additional.wire, tail)
    )
