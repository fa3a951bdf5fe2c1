"""A dump or a file of statistics, read into Records: the loop over pieces and rows.

What a file is not is said before it is read: statistics in place of RPSL, the other way round, or neither.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from mirrornet.model.address import Family
from mirrornet.model.errors import InputError
from mirrornet.model.place import Evidence
from mirrornet.model.table import NONE
from mirrornet.radb.facts import AutNum, Block, Reason, Route, SetObject
from mirrornet.radb.fetch import Limits
from mirrornet.radb.reading import delegated, rows
from mirrornet.radb.reading.batch import Batch
from mirrornet.radb.reading.columns import count_sources
from mirrornet.radb.reading.opening import BEGINNING, Progress, reading
from mirrornet.radb.reading.rpsl import TooLong, pieces
from mirrornet.radb.reading.second import understood
from mirrornet.radb.records import Blocks, Records
from mirrornet.radb.report import ImportReport

_FAMILIES: Final[tuple[Family, Family]] = (4, 6)
_DELEGATED_RANK: Final = 2  # statistics about an AS number: after an authoritative aut-num, before a third party's
_RPSL_LINE = re.compile(rb"^[A-Za-z*][A-Za-z0-9_*-]*:", re.MULTILINE)
_STATISTICS_LINE = re.compile(rb"^[\w.]+\|[\w*]*\|", re.MULTILINE)


def read_dump(
    name: str,
    records: Records,
    report: ImportReport,
    tell: Progress,
    bogons: bool,
    limits: Limits,
    processes: int | None = None,
) -> None:
    """Takes in all objects of the dump `name` (path or URL).  Raises InputError, PeerError, LimitError.

    `processes`: 1 or 2 to read it (None: two where there are two processors and enough to read); both give the same.
    """
    with reading(name, report, tell, limits, _reject_non_rpsl) as dump:
        tail = _Tail()
        for piece, batch in understood(pieces(tail.of(dump.portions)), bogons, processes):
            if batch is None:
                report.count("", "(too long)")
                start = piece.start if isinstance(piece, TooLong) else b""
                report.reject(Reason.TOO_LONG, dump.name, piece.line, start)
                dump.entry.objects += 1
            else:
                dump.entry.objects += batch.objects
                _take_in(batch, piece.line, dump.name, records, report)
        if not tail.text.rstrip().endswith(b"# EOF"):
            report.warnings.append(f'{dump.name}: no "# EOF" at its end, so it may be cut short')


def _take_in(batch: Batch, line: int, name: str, records: Records, report: ImportReport) -> None:
    """Takes in all that a piece of the file `name` says, which begins on `line`."""
    numbers = np.full(256, NONE, np.uint8)
    numbers[: len(batch.names)] = [records.sources.number(source) for source in batch.names]
    for source in sorted(batch.dropped):
        records.sources.number(source)
    for family in _FAMILIES:
        routes = batch.plain.routes[family]
        records.add_routes(family, replace(routes, sources=numbers[routes.sources]))
    names = [*batch.names, *("" for _ in range(256 - len(batch.names)))]  # more than 255 sources: the rest is nameless
    for family in _FAMILIES:
        for number, times in count_sources(batch.plain.routes[family].sources):
            report.count(names[number], "route" if family == 4 else "route6", times)
    seats = batch.plain.seats
    for number, times in count_sources(seats.sources):
        report.count(names[number], "aut-num", times)
    ranks = np.array([records.sources.weights.rank(source) for source in names], np.uint8)
    countries = np.array([records.geography.country(code) for code in seats.codes], np.uint16)
    records.add_seats(seats.asns, countries[seats.countries], ranks[seats.sources])
    for (source, class_name), times in batch.passed.items():
        report.count(source, class_name, times)
    report.mended.update(batch.mended)
    for reason, times in batch.rejected.items():
        samples = batch.samples[reason]
        for sample in samples:
            report.reject(reason, name, line + sample.line, sample.text)
        report.rejected[reason].count += times - len(samples)
    for said in batch.said:
        if isinstance(said, Route):
            report.count(said.source, "route" if said.family == 4 else "route6")
            records.add_route(said)
        elif isinstance(said, Block):
            report.count(said.source, "inetnum" if said.family == 4 else "inet6num")
            records.add_block(said, Evidence.INETNUM)
        elif isinstance(said, AutNum):
            report.count(said.source, "aut-num")
            records.add_seat(said.asn, said.country, records.sources.weights.rank(said.source))
        elif isinstance(said, SetObject):
            report.count(said.source, said.class_name)
            records.sets.add(said)
        if isinstance(said, Route | AutNum) and said.claim.sets:
            records.sets.claim(said)


def read_statistics(
    name: str, records: Records, report: ImportReport, tell: Progress, bogons: bool, limits: Limits
) -> None:
    """Takes in all rows of the delegated statistics `name` (path or URL).  Raises as read_dump()."""
    with reading(name, report, tell, limits, _reject_non_statistics) as file:
        kinds: Counter[str] = Counter()
        line = 1
        for data in delegated.pieces(file.portions):
            plain = rows.read(data, bogons)
            _take_plain(plain, records, kinds)
            for number, (begin, end) in plain.rest:
                row = delegated.row(line + number, data[begin:end].rstrip(b"\r"), bogons)
                if row is not None:
                    _take_row(row, file.name, records, report, kinds)
            line += plain.lines
        file.entry.objects = kinds.total()
        for kind, times in kinds.items():
            report.count("delegated", kind, times)
        if not file.entry.objects:
            raise InputError(f"{file.name}: no row of delegated statistics in it")


def _take_plain(plain: rows.Rows, records: Records, kinds: Counter[str]) -> None:
    countries = np.array([records.geography.country(code) for code in plain.codes], np.uint16)
    for kind, held in plain.kinds.items():
        count = len(held.firsts)
        if count:
            kinds[kind] += count
        if kind == "asn":
            numbers = (held.lasts - held.firsts).astype(np.int64) + 1
            before = np.cumsum(numbers) - numbers
            asns = np.arange(int(numbers.sum())) + np.repeat(held.firsts.astype(np.int64) - before, numbers)
            ranks = np.full(len(asns), _DELEGATED_RANK, np.uint8)
            records.add_seats(asns.astype(np.uint32), np.repeat(countries[held.countries], numbers), ranks)
        else:
            blocks = Blocks(
                held.firsts,
                held.lasts,
                countries[held.countries],
                np.zeros(count, np.uint32),
                np.full(count, int(Evidence.DELEGATED), np.uint8),
                np.full(count, NONE, np.uint8),
            )
            records.add_blocks(4 if kind == "ipv4" else 6, blocks)


def _take_row(row: delegated.Row, name: str, records: Records, report: ImportReport, kinds: Counter[str]) -> None:
    kinds[row.kind] += 1
    if isinstance(row.said, Reason):
        report.reject(row.said, name, row.line, row.text)
        return
    report.mended.update(row.said.mends)
    if isinstance(row.said, Block):
        records.add_block(row.said, Evidence.DELEGATED)
    else:
        for asn in range(row.said.first, row.said.first + row.said.numbers):
            records.add_seat(asn, row.said.country, _DELEGATED_RANK)


class _Tail:
    """The last bytes that went by."""

    text = b""

    def of(self, portions: Iterator[bytes]) -> Iterator[bytes]:
        for portion in portions:
            self.text = (self.text + portion[-64:])[-64:]
            yield portion


def _reject_non_rpsl(name: str, beginning: bytes) -> None:
    if _STATISTICS_LINE.search(beginning) and not _RPSL_LINE.search(beginning):
        raise InputError(f"{name}: these are delegated statistics: name them with --delegated")
    if b"\0" in beginning or not (_RPSL_LINE.search(beginning) or len(beginning) >= BEGINNING):
        raise InputError(f"{name}: this is not RPSL text: expected lines such as `route: 192.0.2.0/24`")


def _reject_non_statistics(name: str, beginning: bytes) -> None:
    if not _STATISTICS_LINE.search(beginning):
        hint = ": name RPSL dumps without --delegated" if _RPSL_LINE.search(beginning) else ""
        raise InputError(f"{name}: these are not delegated statistics (registry|country|type|start|value|...){hint}")
