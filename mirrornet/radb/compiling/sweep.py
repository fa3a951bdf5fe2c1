"""From overlapping prefixes and blocks to ranges that cover all addresses once, by sweeps over sorted arrays.

Everything is a numpy array of uint64, for both families; `top` is the greatest address (2**32 - 1 or 2**64 - 1).
A Layer is a division of all addresses: cell i begins at starts[i], ends where the next one starts, and its winner is an
index into whatever was divided (-1: nothing covers it).

Prefixes of one length never overlap, so the longest match is painted a length at a time, shortest first: each pass is
three numpy calls, at most 32 or 64 passes whatever the table's size, and prefixes with no other within them are painted
all at once (a million prefixes: a tenth of a second).
Blocks (inetnum, delegated statistics) may overlap anyhow.  The smallest that covers an address wins, so an assignment
beats the allocation it was cut from.  Where none overlap, which is the rule, two numpy calls do; else a heap of the
blocks open at the moment, O(n log n).

Rejected: iterating the trie through ipaddress (5.6 s for 968,428 prefixes), a stack in plain Python (0.9 s).
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mirrornet.radb.records import U8, U64

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

_ONE = np.uint64(1)


@dataclass(frozen=True, slots=True)
class Layer:
    """A division of all addresses; `starts` rises strictly from 0."""

    starts: U64
    winners: I32  # four bytes a cell: two thousand million prefixes will do

    def at(self, addresses: U64) -> I32:
        """The winner at each of `addresses`."""
        return self.winners[np.searchsorted(self.starts, addresses, side="right") - 1]


def last_addresses(values: U64, lengths: U8, width: int) -> U64:
    """The greatest address of each prefix; lengths from 1 to `width`."""
    return values | ((_ONE << (np.uint64(width) - lengths.astype(np.uint64))) - _ONE)


def masks(values: U64, lengths: NDArray[np.integer], width: int) -> U64:
    """`values` with all but their leading bits cleared; length 0 gives 0."""
    # A shift by all 64 bits is undefined, so length 0 is shifted by 63 and once more.
    shift = np.uint64(width) - lengths.astype(np.uint64)
    spare = (shift == 64).astype(np.uint64)
    first = shift - spare
    result: U64 = values >> first >> spare << spare << first
    return result


def distinct(numbers: U64) -> U64:
    """`numbers` in order, each once.  Five times as fast as numpy.unique, which hashes first and sorts then."""
    return _distinct(numbers.copy())


def _distinct(numbers: U64) -> U64:
    """The same, in the room of `numbers`."""
    numbers.sort()
    keep = np.ones(len(numbers), bool)
    np.not_equal(numbers[1:], numbers[:-1], out=keep[1:])
    return numbers[keep]


def numbered(numbers: U64) -> tuple[U64, I32]:
    """`numbers` in order, each once, and the place of each of them there."""
    order = np.argsort(numbers)
    ordered = numbers[order]
    new = np.ones(len(ordered), bool)
    new[1:] = ordered[1:] != ordered[:-1]
    places = np.empty(len(ordered), np.int32)
    places[order] = np.cumsum(new, dtype=np.int32) - np.int32(1)
    return ordered[new], places


def _boundaries(firsts: U64, lasts: U64, top: int) -> U64:
    """Where any of them begins or has just ended, and 0."""
    count = len(firsts)
    found = np.zeros(2 * count + 1, np.uint64)
    found[:count] = firsts
    np.add(lasts, _ONE, out=found[count : 2 * count])
    found = _distinct(found)
    return found[: np.searchsorted(found, np.uint64(top), side="right")]  # past the top is no address (or 0 again)


def longest_match(values: U64, lengths: U8, width: int) -> Layer:
    """Divides by longest match.  The prefixes are masked, of length 1 to `width`, and no two are equal."""
    top = (1 << width) - 1
    lasts = last_addresses(values, lengths, width)
    starts = _boundaries(values, lasts, top)
    begin = np.searchsorted(starts, values).astype(np.int32)
    end = np.searchsorted(starts, lasts + _ONE).astype(np.int32)
    end[lasts == np.uint64(top)] = len(starts)
    winners = np.full(len(starts), -1, np.int32)
    wide = np.flatnonzero(end - begin > 1)
    for length in np.unique(lengths[wide]):
        chosen = wide[lengths[wide] == length].astype(np.int32)
        first, count = begin[chosen], end[chosen] - begin[chosen]
        before = np.cumsum(count) - count
        cells = np.arange(int(count.sum())) + np.repeat(first - before, count)
        winners[cells] = np.repeat(chosen, count)
    # What fills one cell has no prefix within it, so it wins there whatever its length.
    narrow = np.flatnonzero(end - begin == 1)
    winners[begin[narrow]] = narrow
    return Layer(starts, winners)


def smallest_match(firsts: U64, lasts: U64, ranks: NDArray[np.unsignedinteger[Any]], width: int) -> Layer:
    """Divides by the smallest covering block; among equal ones the lowest rank wins, then the first in order."""
    top = (1 << width) - 1
    order = np.lexsort((ranks, lasts - firsts, firsts))
    first, last = firsts[order], lasts[order]
    if len(first) and bool(np.any(last[:-1] >= first[1:])):
        return _heap_sweep(firsts, lasts, ranks, top)
    starts = _boundaries(first, last, top)
    winners = np.full(len(starts), -1, np.int32)
    winners[np.searchsorted(starts, first)] = order
    return Layer(starts, winners)


def _heap_sweep(firsts: U64, lasts: U64, ranks: NDArray[np.unsignedinteger[Any]], top: int) -> Layer:
    order = np.argsort(firsts, kind="stable").tolist()
    first, last, rank = firsts.tolist(), lasts.tolist(), ranks.tolist()
    boundaries = _boundaries(firsts, lasts, top)
    winners: list[int] = []
    open_blocks: list[tuple[int, int, int, int]] = []  # size, rank, index, last
    following = 0
    for boundary in boundaries.tolist():
        while following < len(order) and first[order[following]] == boundary:
            index = order[following]
            heapq.heappush(open_blocks, (last[index] - first[index], rank[index], index, last[index]))
            following += 1
        while open_blocks and open_blocks[0][3] < boundary:
            heapq.heappop(open_blocks)
        winners.append(open_blocks[0][2] if open_blocks else -1)
    return Layer(boundaries, np.array(winners, np.int32))


def preferred(layers: list[Layer]) -> Layer:
    """One division out of several: at each address the winner of the first layer that has one there."""
    if len(layers) == 1:
        return layers[0]
    starts = common_starts(layers)
    winners = layers[0].at(starts)
    for layer in layers[1:]:
        winners = np.where(winners < 0, layer.at(starts), winners)
    return Layer(starts, winners)


def common_starts(layers: list[Layer]) -> U64:
    """Every boundary of every layer, in order, once."""
    return _distinct(np.concatenate([layer.starts for layer in layers]))


def block_lengths(firsts: U64, lasts: U64, width: int, none: int) -> U8:
    """The prefix length of each block that is a prefix; `none` for the others."""
    size_less_one = lasts - firsts
    whole = (size_less_one & (size_less_one + _ONE)) == 0  # one less than a power of two
    aligned = (firsts & size_less_one) == 0
    ones = np.bitwise_count(size_less_one).astype(np.int64)
    return np.where(whole & aligned, width - ones, none).astype(np.uint8)


def decompose(first: int, last: int, width: int) -> list[tuple[int, int]]:
    """The fewest prefixes (value, length) that cover exactly the addresses from `first` to `last`."""
    found: list[tuple[int, int]] = []
    while first <= last:
        bits = min((first & -first).bit_length() - 1 if first else width, (last - first + 1).bit_length() - 1)
        found.append((first, width - bits))
        first += 1 << bits
    return found
