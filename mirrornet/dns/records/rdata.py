"""Record sets from mirrors: what A, AAAA, URI, SRV and TXT say of a list of them, and the apex records.

The formats are RFC 1035 (A, TXT, SOA, NS), 3596 (AAAA), 2782 (SRV) and 7553 (URI).  A URI's target is the mirror's url
with `#NAME`: the fragment never goes on the wire, it names the mirror to our client.  TXT says the same for people and
for resolvers that lose types they do not know.  An SRV's port is the select url's, for under that one the mirror was
seen to serve; where the schemes differ it is that of the mirror's own url.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from mirrornet.dns.message import rrset
from mirrornet.dns.message.rrset import RRset, name_to_wire
from mirrornet.model.address import Family
from mirrornet.model.zone import Mirror, Select, Zone

SOA_TIMERS: Final = (3600, 600, 604800, 60)  # refresh, retry, expire, minimum; seconds
APEX_TTL: Final = 3600  # SOA, NS and the name servers' addresses; seconds
MIRROR_TTL: Final = 300  # a mirror's own addresses, which change with the zone file only; seconds
WEIGHT: Final = 1  # of SRV and URI: every priority has one mirror, so it decides nothing
# Where a name is both static and balanced: of these types the static records stand (the operator's TXT may be SPF).
STATIC_WINS: Final = frozenset({rrset.SOA, rrset.NS, rrset.TXT})
TEXT_LIMIT: Final = 255  # octets of one character-string (RFC 1035 section 3.3)


def address_set(family: Family, mirrors: Iterable[Mirror], ttl: int) -> RRset:
    """A or AAAA with all addresses of `family` of `mirrors`, in their order."""
    addresses = (address for mirror in mirrors for address in mirror.addresses if address.version == family)
    rdatas = dict.fromkeys(address.packed for address in addresses)
    return RRset(rrset.A if family == 4 else rrset.AAAA, ttl, tuple(rdatas))


def named_url(mirror: Mirror) -> str:
    """The mirror's url and, as its fragment, its name."""
    return f"{mirror.url}#{mirror.name}"


def srv_port(select: Select, mirror: Mirror) -> int:
    """The port under which `mirror` serves the select url."""
    parts = urlsplit(select.url)
    if (parts.scheme == "https") != mirror.tls:
        return mirror.port
    return parts.port or (443 if mirror.tls else 80)


class Scribe:
    """Writes the ranked lists of one select; what does not depend on the rank is made once per mirror."""

    def __init__(self, zone: Zone, select: Select, mirrors: Iterable[Mirror]) -> None:
        """`mirrors`: all that may ever stand in a list."""
        name = zone.select_fqdn(select)
        self._ttl = select.ttl
        self._urls: dict[str, bytes] = {}
        self._targets: dict[str, bytes] = {}
        for mirror in mirrors:
            self._urls[mirror.name] = named_url(mirror).encode("ascii")
            target = name_to_wire(f"{mirror.name}.{name}")
            self._targets[mirror.name] = struct.pack("!HH", WEIGHT, srv_port(select, mirror)) + target

    def addresses(self, family: Family, mirrors: Iterable[Mirror]) -> RRset:
        """A or AAAA (address_set())."""
        return address_set(family, mirrors, self._ttl)

    def uri(self, mirrors: Iterable[Mirror]) -> RRset:
        """URI records; the priority is the rank, from 1."""
        urls = (self._urls[m.name] for m in mirrors)
        rdatas = tuple(struct.pack("!HH", priority, WEIGHT) + url for priority, url in enumerate(urls, 1))
        return RRset(rrset.URI, self._ttl, rdatas)

    def srv(self, mirrors: Iterable[Mirror]) -> RRset:
        """SRV records; the targets are the mirrors' own names below the select name."""
        targets = (self._targets[m.name] for m in mirrors)
        rdatas = tuple(struct.pack("!H", priority) + target for priority, target in enumerate(targets, 1))
        return RRset(rrset.SRV, self._ttl, rdatas)

    def txt(self, mirrors: Iterable[Mirror]) -> RRset:
        """One TXT record for each mirror: "PRIORITY URL#MIRROR"."""
        urls = (self._urls[m.name] for m in mirrors)
        return RRset(rrset.TXT, self._ttl, tuple(_text(b"%d %s" % pair) for pair in enumerate(urls, 1)))


def _text(text: bytes) -> bytes:
    strings = [text[at : at + TEXT_LIMIT] for at in range(0, len(text), TEXT_LIMIT)]
    return b"".join(bytes([len(string)]) + string for string in strings)


def mailbox_to_wire(contact: str) -> bytes:
    """A mail address as a domain name: the part before the @ is one label (RFC 1035 section 8)."""
    local, at, domain = contact.rpartition("@")
    if not at:
        return name_to_wire(contact)
    label = local.encode("ascii")
    return bytes([len(label)]) + label + name_to_wire(domain)


def soa_set(zone: Zone) -> RRset:
    """The SOA; the first name server is the primary."""
    primary = next(iter(zone.nameservers), zone.name)
    names = name_to_wire(primary) + mailbox_to_wire(zone.contact)
    return RRset(rrset.SOA, APEX_TTL, (names + struct.pack("!5I", zone.serial, *SOA_TIMERS),))


def static_sets(zone: Zone, records: dict[bytes, dict[int, RRset]]) -> dict[bytes, dict[int, RRset]]:
    """All that is the same for everybody and does not depend on mirrors: the records file and, over it, the apex."""
    sets = {name: dict(types) for name, types in records.items()}
    apex = name_to_wire(zone.name)
    at_apex = sets.setdefault(apex, {})
    at_apex[rrset.SOA] = soa_set(zone)
    if zone.nameservers:
        at_apex[rrset.NS] = RRset(rrset.NS, APEX_TTL, tuple(name_to_wire(name) for name in zone.nameservers))
    families: tuple[Family, Family] = (4, 6)
    for name, addresses in zone.nameservers.items():
        wire = name_to_wire(name)
        if apex not in rrset.ancestors(wire) or not addresses:
            continue
        for family in families:
            rdatas = tuple(dict.fromkeys(a.packed for a in addresses if a.version == family))
            if rdatas:
                rtype = rrset.A if family == 4 else rrset.AAAA
                sets.setdefault(wire, {})[rtype] = RRset(rtype, APEX_TTL, rdatas)
    return sets
