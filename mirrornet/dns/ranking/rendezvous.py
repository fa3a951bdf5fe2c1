"""Weighted rendezvous hashing: which of several equally good mirrors a place is sent to.

Each (place, mirror) pair has a fixed pseudo-random number u in (0, 1); the mirror with the least -ln(u)/weight wins.
Mirrors win in proportion to their weights, one place always gets the same ones, and a mirror that leaves or returns
moves only the places that were or will be its own (Thaler and Ravishankar 1998; the logarithm makes the weights
exact).  The hash is of the place and never of the prefix: neighbouring prefixes of one place stay one range, so that
ECS scopes stay wide.  A place is hashed by what it is (AS, country, coordinates), never by its number in a table, so
that a new world.table does not deal everybody anew.

Rejected: choice per query (a resolver's cache would freeze it anyway), a ring of points (uneven, and slower to plan).
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from mirrornet.model.place import Place

_MASK: Final = (1 << 64) - 1
GAMMA: Final = 0x9E3779B97F4A7C15  # splitmix64's increment (Steele, Lea, Flood 2014), and its two multipliers
FIRST: Final = 0xBF58476D1CE4E5B9
SECOND: Final = 0x94D049BB133111EB
LOTS: Final = 0xD1B54A32D192ED03  # makes a lot independent of the draw
LOT_BITS: Final = 32


def mix(value: int) -> int:
    """splitmix64's finaliser: a bijection of 64 bits that looks random."""
    value = (value + GAMMA) & _MASK
    value = ((value ^ (value >> 30)) * FIRST) & _MASK
    value = ((value ^ (value >> 27)) * SECOND) & _MASK
    return value ^ (value >> 31)


def country_number(country: str) -> int:
    """Two capitals as one number of 16 bits; 0 for no country."""
    return int.from_bytes(country.encode("ascii").ljust(2, b"\0")[:2], "big")


def place_key(place: Place) -> int:
    """64 bits that name `place`: its AS, country and coordinates (as world.table keeps them, in single precision)."""
    latitude, longitude = struct.unpack("<II", struct.pack("<ff", place.latitude or 0.0, place.longitude or 0.0))
    return mix(place.asn << 32 | country_number(place.country)) ^ mix(latitude << 32 | longitude)


@lru_cache(maxsize=4096)
def name_key(name: str) -> int:
    """64 bits that name a mirror."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def score(key1: int, key2: int, weight: int) -> float:
    """The number by which the pair competes: the least wins.  A weight of 0 or less never wins against another."""
    if weight <= 0:
        return math.inf
    fraction = ((mix(key1 ^ key2) >> 11) + 0.5) * 2.0**-53
    return -math.log(fraction) / weight


def lot(key1: int, key2: int) -> int:
    """The lot of a pair, LOT_BITS bits: when the place leaves the mirror that sheds some (closing.py).

    Independent of score(), or those would go first, or last, that the mirror won most narrowly.
    """
    return mix(key1 ^ key2 ^ LOTS) >> (64 - LOT_BITS)


def arranged(names: Iterable[str], weights: Sequence[int]) -> list[int]:
    """The order, as indices, in which the mirrors `names` of one answer stand in it.

    It depends on the set alone: a record set has no order of its own (RFC 2181 section 5), and places with the same
    mirrors must share one answer.  It is weighted all the same, for the client that always takes the first.
    """
    keys = [name_key(name) for name in names]
    whole = 0
    for key in keys:
        whole ^= mix(key)
    return sorted(range(len(keys)), key=lambda i: (score(whole, keys[i], weights[i]), keys[i]))
