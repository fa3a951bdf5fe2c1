"""From ranges with answers to ranges with answers and exact scopes (RFC 7871 section 7.2.1).

The scope of an answer is a prefix around the client within which a resolver may give the same answer to everybody.  It
must not reach an address that gets another answer, and should not be longer than that asks for, or the resolver asks
again for nothing.  Neighbouring ranges with one answer are joined.  Where a joined range is itself an aligned block, it
is the scope of all its addresses; elsewhere planfile.Ranges.scope() reckons each address's own from the borders.

Longest match of the map's prefixes is no substitute: where 20.0.0.0/8 has one answer and 20.1.0.0/16 another, a scope
of /8 for 20.2.0.1 covers addresses that are answered otherwise.

Two rules go beyond a family.  A scope of 0 tells a resolver that the answer is for everybody, of both families
(RFC 7871 section 7.3.1), so it is given only where all addresses of both have one answer, and 1 is the least elsewhere.
And four IPv6 prefixes are answered by the IPv4 address they carry (planfile.py), so no neighbour's scope covers them.

Rejected: cutting ranges into their aligned blocks, so that each has one scope (simple, but eighteen times as many
ranges where an IPv6 map has gaps).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mirrornet.dns.planning.ground import Flags, Ground, Keys, Layer, Numbers
from mirrornet.dns.planning.planfile import BETWEEN, Partition, Ranges
from mirrornet.dns.ranking.whereabouts import CARRIERS, TUNNELS
from mirrornet.model.address import Family, width

_ONE: Final = np.uint64(1)


def partition(ground: Ground, answers: Numbers) -> Partition:
    """The map to answers where place i of `ground` gets answers[i]."""
    layer4, layer6 = ground.layers[4], ground.layers[6]
    starts6, places6, borders, tunnel = _bordered(layer6)
    answers4, answers6 = answers[layer4.places], answers[places6]
    first = answers4[0]
    if (answers4 == first).all() and (answers6[~tunnel] == first).all():
        return Partition(_everybody(4, int(first)), _everybody(6, int(first)))
    answers6[tunnel] = first  # never looked up
    return Partition(_joined(4, layer4.starts, answers4, None), _joined(6, starts6, answers6, borders))


def _everybody(family: Family, answer: int) -> Ranges:
    return _columns(family, np.zeros(1, np.uint64), np.array([answer]), np.zeros(1, np.int64))


def _columns(family: Family, starts: Keys, answers: Numbers, scopes: Numbers) -> Ranges:
    """As memoryviews, which give plain ints."""
    typed: tuple[Any, ...] = (
        starts.astype(np.uint32 if family == 4 else np.uint64),
        answers.astype(np.uint32),
        scopes.astype(np.uint8),
    )
    return Ranges(*[memoryview(column) for column in typed])


def _bordered(layer: Layer) -> tuple[Keys, Numbers, Flags, Flags]:
    """`layer` cut at the carriers' borders: (starts, places, which starts are borders, which are inside tunnels)."""
    cuts = {c.value for c in CARRIERS} | {c.last + 1 for c in CARRIERS}
    border = np.array(sorted(cuts), np.uint64)
    starts = np.union1d(layer.starts, border)
    places = layer.places[np.searchsorted(layer.starts, starts, side="right") - 1]
    tunnel = np.zeros(len(starts), np.bool_)
    for prefix in TUNNELS:
        tunnel |= (starts >= np.uint64(prefix.value)) & (starts <= np.uint64(prefix.last))
    return starts, places, np.isin(starts, border), tunnel


def _joined(family: Family, starts: Keys, answers: Numbers, borders: Flags | None) -> Ranges:
    """Joins neighbours with one answer (not across `borders`)."""
    bits = width(family)
    keep = np.ones(len(starts), np.bool_)
    keep[1:] = answers[1:] != answers[:-1]
    if borders is not None:
        keep |= borders
    starts, answers = starts[keep], answers[keep]
    if len(starts) == 1:  # this family has one answer and the other has not: the least scope is 1
        starts, answers = np.array([0, 1 << (bits - 1)], np.uint64), np.repeat(answers, 2)
    last = np.empty_like(starts)
    last[:-1] = starts[1:] - _ONE
    last[-1] = np.uint64((1 << bits) - 1)
    inside = last - starts  # all ones below the block's length, if it is a block
    block = ((inside & (inside + _ONE)) == 0) & ((starts & inside) == 0)
    scopes = np.where(block, bits - bit_length(inside), BETWEEN)
    return _columns(family, starts, answers, scopes)


def bit_length(values: Keys) -> Numbers:
    """int.bit_length() of each; in halves, for a double holds 53 bits."""
    high = np.frexp((values >> np.uint64(32)).astype(np.float64))[1]
    low = np.frexp((values & np.uint64(0xFFFFFFFF)).astype(np.float64))[1]
    lengths: npt.NDArray[np.int64] = np.where(high > 0, high + 32, low).astype(np.int64)
    return lengths
