"""A file of the import, opened: its portions, checked at the start, and its entry in the report.

What a file is not is said before it is read.  A server that answers 200 with an error page is the most common fault.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from mirrornet.model.errors import InputError
from mirrornet.radb.fetch import Limits, Stream, ahead, opened
from mirrornet.radb.report import FileReport, ImportReport

BEGINNING: Final = 1 << 16  # bytes that are looked at
Progress = Callable[[str, int, int | None], None]  # what is being done, bytes so far, bytes in all if known


class Opened(NamedTuple):
    """`name` is fit for messages; `portions` are the unpacked bytes."""

    name: str
    entry: FileReport
    portions: Iterator[bytes]


@contextmanager
def reading(
    name: str, report: ImportReport, tell: Progress, limits: Limits, reject: Callable[[str, bytes], None]
) -> Generator[Opened]:
    """Opens `name` (path or URL) and enters it in the report.

    `reject` sees the first 64 KiB and raises InputError where that cannot be what it should.  Raises as fetch.opened().
    """
    began = time.monotonic()
    with opened(name, limits) as stream:
        entry = FileReport(stream.name, version=stream.version)
        report.files.append(entry)
        yield Opened(stream.name, entry, _checked(stream, tell, reject))
        entry.bytes_read, entry.bytes_unpacked = stream.bytes_read, stream.bytes_unpacked
        entry.seconds = time.monotonic() - began


def _checked(stream: Stream, tell: Progress, reject: Callable[[str, bytes], None]) -> Iterator[bytes]:
    first = True
    for portion in ahead(stream, lambda: tell(stream.name, stream.bytes_read, stream.total)):
        if first:
            beginning = portion[:BEGINNING]
            reject_web_page(stream.name, beginning)
            reject(stream.name, beginning)
            first = False
        yield portion
    if first:
        raise InputError(f"{stream.name}: the file is empty")


def reject_web_page(name: str, text: bytes) -> None:
    """Raises InputError where `text`, the beginning of the file `name`, is HTML or XML."""
    if text.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
        raise InputError(f"{name}: this is a web page, probably an error message: check the URL")
