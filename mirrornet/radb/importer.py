"""Dumps and statistics → world.table on disk: the shell around the pure rooms of this room.

The old table is untouched until a new one is whole, on disk and plausible (guard.py): it is written beside the target,
synced and renamed, and the old one is kept (generations.py).
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mirrornet.image.files import replacing, sync_folder, to_disk
from mirrornet.model.address import Family, Prefix
from mirrornet.model.errors import InputError, LocalError
from mirrornet.model.sets import SECTION as SETS
from mirrornet.radb.compiling.ranges import Compiled, compile_table
from mirrornet.radb.fetch import DEFAULT_LIMITS, Limits
from mirrornet.radb.fetching.freshness import SECTION as INPUTS
from mirrornet.radb.fetching.limits import Changed
from mirrornet.radb.generations import keep
from mirrornet.radb.guard import compare, former_inputs, former_sets, refuse_stranger
from mirrornet.radb.inputs import Inputs, read_anycast, read_weights
from mirrornet.radb.reading.opening import Progress
from mirrornet.radb.records import Records
from mirrornet.radb.report import ImportReport
from mirrornet.radb.sets.section import make as make_sets
from mirrornet.radb.sources import DEFAULT

_FAMILIES: Final[tuple[Family, Family]] = (4, 6)


def import_radb(
    dumps: Sequence[str],
    out: Path,
    *,
    delegated: Sequence[str] = (),
    anycast: Path | None = None,
    sources: Path | None = None,
    vrps: str | None = None,
    geofeeds: Sequence[str] = (),
    mmdbs: Sequence[str] = (),
    relations: str | None = None,
    force: bool = False,
    now: float,
    progress: Progress | None = None,
    bogons: bool = False,
    confirmed: Sequence[str] = (),
    limits: Limits = DEFAULT_LIMITS,
) -> ImportReport:
    """Makes the table `out` of `dumps` and `delegated` (paths or URLs) and says what was seen.

    `sources`: an operator's table of ranks (sources.py).  `vrps`, `geofeeds`, `mmdbs`, `relations`: reading/further.py.
    `confirmed`: sets whose new content is accepted though it is another (sets/changes.py), or "all".
    `now`: Unix time, written into the table.  `bogons`: let reserved address space and private AS numbers in, for a
    laboratory.  Raises InputError (a file that is not what it should be), PeerError (a server), LimitError (the table
    shrank, or a limit of `limits`), LocalError; then the old table stands.  It stands as well where dumps were named
    by URL and nothing is new (report.nothing_new), unless `force`.
    """
    began = time.monotonic()
    tell = progress or (lambda what, done, total: None)
    inputs = Inputs(
        dumps=dumps,
        delegated=delegated,
        vrps=vrps,
        geofeeds=geofeeds,
        mmdbs=mmdbs,
        relations=relations,
        anycast=read_anycast(anycast) if anycast else (),
        weights=read_weights(sources) if sources else DEFAULT,
        bogons=bogons,
        limits=limits,
    )
    if not out.absolute().parent.is_dir():
        raise InputError(f"{out}: there is no folder {out.absolute().parent}: make it first")
    if out.exists() and not out.is_file():
        raise InputError(f"{out}: is no regular file: name the file that the table is to be")
    if not force:
        refuse_stranger(out)
        if inputs.fetched and not confirmed and inputs.nothing_new(former_inputs(out)):
            return ImportReport(nothing_new=True, seconds=time.monotonic() - began)
    local = inputs.on_disk()
    try:
        records, report, extra = inputs.read(tell)
    except Changed as error:  # a registry put a new dump there while we read the old one: once more, from the start
        records, report, extra = inputs.read(tell)
        report.warnings.append(f"{error}; everything was read again")
    if memory := inputs.remember(local, report):
        extra[INPUTS] = memory
    section, report.sets = make_sets(records.sets, inputs.weights.rank, former_sets(out), confirmed)
    if section:
        extra[SETS] = section
    tell("compiling", 0, None)
    compiled = compile_table(records, inputs.anycast, now, extra, bogons)
    if compiled.places == 1:
        raise InputError(f"{', '.join(map(str, [*dumps, *delegated]))}: no usable route or block of addresses in it")
    _fill(report, compiled, records)
    report.warnings += compare(out, compiled.tally, force)
    tell("writing", 0, None)
    try:
        report.bytes_written = write_table(out, compiled.pieces)
    except OSError as error:
        raise LocalError(f"{out}: cannot be written: {error.strerror}; what was there before stands") from None
    report.seconds = time.monotonic() - began
    return report


def write_table(out: Path, table: Sequence[bytes]) -> int:
    """Writes `table` beside `out`, syncs, keeps what is there and takes its place; returns the size in bytes."""
    with replacing(out) as file:
        os.fchmod(file.fileno(), 0o644)  # whatever the umask: root imports, and a name server of another user reads
        file.writelines(table)
        to_disk(file)
        size = file.tell()
        keep(out)
    sync_folder(out.parent)
    return size


def _fill(report: ImportReport, compiled: Compiled, records: Records) -> None:
    report.ranges = {str(family): compiled.ranges[family] for family in _FAMILIES}
    report.routes = {str(family): compiled.prefixes[family] for family in _FAMILIES}
    report.places = compiled.places
    for family in _FAMILIES:
        origins = compiled.origins[family]
        report.conflicts += origins.conflicts
        for conflict in origins.samples:
            (asn, source), *others = conflict.taken, *conflict.passed
            name = dict(enumerate(records.sources.names)).get
            passed = ", ".join(f"AS{other} ({name(number, 'no source')})" for other, number in others)
            prefix = Prefix(family, conflict.value, conflict.length)
            report.conflict_samples.append(f"{prefix}: AS{asn} ({name(source, 'no source')}) before {passed}")
        rpki = compiled.rpki[family]
        report.rpki_valid += rpki.valid
        report.rpki_invalid += rpki.invalid
        report.rpki_stand_ins += rpki.stand_ins
        for dropped in rpki.samples:
            prefix = Prefix(family, dropped.value, dropped.length)
            named = dict(enumerate(records.sources.names)).get(dropped.source, "no source")
            report.rpki_samples.append(f"{prefix} AS{dropped.asn} ({named})")
    if records.sources.dropped:
        report.warnings.append(f"more than 255 sources: {len(records.sources.dropped)} of them lost their names")
