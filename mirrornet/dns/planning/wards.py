"""Policy for all addresses at once: where along the address line an item or a pin begins or ends to hold.

Between two neighbouring borders of the zone's prefix items, route-sets and pins all addresses are in one *ward*
(ranking/policy.py).  Wards cut the planner's ranges as the operator's places do, so that scopes stay exact.  The
borders are swept once with the items in force as the bits of one number, so that a route-set of 100,000 prefixes costs
a fraction of a second and any number of items no memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mirrornet.dns.ranking.policy import FAMILIES, NOTHING, Held, Policy
from mirrornet.model.address import Family, width

Numbers = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]
_FREE: Final = -1  # in no pin


@dataclass(frozen=True, slots=True)
class Borders:
    """One family: from starts[i] on addresses are in ward wards[i]."""

    starts: Keys
    wards: Numbers


@dataclass(frozen=True, slots=True)
class Wards:
    """All wards of a zone, of which 0 is NOTHING, and where they are."""

    held: tuple[Held, ...]
    borders: dict[Family, Borders]


def wards_of(policy: Policy) -> Wards:
    """The wards of `policy`; only number 0 where nothing depends on addresses."""
    numbers: dict[Held, int] = {NOTHING: 0}
    borders = {family: _borders(policy, family, numbers) for family in FAMILIES}
    return Wards(tuple(numbers), borders)


def _borders(policy: Policy, family: Family, numbers: dict[Held, int]) -> Borders:
    end = 1 << width(family)
    changes: dict[int, int] = {0: 0}
    for bit, item in enumerate(policy.by_address):
        for first, last in zip(*policy.meanings[item].spans(family), strict=True):
            changes[first] = changes.get(first, 0) ^ 1 << bit
            if last + 1 < end:
                changes[last + 1] = changes.get(last + 1, 0) ^ 1 << bit
    pins = sorted((pin for pin in policy.pins if pin.prefix.family == family), key=lambda pin: pin.prefix.length)
    for pin in pins:
        changes.setdefault(pin.prefix.value, 0)
        if pin.prefix.last + 1 < end:
            changes.setdefault(pin.prefix.last + 1, 0)
    order = sorted(changes)
    starts = np.array(order, np.uint64)
    pinned = np.full(len(starts), _FREE, np.int64)
    for index, pin in enumerate(pins):  # the longest prefix is laid on last
        first_at = np.searchsorted(starts, np.uint64(pin.prefix.value))
        after: Any = np.searchsorted(starts, np.uint64(pin.prefix.last), side="right")
        pinned[first_at:after] = index
    known: dict[tuple[int, int], int] = {}
    wards, bits = [], 0
    for start, index in zip(order, pinned.tolist(), strict=True):
        bits ^= changes[start]
        number = known.get((bits, index))
        if number is None:
            items = frozenset(item for bit, item in enumerate(policy.by_address) if bits >> bit & 1)
            held = Held(items, pins[index].mirrors if index != _FREE else ())
            number = known[bits, index] = numbers.setdefault(held, len(numbers))
        wards.append(number)
    return Borders(starts, np.array(wards, np.int64))
