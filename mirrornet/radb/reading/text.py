"""A piece of RPSL text as an array of bytes: its lines, its objects, its attributes, and numbers in it, all at once.

The fast readers (columns.py, rows.py) ask the same few things of thousands of lines by one numpy call each.
Line breaks give the lines, empty lines the objects.  Eight bytes from any offset are one number of 64 bits (a view of
the text, not a copy), so an attribute's name is one comparison, a run of blanks or the bytes that are no digits are a
few sums, and eight digits become a number in three multiplications ("SIMD within a register").

Whatever is doubtful is "not alone" or "not a number" here, and its object goes to the exact reader.

Rejected: one regular expression over the text (2.3 s for 316 MB), a search for every dot, slash and "#" of the text
(three passes over all bytes to look at a fiftieth of them), a matrix of bytes with a row a line (four times the work
of the words).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mirrornet.radb.reading.rpsl import Span
from mirrornet.radb.records import U8, U64

I64 = NDArray[np.int64]
Mask = NDArray[np.bool_]

PADDING: Final = 64  # zero bytes that follow the text, so that a look a few words beyond the last line is inside
_MOST_BLANKS: Final = 40  # between an attribute's name and its value


def every(byte: int) -> np.uint64:
    """`byte` eight times."""
    return np.uint64(byte * 0x0101010101010101)


_SPACES, _HASHES = every(ord(" ")), every(ord("#"))
_LOW_BITS, _HIGH_BITS = every(0x7F), every(0x80)
_ALL, _ZEROS = every(0xFF), every(0x30)
_SIXES, _HIGH_NIBBLES, _LOW_NIBBLES = every(6), every(0xF0), every(0x0F)
_PAIRS, _QUADS = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF)
_ONE, _U8, _U56 = np.uint64(1), np.uint64(8), np.uint64(56)


def _any(found: U8, signs: bytes) -> Mask:
    """Which bytes are one of `signs`; a comparison each is quicker than a table."""
    result: Mask = found == signs[0]
    for sign in signs[1:]:
        result |= found == sign
    return result


_BLANK: Final = b" \t"
_CONTINUES: Final = b" \t+%#"  # how a line begins that may be part of the value above


class Text:
    """The bytes of a piece, its lines, and its objects (runs of lines between empty ones).

    `ends` and `starts` of lines are offsets; `first_lines` and `last_lines` of objects are numbers of lines.
    """

    def __init__(self, padded: bytes | memoryview, size: int) -> None:
        """`padded`: `size` bytes of whole objects, whose last line is empty, and PADDING zero bytes."""
        self.bytes: U8 = np.frombuffer(padded, np.uint8)
        self.words: U64 = np.ndarray((len(self.bytes) - 7,), "<u8", padded, strides=(1,))
        self.ends: I64 = np.flatnonzero(self.bytes[:size] == 10)
        count = len(self.ends)
        self.starts: I64 = np.zeros(count, np.int64)
        self.starts[1:] = self.ends[:-1] + 1
        full = self.starts != self.ends
        beside = np.zeros(count + 2, bool)
        beside[1:-1] = full
        begins = full & ~beside[:-2]
        self.first_lines: I64 = np.flatnonzero(begins)
        self.last_lines: I64 = np.flatnonzero(full & ~beside[2:])
        self._objects: I64 = np.cumsum(begins) - 1  # of each line, right where the line is not empty
        self._heads: U64 = self.words[self.starts]
        # Lower case, roughly: six bytes and ":" as they stand, so what is found is compared exactly afterwards.
        self._lower = self._heads | _SPACES
        self._prefixes: dict[int, U64] = {8: self._lower}

    def __len__(self) -> int:
        return len(self.first_lines)

    def lines_of(self, name: bytes) -> tuple[I64, I64]:
        """The lines that begin with `name` (a lower-case attribute and colon) in any case, and their objects."""
        head = name[:8]
        wanted = int.from_bytes(head, "little")
        covered = np.uint64((1 << 8 * len(head)) - 1)
        lower = self._prefixes.get(len(head))
        if lower is None:
            lower = self._prefixes[len(head)] = self._lower & covered
        lines = np.flatnonzero(lower == np.uint64(wanted | (int(_SPACES) & int(covered))))
        letters = int.from_bytes(bytes(0x20 if byte >= 97 else 0 for byte in head), "little")
        same = (self._heads[lines] | np.uint64(letters)) & covered == np.uint64(wanted)
        for offset, byte in enumerate(name[8:], 8):
            at = np.minimum(self.starts[lines] + offset, len(self.bytes) - 1)
            same &= (self.bytes[at] | np.uint8(0x20 if byte >= 97 else 0)) == byte
        if not same.all():
            lines = lines[same]
        return lines, self._objects[lines]

    def first_lines_of(self, name: bytes) -> tuple[I64, I64]:
        """The same, of lines that are the first of their object: its class."""
        lines, objects = self.lines_of(name)
        first = self.first_lines[objects] == lines
        return lines[first], objects[first]

    def has(self, name: bytes) -> Mask:
        """Which objects have a line that begins with `name`."""
        found = np.zeros(len(self), bool)
        found[self.lines_of(name)[1]] = True
        return found

    def line_counts(self, name: bytes) -> tuple[I64, I64]:
        """For each object its last line that begins with `name`, and how many do."""
        lines, objects = self.lines_of(name)
        last = np.zeros(len(self), np.int64)
        last[objects] = lines
        return last, np.bincount(objects, minlength=len(self))

    def only_line(self, name: bytes) -> tuple[I64, Mask]:
        """For each object its line that begins with `name`, and whether it has exactly one."""
        lines, counts = self.line_counts(name)
        return lines, counts == 1

    def values(self, lines: I64, name_size: int) -> tuple[I64, I64, Mask]:
        """Where the value of each line begins and ends, and whether it is on this line alone, no blanks at its end."""
        at, end = self.starts[lines] + name_size, self.ends[lines]
        for _ in range(2):
            other = self.words[at] ^ _SPACES
            at += np.bitwise_count((other & -other) - _ONE) >> 3
        more = np.flatnonzero(_any(self.bytes[at], _BLANK))
        for _ in range(_MOST_BLANKS):
            if not len(more):
                break
            at[more] += 1
            more = more[_any(self.bytes[at[more]], _BLANK)]
        doubtful = _any(self.bytes[end + 1], _CONTINUES)
        doubtful |= self.bytes[at] <= 32  # or any other sign that the exact reader strips
        doubtful |= self.bytes[end - 1] <= 32
        doubtful |= at >= end
        return at, end, ~doubtful

    def number(self, end: I64, size: I64) -> tuple[U64, Mask]:
        """The decimal number in the `size` (1 to 8) bytes before `end`, and whether it is one; never in the first 8."""
        sound = (size >= 1) & (size <= 8) & (end >= 8)
        shift = (8 - np.where(sound, size, 8)).astype(np.uint64) * _U8
        word = self.words[np.maximum(end - 8, 0)]
        values, digits = decimal(word >> shift << shift | _ZEROS & ~(_ALL << shift))
        return values, sound & digits

    def has_hash(self, begin: I64, end: I64) -> Mask:
        """Whether a "#" stands between two offsets."""
        found = np.zeros(len(begin), bool)
        open_rows, at = np.arange(len(begin)), begin
        while len(open_rows):
            left = end[open_rows] - at
            word = self.words[at] ^ _HASHES
            spare = (8 - np.minimum(left, 8)).astype(np.uint64) * _U8
            found[open_rows] |= zero_bytes(word | ~(_ALL >> spare)) != 0
            more = left > 8
            open_rows, at = open_rows[more], at[more] + 8
        return found

    def spans(self, which: Mask) -> list[Span]:
        """Where these objects begin and end."""
        begin = self.starts[self.first_lines[which]].tolist()
        return list(zip(begin, self.ends[self.last_lines[which]].tolist(), strict=True))


def decimal(words: U64) -> tuple[U64, Mask]:
    """The number that the eight bytes of each word spell, and whether all of them are digits."""
    digits = (words & _HIGH_NIBBLES == _ZEROS) & (words + _SIXES & _HIGH_NIBBLES == _ZEROS)
    pairs = (words & _LOW_NIBBLES) * np.uint64(10 << 8 | 1) >> _U8 & _PAIRS
    quads = pairs * np.uint64(100 << 16 | 1) >> np.uint64(16) & _QUADS
    return quads * np.uint64(10_000 << 32 | 1) >> np.uint64(32), digits


def zero_bytes(words: U64) -> U64:
    """Bit 7 of every byte that is zero; exact for every byte."""
    result: U64 = ~(((words & _LOW_BITS) + _LOW_BITS) | words | _LOW_BITS)
    return result


def gathered(marks: U64) -> U64:
    """Bit 7 of the eight bytes of each word as the eight lowest bits, the first byte's the lowest."""
    result: U64 = (marks >> np.uint64(7)) * np.uint64(0x0102040810204080) >> _U56
    return result


def lowest(bits: U64) -> I64:
    """The number of the lowest bit that is set; 64 where none is."""
    numbers: I64 = np.bitwise_count((bits & -bits) - _ONE).astype(np.int64)
    return numbers
