"""What a table holds, in a few numbers: to see in a new one what the old one had and it has not.

A dump that was left out, half a file of statistics, a source that closed: each shows in one of these counts, and the
guard (radb/guard.py) decides what of it is refused and what is only told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mirrornet.model.address import Family
from mirrornet.model.table import NONE, WorldTable

_FAMILIES: Final[tuple[Family, Family]] = (4, 6)
_RECORD: Final = 32  # bytes of a place, of which 4 and 5 are its country (model/table.py)


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of ranges: in each family, with a country, and by the source of their origin ("" none)."""

    ranges: dict[Family, int]
    placed: int
    sources: dict[str, int]


def tally(
    columns: Sequence[tuple[Family, NDArray[np.uint32], NDArray[np.uint8]]],
    places: bytes | memoryview,
    names: Sequence[str],
) -> Tally:
    """The counts of a table with these (family, places, sources) columns, place records and names of sources."""
    known = np.frombuffer(places, np.uint8).reshape(-1, _RECORD)[:, 4] != 0
    by_source = np.zeros(256, np.int64)
    placed = 0
    for _, of_place, of_source in columns:
        by_source += np.bincount(of_source, minlength=256)
        placed += int(np.count_nonzero(known[of_place]))
    counted = {
        names[number] if number < len(names) else "": count for number, count in enumerate(by_source.tolist()) if count
    }
    return Tally({family: len(of_place) for family, of_place, _ in columns}, placed, counted)


def tally_of(table: WorldTable) -> Tally:
    """The counts of a finished table."""
    columns = [
        (
            family,
            np.asarray(table.ranges[family].places).astype(np.uint32),
            np.asarray(table.ranges[family].sources).astype(np.uint8),
        )
        for family in _FAMILIES
    ]
    return tally(columns, table.place_records, table.sources)


assert NONE == 255  # what has no source is counted under the last number, which no name has
