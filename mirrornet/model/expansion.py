"""A set with all that is in it, however deep, and by which way each came in.  Pure.

Breadth first, so that the way told for a member is a shortest one, and a loop ends where it comes back to a set that
was seen: 3,050 real as-sets are in loops, and some of those reach half of all.  Three caps keep hostile sets from
taking a server's memory; where one is met, the rest stays out and the expansion says so:

    DEPTH     real sets nest five deep now and then, and ten hardly ever
    SETS      the sets visited: twice as many as all registries have together
    MEMBERS   AS numbers and prefixes together; there are about 120,000 AS numbers in use

RFC 2622 lets a set name the reserved words AS-ANY, RS-ANY and PeerAS.  They are no members here, but rubbish: a set of
everybody would open a mirror to everybody in a stranger's word.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from mirrornet.model.sets import PrefixRange, SetFlag, Sets, readable

DEPTH: Final = 32
SETS: Final = 100_000
MEMBERS: Final = 400_000


@dataclass(slots=True)
class Expansion:
    """Everything in the set `name`.

    `asns` and `prefixes` map a member to the number of the set that lists it; `above` maps a set's number to that of
    the set through which it was reached (the first one: -1).  `missing`: names that sets refer to and no source has;
    `empty`: sets in it that have no members; `held`: sets in it that keep their former content, with the members they
    have and those they would have; `odd`: members of these sets that are no members; `cut`: a cap was met, so members
    are lacking.
    """

    name: str
    sets: Sets
    asns: dict[int, int] = field(default_factory=dict)
    prefixes: dict[PrefixRange, int] = field(default_factory=dict)
    above: dict[int, int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    held: dict[str, tuple[int, int]] = field(default_factory=dict)
    odd: int = 0
    cut: bool = False

    def way(self, number: int) -> list[str]:
        """The names from the set itself down to the one with this number, both included."""
        found = [self.sets.name(number)]
        while (number := self.above[number]) >= 0:
            found.append(self.sets.name(number))
        return found[::-1]

    def membership(self, number: int) -> str:
        """'a member of AS-INNER (RADB), which is in AS-OUTER (RADB)': whose member what set `number` lists is."""
        inner, *outer = [self._told(name) for name in reversed(self.way(number))]
        return ", which is in ".join([f"a member of {inner}", *outer])

    def _told(self, name: str) -> str:
        return readable(name) + (", held back at its former content" if name in self.held else "")


def expand(sets: Sets, number: int, *, depth: int = DEPTH, most_sets: int = SETS, most: int = MEMBERS) -> Expansion:
    """All members of the set with this number, at most `depth` sets deep, `most_sets` sets and `most` members."""
    found = Expansion(sets.name(number), sets, above={number: -1})
    lists: list[tuple[int, list[int]]] = []  # AS numbers in the order in which their sets are reached
    known: set[int] = set()
    waiting = deque([(number, 1)])
    while waiting:
        here, level = waiting.popleft()
        asns, inside, prefixes = sets.members(here)
        _note(found, here, not (asns or inside or prefixes))
        if asns:
            lists.append((here, asns))
            known.update(asns)
        for ranged in prefixes:
            found.prefixes.setdefault(ranged, here)
        if len(known) + len(found.prefixes) > most:
            found.cut = True
            break
        for inner in inside:
            if inner in found.above:
                continue
            if level >= depth or len(found.above) >= most_sets:
                found.cut = True
                continue
            found.above[inner] = here
            waiting.append((inner, level + 1))
    for here, asns in reversed(lists):  # the first that lists a member is laid on last
        found.asns.update(dict.fromkeys(asns, here))
    if len(found.asns) + len(found.prefixes) > most:
        found.asns = dict(sorted(found.asns.items())[:most])
        found.prefixes = dict(sorted(found.prefixes.items())[: most - len(found.asns)])
    return found


def _note(found: Expansion, here: int, empty: bool) -> None:
    """What is unusual about the set `here`."""
    flags, odd = found.sets.remarks(here)
    found.odd += odd
    if not flags and not empty:
        return
    name = found.sets.name(here)
    if flags & SetFlag.MISSING:
        found.missing.append(name)
        return
    if empty:
        found.empty.append(name)
    if flags & SetFlag.HELD:
        one = found.sets.get(here)
        found.held[name] = one.kept, one.offered
