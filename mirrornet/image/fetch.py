"""Where the bytes of a repository come from, as one small function.

The fetchers of client and prober (addresses, deadlines, limits) are handed in as a Fetch, so that metadata takes the
same ways as blocks; a folder is one as well.  They live in an event loop and python-tuf is synchronous, so it runs in a
thread, and `Bridge` leads from there to the loop.  trust/adapter.py shows a Fetch to python-tuf, which takes 0.1 s to
import: who fetches may do so before it is there.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Final, Protocol, TypeVar

from mirrornet.image.small import Irregular, open_regular
from mirrornet.model.errors import Missing, Unreachable, Untrusted

T = TypeVar("T")
ENDING: Final = 10.0  # seconds that a thread told to stop gets


class Fetch(Protocol):
    """Fetches a file of one mirror: `path` relative to the repository, at most `limit` bytes.

    Raises Missing (404, 403), Unreachable, Untrusted (over the limit).
    """

    def __call__(self, path: str, limit: int) -> bytes: ...


def file_fetch(repository: Path) -> Fetch:
    """A Fetch from a folder: a file: URL, a repository on a disk."""

    def fetch(path: str, limit: int) -> bytes:
        try:
            with open_regular(repository / path) as file:
                data = file.read(limit + 1)
        except FileNotFoundError:
            raise Missing(f"{repository / path}: not there") from None
        except Irregular as error:
            raise Missing(f"{repository / path}: {error.strerror}") from None
        except OSError as error:
            raise Unreachable(f"{repository / path}: {error.strerror}") from None
        if len(data) > limit:
            raise Untrusted(f"{repository / path}: longer than {limit} bytes")
        return data

    return fetch


class Bridge:
    """A Fetch, to be called in threads, out of `get`, which runs in the event loop `loop`.  `stop` ends it.

    `patience`: seconds for one file at most, should the loop be gone.  `peer`: how errors name the mirror, or "".
    """

    def __init__(
        self,
        get: Callable[[str, int], Awaitable[bytes]],
        loop: asyncio.AbstractEventLoop,
        patience: float,
        peer: str = "",
    ) -> None:
        self._get, self._loop, self._patience = get, loop, patience
        self._before = f"{peer}: " if peer else ""
        self._stopped = threading.Event()
        self._future: Future[bytes] | None = None

    def __call__(self, path: str, limit: int) -> bytes:
        if self._stopped.is_set():
            raise Unreachable(f"{self._before}{path}: not needed any more")
        call = self._ask(path, limit)
        try:
            self._future = asyncio.run_coroutine_threadsafe(call, self._loop)
        except RuntimeError:  # the loop was closed
            call.close()
            raise Unreachable(f"{self._before}{path}: not fetched, the program is stopping") from None
        if self._stopped.is_set():  # since it was asked above: `stop` may have seen no future, or an old one
            self._future.cancel()
        try:
            return self._future.result(self._patience)
        except TimeoutError:
            self._future.cancel()
            raise Unreachable(f"{self._before}{path}: not here after {self._patience:.0f} s") from None
        except CancelledError:
            raise Unreachable(f"{self._before}{path}: given up") from None

    async def _ask(self, path: str, limit: int) -> bytes:
        return await self._get(path, limit)

    def stop(self) -> None:
        """Ends the fetch under way, and refuses all others."""
        self._stopped.set()
        if self._future is not None:
            self._future.cancel()


async def to_its_end(work: Awaitable[T], stop: Callable[[], None]) -> T:
    """What `work`, a call in a thread, gives; `stop` is what makes the thread end early, and is called in any case.

    Who is cancelled here, by a time limit or otherwise, leaves when the thread has ended: it may write into a folder
    that is removed next.
    """
    task = asyncio.ensure_future(work)
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # who is cancelled has no use for it
    try:
        return await asyncio.shield(task)
    finally:
        stop()
        await asyncio.wait([task], timeout=ENDING)
