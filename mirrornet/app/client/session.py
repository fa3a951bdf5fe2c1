"""The client without a door: from SOURCE and NAME to a reader of verified bytes, for `mount`, `nbd`, `boot` and `pull`.

`open` finds the mirrors and proves one metadata set; `read` makes the reader.  What is not needed for that goes on
beside it as tasks: measuring the mirrors, refreshing their list, descending to those near by, sharing round trips,
looking for newer versions (following.py), pinning in the cache what this version needs to be found again.
`close` ends all of it.  A door adds how bytes leave (the kernel, a socket, a file) and nothing else.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mirrornet.app.client.following import Following
from mirrornet.app.client.holding import Holding, opened_cache
from mirrornet.app.client.profiles import Profiles
from mirrornet.app.folders import state_folder
from mirrornet.client.cache.pins import Held, Kind, Subject
from mirrornet.client.fetching.failover import Failover
from mirrornet.client.fetching.fetch import Fetcher
from mirrornet.client.mirrors.choice import Choice, Record
from mirrornet.client.mirrors.descent import step
from mirrornet.client.mirrors.source import Endpoint, Urls, endpoints_of, parse_resolver, parse_source
from mirrornet.client.reading.gather import Gather
from mirrornet.client.reading.reader import READ_DEADLINE, Reader
from mirrornet.client.repository import Repository, Trusted, forget_scratch
from mirrornet.image.format.block import BlockRef
from mirrornet.model.errors import InputError, MirrornetError, Unreachable

if TYPE_CHECKING:
    from mirrornet.client.finding.resolve import Refresher
    from mirrornet.client.finding.share import Sharing

log = logging.getLogger(__name__)

WORKERS: Final = 4  # threads that hash, inflate and use the disk
SETTLE: Final = 30  # tenths of a second for all mirrors to be measured
IDLE: Final = 60.0  # seconds without a read after which mirrors are not measured any more


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """What every client verb takes.  Paths are absolute; sizes in bytes, `read_deadline` in seconds."""

    source: str
    name: str
    root: str
    version: int | None = None
    cache: Path | None = None
    cache_size: int | None = None  # as it is set in that folder
    resolver: str = ""
    offline: bool = False
    require_fresh: bool = False
    state: Path | None = None
    read_deadline: float = READ_DEADLINE
    share_rtt: bool = False
    prefetch: str = "auto"  # one of profiles.MODES
    boots: bool = False  # a guest boots from it


class Session:
    """One image version in use, from the command line to the end.  Use inside one event loop."""

    def __init__(self, options: ClientOptions) -> None:
        """Reads the options.  Raises InputError."""
        self.options = options
        self._source = parse_source(options.source)
        self._server = parse_resolver(options.resolver) if options.resolver else None
        if options.read_deadline <= 0:
            raise InputError("--read-deadline must be more than 0")
        if options.share_rtt and isinstance(self._source, Urls):
            raise InputError("--share-rtt: URLs have no name server to tell: give a select name, or leave it out")
        self.state = options.state or state_folder()
        self.warnings: list[str] = []
        self.cache = opened_cache(options.cache, options.cache_size)
        self.choice = Choice()
        self.fetcher = Fetcher()
        self.trusted: Trusted | None = None
        self.reader: Reader | None = None
        self.failover: Failover | None = None  # None: offline
        self.following: Following | None = None
        self.profiles: Profiles | None = None
        self.holding: Holding | None = None
        self.repository = Repository(self.state, options.root, self.fetcher)
        self._started = time.time()
        self._pool = ThreadPoolExecutor(WORKERS, "blocks")
        self._refresher: Refresher | None = None
        self._sharing: Sharing | None = None
        self.held = asyncio.Event()  # what this version needs is pinned, or nothing can be
        self._pin: Held | None = None
        self._profile: tuple[BlockRef, ...] = ()
        self._beside: set[asyncio.Task[Any]] = set()

    async def open(self, *, kept: bool = False) -> Trusted:
        """Finds the mirrors and the version.  Raises MirrornetError where there is none to be believed.

        `kept`: what was verified here before is good enough, and no mirror is asked for anything newer.
        """
        endpoints = await self._mirrors()
        self.trusted = await self._open(() if kept else endpoints)
        self.warnings += self.trusted.warnings
        return self.trusted

    def read(self, *, follow: bool = True) -> Reader:
        """The reader of what `open` found; from now on mirrors are measured and their list is kept fresh.

        `follow`: newer versions are looked for, too.
        """
        options, trusted = self.options, self.trusted
        if trusted is None:
            raise RuntimeError("open comes first")
        failover = None
        if not options.offline:
            trouble = self._refresher.trouble if self._refresher else lambda: None
            failover = Failover(self.fetcher, self.choice, self._pool, trouble)
            if self._refresher is not None:
                self.spawn(self._refresher.run())
                self.spawn(self._descend(self._refresher))
            if self._sharing is not None:
                self.spawn(self._sharing.run())
            # Measured by the least block that a mirror must have, each boot anew and though it is kept here.
            self.spawn(failover.watch(min(trusted.head.pages, key=lambda page: page.stored), self._active))
            self.failover = failover
            self.following = Following(
                trusted, self.repository, self.offered, self.gather(), self.cache, self.choice, random.random
            )
            if follow:
                self.spawn(self.following.run())
        self.spawn(asyncio.to_thread(self.cache.measure, time.time()))
        self.spawn(self.hold())
        self.holding = Holding(self.cache.pins, self.subject, trusted.head)
        self.reader = Reader(trusted.head, self.cache, failover, self._pool, deadline=options.read_deadline)
        self.profiles = Profiles(
            self.state, trusted, self.reader, failover, self.fetcher, self.cache,
            mode=options.prefetch, boots=options.boots, hold=self.hold, booted=self.booted,
        )  # fmt: skip
        if follow:
            self.spawn(self.reader.prepare())
            self.spawn(self.profiles.run())
        return self.reader

    @property
    def subject(self) -> Subject:
        """The version in use, as pins name it."""
        if self.trusted is None:
            raise RuntimeError("open comes first")
        return Subject(self.trusted.metadata.repository_id, self.trusted.image.name, self.trusted.image.version)

    async def hold(self, profile: Sequence[BlockRef] = ()) -> None:
        """Pins the index of the version in use, and its `profile`, in the cache for as long as the session lasts."""
        self._profile = tuple(profile) or self._profile
        try:
            if self._pin is None:
                self._pin = self.cache.pins.held(self.subject)
            await self._pinned(self._pin.hold, self._needed(), time.time())
        finally:
            self.held.set()

    async def booted(self) -> None:
        """Pins the same until another version of this image has booted: this one will boot offline."""
        await self._pinned(self.cache.pins.keep, self.subject, Kind.BOOTED, self._needed(), time.time())

    def _needed(self) -> list[BlockRef]:
        return [*(self.trusted.head.pages if self.trusted else ()), *self._profile]

    async def _pinned(self, work: Callable[..., None], *arguments: object) -> None:
        try:
            await asyncio.to_thread(work, *arguments)
        except OSError as error:  # a cache that refuses is told of elsewhere
            log.info("nothing is pinned in the cache: %s", error.strerror)

    def gather(self) -> Gather:
        """What brings blocks into the cache before they are read."""
        return Gather(self.cache, self.failover, self._pool)

    def offered(self) -> list[Endpoint]:
        """The mirrors there are, in the order of their ranks; none offline."""
        return [record.endpoint for record in self.choice.records()]

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Runs `work` beside the session, and ends it with it."""
        task = asyncio.create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._finished)

    async def close(self) -> None:
        """Ends the tasks, the reads, the connections and the threads."""
        tasks = tuple(self._beside)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self.profiles is not None:
            await self.profiles.close()
        if self.reader is not None:
            await self.reader.close()
        await self.fetcher.close()
        if self._pin is not None:
            self._pin.release()
        self._pool.shutdown(wait=False, cancel_futures=True)

    @property
    def boot_folder(self) -> Path:
        """Where the files lie that a guest of this image is started with, by hash (bootfiles.py)."""
        assert self.trusted is not None
        return self.state / "boot" / self.trusted.metadata.repository_id / self.trusted.image.name

    def status(self) -> dict[str, Any]:
        """What is known just now; plain values.  Times in seconds unless the name says otherwise."""
        trusted, reader = self.trusted, self.reader
        if trusted is None or reader is None:
            return {"pid": os.getpid(), "ready": False}
        now = time.monotonic()
        return {
            "source": self.options.source,
            "image": trusted.image.name,
            "version": trusted.image.version,
            "size": trusted.image.size,
            "repository": trusted.metadata.repository_id,
            "pid": os.getpid(),
            "ready": True,
            "uptime": round(time.time() - self._started, 1),
            "offline": self.options.offline,
            "metadata_expires": trusted.metadata.expires,
            "metadata_expired": trusted.metadata.expires < time.time(),
            "warnings": self.warnings,
            "name_server": self._refresher.last_error if self._refresher else "",
            "network_down": self.choice.network_down,
            "requests": self.choice.requests,
            "hedges": self.choice.hedges,
            "mirrors": [
                *(_mirror(record, now) for record in self.choice.records()),
                *({**_mirror(record, now), "offered": False} for record in self.choice.former()),
            ],
            "reads": reader.status(),
            "cache": self.cache.status(),
            "following": self.following.status() if self.following is not None else None,
            "profile": self.profiles.status() if self.profiles is not None else None,
            "holding": self.holding.status() if self.holding is not None else None,
            "guest_files": {
                kind: (self.boot_folder / each.hash.hex()).exists() for kind, each in trusted.image.guest_files.items()
            },
        }

    async def survey(self) -> None:
        """Looks at what `status` tells of the cache; waits for no network, and never for long."""
        if self.profiles is not None and self.holding is not None:
            await asyncio.gather(self.profiles.survey(), self.holding.survey())

    async def _mirrors(self) -> tuple[Endpoint, ...]:
        """The mirrors of SOURCE now; none where offline, or where DNS has no answer (it may have one later)."""
        if self.options.offline:
            return ()
        if isinstance(self._source, Urls):
            endpoints = endpoints_of(self._source)
            self.choice.update(endpoints)
            return endpoints
        # Only here: who names URLs needs no DNS, and dnspython takes a while.
        from mirrornet.client.finding.resolve import Refresher, Resolver
        from mirrornet.client.finding.share import Sharing

        digest = hashlib.sha256(f"{self._source.name} {self.options.resolver}".encode()).hexdigest()[:16]
        file = self.state / "mirrors" / f"{digest}.json"
        resolver = Resolver(self._server)
        self._refresher = Refresher(resolver, self._source, self._changed, file)
        if self.options.share_rtt:
            self._sharing = Sharing(resolver, self._source, self.choice, time.monotonic, random.random)
        try:
            return await self._refresher.first()
        except Unreachable as error:
            self.warnings.append(str(error))
            return ()

    async def _open(self, endpoints: tuple[Endpoint, ...]) -> Trusted:
        await asyncio.to_thread(forget_scratch, self.state)
        try:
            return await self.repository.open(
                endpoints,
                self.options.name,
                self.options.version,
                now=time.time(),
                require_fresh=self.options.require_fresh,
            )
        except MirrornetError as error:
            if self.warnings:
                raise type(error)(f"{'; '.join(self.warnings)} ({error})") from None  # the cause comes first
            raise

    def _changed(self, endpoints: tuple[Endpoint, ...]) -> None:
        self.choice.update(endpoints)
        self.spawn(self.fetcher.forget(endpoints))

    async def _descend(self, refresher: Refresher) -> None:
        """Where even the best mirror is far, asks for those near it (client/mirrors/descent.py)."""
        asked: list[str] = []
        while True:
            for _ in range(SETTLE):
                await asyncio.sleep(0.1)
                if all(record.asked_at is not None for record in self.choice.records()):
                    break
            mirror = step({r.name: r.first_byte for r in self.choice.records() if r.first_byte is not None}, asked)
            if mirror is None or not await refresher.descend(mirror):
                return
            asked.append(mirror)

    def _active(self) -> bool:
        return self.reader is not None and time.monotonic() - self.reader.last_read < IDLE

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._beside.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task beside the client ended: %s: %s", type(error).__name__, error)


def _mirror(record: Record, now: float) -> dict[str, Any]:
    if record.corrupt_until > now:
        state = "corrupt"
    elif record.out_until is not None:
        state = "out"
    else:
        state = "in use" if record.first_byte is not None else "not measured"
    return {
        "name": record.name,
        "offered": True,
        "url": record.endpoint.url,
        "addresses": list(record.endpoint.addresses),
        "rank": record.endpoint.rank,
        "state": state,
        "first_byte_ms": _milliseconds(record.first_byte),
        "first_byte_p50_ms": _milliseconds(record.measures.firsts.at(0.5)),
        "first_byte_p95_ms": _milliseconds(record.measures.firsts.at(0.95)),
        "rate": None if record.rate is None else round(record.rate),
        "line_rate": None if (peak := record.measures.peak) is None else round(peak),
        "window": record.window.limit,
        "share": round(record.breaker.share(now), 2),
        "blocks": record.blocks,
        "bytes": record.bytes,
        "missing": record.missing,
        "failures": record.failures,
        "blames": {str(blame): count for blame, count in record.blames.items()},
        "last_blame": record.last_blame,
        "out_for": max(0.0, round(record.out_until - now, 1)) if record.out_until is not None else 0.0,
    }


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)
