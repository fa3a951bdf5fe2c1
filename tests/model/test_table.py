"""world.table: what is encoded is read back; what is damaged is refused by the file's name."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornet.model.address import parse_prefix
from mirrornet.model.errors import InputError
from mirrornet.model.place import UNKNOWN, Evidence, Place
from mirrornet.model.table import NONE, Columns, Mark, WorldTable, decode_place, encode, encode_place

JAPAN = Place(2500, "JP", 35.5, 139.75, 40, False, Evidence.DELEGATED, Evidence.CENTROID)
single = st.floats(-90, 90, width=32)
places = st.builds(
    Place,
    asn=st.integers(0, 2**32 - 1),
    country=st.sampled_from(["", "JP", "NO", "ZA"]),
    latitude=single,
    longitude=single,
    radius_km=st.integers(0, 65535),
    anycast=st.booleans(),
    country_from=st.sampled_from(Evidence),
    coordinates_from=st.sampled_from(Evidence),
) | st.builds(Place, asn=st.integers(0, 2**32 - 1), country=st.sampled_from(["", "US"]))


def columns(rows: list[tuple[int, int, int, int]], code: str) -> Columns:
    """Rows of (start, place, length, source) as a family's five columns, every range with the same mark."""
    starts, numbers, lengths, sources = zip(*rows, strict=True)
    count = len(rows)
    marks = bytes([Mark.SEVERAL_ORIGINS]) * count
    packed = struct.pack(f"<{count}{code}", *starts), struct.pack(f"<{count}I", *numbers)
    return *packed, bytes(lengths), bytes(sources), marks


def build(rows4: list[tuple[int, int, int, int]], rows6: list[tuple[int, int, int, int]], *known: Place) -> bytes:
    records = b"".join(encode_place(place) for place in (UNKNOWN, *known))
    return b"".join(encode(1.5, columns(rows4, "I"), columns(rows6, "Q"), records, ["RADB", "RIPE"]))


def small() -> bytes:
    start, end = 0x0A000000, 0x0B000000
    return build(
        [(0, 0, NONE, NONE), (start, 1, 8, 1), (end, 0, NONE, NONE)],
        [(0, 0, NONE, NONE), (0x20010DB8 << 32, 1, 32, 0), (0x20010DB9 << 32, 0, NONE, NONE)],
        JAPAN,
    )


@given(places)
def test_a_place_survives(place: Place) -> None:
    record = encode_place(place)
    assert len(record) == 32
    assert decode_place(record) == place


def test_a_radius_beyond_the_field_is_capped() -> None:
    assert decode_place(encode_place(replace(JAPAN, radius_km=10**6))).radius_km == 65535


def test_look_ups() -> None:
    table = WorldTable(small())
    assert table.match(ip_address("10.1.2.3")).marks is Mark.SEVERAL_ORIGINS
    assert (table.created, table.place_count, table.sources) == (1.5, 2, ("RADB", "RIPE"))
    match = table.match(ip_address("10.1.2.3"))
    assert (match.place, match.prefix, match.source) == (JAPAN, parse_prefix("10.0.0.0/8"), "RIPE")
    assert table.match(ip_address("2001:db8:1::1")).prefix == parse_prefix("2001:db8::/32")
    assert table.match(ip_address("::ffff:10.0.0.1")).place == JAPAN
    for outside in ("9.255.255.255", "11.0.0.0", "0.0.0.0", "255.255.255.255", "::", "2001:db9::"):
        match = table.match(ip_address(outside))
        assert (match.place, match.prefix, match.source) == (UNKNOWN, None, "")


@given(st.data())
def test_every_range_is_found_at_both_ends(data: st.DataObject) -> None:
    for family, bits, code in ((4, 32, "I"), (6, 64, "Q")):
        cuts = sorted({0, *data.draw(st.lists(st.integers(0, 2**bits - 1), max_size=30))})
        known = [Place(asn=number + 1) for number in range(len(cuts))]
        rows = [(start, number + 1, number % (bits + 1), NONE) for number, start in enumerate(cuts)]
        other = [(0, 0, NONE, NONE)]
        table = WorldTable(build(rows, other, *known) if code == "I" else build(other, rows, *known))
        for number, start in enumerate(cuts):
            last = cuts[number + 1] - 1 if number + 1 < len(cuts) else 2**bits - 1
            for value in (start, last):
                assert table.find(4 if family == 4 else 6, value) == number
        values = data.draw(st.lists(st.integers(0, 2**bits - 1), max_size=10))
        for value in values:
            address = IPv4Address(value) if family == 4 else IPv6Address(value << 64)
            asn = table.match(address).place.asn
            if family == 4:
                assert cuts[asn - 1] <= value


def test_columns_that_differ_in_length() -> None:
    good = columns([(0, 0, NONE, NONE)], "Q")
    with pytest.raises(ValueError, match="differ in length"):
        encode(0, (b"\0\0\0\0", b"", b"\0", b"\0", b"\0"), good, encode_place(UNKNOWN), [])
    with pytest.raises(ValueError, match="not whole"):
        encode(0, columns([(0, 0, NONE, NONE)], "I"), good, b"short", [])


@pytest.mark.parametrize(
    ("damage", "part"),
    [
        (lambda data: b"", "not a world.table"),
        (lambda data: b"<!DOCTYPE html>" * 100, "not a world.table"),
        (lambda data: data[:90], "not a world.table"),
        (lambda data: data[:-40], "cut short"),
        (lambda data: data[:8] + b"\x01" + data[9:], "version 1"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "damaged"),
        (lambda data: data[:140] + bytes([data[140] ^ 1]) + data[141:], "damaged"),
        (lambda data: data + b"more", "damaged"),
        (lambda data: data[:12] + b"\x05" + data[13:], "header contradicts itself"),
        (lambda data: data[:12] + b"\xff" + data[13:], "cut short"),
        (lambda data: data[:96] + b"R" + data[97:], "header contradicts itself"),
        (lambda data: data[:112] + b"\x01" + data[113:], "header contradicts itself"),
        (lambda data: data[:122] + b"\x01" + data[123:], "header contradicts itself"),
    ],
)
def test_damage_is_named(damage: object, part: str) -> None:
    assert callable(damage)
    with pytest.raises(InputError) as caught:
        WorldTable(damage(small()), "maps/world.table")
    text = str(caught.value)
    assert text.startswith("maps/world.table: ")
    assert part in text
    assert "import-radb" in text
    assert "\n" not in text


@given(st.data())
def test_any_damaged_table_is_refused_or_readable(data: st.DataObject) -> None:
    raw = bytearray(small())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        raw = raw[: data.draw(st.integers(0, len(raw)))]
    try:
        table = WorldTable(bytes(raw))
    except InputError:
        return
    assert raw[128:] == small()[128:]
    for address in ("0.0.0.0", "10.1.2.3", "255.255.255.255", "::", "2001:db8::", "ffff::"):
        table.match(ip_address(address))


def test_the_layout_octet_by_octet() -> None:
    """What another program may rely on, written down once without our own encoder's help."""
    table = small()
    assert struct.unpack("<8sIId", table[:24]) == (b"MNWORLD1", 2, 4, 1.5)
    assert table[24:56] == hashlib.sha256(table[96:]).digest() and table[56:96] == bytes(40)
    assert list(struct.iter_unpack("<16sQQ", table[96:224])) == [
        (b"ranges4".ljust(16, b"\0"), 224, 3),
        (b"ranges6".ljust(16, b"\0"), 280, 3),
        (b"places".ljust(16, b"\0"), 344, 2),
        (b"sources".ljust(16, b"\0"), 408, 9),
    ]
    assert table[224:236] == struct.pack("<3I", 0, 0x0A000000, 0x0B000000) and table[236:240] == bytes(4)
    assert table[240:252] == struct.pack("<3I", 0, 1, 0)
    assert table[256:259] == bytes([NONE, 8, NONE]) and table[264:267] == bytes([NONE, 1, NONE])
    assert table[272:275] == bytes([2, 2, 2])
    assert table[344 + 32 : 408] == struct.pack("<I2sBBffHB13x", 2500, b"JP", 1, 2, 35.5, 139.75, 40, 5)
    assert table[408:417] == b"RADB\nRIPE"


def test_further_sections_survive() -> None:
    one = columns([(0, 0, NONE, NONE)], "I"), columns([(0, 0, NONE, NONE)], "Q"), encode_place(UNKNOWN), ["RADB"]
    table = WorldTable(b"".join(encode(0.0, *one, {"sets": b"members", "links": b"", "more": b"12345678"})))
    assert [bytes(table.section(name)) for name in ("sets", "links", "more", "absent")] == [
        b"members",
        b"",
        b"12345678",
        b"",
    ]
    for name in ("", "places", "a name of seventeen"):
        with pytest.raises(ValueError, match="cannot name a section"):
            encode(0.0, *one, {name: b""})
