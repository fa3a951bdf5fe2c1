"""Which AS buys transit from which, and which exchange traffic for nothing: the section "links" of world.table.

Little-endian columns, one after the other: a u32[n] | b u32[n] | kind i8[n]; n is the section's length divided by 9.
Kind -1: `a` is a provider of `b`; kind 0: `a` and `b` are peers, and then a < b.  (These are the numbers of CAIDA's
serial-1 files.)  Rows are sorted by (a, b, kind), and no row is there twice.  A pair may be there in both directions
(siblings that each name the other a customer), but never as peers and as provider and customer at once: who pays, pays.

Columns and not a graph: a name server wants paths from some fifty mirrors' ASes, which is fifty sweeps over these
arrays, and a process that wants none of it never touches the pages.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mirrornet.model.errors import InputError

SECTION: Final = "links"
PROVIDER: Final = -1  # a is a provider of b
PEERS: Final = 0
_ROW = 9  # bytes
_GREATEST = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Links:
    """Columns of equal length (views of the mapped table): AS numbers, AS numbers, PROVIDER or PEERS."""

    a: memoryview
    b: memoryview
    kind: memoryview

    def __len__(self) -> int:
        return len(self.kind)

    @classmethod
    def read(cls, section: memoryview) -> Links | None:
        """The links in `section` (WorldTable.section("links")); None where the table has none.

        Raises InputError where the section's length is none that encode() makes.
        """
        if not len(section):
            return None
        if len(section) % _ROW:
            raise InputError("the links of world.table are cut short: make it anew with `mirrornet import-radb`")
        count = len(section) // _ROW
        return cls(
            section[: 4 * count].cast("I"),
            section[4 * count : 8 * count].cast("I"),
            section[8 * count :].cast("b"),
        )


def encode(rows: Iterable[tuple[int, int, int]]) -> bytes:
    """The section's bytes for `rows` of (a, b, kind) in any order and number.

    Peers are put in order, doubles dropped; a pair that is called both is no pair of peers.  Raises ValueError for a
    number that is no AS number or no kind.
    """
    wanted: set[tuple[int, int, int]] = set()
    for a, b, kind in rows:
        if kind not in (PROVIDER, PEERS) or not 0 <= a <= _GREATEST or not 0 <= b <= _GREATEST:
            raise ValueError(f"{a}, {b}, {kind} is no link between two AS numbers")
        if a != b:
            wanted.add((b, a, kind) if kind == PEERS and b < a else (a, b, kind))
    ordered = sorted(
        row
        for row in wanted
        if row[2] == PROVIDER or not ((row[0], row[1], PROVIDER) in wanted or (row[1], row[0], PROVIDER) in wanted)
    )
    columns = list(zip(*ordered, strict=True)) or [(), (), ()]
    count = len(ordered)
    return struct.pack(f"<{count}I{count}I", *columns[0], *columns[1]) + array("b", columns[2]).tobytes()
