"""The RIRs' delegated statistics: which registry gave which addresses and AS numbers to whom, and in which country.

The format is the RIR statistics exchange format, plain or extended: `registry|cc|type|start|value|date|status[|...]`,
"#" comments, one version line, summary lines.  An IPv4 `value` is a count of addresses, any count (768, 31744), not
a prefix; an IPv6 `value` is a prefix length; an asn `value` is a count of numbers.  Only what is allocated or assigned
says anything; `available` and `reserved` rows are passed over.  Rows may overlap: the sweep lets the smallest win.
An AS number's country is the seat of its holder, and stands in for an aut-num that names none.

This is the exact reader, a line at a time; rows.py takes the plain rows of a piece at once and leaves it the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from mirrornet.model.address import Family
from mirrornet.radb.bogons import SHORTEST, bogon_block
from mirrornet.radb.facts import Block, Mend, Reason
from mirrornet.radb.reading.objects import Fault, country_code, parse_address

_STATUSES = frozenset((b"allocated", b"assigned"))
_KINDS = frozenset((b"ipv4", b"ipv6", b"asn"))
LINE_LIMIT: Final = 1 << 16  # bytes
ASN_LIMIT: Final = 4096  # numbers in one row; IANA gives 1,024 at a time


class AsnRun(NamedTuple):
    """`numbers` AS numbers from `first` on, held from `country`."""

    first: int
    numbers: int
    country: str
    mends: tuple[Mend, ...] = ()


class Row(NamedTuple):
    """One line that says something, or why not.  `kind`: ipv4, ipv6 or asn, or "" where that is unclear."""

    line: int
    kind: str
    said: Block | AsnRun | Reason
    text: bytes


def lines(stream: Iterable[bytes]) -> Iterator[bytes]:
    """Lines of `stream` without their ends; one that is longer than LINE_LIMIT is cut there, so memory is bounded."""
    rest = b""
    for portion in stream:
        *whole, rest = (rest + portion).split(b"\n")
        yield from (line.rstrip(b"\r") for line in whole)
        rest = rest[:LINE_LIMIT]
    if rest:
        yield rest.rstrip(b"\r")


def pieces(stream: Iterable[bytes]) -> Iterator[bytes]:
    """`stream` in pieces of whole lines, each with its end, cut as lines() does."""
    rest = b""
    for portion in stream:
        data = rest + portion
        cut = data.rfind(b"\n") + 1
        if cut:
            yield data[:cut]
        rest = data[cut:][:LINE_LIMIT]
    if rest:
        yield rest + b"\n"


def rows(stream: Iterable[bytes], bogons: bool = False) -> Iterator[Row]:
    """The rows of one file.  Comment, version and summary lines and unused statuses are left out."""
    for number, line in enumerate(lines(stream), 1):
        found = row(number, line, bogons)
        if found is not None:
            yield found


def row(number: int, line: bytes, bogons: bool = False) -> Row | None:
    """What line `number` says; None where it is left out."""
    if not line or line[:1] == b"#":
        return None
    fields = line.split(b"|")
    if fields[0][:1].isdigit() and len(fields) == 7 and fields[0].replace(b".", b"").isdigit():
        return None  # version|registry|serial|records|startdate|enddate|UTCoffset
    if len(fields) >= 6 and fields[1] == b"*" and fields[-1] == b"summary":
        return None
    if len(fields) < 7 or fields[2] not in _KINDS:
        return Row(number, "", Reason.BAD_FIELDS, line)
    if fields[6] not in _STATUSES:
        return None
    kind = fields[2].decode()
    try:
        said: Block | AsnRun | Reason = _said(kind, fields, bogons)
    except Fault as fault:
        said = fault.reason
    return Row(number, kind, said, line)


def _said(kind: str, fields: list[bytes], bogons: bool) -> Block | AsnRun:
    country = country_code(fields[1])
    mends = () if country else (Mend.NO_COUNTRY,)
    if not fields[4].isdigit() or len(fields[4]) > 10:
        raise Fault(Reason.REVERSED if fields[4][:1] == b"-" else Reason.BAD_FIELDS)
    count = int(fields[4])
    if kind == "asn":
        if not fields[3].isdigit() or len(fields[3]) > 10 or not 0 < count <= ASN_LIMIT:
            raise Fault(Reason.BAD_FIELDS)
        return AsnRun(int(fields[3]), count, country, mends)
    family: Family = 4 if kind == "ipv4" else 6
    first = parse_address(family, fields[3], [])
    if family == 4:
        last = first + count - 1
        if not count:
            raise Fault(Reason.REVERSED)
        if last > 0xFFFFFFFF:
            raise Fault(Reason.PAST_END)
        if count > 1 << 28:  # registries do add neighbouring /8s up
            raise Fault(Reason.TOO_SHORT)
    else:
        if not 1 <= count <= 64:
            raise Fault(Reason.BAD_LENGTH)
        if count < SHORTEST[6]:
            raise Fault(Reason.TOO_SHORT)
        first = first >> (128 - count) << (64 - count)
        last = first | (1 << (64 - count)) - 1
    if not bogons and bogon_block(family, first, last):
        raise Fault(Reason.BOGON)
    return Block(family, first, last, country, None, "", mends)
