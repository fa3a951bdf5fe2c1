"""Head and pages: there and back, every rule of FORMAT.md, and the vectors."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from mirrornet.image.format.block import BlockRef, Codec, open_block, pack_block
from mirrornet.image.format.index import ENTRY, PREAMBLE, Head, Pack, Page, Place, page_of, summed, zero_stream
from mirrornet.image.format.profile import Profile
from mirrornet.model.errors import Untrusted

VECTORS = Path(__file__).parents[1] / "vectors" / "index"
SIZE = 65536


def small(count: int = 130, page_entries: int = 64) -> tuple[Head, list[Page]]:
    """A head of `count` blocks, every third of them zero, and its pages."""
    zero = zero_stream(Codec.ZLIB, 6, SIZE)
    refs = [
        None if n % 3 == 2 else BlockRef(bytes([1 + n % 250] * 32), 100 + n, SIZE, Codec.ZLIB) for n in range(count)
    ]
    pages = [page_of(refs[at : at + page_entries]) for at in range(0, count, page_entries)]
    sums = [summed(page.refs, len(zero)) for page in pages]
    before = tuple(sum(sums[:n]) for n in range(len(sums)))
    table = tuple(pack_block(page.encode(), Codec.ZLIB, 6)[0] for page in pages)
    head = Head(count * SIZE - 5, SIZE, 0, sum(sums), Codec.ZLIB, 6, page_entries, table, before, PREAMBLE, zero)
    return head, pages


def test_there_and_back() -> None:
    head, pages = small()
    assert Head.parse(head.encode()) == head
    assert (head.block_count, len(head.pages), head.entries(0), head.entries(2)) == (130, 3, 64, 2)
    for number, page in enumerate(pages):
        assert Page.parse(page.encode(), head, number) == page
        assert len(page.encode()) == head.pages[number].size == ENTRY * len(page)


def test_locate() -> None:
    head, pages = small()
    assert head.locate(0) == (0, 0)
    assert head.locate(129) == (2, 1)
    assert pages[1].block(1) is None  # block 65
    assert pages[1].block(0) == BlockRef(bytes([65] * 32), 164, SIZE, Codec.ZLIB)
    for block in (-1, 130):
        with pytest.raises(IndexError):
            head.locate(block)


def test_any_part_of_a_cloop_offset_table_from_one_page() -> None:
    head, pages = small()
    lengths = [ref.stored if ref else len(head.zero_stream) for page in pages for ref in page.refs]
    for number in range(3):
        assert head.before[number] == sum(lengths[: 64 * number])
        assert head.page_at(head.before[number]) == number
    assert head.page_at(head.body - 1) == 2 and head.sum_after(2) == head.body == sum(lengths)


def test_an_update_changes_only_the_pages_it_touches() -> None:
    """Sums stand in the head: a longer block in page 0 leaves pages 1 and 2 as they are."""
    _, pages = small()
    first = pages[0].refs[0]
    assert first is not None
    touched = page_of([replace(first, stored=999), *pages[0].refs[1:]])
    assert touched.encode() != pages[0].encode()
    assert small()[1][1:] == pages[1:]


HEADER = {
    "magic": (0, "8s", b"MNINDEX2"),
    "head_size": (8, "I", 71),
    "block_size not a power": (12, "I", 65537),
    "block_size too small": (12, "I", 32768),
    "block_size too large": (12, "I", 1 << 23),
    "block_size 0": (12, "I", 0),
    "size 0": (16, "Q", 0),
    "size that lies": (16, "Q", 1 << 40),
    "block_count": (24, "Q", 131),
    "stored": (32, "Q", 1 << 60),
    "body below a sum": (40, "Q", 7),
    "page_entries": (48, "I", 65),
    "page_count": (52, "I", 4),
    "pack_count": (56, "I", 1),
    "codec": (60, "B", 3),
    "codec without preamble": (60, "B", 2),
    "preamble": (62, "H", 127),
    "zero_length": (64, "I", 0),
    "zero_length huge": (64, "I", 0xFFFFFFFF),
    "reserved": (68, "I", 1),
    "zero stream": (72 + 128 + 20, "B", 0xEE),
}


@pytest.mark.parametrize("what", HEADER)
def test_every_rule_of_the_head(what: str) -> None:
    at, form, value = HEADER[what]
    data = bytearray(small()[0].encode())
    struct.pack_into("<" + form, data, at, value)
    with pytest.raises(Untrusted, match="index head is malformed"):
        Head.parse(bytes(data))


@pytest.mark.parametrize(
    ("at", "form", "value"),
    [(32, "I", 0), (32, "I", 1 << 30), (36, "B", 9), (36, "B", 0), (37, "B", 1), (40, "Q", 1), (88, "Q", 1 << 62)],
)
def test_every_rule_of_the_page_table(at: int, form: str, value: int) -> None:
    head = small()[0]
    data = bytearray(head.encode())
    struct.pack_into("<" + form, data, 72 + 128 + len(head.zero_stream) + at, value)
    with pytest.raises(Untrusted):
        Head.parse(bytes(data))


def test_head_too_short_or_long() -> None:
    data = small()[0].encode()
    for cut in (b"", data[:71], data[:-1], data + b"\0", b"<html>" * 100):
        with pytest.raises(Untrusted):
            Head.parse(cut)


@pytest.mark.parametrize(
    ("column", "form", "row", "value"),
    [
        (32, "I", 0, 0),
        (32, "I", 0, 1 << 30),
        (32, "I", 0, 101),  # the sum is wrong
        (32, "I", 2, 1),  # a zero block with a length
        (36, "B", 0, 2),
        (36, "B", 0, 9),
        (37, "H", 0, 1),  # no such pack
        (39, "I", 0, 1),  # an offset without a pack
    ],
)
def test_every_rule_of_a_page(column: int, form: str, row: int, value: int) -> None:
    head, pages = small()
    data = bytearray(pages[0].encode())
    struct.pack_into("<" + form, data, column * 64 + row * struct.calcsize(form), value)
    with pytest.raises(Untrusted, match="index page 0 is malformed"):
        Page.parse(bytes(data), head, 0)


def test_page_of_the_wrong_place_or_length() -> None:
    head, pages = small()
    for data, number in ((pages[1].encode(), 0), (pages[0].encode()[:-1], 0), (b"", 1), (pages[0].encode(), 3)):
        with pytest.raises(Untrusted):
            Page.parse(data, head, number)


def test_packs() -> None:
    head, pages = small()
    head = replace(head, packs=(Pack(b"p" * 32, 100_000, True), Pack(b"q" * 32, 200, False)))
    assert Head.parse(head.encode()) == head
    places = (Place(0, 0), Place(1, 99), *pages[0].places[2:])
    page = Page(pages[0].refs, places)
    assert Page.parse(page.encode(), head, 0) == page and page.place(1) == Place(1, 99)
    beyond = Page(pages[0].refs, (Place(0, 0), Place(1, 100), *places[2:]))  # 100 + 101 > 200
    with pytest.raises(Untrusted, match="beyond its pack"):
        Page.parse(beyond.encode(), head, 0)


def test_vectors() -> None:
    expected = json.loads((VECTORS / "expected.json").read_text())
    data = (VECTORS / "head.bin").read_bytes()
    head = Head.parse(data)
    assert head.encode() == data
    assert {key: getattr(head, key) for key in expected["head"]} == expected["head"]
    (ref,) = head.pages
    assert {"hash": ref.hash.hex(), "stored": ref.stored, "size": ref.size, "codec": ref.codec} == expected["pages"][0]
    page = Page.parse(open_block((VECTORS / "page0.bin").read_bytes(), ref), head, 0)
    rows = [r and {"hash": r.hash.hex(), "stored": r.stored, "size": r.size, "codec": r.codec} for r in page.refs]
    assert rows == expected["blocks"]
    blocks = [
        open_block((VECTORS / f"block{n}.bin").read_bytes(), r) if r else bytes(262144) for n, r in enumerate(page.refs)
    ]
    image = b"".join(blocks)[: head.size]
    assert image == bytes(n % 251 if not 262144 <= n < 524288 else 0 for n in range(700_000))


def test_vectors_with_a_pack() -> None:
    folder = VECTORS / "packs"
    expected = json.loads((folder / "expected.json").read_text())
    data = (folder / "head.bin").read_bytes()
    head = Head.parse(data)
    assert head.encode() == data
    assert {key: getattr(head, key) for key in expected["head"]} == expected["head"]
    packs = [{"hash": pack.hash.hex(), "length": pack.length, "single": pack.single} for pack in head.packs]
    assert packs == expected["packs"]
    pack = (folder / "pack0.bin").read_bytes()
    assert hashlib.sha256(pack).hexdigest() == packs[0]["hash"] and len(pack) == packs[0]["length"]
    page = Page.parse(open_block((folder / "page0.bin").read_bytes(), head.pages[0]), head, 0)
    for number, (ref, place, row) in enumerate(zip(page.refs, page.places, expected["blocks"], strict=True)):
        if row is None:
            assert ref is None and place is None
            continue
        assert ref and place
        assert (ref.hash.hex(), ref.stored, ref.codec) == (row["hash"], row["stored"], row["codec"])
        assert (place.pack, place.offset) == (row["pack"], row["offset"])
        start = number * 262144
        raw = bytes(n % 251 for n in range(start, min(start + 262144, 700_000))).ljust(262144, b"\0")
        assert open_block(pack[place.offset : place.offset + ref.stored], ref) == raw
    profile = Profile.parse((folder / "profile.json").read_bytes())
    assert profile == Profile(262144, (2, 0))
    named = [page.places[number] for number in profile.blocks]
    assert named == sorted(named, key=lambda place: place.offset if place else -1)
