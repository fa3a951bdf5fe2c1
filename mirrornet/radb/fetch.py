"""A dump's name → its bytes: a path, or an http, https or ftp URL, plain or gzip, as a stream.

Whether it is gzip is told by its first bytes, not by its name: servers rename, and some gunzip on the way.  The stream
is read ahead by one thread, so that inflating (zlib lets go of the interpreter) and reading RPSL share two cores; the
queue between them holds a few portions, so memory does not grow with the file.

Everything is bounded: connecting, the wait for each portion, the whole transfer, bytes on the wire and bytes unpacked
(a gzip bomb grows a thousandfold).  A gzip cut short or with a wrong checksum, or an answer shorter than it promised,
is an error that names the file; the importer then leaves the old table alone.

Rejected: downloading to a file first (twice the time, and a place to clean); gzip.open, which tells a cut file only
by EOFError without its name and reads 8 KiB at a time.
"""

from __future__ import annotations

import errno
import queue
import re
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final
from urllib.parse import urlsplit, urlunsplit

import requests

from mirrornet.model.errors import InputError, LimitError, LocalError, MirrornetError, Missing, Unreachable
from mirrornet.model.units import format_duration, format_size

PORTION: Final = 2 << 20  # bytes read at once
QUEUED: Final = 4  # portions read ahead
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds and bytes.  All IRR sources together are 7 GiB unpacked (2023); RIPE with its inetnums is the largest."""

    connect: float = 10.0
    read: float = 60.0  # between two portions
    whole: float = 3600.0  # a slow link takes 600 MB in this at 170 kB/s
    wire: int = 8 << 30
    unpacked: int = 32 << 30


DEFAULT_LIMITS: Final = Limits()


class Stream:
    """One dump being read.  `name` is fit for messages (no password); `total` is its size on the wire, if known."""

    def __init__(self, name: str, total: int | None, raw: Iterator[bytes], limits: Limits) -> None:
        self.name, self.total, self._raw, self._limits = name, total, raw, limits
        self.bytes_read = 0
        self.bytes_unpacked = 0

    def __iter__(self) -> Iterator[bytes]:
        """The unpacked bytes, in portions.  Raises a MirrornetError that names the dump."""
        for portion in _unpacked(self._counted(), self.name):
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
    try:
        scheme = urlsplit(name).scheme.lower()
    except ValueError as error:  # http://[::1
        raise InputError(f"{name}: not a URL: {error}") from None
    if scheme in ("http", "https"):
        with _http(name, limits) as stream:
            yield stream
    elif scheme == "ftp":
        with _ftp(name, limits) as stream:
            yield stream
    elif "://" in name:
        raise InputError(f"{name}: only paths and http, https and ftp URLs can be read")
    else:
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


@contextmanager
def _http(url: str, limits: Limits) -> Generator[Stream]:
    name = public_name(url)
    try:
        with requests.get(
            url, stream=True, timeout=(limits.connect, limits.read), headers={"Accept-Encoding": "identity"}
        ) as response:
            if response.status_code >= 400:
                kind = Unreachable if response.status_code >= 500 else Missing
                raise kind(f"{name}: the server answers {response.status_code} {response.reason}: check the URL")
            length = response.headers.get("Content-Length", "")
            total = int(length) if length.isdigit() else None
            raw = _http_portions(response, name, limits, time.monotonic() + limits.whole)
            yield Stream(name, total, raw, limits)
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
        raise InputError(f"{name}: not a URL: {error}") from None
    except requests.exceptions.ConnectTimeout:
        raise Unreachable(f"{name}: no connection within {format_duration(limits.connect)}") from None
    except requests.exceptions.ReadTimeout:
        raise Unreachable(f"{name}: no answer within {format_duration(limits.read)}") from None
    except requests.exceptions.RequestException as error:
        raise Unreachable(f"{name}: cannot be fetched: {_innermost(error)}") from None


def _http_portions(response: requests.Response, name: str, limits: Limits, deadline: float) -> Iterator[bytes]:
    try:
        # read1 hands out what has come, so the deadline is looked at even while a slow server drips.
        while portion := response.raw.read1(PORTION, decode_content=False):
            if time.monotonic() > deadline:
                raise Unreachable(f"{name}: not finished after {format_duration(limits.whole)}, so it was given up")
            yield portion
        missing = getattr(response.raw, "length_remaining", None)
        if missing:
            raise Unreachable(f"{name}: the connection ended {missing:,} bytes too early: fetch it again")
    except (OSError, requests.packages.urllib3.exceptions.HTTPError) as error:  # type: ignore[attr-defined]
        raise Unreachable(f"{name}: the transfer broke off: {_innermost(error)}: fetch it again") from None


@contextmanager
def _ftp(url: str, limits: Limits) -> Generator[Stream]:
    name = public_name(url)
    deadline = time.monotonic() + limits.whole
    try:
        with closing(urllib.request.urlopen(url, timeout=limits.read)) as response:
            length = response.headers.get("Content-Length", "")
            total = int(length) if length.isdigit() else None
            yield Stream(name, total, _ftp_portions(response, name, limits, total, deadline), limits)
    except urllib.error.URLError as error:
        text = str(error.reason)
        if "550" in text:
            raise Missing(f"{name}: the server does not have this: check the URL") from None
        text = _innermost(error.reason) if isinstance(error.reason, BaseException) else text
        raise Unreachable(f"{name}: cannot be fetched: {text}") from None
    except ValueError as error:
        raise InputError(f"{name}: not a URL: {error}") from None


def _ftp_portions(
    response: IO[bytes], name: str, limits: Limits, total: int | None, deadline: float
) -> Iterator[bytes]:
    received = 0
    try:
        while portion := response.read(PORTION):
            received += len(portion)
            if time.monotonic() > deadline:
                raise Unreachable(f"{name}: not finished after {format_duration(limits.whole)}, so it was given up")
            yield portion
    except OSError as error:
        raise Unreachable(f"{name}: the transfer broke off: {error}: fetch it again") from None
    if total is not None and received < total:
        raise Unreachable(f"{name}: the connection ended {total - received:,} bytes too early: fetch it again")


def _innermost(error: BaseException) -> str:
    """The plainest sentence in a chain of wrapped exceptions."""
    while error.args and isinstance(error.args[0], BaseException):
        error = error.args[0]
    reason = getattr(error, "reason", None)
    if isinstance(reason, BaseException):
        return _innermost(reason)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error).split(">: ")[-1]
    if "WRONG_VERSION_NUMBER" in text:
        return "no TLS is spoken there: is it http:// ?"
    return re.sub(r"^HTTPS?Connection\(.*?\): ", "", re.sub(r"\[Errno -?\d+\] ", "", text))


def _unpacked(raw: Iterator[bytes], name: str) -> Iterator[bytes]:
    """`raw` itself, or its gunzipped bytes where it begins as gzip does; members may follow each other (RFC 1952)."""
    first = b""
    for portion in raw:
        first += portion
        if len(first) >= 2:
            break
    if not first.startswith(_GZIP):
        if first:
            yield first
        yield from raw
        return
    machine, waiting = zlib.decompressobj(31), first
    while True:
        try:
            while waiting:
                out = machine.decompress(waiting, PORTION)
                if out:
                    yield out
                waiting = machine.unconsumed_tail
                if machine.eof:
                    waiting = machine.unused_data.lstrip(b"\0")  # tape blocks are padded with zeros
                    if waiting:
                        machine = zlib.decompressobj(31)
        except zlib.error as error:
            raise InputError(f"{name}: this gzip file is damaged ({error}): fetch it again") from None
        following = next(raw, None)
        if following is None:
            break
        if machine.eof:
            following = following.lstrip(b"\0")
            if following:
                machine = zlib.decompressobj(31)
        waiting = following
    if not machine.eof:
        raise InputError(f"{name}: this gzip file is cut short: fetch it again")
