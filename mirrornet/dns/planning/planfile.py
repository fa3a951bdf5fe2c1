"""The plan: who gets which mirrors, as one immutable file that every worker maps.

A plan is a tree of names and a few maps of the address space.  A name (Node) has an Entry per type.  An entry is
static (one record set for everybody) or tailored: its Partition says, for each range of client addresses, which of
the entry's record sets is the answer, and the exact scope of that answer (RFC 7871 section 7.2.1: no address inside
the scope gets another one, and no shorter scope would do).  Entries whose maps are equal share a partition.

TTLs are not here.  Answer i of an entry takes its TTL from slot `slots[i]` of the control page, so that a mirror whose
verdict is about to flip shortens TTLs without a new plan; slot -1 means the record set's own TTL.

    header       "MNPLAN01", u64 generation, u64 size of the names section, u64 number of partitions, 32 bytes SHA-256
                 of all that follows, 64 bytes in all
    names        JSON, UTF-8: zones, nodes, entries, TTL slots, each rdata once (base 64), size of the notes
    notes        JSON, UTF-8, which a worker never reads
    partitions   per partition u64 n4, u64 n6, then starts u32[n4], answers u32[n4], scopes u8[n4],
                 starts u64[n6], answers u32[n6], scopes u8[n6], each padded to 8 bytes

Only the planner imports numpy; the reader needs nothing but the standard library, since the workers must stay small.

Decisions
---------
- 2026-11-23: answer 0 of a tailored entry is the `anywhere` answer, whether or not a range points to it, so that a
  responder finds it without a look-up.
- 2026-11-23: addresses that carry an IPv4 (model/address.py: ::/64 for mapped, 64:ff9b::/64, 2002::/16, 2001::/32) are
  looked up in `ranges4`.  The planner therefore treats these four prefixes as borders in `ranges6`: no scope of a
  neighbour may cover them, or a resolver would keep the neighbour's answer for them.
- 2026-11-23: a range that is not one aligned block has addresses of different scopes.  Cut into such blocks, a map of
  1.3 million ranges became one of 8 million (194 MB to write, hash and map at every flip), so the range stays whole,
  its scope is BETWEEN (255), and Ranges.scope() reckons the address's own from the range's borders.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal

from mirrornet.dns.message.rrset import RRset
from mirrornet.model.address import Family
from mirrornet.model.errors import LocalError

MAGIC: Final = b"MNPLAN01"
BETWEEN: Final = 255  # a range whose addresses' scopes differ: Ranges.scope() reckons them
_HEADER = struct.Struct("<8sQQQ32s")
_COUNTS = struct.Struct("<QQ")


@dataclass(frozen=True, slots=True)
class Ranges:
    """One family of a partition: range i starts at starts[i] and gets answer answers[i] with scope scopes[i].

    `starts[0]` is 0; addresses have `width(family)` bits (model/address.py), and so a scope is at most 32 or 64, or
    BETWEEN: then scope() tells it for each address.
    """

    starts: Sequence[int]
    answers: Sequence[int]
    scopes: Sequence[int]

    def find(self, value: int) -> tuple[int, int]:
        """(answer, scope) of the address `value`."""
        index = bisect_right(self.starts, value) - 1
        scope = self.scopes[index]
        return self.answers[index], self.scope(index, value) if scope == BETWEEN else scope

    def scope(self, index: int, value: int) -> int:
        """The length of the largest aligned block around `value` that does not leave range `index`.

        The nearest addresses outside are the ones before and after the range.  A block leaves out such an address as
        soon as it is longer than what the address has in common with `value`.  At least one of the two exists, for a
        range that covers everything is a block.
        """
        start = self.starts[index]
        following = index + 1
        common = (value ^ (start - 1)).bit_length() if start else 99
        if following < len(self.starts):
            common = min(common, (value ^ self.starts[following]).bit_length())
        return (33 if self.starts.itemsize == 4 else 65) - common  # type: ignore[attr-defined]  # u32 or u64 columns


@dataclass(frozen=True, slots=True)
class Partition:
    """A map of all addresses of both families to answer numbers."""

    ranges4: Ranges
    ranges6: Ranges

    def family(self, family: Family) -> Ranges:
        return self.ranges4 if family == 4 else self.ranges6


@dataclass(frozen=True, slots=True)
class Entry:
    """The records of one type at one name.

    `partition` -1: static, `rrsets` has one element.  Otherwise rrsets[answer]; None means NODATA for that range, and
    answer 0 is the `anywhere` answer: who asks us not to use his address gets it (ECS source 0, RFC 7871 7.1.2).
    `slots` is parallel to `rrsets`.  `last_resort`: the answers whose mirrors are all down, given all the same.
    """

    rrsets: tuple[RRset | None, ...]
    slots: tuple[int, ...]
    partition: int = -1
    last_resort: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Node:
    """A name that exists.  No entries: an empty non-terminal (RFC 8020), which is NODATA and not NXDOMAIN.

    `cut`: a delegation starts here (NS below the apex), so everything at and under it is a referral.
    """

    entries: Mapping[int, Entry]
    cut: bool = False


@dataclass(frozen=True, slots=True)
class ZoneInfo:
    """`soa` as published; negative answers carry it with TTL min(its TTL, its minimum) (RFC 2308 section 3)."""

    apex: bytes
    soa: RRset
    negative_ttl: int


class Notes(Mapping[str, Any]):
    """A plan's notes as they lie in its file, decoded when somebody reads them: half a second for 500 mirrors."""

    def __init__(self, octets: memoryview) -> None:
        self._octets = octets

    @cached_property
    def _read(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(bytes(self._octets))
        return found

    def __getitem__(self, key: str) -> Any:
        return self._read[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read)

    def __len__(self) -> int:
        return len(self._read)


@dataclass(frozen=True, slots=True)
class Plan:
    """All zones of a process.  Names are lower-case wire form.

    `notes` is what status and tests read, JSON values only.  notes["describe"] has one object for each TTL slot: zone,
    select, family (4, 6 or None for lists) and the mirrors of the answers that use it; notes["answers"] maps each
    tailored entry ("select.example.net A") to its answers, each the names of its mirrors in order.
    """

    generation: int
    zones: Mapping[bytes, ZoneInfo]
    nodes: Mapping[bytes, Node]
    partitions: Sequence[Partition]
    slot_count: int = 0
    notes: Mapping[str, Any] = field(default_factory=dict)


def encode(plan: Plan) -> list[bytes]:
    """The file, as pieces to write one after the other.

    Columns may be anything with `tobytes()` in the layout's types (numpy arrays, array.array).
    """
    entries: list[Any] = []
    nodes = []
    rdatas: dict[bytes, int] = {}

    def numbered(one: RRset | None) -> list[Any] | None:
        return None if one is None else [one.rtype, one.ttl, [rdatas.setdefault(d, len(rdatas)) for d in one.rdatas]]

    for name, node in plan.nodes.items():
        numbers = {}
        for rtype, entry in node.entries.items():
            numbers[str(rtype)] = len(entries)
            entries.append([list(map(numbered, entry.rrsets)), entry.slots, entry.partition, sorted(entry.last_resort)])
        nodes.append([_text(name), numbers, node.cut])
    soas = [[_text(z.apex), z.soa.ttl, [_text(d) for d in z.soa.rdatas], z.negative_ttl] for z in plan.zones.values()]
    notes = json.dumps(dict(plan.notes), separators=(",", ":")).encode()
    told = {"zones": soas, "nodes": nodes, "entries": entries, "rdatas": list(map(_text, rdatas))}
    names = json.dumps(told | {"slots": plan.slot_count, "notes": len(notes)}, separators=(",", ":")).encode()
    body = [_padded(names), _padded(notes)]
    for partition in plan.partitions:
        body.append(_COUNTS.pack(len(partition.ranges4.starts), len(partition.ranges6.starts)))
        for ranges in (partition.ranges4, partition.ranges6):
            for column in (ranges.starts, ranges.answers, ranges.scopes):
                body.append(_padded(column.tobytes()))  # type: ignore[attr-defined]
    digest = hashlib.sha256()
    for piece in body:
        digest.update(piece)
    return [_HEADER.pack(MAGIC, plan.generation, len(names), len(plan.partitions), digest.digest()), *body]


def decode(data: bytes | memoryview, verify: bool = True) -> Plan:
    """The plan in `data`, without copying its columns.  Raises LocalError where it is damaged."""
    view = memoryview(data)
    if len(view) < _HEADER.size or bytes(view[:8]) != MAGIC:
        raise LocalError("this is not a plan file")
    _, generation, names_size, partition_count, digest = _HEADER.unpack(view[: _HEADER.size])
    if verify and hashlib.sha256(view[_HEADER.size :]).digest() != digest:
        raise LocalError("the plan file is damaged: its checksum does not match")
    at = _HEADER.size
    names = json.loads(bytes(view[at : at + names_size]))
    at += names_size + -names_size % 8
    notes_size = names["notes"]
    notes = Notes(view[at : at + notes_size])
    at += notes_size + -notes_size % 8
    partitions = []
    for _ in range(partition_count):
        count4, count6 = _COUNTS.unpack(view[at : at + _COUNTS.size])
        at += _COUNTS.size
        families = []
        for count, code in ((count4, "I"), (count6, "Q")):
            columns: list[memoryview] = []
            layout: list[tuple[Literal["I", "Q", "B"], int]] = [
                ("I", 4) if code == "I" else ("Q", 8),
                ("I", 4),
                ("B", 1),
            ]
            for column_code, size in layout:
                length = count * size
                columns.append(view[at : at + length].cast(column_code))
                at += length + -length % 8
            families.append(Ranges(*columns))
        partitions.append(Partition(*families))
    rdata = list(map(_bytes, names["rdatas"])).__getitem__
    entries = [
        Entry(
            tuple(None if s is None else RRset(s[0], s[1], tuple(map(rdata, s[2]))) for s in sets),
            tuple(slots),
            partition,
            frozenset(last_resort),
        )
        for sets, slots, partition, last_resort in names["entries"]
    ]
    nodes = {
        _bytes(name): Node({int(rtype): entries[number] for rtype, number in numbers.items()}, cut)
        for name, numbers, cut in names["nodes"]
    }
    zones = {}
    for apex, ttl, rdatas, negative_ttl in names["zones"]:
        zones[_bytes(apex)] = ZoneInfo(_bytes(apex), RRset(6, ttl, tuple(map(_bytes, rdatas))), negative_ttl)
    return Plan(generation, zones, nodes, partitions, names["slots"], notes)


def _padded(piece: bytes) -> bytes:
    return piece + bytes(-len(piece) % 8)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)
