"""An image cut into blocks: read in order, compressed on all cores, stored once, listed page by page.

Memory stays the same whatever the size: a few blocks a core are in flight, and a page is written as soon as its last
block is known.  Holes are skipped without reading (SEEK_DATA), all-zero blocks are listed and not stored.  Threads
suffice: zlib, ISA-L, zstd and SHA-256 all release the interpreter's lock.

A block is written under another name, brought to the disk and renamed, so that a killed publish leaves whole blocks or
none, and the next one goes on where it stopped.  One that is there with another length is written again.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from mirrornet.image.files import sync_folder, write_whole
from mirrornet.image.format.block import BlockRef, Codec, block_path, pack_block
from mirrornet.image.format.index import PAGE_ENTRIES, PREAMBLE, Head, page_of, summed, zero_stream
from mirrornet.model.errors import InputError

Progress = Callable[[int, int], None]  # bytes done, bytes in all
PAGE_LEVEL = 6  # of zlib; a page is 44 KB, of which 32 do not shrink


class Source:
    """A regular file or block device, read in blocks."""

    def __init__(self, path: Path, handle: int, block_size: int) -> None:
        """`handle` is open for reading.  Raises InputError where it is neither, or empty."""
        self.path = path
        self.block_size = block_size
        self._handle = handle
        status = os.fstat(handle)
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISBLK(status.st_mode)):
            raise InputError(f"{path}: is neither a file nor a block device")
        try:
            self.size = os.lseek(handle, 0, os.SEEK_END)
        except OSError as error:  # such as /proc/self/mem
            raise InputError(f"{path}: has no size ({error.strerror}); name an image file or block device") from None
        if self.size == 0:
            raise InputError(f"{path}: is empty; there is nothing to publish")
        self._state = (status.st_size, status.st_mtime_ns)
        self._sparse = stat.S_ISREG(status.st_mode)

    def blocks(self) -> Iterator[bytes | None]:
        """Every block in order, the last one padded with zeroes; None for one that lies in a hole."""
        data_from = data_to = 0
        for offset in range(0, self.size, self.block_size):
            if offset >= data_to:
                data_from, data_to = self._data(offset)
            if offset + self.block_size <= data_from:
                yield None
                continue
            raw = self._read(offset, min(self.block_size, self.size - offset))
            yield raw if len(raw) == self.block_size else raw.ljust(self.block_size, b"\0")

    def _data(self, offset: int) -> tuple[int, int]:
        """The next stretch of data at or after `offset`, as (start, end)."""
        if not self._sparse:
            return offset, self.size
        try:
            start = os.lseek(self._handle, offset, os.SEEK_DATA)
            return start, os.lseek(self._handle, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # holes to the end
                return self.size + self.block_size, self.size + self.block_size
            self._sparse = False  # a file system that cannot tell
            return offset, self.size

    def _read(self, offset: int, count: int) -> bytes:
        parts = []
        while count:
            part = os.pread(self._handle, count, offset)
            if not part:
                raise InputError(f"{self.path}: ended at byte {offset} while it was read; publish a copy nobody writes")
            parts.append(part)
            offset, count = offset + len(part), count - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def check_unchanged(self) -> None:
        """Raises InputError where the file was written to since it was opened (a mounted image, for example)."""
        status = os.fstat(self._handle)
        if (status.st_size, status.st_mtime_ns) != self._state:
            raise InputError(f"{self.path}: changed while it was read; publish a copy nobody writes")


@contextmanager
def opened(path: Path, block_size: int) -> Iterator[Source]:
    """A Source of the image at `path`.  Raises InputError where there is none."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a named pipe is not waited for
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; name an image file or block device") from None
    try:
        yield Source(path, handle, block_size)
    finally:
        os.close(handle)


@dataclass
class Store:
    """The blocks/ folder of a repository: what is new is written, the rest is counted.  Safe for many threads."""

    repository: Path
    staging: Path
    new: int = 0
    new_bytes: int = 0
    stored: int = 0  # bytes of distinct blocks seen in this run
    _seen: set[bytes] = field(default_factory=set)
    _touched: set[Path] = field(default_factory=set)
    _lock: Lock = field(default_factory=Lock)

    def put(self, ref: BlockRef, data: bytes, *, counted: bool = True) -> None:
        """Stores the block unless it is there.  `counted` False: an index page."""
        with self._lock:
            if ref.hash in self._seen:
                return
            self._seen.add(ref.hash)
            if counted:
                self.stored += ref.stored
        path = self.repository / block_path(ref.hash)
        try:
            if path.stat().st_size == ref.stored:
                return
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data, staging=self.staging, sync=False)
        with self._lock:
            self._touched.add(path.parent)
            if counted:
                self.new += 1
                self.new_bytes += ref.stored

    def sync(self) -> None:
        """Brings the names of all new blocks to the disk; their bytes are there already."""
        for folder in sorted(self._touched):
            sync_folder(folder)
        if self._touched:
            sync_folder(self.repository / "blocks")
        self._touched.clear()


def cut(source: Source, store: Store, codec: Codec, level: int, progress: Progress | None = None) -> Head:
    """Stores all blocks and pages of `source` and returns the head that lists them.

    Raises OSError (disk full), InputError (the image changed); what was stored until then stays and is used next time.
    """
    zero = zero_stream(codec, level, source.block_size)
    zeroes = bytes(source.block_size)
    workers = len(os.sched_getaffinity(0))

    def work(raw: bytes) -> BlockRef | None:
        if raw == zeroes:
            return None
        ref, data = pack_block(raw, codec, level)
        store.put(ref, data)
        return ref

    pages: list[BlockRef] = []
    before: list[int] = []
    page: list[BlockRef | None] = []
    body = done = 0
    last: tuple[list[BlockRef | None], BlockRef] | None = None

    def close_page() -> None:
        nonlocal body, page, last
        if last is None or last[0] != page:  # a terabyte of holes is 4,096 times one page
            ref, data = pack_block(page_of(page).encode(), Codec.ZLIB, PAGE_LEVEL)
            store.put(ref, data, counted=False)
            last = (page, ref)
        pages.append(last[1])
        before.append(body)
        body += summed(page, len(zero))
        page = []

    with ThreadPoolExecutor(workers, "publish") as pool:
        flight: deque[Future[BlockRef | None] | None] = deque()

        def land() -> None:
            nonlocal done
            future = flight.popleft()
            page.append(future.result() if future else None)
            done += 1
            if len(page) == PAGE_ENTRIES:
                close_page()
            if progress and done % 64 == 0:
                progress(min(done * source.block_size, source.size), source.size)

        try:
            for raw in source.blocks():
                flight.append(None if raw is None else pool.submit(work, raw))
                if len(flight) > 4 * workers:
                    land()
            while flight:
                land()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    if page:
        close_page()
    source.check_unchanged()
    store.sync()
    if progress:
        progress(source.size, source.size)
    return Head(
        size=source.size,
        block_size=source.block_size,
        stored=store.stored,
        body=body,
        codec=codec,
        level=level,
        page_entries=PAGE_ENTRIES,
        pages=tuple(pages),
        before=tuple(before),
        preamble=PREAMBLE if codec is Codec.ZLIB else b"",
        zero_stream=zero,
    )
