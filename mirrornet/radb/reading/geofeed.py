"""Geofeeds (RFC 8805): what a network says of where the users of its prefixes are.

CSV in UTF-8, a prefix (or a single address) a line: `prefix,country,region,city,postal`; "#" comments; fields from the
right may be missing or empty.  Only prefix and country are used: a city without coordinates is a name, and a table of
all names is a database of its own (--mmdb).  A line whose geographic fields are all empty says that nothing known of
this prefix holds any more (section 2.1), so it hides what registries say.  A country that is none is rejected (EU).

One network's egress list names thousands of /31s and /64s, so this reads a line in a few microseconds, and says of each
bad one why.  Whose addresses a feed may speak for is for the operator to judge: RFC 9632 ties a feed to an inetnum by
reference and signature, which a file on a disk has lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from mirrornet.data.countries import COUNTRIES
from mirrornet.model.address import Family, width
from mirrornet.radb.bogons import SHORTEST, bogon_block
from mirrornet.radb.facts import Block, Mend, Reason
from mirrornet.radb.reading.delegated import lines
from mirrornet.radb.reading.objects import Fault, country_code, parse_address

_BY_NAME: Final = {country.name.casefold(): code for code, country in COUNTRIES.items()}
_DIGITS: Final = frozenset(b"0123456789")


class Line(NamedTuple):
    """One line that says something, or why not."""

    number: int
    said: Block | Reason
    text: bytes


def feed(stream: Iterable[bytes], bogons: bool = False) -> Iterator[Line]:
    """The lines of one feed.  Empty lines and comments are left out.  `bogons`: reserved space is let in."""
    for number, line in enumerate(lines(stream), 1):
        text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        text = text.partition(b"#")[0].strip()
        if not text:
            continue
        try:
            yield Line(number, _said(text, bogons), line)
        except Fault as fault:
            yield Line(number, fault.reason, line)


def _said(text: bytes, bogons: bool) -> Block:
    fields = [field.strip(b' \t"') for field in text.split(b",", 4)]
    mends: list[Mend] = []
    if len(fields) < 2:
        raise Fault(Reason.BAD_FEED_LINE)
    family, first, last = _range(fields[0], mends)
    if last - first >= 1 << (width(family) - SHORTEST[family]):
        raise Fault(Reason.TOO_SHORT)
    if not bogons and bogon_block(family, first, last):
        raise Fault(Reason.BOGON)
    country = _country(fields[1], mends) if fields[1] else ""
    if not country and any(fields[1:4]):
        raise Fault(Reason.BAD_COUNTRY)
    return Block(family, first, last, country, None, "", tuple(mends))


def _range(text: bytes, mends: list[Mend]) -> tuple[Family, int, int]:
    """Family, first and last address (of `width(family)` bits)."""
    address, slash, length_text = text.partition(b"/")
    family: Family = 6 if b":" in address else 4
    bits = 32 if family == 4 else 128
    value = parse_address(family, address, mends)
    if not slash:
        length = bits
    elif length_text and len(length_text) < 4 and _DIGITS.issuperset(length_text) and int(length_text) <= bits:
        length = int(length_text)
    else:
        raise Fault(Reason.BAD_LENGTH)
    if value & (1 << (bits - length)) - 1:
        mends.append(Mend.HOST_BITS)
    if family == 6:
        value, length, bits = value >> 64, min(length, 64), 64
    spare = (1 << (bits - length)) - 1
    return family, value & ~spare, value | spare


def _country(text: bytes, mends: list[Mend]) -> str:
    code = country_code(text) if len(text) == 2 else _BY_NAME.get(text.decode("utf-8", "replace").casefold(), "")
    if code and len(text) > 2:
        mends.append(Mend.COUNTRY_NAME)
    return code
