"""A dump or a file of statistics, opened, checked and read into Records: the loop over pieces and rows.

What a file is not is said before it is read: a web page, statistics in place of RPSL, a file that is empty.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from mirrornet.model.address import Family
from mirrornet.model.errors import InputError
from mirrornet.model.place import Evidence
from mirrornet.radb.facts import AutNum, Block, Reason, Rejected, Route, Unused
from mirrornet.radb.fetch import Limits, Stream, ahead, opened
from mirrornet.radb.reading import columns
from mirrornet.radb.reading import delegated as statistics
from mirrornet.radb.reading.objects import interpret
from mirrornet.radb.reading.rpsl import Piece, TooLong, pieces, without_comment_lines
from mirrornet.radb.records import Records
from mirrornet.radb.report import FileReport, ImportReport
from mirrornet.radb.sources import rank

Progress = Callable[[str, int, int | None], None]  # what is being done, bytes so far, bytes in all if known

_FAMILIES: Final[tuple[Family, Family]] = (4, 6)
_DELEGATED_RANK: Final = 2  # statistics about an AS number: after an authoritative aut-num, before a third party's
_RPSL_LINE = re.compile(rb"^[A-Za-z*][A-Za-z0-9_*-]*:", re.MULTILINE)
_STATISTICS_LINE = re.compile(rb"^[\w.]+\|[\w*]*\|", re.MULTILINE)


def read_dump(name: str, records: Records, report: ImportReport, tell: Progress, bogons: bool, limits: Limits) -> None:
    """Takes in all objects of the dump `name` (path or URL).  Raises InputError, PeerError, LimitError."""
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


def read_statistics(
    name: str, records: Records, report: ImportReport, tell: Progress, bogons: bool, limits: Limits
) -> None:
    """Takes in all rows of the delegated statistics `name` (path or URL).  Raises as read_dump()."""
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
