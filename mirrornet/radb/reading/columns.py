"""All plain routes of a piece of RPSL text at once, by numpy: the fast reader.

Nine tenths of a dump are routes written the way every registry exports them.  For those, the text is an array of bytes:
the line breaks give the lines, the empty lines the objects, the first eight bytes of a line its attribute, and numbers
are summed up from digits a fixed distance before a dot, for all objects by one call each.

A route is plain when nothing about it needs thought: one origin `AS1234`, one source, addresses without leading zeros
or host bits, inside public space, no comment and no continuation at an attribute that we read.  All others, and all
other classes, are handed back as spans of the text for the exact reader (objects.py), which alone mends and rejects.
So this file may be as strict as it likes and still loses nothing; what it does take must equal what the exact reader
would have said (tests/properties/test_table_columns.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mirrornet.model.address import Family, width
from mirrornet.radb.bogons import ASNS, FIRSTS, PREFIXES, SHORTEST
from mirrornet.radb.compiling.sweep import I64, masks
from mirrornet.radb.reading.rpsl import Span
from mirrornet.radb.records import U8, U64, Routes, Sources

Mask = NDArray[np.bool_]

_PADDING: Final = bytes(64)  # so that a look a few bytes beyond the last line is still inside
_MOST_BLANKS: Final = 40  # between an attribute's name and its value
_SOURCE = re.compile(rb"([A-Za-z0-9][A-Za-z0-9._-]{0,15})[ \t]*")
_PREFIX6 = re.compile(rb"((?:[0-9A-Fa-f]{1,4}:){1,4}):/([1-9]\d?)[ \t]*")
_TENS8 = 10 ** np.arange(7, -1, -1, dtype=np.uint64)
_BOGON_FIRSTS = {4: np.array(FIRSTS[4], np.uint64), 6: np.array(FIRSTS[6], np.uint64)}
_BOGON_LASTS = {f: np.array([p.last for p in prefixes], np.uint64) for f, prefixes in PREFIXES.items()}
_BOGON_LENGTHS = {f: np.array([p.length for p in prefixes], np.uint8) for f, prefixes in PREFIXES.items()}


@dataclass(frozen=True, slots=True)
class Plain:
    """The plain routes of a piece, and where all its other objects are."""

    routes: dict[Family, Routes]
    rest: list[Span]


def read(data: bytes, sources: Sources, bogons: bool = False) -> Plain:
    """The plain routes in `data` (whole objects, lines end in "\\n", the last line is empty).

    New names are entered into `sources`.  `bogons`: let reserved space in.
    """
    text = _Text(data)
    kinds = {family: text.begins(text.first_lines, name) for family, name in ((4, b"route:"), (6, b"route6:"))}
    taken = np.zeros(len(text.first_lines), bool)
    origin_lines, one_origin = text.only_line(b"origin:")
    source_lines, one_source = text.only_line(b"source:")
    candidates = np.flatnonzero((kinds[4] | kinds[6]) & one_origin & one_source)
    if not len(candidates):
        return Plain({4: _none(), 6: _none()}, text.spans(~taken))

    asns, good = _origins(text, origin_lines[candidates])
    numbers, named = _sources(text, source_lines[candidates], sources)
    newest, dated = _dates(text, candidates)
    good &= named & dated
    if not bogons:
        for first, last in ASNS:
            good &= (asns < first) | (asns > last)
    routes: dict[Family, Routes] = {}
    families: tuple[Family, Family] = (4, 6)
    for family in families:
        mine = np.flatnonzero(good & kinds[family][candidates])
        lines = text.first_lines[candidates[mine]]
        values, lengths, sound = (_prefixes4 if family == 4 else _prefixes6)(text, lines)
        sound &= _allowed(family, values, lengths, bogons)
        mine = mine[sound]
        taken[candidates[mine]] = True
        routes[family] = Routes(
            values[sound],
            lengths[sound],
            asns[mine].astype(np.uint32),
            numbers[mine],
            newest[mine],
        )
    return Plain(routes, text.spans(~taken))


def count_sources(routes: Routes) -> Iterator[tuple[int, int]]:
    """(source number, how many of `routes` it has)."""
    counts = np.bincount(routes.sources)
    for number in np.flatnonzero(counts).tolist():
        yield number, int(counts[number])


class _Text:
    """The bytes of a piece, its lines, and its objects (runs of lines between empty ones)."""

    def __init__(self, data: bytes) -> None:
        self.data = data + _PADDING
        self.bytes: U8 = np.frombuffer(self.data, np.uint8)
        # Eight bytes from every offset as one number: a view, not a copy.
        self.words: U64 = np.ndarray((len(self.data) - 7,), "<u8", self.data, strides=(1,))
        self.ends: I64 = np.flatnonzero(self.bytes == 10)
        self.starts: I64 = np.concatenate([np.zeros(min(1, len(self.ends)), np.int64), self.ends[:-1] + 1])
        empty = self.starts == self.ends
        after_empty = np.concatenate([np.ones(min(1, len(empty)), bool), empty[:-1]])
        self.first_lines: I64 = np.flatnonzero(~empty & after_empty)
        empty_lines = np.flatnonzero(empty)
        self.last_lines: I64 = empty_lines[np.searchsorted(empty_lines, self.first_lines)] - 1
        self.heads: U64 = self.words[self.starts]

    def begins(self, lines: I64 | slice, name: bytes) -> Mask:
        """Which of `lines` begin with `name` (a lower-case attribute and colon) in any case."""
        head = name[:8]
        wanted = int.from_bytes(head, "little")
        letters = int.from_bytes(bytes(0x20 if byte >= 97 else 0 for byte in head), "little")
        covered = (1 << 8 * len(head)) - 1
        found: Mask = (self.heads[lines] | np.uint64(letters)) & np.uint64(covered) == np.uint64(wanted)
        return found if len(name) <= 8 else found & self._continues(lines, found, name[8:])

    def _continues(self, lines: I64 | slice, found: Mask, tail: bytes) -> Mask:
        more = np.zeros(len(found), bool)
        chosen = np.flatnonzero(found)
        starts = self.starts[lines][chosen] + 8
        same = np.ones(len(chosen), bool)
        for offset, byte in enumerate(tail):
            letter = np.uint8(0x20 if byte >= 97 else 0)
            same &= (self.bytes[starts + offset] | letter) == byte
        more[chosen] = same
        return more

    def lines_of(self, name: bytes) -> tuple[I64, I64]:
        """The lines that begin with `name`, and the number of the object each is in."""
        lines = np.flatnonzero(self.begins(slice(None), name))
        return lines, np.searchsorted(self.first_lines, lines, side="right") - 1

    def only_line(self, name: bytes) -> tuple[I64, Mask]:
        """For each object its line that begins with `name`, and whether it has exactly one."""
        lines, objects = self.lines_of(name)
        only = np.zeros(len(self.first_lines), np.int64)
        only[objects] = lines
        return only, np.bincount(objects, minlength=len(self.first_lines)) == 1

    def values(self, lines: I64, name_size: int) -> tuple[I64, Mask]:
        """Where the value of each line begins, and whether it is on this line alone, without blanks at its end."""
        at = self.starts[lines] + name_size
        for _ in range(_MOST_BLANKS):
            byte = self.bytes[at]
            blank = (byte == 32) | (byte == 9)
            if not blank.any():
                break
            at = at + blank
        following = self.bytes[self.ends[lines] + 1]
        alone = np.ones(len(lines), bool)
        for sign in b" \t+%#":
            alone &= following != sign
        for byte in (self.bytes[at], self.bytes[self.ends[lines] - 1]):
            alone &= (byte != 32) & (byte != 9) & (byte != 0)
        return at, alone & (at < self.ends[lines])

    def spans(self, which: Mask) -> list[Span]:
        """Where these objects begin and end."""
        begin = self.starts[self.first_lines[which]].tolist()
        return list(zip(begin, self.ends[self.last_lines[which]].tolist(), strict=True))


def _origins(text: _Text, lines: I64) -> tuple[U64, Mask]:
    at, good = text.values(lines, 7)
    size = text.ends[lines] - at - 2
    good &= (text.bytes[at] | 0x20 == 97) & (text.bytes[at + 1] | 0x20 == 115) & (size >= 1) & (size <= 10)
    asns = np.zeros(len(lines), np.uint64)
    for place in range(int(size[good].max(initial=0))):
        inside = place < size
        digit = text.bytes[at + 2 + place * inside] - np.uint8(48)
        good &= ~inside | (digit < 10)
        asns = np.where(inside, asns * np.uint64(10) + digit, asns)
    return asns, good & (asns <= 0xFFFFFFFF)


def _sources(text: _Text, lines: I64, sources: Sources) -> tuple[U8, Mask]:
    at, good = text.values(lines, 7)
    size = text.ends[lines] - at
    good &= size <= 16
    size = np.where(good, size, 1)
    low = _first_bytes(text.words[at], np.minimum(size, 8))
    high = np.where(size > 8, _first_bytes(text.words[at + 8], np.maximum(size - 8, 1)), 0).astype(np.uint64)
    names = np.stack([low, high], axis=1)
    if bool((names == names[:1]).all()):
        distinct, which = names[:1], np.zeros(len(lines), np.int64)
    else:
        distinct, which = np.unique(names, axis=0, return_inverse=True)
        which = which.reshape(-1)
    numbers, known = [], []
    for row in range(len(distinct)):
        match = _SOURCE.fullmatch(distinct[row].astype("<u8").tobytes().rstrip(b"\0"))
        used = match is not None and bool(good[which == row].any())
        known.append(used)
        numbers.append(sources.number(match[1].decode().upper()) if match and used else 0)
    return np.array(numbers, np.uint8)[which], good & np.array(known, bool)[which]


def _first_bytes(words: U64, sizes: I64) -> U64:
    """The first `sizes` bytes (1 to 8) of each little-endian word, the others zero."""
    shift = (np.uint64(8) - sizes.astype(np.uint64)) * np.uint64(8)
    masked: U64 = words << shift >> shift
    return masked


def _dates(text: _Text, objects: I64) -> tuple[U64, Mask]:
    """last-modified << 32 | changed of each object, and whether all its dates were plain."""
    wanted = np.full(len(text.first_lines), -1, np.int64)
    wanted[objects] = np.arange(len(objects))
    plain = np.ones(len(objects), bool)
    found = {}
    for name, columns in ((b"changed:", np.arange(8)), (b"last-modified:", np.array([0, 1, 2, 3, 5, 6, 8, 9]))):
        lines, owners = text.lines_of(name)
        rows = wanted[owners]
        lines, rows = lines[rows >= 0], rows[rows >= 0]
        at, good = text.values(lines, len(name))
        size = text.ends[lines] - at
        if name == b"changed:":
            good &= size > 8
            begin = np.where(good, text.ends[lines] - 8, 0)
            good &= ~_has_hash(text, at, text.ends[lines])
        else:
            good &= size >= 10
            begin = np.where(good, at, 0)
            good &= (text.bytes[begin + 4] == 45) & (text.bytes[begin + 7] == 45)
        digits = text.bytes[begin[:, None] + columns] - np.uint8(48)
        good &= (digits < 10).all(axis=1)
        dates = np.zeros(len(objects), np.uint64)
        np.maximum.at(dates, rows, np.where(good, digits.astype(np.uint64) @ _TENS8, np.uint64(0)))
        plain[rows[~good]] = False
        found[name] = dates
    return found[b"last-modified:"] << np.uint64(32) | found[b"changed:"], plain


def _has_hash(text: _Text, begin: I64, end: I64) -> Mask:
    hashes = np.append(np.flatnonzero(text.bytes == 35), len(text.data))
    return hashes[np.searchsorted(hashes, begin)] < end


def _prefixes4(text: _Text, lines: I64) -> tuple[U64, U8, Mask]:
    at, good = text.values(lines, 6)
    end = text.ends[lines]
    dots = np.append(np.flatnonzero(text.bytes == 46), [len(text.data)] * 3)
    slashes = np.append(np.flatnonzero(text.bytes == 47), len(text.data))
    dot = np.searchsorted(dots, at)
    slash = slashes[np.searchsorted(slashes, at)]
    value, before = np.zeros(len(lines), np.uint64), at - 1
    for separator, most in ((dots[dot], 255), (dots[dot + 1], 255), (dots[dot + 2], 255), (slash, 255)):
        number, sound = _number(text, before, separator, most)
        value, before = value << np.uint64(8) | number, separator
        good &= sound
    length, sound = _number(text, slash, end, 32)
    return value, length.astype(np.uint8), good & sound & (length > 0)


def _number(text: _Text, before: I64, after: I64, most: int) -> tuple[U64, Mask]:
    """The decimal number between two offsets, and whether it is one of 1 to 3 digits, no zeros in front, to `most`."""
    size = after - before - 1
    good = (size >= 1) & (size <= 3)
    at = np.where(good, after, 4)
    units = text.bytes[at - 1] - np.uint8(48)
    tens = np.where(size >= 2, text.bytes[at - 2] - np.uint8(48), np.uint8(0))
    hundreds = np.where(size >= 3, text.bytes[at - 3] - np.uint8(48), np.uint8(0))
    good &= (units < 10) & (tens < 10) & (hundreds < 10)
    number = hundreds.astype(np.uint64) * np.uint64(100) + tens * np.uint64(10) + units
    shortest = np.where(size == 1, 0, np.where(size == 2, 10, 100)).astype(np.uint64)
    return number, good & (number >= shortest) & (number <= most)


def _prefixes6(text: _Text, lines: I64) -> tuple[U64, U8, Mask]:
    at, good = text.values(lines, 7)
    values, lengths = np.zeros(len(lines), np.uint64), np.zeros(len(lines), np.uint8)
    spans = zip(at.tolist(), text.ends[lines].tolist(), strict=True)
    match_at, data = _PREFIX6.fullmatch, text.data
    for row, (begin, end) in enumerate(spans):
        match = match_at(data, begin, end)
        if match is None:
            good[row] = False
            continue
        value, shift = 0, 64
        for group in match[1].split(b":")[:-1]:
            shift -= 16
            value |= int(group, 16) << shift
        values[row], lengths[row] = value, int(match[2])
    return values, lengths, good & (lengths > 0) & (lengths <= 64)


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
