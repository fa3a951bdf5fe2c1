"""The section "sets" of world.table: as-sets and route-sets (RFC 2622 section 5, RFC 4012), members resolved by name.

Little-endian, every column aligned to 8 bytes, meant to be read in place: to look one set up costs a bisection over
the names, whatever the number of sets.

    header   48 bytes: magic "MNSETS01", u32 sets, u32 AS numbers, u32 references, u32 prefixes, u32 bytes of names,
             20 bytes zero
    columns  one element a set, sets in order of their names:
             u32 end of its name | u8 flags | u32 rubbish members | u32 kept | u32 offered | u64 digest of what was said
             and a pair u32 first, u32 count for each of its AS numbers, references and prefixes
    pools    AS numbers u32 | references u32 (numbers of sets) | prefixes 16 bytes each: u64 value, u8 family,
             u8 length, u8 low, u8 high, 4 bytes zero | names, ASCII, one after the other

A name is its source and the set, in capitals: RADB::AS-EXAMPLE.  The same set of two sources is two sets.  A name that
some set refers to and no source has stands there too, flagged MISSING, so that what is missing can be told.  Two sets
with the same members share one span of a pool: the sets of one loop, kept at their former content, are many and equal.

Rejected: members by name (a third larger, and every step of an expansion a search); expansions stored ready (a set of
50,000 AS numbers in 300 others would be there 300 times).
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntFlag
from typing import Final, NamedTuple

from mirrornet.model.address import Family, Prefix
from mirrornet.model.errors import InputError

SECTION: Final = "sets"
_MAGIC: Final = b"MNSETS01"
_HEADER = struct.Struct("<8sIIIII20x")
_PREFIX = struct.Struct("<QBBBB4x")
_COLUMNS: Final = (*"IBIIIQ", *"IIIIII")  # one element a set, in the order above
_SIZES: Final = {"I": 4, "B": 1, "Q": 8}
_PART: Final = r"(?:AS[0-9]{1,10}|(?:AS|RS)-[A-Z0-9_-]{1,100})"
# In capitals; RFC 2622 section 5, hierarchical names included: one part at least is a set's.
NAME: Final = re.compile(rf"(?=[A-Z0-9:]*(?:AS|RS)-){_PART}(?::{_PART}){{0,9}}")
QUALIFIED: Final = re.compile(rf"([A-Z0-9][A-Z0-9._-]{{0,31}})::({NAME.pattern})")
assert _HEADER.size == 48 and _PREFIX.size == 16


class SetFlag(IntFlag):
    """What there is to say of a set beside its members."""

    MISSING = 1  # named by a member list, and in no source
    HELD = 2  # changed too much, so it keeps what it was before until the operator confirms
    GONE = 4  # held, and no longer in any dump


_PLAIN: Final = SetFlag(0)


class PrefixRange(NamedTuple):
    """A prefix with a range operator (RFC 2622 section 2): the routes within `prefix` of length `low` to `high`."""

    prefix: Prefix
    low: int
    high: int

    def __str__(self) -> str:
        most = 32 if self.prefix.family == 4 else 128
        if self.low == self.high == self.prefix.length:
            return str(self.prefix)
        if self.high == most and self.low in (self.prefix.length, self.prefix.length + 1):
            return f"{self.prefix}^{'+' if self.low == self.prefix.length else '-'}"
        return f"{self.prefix}^{self.low}" + (f"-{self.high}" if self.high != self.low else "")


@dataclass(frozen=True, slots=True)
class NamedSet:
    """One set on its way into a table.  `sets`: qualified names.  `odd`: members that are none; `kept`, `offered`:
    members in all, nested ones included, that a held set has and that it would have; `digest`: of its definition."""

    name: str
    asns: tuple[int, ...] = ()
    sets: tuple[str, ...] = ()
    prefixes: tuple[PrefixRange, ...] = ()
    flags: SetFlag = _PLAIN
    odd: int = 0
    kept: int = 0
    offered: int = 0
    digest: int = 0


@dataclass(frozen=True, slots=True)
class StoredSet:
    """One set of a table.  `sets`: numbers for Sets.name() and Sets.get(); all else as in NamedSet."""

    name: str
    asns: Sequence[int]
    sets: Sequence[int]
    prefixes: Sequence[PrefixRange]
    flags: SetFlag
    odd: int
    kept: int
    offered: int
    digest: int


def is_route_set(name: str) -> bool:
    """Whether `name`, qualified or not, is a route-set's: its last part that is no AS number says so (RFC 2622 5)."""
    parts = [part for part in name.upper().split(":") if part.startswith(("AS-", "RS-"))]
    return bool(parts) and parts[-1].startswith("RS-")


def readable(name: str) -> str:
    """RADB::AS-EXAMPLE as people say it: AS-EXAMPLE (RADB)."""
    source, qualified, bare = name.partition("::")
    return f"{bare} ({source})" if qualified else name


class _Pool:
    """Members of all sets one after the other; who has the same as another gets the same span."""

    def __init__(self) -> None:
        self.items: list[bytes] = []
        self.count = 0
        self._spans: dict[bytes, tuple[int, int]] = {}

    def put(self, packed: bytes, count: int) -> tuple[int, int]:
        if not count:
            return 0, 0
        span = self._spans.get(packed)
        if span is None:
            span = self._spans[packed] = self.count, count
            self.items.append(packed)
            self.count += count
        return span


def encode(sets: Iterable[NamedSet]) -> bytes:
    """The section that holds `sets`, each name once, and the names they refer to in vain."""
    known = {one.name: one for one in sets}
    for name in {name for one in known.values() for name in one.sets if name not in known}:
        known[name] = NamedSet(name, flags=SetFlag.MISSING)
    order = sorted(known)
    numbers = {name: number for number, name in enumerate(order)}
    pools = _Pool(), _Pool(), _Pool()
    columns: list[list[int]] = [[] for _ in _COLUMNS]
    end = 0
    for name in order:
        one = known[name]
        end += len(name)
        refs = [numbers[ref] for ref in one.sets]
        ranges = b"".join(_PREFIX.pack(p.value, p.family, p.length, low, high) for p, low, high in one.prefixes)
        spans = (
            pools[0].put(struct.pack(f"<{len(one.asns)}I", *one.asns), len(one.asns)),
            pools[1].put(struct.pack(f"<{len(refs)}I", *refs), len(refs)),
            pools[2].put(ranges, len(one.prefixes)),
        )
        row = (end, one.flags, one.odd, one.kept, one.offered, one.digest, *(n for span in spans for n in span))
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    body = [struct.pack(f"<{len(order)}{code}", *column) for code, column in zip(_COLUMNS, columns, strict=True)]
    body += [b"".join(pool.items) for pool in pools]
    counts = (pool.count for pool in pools)
    header = _HEADER.pack(_MAGIC, len(order), *counts, end)
    return b"".join([header, *map(_padded, body), "".join(order).encode("ascii")])


def _padded(piece: bytes) -> bytes:
    return piece + bytes(-len(piece) % 8)


class Sets:
    """The sets of a table, read in place.  Raises InputError where the section is not what encode() made."""

    def __init__(self, section: bytes | memoryview) -> None:
        view = memoryview(section)
        hint = "world.table: its sets are damaged: make it anew with `mirrornet import-radb`"
        if len(view) < _HEADER.size or bytes(view[:8]) != _MAGIC:
            raise InputError(hint)
        _, self._count, asns, refs, prefixes, name_bytes = _HEADER.unpack(view[: _HEADER.size])
        at, columns = _HEADER.size, []
        shapes = [(code, self._count) for code in _COLUMNS]
        for code, count in [*shapes, ("I", asns), ("I", refs), ("B", prefixes * _PREFIX.size)]:
            size = count * _SIZES[code]
            piece = view[at : at + size]
            if len(piece) != size:
                raise InputError(hint)
            columns.append(piece.cast(code))
            at += size + -size % 8
        if len(view) != at + name_bytes:
            raise InputError(hint)
        (self._ends, self._flags, self._odd, self._kept, self._offered, self._digests), rest = columns[:6], columns[6:]
        self._spans, (self._asns, self._refs, self._prefixes) = rest[:6], rest[6:]
        self._names = view[at:]

    @classmethod
    def read(cls, section: bytes | memoryview) -> Sets | None:
        """The sets of a table's section; None where the table has none (it was made before there were any)."""
        return cls(section) if len(section) else None

    def __len__(self) -> int:
        count: int = self._count
        return count

    def _packed(self, number: int) -> bytes:
        return bytes(self._names[self._ends[number - 1] if number else 0 : self._ends[number]])

    def name(self, number: int) -> str:
        """The qualified name of the set with this number."""
        return self._packed(number).decode("ascii", "replace")

    def flags(self, number: int) -> SetFlag:
        """The flags of the set with this number."""
        return SetFlag(self._flags[number])

    def digest(self, number: int) -> int:
        """The digest of what the set with this number was said to be, when it was taken in."""
        found: int = self._digests[number]
        return found

    def find(self, name: str) -> int | None:
        """The number of the set with this qualified name; None where there is none, or only others' word of it."""
        wanted = name.upper().encode("ascii", "replace")
        number = bisect_left(range(self._count), wanted, key=self._packed)
        if number == self._count or self._packed(number) != wanted or self.flags(number) & SetFlag.MISSING:
            return None
        return number

    def members(self, number: int) -> tuple[list[int], list[int], list[PrefixRange]]:
        """(AS numbers, numbers of sets, prefixes) that the set with this number lists."""
        asn, asns, ref, refs, prefix, prefixes = (column[number] for column in self._spans)
        ranges = []
        if prefixes:
            packed = self._prefixes[prefix * _PREFIX.size : (prefix + prefixes) * _PREFIX.size]
            ranges = [
                PrefixRange(Prefix(_family(family), value, length), low, high)
                for value, family, length, low, high in _PREFIX.iter_unpack(packed)
            ]
        inside = [one for one in self._refs[ref : ref + refs].tolist() if one < self._count] if refs else []
        return self._asns[asn : asn + asns].tolist() if asns else [], inside, ranges

    def remarks(self, number: int) -> tuple[int, int]:
        """(the bits of its flags, how many of its members are none) of the set with this number."""
        return self._flags[number], self._odd[number]

    def get(self, number: int) -> StoredSet:
        """The set with this number."""
        asns, inside, ranges = self.members(number)
        return StoredSet(
            name=self.name(number),
            asns=asns,
            sets=inside,
            prefixes=ranges,
            flags=self.flags(number),
            odd=self._odd[number],
            kept=self._kept[number],
            offered=self._offered[number],
            digest=self.digest(number),
        )

    def held(self) -> list[int]:
        """The numbers of all sets that keep their former content."""
        return [number for number in range(self._count) if self._flags[number] & SetFlag.HELD]


def _family(number: int) -> Family:
    return 6 if number == 6 else 4
