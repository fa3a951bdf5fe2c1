"""One RPSL object → what it says of the world: a Route, a Block, an AutNum, or why it says nothing.

Seven classes matter: route and route6 (RFC 2622 section 4, RFC 4012 section 3) say who originates a prefix; inetnum and
inet6num (RIR databases only) say in which country a block of addresses is used; aut-num says where the holder of an AS
number has his seat; as-set and route-set (RFC 2622 section 5) name many at once (members.py).  All other classes are
counted and passed over.

Only what we need of an object has to be sound: its key and its source, not its maintainers.  Real dumps are old and
hand-made, so whatever has exactly one reading is mended and counted (host bits, an ASN without "AS", ASDOT of
RFC 5396), and whatever has none is rejected with its reason (`192.0.2.0/xx`).  Nothing here aborts an import.

This is the slow, exact reader.  columns.py reads the plain nine tenths of the routes a hundred times as fast, and is
held equal to this one by a property test; what it does not understand at once comes here.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Final

from mirrornet.data.countries import COUNTRIES
from mirrornet.model.address import Family, width
from mirrornet.model.sets import NAME, is_route_set
from mirrornet.radb.bogons import SHORTEST, bogon_asn, bogon_block, bogon_prefix
from mirrornet.radb.facts import AutNum, Block, Claim, Mend, Reason, Rejected, Route, Said, SetObject, Unused
from mirrornet.radb.reading.members import read_members, words
from mirrornet.radb.reading.rpsl import Attribute, attributes, class_of, wanting, without_comment_lines

_ASN = re.compile(rb"(AS)?(\d{1,10})(?:\.(\d{1,5}))?", re.IGNORECASE)
_OCTETS = re.compile(rb"(\d{1,4})\.(\d{1,4})\.(\d{1,4})\.(\d{1,4})")
_DIGITS = re.compile(rb"\d{1,3}")
_SOURCE = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
_DATE = re.compile(rb"(\d{4})-(\d\d)-(\d\d)")
_NUMBER = re.compile(rb"[+-]?\d{1,3}(?:\.\d{1,12})?")
_SOURCE_ONLY = wanting(b"source")
_OF_ROUTE = wanting(b"origin", b"source", b"changed", b"last-modified")
_OF_SET = wanting(b"members", b"mp-members", b"mbrs-by-ref", b"source", b"changed", b"last-modified")
_OF_MEMBER = wanting(b"member-of", b"mnt-by")
_CLAIM = re.compile(rb"\nmember-of:", re.IGNORECASE)
_OF_BLOCK = wanting(b"country", b"geoloc", b"source")
_WANTED: Final = {
    "route": _OF_ROUTE,
    "route6": _OF_ROUTE,
    "inetnum": _OF_BLOCK,
    "inet6num": _OF_BLOCK,
    "aut-num": wanting(b"country", b"source"),
    "as-set": _OF_SET,
    "route-set": _OF_SET,
}
# Countries of ISO 3166-1 without a town of 15,000 people, so without a middle: known, but not placed.
_UNPLACED: Final = frozenset(("AQ", "BV", "HM", "IO", "PW", "TK", "UM"))
_ALIASES: Final = {"UK": "GB"}


class Fault(Exception):
    """This object is rejected; caught within the room and counted."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


def interpret(text: bytes, bogons: bool = False) -> Said | None:
    """What one object says; None where `text` is nothing but comment.  `bogons`: let reserved space in."""
    text = without_comment_lines(text)
    if not text.strip():
        return None
    class_name = class_of(text).decode()
    found = attributes(text, _WANTED.get(class_name, _SOURCE_ONLY))
    if not found:
        return Rejected("", "", Reason.NOT_RPSL)
    mends: list[Mend] = []
    source = _source(found, mends)
    if class_name.startswith("*"):
        return Rejected(class_name, source, Reason.DELETED)
    try:
        if class_name in ("route", "route6"):
            route = _route(4 if class_name == "route" else 6, found, source, mends, bogons)
            return route._replace(claim=_claim(text)) if _CLAIM.search(text) else route
        if class_name in ("inetnum", "inet6num"):
            return _block(4 if class_name == "inetnum" else 6, found, source, mends, bogons)
        if class_name == "aut-num":
            asn = parse_asn(found[0][1], mends)
            seat = AutNum(asn, _country(found, mends), source, tuple(mends))
            return seat._replace(claim=_claim(text)) if _CLAIM.search(text) else seat
        if class_name in ("as-set", "route-set"):
            return _set(class_name, found, source, mends, bogons)
    except Fault as fault:
        return Rejected(class_name, source, fault.reason)
    return Unused(class_name, source)


def _first(found: list[Attribute], name: bytes) -> bytes | None:
    for key, value in found:
        if key == name:
            return value
    return None


def _source(found: list[Attribute], mends: list[Mend]) -> str:
    value = _first(found, b"source")
    if value is not None and _SOURCE.fullmatch(value):
        return value.decode().upper()
    mends.append(Mend.NO_SOURCE)
    return ""


def _route(family: Family, found: list[Attribute], source: str, mends: list[Mend], bogons: bool) -> Route:
    value, length = _prefix(family, found[0][1], mends)
    if length < SHORTEST[family]:
        raise Fault(Reason.TOO_SHORT)
    if length > width(family):
        raise Fault(Reason.TOO_SPECIFIC)
    origin = _first(found, b"origin")
    if not origin:
        raise Fault(Reason.NO_ORIGIN)
    asn = parse_asn(origin, mends)
    if not bogons and bogon_prefix(family, value, length):
        raise Fault(Reason.BOGON)
    if not bogons and bogon_asn(asn):
        raise Fault(Reason.BOGON_ORIGIN)
    return Route(family, value, length, asn, source, newest_of(found), tuple(mends))


def _prefix(family: Family, text: bytes, mends: list[Mend]) -> tuple[int, int]:
    """(value of `width(family)` bits, length); the length may exceed the width, value is masked."""
    address, slash, length_text = text.partition(b"/")
    value = parse_address(family, address, mends)
    if not slash:
        raise Fault(Reason.NO_LENGTH)
    if not _DIGITS.fullmatch(length_text) or int(length_text) > (32 if family == 4 else 128):
        raise Fault(Reason.BAD_LENGTH)
    length, bits = int(length_text), 32 if family == 4 else 128
    masked = value >> (bits - length) << (bits - length)
    if masked != value:
        mends.append(Mend.HOST_BITS)
    return (masked if family == 4 else masked >> 64), length


def parse_address(family: Family, text: bytes, mends: list[Mend]) -> int:
    """The address as an integer of 32 or 128 bits.

    A zero-padded octet is read as decimal where it cannot be octal or means the same (07, 08, 099); 010 could be 8.
    """
    if family == 6:
        try:
            if b"%" in text:  # a zone id (RFC 4007) means nothing here
                raise ValueError
            return int(IPv6Address(text.decode("ascii")))
        except ValueError:
            raise Fault(Reason.BAD_ADDRESS) from None
    match = _OCTETS.fullmatch(text)
    if match is None:
        raise Fault(Reason.BAD_ADDRESS)
    value = 0
    for octet in match.groups():
        number = int(octet)
        if number > 255:
            raise Fault(Reason.BAD_ADDRESS)
        if len(octet) > 1 and octet[0] == 48:
            if number > 7 and not {56, 57} & set(octet):
                raise Fault(Reason.BAD_ADDRESS)
            if Mend.ZERO_PADDED not in mends:
                mends.append(Mend.ZERO_PADDED)
        value = value << 8 | number
    return value


def parse_asn(text: bytes, mends: list[Mend]) -> int:
    """An AS number: AS64500, as64500, 64500 or ASDOT AS1.10 (RFC 5396).  0 to 4294967295."""
    match = _ASN.fullmatch(text)
    if match is None:
        raise Fault(Reason.BAD_ORIGIN)
    asn = int(match[2])
    if match[3] is not None:
        low = int(match[3])
        if asn > 65535 or low > 65535:
            raise Fault(Reason.BAD_ORIGIN)
        mends.append(Mend.ASDOT)
        asn = asn << 16 | low
    elif match[1] is None:
        mends.append(Mend.NO_AS)
    if asn > 0xFFFFFFFF:
        raise Fault(Reason.BAD_ORIGIN)
    return asn


def _block(family: Family, found: list[Attribute], source: str, mends: list[Mend], bogons: bool) -> Block:
    text = found[0][1]
    first_text, dash, last_text = text.partition(b"-")
    if dash:
        first = parse_address(family, first_text.strip(), mends)
        last = parse_address(family, last_text.strip(), mends)
        if last < first:
            raise Fault(Reason.REVERSED)
        if family == 6:
            first, last = first >> 64, last >> 64
    elif b"/" in text:
        first, length = _prefix(family, text, mends)
        if length > width(family):
            mends.append(Mend.LONG_BLOCK)
            length = width(family)
        last = first | (1 << (width(family) - length)) - 1
    else:
        raise Fault(Reason.BAD_RANGE)
    if last - first >= 1 << (width(family) - SHORTEST[family]):
        raise Fault(Reason.TOO_SHORT)
    if not bogons and bogon_block(family, first, last):
        raise Fault(Reason.BOGON)
    country = _country(found, mends)
    return Block(family, first, last, country, _coordinates(found, mends), source, tuple(mends))


def _claim(text: bytes) -> Claim:
    found = attributes(text, _OF_MEMBER)
    sets = words(value for key, value in found if key == b"member-of")
    return Claim(sets, words(value for key, value in found if key == b"mnt-by"))


def _set(class_name: str, found: list[Attribute], source: str, mends: list[Mend], bogons: bool) -> SetObject:
    name = found[0][1].decode("ascii", "replace").upper()
    if not NAME.fullmatch(name) or is_route_set(name) != (class_name == "route-set"):
        raise Fault(Reason.BAD_SET)
    if not source:
        raise Fault(Reason.NO_SET_SOURCE)
    values = [value for key, value in found if key in (b"members", b"mp-members")]
    members = read_members(values, class_name == "route-set", bogons)
    by_ref = words(value for key, value in found if key == b"mbrs-by-ref")
    return SetObject(class_name, name, source, members, by_ref, newest_of(found), tuple(mends))


def _country(found: list[Attribute], mends: list[Mend]) -> str:
    countries: list[str] = []
    for key, value in found:
        if key == b"country" and value:
            code = country_code(value)
            if not code and Mend.NO_COUNTRY not in mends:
                mends.append(Mend.NO_COUNTRY)
            if code and code not in countries:
                countries.append(code)
    if len(countries) > 1:
        mends.append(Mend.COUNTRIES)
    return countries[0] if countries else ""


@lru_cache(4096)
def country_code(text: bytes) -> str:
    """ISO 3166-1 alpha-2 in capitals, "" where `text` is no country that we know."""
    code = text.decode("ascii", "replace").upper()
    code = _ALIASES.get(code, code)
    return code if code in COUNTRIES or code in _UNPLACED else ""


def _coordinates(found: list[Attribute], mends: list[Mend]) -> tuple[float, float] | None:
    """`geoloc: latitude longitude`, in degrees (RIPE-522).  The corner 0 0 is nobody's place, but a form's default."""
    value = _first(found, b"geoloc")
    if not value:
        return None
    numbers = [float(word) for word in value.split() if _NUMBER.fullmatch(word)]
    if len(numbers) == 2 == len(value.split()) and abs(numbers[0]) <= 90 and abs(numbers[1]) <= 180 and any(numbers):
        return numbers[0], numbers[1]
    mends.append(Mend.BAD_GEOLOC)
    return None


def newest_of(found: list[Attribute]) -> int:
    """`last-modified` << 32 | `changed`, each as yyyymmdd or 0: who was touched last, whatever the registry's habit.

    RADB stamped everything with one last-modified day when it moved to IRRd 4, so `changed` decides among those.
    """
    modified = changed = 0
    for key, value in found:
        if key == b"changed" and len(value) > 8 and value[-8:].isdigit():
            changed = max(changed, int(value[-8:]))
        elif key == b"last-modified" and (match := _DATE.match(value)):
            modified = max(modified, int(match[1] + match[2] + match[3]))
    return modified << 32 | changed
