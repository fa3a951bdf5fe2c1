"""From ranges with answers to ranges with answers and exact scopes (RFC 7871 section 7.2.1).

The scope of an answer is a prefix around the client within which a resolver may give the same answer to everybody.  It
must not reach an address that gets another answer, and should not be longer than that asks for, or the resolver asks
again for nothing.  Neighbouring ranges with one answer are joined; each joined range is cut into its largest aligned
blocks, which are prefixes; and the scope of every address in such a block is the block's length.  That is exact: an
aligned block twice as large would leave the joined range.

Longest match of the map's prefixes is no substitute: where 20.0.0.0/8 has one answer and 20.1.0.0/16 another, a scope
of /8 for 20.2.0.1 covers addresses that are answered otherwise.

Two rules go beyond a family.  A scope of 0 tells a resolver that the answer is for everybody, of both families
(RFC 7871 section 7.3.1), so it is given only where all addresses of both have one answer, and 1 is the least elsewhere.
And four IPv6 prefixes are answered by the IPv4 address they carry (planfile.py), so no neighbour's scope covers them.

Rejected: cutting at look-up from the neighbours' starts (half the ranges, but arithmetic on 64-bit numbers for every
query, where a byte beside the answer costs nothing).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from mirrornet.dns.ground import Flags, Ground, Keys, Layer, Numbers
from mirrornet.dns.planfile import Partition, Ranges
from mirrornet.model.address import Family, Prefix, width

# ::/64 (v4-mapped), 64:ff9b::/64 (NAT64), 2001::/32 (Teredo), 2002::/16 (6to4), in the upper 64 bits
CARRIERS: Final = (
    Prefix(6, 0, 64),
    Prefix(6, 0x0064FF9B << 32, 64),
    Prefix(6, 0x20010000 << 32, 32),
    Prefix(6, 0x2002 << 48, 16),
)
_ONE: Final = np.uint64(1)


def partition(ground: Ground, answers: Numbers) -> Partition:
    """The map to answers where place i of `ground` gets answers[i]."""
    per_range = {family: answers[layer.places] for family, layer in ground.layers.items()}
    first = per_range[4][0]
    if all((column == first).all() for column in per_range.values()):
        return Partition(_everybody(4, int(first)), _everybody(6, int(first)))
    layer6, borders = _bordered(ground.layers[6])
    ranges4 = _aligned(4, ground.layers[4].starts, per_range[4], None)
    ranges6 = _aligned(6, layer6.starts, answers[layer6.places], borders)
    return Partition(ranges4, ranges6)


def _everybody(family: Family, answer: int) -> Ranges:
    starts = np.zeros(1, np.uint32 if family == 4 else np.uint64)
    return _columns(starts, np.array([answer], np.uint32), np.zeros(1, np.uint8))


def _columns(starts: object, answers: object, scopes: object) -> Ranges:
    return Ranges(starts, answers, scopes)  # type: ignore[arg-type]  # numpy arrays are sequences of numbers


def _bordered(layer: Layer) -> tuple[Layer, Flags]:
    """`layer` cut at the borders of the carriers, and which starts are such borders."""
    cuts = {c.value for c in CARRIERS} | {c.last + 1 for c in CARRIERS}
    border = np.array(sorted(cuts), np.uint64)
    starts = np.union1d(layer.starts, border)
    places = layer.places[np.searchsorted(layer.starts, starts, side="right") - 1]
    for carrier in CARRIERS:  # looked up as IPv4, so what the map has inside is never used, save at its first /64
        first = np.searchsorted(starts, np.uint64(carrier.value))
        after = np.searchsorted(starts, np.uint64(carrier.last), side="right")
        places[first:after] = places[first]
    return Layer(starts, places), np.isin(starts, border)


def _aligned(family: Family, starts: Keys, answers: Numbers, borders: Flags | None) -> Ranges:
    """Joins neighbours with one answer (not across `borders`) and cuts what results into aligned blocks."""
    keep = np.ones(len(starts), np.bool_)
    keep[1:] = answers[1:] != answers[:-1]
    if borders is not None:
        keep |= borders
    starts, answers = starts[keep], answers[keep]
    bits = width(family)
    last = np.empty_like(starts)
    last[:-1] = starts[1:] - _ONE
    last[-1] = np.uint64((1 << bits) - 1)
    pieces: list[tuple[Keys, Numbers, Numbers]] = []
    while len(starts):
        size = np.minimum(_trailing_zeros(starts, bits), _floor_log2_plus_one(last - starts, bits))
        pieces.append((starts, answers, bits - size))
        reach = starts + _all_ones(size)
        rest = reach != last
        starts, answers, last = reach[rest] + _ONE, answers[rest], last[rest]
    all_starts = np.concatenate([piece[0] for piece in pieces])
    order = np.argsort(all_starts, kind="stable")
    scopes = np.maximum(np.concatenate([piece[2] for piece in pieces]), 1)[order]
    return _columns(
        all_starts[order].astype(np.uint32 if family == 4 else np.uint64),
        np.concatenate([piece[1] for piece in pieces])[order].astype(np.uint32),
        scopes.astype(np.uint8),
    )


def _all_ones(size: Numbers) -> Keys:
    """2**size - 1, for 0 to 64."""
    return np.where(size > 0, ~np.uint64(0) >> (np.uint64(64) - np.maximum(size, 1).astype(np.uint64)), np.uint64(0))


def _bit_length(values: Keys) -> Numbers:
    """int.bit_length() of each; in halves, for a double holds 53 bits."""
    high = np.frexp((values >> np.uint64(32)).astype(np.float64))[1]
    low = np.frexp((values & np.uint64(0xFFFFFFFF)).astype(np.float64))[1]
    return np.where(high > 0, high + 32, low).astype(np.int64)


def _trailing_zeros(values: Keys, bits: int) -> Numbers:
    """How many low bits are zero; `bits` for 0."""
    lowest = values & (~values + _ONE)
    return np.where(values == 0, bits, _bit_length(lowest) - 1)


def _floor_log2_plus_one(values: Keys, bits: int) -> Numbers:
    """floor(log2(v + 1)), where v + 1 may be 2**64."""
    return np.where(values == ~np.uint64(0), bits, _bit_length(values + _ONE) - 1)
