"""The plain rows of delegated statistics at once, by numpy, as columns.py does for routes.

A row is plain when it has a country of two letters that exists, `ipv4`, `ipv6` or `asn`, an address as registries
write it, a count of at most eight digits, and no reserved space.  All others come back as lines for the exact reader
(delegated.py), which alone mends, rejects and passes over; only rows whose status says that nobody holds the space are
passed over here.  What is taken equals what the exact reader says (tests/properties/test_table_rows.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mirrornet.model.address import Family, width
from mirrornet.radb.bogons import FIRSTS, PREFIXES, SHORTEST
from mirrornet.radb.compiling.sweep import last_addresses, masks
from mirrornet.radb.reading.delegated import ASN_LIMIT
from mirrornet.radb.reading.objects import country_code
from mirrornet.radb.reading.prefixes import addresses4, addresses6
from mirrornet.radb.reading.rpsl import Span
from mirrornet.radb.reading.text import I64, PADDING, Mask, Text
from mirrornet.radb.records import U64

U16 = NDArray[np.uint16]

_PIPES: Final = 6  # before the status
_MOST: Final = 1 << 28  # addresses in one row
_FIRSTS = {family: np.array(FIRSTS[family], np.uint64) for family in FIRSTS}
_LASTS = {family: np.array([prefix.last for prefix in PREFIXES[family]], np.uint64) for family in PREFIXES}


@dataclass(frozen=True, slots=True)
class Held:
    """Plain rows of one kind, as columns.  `countries`: numbers in Rows.codes.

    Addresses from `firsts` to `lasts` (of `width(family)` bits), or AS numbers.
    """

    firsts: U64
    lasts: U64
    countries: U16


@dataclass(frozen=True, slots=True)
class Rows:
    """What a piece of statistics says: its plain rows by kind, and (line from 0, span) of all other lines."""

    kinds: dict[str, Held]  # ipv4, ipv6, asn
    codes: tuple[str, ...]
    rest: list[tuple[int, Span]]
    lines: int


def read(data: bytes, bogons: bool = False) -> Rows:
    """What is plain in `data`: whole lines, each with its "\\n".  `bogons`: let reserved space in."""
    text = Text(data + bytes(PADDING), len(data))
    pipes = np.flatnonzero(text.bytes[: len(data)] == ord("|"))
    first = np.searchsorted(pipes, text.starts)
    after = np.concatenate([first[1:], np.full(min(1, len(first)), len(pipes))])
    whole = after - first >= _PIPES
    whole &= text.bytes[text.starts] >= ord("A")  # no comment, no version line
    whole &= text.bytes[np.maximum(text.ends - 1, 0)] != 13
    rest = ~whole
    lines = np.flatnonzero(whole)
    first = first[lines]
    sign = [pipes[first + number] for number in range(_PIPES)]
    more = after[lines] - first > _PIPES
    end = text.ends[lines]
    if more.any():
        end = np.where(more, pipes[np.minimum(first + _PIPES, len(pipes) - 1)], end)
    held = _is(text, sign[5] + 1, end, b"allocated") | _is(text, sign[5] + 1, end, b"assigned")
    codes, countries, named = _countries(text, sign[0] + 1, sign[1])
    counts, counted = text.number(sign[4], sign[4] - sign[3] - 1)
    plain = held & named & counted & (counts > 0)
    ours = np.zeros(len(lines), bool)
    kinds = {}
    for kind in ("ipv4", "ipv6", "asn"):
        mine = _is(text, sign[1] + 1, sign[2], kind.encode())
        rest[lines[mine & held]] = True
        ours |= mine
        rows = np.flatnonzero(mine & plain)
        at, stop = sign[2][rows] + 1, sign[3][rows]
        firsts, lasts, sound = _spans(text, kind, at, stop, counts[rows], bogons)
        kinds[kind] = Held(firsts[sound], lasts[sound], countries[rows[sound]])
        rest[lines[rows[sound]]] = False
    rest[lines[~ours]] = True
    rest &= text.starts != text.ends
    numbers = np.flatnonzero(rest)
    spans = zip(text.starts[numbers].tolist(), text.ends[numbers].tolist(), strict=True)
    return Rows(kinds, codes, list(zip(numbers.tolist(), spans, strict=True)), len(text.ends))


def _is(text: Text, at: I64, end: I64, word: bytes) -> Mask:
    """Which fields are `word`, of at most 16 letters."""
    same: Mask = end - at == len(word)
    for offset in range(0, len(word), 8):
        part = word[offset : offset + 8]
        covered = np.uint64((1 << 8 * len(part)) - 1)
        same &= text.words[at + offset] & covered == np.uint64(int.from_bytes(part, "little"))
    return same


def _countries(text: Text, at: I64, end: I64) -> tuple[tuple[str, ...], U16, Mask]:
    """The codes of all countries, the number of each row's in them, and which rows have one."""
    letters = text.words[at].astype(np.uint16)
    letters[end - at != 2] = 0
    codes = [""]
    numbers = np.zeros(1 << 16, np.uint16)
    for pair in np.flatnonzero(np.bincount(letters, minlength=1 << 16)).tolist():
        code = country_code(int(pair).to_bytes(2, "little")) if pair else ""
        if code:
            numbers[pair] = len(codes)
            codes.append(code)
    found = numbers[letters]
    return tuple(codes), found, found > 0


def _spans(text: Text, kind: str, at: I64, end: I64, counts: U64, bogons: bool) -> tuple[U64, U64, Mask]:
    """First and last of each row, and which rows are plain."""
    if kind == "asn":
        numbers, sound = text.number(end, end - at)
        return numbers, numbers + counts - np.uint64(1), sound & (counts <= ASN_LIMIT)
    family: Family = 4 if kind == "ipv4" else 6
    firsts, sound = (addresses4 if family == 4 else addresses6)(text, at, end)
    if family == 4:
        sound &= counts <= _MOST
        lasts = firsts + counts - np.uint64(1)
        sound &= lasts <= 0xFFFFFFFF
    else:
        sound &= (counts >= SHORTEST[6]) & (counts <= width(family))
        lengths = np.where(sound, counts, width(family)).astype(np.uint8)
        firsts = masks(firsts, lengths, width(family))
        lasts = last_addresses(firsts, lengths, width(family))
    if not bogons:
        index = np.searchsorted(_FIRSTS[family], firsts, side="right") - 1
        sound &= (index < 0) | (lasts > _LASTS[family][index])
    return firsts, lasts, sound
