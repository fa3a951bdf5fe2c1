"""From a sample in the control page to what may be shown of it: addresses shortened, octets made text.  Pure.

A client's address is cut to a /24, or a /56 of IPv6, the lengths that RFC 7871 section 11.1 asks resolvers to send;
an IPv6 that carries an IPv4 is that IPv4's /24, for a /56 of 6to4 would hold all of it.  A Client Subnet that came
shorter stays as it came.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final

from mirrornet.dns.message import wire
from mirrornet.dns.message.rrset import name_to_text
from mirrornet.dns.serving.samples import Sample
from mirrornet.model.address import Address, fold
from mirrornet.web.queries import Seen

_TRANSPORTS: Final = {wire.UDP: "udp", wire.TCP: "tcp", wire.TLS: "tls"}
_TYPES: Final = {
    1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV", 35: "NAPTR",
    43: "DS", 48: "DNSKEY", 64: "SVCB", 65: "HTTPS", 252: "AXFR", 255: "ANY", 256: "URI", 257: "CAA",
}  # fmt: skip
_RCODES: Final = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 7: "BADCOOKIE"}
_LENGTHS: Final = {4: 24, 6: 56}


def seen(sample: Sample, mirrors: Sequence[str] = (), whole: bool = False) -> Seen:
    """What `sample` tells.  `mirrors`: those of its answer.  `whole`: the address is not cut."""
    address: Address = ip_address(sample.peer)
    length: int = address.max_prefixlen
    subnet = False
    name, kind = "", ""
    try:
        query = wire.parse(sample.query)
    except wire.Malformed:
        query = None
    if query is None:  # it was cut, or is no query
        name, kind = _question(sample.query)
    else:
        if query.question:
            name, kind = name_to_text(query.name), _TYPES.get(query.qtype, f"TYPE{query.qtype}")
        told = query.edns.subnet if query.edns else None
        if told is not None and told.source:
            octets = told.sent[4:].ljust(4 if told.family == 4 else 16, b"\0")
            address, length, subnet = ip_address(octets), told.source, True
    return Seen(
        at=sample.at,
        transport=_TRANSPORTS.get(sample.transport, "?"),
        client=_shown(address, length, whole),
        subnet=subnet,
        name=name,
        type=kind,
        rcode=_RCODES.get(sample.rcode, f"RCODE{sample.rcode}") if sample.reply_size else "",
        mirrors=tuple(mirrors),
    )


def line(one: Seen, reply_size: int, every: int) -> dict[str, Any]:
    """A line of the query log, as JSON values.  `every`: it stands for so many queries."""
    at = datetime.fromtimestamp(one.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "time": at,
        "transport": one.transport,
        "client": one.client,
        "subnet": one.subnet,
        "name": one.name,
        "type": one.type,
        "rcode": one.rcode or None,
        "mirrors": list(one.mirrors),
        "reply_octets": reply_size,
        "of": every,
    }


def _shown(address: Address, length: int, whole: bool) -> str:
    folded = fold(address)
    if isinstance(address, IPv6Address) and isinstance(folded, IPv4Address):
        address, length = folded, 32  # whatever was meant by the IPv6's length
    if whole:
        return str(address) if length == address.max_prefixlen else f"{address}/{length}"
    length = min(length, _LENGTHS[address.version])
    rest = address.max_prefixlen - length
    return f"{type(address)(int(address) >> rest << rest)}/{length}"


def _question(octets: bytes) -> tuple[str, str]:
    """(name, type) of a packet that cannot be read as a whole, as far as they are there."""
    at, end = 12, min(len(octets), 12 + 255)
    while at < end and octets[at]:
        if octets[at] > 63:
            return "", ""
        at += 1 + octets[at]
    if at + 5 > len(octets) or at >= end:
        return "", ""
    qtype = int.from_bytes(octets[at + 1 : at + 3], "big")
    return name_to_text(octets[12 : at + 1].lower()), _TYPES.get(qtype, f"TYPE{qtype}")
