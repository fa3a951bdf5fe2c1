"""An image cut into blocks: read, compressed and stored on all cores, listed page by page in the image's order.

Work is dealt in units of some blocks; a thread reads, compares, compresses, hashes and writes each block of its unit,
so nothing but results goes from one to the other.  Results land in order, and a page is written as soon as its last
block has.  Memory is the same whatever the size: a raw and a stored block a thread, the pages' names, and with packs
the stored blocks of some units.  Threads suffice: libdeflate, ISA-L, zstd, zlib and SHA-256 let go of the interpreter.

All-zero blocks are listed and not stored; holes are not even read.  A block that stands as it stood in the version
before is kept as it was stored (previous.py says why).  The blocks of a profile are made first, in its order, since
their places in the boot's pack depend on all before them.
"""

from __future__ import annotations

import hashlib
import os
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from threading import local
from typing import Final, NamedTuple

from mirrornet.image.format.block import BlockRef, Codec, Packer, pack_block
from mirrornet.image.format.index import PAGE_ENTRIES, Head, Pack, Page, Place, summed, zero_stream
from mirrornet.image.format.profile import Profile
from mirrornet.image.publishing.packs import MAX_PACK, PackWriter
from mirrornet.image.publishing.previous import Previous, Unfinished, kept_packs
from mirrornet.image.publishing.source import CloopSource, Source, Span, preamble_of
from mirrornet.image.publishing.store import Store
from mirrornet.image.publishing.tally import Tally

Progress = Callable[[int, int], None]  # bytes done, bytes in all
PAGE_LEVEL: Final = 6  # of zlib; a page is 44 KB, of which 32 do not shrink
UNIT: Final = 1 << 20  # bytes of the image that a thread takes at once
MEMORY: Final = 96 << 20  # bytes of blocks in all threads
BEFORE, NOW = 1, 2  # marks: in the version before, in this one


@dataclass(frozen=True, slots=True)
class Plan:
    """How an image is cut.  `packs`: blocks go into packs and nowhere else.  `previous`: None for a first version."""

    codec: Codec
    level: int
    packs: bool = False
    profile: Profile | None = None
    previous: Previous | None = None
    boot_first: bool = False  # the first pack of `previous` is its boot's
    unfinished: Unfinished | None = None


@dataclass(slots=True)
class Counts:
    """What was counted of a version.  `new_*`: what whoever has the version before has to fetch of blocks; `files`:
    blocks, pages and packs as files, of them `new_files` with `new_file_bytes` that a mirror has to fetch.
    """

    stored: int = 0
    new_blocks: int = 0
    new_bytes: int = 0
    files: int = 0
    new_files: int = 0
    new_file_bytes: int = 0


class _Made(NamedTuple):
    """A block that is not zero: `data` None where it is stored already; `place` in a pack of the version before."""

    ref: BlockRef
    data: bytes | None
    place: Place | None = None


class Cutter:
    """One image being cut."""

    def __init__(self, source: Source, store: Store, plan: Plan) -> None:
        self._source = source
        self._store = store
        self._plan = plan
        self._zeroes = bytes(source.block_size)
        self._mine = local()
        self._workers = min(len(os.sched_getaffinity(0)), max(1, MEMORY // (3 * source.block_size)))
        self.counts = Counts()
        self._tally = Tally(store.staging)
        self._packs: list[Pack] = []
        self._moved: dict[int, int] = {}  # packs of the version before that stay: their old position to the new one
        self._boot: dict[int, tuple[BlockRef, Place]] = {}
        self._zero = (
            source.zero_stream
            if isinstance(source, CloopSource)
            else zero_stream(plan.codec, plan.level, source.block_size)
        )
        self._begun = plan.unfinished.found() if plan.unfinished else None
        self._resumed = False  # whether any block of what was begun was of use
        self._old = (
            []
            if isinstance(source, CloopSource)
            else [
                each
                for each in (plan.previous, self._begun)
                if each and each.fits(plan.codec, plan.level, source.block_size)
            ]
        )

    def cut(self, progress: Progress | None = None) -> Head:
        """Stores all blocks, packs and pages and returns the head that lists them.

        Raises OSError (disk full), InputError (the image changed); what was stored until then stays and is used next
        time.
        """
        try:
            self._look_back()
            return self._cut(progress)
        finally:
            self._tally.close()

    def _look_back(self) -> None:
        """Marks what the version before has, makes the boot's pack, and takes over packs that are still good."""
        plan, previous = self._plan, self._plan.previous
        live = previous.walk(self._tally, BEFORE) if previous else []
        if plan.profile:
            self._pack_boot(plan.profile)
        if previous and plan.packs and previous in self._old:
            for position in kept_packs(previous.head, live, plan.boot_first):
                if not previous.head.packs[position].single and previous.whole(position):
                    self._moved[position] = len(self._packs)
                    self._packs.append(previous.head.packs[position])
                    self._count_pack(self._packs[-1])

    def _pack_boot(self, profile: Profile) -> None:
        step = 4 * self._workers
        with (
            ThreadPoolExecutor(self._workers, "publish") as pool,
            PackWriter(self._store, self._packs, single=not self._plan.packs, limit=MAX_PACK) as writer,
        ):
            for first in range(0, len(profile.blocks), step):
                numbers = profile.blocks[first : first + step]
                for number, made in zip(numbers, pool.map(partial(self._make, keep=True), numbers), strict=True):
                    if made is None or self._packs:  # zero, or the pack is full: a boot never gets there
                        continue
                    assert made.data is not None
                    self._boot[number] = made.ref, writer.add(made.ref, made.data)
                    if not self._plan.packs:
                        self._store.put(made.ref, made.data)
        if self._packs:
            self._count_pack(self._packs[0])

    def _make(self, number: int, keep: bool) -> _Made | None:
        """Block `number`, stored unless packs are written; None where it is zero.  Runs in many threads."""
        boot = self._boot.get(number)
        if boot is not None:
            return _Made(boot[0], None, boot[1])
        source = self._source
        if isinstance(source, CloopSource):
            data, raw = source.block(number)
            if data == self._zero and raw == self._zeroes:
                return None
            ref = BlockRef(hashlib.sha256(data).digest(), len(data), source.block_size, Codec.ZLIB)
        else:
            raw = source.block(number)
            if raw == self._zeroes:
                return None
            for old in self._old:
                if same := old.same(number, raw):
                    ref, data, lay, stored = same
                    self._resumed |= old is self._begun
                    if old is self._plan.previous and lay is not None and lay.pack in self._moved:
                        return _Made(ref, None, Place(self._moved[lay.pack], lay.offset))
                    if stored and not keep:
                        return _Made(ref, None)
                    break
            else:
                ref, data = self._packer().pack(raw)
        if not keep:
            self._store.put(ref, data)
        return _Made(ref, data if keep else None)

    def _packer(self) -> Packer:
        packer: Packer | None = getattr(self._mine, "packer", None)
        if packer is None:
            packer = self._mine.packer = Packer(self._plan.codec, self._plan.level)
        return packer

    def _units(self) -> Iterator[Span]:
        """The image in pieces of one thread's work; holes in one piece."""
        step = max(1, UNIT // self._source.block_size)
        for span in self._source.spans():
            if span.hole:
                yield span
                continue
            for first in range(span.first, span.first + span.count, step):
                yield Span(first, min(step, span.first + span.count - first), False)

    def _cut(self, progress: Progress | None) -> Head:
        source, store, keep = self._source, self._store, self._plan.packs
        workers = self._workers
        ahead = max(2, min(4 * workers, MEMORY // (2 * max(UNIT, source.block_size))))
        pages = _Pages(self, len(self._zero))
        flight: deque[tuple[Span, Future[list[_Made | None]] | None]] = deque()
        flush: Future[None] | None = None

        def work(span: Span) -> list[_Made | None]:
            return [self._make(number, keep) for number in range(span.first, span.first + span.count)]

        def land(writer: PackWriter) -> None:
            nonlocal flush
            span, future = flight.popleft()
            if future is None:
                pages.skip(span.count)
            for made in future.result() if future else ():
                if made is None:
                    pages.add(None, None)
                else:
                    place = made.place
                    if place is None and made.data is not None:
                        place = writer.add(made.ref, made.data)
                    pages.add(made.ref, place)
            if store.full and (flush is None or flush.done()):
                if flush is not None:
                    flush.result()
                flush = syncer.submit(self._checkpoint, *self._so_far(pages))
            if progress:
                progress(min((span.first + span.count) * source.block_size, source.size), source.size)

        with (
            ThreadPoolExecutor(1, "sync") as syncer,
            ThreadPoolExecutor(workers, "publish") as pool,
            PackWriter(store, self._packs, single=False) as writer,
        ):
            try:
                for span in self._units():
                    flight.append((span, None if span.hole else pool.submit(work, span)))
                    if len(flight) > ahead:
                        land(writer)
                while flight:
                    land(writer)
                if flush is not None:
                    flush.result()
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        for pack in self._packs[len(self._moved) + (1 if self._boot else 0) :]:
            self._count_pack(pack)
        pages.close()
        source.check_unchanged()
        store.sync()
        return self._head(pages, len(pages.refs))

    def _head(self, pages: _Pages, count: int) -> Head:
        """The head of the first `count` pages, which are closed."""
        source = self._source
        body = pages.body if count == len(pages.refs) else pages.before[count]
        return Head(
            size=min(count * PAGE_ENTRIES * source.block_size, source.size),
            block_size=source.block_size,
            stored=min(self.counts.stored, body),  # of an unfinished version it counts a little more
            body=body,
            codec=self._plan.codec,
            level=self._plan.level,
            page_entries=PAGE_ENTRIES,
            pages=tuple(pages.refs[:count]),
            before=tuple(pages.before[:count]),
            preamble=preamble_of(source) if self._plan.codec is Codec.ZLIB else b"",
            zero_stream=self._zero,
            packs=tuple(self._packs),
        )

    def _so_far(self, pages: _Pages) -> tuple[Head, bytes]:
        """A head of what lies in closed packs or outside of any, and the stored bytes of its last page."""
        packs = len(self._packs)
        head = self._head(pages, pages.whole(packs))
        if len(head.pages) < len(pages.refs) or not (page := pages.under_way(packs)).refs:
            return head, b""
        ref, data = pack_block(page.encode(), Codec.ZLIB, PAGE_LEVEL)
        body = pages.body + summed(page.refs, len(self._zero))
        size = head.size + len(page.refs) * head.block_size
        more = replace(head, size=size, body=body, pages=(*head.pages, ref), before=(*head.before, pages.body))
        return more, data

    def _checkpoint(self, head: Head, last: bytes) -> None:
        """Brings blocks and packs to the disk, and then writes down which of them are listed.

        A longer list that was found, and is of use, stays: a publish may be killed twice.
        """
        self._store.flush()
        shorter = self._resumed and self._begun is not None and head.block_count < self._begun.head.block_count
        if head.pages and self._plan.unfinished and not shorter:
            self._plan.unfinished.keep(head, last, self._store.staging)

    # -- what was counted

    def count(self, ref: BlockRef, alone: bool) -> None:
        """Counts a block; `alone`: it is a file."""
        counts = self.counts
        marks = self._tally.mark(ref.hash, NOW)
        if marks & NOW:
            return
        counts.stored += ref.stored
        counts.files += alone
        if not marks & BEFORE:
            counts.new_blocks += 1
            counts.new_bytes += ref.stored
            counts.new_files += alone
            counts.new_file_bytes += ref.stored * alone

    def in_file(self, place: Place | None) -> bool:
        """Whether a block of that place is a file of its own."""
        return place is None or (place.pack < len(self._packs) and self._packs[place.pack].single)

    def _count_pack(self, pack: Pack) -> None:
        """Counts a pack; one of a single block has that block's hash."""
        marks = self._tally.mark(pack.hash, NOW)
        self._count_file(pack.length, new=not marks & BEFORE)

    def _count_file(self, length: int, *, new: bool) -> None:
        self.counts.files += 1
        self.counts.new_files += new
        self.counts.new_file_bytes += length * new

    def store_page(self, page: Page) -> BlockRef:
        """Stores and counts an index page."""
        ref, data = pack_block(page.encode(), Codec.ZLIB, PAGE_LEVEL)
        self._store.put(ref, data)
        marks = self._tally.mark(ref.hash, NOW)
        if not marks & NOW:
            self._count_file(ref.stored, new=not marks)
        return ref


class _Pages:
    """Rows that become pages."""

    def __init__(self, cutter: Cutter, zero: int) -> None:
        self._cutter = cutter
        self._zero = zero
        self.refs: list[BlockRef] = []
        self.before: list[int] = []
        self._packs: list[int] = []  # for each page, how many packs it and those before it lie in
        self.body = 0
        self._blocks: list[BlockRef | None] = []
        self._places: list[Place | None] = []
        self._last: tuple[Page, BlockRef] | None = None

    def add(self, ref: BlockRef | None, place: Place | None) -> None:
        """The next block."""
        if ref is not None:
            self._cutter.count(ref, self._cutter.in_file(place))
        self._blocks.append(ref)
        self._places.append(place)
        if len(self._blocks) == PAGE_ENTRIES:
            self.close()

    def skip(self, count: int) -> None:
        """`count` zero blocks."""
        while count:
            part = min(count, PAGE_ENTRIES - len(self._blocks))
            self._blocks += [None] * part
            self._places += [None] * part
            count -= part
            if len(self._blocks) == PAGE_ENTRIES:
                self.close()

    def whole(self, packs: int) -> int:
        """How many pages from the first on need no more than the first `packs` packs: the next may not be there yet."""
        return bisect_right(self._packs, packs)

    def under_way(self, packs: int) -> Page:
        """The rows of the page under way, up to the first that needs more than the first `packs` packs."""
        rows = next((row for row, place in enumerate(self._places) if place and place.pack >= packs), len(self._places))
        return Page(tuple(self._blocks[:rows]), tuple(self._places[:rows]))

    def close(self) -> None:
        """Stores the page under way, if there is one."""
        if not self._blocks:
            return
        page = Page(tuple(self._blocks), tuple(self._places))
        if self._last is None or self._last[0] != page:  # a terabyte of holes is 4,096 times one page
            self._last = (page, self._cutter.store_page(page))
        self.refs.append(self._last[1])
        self.before.append(self.body)
        self.body += summed(self._blocks, self._zero)
        last = max((place.pack + 1 for place in self._places if place), default=0)
        self._packs.append(max(last, self._packs[-1] if self._packs else 0))
        self._blocks, self._places = [], []
