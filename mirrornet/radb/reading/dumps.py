"""A dump or a file of statistics, opened, checked and read into Records: the loop over pieces and rows.

What a file is not is said before it is read: a web page, statistics in place of RPSL, a file that is empty.
"""

from __future__ import annotations

import itertools
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from mirrornet.model.address import Family
from mirrornet.model.errors import InputError
from mirrornet.model.place import Evidence
from mirrornet.model.table import NONE
from mirrornet.radb.facts import AutNum, Block, Reason, Route, SetObject
from mirrornet.radb.fetch import Limits, Stream, ahead, opened
from mirrornet.radb.reading import delegated, rows
from mirrornet.radb.reading.batch import Batch, padded, understand
from mirrornet.radb.reading.columns import count_sources
from mirrornet.radb.reading.rpsl import Piece, TooLong, pieces
from mirrornet.radb.reading.second import second
from mirrornet.radb.records import Blocks, Records
from mirrornet.radb.report import FileReport, ImportReport

_Understood = tuple[int, Piece | TooLong, Batch | None]  # the number of the piece, the piece, what it says
Progress = Callable[[str, int, int | None], None]  # what is being done, bytes so far, bytes in all if known

_FAMILIES: Final[tuple[Family, Family]] = (4, 6)
_ALONE: Final = 4  # pieces that one process reads before it asks for another: 50 ms, a third of what its start takes
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
    began = time.monotonic()
    with opened(name, limits) as stream:
        entry = FileReport(stream.name)
        report.files.append(entry)
        tail = _Tail()
        found = pieces(_checked(stream, tell, tail, _reject_non_rpsl))
        for piece, batch in _in_order(_understood(found, bogons, processes)):
            if batch is None:
                report.count("", "(too long)")
                report.reject(Reason.TOO_LONG, stream.name, piece.line, b"")
                entry.objects += 1
            else:
                entry.objects += batch.objects
                _take_in(batch, piece.line, stream.name, records, report)
        if not tail.text.rstrip().endswith(b"# EOF"):
            report.warnings.append(f'{stream.name}: no "# EOF" at its end, so it may be cut short')
        _finish(entry, stream, began)


def _understood(found: Iterator[Piece | TooLong], bogons: bool, processes: int | None) -> Iterator[_Understood]:
    """What each piece says, by one process or two, in any order.  A dump of a few pieces is read before two would."""
    numbered = enumerate(found)
    alone = _ALONE if processes is None else 0
    if processes == 1 or (processes is None and len(os.sched_getaffinity(0)) < 2):
        alone = -1
    for number, piece in itertools.islice(numbered, alone if alone >= 0 else None):
        yield number, piece, _here(piece, bogons)
    waiting = next(numbered, None)
    if waiting is None:
        return
    with second(bogons) as other:
        away: dict[int, Piece] = {}

        def back(wait: bool) -> Iterator[_Understood]:
            for number, batch in other.collect(wait) if other else ():
                piece = away.pop(number)
                yield number, piece, _here(piece, bogons) if isinstance(batch, bytes) else batch

        for number, piece in itertools.chain([waiting], numbered):
            yield from back(wait=False)
            if isinstance(piece, Piece) and other is not None and other.offer(number, piece.data):
                away[number] = piece
            else:
                yield number, piece, _here(piece, bogons)
        yield from back(wait=True)


def _here(piece: Piece | TooLong, bogons: bool) -> Batch | None:
    return understand(padded(piece.data), len(piece.data), bogons) if isinstance(piece, Piece) else None


def _in_order(understood: Iterator[_Understood]) -> Iterator[tuple[Piece | TooLong, Batch | None]]:
    """The same in the order of the file, so that nothing depends on who was quicker."""
    early: dict[int, tuple[Piece | TooLong, Batch | None]] = {}
    following = 0
    for number, piece, batch in understood:
        early[number] = (piece, batch)
        while following in early:
            yield early.pop(following)
            following += 1


def _take_in(batch: Batch, line: int, name: str, records: Records, report: ImportReport) -> None:
    """Takes in all that a piece of the file `name` says, which begins on `line`."""
    numbers = np.full(256, NONE, np.uint8)
    numbers[: len(batch.names)] = [records.sources.number(source) for source in batch.names]
    for source in sorted(batch.dropped):
        records.sources.number(source)
    for family in _FAMILIES:
        routes = batch.plain.routes[family]
        routes = replace(routes, sources=numbers[routes.sources])
        records.add_routes(family, routes)
        for number, times in count_sources(routes.sources):
            report.count(records.sources.names[number], "route" if family == 4 else "route6", times)
    seats = batch.plain.seats
    for number, times in count_sources(seats.sources):
        report.count(batch.names[number], "aut-num", times)
    ranks = [records.sources.weights.rank(source) for source in batch.names]
    for asn, number, country in zip(seats.asns.tolist(), seats.sources.tolist(), seats.countries.tolist(), strict=True):
        records.add_seat(asn, seats.codes[country], ranks[number])
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
    began = time.monotonic()
    with opened(name, limits) as stream:
        entry = FileReport(stream.name)
        report.files.append(entry)
        kinds: Counter[str] = Counter()
        line = 1
        for data in delegated.pieces(_checked(stream, tell, _Tail(), _reject_non_statistics)):
            plain = rows.read(data, bogons)
            _take_plain(plain, records, kinds)
            for number, (begin, end) in plain.rest:
                row = delegated.row(line + number, data[begin:end].rstrip(b"\r"), bogons)
                if row is not None:
                    _take_row(row, stream.name, records, report, kinds)
            line += plain.lines
        entry.objects = kinds.total()
        for kind, times in kinds.items():
            report.count("delegated", kind, times)
        if not entry.objects:
            raise InputError(f"{stream.name}: no row of delegated statistics in it")
        _finish(entry, stream, began)


def _take_plain(plain: rows.Rows, records: Records, kinds: Counter[str]) -> None:
    countries = np.array([records.geography.country(code) for code in plain.codes], np.uint16)
    for kind, held in plain.kinds.items():
        count = len(held.firsts)
        if count:
            kinds[kind] += count
        if kind == "asn":
            codes = [plain.codes[number] for number in held.countries.tolist()]
            for first, last, code in zip(held.firsts.tolist(), held.lasts.tolist(), codes, strict=True):
                for asn in range(first, last + 1):
                    records.add_seat(asn, code, _DELEGATED_RANK)
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
    entry.version = stream.version
