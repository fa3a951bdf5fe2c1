"""A running mount learns of newer versions and tells of them; it never changes under its reader.

Once an hour, give or take a quarter (a thousand machines switched on at nine shall not all ask at ten), and whenever
`status --refresh` asks, the metadata is refreshed as a new mount would do it and kept for the next mount.  Where a
newer version is out, its index is compared with that of the version in use: how many blocks and bytes the change
takes, how long that is at the rates measured here, and how much of it is in the cache already.

What fails is told and tried again after the next hour; the mount does not depend on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mirrornet.client.cache.store import Cache
from mirrornet.client.mirrors.choice import Choice
from mirrornet.client.mirrors.source import Endpoint
from mirrornet.client.reading.forecast import Row, published_cost, seconds
from mirrornet.client.reading.gather import Gather
from mirrornet.client.repository import Repository, Trusted
from mirrornet.image.trust.versions import ImageVersion, Metadata
from mirrornet.model.errors import InputError, MirrornetError

log = logging.getLogger(__name__)

EVERY: Final = 3600.0  # seconds
JITTER: Final = 0.25  # of that, either way
LOOKED_AT: Final = 4096  # blocks whose files `status` looks for at most; more take the event loop too long
ASKED: Final = 20.0  # seconds that whoever asks is kept waiting


@dataclass(frozen=True, slots=True)
class Next:
    """A newer version.  `rows`: the blocks that the one in use does not have; None: nobody has counted them.

    `bytes`: as stored; None: not known.
    """

    image: ImageVersion
    rows: tuple[Row, ...] | None
    bytes: int | None


class Following:
    """What a session knows of newer versions.  Use inside one event loop."""

    def __init__(
        self,
        trusted: Trusted,
        repository: Repository,
        endpoints: Callable[[], Sequence[Endpoint]],
        gather: Gather,
        cache: Cache,
        choice: Choice,
        dice: Callable[[], float],
    ) -> None:
        """`endpoints`: the mirrors to ask now, best first.  `dice`: 0 to 1."""
        self.metadata: Metadata = trusted.metadata
        self._trusted = trusted
        self._repository = repository
        self._endpoints = endpoints
        self._gather = gather
        self._cache = cache
        self._choice = choice
        self._dice = dice
        self._checked = time.time()
        self._failed = ""
        self._next: Next | None = None
        self._wanted = asyncio.Event()
        self._asked: list[asyncio.Event] = []  # who waits for the next look

    async def run(self) -> None:
        """Looks for newer versions until cancelled."""
        await self._compare()  # an older version may have been mounted on purpose
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), EVERY * (1 - JITTER + 2 * JITTER * self._dice()))
            self._wanted.clear()
            asked, self._asked = self._asked, []
            await self._refresh()
            for each in asked:
                each.set()

    async def look(self) -> None:
        """Looks now; returns when that is done, after a while also when it is not."""
        done = asyncio.Event()
        self._asked.append(done)
        self._wanted.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), ASKED)

    async def _refresh(self) -> None:
        try:
            self.metadata = await self._repository.newest(self._endpoints(), self._trusted.image.name, now=time.time())
            self._checked, self._failed = time.time(), ""
        except MirrornetError as error:
            self._failed = str(error)
            log.info("no newer metadata: %s", error)
            return
        await self._compare()

    async def _compare(self) -> None:
        """Whether there is a newer version, and what it costs."""
        image = self._trusted.image
        try:
            newest = self.metadata.latest(image.name)
        except InputError:  # all retired
            newest = image
        if newest.version <= image.version:
            self._next = None
            return
        if self._next is not None and self._next.image == newest and self._next.rows is not None:
            return
        told = published_cost(self.metadata.images[image.name], image.version, newest.version)
        self._next = Next(newest, None, told)
        log.info("version %d of %s is out; this mount stays at version %d", newest.version, image.name, image.version)
        try:
            head = await self._repository.head(self._endpoints(), self.metadata, newest)
            rows = await self._gather.news(self._trusted.head, head)
        except MirrornetError as error:
            log.info("what version %d costs is not known: %s", newest.version, error)
            return
        if rows is not None:
            self._next = Next(newest, tuple(rows), sum(row.ref.stored for row in rows))

    def status(self) -> dict[str, Any]:
        """What is known now.  `here`: blocks of the newer version's that are in the cache; `seconds`: for the rest."""
        found: dict[str, Any] = {"checked": round(self._checked, 1), "failed": self._failed, "next": None}
        if (news := self._next) is None:
            return found
        left, here = news.bytes, None
        if news.rows is not None and len(news.rows) <= LOOKED_AT:
            lacking = [row.ref.stored for row in news.rows if not self._cache.has(row.ref)]
            here, left = len(news.rows) - len(lacking), sum(lacking)
        links = ((record.first_byte, record.measures.peak) for record in self._choice.records())
        took = None if left is None else seconds(left, links) if left else 0.0
        found["next"] = {
            "version": news.image.version,
            "rollback_of": news.image.rollback_of,
            "created": news.image.created,
            "blocks": None if news.rows is None else len(news.rows),
            "bytes": news.bytes,
            "here": here,
            "left": left,
            "seconds": None if took is None else round(took, 3),
        }
        return found
