"""A geolocation database in MaxMind's format (DB-IP, GeoLite2, ip-location-db): networks → country, point, radius.

The format is a binary tree over address bits whose leaves point at records; five million networks share a hundred
thousand records.  So the tree is walked here, a level at a time for all branches at once (numpy; 300,000 networks in
0.16 s, the library's own iteration alone takes 0.62 s), and each different record is read once, through maxminddb's
public get().  A walk also knows its bound: a tree has no more branches than nodes, so a damaged file that points back
into itself ends with an error.

An IPv6 tree holds IPv4 under ::/96 and repeats it by alias under 2002::/16 and 2001::/32 (6to4, Teredo); these are
folded when a client is looked up (model/address.py), so only 2000::/3 without them is walked.  What lies below /64 is
taken from its first address.  The tree's layout: maxmind.github.io/MaxMind-DB, "Binary Search Tree Section".
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any, Final

import maxminddb
import numpy as np
from numpy.typing import NDArray

from mirrornet.model.address import Family, width
from mirrornet.model.errors import InputError, LocalError
from mirrornet.model.place import Evidence
from mirrornet.model.table import NONE
from mirrornet.radb.bogons import PREFIXES
from mirrornet.radb.compiling.sweep import last_addresses
from mirrornet.radb.reading.objects import country_code
from mirrornet.radb.records import U8, U64, Blocks, Records, Spot

RADIUS_KM: Final = 100  # where a record does not say: two such databases differ by 54 km in the median, 640 at p75
GREATEST_RADIUS_KM: Final = 20_000
_PROBED: Final = 5_000  # records without country and place, after which it is another kind of database
_ALIASES: Final = {16: 0x2002 << 48, 32: 0x20010000 << 32}  # by length: 6to4 and Teredo repeat all of IPv4

I64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Leaves:
    """One family's networks, as columns; `pointers` tell equal records."""

    values: U64
    lengths: U8
    pointers: NDArray[np.uint32]


class DamagedTree(ValueError):
    """The search tree contradicts itself."""


def read_mmdb(path: Path, records: Records, bogons: bool = False) -> int:
    """Takes in all networks of `path` that have a country or a point; returns how many.  Raises InputError."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file: geolocation databases are read from files, not from URLs")
    try:
        reader = maxminddb.open_database(path)
    except PermissionError as error:
        raise LocalError(f"{path}: cannot be read: {error.strerror}") from None
    except Exception as error:  # whatever its decoder stumbles over in bytes that are something else
        hint = ": unpack it first" if _packed(path) else ": expected .mmdb, as DB-IP and MaxMind publish it"
        raise InputError(f"{path}: this is no geolocation database ({_short(error)}){hint}") from None
    with reader:
        try:
            return _read(reader, path, records, bogons)
        except (InputError, MemoryError):
            raise
        except Exception as error:
            raise InputError(f"{path}: this database is damaged ({_short(error)}): fetch it again") from None


def _read(reader: Any, path: Path, records: Records, bogons: bool) -> int:
    about = reader.metadata()
    tree = children(np.memmap(path, np.uint8, "r"), about.node_count, about.record_size)
    known: dict[int, tuple[int, int]] = {}
    taken = 0
    for family in (4, 6) if about.ip_version == 6 else (4,):
        leaves = walk(tree, family, about.ip_version)
        different, first, which = np.unique(leaves.pointers, return_index=True, return_inverse=True)
        said = np.zeros((len(different), 2), np.int64)
        for number, (pointer, value) in enumerate(zip(different.tolist(), leaves.values[first].tolist(), strict=True)):
            if pointer not in known:
                address = IPv4Address(value) if family == 4 else IPv6Address(value << 64)
                country, spot = interpret(reader.get(address))
                known[pointer] = (
                    records.geography.country(country) if country else 0,
                    records.geography.spot(spot) if spot else 0,
                )
                if len(known) == _PROBED and not any(map(any, known.values())):
                    raise InputError(
                        f"{path}: {about.database_type[:40]!r} names no country and no place: which is it?"
                    )
            said[number] = known[pointer]
        taken += _take(family, leaves, said[which], records, bogons)
    if not taken:
        raise InputError(
            f"{path}: {about.database_type[:40]!r} names no country and no place: is it the right database?"
        )
    return taken


def _take(family: Family, leaves: Leaves, said: I64, records: Records, bogons: bool) -> int:
    lasts = last_addresses(leaves.values, leaves.lengths, width(family))
    chosen = said.any(axis=1)
    if not bogons:
        for prefix in PREFIXES[family]:
            chosen &= ~((leaves.values >= np.uint64(prefix.value)) & (lasts <= np.uint64(prefix.last)))
    count = int(np.count_nonzero(chosen))
    batch = Blocks(
        leaves.values[chosen],
        lasts[chosen],
        said[chosen, 0].astype(np.uint16),
        said[chosen, 1].astype(np.uint32),
        np.full(count, int(Evidence.MMDB), np.uint8),
        np.full(count, NONE, np.uint8),
    )
    records.add_blocks(family, batch)
    return count


def children(data: NDArray[np.uint8], nodes: int, record_size: int) -> NDArray[np.uint32]:
    """Both children of every node, as (nodes, 2).  Raises DamagedTree where `data` cannot hold them."""
    size = record_size // 4
    if record_size not in (24, 28, 32) or not 0 < nodes < 1 << 31 or nodes * size > len(data):
        raise DamagedTree("its search tree does not fit into the file")
    octets = np.asarray(data[: nodes * size]).reshape(nodes, size)
    if record_size == 32:
        return octets.view(">u4").astype(np.uint32)
    wide = octets.astype(np.uint32)
    left = wide[:, 0] << 16 | wide[:, 1] << 8 | wide[:, 2]
    right = wide[:, size - 3] << 16 | wide[:, size - 2] << 8 | wide[:, size - 1]
    if record_size == 28:
        left |= (wide[:, 3] >> 4) << 24
        right |= (wide[:, 3] & 15) << 24
    return np.stack([left, right], axis=1)


def walk(tree: NDArray[np.uint32], family: Family, version: int) -> Leaves:
    """All networks of `family` in a tree of IP `version`, with what they point at.  Raises DamagedTree."""
    nodes, bits = len(tree), width(family)
    value, depth = (0, 0) if family == 4 else (1 << 61, 3)
    node = _descend(tree, [0] * 96 if family == 4 and version == 6 else [0, 0, 1] if family == 6 else [])
    at, values = np.array([node], np.uint32), np.array([value], np.uint64)
    found: list[Leaves] = []
    visited = 0
    for level in range(depth, bits + 1):
        leaf = at > nodes
        found.append(Leaves(values[leaf], np.full(int(leaf.sum()), level, np.uint8), at[leaf]))
        inner = at < nodes
        if level in _ALIASES and family == 6:
            inner &= values != np.uint64(_ALIASES[level])
        at, values = at[inner], values[inner]
        visited += len(at)
        if visited > 2 * nodes:
            raise DamagedTree("its search tree leads back into itself")
        if level < bits:
            values = np.repeat(values, 2)
            values[1::2] |= np.uint64(1 << (bits - 1 - level))
            at = tree[at].reshape(-1)
    for _ in range(128 - bits if version == 6 and family == 6 else 0):
        if not len(at):
            break
        at = np.where(tree[at, 0] != nodes, tree[at, 0], tree[at, 1])
        leaf = at > nodes
        found.append(Leaves(values[leaf], np.full(int(leaf.sum()), bits, np.uint8), at[leaf]))
        at, values = at[at < nodes], values[at < nodes]
    return Leaves(
        np.concatenate([part.values for part in found]),
        np.concatenate([part.lengths for part in found]),
        np.concatenate([part.pointers for part in found]),
    )


def _descend(tree: NDArray[np.uint32], path: list[int]) -> int:
    """The node or leaf at `path`; a leaf above it counts for all below."""
    node = 0
    for bit in path:
        if node >= len(tree):
            break
        node = int(tree[node, bit])
    return node


def interpret(record: object) -> tuple[str, Spot | None]:
    """Country ("" none) and spot of one record, of whichever maker's fields."""
    if not isinstance(record, dict):
        return "", None
    country = record.get("country")
    code = country.get("iso_code") if isinstance(country, dict) else country or record.get("country_code")
    known = country_code(code.encode()) if isinstance(code, str) and len(code) == 2 else ""
    place = record.get("location")
    place = place if isinstance(place, dict) else record
    latitude = _degrees(place, ("latitude", "lat"), 90)
    longitude = _degrees(place, ("longitude", "lng", "lon"), 180)
    if latitude is None or longitude is None or (latitude == longitude == 0):
        return known, None
    radius = place.get("accuracy_radius")
    if not isinstance(radius, int) or not 0 < radius <= GREATEST_RADIUS_KM:
        radius = RADIUS_KM
    return known, (latitude, longitude, radius, Evidence.MMDB)


def _degrees(place: dict[str, Any], names: tuple[str, ...], limit: int) -> float | None:
    for name in names:
        said = place.get(name)
        try:
            number = float(said) if isinstance(said, int | float | str) and not isinstance(said, bool) else None
        except (ValueError, OverflowError):
            number = None
        if number is not None and abs(number) <= limit:
            return number
    return None


def _packed(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4).startswith((b"\x1f\x8b", b"PK\3\4", b"\xfd7zX"))
    except OSError:
        return False


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:80] or type(error).__name__
