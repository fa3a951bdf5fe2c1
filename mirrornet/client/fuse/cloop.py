"""The image as the .cloop (V2.0) that it also is: a view computed from the index, for cloop-utils, qemu and the kernel.

    header · table of offsets · the blocks as they are stored, one after the other

The header comes from the head of the index; any part of the table from the head and one page; the streams are the
stored blocks themselves, from the disk cache or a mirror, verified by their names and never inflated here.  So the
file has its true size from the start, and opening it costs no block: 136 bytes and what is read of the table.

Only an image of zlib has this view: a .cloop's blocks are zlib streams.  Deflating others anew would cost a second
for 50 MB, and the lengths, which the table needs, would be known only at the end: `mirrornet export --cloop` does it.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Coroutine
from typing import Any, Final

from mirrornet.client.reading.reader import Reader
from mirrornet.image.format.block import BlockRef, Codec
from mirrornet.image.format.cloop import HEADER_SIZE, header_of, offsets, size_of, starts
from mirrornet.image.format.index import Head, Place
from mirrornet.model.errors import LocalError

PAGES: Final = 8  # whose places are remembered: 8 KB each
AT_ONCE: Final = 32  # blocks of one read that are sought side by side


def absent(head: Head) -> str:
    """Why an image has no .cloop view; "" where it has one."""
    if head.codec is Codec.ZLIB:
        return ""
    return f"its blocks are {head.codec.name.lower()}, and a .cloop's are zlib: mirrornet export --cloop makes one"


class Cloop:
    """The bytes of the .cloop.  Use inside one event loop."""

    def __init__(self, reader: Reader) -> None:
        """The reader's image is one of zlib."""
        self._reader = reader
        self._head = reader.head
        self._header = header_of(reader.head).encode()
        self._body = header_of(reader.head).body
        self._starts: OrderedDict[int, list[int]] = OrderedDict()
        self.size = size_of(reader.head)

    def answer(self, offset: int, size: int, handle: int = 0) -> Coroutine[Any, Any, bytes]:
        """As `Reader.answer`; always to be awaited."""
        return self.read(offset, size)

    async def read(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`, fewer only where the file ends.

        Raises PeerError (no mirror gave a block in time) or LocalError (offline, and not in the cache).
        """
        end = min(offset + size, self.size)
        if offset >= end:
            return b""
        data = await self._reader.timed(self._span(offset, end), f"bytes {offset} to {end} of the .cloop")
        if len(data) != end - offset:
            raise LocalError(f"{len(data)} bytes where {end - offset} were to be read: a bug in mirrornet")
        self._reader.figures.reads += 1
        self._reader.figures.bytes += len(data)
        return data

    async def _span(self, offset: int, end: int) -> bytes:
        parts = [self._header[offset:end]]
        if offset < self._body and end > HEADER_SIZE:
            parts.append(await self._table(max(offset, HEADER_SIZE), min(end, self._body)))
        if end > self._body:
            parts.append(await self._streams(max(offset, self._body), end))
        return b"".join(parts)

    async def _table(self, offset: int, end: int) -> bytes:
        """Bytes `offset` to `end` of the file, all of them in the table of offsets."""
        page_bytes = 8 * self._head.page_entries
        first = (offset - HEADER_SIZE) // page_bytes
        last = min((end - 1 - HEADER_SIZE) // page_bytes, len(self._head.pages) - 1)  # which has one entry more
        first = min(first, last)
        parts = [offsets(self._head, await self._reader.page(number), number) for number in range(first, last + 1)]
        at = HEADER_SIZE + first * page_bytes
        return b"".join(parts)[offset - at : end - at]

    async def _streams(self, offset: int, end: int) -> bytes:
        """Bytes `offset` to `end` of the file, all of them in streams."""
        parts: list[bytes] = []
        at = offset
        while at < end:
            number = self._head.page_at(at - self._body)
            begins = await self._begins(number)
            page = await self._reader.page(number)
            first = bisect_right(begins, at) - 1
            until = min(end, begins[-1], begins[min(first + AT_ONCE, len(page))])
            last = bisect_right(begins, until - 1) - 1
            rows = [(page.block(position), page.place(position)) for position in range(first, last + 1)]
            streams = b"".join(await asyncio.gather(*(self._stream(*row) for row in rows)))
            parts.append(streams[at - begins[first] : until - begins[first]])
            at = until
        return b"".join(parts)

    async def _stream(self, ref: BlockRef | None, place: Place | None) -> bytes:
        return self._head.zero_stream if ref is None else await self._reader.blocks.stored(ref, place)

    async def _begins(self, number: int) -> list[int]:
        found = self._starts.get(number)
        if found is None:
            found = starts(self._head, await self._reader.page(number), number)
            self._starts[number] = found
            while len(self._starts) > PAGES:
                self._starts.popitem(last=False)
        return found
