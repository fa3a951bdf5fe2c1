"""A version as a file again: the raw image, or a .cloop that cloop-utils, qemu and the kernel's driver read.

Every byte is verified on the way, by the signed metadata, the head, the page and the block's name.  Pages and blocks
are walked in order, some blocks ahead on all cores, so memory stays the same whatever the size.  A file takes its name
when it is whole; zeroes become holes in it.  A device is written from its start, zeroes included.

The .cloop of an image of zlib is its own streams with a header (FORMAT.md), byte for byte the one that was published
if one was.  An image of another codec is deflated at level 9, as cloop-utils do; lengths are known block by block only,
so the table of offsets, whose place is known, is filled in while the body is written.
"""

from __future__ import annotations

import os
import stat
import struct
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Literal

from mirrornet.image.fetch import Fetch, file_fetch
from mirrornet.image.files import replacing, to_disk
from mirrornet.image.format.block import BlockRef, Codec, open_block, pack_block
from mirrornet.image.format.cloop import HEADER_SIZE, CloopHeader, header_of
from mirrornet.image.format.index import PREAMBLE, Head, Page, Place
from mirrornet.image.inventory import open_head
from mirrornet.image.publishing.listing import listed
from mirrornet.image.publishing.packs import read_packed
from mirrornet.model.errors import InputError, LocalError, PeerError, Untrusted

Form = Literal["raw", "cloop"]
Progress = Callable[[int, int], None]  # bytes of the image done, bytes in all
CLOOP_LEVEL: Final = 9
_AHEAD: Final = 64 << 20  # bytes of blocks in all threads


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written.  `length`: bytes of the file.  `kept`: the streams are those of the repository."""

    name: str
    version: int
    length: int
    kept: bool


def export(
    repo: Path, name: str, out: Path, form: Form, *, version: int | None, now: float, progress: Progress | None = None
) -> ExportReport:
    """Writes version `version` (None: the newest) of `name` to the file or block device `out`.

    Raises InputError (no such image), PeerError (the repository lacks or spoils something), LocalError (the disk).
    """
    metadata = listed(repo, now)
    image = metadata.latest(name) if version is None else metadata.version(name, version)
    fetch = file_fetch(repo)
    try:
        head = open_head(image, fetch)
        work = _Export(repo, fetch, head, progress)
        with _target(out, form) as file:
            length = work.raw(file) if form == "raw" else work.cloop(file)
            to_disk(file)
    except PeerError as error:  # the advice after the semicolon is for clients, who have other mirrors
        reason = str(error).partition(";")[0]
        raise Untrusted(f"{reason}; nothing was exported: see `mirrornet audit`, and sync it from a mirror") from None
    except OSError as error:
        raise LocalError(f"{error.filename or out}: {error.strerror}; nothing was exported") from None
    return ExportReport(name, image.version, length, form == "cloop" and head.codec is Codec.ZLIB)


@contextmanager
def _target(out: Path, form: Form) -> Iterator[BinaryIO]:
    """The file to write to.  Raises InputError for what is neither a regular file nor a device."""
    try:
        mode = out.stat().st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG
    if stat.S_ISBLK(mode) and form == "raw":
        with out.open("r+b") as file:
            yield file
    elif stat.S_ISREG(mode):
        with replacing(out) as file:
            yield file
    else:
        raise InputError(f"{out}: is neither a regular file nor a block device for --raw")


class _Export:
    def __init__(self, repo: Path, fetch: Fetch, head: Head, progress: Progress | None) -> None:
        self._repo = repo
        self._fetch = fetch
        self._head = head
        self._progress = progress

    def raw(self, file: BinaryIO) -> int:
        head = self._head
        sparse = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        if not sparse and (room := os.lseek(file.fileno(), 0, os.SEEK_END)) < head.size:
            raise InputError(f"the device has {room} bytes, and the image {head.size}")
        zeroes = bytes(head.block_size)
        for number, raw in self._blocks(self._inflated):
            if raw is None and sparse:
                continue
            offset = number * head.block_size
            _write(file, (raw or zeroes)[: head.size - offset], offset)
        if sparse:
            os.ftruncate(file.fileno(), head.size)
        return head.size

    def cloop(self, file: BinaryIO) -> int:
        head = self._head
        kept = head.codec is Codec.ZLIB
        header = header_of(head) if kept else CloopHeader(PREAMBLE, head.block_size, head.block_count)
        zero = head.zero_stream if kept else pack_block(bytes(head.block_size), Codec.ZLIB, CLOOP_LEVEL)[1]
        _write(file, header.encode(), 0)
        at = header.body
        table: list[int] = []
        for number, stream in self._blocks(self._stored if kept else self._deflated):
            table.append(at)
            data = stream or zero
            _write(file, data, at)
            at += len(data)
            if len(table) == head.page_entries or number == head.block_count - 1:
                first = number + 1 - len(table)
                if number == head.block_count - 1:
                    table.append(at)
                _write(file, struct.pack(f">{len(table)}Q", *table), HEADER_SIZE + 8 * first)
                table = []
        return at

    def _blocks(self, work: Callable[[BlockRef, Place | None], bytes]) -> Iterator[tuple[int, bytes | None]]:
        """(number, what `work` makes of the block) of all blocks in order; None for a block of zeroes."""
        head = self._head
        workers = len(os.sched_getaffinity(0))
        ahead = max(1, min(8 * workers, _AHEAD // (2 * head.block_size)))
        flight: deque[Future[bytes] | None] = deque()
        done = 0

        def landed() -> tuple[int, bytes | None]:
            nonlocal done
            future = flight.popleft()
            data = None if future is None else future.result()
            done += 1
            if self._progress and done % 64 == 0:
                self._progress(min(done * head.block_size, head.size), head.size)
            return done - 1, data

        with ThreadPoolExecutor(workers, "export") as pool:
            try:
                for number, ref in enumerate(head.pages):
                    page = Page.parse(open_block(self._fetch(ref.path, ref.stored), ref), head, number)
                    for block, place in zip(page.refs, page.places, strict=True):
                        flight.append(None if block is None else pool.submit(work, block, place))
                        if len(flight) > ahead:
                            yield landed()
                while flight:
                    yield landed()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
        if self._progress:
            self._progress(head.size, head.size)

    def _bytes(self, ref: BlockRef, place: Place | None) -> bytes:
        if place is None or self._head.packs[place.pack].single:
            return self._fetch(ref.path, ref.stored)
        return read_packed(self._repo, self._head, ref, place)

    def _inflated(self, ref: BlockRef, place: Place | None) -> bytes:
        return open_block(self._bytes(ref, place), ref)

    def _stored(self, ref: BlockRef, place: Place | None) -> bytes:
        stored = self._bytes(ref, place)
        open_block(stored, ref)
        return stored

    def _deflated(self, ref: BlockRef, place: Place | None) -> bytes:
        return pack_block(self._inflated(ref, place), Codec.ZLIB, CLOOP_LEVEL)[1]


def _write(file: BinaryIO, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(file.fileno(), view, offset)
        view, offset = view[count:], offset + count
