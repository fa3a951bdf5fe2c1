"""Policy for all places at once: which kinds of askers there are, when kinds differ in what policy says of them.

An as-set may hold 50,000 AS numbers, and all of them are one kind if no other item parts them.  So a kind is the set
of items that hold (Held), and not an AS or a country: the plain ranking is asked once for each kind that occurs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mirrornet.dns.planning.ground import Columns, Keys, Numbers
from mirrornet.dns.planning.rows import distinct
from mirrornet.dns.ranking import rendezvous
from mirrornet.dns.ranking.policy import Held, Policy

_WORD = 64  # items whose bits are kept in one number


def kinds_of(columns: Columns, policy: Policy, wards: Sequence[Held]) -> tuple[list[Held], Numbers]:
    """(the kinds, the number of each place's kind) of `columns`, whose wards are numbers of `wards`."""
    meanings = policy.meanings
    named = [np.fromiter(meaning.asns, np.int64, len(meaning.asns)) for meaning in meanings.values()]
    everyone = np.unique(np.concatenate([np.empty(0, np.int64), *named]))
    asns = np.where(np.isin(columns.asns, everyone), columns.asns, 0)
    by_country = any(meaning.countries for meaning in meanings.values())
    countries = columns.countries if by_country else np.zeros_like(columns.countries)
    first, rows = distinct([asns, countries, columns.wards])
    asns, countries, ward_of = asns[first], countries[first], columns.wards[first]

    words: list[Keys] = []
    for number, (item, meaning) in enumerate(meanings.items()):
        if number % _WORD == 0:
            words.append(np.zeros(len(first), np.uint64))
        codes = np.array([rendezvous.country_number(code) for code in meaning.countries], np.int64)
        here = np.array([item in held.items for held in wards], np.bool_)
        holds = np.isin(asns, named[number]) | np.isin(countries, codes) | here[ward_of]
        words[-1] |= holds.astype(np.uint64) << np.uint64(number % _WORD)
    pins: dict[tuple[str, ...], int] = {}
    pin_of: npt.NDArray[np.int64] = np.array([pins.setdefault(held.pins, len(pins)) for held in wards], np.int64)
    one_of_each, kind = distinct([pin_of[ward_of], *words])

    items = list(meanings)
    kinds = []
    for place in one_of_each.tolist():
        bits = [int(word[place]) for word in words]
        held = frozenset(item for n, item in enumerate(items) if bits[n // _WORD] >> n % _WORD & 1)
        kinds.append(Held(held, wards[ward_of[place]].pins))
    return kinds, kind[rows]
