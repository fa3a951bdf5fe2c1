"""Whom a mirror serves: what the items of `only`, `prefer`, `never` and the pins of `places:` mean for one asker.

    AS2500                   askers whose origin AS it is
    JP, continent:AS         askers in the country, or in one of the continent's
    RADB::AS-EXAMPLE         askers whose origin AS is a member, however deep (model/expansion.py)
    203.0.113.0/24           askers with an address in it
    RADB::RS-EXAMPLE         askers with an address in one of its prefixes, or whose origin AS is a member
    places: {PREFIX: {mirrors: [tokyo, paris]}}   a pin: askers in the prefix get these first, in this order

The first three kinds go by the *place* of an asker, the others by his *address*.  So policy is asked in two steps:
ward() says what holds for an address, wherever that is, and held() adds what holds for a place.  Two askers with one
place and one ward are the same to all that follows; the planner cuts its ground along wards (planning/ground.py), so
that EDNS Client Subnet scopes stay exact.  Of pins the longest prefix counts, as of places; each for itself.

Range operators (^+, ^-, ^n-m) say which routes of a prefix are meant; an asker has an address, and that is in the
prefix or not.  So for an asker 192.0.2.0/24^+ is 192.0.2.0/24; operators stand in explanations.

A set that the table does not have matches nobody: for `never` and `prefer` that is as if the item were not there, for
`only` the mirror serves nobody by it.  `check` and `serve` say so loudly.

A registry's word decides here whom a mirror serves, and others write it: whoever maintains a set that a set refers to
changes both, in RADB anyone may call a set of his own by a name that is free there, and `mbrs-by-ref: ANY` lets
everybody in.  So sets are named with their source, a set that changed by more than 30 % at one import keeps its former
content until confirmed (radb/sets/changes.py), and no item can do more than order mirrors or withhold one: what a
client reads is verified block by block.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from mirrornet.data.countries import COUNTRIES
from mirrornet.model.address import Address, Family, Prefix, key, parse_prefix
from mirrornet.model.expansion import Expansion, expand
from mirrornet.model.place import Place
from mirrornet.model.sets import QUALIFIED, Sets, is_route_set
from mirrornet.model.zone import Mirror, Pin, Zone

FAMILIES: Final[tuple[Family, Family]] = (4, 6)
Spans = tuple[tuple[int, ...], tuple[int, ...]]  # first and last addresses of disjoint blocks, ascending
PREFERRED: Final = 1 << 14  # the tier of preferred mirrors; more than a zone may have mirrors, so than pins
_NOWHERE: Final[Spans] = ((), ())


@dataclass(frozen=True, slots=True)
class Held:
    """What holds for one asker: these items, and these mirrors are pinned first, in this order."""

    items: frozenset[str] = frozenset()
    pins: tuple[str, ...] = ()

    def any_of(self, items: Iterable[str]) -> bool:
        """Whether one of a mirror's `items` holds."""
        return not self.items.isdisjoint(items)


NOTHING: Final = Held()


@dataclass(frozen=True, slots=True)
class Meaning:
    """What one item stands for.  `known`: not so only for a set that the table lacks."""

    asns: frozenset[int] = frozenset()
    countries: frozenset[str] = frozenset()
    spans4: Spans = _NOWHERE
    spans6: Spans = _NOWHERE
    known: bool = True

    def spans(self, family: Family) -> Spans:
        return self.spans4 if family == 4 else self.spans6

    def covers(self, place: Place) -> bool:
        """Whether an asker at `place` is meant, whatever his address."""
        return place.asn in self.asns or (place.country != "" and place.country in self.countries)

    def holds(self, family: Family, value: int) -> bool:
        """Whether the address `value` (of `width(family)` bits) is meant, wherever it is."""
        firsts, lasts = self.spans(family)
        index = bisect_right(firsts, value) - 1
        return index >= 0 and value <= lasts[index]


def tier(mirror: Mirror, held: Held) -> int:
    """Where `mirror` stands before distance counts: pinned ones in order, then PREFERRED ones, then all others."""
    if mirror.name in held.pins:
        return held.pins.index(mirror.name)
    return PREFERRED if held.any_of(mirror.prefer) else PREFERRED + 1


def spans_of(prefixes: Iterable[Prefix], family: Family) -> Spans:
    """The blocks that the prefixes of `family` among `prefixes` cover, joined where they overlap or touch."""
    firsts: list[int] = []
    lasts: list[int] = []
    for prefix in sorted(p for p in set(prefixes) if p.family == family):
        if lasts and prefix.value <= lasts[-1] + 1:
            lasts[-1] = max(lasts[-1], prefix.last)
        else:
            firsts.append(prefix.value)
            lasts.append(prefix.last)
    return tuple(firsts), tuple(lasts)


@lru_cache(4096)
def plain_meaning(item: str) -> Meaning:
    """The meaning of an item that needs no table: an AS number, a country, a continent or a prefix."""
    kind, _, rest = item.partition(":")
    if kind.lower() == "continent":
        code = rest.strip().upper()
        return Meaning(countries=frozenset(c for c, entry in COUNTRIES.items() if entry.continent == code))
    word = item.strip().upper()
    if word.startswith("AS") and word[2:].isdigit():
        return Meaning(asns=frozenset({int(word[2:])} - {0}))
    if "/" in item or ":" in item or "." in item:
        prefixes = [parse_prefix(item)]
        return Meaning(spans4=spans_of(prefixes, 4), spans6=spans_of(prefixes, 6))
    return Meaning(countries=frozenset({word}))


def is_set(item: str) -> bool:
    """Whether `item` is an as-set or a route-set, by its spelling."""
    return QUALIFIED.fullmatch(item) is not None


def set_meaning(item: str, sets: Sets | None) -> Meaning:
    """The meaning of an as-set or route-set; of nobody where `sets` do not have it."""
    found = expansion_of(item, sets)
    if found is None:
        return Meaning(known=False)
    asns = frozenset(found.asns)
    if not is_route_set(item):
        return Meaning(asns)
    prefixes = [ranged.prefix for ranged in found.prefixes]
    return Meaning(asns, spans4=spans_of(prefixes, 4), spans6=spans_of(prefixes, 6))


def expansion_of(item: str, sets: Sets | None) -> Expansion | None:
    """All that is in an as-set or route-set, with the ways by which it came in; None where `sets` do not have it.

    It takes ten times the room of what it means, so it is made for who explains and not kept.
    """
    number = None if sets is None else sets.find(item)
    return None if sets is None or number is None else expand(sets, number)


def items_of(mirrors: Iterable[Mirror]) -> list[str]:
    """All items of `mirrors`, each once, in order of appearance."""
    return list(dict.fromkeys(item for m in mirrors for item in (*m.only, *m.prefer, *m.never)))


class Policy:
    """What the items of `mirrors` mean, with the sets of a table, and the `pins` of their zone."""

    def __init__(self, mirrors: Iterable[Mirror], pins: Sequence[Pin] = (), sets: Sets | None = None) -> None:
        items = items_of(mirrors)
        self._sets = sets
        self.meanings = {item: set_meaning(item, sets) if is_set(item) else plain_meaning(item) for item in items}
        self.pins = tuple(pins)
        self._by_address = [item for item in items if self.meanings[item].spans4[0] or self.meanings[item].spans6[0]]

    @property
    def by_address(self) -> list[str]:
        """The items that depend on an asker's address."""
        return self._by_address

    @property
    def lacking(self) -> list[str]:
        """The sets that the table does not have."""
        return [item for item, meaning in self.meanings.items() if not meaning.known]

    def expansion(self, item: str) -> Expansion | None:
        """All that is in the set `item`; None where the table does not have it."""
        return expansion_of(item, self._sets)

    def pin_of(self, family: Family, value: int) -> Pin | None:
        """The longest pin whose prefix holds the address `value`."""
        found = [pin for pin in self.pins if pin.prefix.family == family and value in pin.prefix]
        return max(found, key=lambda pin: pin.prefix.length, default=None)

    def blocks(self, family: Family) -> Iterator[tuple[int, int]]:
        """First and last address of every block at whose edges a ward may end."""
        for item in self._by_address:
            yield from zip(*self.meanings[item].spans(family), strict=True)
        yield from ((pin.prefix.value, pin.prefix.last) for pin in self.pins if pin.prefix.family == family)

    def ward(self, family: Family, value: int) -> Held:
        """What holds for the address `value` (of `width(family)` bits), wherever it is."""
        items = frozenset(item for item in self._by_address if self.meanings[item].holds(family, value))
        pin = self.pin_of(family, value)
        return Held(items, pin.mirrors if pin else ()) if items or pin else NOTHING

    def held(self, place: Place, ward: Held = NOTHING) -> Held:
        """What holds for an asker at `place` in `ward`."""
        items = ward.items.union(item for item, meaning in self.meanings.items() if meaning.covers(place))
        return Held(items, ward.pins) if items != ward.items else ward

    def of(self, place: Place, address: Address | None) -> Held:
        """What holds for an asker (or a mirror) at `place` with `address`, if he has one."""
        return self.held(place, NOTHING if address is None else self.ward(*key(address)))


def policy_of(zone: Zone, sets: Sets | None) -> Policy:
    """The policy of `zone` with the sets of its table."""
    return Policy(zone.mirrors, zone.pins, sets)
