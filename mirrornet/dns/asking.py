"""The other side of a name server: a question as octets, and what a reply says.  Pure; for `doctor`.

dnslib takes replies apart, since they come from servers that the operator named, few and one at a time; what is longer
than LIMIT is refused, for it needs a second and a half for a crooked message of eight kilobytes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dnslib.dns import QTYPE, DNSRecord

from mirrornet.dns.message import edns
from mirrornet.dns.message.rrset import name_to_wire
from mirrornet.model.address import Address, Prefix
from mirrornet.model.errors import PeerError

LIMIT: Final = 8192  # octets of a reply
TYPES: Final = {"A": 1, "NS": 2, "SOA": 6, "AAAA": 28, "URI": 256}
NOERROR, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5
RCODES: Final = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
_RECURSION: Final = 0x0100


@dataclass(frozen=True, slots=True)
class Record:
    """One record: its owner in lower case without the final dot, its type, and its data as master files have it."""

    owner: str
    rtype: str
    ttl: int
    value: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back.  `edns`: whether it had an OPT; `scope`: of the ECS option (RFC 7871), None where it had none."""

    rcode: int
    authoritative: bool
    truncated: bool
    recursive: bool
    answers: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    edns: bool = False
    scope: int | None = None

    @property
    def word(self) -> str:
        """The rcode as a word."""
        return RCODES.get(self.rcode, f"rcode {self.rcode}")

    def values(self, rtype: str, owner: str = "") -> tuple[str, ...]:
        """The data of the answers of one type, sorted; `owner`: only those at this name."""
        return tuple(sorted(r.value for r in self.answers if r.rtype == rtype and owner in ("", r.owner)))


def question(name: str, rtype: str, number: int, recursive: bool = False, subnet: Prefix | None = None) -> bytes:
    """A query for `rtype` at `name`, with EDNS; `number` is its ID, `subnet` whom it is asked for."""
    options = b""
    if subnet is not None:
        octets = subnet.value.to_bytes(4 if subnet.family == 4 else 8, "big")[: (subnet.length + 7) // 8]
        head = struct.pack("!HBB", 1 if subnet.family == 4 else 2, subnet.length, 0)
        options = edns.option(edns.CLIENT_SUBNET, head + octets)
    header = struct.pack("!HHHHHH", number, _RECURSION if recursive else 0, 1, 0, 0, 1)
    return header + name_to_wire(name) + struct.pack("!HH", TYPES[rtype], 1) + edns.opt(options)


def read(data: bytes, number: int) -> Reply:
    """The reply in `data` to the query with this ID.  Raises PeerError where it is none, or cannot be read."""
    if len(data) > LIMIT:
        raise PeerError(f"sends a message of {len(data)} octets")
    if len(data) < 12 or data[:2] != number.to_bytes(2, "big") or not data[2] & 0x80:
        raise PeerError("sends something that is no reply to the question")
    try:
        message = DNSRecord.parse(data)
        sections = [_records(section) for section in (message.rr, message.auth, message.ar)]
        scope, had = None, False
        for record in message.ar:
            if record.rtype == 41:
                had = True
                for one in record.rdata:
                    if one.code == edns.CLIENT_SUBNET and len(one.data) >= 4:
                        scope = one.data[3]
    except Exception as error:  # whatever dnslib makes of a stranger's octets
        raise PeerError(f"sends a message that cannot be read ({type(error).__name__})") from None
    header = message.header
    flags = bool(header.aa), bool(header.tc), bool(header.ra)
    return Reply(header.rcode, *flags, sections[0], sections[1], sections[2], had, scope)


def _records(section: Sequence[object]) -> tuple[Record, ...]:
    found = []
    for one in section:
        if one.rtype == 41:  # type: ignore[attr-defined]  # OPT; dnslib is untyped
            continue
        owner = str(one.rname).rstrip(".").lower()  # type: ignore[attr-defined]
        value = str(one.rdata).rstrip(".")  # type: ignore[attr-defined]
        rtype = QTYPE.get(one.rtype, f"TYPE{one.rtype}")  # type: ignore[attr-defined]
        value = value.lower() if rtype in ("NS", "SOA") else value
        found.append(Record(owner, "URI" if one.rtype == TYPES["URI"] else rtype, one.ttl, value))  # type: ignore[attr-defined]
    return tuple(found)


def serial_of(reply: Reply) -> int | None:
    """The serial of the SOA in the answer, or None."""
    soa = next(iter(reply.values("SOA")), "")
    words = soa.split()
    return int(words[2]) if len(words) > 2 and words[2].isdigit() else None


def addresses_in(records: Sequence[Record], owner: str) -> tuple[str, ...]:
    """The addresses of `owner` among `records`."""
    return tuple(sorted(r.value for r in records if r.owner == owner and r.rtype in ("A", "AAAA")))


def texts(addresses: Sequence[Address]) -> tuple[str, ...]:
    """`addresses` as records have them, in the same order as addresses_in()."""
    return tuple(sorted(map(str, addresses)))
