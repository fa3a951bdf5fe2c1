"""Dumps and statistics → world.table on disk: the shell around the pure rooms of this room.

The old table is untouched until a new one is whole, on disk and plausible: it is written beside the target, synced and
renamed.  A table that lost more than SHRINK_LIMIT of its ranges in any family is refused without `force`, since half a
dump looks exactly like a shrunken Internet.
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from mirrornet.image.files import replacing, sync_folder, to_disk
from mirrornet.image.small import read_small
from mirrornet.model.address import Family, Prefix, parse_prefix
from mirrornet.model.errors import InputError, LimitError, LocalError
from mirrornet.model.place import Evidence
from mirrornet.model.table import MAGIC, WorldTable
from mirrornet.radb import columns
from mirrornet.radb import delegated as statistics
from mirrornet.radb.fetch import DEFAULT_LIMITS, Limits, Stream, ahead, opened
from mirrornet.radb.objects import AutNum, Block, Reason, Rejected, Route, Unused, interpret
from mirrornet.radb.ranges import Compiled, compile_table
from mirrornet.radb.records import Records
from mirrornet.radb.report import FileReport, ImportReport
from mirrornet.radb.rpsl import Piece, TooLong, pieces, without_comment_lines
from mirrornet.radb.sources import rank

Progress = Callable[[str, int, int | None], None]  # what is being done, bytes so far, bytes in all if known

SHRINK_LIMIT: Final = 0.30
ANYCAST_LIMIT: Final = 8 << 20  # bytes; the known anycast prefixes are some 300 KB
_FAMILIES: Final[tuple[Family, Family]] = (4, 6)
_DELEGATED_RANK: Final = 2  # statistics about an AS number: after an authoritative aut-num, before a third party's
_RPSL_LINE = re.compile(rb"^[A-Za-z*][A-Za-z0-9_*-]*:", re.MULTILINE)
_STATISTICS_LINE = re.compile(rb"^[\w.]+\|[\w*]*\|", re.MULTILINE)


def import_radb(
    dumps: Sequence[str],
    out: Path,
    *,
    delegated: Sequence[str] = (),
    anycast: Path | None = None,
    force: bool = False,
    now: float,
    progress: Progress | None = None,
    bogons: bool = False,
    limits: Limits = DEFAULT_LIMITS,
) -> ImportReport:
    """Makes the table `out` of `dumps` and `delegated` (paths or URLs) and says what was seen.

    `now`: Unix time, written into the table.  `bogons`: let reserved address space and private AS numbers in, for a
    laboratory.  Raises InputError (a file that is not what it should be), PeerError (a server), LimitError (the table
    shrank, or a limit of `limits`), LocalError; then the old table stands.
    """
    began = time.monotonic()
    tell = progress or (lambda what, done, total: None)
    report, records = ImportReport(), Records()
    anycast_prefixes = read_anycast(anycast) if anycast else []
    if not out.absolute().parent.is_dir():
        raise InputError(f"{out}: there is no folder {out.absolute().parent}: make it first")
    if out.exists() and not out.is_file():
        raise InputError(f"{out}: is no regular file: name the file that the table is to be")
    if not force:
        _refuse_stranger(out)
    for name in dumps:
        _read_dump(name, records, report, tell, bogons, limits)
    for name in delegated:
        _read_statistics(name, records, report, tell, bogons, limits)
    tell("compiling", 0, None)
    compiled = compile_table(records, anycast_prefixes, now)
    if compiled.places == 1:
        raise InputError(f"{', '.join(map(str, [*dumps, *delegated]))}: no usable route or block of addresses in it")
    _fill(report, compiled, records)
    if not force:
        _guard(out, compiled, report)
    tell("writing", 0, None)
    try:
        report.bytes_written = write_table(out, compiled.pieces)
    except OSError as error:
        raise LocalError(f"{out}: cannot be written: {error.strerror}; what was there before stands") from None
    report.seconds = time.monotonic() - began
    return report


def read_anycast(path: Path) -> list[Prefix]:
    """One prefix a line, "#" comments.  Raises InputError that names the line."""
    found: dict[Prefix, None] = {}
    try:
        data = read_small(path, ANYCAST_LIMIT)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}: anycast prefixes are read from a file") from None
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            prefix = parse_prefix(text)
        except ValueError:
            raise InputError(f"{path}:{number}: {text[:40]!r} is not a prefix, such as 192.0.2.0/24") from None
        if not prefix.length:
            raise InputError(f"{path}:{number}: {text} is the whole Internet: name the anycast prefixes")
        found[prefix] = None
    return list(found)


def write_table(out: Path, table: Sequence[bytes]) -> int:
    """Writes `table` beside `out`, syncs and renames it there; returns its size in bytes."""
    with replacing(out) as file:
        os.fchmod(file.fileno(), 0o644)  # whatever the umask: root imports, and a name server of another user reads
        file.writelines(table)
        to_disk(file)
        size = file.tell()
    sync_folder(out.parent)
    return size


def _read_dump(name: str, records: Records, report: ImportReport, tell: Progress, bogons: bool, limits: Limits) -> None:
    began = time.monotonic()
    with opened(name, limits) as stream:
        entry = FileReport(stream.name)
        report.files.append(entry)
        tail = _Tail()
        for piece in pieces(_checked(stream, tell, tail, _reject_non_rpsl)):
            if isinstance(piece, TooLong):
                report.count("", "(too long)")
                report.reject(Reason.TOO_LONG, stream.name, piece.line, b"")
                entry.objects += 1
            else:
                entry.objects += _read_piece(piece, stream.name, records, report, bogons)
        if not tail.text.rstrip().endswith(b"# EOF"):
            report.warnings.append(f'{stream.name}: no "# EOF" at its end, so it may be cut short')
        _finish(entry, stream, began)


def _read_piece(piece: Piece, name: str, records: Records, report: ImportReport, bogons: bool) -> int:
    """Takes in all objects of `piece`; how many they were."""
    plain = columns.read(piece.data, records.sources, bogons)
    count = 0
    for family in _FAMILIES:
        batch = plain.routes[family]
        records.add_routes(family, batch)
        for number, times in columns.count_sources(batch):
            report.count(records.sources.names[number], "route" if family == 4 else "route6", times)
            count += times
    for begin, end in plain.rest:
        text = piece.data[begin:end]
        said = interpret(text, bogons)
        if said is None:
            continue
        count += 1
        if isinstance(said, Rejected):
            report.count(said.source, said.class_name)
            body = without_comment_lines(text)
            report.reject(said.reason, name, piece.line_of(begin + text.find(body.partition(b"\n")[0])), body)
            continue
        if isinstance(said, Unused):
            report.count(said.source, said.class_name)
            continue
        if said.mends:
            report.mended.update(said.mends)
        if isinstance(said, Route):
            report.count(said.source, "route" if said.family == 4 else "route6")
            records.add_route(said)
        elif isinstance(said, Block):
            report.count(said.source, "inetnum" if said.family == 4 else "inet6num")
            records.add_block(said, Evidence.INETNUM)
        elif isinstance(said, AutNum):
            report.count(said.source, "aut-num")
            records.add_seat(said.asn, said.country, rank(said.source))
    return count


def _read_statistics(
    name: str, records: Records, report: ImportReport, tell: Progress, bogons: bool, limits: Limits
) -> None:
    began = time.monotonic()
    with opened(name, limits) as stream:
        entry = FileReport(stream.name)
        report.files.append(entry)
        kinds: Counter[str] = Counter()
        for row in statistics.rows(_checked(stream, tell, _Tail(), _reject_non_statistics), bogons):
            entry.objects += 1
            kinds[row.kind] += 1
            if isinstance(row.said, Reason):
                report.reject(row.said, stream.name, row.line, row.text)
                continue
            if row.said.mends:
                report.mended.update(row.said.mends)
            if isinstance(row.said, Block):
                records.add_block(row.said, Evidence.DELEGATED)
            else:
                for asn in range(row.said.first, row.said.first + row.said.numbers):
                    records.add_seat(asn, row.said.country, _DELEGATED_RANK)
        for kind, times in kinds.items():
            report.count("delegated", kind, times)
        if not entry.objects:
            raise InputError(f"{stream.name}: no row of delegated statistics in it")
        _finish(entry, stream, began)


class _Tail:
    """The last bytes that went by."""

    text = b""


def _checked(stream: Stream, tell: Progress, tail: _Tail, reject: Callable[[str, bytes], None]) -> Iterator[bytes]:
    """The portions of `stream`, of which the first must not make `reject` raise."""
    first = True
    for portion in ahead(stream, lambda: tell(stream.name, stream.bytes_read, stream.total)):
        if first:
            reject(stream.name, portion)
            first = False
        tail.text = (tail.text + portion[-64:])[-64:]
        yield portion
    if first:
        raise InputError(f"{stream.name}: the file is empty")


def _reject_non_rpsl(name: str, beginning: bytes) -> None:
    text = beginning[: 1 << 16]
    _reject_web_page(name, text)
    if _STATISTICS_LINE.search(text) and not _RPSL_LINE.search(text):
        raise InputError(f"{name}: these are delegated statistics: name them with --delegated")
    if b"\0" in text or not (_RPSL_LINE.search(text) or len(beginning) > len(text)):
        raise InputError(f"{name}: this is not RPSL text: expected lines such as `route: 192.0.2.0/24`")


def _reject_non_statistics(name: str, beginning: bytes) -> None:
    text = beginning[: 1 << 16]
    _reject_web_page(name, text)
    if not _STATISTICS_LINE.search(text):
        hint = ": name RPSL dumps without --delegated" if _RPSL_LINE.search(text) else ""
        raise InputError(f"{name}: these are not delegated statistics (registry|country|type|start|value|...){hint}")


def _reject_web_page(name: str, text: bytes) -> None:
    if text.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
        raise InputError(f"{name}: this is a web page, probably an error message: check the URL")


def _finish(entry: FileReport, stream: Stream, began: float) -> None:
    entry.bytes_read, entry.bytes_unpacked = stream.bytes_read, stream.bytes_unpacked
    entry.seconds = time.monotonic() - began


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
    if records.sources.dropped:
        report.warnings.append(f"more than 255 sources: {len(records.sources.dropped)} of them lost their names")


def _refuse_stranger(out: Path) -> None:
    """A dump, a zone file, whatever a slip named: what is there and was never a table is not replaced."""
    if not out.exists():
        return
    try:
        with out.open("rb") as file:
            start = file.read(len(MAGIC))
    except OSError as error:
        raise LocalError(f"{out}: {error.strerror}") from None
    if start not in (MAGIC, b""):
        raise InputError(f"{out}: is there and is no table, so it stays: name another file, or --force replaces it")


def _guard(out: Path, compiled: Compiled, report: ImportReport) -> None:
    try:
        old = WorldTable(out.read_bytes(), str(out), verify=False)
    except FileNotFoundError:
        return
    except InputError as error:
        report.warnings.append(f"the old table could not be compared: {error}")
        return
    for family in _FAMILIES:
        before, after = len(old.ranges[family].starts), compiled.ranges[family]
        if after < before * (1 - SHRINK_LIMIT):
            lost = 100 * (before - after) / before
            raise LimitError(
                f"{out}: the new table has {after:,} IPv{family} ranges and the old one {before:,} ({lost:.0f} % lost, "
                f"limit {SHRINK_LIMIT:.0%}), so the old one stays: are the dumps whole? --force replaces it"
            )
