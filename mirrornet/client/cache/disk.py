"""Blocks out of the disk cache, verified and inflated by threads: one for each core, behind one queue.

What is sought in one turn of the event loop goes together, a few blocks a job, and what readers wait for goes before
what is fetched early.  A hop to a thread and back through an Executor costs as much as a third of a block, most of it
in locks and futures that nobody looks at; here a hop is a queue there and one call of the event loop back, which takes
all that has come by then.

Hashing and inflating let go of the interpreter's lock, so both cores are at work while the event loop talks to the
kernel.  Measured with a Debian in blocks of 256 KiB, two cores and nothing else to do: bench/read.py.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final, Generic, Protocol, TypeVar

from mirrornet.client.cache.store import Cache
from mirrornet.image.format.block import BlockRef, open_block
from mirrornet.model.errors import Untrusted

# macOS does not tell which cores a process may use.
CORES: Final = max(1, min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1))
TOGETHER: Final = 4  # blocks in one job of a thread
PATIENCE: Final = 2.0  # seconds that the end waits for a thread


class Sought(Protocol):
    """Whatever wants a block."""

    @property
    def ref(self) -> BlockRef:
        """The block."""


S = TypeVar("S", bound=Sought)


class Disk(Generic[S]):
    """The disk cache, asked from inside one event loop; `await close()` at the end."""

    def __init__(self, cache: Cache, found: Callable[[S, bytes | Exception | None], None]) -> None:
        """`found` is called in the event loop with what was found: the block, None, or what went wrong."""
        self._cache = cache
        self._found = found
        self._urgent: deque[S] = deque()
        self._early: deque[S] = deque()
        self._todo: SimpleQueue[list[S] | None] = SimpleQueue()
        self._done: deque[tuple[list[S], list[bytes | Exception | None]]] = deque()
        self._threads: list[threading.Thread] = []
        self._jobs = 0
        self._dispatching = self._collecting = False

    @property
    def busy(self) -> bool:
        """Whether a thread is at work, or will be."""
        return bool(self._jobs or self._urgent)

    def seek(self, sought: S, *, urgent: bool) -> None:
        """Has it sought, with all that is sought in this turn of the event loop."""
        (self._urgent if urgent else self._early).append(sought)
        if not self._dispatching:
            self._dispatching = True
            asyncio.get_running_loop().call_soon(self._dispatch)

    def hurry(self, sought: S) -> None:
        """Somebody waits for it now."""
        if sought in self._early:
            self._early.remove(sought)
            self._urgent.append(sought)

    def at_once(self, ref: BlockRef) -> bytes | None:
        """The block, here and now, if the kernel has it in memory and no thread is at work."""
        if self.busy:
            return None
        stored = self._cache.at_hand(ref, time.time())
        if stored is None:
            return None
        try:
            return open_block(stored, ref)
        except Untrusted:
            return None  # a thread finds the same, and removes it

    def _dispatch(self) -> None:
        self._dispatching = False
        if not self._threads:
            loop = asyncio.get_running_loop()
            self._threads = [threading.Thread(target=self._work, args=(loop,), daemon=True) for _ in range(CORES)]
            for thread in self._threads:
                thread.start()
        while self._jobs < CORES and (queue := self._urgent or self._early):
            share = min(TOGETHER, -(-len(queue) // (CORES - self._jobs)))
            self._jobs += 1
            self._todo.put([queue.popleft() for _ in range(share)])

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while (job := self._todo.get()) is not None:
            self._done.append((job, [self._opened(sought.ref) for sought in job]))
            if not self._collecting:
                self._collecting = True
                try:
                    loop.call_soon_threadsafe(self._collect)
                except RuntimeError:  # the event loop is closed, and nobody waits
                    return

    def _opened(self, ref: BlockRef) -> bytes | Exception | None:
        try:
            stored = self._cache.get(ref, time.time())
            return None if stored is None else open_block(stored, ref)
        except Untrusted:
            self._cache.discard(ref)
            return None
        except Exception as error:  # whatever it is, nobody waits for ever
            return error

    def _collect(self) -> None:
        self._collecting = False  # first: what comes from here on calls again
        while self._done:
            job, results = self._done.popleft()
            self._jobs -= 1
            self._dispatch()
            for sought, result in zip(job, results, strict=True):
                self._found(sought, result)

    async def close(self) -> None:
        """Ends the threads; what is still sought is not found any more.  One that waits for a disk for ever is left."""
        self._urgent.clear()
        self._early.clear()
        for _ in self._threads:
            self._todo.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join, PATIENCE)
