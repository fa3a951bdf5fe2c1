"""The member list of an as-set or route-set, as people write it → Members (RFC 2622 sections 5.1 and 5.2, RFC 4012).

    as-set      AS numbers and as-sets
    route-set   prefixes, route-sets, as-sets and AS numbers, each with a range operator (^-, ^+, ^n, ^n-m) if wanted

Lists are separated by commas, by blanks, by line breaks, and end in a comma or not.  What a list may not hold is
counted as odd and passed over: prefixes and route-sets in an as-set, the reserved words AS-ANY, RS-ANY, ANY and PeerAS
(a set of everybody says nothing), default routes, reserved space, AS numbers that no public network may have.

A range operator at a prefix is kept.  At a set or an AS number it is left out: it says which parts of the routes are
meant, and whoever asks has an address, which is in one of them or not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import AddressValueError, IPv4Address, IPv6Address, NetmaskValueError, ip_network
from typing import Final

from mirrornet.model.address import Family, Prefix
from mirrornet.model.sets import NAME, PrefixRange, is_route_set
from mirrornet.radb.bogons import SHORTEST, bogon_asn, bogon_prefix
from mirrornet.radb.facts import Members

MOST: Final = 1 << 20  # members of one list; the largest real one has some 60,000
_OPERATOR = re.compile(r"\^(?:([+-])|(\d{1,3})(?:-(\d{1,3}))?)")
_ASDOT = re.compile(r"AS(\d{1,5})\.(\d{1,5})")
_SET = re.compile(rf"(?:[A-Z0-9][A-Z0-9._-]{{0,31}}::)?{NAME.pattern}")
_RESERVED: Final = frozenset({"AS-ANY", "RS-ANY"})
_PLAIN_ASNS: Final = ((1, 23455), (23457, 64495), (65552, 4199999999))  # the others are looked at


def words(values: Iterable[bytes]) -> tuple[str, ...]:
    """The words of a list, in capitals."""
    text = b",".join(values).decode("ascii", "replace").upper()
    return tuple(text.replace(",", " ").split())


def read_members(values: Iterable[bytes], routes: bool, bogons: bool = False) -> Members:
    """The members that `values` list; `routes`: of a route-set.  `bogons`: let reserved space in.  Each comes once."""
    asns: dict[int, None] = {}
    sets: dict[str, None] = {}
    prefixes: dict[PrefixRange, None] = {}
    odd = 0
    listed = words(values)
    for word in listed[:MOST]:
        if word[:2] == "AS" and word[2:].isdigit() and word.isascii() and len(word) < 13:
            asn = int(word[2:])
            if bogons or _public(asn):
                asns[asn] = None
            else:
                odd += 1
            continue
        name, caret, operator = word.partition("^")
        if caret and not (routes and _OPERATOR.fullmatch(caret + operator)):
            odd += 1
        elif _SET.fullmatch(name) and name.rpartition("::")[2] not in _RESERVED:
            if routes or not is_route_set(name):
                sets[name] = None
            else:
                odd += 1
        elif (number := _asn(name)) is not None and (bogons or _public(number)):
            asns[number] = None
        elif routes and (ranged := _prefix(name, caret + operator, bogons)) is not None:
            prefixes[ranged] = None
        else:
            odd += 1
    return Members(tuple(asns), tuple(sets), tuple(prefixes), odd + max(0, len(listed) - MOST))


def _public(asn: int) -> bool:
    for first, last in _PLAIN_ASNS:
        if first <= asn <= last:
            return True
    return asn <= 0xFFFFFFFF and not bogon_asn(asn)


def _asn(word: str) -> int | None:
    """AS64500^+ of a route-set without its operator, or ASDOT (RFC 5396)."""
    if word[:2] == "AS" and word[2:].isdigit() and word.isascii() and len(word) < 13:
        return int(word[2:])
    match = _ASDOT.fullmatch(word)
    if match is None or int(match[1]) > 65535 or int(match[2]) > 65535:
        return None
    return int(match[1]) << 16 | int(match[2])


def _prefix(text: str, operator: str, bogons: bool) -> PrefixRange | None:
    """A prefix and its range; None where it is none, or none that a public network's own could be."""
    try:
        network = ip_network(text, strict=False)
    except (ValueError, AddressValueError, NetmaskValueError):
        return None
    family: Family = 4 if isinstance(network.network_address, IPv4Address) else 6
    length, value, most = network.prefixlen, int(network.network_address), network.max_prefixlen
    if "/" not in text or length < SHORTEST[family] or length > 64:
        return None
    value = value >> 64 if isinstance(network.network_address, IPv6Address) else value
    if not bogons and bogon_prefix(family, value, length):
        return None
    low, high = length, length
    match = _OPERATOR.fullmatch(operator)
    if match is not None:
        if match[1]:
            low, high = length + (match[1] == "-"), most
        else:
            low = int(match[2])
            high = int(match[3] or match[2])
    if not length <= low <= high <= most:
        return None
    return PrefixRange(Prefix(family, value, length), low, high)
