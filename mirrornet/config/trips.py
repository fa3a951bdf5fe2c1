"""The operator's table of round-trip times: `round_trips: FILE` of a zone file.

    from,to,ms
    JP,continent:EU,215          # countries (ISO 3166-1), continents, and the regions of data/detours.py
    region:us-west,JP,104

A row stands for both directions, unless the other has one of its own.  The more exact words win; what is not listed
goes by distance.  How much a row counts is said in dns/ranking/estimate.py.

Not YAML: such tables come out of a measurement's spreadsheet or database, and have thousands of rows.
"""

from __future__ import annotations

import csv
import math
from typing import Final

from mirrornet.config.faults import Wrong, quote
from mirrornet.data.countries import COUNTRIES
from mirrornet.data.detours import REGIONS
from mirrornet.model.names import suggest
from mirrornet.model.problem import Problem

RANGE_MS: Final = (0.1, 2000.0)
_CONTINENTS: Final = sorted({country.continent for country in COUNTRIES.values()})
_TOLD: Final = 20  # faults of one file; a file of another kind is wrong in every line


def read_round_trips(text: str, file: str) -> tuple[dict[tuple[str, str], float], list[Problem]]:
    """(ms by two words, problems) of the table `text`."""
    found: dict[tuple[str, str], float] = {}
    lines: dict[tuple[str, str], int] = {}
    problems: list[Problem] = []
    faults = 0
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        try:
            row = _row(line.partition("#")[0].strip())
            if row is None or (number == 1 and row == ["from", "to", "ms"]):
                continue
            pair, ms = _meant(row)
            if pair in found:
                raise Wrong(f"{pair[0]} to {pair[1]} is on line {lines[pair]} already", "keep one of the two")
            found[pair], lines[pair] = ms, number
        except Wrong as wrong:
            faults += 1
            if faults <= _TOLD:
                problems.append(Problem(file, number, wrong.what, wrong.hint))
    if faults > _TOLD:
        problems.append(Problem(file, 0, f"{faults - _TOLD} more lines are wrong", "a row is `JP,continent:EU,215`"))
    if not found and not faults:
        problems.append(Problem(file, 0, "the table is empty", "a row is `JP,continent:EU,215`", warning=True))
    return found, problems


def _row(line: str) -> list[str] | None:
    if not line:
        return None
    try:
        return [field.strip() for field in next(csv.reader([line], strict=True))]
    except (csv.Error, StopIteration):
        raise Wrong(f"{quote(line)} is no row of a CSV file", "a row is `JP,continent:EU,215`") from None


def _meant(row: list[str]) -> tuple[tuple[str, str], float]:
    if len(row) != 3:
        raise Wrong(f"a row has three fields, this one {len(row)}", "from, to, ms, such as `JP,continent:EU,215`")
    try:
        ms = float(row[2])
    except ValueError:
        ms = math.nan
    if not RANGE_MS[0] <= ms <= RANGE_MS[1]:
        raise Wrong(f"{quote(row[2])} is no round-trip time", f"milliseconds, {RANGE_MS[0]:g} to {RANGE_MS[1]:g}")
    return (_word(row[0]), _word(row[1])), ms


def _word(text: str) -> str:
    """A country, `continent:XX` or `region:NAME`, as terms.words() has them."""
    kind, colon, name = text.rpartition(":")
    kind = kind.lower()
    if not colon:
        if text.upper() in COUNTRIES:
            return text.upper()
        what = f"{quote(text)} is no country that we know"
        raise Wrong(what, suggest(text, REGIONS) or "two letters of ISO 3166-1, continent:EU or region:japan")
    if kind == "continent":
        if name.upper() in _CONTINENTS:
            return f"continent:{name.upper()}"
        raise Wrong(f"{quote(name)} is no continent", " ".join(_CONTINENTS))
    if kind == "region":
        if name.lower() in REGIONS:
            return f"region:{name.lower()}"
        raise Wrong(f"{quote(name)} is no region", suggest(name, REGIONS) or "mirrornet/data/detours.py lists them")
    raise Wrong(f"{quote(text)} is no country, continent or region", "JP, continent:AS or region:japan")
