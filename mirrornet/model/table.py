"""world.table: the compiled map from address to place.  Layout, reader and encoder; no files are touched here.

Little-endian, every section aligned to 8 bytes, meant to be mapped and shared by any number of processes.

    header    128 bytes: magic "MNWORLD1", u32 version (1), u32 header size, f64 created (Unix time), then for each
              section u64 offset, u64 count: ranges4, ranges6, places, sources; 32 bytes SHA-256 of all that follows
    ranges4   starts u32[n] | places u32[n] | lengths u8[n] | sources u8[n]
    ranges6   starts u64[n] | places u32[n] | lengths u8[n] | sources u8[n]     (upper 64 bits, model/address.py)
    places    32 bytes each: u32 asn, 2s country, u8 flags, u8 country_from, f32 latitude, f32 longitude,
              u16 radius_km, u8 coordinates_from, 13 bytes zero
    sources   UTF-8 names of IRR sources, joined by newlines; a range's source is an index, 255 none

The ranges of a family cover all of it: starts[0] is 0 and a range ends where the next one starts.  `lengths` is the
length of the most specific prefix that decided the range (255: none did), so that the matched prefix is known for
every address.  Place 0 is "unknown".  Neighbouring ranges may share a place where their matched prefixes differ.

Rejected: a pickled trie (150 bytes a prefix, private to a process, unsafe to read), SQLite (a query costs 20 times
as much), per-prefix rows (longest match needs a walk; ranges need one bisection).
"""

from __future__ import annotations

import hashlib
import struct
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from mirrornet.model.address import Address, Family, Prefix, key, mask
from mirrornet.model.errors import InputError
from mirrornet.model.place import Evidence, Place

MAGIC: Final = b"MNWORLD1"
VERSION: Final = 1
NONE: Final = 255  # no prefix length, no source
_HEADER = struct.Struct("<8sIId8Q32s8x")
_PLACE = struct.Struct("<I2sBBffHB13x")
_KNOWN, _ANYCAST = 1, 2
assert _HEADER.size == 128 and _PLACE.size == 32


@dataclass(frozen=True, slots=True)
class Ranges:
    """One family's ranges, as parallel sequences of equal length (memoryviews of the mapped file, or arrays)."""

    starts: Sequence[int]
    places: Sequence[int]
    lengths: Sequence[int]
    sources: Sequence[int]


@dataclass(frozen=True, slots=True)
class Match:
    """What the table says of one address.  `prefix` None: no prefix covers it.  `source`: IRR source, or ""."""

    place: Place
    prefix: Prefix | None
    source: str


def encode_place(place: Place) -> bytes:
    """The 32-byte record of `place`."""
    known = place.latitude is not None and place.longitude is not None
    return _PLACE.pack(
        place.asn,
        place.country.encode("ascii"),
        (_KNOWN if known else 0) | (_ANYCAST if place.anycast else 0),
        place.country_from,
        place.latitude or 0.0,
        place.longitude or 0.0,
        min(place.radius_km, 65535),
        place.coordinates_from,
    )


def decode_place(record: bytes | memoryview) -> Place:
    """The place in a 32-byte record."""
    asn, country, flags, country_from, latitude, longitude, radius, coordinates_from = _PLACE.unpack(record)
    known = bool(flags & _KNOWN)
    return Place(
        asn=asn,
        country=country.rstrip(b"\0").decode("ascii"),
        latitude=latitude if known else None,
        longitude=longitude if known else None,
        radius_km=radius,
        anycast=bool(flags & _ANYCAST),
        country_from=Evidence(country_from),
        coordinates_from=Evidence(coordinates_from),
    )


def encode(
    created: float,
    ranges4: tuple[bytes, bytes, bytes, bytes],
    ranges6: tuple[bytes, bytes, bytes, bytes],
    places: bytes,
    sources: Sequence[str],
) -> list[bytes]:
    """The file, as pieces to write one after the other.

    Each of `ranges4` and `ranges6` is (starts, places, lengths, sources) as little-endian bytes; `places` is whole
    32-byte records, record 0 unknown.  Raises ValueError where counts do not agree.
    """
    body: list[bytes] = []
    offsets: list[tuple[int, int]] = []
    position = _HEADER.size

    def add(piece: bytes) -> None:
        nonlocal position
        padding = -len(piece) % 8
        body.append(piece + bytes(padding) if padding else piece)
        position += len(piece) + padding

    for start_size, columns in ((4, ranges4), (8, ranges6)):
        count = len(columns[2])
        if len(columns[0]) != count * start_size or len(columns[1]) != count * 4 or len(columns[3]) != count:
            raise ValueError("the columns of a family differ in length")
        offsets.append((position, count))
        for column in columns:
            add(column)
    if len(places) % _PLACE.size:
        raise ValueError("the place records are not whole")
    offsets.append((position, len(places) // _PLACE.size))
    add(places)
    names = "\n".join(sources).encode()
    offsets.append((position, len(names)))
    add(names)
    digest = hashlib.sha256()
    for piece in body:
        digest.update(piece)
    flat = [number for pair in offsets for number in pair]
    return [_HEADER.pack(MAGIC, VERSION, _HEADER.size, created, *flat, digest.digest()), *body]


def _ends(count4: int, count6: int, places: int, sources_size: int) -> list[int]:
    """Where each section of a table with these counts ends, as `encode` lays them out."""
    ends, position = [], _HEADER.size
    for sizes in (
        (4 * count4, 4 * count4, count4, count4),
        (8 * count6, 4 * count6, count6, count6),
        (places * _PLACE.size,),
        (sources_size,),
    ):
        position += sum(size + -size % 8 for size in sizes)
        ends.append(position)
    return ends


class WorldTable:
    """A world.table in memory or in a mapped file; read-only, safe to share between threads."""

    def __init__(self, data: bytes | memoryview, name: str = "world.table", verify: bool = True) -> None:
        """Checks header, sizes and (unless told not to) the checksum.  Raises InputError naming `name`."""
        view = memoryview(data)
        hint = "make it anew with `mirrornet import-radb`"
        if len(view) < _HEADER.size or bytes(view[:8]) != MAGIC:
            raise InputError(f"{name}: this is not a world.table: {hint}")
        fields = _HEADER.unpack(view[: _HEADER.size])
        version, self.created = int(fields[1]), float(fields[3])
        if version != VERSION:
            raise InputError(f"{name}: version {version}, and this program reads version {VERSION}: {hint}")
        offset4, count4, offset6, count6, places_at, places, sources_at, sources_size = fields[4:12]
        end = sources_at + sources_size
        if end > len(view) or not count4 or not count6 or not places:
            raise InputError(f"{name}: the file is cut short ({len(view)} bytes): {hint}")
        ends = _ends(count4, count6, places, sources_size)  # the checksum does not cover the header, so it is proven
        if [_HEADER.size, *ends] != [offset4, offset6, places_at, sources_at, len(view)]:
            raise InputError(f"{name}: its header contradicts itself, so the file is damaged: {hint}")
        if verify and hashlib.sha256(view[_HEADER.size :]).digest() != fields[12]:
            raise InputError(f"{name}: the checksum does not match, so the file is damaged: {hint}")
        self.checksum: str = fields[12].hex()
        self.ranges: dict[Family, Ranges] = {
            4: self._ranges(view, offset4, count4, "I", 4),
            6: self._ranges(view, offset6, count6, "Q", 8),
        }
        self._places = view[places_at : places_at + places * _PLACE.size]
        self.place_count: int = places
        self.sources: tuple[str, ...] = tuple(bytes(view[sources_at:end]).decode().split("\n")) if sources_size else ()
        self._decoded: dict[int, Place] = {}

    @staticmethod
    def _ranges(view: memoryview, offset: int, count: int, code: Literal["I", "Q"], size: int) -> Ranges:
        columns: list[memoryview] = []
        layout: tuple[tuple[Literal["I", "Q", "B"], int], ...] = ((code, size), ("I", 4), ("B", 1), ("B", 1))
        for column_code, column_size in layout:
            length = count * column_size
            columns.append(view[offset : offset + length].cast(column_code))
            offset += length + -length % 8
        return Ranges(*columns)

    @property
    def place_records(self) -> memoryview:
        """All places as they stand in the file (32 bytes each, see above), for who reads them as columns."""
        return self._places

    def place(self, index: int) -> Place:
        """The place with this number; 0 is unknown."""
        found = self._decoded.get(index)
        if found is None:
            size = _PLACE.size
            found = decode_place(self._places[index * size : index * size + size])
            if len(self._decoded) < 65536:
                self._decoded[index] = found
        return found

    def find(self, family: Family, value: int) -> int:
        """The number of the range that holds the address `value` (of `width(family)` bits)."""
        return bisect_right(self.ranges[family].starts, value) - 1

    def match(self, address: Address) -> Match:
        """Place, matched prefix and source of `address` (folded, see model/address.py)."""
        family, value = key(address)
        ranges = self.ranges[family]
        index = self.find(family, value)
        length, source = ranges.lengths[index], ranges.sources[index]
        return Match(
            place=self.place(ranges.places[index]),
            prefix=None if length == NONE else Prefix(family, mask(family, value, length), length),
            source="" if source == NONE else self.sources[source],
        )
