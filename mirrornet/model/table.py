"""world.table: the compiled map from address to place.  Layout, reader and encoder; no files are touched here.

Little-endian, every section aligned to 8 bytes, meant to be mapped and shared by any number of processes.

    header    96 bytes: magic "MNWORLD1", u32 version (2), u32 number of sections, f64 created (Unix time),
              32 bytes SHA-256 of all that follows the header, 40 bytes zero
    sections  a directory, 32 bytes each: name (16 bytes, zero-padded ASCII), u64 offset, u64 count; in order of offset
    ranges4   starts u32[n] | places u32[n] | lengths u8[n] | sources u8[n] | marks u8[n]     (count: n)
    ranges6   starts u64[n] | ... the same     (upper 64 bits, model/address.py)
    places    32 bytes each: u32 asn, 2s country, u8 flags, u8 country_from, f32 latitude, f32 longitude,
              u16 radius_km, u8 coordinates_from, 13 bytes zero     (count: places)
    sources   UTF-8 names of IRR sources, joined by newlines; a range's source is an index, 255 none     (count: bytes)
    others    whatever a room adds under a name of its own (count: bytes); a reader that does not know one passes it by

The ranges of a family cover all of it: starts[0] is 0 and a range ends where the next one starts.  `lengths` is the
length of the most specific prefix that decided the range (255: none did), so that the matched prefix is known for
every address.  `marks` says how sure its origin is (Mark).  Place 0 is "unknown".  Neighbouring ranges may share a
place where their matched prefixes differ.

Rejected: a pickled trie (150 bytes a prefix, private to a process, unsafe to read), SQLite (a query costs 20 times
as much), per-prefix rows (longest match needs a walk; ranges need one bisection).
"""

from __future__ import annotations

import hashlib
import struct
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntFlag
from typing import Final, Literal

from mirrornet.model.address import Address, Family, Prefix, key, mask
from mirrornet.model.errors import InputError
from mirrornet.model.place import Evidence, Place

MAGIC: Final = b"MNWORLD1"
VERSION: Final = 2
NONE: Final = 255  # no prefix length, no source
_HEADER = struct.Struct("<8sIId32s40x")
_SECTION = struct.Struct("<16sQQ")
_SECTIONS: Final = 64  # more than anybody will ever name; a bound for what a damaged header may claim
_PLACE = struct.Struct("<I2sBBffHB13x")
_KNOWN, _ANYCAST = 1, 2
assert _HEADER.size == 96 and _SECTION.size == 32 and _PLACE.size == 32


class Mark(IntFlag):
    """How sure a range's origin is: what registries and RPKI say of it."""

    RPKI_VALID = 1  # a VRP covers prefix and origin (RFC 6811); an invalid pair never enters
    SEVERAL_ORIGINS = 2  # registries name others for the same prefix


_UNMARKED = Mark(0)


@dataclass(frozen=True, slots=True)
class Ranges:
    """One family's ranges, as parallel sequences of equal length (memoryviews of the mapped file, or arrays)."""

    starts: Sequence[int]
    places: Sequence[int]
    lengths: Sequence[int]
    sources: Sequence[int]
    marks: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Match:
    """What the table says of one address.  `prefix` None: no prefix covers it.  `source`: IRR source, or ""."""

    place: Place
    prefix: Prefix | None
    source: str
    marks: Mark = _UNMARKED


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


Columns = tuple[bytes, bytes, bytes, bytes, bytes]  # starts, places, lengths, sources, marks


def encode(
    created: float,
    ranges4: Columns,
    ranges6: Columns,
    places: bytes,
    sources: Sequence[str],
    extra: Mapping[str, bytes] | None = None,
) -> list[bytes]:
    """The file, as pieces to write one after the other.

    `ranges4` and `ranges6` are little-endian; `places` is whole 32-byte records, record 0 unknown; `extra` are further
    sections by name.  Raises ValueError where counts do not agree or a name does not fit.
    """
    for start_size, columns in ((4, ranges4), (8, ranges6)):
        count = len(columns[2])
        sizes = [count * start_size, count * 4, count, count, count]
        if [len(column) for column in columns] != sizes:
            raise ValueError("the columns of a family differ in length")
    if len(places) % _PLACE.size:
        raise ValueError("the place records are not whole")
    names = "\n".join(sources).encode()
    sections: list[tuple[str, int, Sequence[bytes]]] = [
        ("ranges4", len(ranges4[2]), ranges4),
        ("ranges6", len(ranges6[2]), ranges6),
        ("places", len(places) // _PLACE.size, [places]),
        ("sources", len(names), [names]),
        *((name, len(data), [data]) for name, data in (extra or {}).items()),
    ]
    position = _HEADER.size + _SECTION.size * len(sections)
    directory: list[bytes] = []
    body: list[bytes] = []
    for name, count, pieces in sections:
        packed = name.encode("ascii")
        if not 0 < len(packed) <= 16 or name in [known for known, _, _ in sections[: len(directory)]]:
            raise ValueError(f"{name!r} cannot name a section")
        directory.append(_SECTION.pack(packed, position, count))
        for piece in pieces:
            padding = -len(piece) % 8
            body += [piece, bytes(padding)] if padding else [piece]
            position += len(piece) + padding
    digest = hashlib.sha256()
    for piece in [*directory, *body]:
        digest.update(piece)
    return [_HEADER.pack(MAGIC, VERSION, len(sections), created, digest.digest()), *directory, *body]


def _stored(name: str, count: int) -> int:
    """How many bytes the section `name` of `count` takes, padding included."""
    sizes = {
        "ranges4": (4 * count, 4 * count, count, count, count),
        "ranges6": (8 * count, 4 * count, count, count, count),
        "places": (_PLACE.size * count,),
    }.get(name, (count,))
    return sum(size + -size % 8 for size in sizes)


def _directory(view: memoryview, name: str, count: int, hint: str) -> dict[str, tuple[int, int]]:
    """Offset and count of each section.  Raises InputError where the sections do not fill the file exactly."""
    position = _HEADER.size + _SECTION.size * count
    if not 0 < count <= _SECTIONS or position > len(view):
        raise InputError(f"{name}: the file is cut short ({len(view)} bytes): {hint}")
    found: dict[str, tuple[int, int]] = {}
    for packed, offset, number in _SECTION.iter_unpack(view[_HEADER.size : position]):
        section = packed.rstrip(b"\0").decode("ascii", "replace")
        if offset != position or section in found:
            raise InputError(f"{name}: its header contradicts itself, so the file is damaged: {hint}")
        found[section] = (offset, number)
        position += _stored(section, number)
    if position > len(view):
        raise InputError(f"{name}: the file is cut short ({len(view)} bytes): {hint}")
    if position != len(view) or not all(found.get(one, (0, 0))[1] for one in ("ranges4", "ranges6", "places")):
        raise InputError(f"{name}: its header contradicts itself, so the file is damaged: {hint}")
    return found


class WorldTable:
    """A world.table in memory or in a mapped file; read-only, safe to share between threads."""

    def __init__(self, data: bytes | memoryview, name: str = "world.table", verify: bool = True) -> None:
        """Checks header, sizes and (unless told not to) the checksum.  Raises InputError naming `name`."""
        view = memoryview(data)
        hint = "make it anew with `mirrornet import-radb`"
        if len(view) < _HEADER.size or bytes(view[:8]) != MAGIC:
            raise InputError(f"{name}: this is not a world.table: {hint}")
        _, version, count, created, checksum = _HEADER.unpack(view[: _HEADER.size])
        if version != VERSION:
            raise InputError(f"{name}: version {version}, and this program reads version {VERSION}: {hint}")
        self.created: float = created
        self.checksum: str = checksum.hex()
        self._sections = _directory(view, name, count, hint)
        # The checksum does not cover the header, so what the directory claims is proven whole before it is believed.
        if verify and hashlib.sha256(view[_HEADER.size :]).digest() != checksum:
            raise InputError(f"{name}: the checksum does not match, so the file is damaged: {hint}")
        self.ranges: dict[Family, Ranges] = {4: self._ranges(view, 4, "I"), 6: self._ranges(view, 6, "Q")}
        places_at, self.place_count = self._sections["places"]
        self._view = view
        self._places = view[places_at : places_at + self.place_count * _PLACE.size]
        named = self.section("sources")
        self.sources: tuple[str, ...] = tuple(bytes(named).decode().split("\n")) if named else ()
        self._decoded: dict[int, Place] = {}

    def section(self, name: str) -> memoryview:
        """The bytes of a further section, as encode() was given them; empty where the table has none."""
        offset, count = self._sections.get(name, (0, 0))
        return self._view[offset : offset + count]

    def _ranges(self, view: memoryview, family: Family, code: Literal["I", "Q"]) -> Ranges:
        offset, count = self._sections[f"ranges{family}"]
        columns: list[memoryview] = []
        layout: tuple[tuple[Literal["I", "Q", "B"], int], ...] = (
            (code, 4 if family == 4 else 8),
            ("I", 4),
            ("B", 1),
            ("B", 1),
            ("B", 1),
        )
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
            marks=Mark(ranges.marks[index]),
        )
