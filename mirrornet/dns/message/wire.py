"""Packets: one strict pass over a query, and the writing of a reply.  No name is ever decoded into text.

The reader takes what an authoritative server needs and nothing else: header, the one question, and the OPT record
with its options.  Other records are stepped over, not read; compression pointers are allowed in their owners and never
followed, so time is linear in the packet, and at most `MAX_RECORDS` records are stepped over.

    what arrives                                            what leaves
    under 12 octets, or QR=1                                nothing (an answer to an answer is a loop)
    opcode other than QUERY                                 NOTIMP, header only (RFC 8906 8.1.4: all sections empty)
    no question, two, or one that cannot be read; over 4096 FORMERR, header only
    garbage behind the question, two OPT, OPT elsewhere     FORMERR, question echoed, OPT as far as one was seen
    EDNS version over 0                                     BADVERS, OPT of version 0 (RFC 6891 6.1.3)
    a bad ECS or COOKIE option                              FORMERR (RFC 7871 6, RFC 7873 5.2.2)
    no question, but a COOKIE option                        a cookie (RFC 7873 5.4)

The OPT record is edns.py's.

Rejected: dnslib (one packet of 7.6 KB costs it 1.55 s, zero-length options vanish, labels must be UTF-8), dnspython
(right, and 40 times slower).
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from mirrornet.dns.message.edns import DO, OPT, PAD_BLOCK, UDP_MAXIMUM, Edns, opt, padding_option, parse_options

NOERROR: Final = 0
FORMERR: Final = 1
SERVFAIL: Final = 2
NXDOMAIN: Final = 3
NOTIMP: Final = 4
REFUSED: Final = 5
BADVERS: Final = 16
BADCOOKIE: Final = 23

UDP, TCP, TLS = range(3)  # what a query came by; "not UDP" is TCP or TLS

QR: Final = 0x8000
AA: Final = 0x0400
TC: Final = 0x0200
RD: Final = 0x0100

UDP_MINIMUM: Final = 512  # octets, RFC 1035 4.2.1: without EDNS
TCP_MAXIMUM: Final = 65535  # octets: the length field of RFC 1035 4.2.2
MAX_QUERY: Final = 4096  # octets: nobody asks with more, and by TCP 16,000 options would fit
MAX_RECORDS: Final = 8  # behind the question; OPT, TSIG and an IXFR's SOA are three

_HEADER = Struct("!6H")
_QUESTION = Struct("!HH")
_RECORD = Struct("!HHBBHH")  # type, class, extended rcode, version, flags, rdlength: an OPT's view of RFC 1035 4.1.3


@dataclass(frozen=True, slots=True)
class Query:
    """A query that can be answered.  `name` is lower-case wire form; `question` is name, type and class as sent.

    Both are empty where only a cookie is asked for.
    """

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
    if size > MAX_QUERY:
        raise Malformed(FORMERR, identifier, flags)
    name, qtype, qclass, at = b"", 0, 0, 12
    if questions:
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
        if rtype == OPT:
            if found is not None or fixed != at + 1 or number < answers + authorities:
                raise Malformed(FORMERR, identifier, flags, question, True)
            if version:  # the options of a version we do not know are not ours to judge
                raise Malformed(BADVERS, identifier, flags, question, True)
            found = parse_options(data[rdata : rdata + length], udp_size, version, bool(eflags & DO))
            if found is None:
                raise Malformed(FORMERR, identifier, flags, question, True)
        at = rdata + length
    if at != size or not (question or (found and found.cookie)):
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


def limit(query: Query, transport: int) -> int:
    """The greatest reply in octets: RFC 1035 4.2.1, RFC 6891 6.2.3 to 6.2.5 (a size under 512 counts as 512)."""
    if transport != UDP:
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
    transport: int,
    rcode: int = NOERROR,
    *,
    authoritative: bool = False,
    answer: Section = EMPTY,
    authority: Section = EMPTY,
    additional: Section = EMPTY,
    options: bytes = b"",
    truncated: bool = False,
) -> bytes:
    """The reply.  RD is copied; RA, AD, CD and Z are clear; OPT iff the query had one.  `transport`: UDP, TCP, TLS.

    Where it is too long for the asker, or `truncated` is wanted: TC, and no records at all (RFC 2181 section 9), so
    that he comes back by TCP.  Inside TLS a padded query's reply is padded, too (RFC 7830 section 6).
    """
    edns = query.edns
    flags = QR | query.flags & RD | (AA if authoritative else 0) | rcode & 15
    total = 12 + len(query.question) + len(answer.wire) + len(authority.wire) + len(additional.wire)
    total += 0 if edns is None else 11 + len(options)
    if truncated or total > limit(query, transport):
        total -= len(answer.wire) + len(authority.wire) + len(additional.wire)
        answer = authority = additional = EMPTY
        flags |= TC
    if edns is not None and edns.padding and transport == TLS and total < TCP_MAXIMUM - PAD_BLOCK:
        options += padding_option(total)
    tail = b"" if edns is None else opt(options, edns.do, rcode)
    counts = (int(query.question != b""), answer.count, authority.count, additional.count + (edns is not None))
    return b"".join(
        (_HEADER.pack(query.id, flags, *counts), query.question, answer.wire, authority.wire, additional.wire, tail)
    )
