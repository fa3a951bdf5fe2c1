"""Addresses and prefixes as integers, and the IPv4 that hides in IPv6.

The map of the world has two families.  IPv4 addresses are integers of 32 bits.  Of an IPv6 address only the upper 64
bits are kept: a subnet is never smaller than a /64 (RFC 4291 section 2.5.1), so nothing longer says anything about a
place, and one machine word per boundary halves the tables.  `width(family)` is 32 or 64 accordingly.

A client that reaches us by translation or tunnel is where its IPv4 address is: v4-mapped (RFC 4291 2.5.5.2), NAT64
(RFC 6052 2.1, the well-known prefix), 6to4 (RFC 3056) and Teredo (RFC 4380 section 4, bits inverted) are folded.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal

Family = Literal[4, 6]
Address = IPv4Address | IPv6Address

_MAPPED = 0xFFFF << 32
_NAT64 = int(IPv6Address("64:ff9b::")) >> 32
_LOW32 = 0xFFFFFFFF


def width(family: Family) -> int:
    """Bits of an address of `family` that the map of the world knows: 32 or 64."""
    return 32 if family == 4 else 64


@dataclass(frozen=True, slots=True, order=True)
class Prefix:
    """`length` leading bits of `value` (an integer of `width(family)` bits whose other bits are zero)."""

    family: Family
    value: int
    length: int

    def __str__(self) -> str:
        if self.family == 4:
            return f"{IPv4Address(self.value)}/{self.length}"
        return f"{IPv6Address(self.value << 64)}/{self.length}"

    @property
    def last(self) -> int:
        """The greatest address in it, in `width(family)` bits."""
        return self.value | ((1 << (width(self.family) - self.length)) - 1)

    def __contains__(self, other: object) -> bool:
        if isinstance(other, Prefix):
            return self.family == other.family and self.length <= other.length and other.value in self
        return isinstance(other, int) and self.value <= other <= self.last


def mask(family: Family, value: int, length: int) -> int:
    """`value` with all but its `length` leading bits cleared."""
    shift = width(family) - length
    return value >> shift << shift


def parse_prefix(text: str) -> Prefix:
    """A prefix or a single address, written strictly (RFC 4291, RFC 4632): no host bits, no missing octets.

    An IPv6 prefix longer than /64 becomes its /64.  Raises ValueError with a sentence for a person.
    """
    try:
        network = ip_network(text, strict=True)
    except ValueError as error:
        raise ValueError(f"{text!r} is not a prefix: {error}") from None
    if isinstance(network, IPv6Network):
        length = min(network.prefixlen, 64)
        return Prefix(6, mask(6, int(network.network_address) >> 64, length), length)
    return Prefix(4, int(network.network_address), network.prefixlen)


def fold(address: Address) -> Address:
    """The IPv4 address that `address` carries, if it is one of the four kinds above; else `address` itself."""
    if isinstance(address, IPv4Address):
        return address
    value = int(address)
    if value >> 32 == _MAPPED >> 32 or value >> 32 == _NAT64:
        return IPv4Address(value & _LOW32)
    if value >> 112 == 0x2002:
        return IPv4Address(value >> 80 & _LOW32)
    if value >> 96 == 0x20010000:
        return IPv4Address(~value & _LOW32)
    return address


def key(address: Address) -> tuple[Family, int]:
    """(family, integer of `width(family)` bits) under which the map of the world holds `address`, folded."""
    folded = fold(address)
    if isinstance(folded, IPv4Address):
        return 4, int(folded)
    return 6, int(folded) >> 64


def bracketed(address: Address) -> str:
    """`address` as it stands in a URL and before a port: an IPv6 one in brackets (RFC 3986 section 3.2.2)."""
    return f"[{address}]" if address.version == 6 else str(address)


def is_public(address: Address) -> bool:
    """Whether `address`, folded, is one host's of the public Internet: global, unicast, not reserved."""
    folded = fold(address)
    return folded.is_global and not (folded.is_multicast or folded.is_reserved)


def parse_address(text: str) -> Address:
    """An IPv4 or IPv6 address without zone id.  Raises ValueError with a sentence for a person."""
    try:
        if "%" in text:
            raise ValueError
        return ip_address(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an IPv4 or IPv6 address") from None
