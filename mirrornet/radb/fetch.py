"""A dump's name → its bytes: a path, or an http, https or ftp URL, plain or packed, as a stream.

The stream is read ahead by one thread, so that inflating (zlib lets go of the interpreter) and reading RPSL share two
cores; the queue between them holds a few portions, so memory does not grow with the file.

Everything is bounded: connecting, the wait for each portion, the whole transfer, bytes on the wire and bytes unpacked
(a gzip bomb grows a thousandfold).  What breaks off is resumed (fetching/resume.py); what is cut short or damaged for
good is an error that names the file, and the importer then leaves the old table alone.

Rejected: downloading to a file first (twice the time, and a place to clean); gzip.open, which tells a cut file only
by EOFError without its name and reads 8 KiB at a time.
"""

from __future__ import annotations

import errno
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

from mirrornet.model.errors import InputError, LimitError, LocalError, MirrornetError
from mirrornet.model.units import format_size
from mirrornet.radb.fetching.limits import DEFAULT_LIMITS as DEFAULT_LIMITS
from mirrornet.radb.fetching.limits import PORTION as PORTION
from mirrornet.radb.fetching.limits import Limits as Limits
from mirrornet.radb.fetching.limits import Version
from mirrornet.radb.fetching.resume import resumed
from mirrornet.radb.fetching.unpack import unpacked

if TYPE_CHECKING:
    from mirrornet.radb.fetching.ftp import FtpFile
    from mirrornet.radb.fetching.http import HttpFile

QUEUED: Final = 4  # portions read ahead


class Stream:
    """One dump being read.  `name` is fit for messages (no password); `total` is its size on the wire, if known.

    `version`: which edition of the file it is; None for a file of ours, whose edition its own attributes tell.
    """

    def __init__(
        self, name: str, total: int | None, raw: Iterator[bytes], limits: Limits, version: Version | None = None
    ) -> None:
        self.name, self.total, self._raw, self._limits, self.version = name, total, raw, limits, version
        self.bytes_read = 0
        self.bytes_unpacked = 0

    def __iter__(self) -> Iterator[bytes]:
        """The unpacked bytes, in portions.  Raises a MirrornetError that names the dump."""
        for portion in unpacked(self._counted(), self.name):
            self.bytes_unpacked += len(portion)
            if self.bytes_unpacked > self._limits.unpacked:
                size = format_size(self._limits.unpacked)
                raise LimitError(f"{self.name}: unpacks to more than {size}, so it was given up: is this a dump?")
            yield portion

    def _counted(self) -> Iterator[bytes]:
        for portion in self._raw:
            self.bytes_read += len(portion)
            if self.bytes_read > self._limits.wire:
                raise LimitError(f"{self.name}: larger than {format_size(self._limits.wire)}, so it was given up")
            yield portion


@contextmanager
def opened(name: str, limits: Limits = DEFAULT_LIMITS) -> Generator[Stream]:
    """Opens the dump `name`.  Raises InputError, Missing, Unreachable or LocalError."""
    file = remote(name, limits)
    if file is None:
        with _local(name, limits) as stream:
            yield stream
        return
    with closing(file):
        deadline = time.monotonic() + limits.whole
        public = public_name(name)
        raw = resumed(file.open(), file.reopen, public, limits, deadline, time.sleep)
        yield Stream(public, file.total, raw, limits, file.version)


def remote(name: str, limits: Limits) -> HttpFile | FtpFile | None:
    """The file on a server that `name` is; None where it is a path.  Raises InputError."""
    try:
        scheme = urlsplit(name).scheme.lower()
    except ValueError as error:  # http://[::1
        raise InputError(f"{name}: not a URL: {error}") from None
    # A path needs neither of these libraries, which take a twentieth of a second to import.
    if scheme in ("http", "https"):
        from mirrornet.radb.fetching.http import HttpFile

        return HttpFile(name, public_name(name), limits)
    if scheme == "ftp":
        from mirrornet.radb.fetching.ftp import FtpFile

        return FtpFile(name, public_name(name), limits)
    if "://" in name:
        raise InputError(f"{name}: only paths and http, https and ftp URLs can be read")
    return None


@contextmanager
def _local(name: str, limits: Limits) -> Generator[Stream]:
    path = Path(name)
    try:
        with path.open("rb", buffering=0) as file:
            yield Stream(name, path.stat().st_size, iter(lambda: file.read(PORTION), b""), limits)
    except OSError as error:
        if error.filename is None:
            error.filename = name
        circle = error.errno == errno.ELOOP
        kind = InputError if circle or isinstance(error, FileNotFoundError | IsADirectoryError) else LocalError
        raise kind(f"{error.filename}: cannot be read: {error.strerror}") from None


def ahead(stream: Stream, tell: Callable[[], None] = lambda: None) -> Iterator[bytes]:
    """The portions of `stream`, read ahead by a thread.  `tell` is called in ours, before each portion."""
    portions: queue.Queue[bytes | MirrornetError | Exception | None] = queue.Queue(QUEUED)
    stopped = threading.Event()

    def put(item: bytes | Exception | None) -> None:
        while not stopped.is_set():
            try:
                portions.put(item, timeout=0.2)
                return
            except queue.Full:
                continue

    def read() -> None:
        try:
            for portion in stream:
                put(portion)
                if stopped.is_set():
                    return
            put(None)
        except Exception as error:
            put(error)

    thread = threading.Thread(target=read, name=f"read {stream.name}", daemon=True)
    thread.start()
    try:
        while (item := portions.get()) is not None:
            if isinstance(item, Exception):
                raise item
            tell()
            yield item
    finally:
        stopped.set()
        thread.join(timeout=0.5)  # it may be waiting for a server; it is a daemon, and ends with that


def public_name(url: str) -> str:
    """`url` without user and password."""
    parts = urlsplit(url)
    if parts.scheme and parts.netloc and "@" in parts.netloc:
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return url
