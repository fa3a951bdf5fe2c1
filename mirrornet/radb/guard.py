"""Whether a new table may take the place of the old one.

Half a dump looks exactly like a shrunken Internet, and a forgotten `--delegated` leaves every range where it was and
takes its country away.  So a table that lost more than SHRINK_LIMIT of its ranges in any family, or of those that have
a country, is refused without `--force`.  A source that shrank as much is told and not refused: registries close
(LEVEL3), are mirrored no more, or are left out by an operator who knows why, and a nightly import must not stop there.

What was never a table is not replaced at all: a slip may have named a dump or a zone file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from mirrornet.model.address import Family
from mirrornet.model.errors import InputError, LimitError, LocalError
from mirrornet.model.sets import SECTION, Sets
from mirrornet.model.table import MAGIC, WorldTable
from mirrornet.radb.compiling.tally import Tally, tally_of
from mirrornet.radb.fetching.freshness import SECTION as INPUTS

SHRINK_LIMIT: Final = 0.30
NOTICED: Final = 100  # ranges that a source must have had for its loss to be told
_FAMILIES: Final[tuple[Family, Family]] = (4, 6)


def refuse_stranger(out: Path) -> None:
    """Raises InputError where `out` is there and was never a table."""
    if not out.exists():
        return
    try:
        with out.open("rb") as file:
            start = file.read(len(MAGIC))
    except OSError as error:
        raise LocalError(f"{out}: {error.strerror}") from None
    if start not in (MAGIC, b""):
        raise InputError(f"{out}: is there and is no table, so it stays: name another file, or --force replaces it")


def compare(out: Path, new: Tally, force: bool) -> list[str]:
    """What the table at `out` had and `new` has not, as warnings.  Raises LimitError unless `force`."""
    try:
        before = tally_of(WorldTable(out.read_bytes(), str(out), verify=False))
    except FileNotFoundError:
        return []
    except InputError as error:
        return [f"the old table could not be compared: {error}"]
    except (IndexError, ValueError):  # its checksum was not looked at
        return ["the old table could not be compared: it is damaged"]
    told = shrunken_sources(before, new)
    fault = loss(before, new)
    if fault and not force:
        of_sources = f" ({'; '.join(told)})" if told else ""
        raise LimitError(
            f"{out}: {fault}{of_sources}, limit {SHRINK_LIMIT:.0%}, so the old one stays: are the dumps whole, is none "
            "forgotten? --force replaces it"
        )
    return [*([f"the new table is much smaller: {fault}"] if fault else []), *told]


def former_inputs(out: Path) -> bytes:
    """What the table at `out` remembers of its inputs; empty where it is none, is damaged, or remembers nothing."""
    try:
        return bytes(WorldTable(out.read_bytes(), str(out)).section(INPUTS))
    except (OSError, InputError):
        return b""


def former_sets(out: Path) -> Sets | None:
    """The as-sets and route-sets of the table at `out`; None where there is none that can be read."""
    try:
        data = out.read_bytes()
        if not len(WorldTable(data, str(out), verify=False).section(SECTION)):
            return None
        return Sets.read(WorldTable(data, str(out)).section(SECTION))
    except (OSError, InputError):  # compare() tells of it
        return None


def loss(before: Tally, new: Tally) -> str:
    """What `new` lost more of than may be; "" where nothing."""
    counts = [(f"IPv{family} ranges", before.ranges[family], new.ranges[family]) for family in _FAMILIES]
    for what, had, has in [*counts, ("ranges with a country", before.placed, new.placed)]:
        if has < had * (1 - SHRINK_LIMIT):
            return f"the new table has {has:,} {what} and the old one {had:,}, {100 * (had - has) / had:.0f} % lost"
    return ""


def shrunken_sources(before: Tally, new: Tally) -> list[str]:
    """Each source that lost more than SHRINK_LIMIT, the largest first."""
    lost = [
        (had, name, new.sources.get(name, 0))
        for name, had in before.sources.items()
        if name and had >= NOTICED and new.sources.get(name, 0) < had * (1 - SHRINK_LIMIT)
    ]
    return [
        f"source {name} has {has:,} ranges and had {had:,}" if has else f"source {name} is gone; it had {had:,} ranges"
        for had, name, has in sorted(lost, reverse=True)
    ]
