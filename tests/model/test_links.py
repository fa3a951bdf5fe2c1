"""The section "links": what went in comes out, sorted, once."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornet.model.errors import InputError
from mirrornet.model.links import PEERS, PROVIDER, Links, encode

Row = tuple[int, int, int]
ROWS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.sampled_from([PROVIDER, PEERS])), max_size=40)


def rows_of(section: bytes) -> list[Row]:
    links = Links.read(memoryview(section))
    return [] if links is None else list(zip(links.a, links.b, links.kind, strict=True))


def test_the_layout_octet_by_octet() -> None:
    section = encode([(7018, 64500, PROVIDER), (3356, 1299, PEERS), (3356, 4294967295, PROVIDER)])
    assert section == struct.pack("<6I3b", 1299, 3356, 7018, 3356, 4294967295, 64500, 0, -1, -1)
    links = Links.read(memoryview(section))
    assert links is not None and len(links) == 3


@given(ROWS)
def test_sorted_once_and_in_any_order(rows: list[Row]) -> None:
    found = rows_of(encode(rows))
    assert found == sorted(set(found))
    assert found == rows_of(encode(reversed(rows)))
    pays = {(a, b) for a, b, kind in rows if kind == PROVIDER and a != b}
    peers = {(min(a, b), max(a, b)) for a, b, kind in rows if kind == PEERS and a != b}
    assert {(a, b) for a, b, kind in found if kind == PROVIDER} == pays
    assert {(a, b) for a, b, kind in found if kind == PEERS} == {
        (a, b) for a, b in peers if (a, b) not in pays and (b, a) not in pays
    }


def test_no_links_and_damaged_ones() -> None:
    assert encode([]) == b""
    assert Links.read(memoryview(b"")) is None
    with pytest.raises(InputError, match="cut short"):
        Links.read(memoryview(encode([(1, 2, PROVIDER)])[:-1]))
    for row in ((1, 2, 1), (-1, 2, 0), (1, 1 << 32, 0)):
        with pytest.raises(ValueError, match="no link"):
            encode([row])
