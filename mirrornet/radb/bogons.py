"""Addresses and AS numbers that no public route may carry, so that nobody is placed by a leak or a joke.

IPv4: the special-purpose registry (RFC 6890: 1918, 6598, 5737, 2544, 3927 ...) and everything from 224.0.0.0 on.
IPv6: whatever is not global unicast, 2000::/3 (RFC 4291 section 2.4), and the special parts of that.
AS numbers: 0 (RFC 7607), 23456 (RFC 6793), documentation (RFC 5398), private use (RFC 6996), the last of each width
(RFC 7300).  A route shorter than /8 or /16 is a default route in disguise: no registry hands out so much at once.

The prefixes are disjoint and sorted, so one bisection decides, for one prefix or for an array of them.
A laboratory that lives in such space lets them in by asking (`bogons=True` of the importer).
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from mirrornet.model.address import Family, Prefix, parse_prefix

SHORTEST: Final[dict[Family, int]] = {4: 8, 6: 16}  # bits

PREFIXES: Final[dict[Family, tuple[Prefix, ...]]] = {
    4: tuple(
        map(
            parse_prefix,
            (
                "0.0.0.0/8",
                "10.0.0.0/8",
                "100.64.0.0/10",
                "127.0.0.0/8",
                "169.254.0.0/16",
                "172.16.0.0/12",
                "192.0.0.0/24",
                "192.0.2.0/24",
                "192.168.0.0/16",
                "198.18.0.0/15",
                "198.51.100.0/24",
                "203.0.113.0/24",
                "224.0.0.0/3",
            ),
        )
    ),
    6: tuple(
        map(
            parse_prefix,
            (
                "::/3",
                "2001:2::/48",
                "2001:10::/28",
                "2001:20::/28",
                "2001:db8::/32",
                "3ffe::/16",
                "3fff::/20",
                "4000::/2",
                "8000::/1",
            ),
        )
    ),
}
FIRSTS: Final[dict[Family, list[int]]] = {
    4: [prefix.value for prefix in PREFIXES[4]],
    6: [prefix.value for prefix in PREFIXES[6]],
}
# First and last number of each reserved run, in order.
ASNS: Final[tuple[tuple[int, int], ...]] = ((0, 0), (23456, 23456), (64496, 65551), (4200000000, 4294967295))


def bogon_prefix(family: Family, value: int, length: int) -> bool:
    """Whether the prefix lies wholly inside reserved space."""
    index = bisect_right(FIRSTS[family], value) - 1
    if index < 0:
        return False
    reserved = PREFIXES[family][index]
    return value <= reserved.last and length >= reserved.length


def bogon_block(family: Family, first: int, last: int) -> bool:
    """Whether the addresses from `first` to `last` lie wholly inside one piece of reserved space."""
    index = bisect_right(FIRSTS[family], first) - 1
    return index >= 0 and last <= PREFIXES[family][index].last


def bogon_asn(asn: int) -> bool:
    """Whether no public network may have this number."""
    return any(first <= asn <= last for first, last in ASNS)
