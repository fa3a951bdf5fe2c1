"""Replies by dnslib: what the reference has found out, as a message.

dnslib is slow and trusting, so it sees only what the strict reader let through, and no real client meets it unless
the operator chose the reference engine.  Its reply() is not used: that sets RA and copies AD, CD and Z.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from dnslib.dns import EDNS0, QTYPE, RD, RR, DNSBuffer, DNSHeader, DNSQuestion, DNSRecord, EDNSOption
from dnslib.label import DNSLabel

from mirrornet.dns.message import edns, wire
from mirrornet.dns.message.rrset import RRset, labels_of

Message = Any  # a DNSRecord; dnslib has no types
Records = Sequence[tuple[bytes, RRset]]  # owner, and its records


def reply(
    query: wire.Query, rcode: int, authoritative: bool, answer: Records, authority: Records, additional: Records
) -> Message:
    """The reply but for its OPT."""
    asked = labels_of(query.question)
    try:
        question = DNSQuestion.parse(DNSBuffer(query.question))
    except Exception:  # a label that is not UTF-8, which dnslib cannot read (RFC 2181 section 11 allows it)
        question = DNSQuestion(DNSLabel(asked), query.qtype, query.qclass)
    header = DNSHeader(query.id, 0, qr=1, rd=query.flags >> 8 & 1, aa=int(authoritative), rcode=rcode)
    message = DNSRecord(header, q=question)
    message.add_answer(*_records(asked, answer))
    message.add_auth(*_records(asked, authority))
    message.add_ar(*_records(asked, additional))
    return message


def finish(message: Message, query: wire.Query, transport: int, options: bytes) -> bytes:
    """Adds the OPT with `options` if the query had one, and truncates to what the asker can take."""
    if query.edns is not None:
        message.add_ar(_opt(query.edns, options))
    data = bytes(message.pack())
    if len(data) > wire.limit(query, transport):
        message.rr, message.auth = [], []
        message.ar = [record for record in message.ar if record.rtype == QTYPE.OPT]
        message.header.tc = 1
        data = bytes(message.pack())
    if query.edns is not None and query.edns.padding and transport == wire.TLS:
        message.ar[-1] = _opt(query.edns, options + edns.padding_option(len(data)))
        data = bytes(message.pack())
    return data


def _opt(asked: edns.Edns, options: bytes) -> RR:
    return EDNS0(flags="do" if asked.do else "", udp_len=edns.UDP_MAXIMUM, opts=list(_taken_apart(options)))


def _taken_apart(options: bytes) -> Iterator[EDNSOption]:
    at = 0
    while at < len(options):
        code, length = int.from_bytes(options[at : at + 2], "big"), int.from_bytes(options[at + 2 : at + 4], "big")
        yield EDNSOption(code, options[at + 4 : at + 4 + length])
        at += 4 + length


def _records(asked: Sequence[bytes], sets: Records) -> list[RR]:
    return [RR(_owner(asked, owner), one.rtype, 1, one.ttl, RD(rdata)) for owner, one in sets for rdata in one.rdatas]


def _owner(asked: Sequence[bytes], owner: bytes) -> DNSLabel:
    """`owner`; in the case in which it was asked, where it is the end of the question's name."""
    labels = labels_of(owner)
    end = list(asked[len(asked) - len(labels) :])
    return DNSLabel(end if [label.lower() for label in end] == labels else labels)
