"""All plain routes and aut-nums of a piece of RPSL text at once, by numpy: the fast reader.

Nine tenths of a dump are routes written the way every registry exports them, and most of the rest aut-nums of which we
want one country.  Text (text.py) finds their lines and numbers, prefixes.py their prefixes, for all of them by a few
calls each.

A route is plain when nothing about it needs thought: one origin `AS1234`, one source, addresses without leading zeros
or host bits, inside public space, no comment and no continuation at an attribute that we read, no `member-of:`.  An
aut-num is plain with one number `AS1234`, one source and at most one country, of two letters, that exists.  All others,
and all other classes, are handed back as spans of the text for the exact reader (objects.py), which alone mends and
rejects.  So this file may be as strict as it likes and still loses nothing; what it does take must equal what the exact
reader would have said (tests/properties/test_table_columns.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from mirrornet.model.address import Family, width
from mirrornet.radb.bogons import ASNS, FIRSTS, PREFIXES, SHORTEST
from mirrornet.radb.compiling.sweep import masks
from mirrornet.radb.reading.objects import country_code
from mirrornet.radb.reading.prefixes import prefixes4, prefixes6
from mirrornet.radb.reading.rpsl import Span
from mirrornet.radb.reading.text import I64, PADDING, Mask, Text, decimal
from mirrornet.radb.records import U8, U32, U64, Routes, Sources

U16 = NDArray[np.uint16]

_SOURCE = re.compile(rb"([A-Za-z0-9][A-Za-z0-9._-]{0,15})[ \t]*")
_BOGON_FIRSTS = {4: np.array(FIRSTS[4], np.uint64), 6: np.array(FIRSTS[6], np.uint64)}
_BOGON_LASTS = {f: np.array([p.last for p in prefixes], np.uint64) for f, prefixes in PREFIXES.items()}
_BOGON_LENGTHS = {f: np.array([p.length for p in prefixes], np.uint8) for f, prefixes in PREFIXES.items()}
_MOST_SOURCES: Final = 300  # of one piece; there are twenty in the world
AUT_NUM: Final = 1  # a kind of scan.c
_FAMILIES: Final[tuple[Family, Family]] = (4, 6)
_DAY: Final = np.uint64(0xFFFF << 48)


@dataclass(frozen=True, slots=True)
class Seats:
    """Plain aut-nums, as columns.  `countries`: numbers in `codes`, of which number 0 is "" (none said)."""

    asns: U32
    sources: U8
    countries: U16
    codes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plain:
    """The plain routes and aut-nums of a piece, where all its other objects are, and how many lines it has."""

    routes: dict[Family, Routes]
    seats: Seats
    rest: list[Span]
    rest_lines: list[int]  # on which line of the piece, from 0, each of these begins
    lines: int


def read(data: bytes, sources: Sources, bogons: bool = False) -> Plain:
    """What is plain in `data` (whole objects, lines end in "\\n", the last line is empty); see read_padded()."""
    return read_padded(data + bytes(PADDING), len(data), sources, bogons)


def read_padded(
    padded: bytes | memoryview, size: int, sources: Sources, bogons: bool = False, scanner: Scanner | None = None
) -> Plain:
    """The same of the first `size` bytes of `padded`, which PADDING zeros follow.

    New names are entered into `sources`.  `bogons`: let reserved space in.  `scanner`: the compiled pass (scan.py), for
    which one zero will do.
    """
    if scanner is not None:
        return _scanned(*scanner.rows(padded, size), sources, bogons)
    text = Text(padded, size)
    taken = np.zeros(len(text), bool)
    source_lines, wanted = text.only_line(b"source:")
    wanted &= ~text.has(b"member-of:")
    routes = _routes(text, wanted, source_lines, sources, bogons, taken)
    seats = _seats(text, wanted, source_lines, sources, taken)
    return Plain(routes, seats, text.spans(~taken), text.first_lines[~taken].tolist(), len(text.ends))


def count_sources(numbers: U8) -> Iterator[tuple[int, int]]:
    """(source number, how many of `numbers` are that)."""
    counts = np.bincount(numbers)
    for number in np.flatnonzero(counts).tolist():
        yield number, int(counts[number])


class Scanner(Protocol):
    """The compiled pass: objects of a padded text → rows as scan.c fills them, and the number of lines."""

    def rows(self, text: bytes | memoryview, size: int) -> tuple[NDArray[np.void], int]: ...


def _scanned(rows: NDArray[np.void], lines: int, sources: Sources, bogons: bool) -> Plain:
    """The same from the rows of scan.c, of which only what it cannot know is judged here."""
    kinds = rows["kind"]
    taken = np.zeros(len(rows), bool)
    routes: dict[Family, Routes] = {}
    for family in _FAMILIES:
        mine = np.flatnonzero(kinds == family)
        if not len(mine):
            routes[family] = _none()
            continue
        found = rows if len(mine) == len(rows) else rows[mine]
        values, lengths, asns = found["value"], found["length"], found["asn"]
        good = _allowed(family, values, lengths, bogons) & _public(asns, bogons)
        named, known = _named(found["source_low"], found["source_high"], good, sources)
        taken[mine[known]] = True
        routes[family] = Routes(values[known], lengths[known], asns[known], named[known], found["newest"][known])
    mine = np.flatnonzero(kinds == AUT_NUM)
    found = rows[mine]
    codes, countries, good = _codes(found["country"], found["country"] != 0)
    named, known = _named(found["source_low"], found["source_high"], good, sources)
    taken[mine[known]] = True
    seats = Seats(found["asn"][known], named[known], countries[known], codes)
    rest = rows[~taken]
    spans = list(zip(rest["begin"].tolist(), rest["end"].tolist(), strict=True))
    return Plain(routes, seats, spans, rest["line"].tolist(), lines)


def _routes(
    text: Text, wanted: Mask, source_lines: I64, sources: Sources, bogons: bool, taken: Mask
) -> dict[Family, Routes]:
    """The plain routes among the objects that are `wanted`, which are marked in `taken`."""
    origin_lines, one_origin = text.only_line(b"origin:")
    one_origin &= wanted
    routes: dict[Family, Routes] = {}
    for family in _FAMILIES:
        name = b"route:" if family == 4 else b"route6:"
        lines, objects = text.first_lines_of(name)
        chosen = one_origin[objects]
        if not chosen.all():
            lines, objects = lines[chosen], objects[chosen]
        if not len(objects):
            routes[family] = _none()
            continue
        at, end, good = text.values(lines, len(name))
        values, lengths, plain = (prefixes4 if family == 4 else prefixes6)(text, at, end)
        asns, numbers = _as_numbers(text, origin_lines[objects], 7)
        good &= plain & numbers & _allowed(family, values, lengths, bogons)
        newest, dated = _dates(text, objects)
        good &= dated
        good &= _public(asns, bogons)
        named, known = _sources(text, source_lines[objects], good, sources)
        good &= known
        taken[objects[good]] = True
        routes[family] = Routes(values[good], lengths[good], asns[good].astype(np.uint32), named[good], newest[good])
    return routes


def _seats(text: Text, wanted: Mask, source_lines: I64, sources: Sources, taken: Mask) -> Seats:
    """The plain aut-nums among the objects that are `wanted`, which are marked in `taken`."""
    lines, objects = text.first_lines_of(b"aut-num:")
    country_lines, counts = text.line_counts(b"country:")
    chosen = wanted[objects] & (counts[objects] <= 1)
    lines, objects = lines[chosen], objects[chosen]
    if not len(objects):
        return Seats(np.zeros(0, np.uint32), np.zeros(0, np.uint8), np.zeros(0, np.uint16), ("",))
    asns, good = _as_numbers(text, lines, 8)
    said = counts[objects] > 0
    at, end, plain = text.values(country_lines[objects], 8)  # of any line where none is said
    codes, countries, exist = _codes(text.words[at].astype(np.uint16), said)
    good &= ~said | (plain & (end - at == 2))
    good &= exist
    named, known = _sources(text, source_lines[objects], good, sources)
    good &= known
    taken[objects[good]] = True
    return Seats(asns[good].astype(np.uint32), named[good], countries[good], codes)


def _codes(letters: U16, said: Mask) -> tuple[tuple[str, ...], U16, Mask]:
    """The countries that occur, the number of each row's (0 where none is `said`), and which rows' exist."""
    codes, numbers = [""], np.zeros(1 << 16, np.uint16)
    exists = np.zeros(1 << 16, bool)
    letters = np.where(said, letters, 0).astype(np.uint16)
    exists[0] = True
    for pair in np.flatnonzero(np.bincount(letters, minlength=1)).tolist():
        code = country_code(int(pair).to_bytes(2, "little")) if pair else ""
        if code:
            numbers[pair] = len(codes)
            exists[pair] = True
            codes.append(code)
    return tuple(codes), numbers[letters], exists[letters]


def _public(asns: NDArray[np.unsignedinteger[Any]], bogons: bool) -> Mask:
    good = np.ones(len(asns), bool)
    if not bogons:
        for first, last in ASNS:
            good &= (asns < first) | (asns > last)
    return good


def _as_numbers(text: Text, lines: I64, name_size: int) -> tuple[U64, Mask]:
    at, end, good = text.values(lines, name_size)
    asns, numbers = text.number(end, end - at - 2)
    letters = text.words[at] & np.uint64(0xFFFF) | np.uint64(0x2020)
    return asns, good & numbers & (letters == int.from_bytes(b"as", "little"))


def _sources(text: Text, lines: I64, asked: Mask, sources: Sources) -> tuple[U8, Mask]:
    """The number of the source of each line, and whether it is plain; only lines that are `asked` enter new names."""
    at, end, good = text.values(lines, 7)
    size = end - at
    good &= asked & (size <= 16)
    size = np.where(good, size, 1)
    low = _first_bytes(text.words[at], np.minimum(size, 8))
    high = np.where(size > 8, _first_bytes(text.words[at + 8], np.maximum(size - 8, 1)), 0).astype(np.uint64)
    return _named(low, high, good, sources)


def _named(low: U64, high: U64, good: Mask, sources: Sources) -> tuple[U8, Mask]:
    """The number of the source whose name the sixteen bytes of each row are, and which of the `good` rows have one."""
    numbers, known = np.zeros(len(low), np.uint8), np.zeros(len(low), bool)
    waiting = np.flatnonzero(good)
    for _ in range(_MOST_SOURCES):  # beyond these the exact reader is quicker
        if not len(waiting):
            break
        first = waiting[0]
        same = (low == low[first]) & (high == high[first]) & good
        name = low[first : first + 1].tobytes() + high[first : first + 1].tobytes()
        match = _SOURCE.fullmatch(name.rstrip(b"\0"))
        if match:
            numbers[same] = sources.number(match[1].decode().upper())
            known |= same
        waiting = waiting[~same[waiting]]
    return numbers, known


def _first_bytes(words: U64, sizes: I64) -> U64:
    """The first `sizes` bytes (1 to 8) of each little-endian word, the others zero."""
    shift = (np.uint64(8) - sizes.astype(np.uint64)) * np.uint64(8)
    masked: U64 = words << shift >> shift
    return masked


def _dates(text: Text, objects: I64) -> tuple[U64, Mask]:
    """last-modified << 32 | changed of each object, and whether all its dates were plain."""
    wanted = np.full(len(text), -1, np.int64)
    wanted[objects] = np.arange(len(objects))
    plain = np.ones(len(objects), bool)
    found = {}
    for name in (b"changed:", b"last-modified:"):
        lines, owners = text.lines_of(name)
        rows = wanted[owners]
        mine = rows >= 0
        lines, rows = lines[mine], rows[mine]
        at, end, good = text.values(lines, len(name))
        size = end - at
        if name == b"changed:":
            good &= size > 8
            begin = np.where(good, end - 8, at)
            good &= ~text.has_hash(at, end)
            numbers, digits = decimal(text.words[begin])
        else:
            good &= size >= 10
            day, month = text.words[at], text.words[at + 2]  # "2023-11-" and "23-11-13"
            good &= (day >> np.uint64(32) & np.uint64(0xFF) == 45) & (day >> np.uint64(56) == 45)
            year = day & np.uint64(0xFFFFFFFF)
            numbers, digits = decimal(year | day >> np.uint64(40) << np.uint64(48) >> np.uint64(16) | month & _DAY)
        good &= digits
        dates = np.zeros(len(objects), np.uint64)
        if len(rows) < 2 or bool((rows[1:] > rows[:-1]).all()):
            dates[rows] = numbers
        else:
            np.maximum.at(dates, rows, np.where(good, numbers, np.uint64(0)))
        plain[rows[~good]] = False
        found[name] = dates
    return found[b"last-modified:"] << np.uint64(32) | found[b"changed:"], plain


def _allowed(family: Family, values: U64, lengths: U8, bogons: bool) -> Mask:
    good = (lengths >= SHORTEST[family]) & (lengths <= width(family))
    good &= masks(values, np.where(good, lengths, 1), width(family)) == values
    if bogons:
        return good
    index = np.searchsorted(_BOGON_FIRSTS[family], values, side="right") - 1
    inside = (index >= 0) & (values <= _BOGON_LASTS[family][index]) & (lengths >= _BOGON_LENGTHS[family][index])
    return good & ~inside


def _none() -> Routes:
    zeros = np.zeros(0, np.uint64)
    return Routes(zeros, zeros.astype(np.uint8), zeros.astype(np.uint32), zeros.astype(np.uint8), zeros)
