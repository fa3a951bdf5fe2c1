"""Longest match by pytricia, one trie per family: the plain way to look an address up, and what the ranges are held to.

A finished table says for each range which prefix decided it.  Those (prefix, place) pairs go into a trie, and the
longest match over them gives the table back, but for ranges where one prefix has several places (a route whose parts
are delegated to two countries) or where no prefix decided (768 delegated addresses): these are cut into the fewest
prefixes that cover them and entered as well.  Which ranges need it is found by a sweep over the pairs, so that trie and
table agree at every address of every table; that costs nothing next to the insertions.

pytricia believes what it is given: "10.0.0.0/abc" becomes the default route, host bits stay in keys, families mix, bad
integers raise SystemError or worse.  So this is its only door: packed addresses that were masked before, lengths from
arrays that were checked, integers as values, sorted before insertion (four times as fast), never changed afterwards.
It takes about 150 bytes a prefix and cannot be shared between processes: import, `explain`, the reference engine and
tests use it, the answering path reads the ranges.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pytricia import PyTricia

from mirrornet.model.address import Address, Family, Prefix, key, mask, width
from mirrornet.model.table import NONE, Mark, Match, Ranges, WorldTable
from mirrornet.radb.compiling.sweep import I64, decompose, distinct, longest_match, masks
from mirrornet.radb.records import U64

_NOTHING = NONE << 16 | NONE << 8  # place 0, no prefix, no source, no marks


class Tries:
    """Both families' tries.  `match` says of every address what the table says that they were made of."""

    def __init__(self, table: WorldTable) -> None:
        self._table = table
        self._tries = {4: _trie(4, table.ranges[4]), 6: _trie(6, table.ranges[6])}

    @classmethod
    def of_table(cls, table: WorldTable) -> Tries:
        """The tries of a finished table: a second or two, and some 250 MB, for the whole Internet."""
        return cls(table)

    def match(self, address: Address) -> Match:
        """Place, matched prefix and source of `address` (folded, see model/address.py)."""
        family, value = key(address)
        packed = value.to_bytes(4) if family == 4 else (value << 64).to_bytes(16)
        found: int = self._tries[family].get(packed, _NOTHING)
        length, source = found >> 16 & 0xFF, found >> 8 & 0xFF
        return Match(
            place=self._table.place(found >> 24),
            prefix=None if length == NONE else Prefix(family, mask(family, value, length), length),
            source="" if source == NONE else self._table.sources[source],
            marks=Mark(found & 0xFF),
        )


def _trie(family: Family, ranges: Ranges) -> PyTricia:
    bits = width(family)
    starts = np.asarray(ranges.starts).astype(np.uint64)
    lengths = np.asarray(ranges.lengths).astype(np.uint8)
    codes = (
        np.asarray(ranges.places).astype(np.int64) << 24
        | lengths.astype(np.int64) << 16
        | np.asarray(ranges.sources).astype(np.int64) << 8
        | np.asarray(ranges.marks).astype(np.int64)
    )
    values, prefix_lengths, prefix_codes = _pairs(starts, lengths, codes, bits)
    pieces = [
        (value, length, int(codes[index]))
        for index in _unexplained(starts, codes, values, prefix_lengths, prefix_codes, bits)
        for value, length in decompose(int(starts[index]), _last(starts, index, bits), bits)
    ]
    if pieces:
        more = np.array(pieces, np.uint64).reshape(-1, 3)
        values = np.concatenate([values, more[:, 0]])
        prefix_lengths = np.concatenate([prefix_lengths, more[:, 1].astype(np.uint8)])
        prefix_codes = np.concatenate([prefix_codes, more[:, 2].astype(np.int64)])
        order = np.lexsort((prefix_lengths, values))  # stable: of two equal prefixes the later, a piece, stays
        values, prefix_lengths, prefix_codes = values[order], prefix_lengths[order], prefix_codes[order]
    trie = PyTricia(32 if family == 4 else 128)
    size, shift = (4, 0) if family == 4 else (16, 64)
    insert = trie.insert
    for value, length, code in zip(values.tolist(), prefix_lengths.tolist(), prefix_codes.tolist(), strict=True):
        insert((value << shift).to_bytes(size), length, code)
    return trie


def _last(starts: U64, index: int, bits: int) -> int:
    return int(starts[index + 1]) - 1 if index + 1 < len(starts) else (1 << bits) - 1


def _pairs(starts: U64, lengths: NDArray[np.uint8], codes: I64, bits: int) -> tuple[U64, NDArray[np.uint8], I64]:
    """Each prefix that decided a range, once, with what its first range says; sorted by value and length."""
    decided = np.flatnonzero((lengths != NONE) & (lengths > 0))
    lengths, codes = lengths[decided], codes[decided]
    values = masks(starts[decided], lengths, bits)
    order = np.lexsort((lengths, values))
    values, lengths, codes = values[order], lengths[order], codes[order]
    first = np.ones(len(values), bool)
    first[1:] = (values[1:] != values[:-1]) | (lengths[1:] != lengths[:-1])
    return values[first], lengths[first], codes[first]


def _unexplained(
    starts: U64, codes: I64, values: U64, lengths: NDArray[np.uint8], prefix_codes: I64, bits: int
) -> list[int]:
    """The ranges, some address of which the pairs alone would place differently."""
    layer = longest_match(values, lengths, bits)
    boundaries = distinct(np.concatenate([layer.starts, starts]))
    by_pairs = np.append(prefix_codes, _NOTHING)[layer.at(boundaries)]
    index = np.searchsorted(starts, boundaries, side="right") - 1
    wrong: list[int] = np.unique(index[by_pairs != codes[index]]).tolist()
    return wrong
