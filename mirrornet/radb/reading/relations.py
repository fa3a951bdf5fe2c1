"""AS relationships in CAIDA's form: `provider|customer|-1` and `peer|peer|0`, one link a line, "#" comments.

Serial-1 has these three fields; serial-2 adds where the link was seen as a fourth, which says nothing about distance.
As published they come as .bz2.  A line that is neither is counted; AS numbers that no network may have are dropped with
it, since a path through AS 23456 is a path through a hole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from mirrornet.radb.bogons import bogon_asn
from mirrornet.radb.facts import Reason
from mirrornet.radb.reading.delegated import lines

_KINDS: Final = {b"-1": -1, b"0": 0}  # as model/links.py numbers them


class Link(NamedTuple):
    """One line that says something, or why not: (a, b, kind) of model/links.py."""

    number: int
    said: tuple[int, int, int] | Reason
    text: bytes


def links(stream: Iterable[bytes], bogons: bool = False) -> Iterator[Link]:
    """The links of one file.  `bogons`: private AS numbers are let in."""
    for number, line in enumerate(lines(stream), 1):
        if not line or line[:1] == b"#":
            continue
        yield Link(number, _said(line, bogons), line)


def _said(line: bytes, bogons: bool) -> tuple[int, int, int] | Reason:
    fields = line.strip().split(b"|")
    if not 3 <= len(fields) <= 4 or fields[2] not in _KINDS:
        return Reason.BAD_LINK
    a, b = fields[0], fields[1]
    if not (a.isdigit() and b.isdigit() and len(a) <= 10 and len(b) <= 10):
        return Reason.BAD_LINK
    left, right = int(a), int(b)
    if left > 0xFFFFFFFF or right > 0xFFFFFFFF or left == right:
        return Reason.BAD_LINK
    if not bogons and (bogon_asn(left) or bogon_asn(right)):
        return Reason.BOGON_ORIGIN
    return left, right, _KINDS[fields[2]]
