"""The cache of a client's verb, and how much of an image version is in it.

For `status` that is looked at in a thread, now and then, never for long.

All of a version may be here though it has no profile: then it boots offline, too.  Of index pages that are not here
nobody knows what blocks they name, so those are missing.  An image of more than 100,000 blocks (25 GB) is not looked
through: that takes a second of a core, for one line.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, Final

from mirrornet.app.folders import cache_folder
from mirrornet.client.cache.pins import Pins, Subject
from mirrornet.client.cache.store import Cache
from mirrornet.image.format.index import Head
from mirrornet.model.errors import InputError

MOST: Final = 100_000  # blocks
PATIENCE: Final = 0.3  # seconds that `status` waits for it
AGAIN: Final = 10.0  # seconds until it is worth looking again


def opened_cache(folder: Path | None, size: int | None) -> Cache:
    """The cache that --cache and --cache-size name; None for what is usual.  Raises InputError."""
    if size is not None and size <= 0:
        raise InputError("--cache-size must be more than 0")
    if folder is not None and folder.exists() and not folder.is_dir():
        raise InputError(f"--cache {folder}: is no folder; name one for the cache alone")
    return Cache(folder or cache_folder(), size)


class Holding:
    """What is here of one version.  Use inside one event loop."""

    def __init__(self, pins: Pins, subject: Subject, head: Head) -> None:
        self._pins, self._subject, self._head = pins, subject, head
        self._looking: asyncio.Task[tuple[int, int, bool]] | None = None
        self._looked = 0.0
        self._found: tuple[int, int, bool] | None = None

    async def survey(self) -> None:
        """Looks, unless it has just done so."""
        if self._head.block_count > MOST:
            return
        if self._looking is None and (self._found is None or time.monotonic() - self._looked > AGAIN):
            self._looking = asyncio.create_task(asyncio.to_thread(self._pins.present, self._subject, self._head))
        looking = self._looking
        if looking is None:
            return
        await asyncio.wait((looking,), timeout=PATIENCE)
        if looking.done() and self._looking is looking:  # or another who asked has taken the result
            self._looking = None
            self._found, self._looked = looking.result(), time.monotonic()

    def status(self) -> dict[str, Any] | None:
        """`bytes`: stored, of all of it; `here`: of them in the cache; `complete`: nothing is missing.

        None: not known.
        """
        if self._found is None:
            return None
        size, here, complete = self._found
        return {"bytes": size, "here": here, "complete": complete}
