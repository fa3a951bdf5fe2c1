"""The shape of RPSL text (RFC 2622 section 2): a stream of bytes → pieces of whole objects → attributes.

An object is a run of lines up to an empty one.  A line is `name: value`, or continues the value above where it starts
with a space, a tab or "+"; "#" starts a comment; a line that starts with "%" or "#" is no part of any object, wherever
it stands.  The class is the first attribute's name.

Only bytes are read here.  Real dumps mix UTF-8, Latin-1, windows-1254 and ISO-2022-JP; what we keep of them is ASCII,
so nothing is decoded that nobody looks at.  Lines end at "\\n" (a "\\r" before it is dropped): bytes.splitlines() would
also split at form feeds, str.splitlines() at U+2028, both of which occur.

A piece is some megabytes of whole objects.  It is the unit of work of the fast reader (columns.py) and bounds memory:
an object that does not end within OBJECT_LIMIT is passed over and reported, so a dump without empty lines, or with one
line of 10 GB, takes no more room than any other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

OBJECT_LIMIT: Final = 8 << 20  # bytes; the largest object met (AS3257) has 470 kB
START: Final = 200  # bytes kept of an object that is too long

Span = tuple[int, int]
Attribute = tuple[bytes, bytes]

_NAME = rb"[A-Za-z*][A-Za-z0-9_*-]{0,63}"
_VALUE = rb"):([^\n]*(?:\n[ \t+][^\n]*)*)"
_ATTRIBUTE = re.compile(rb"\n(" + _NAME + _VALUE)
_FIRST = re.compile(rb"(" + _NAME + rb"):")
_COMMENT_LINES = re.compile(rb"^[%#][^\n]*(?:\n|\Z)", re.MULTILINE)
_RUN = re.compile(rb"[^\n]+(?:\n[^\n]+)*")


@dataclass(frozen=True, slots=True)
class Piece:
    """Whole objects: `data` begins where line `line` (from 1) of its file does, and ends with an empty line."""

    data: bytes
    line: int

    def line_of(self, offset: int) -> int:
        """The number of the line that holds byte `offset`."""
        return self.line + self.data.count(b"\n", 0, offset)


@dataclass(frozen=True, slots=True)
class TooLong:
    """An object that starts at `line` and did not end within OBJECT_LIMIT; it was passed over.  `start`: its first
    bytes."""

    line: int
    start: bytes = field(default=b"", compare=False)


def pieces(stream: Iterable[bytes], limit: int = OBJECT_LIMIT) -> Iterator[Piece | TooLong]:
    """Cuts `stream`, in whatever portions it comes, at empty lines.  Holds at most `limit` and one portion."""
    rest, line, skipping = b"", 1, False
    for portion in stream:
        if not skipping and b"\r" not in portion and rest[-1:] != b"\r":
            cut = portion.rfind(b"\n\n") + 2
            if cut > 1:  # nearly always: one copy, and nothing is searched twice
                yield (piece := Piece(b"".join((rest, memoryview(portion)[:cut])), line))
                line += breaks(piece.data)
                rest = portion[cut:]
                if len(rest) <= limit:
                    continue
                portion = b""
        data, held = rest + portion, b""
        if b"\r" in data:
            held = b"\r" if data.endswith(b"\r") else b""
            data = data[: len(data) - len(held)].replace(b"\r\n", b"\n")
        if skipping:
            end = data.find(b"\n\n")
            if end < 0:
                line += data.count(b"\n", 0, len(data) - 1)
                rest = data[-1:] + held
                continue
            line += data.count(b"\n", 0, end + 2)
            data, skipping = data[end + 2 :], False
        cut = data.rfind(b"\n\n") + 2
        if cut > 1:
            yield Piece(data[:cut], line)
            line += breaks(data[:cut])
            rest = data[cut:] + held
        else:
            rest = data + held
        if len(rest) > limit:
            yield TooLong(line, rest[:START])
            line += rest.count(b"\n", 0, len(rest) - 1)
            rest, skipping = rest[-1:], True
    if rest.strip() and not skipping:
        yield Piece(rest.replace(b"\r\n", b"\n").rstrip(b"\r\n") + b"\n\n", line)


def breaks(data: bytes) -> int:
    """How many lines end in `data`; four times as fast as bytes.count() where they are short."""
    return int(np.count_nonzero(np.frombuffer(data, np.uint8) == 10))


def runs(data: bytes) -> Iterator[Span]:
    """Where each object of `data` begins and ends, without the line break after it."""
    for match in _RUN.finditer(data):
        yield match.span()


def wanting(*names: bytes) -> re.Pattern[bytes]:
    """Makes `attributes` read only the first attribute and those with these names: an aut-num may have thousands."""
    return re.compile(rb"\n((?i:" + rb"|".join(names) + _VALUE.replace(b")", b"))", 1))


def attributes(text: bytes, wanted: re.Pattern[bytes] = _ATTRIBUTE) -> list[Attribute]:
    """The attributes of one object in order: (name in lower case, value without comments, on one line).

    Lines that are neither attribute nor continuation are left out: what makes an object useful is judged by the
    attributes it needs (objects.py).  Empty where the object does not begin with an attribute.
    """
    text = b"\n" + without_comment_lines(text)
    first = _ATTRIBUTE.match(text)
    if first is None:
        return []
    rest = wanted.finditer(text, first.end())
    return [(first[1].lower(), flatten(first[2])), *((found[1].lower(), flatten(found[2])) for found in rest)]


def class_of(text: bytes) -> bytes:
    """The class of one object, in lower case; b"" where it does not begin with an attribute."""
    match = _FIRST.match(text)
    return match[1].lower() if match else b""


def without_comment_lines(text: bytes) -> bytes:
    """`text` without the lines that start with "%" or "#", and without line breaks at its beginning."""
    if text[:1] in (b"%", b"#") or b"\n%" in text or b"\n#" in text:
        text = _COMMENT_LINES.sub(b"", text)
    return text.lstrip(b"\n")


def flatten(value: bytes) -> bytes:
    """A value as it stands in the text, continuation lines and all → one line without comments."""
    if b"\n" not in value:
        return value.partition(b"#")[0].strip()
    parts = [line.partition(b"#")[0] for line in value.split(b"\n")]
    kept = [parts[0].strip(), *(part[1:].strip() if part[:1] == b"+" else part.strip() for part in parts[1:])]
    return b" ".join(part for part in kept if part)
