"""Samples of queries, from the workers' rings to who wants them: the window's stream, and the query log.

Workers write samples only while somebody wants them (dns/serving/samples.py).  A few times a second what is new is read
here, made presentable (seeing.py), handed to each listener's queue, which loses what it has no room for, and written to
the log by a thread.  Nothing here can hold up an answer: a disk that is full or slow costs lines of the log, and the
server says so once.

The log takes one query of `sample`, at most `most` a second, so that a flood fills no disk.  A listener at the window
wants to see something even on a quiet server: while there is one and the server has less to do than the window may
show, every query is a sample, and the log takes its part of them.

Rejected: dnstap.  The libraries that Python has for it (fstrm, dnstap-pb) are small and would do, but a dnstap message
is the packet itself: whole addresses, Client Subnet and cookies, which we would have to cut out of it again, and the
reply, which no ring of ours keeps.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Protocol

from mirrornet.app.server.showing.seeing import line, seen
from mirrornet.app.server.trouble import Trouble
from mirrornet.dns.serving.samples import Sample
from mirrornet.model.zone import QueryLogSettings
from mirrornet.web.queries import Seen

log = logging.getLogger(__name__)

EVERY: Final = 0.25  # seconds between two looks
LIVE: Final = 20  # queries a second and worker that listeners are shown
ROOM: Final = 64  # batches that wait for a listener


class Source(Protocol):
    """Whoever has samples: an engine."""

    def sample(self, every: int, rate: int) -> None: ...
    def samples(self) -> Sequence[Sample]: ...
    def mirrors_of(self, generation: int, slot: int) -> Sequence[str]: ...
    def counters(self) -> dict[str, int]: ...


class Watching:
    """The samples of `source`; a Feed (web/queries.py)."""

    def __init__(self, source: Source, workers: int) -> None:
        self._source = source
        self._workers = workers
        self._queues: set[asyncio.Queue[tuple[Seen, ...]]] = set()
        self._log: QueryLogSettings | None = None
        self._wake = asyncio.Event()
        self._last = 0  # queries, at the last look
        self._every = 0
        self._passed = 0  # samples since the last line of the log
        self._writing: asyncio.Task[None] | None = None
        self._trouble = Trouble(log, "", "")
        self._broken = Trouble(log, "samples of queries are not shown: a bug of ours", "")
        self.written = self.lost = 0  # lines of the log

    def counters(self) -> dict[str, int]:
        """Lines of the log; none where there is no log."""
        return {"log_lines": self.written, "log_lost": self.lost} if self._log else {}

    def settle(self, wanted: QueryLogSettings | None) -> None:
        """From now on the log is kept as `wanted`; None: not at all."""
        if wanted != self._log:
            self._log, self._passed = wanted, 0
            if wanted:
                text = f"{wanted.file}: the query log"
                self._trouble = Trouble(log, f"{text} has gaps", f"{text} is written again")
            self._wake.set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[asyncio.Queue[tuple[Seen, ...]]]:
        """A queue of what is seen from now on; see web/queries.py."""
        queue: asyncio.Queue[tuple[Seen, ...]] = asyncio.Queue(ROOM)
        self._queues.add(queue)
        self._wake.set()
        try:
            yield queue
        finally:
            self._queues.discard(queue)

    async def run(self) -> None:
        """Hands on samples, for ever; rests while nobody wants any."""
        try:
            while True:
                if not self._queues and self._log is None:
                    self._want(0, 0)
                    await self._wake.wait()
                self._wake.clear()
                try:
                    self._decide()
                    self._look()
                except Exception as error:  # what a stranger sent must not end the answers
                    self._broken.met(error)
                await asyncio.sleep(EVERY)
        finally:
            if self._writing is not None:
                await self._writing

    def _decide(self) -> None:
        """How many samples are wanted from now on."""
        counters = self._source.counters()
        queries = counters.get("udp", 0) + counters.get("tcp", 0)
        busy, self._last = (queries - self._last) / EVERY > LIVE * self._workers, queries
        every, rate = (1, LIVE) if self._queues else (0, 0)
        if self._log is not None:
            rate = max(rate, -(-self._log.most // self._workers))
            every = 1 if self._queues and not busy else self._log.sample
        self._want(every, rate)

    def _want(self, every: int, rate: int) -> None:
        self._every = every
        self._source.sample(every, rate)

    def _look(self) -> None:
        samples = self._source.samples()
        if not samples:
            return
        named = [self._source.mirrors_of(one.generation, one.slot) for one in samples]
        if self._queues:
            batch = tuple(seen(one, mirrors) for one, mirrors in zip(samples, named, strict=True))
            for queue in self._queues:
                if not queue.full():
                    queue.put_nowait(batch)
        if self._log is not None:
            self._keep(self._log, samples, named)

    def _keep(self, wanted: QueryLogSettings, samples: Sequence[Sample], named: Sequence[Sequence[str]]) -> None:
        lines = []
        for one, mirrors in zip(samples, named, strict=True):
            self._passed += self._every
            if self._passed >= wanted.sample:
                self._passed = 0
                shown = seen(one, mirrors, wanted.addresses == "whole")
                lines.append(json.dumps(line(shown, one.reply_size, wanted.sample), ensure_ascii=False))
        if not lines:
            return
        if self._writing is not None and not self._writing.done():  # the disk is slow: these are not kept
            self.lost += len(lines)
            return
        self._writing = asyncio.create_task(self._write(wanted.file, lines))

    async def _write(self, path: Path, lines: Sequence[str]) -> None:
        try:
            await asyncio.to_thread(append, path, lines)
        except OSError as error:
            self.lost += len(lines)
            self._trouble.met(error)
        else:
            self.written += len(lines)
            self._trouble.over()


def append(path: Path, lines: Sequence[str]) -> None:
    """Adds `lines` to the file, which is opened anew each time, so that it may be moved away.  Raises OSError.

    Owner and group may read it.  A link in its place is not followed.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    file = os.open(path, flags, 0o640)
    try:
        data = memoryview(("\n".join(lines) + "\n").encode())
        while data:
            data = data[os.write(file, data) :]
    finally:
        os.close(file)
