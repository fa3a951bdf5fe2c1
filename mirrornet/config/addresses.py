"""Addresses of a zone file: of mirrors and name servers, of prefixes, and of the sockets we listen on.

A mirror's address goes into A and AAAA records, so it must be one that a stranger can send to: unicast, and an IPv4
address written as such.  Loopback and private addresses are taken: whoever writes one means it, and tests and closed
networks need them.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network

from mirrornet.config.faults import Wrong, quote
from mirrornet.model.address import Address, Prefix, bracketed, parse_address, parse_prefix

_CARRIERS = tuple(IPv6Network(text) for text in ("::ffff:0:0/96", "64:ff9b::/96", "2002::/16", "2001::/32"))
_ENDPOINT = re.compile(r"(?:\[([^\]]*)\]|([^:\[\]]*)):([0-9]{1,5})")


def unicast(text: str) -> Address:
    """An address that one host can have."""
    try:
        address = parse_address(text)
    except ValueError:
        hint = ""
        if "/" in text:
            hint = "one address, not a prefix"
        elif "%" in text:
            hint = "without the % and what follows; it means something on one machine only"
        elif re.fullmatch(r"[0-9.]+", text):
            hint = "four numbers from 0 to 255, without leading zeros"
        elif re.fullmatch(r"\[.*\].*|[0-9.]+:[0-9]+", text):
            hint = "the address alone; the port stands in the url"
        elif re.search(r"[g-z]", text, re.IGNORECASE):
            hint = "an address, not a name; leave `addresses` out and the name in the url is offered"
        raise Wrong(f"{quote(text)} is not an address", hint) from None
    kind = ""
    if address.is_unspecified:
        kind = "stands for no host"
    elif address.is_multicast:
        kind = "is multicast"
    elif address.is_link_local:
        kind = "is link-local: it means something on one link only"
    elif isinstance(address, IPv4Address) and (address.is_reserved or int(address) >> 24 == 0):
        kind = "is reserved, and no host has it"
    elif isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        raise Wrong(f"{address} is an IPv4 address in IPv6's clothes", f"write {address.ipv4_mapped}")
    if kind:
        raise Wrong(f"{address} {kind}", "write the host's unicast address")
    return address


def prefix(text: str) -> Prefix:
    """A prefix or a single address, as in `places`.

    Refused: IPv6 prefixes longer than /64 (the map of the world knows no more bits), and those inside the four ranges
    that carry IPv4 (their clients are looked up by the IPv4 address, so an entry there would never match).
    """
    try:
        network = ip_network(text)
    except ValueError:
        try:
            meant = ip_network(text, strict=False)
        except ValueError:
            raise Wrong(f"{quote(text)} is not a prefix", "write 198.51.100.0/24 or 2001:db8::/32") from None
        raise Wrong(f"{quote(text)} has bits set beyond its length", f"did you mean {meant}?") from None
    if isinstance(network, IPv6Network):
        if any(network.subnet_of(special) for special in _CARRIERS):
            raise Wrong(f"{quote(text)} carries IPv4 addresses", "clients there are looked up by their IPv4 address")
        if network.prefixlen > 64:
            hint = f"did you mean {network.supernet(new_prefix=64)}? only the first 64 bits say where an address is"
            raise Wrong(f"{quote(text)} is longer than /64", hint)
    return parse_prefix(text)


def endpoint(text: str) -> tuple[Address, int]:
    """ADDR:PORT or [V6]:PORT, a socket to listen on; port 0 lets the system pick one."""
    found = _ENDPOINT.fullmatch(text)
    if found is None:
        raise Wrong(f"{quote(text)} is not ADDRESS:PORT", _endpoint_hint(text))
    try:
        address = parse_address(found[1] if found[1] is not None else found[2])
    except ValueError:
        hint = "an address, not a name: 127.0.0.1 or [::1]; all of them: 0.0.0.0 or [::]"
        raise Wrong(f"{quote(text)} does not begin with an address", hint) from None
    if (address.version == 6) != (found[1] is not None):
        raise Wrong(f"{quote(text)} is not ADDRESS:PORT", "brackets are for IPv6, and for nothing else")
    port = int(found[3])
    if port > 65535:
        raise Wrong(f"port {port} is out of range", "from 0 to 65535; 0 lets the system pick one")
    return address, port


def published_endpoint(text: str) -> tuple[Address, int]:
    """As endpoint(), for a socket whose port stands in DNS, and so has to be the same at every start."""
    address, port = endpoint(text)
    if port == 0:
        raise Wrong("port 0 changes at every start", "clients learn this port by DNS, so name one, such as 8054")
    return address, port


def _endpoint_hint(text: str) -> str:
    try:
        address = parse_address(text.strip("[]"))
    except ValueError:
        return "write 127.0.0.1:53 or [::1]:53"
    return f"the port is missing: {address}:53" if address.version == 4 else f"did you mean {bracketed(address)}:53?"
