"""pyfuse3's wait for the next request of the kernel, made cheaper and safe against a request that vanished.

pyfuse3 reads a request as soon as its descriptor is readable; under asyncio it adds the descriptor to the event loop
for each request and takes it out again, three calls of the kernel where one will do.  Here it stays in, and leaves
only while nobody waits for it (all of pyfuse3's tasks are busy), since the loop would otherwise spin.

A request can vanish after it was announced: its process was killed.  pyfuse3's read, which blocks, would then hold up
the event loop, and with it everybody's reads, until the next request.  So the descriptor is asked once more in the
last moment; what is left is a window of microseconds, in place of that of everything else that ran in this turn.

pyfuse3 takes these functions from its module `pyfuse3.asyncio`, where `enable` puts ours.
"""

from __future__ import annotations

import asyncio
import select

import pyfuse3
import pyfuse3.asyncio


class Requests:
    """Waits for requests on one descriptor.  Use inside one event loop."""

    def __init__(self) -> None:
        self._waiting: asyncio.Future[None] | None = None
        self._poll = select.poll()
        self._descriptor = -1
        self._watched = False
        self._over = False

    async def wait(self, descriptor: int) -> None:
        """Returns when a request can be read.  Raises pyfuse3's ClosedResourceError once it is over."""
        if descriptor != self._descriptor:
            self._descriptor = descriptor
            self._poll.register(descriptor, select.POLLIN)
        loop = asyncio.get_running_loop()
        while True:
            if self._over:
                raise pyfuse3.asyncio.ClosedResourceError
            if self._poll.poll(0):
                return
            if not self._watched:
                loop.add_reader(descriptor, self._readable)
                self._watched = True
            self._waiting = loop.create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None

    def more(self) -> bool:
        """Whether another request waits already."""
        return any(events & select.POLLIN for _, events in self._poll.poll(0))

    def _readable(self) -> None:
        if self._waiting is None:  # nobody can take it now: not before the next `wait`
            self._ignore()
        elif not self._waiting.done():
            self._waiting.set_result(None)

    def _ignore(self) -> None:
        if self._watched:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            self._watched = False

    def close(self, descriptor: int) -> None:
        """Ends the wait, now and for ever."""
        self._over = True
        self._ignore()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


def enable() -> Requests:
    """Has pyfuse3 use asyncio, and wait for its requests by what is returned."""
    requests = Requests()
    pyfuse3.asyncio.enable()
    for name, ours in (("wait_readable", requests.wait), ("notify_closing", requests.close)):
        setattr(pyfuse3.asyncio, name, ours)
    return requests
