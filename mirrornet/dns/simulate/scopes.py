"""How wide the scopes of an answer are (RFC 7871): what a resolver that sends ECS must keep, and ask again.

Each address's scope is the largest aligned block around it inside its range (planfile.Ranges.scope()), so a range's
scopes are those of the aligned blocks it falls into.  They are counted, never kept: a map of the world falls into
millions of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mirrornet.dns.planning.ground import Floats, Keys, Numbers
from mirrornet.dns.planning.partition import bit_length
from mirrornet.dns.planning.planfile import Ranges
from mirrornet.dns.simulate.space import Pieces, Space
from mirrornet.model.address import Family, width


@dataclass(frozen=True, slots=True)
class Scope:
    """Of one length: how many blocks have it (those with addresses that count), and which share of addresses.

    A block of less than 1e-15 of all is not seen, for weights are doubles.
    """

    length: int
    blocks: int
    share: float


def world_scopes(family: Family, ranges: Ranges | None, weigh: Space) -> list[Scope]:
    """The scopes of all addresses that count, by length."""
    if ranges is None or len(ranges.starts) == 1:
        return [Scope(0, 1, 1.0)]
    bits = width(family)
    first = np.asarray(ranges.starts).astype(np.uint64)
    last = np.empty_like(first)
    last[:-1] = first[1:] - np.uint64(1)
    last[-1] = np.uint64((1 << bits) - 1)
    blocks, weights = np.zeros(bits + 1, np.int64), np.zeros(bits + 1)
    below = weigh.until(first[1:] - np.uint64(1))
    below = np.concatenate([np.zeros(1), below])
    while len(first):
        levels = np.minimum(_trailing_zeros(first, bits), bit_length(last - first + np.uint64(1)) - 1)
        ends = first + ((np.uint64(1) << levels.astype(np.uint64)) - np.uint64(1))
        until = weigh.until(ends)
        weight = until - below
        lengths = bits - levels
        blocks += np.bincount(lengths[weight > 0], minlength=bits + 1)
        weights += np.bincount(lengths, weights=weight, minlength=bits + 1)
        more = ends < last
        first, last, below = ends[more] + np.uint64(1), last[more], until[more]
    return _listed(blocks, weights)


def client_scopes(family: Family, ranges: Ranges | None, clients: Pieces) -> list[Scope]:
    """The scopes that these clients get, by length; a block that several of them share counts once."""
    if not len(clients.values):
        return []
    if ranges is None:
        return [Scope(0, 1, 1.0)]
    bits = width(family)
    found: dict[int, set[int]] = {}
    counts = [0] * (bits + 1)
    for value in clients.values.tolist():
        length = ranges.find(value)[1]
        found.setdefault(length, set()).add(value >> (bits - length))
        counts[length] += 1
    blocks = np.array([len(found.get(length, ())) for length in range(bits + 1)])
    return _listed(blocks, np.array(counts, np.float64))


def _listed(blocks: Numbers, weights: Floats) -> list[Scope]:
    total = float(weights.sum()) or 1.0
    return [
        Scope(length, int(blocks[length]), float(weights[length]) / total)
        for length in range(len(blocks))
        if blocks[length]
    ]


def _trailing_zeros(values: Keys, bits: int) -> Numbers:
    lowest = values & (~values + np.uint64(1))
    return np.where(values == 0, bits, bit_length(lowest) - 1)
