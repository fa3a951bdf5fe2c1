"""`mirrornet mount`: wires the client's parts into one mounted image version, and keeps it until it is let go.

Order of events: the mount point is made ready (so that an operator's slip costs no network), mirrors are found, one
metadata set is proven, the image is mounted, the first block is read through the kernel, and only then is the
mount "ready".  What is not needed for that goes on beside it: measuring the mirrors, refreshing their list.

The end: `umount` (ours or the system's) ends the mount if nobody holds it; SIGTERM and Ctrl-C refuse new opens and
leave as soon as nobody does; a second one does not wait.  However it ends, the socket, the threads and the
connections are closed before the process leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import random
import signal
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from mirrornet.app.control import Control
from mirrornet.app.folders import cache_folder, state_folder
from mirrornet.app.mounts import socket_path
from mirrornet.client import mountpoint as points
from mirrornet.client.cache import DEFAULT_QUOTA, Cache
from mirrornet.client.choice import Choice, Record
from mirrornet.client.descent import step
from mirrornet.client.failover import Failover
from mirrornet.client.fetch import Fetcher
from mirrornet.client.mount import Mount, Operations
from mirrornet.client.reader import READ_DEADLINE, Reader
from mirrornet.client.repository import Repository, Trusted, forget_scratch
from mirrornet.client.resolve import Refresher, Resolver
from mirrornet.client.share import Sharing
from mirrornet.client.source import Endpoint, Urls, endpoints_of, parse_resolver, parse_source
from mirrornet.model.errors import InputError, LocalError, MirrornetError, Unreachable

log = logging.getLogger(__name__)

WORKERS: Final = 4  # threads that hash, inflate and use the disk
SETTLE: Final = 30  # tenths of a second for all mirrors to be measured
IDLE: Final = 60.0  # seconds without a read after which mirrors are not measured any more


@dataclass(frozen=True, slots=True)
class MountOptions:
    """The command line of `mount`.  Paths are absolute; sizes in bytes, `read_deadline` in seconds."""

    source: str
    name: str
    mountpoint: Path
    root: str
    version: int | None = None
    cache: Path | None = None
    cache_size: int = DEFAULT_QUOTA
    resolver: str = ""
    offline: bool = False
    require_fresh: bool = False
    state: Path | None = None
    read_deadline: float = READ_DEADLINE
    share_rtt: bool = False


class Session:
    """One mount, from the command line to its end."""

    def __init__(self, options: MountOptions) -> None:
        """Reads the options.  Raises InputError."""
        self._options = options
        self._source = parse_source(options.source)
        self._server = parse_resolver(options.resolver) if options.resolver else None
        if options.read_deadline <= 0:
            raise InputError("--read-deadline must be more than 0")
        if options.share_rtt and isinstance(self._source, Urls):
            raise InputError("--share-rtt: URLs have no name server to tell: give a select name, or leave it out")
        self._state = options.state or state_folder()
        self._started = time.time()
        self._fetcher = Fetcher()
        self._choice = Choice()
        self._pool = ThreadPoolExecutor(WORKERS, "blocks")
        self._cache = Cache(options.cache or cache_folder(), options.cache_size)
        self._refresher: Refresher | None = None
        self._sharing: Sharing | None = None
        self._beside: set[asyncio.Task[Any]] = set()
        self._warnings: list[str] = []
        self._stops = 0
        self._reader: Reader | None = None
        self._mount: Mount | None = None
        self._trusted: Trusted | None = None

    async def run(self, ready: Callable[[list[str]], None]) -> None:
        """Mounts, calls `ready` with what a person should know, and returns when the mount has ended.

        Raises MirrornetError where it does not come to a mount whose first read works; nothing is left behind then.
        """
        options = self._options
        control = Control(socket_path(options.mountpoint), self._answer)
        try:
            await asyncio.to_thread(points.prepare, options.mountpoint)
            endpoints = await self._mirrors()
            self._trusted = await self._open(endpoints)
            mount = self._make(self._trusted)
            await control.start()
            mount.start()
            serving = asyncio.create_task(mount.run())
            try:
                self._watch_signals(mount)
                await self._first_read(mount)
                # Only now: the kernel sets its own limits in answer to its first request.
                await mount.tune()
                self._warnings += self._trusted.warnings
                ready(self._warnings)
                log.info("%s is mounted on %s", mount.operations.file_name, options.mountpoint)
            except BaseException as error:
                await mount.leave(force=True)
                if self._stops and isinstance(error, MirrornetError):  # it failed because it was told to stop
                    raise KeyboardInterrupt from None
                raise
            finally:
                await serving
        finally:
            await control.stop()
            await self._close()

    # -- the way in

    async def _mirrors(self) -> tuple[Endpoint, ...]:
        """The mirrors of SOURCE now; none where offline, or where DNS has no answer (it may have one later)."""
        if self._options.offline:
            return ()
        if isinstance(self._source, Urls):
            return endpoints_of(self._source)
        digest = hashlib.sha256(f"{self._source.name} {self._options.resolver}".encode()).hexdigest()[:16]
        file = self._state / "mirrors" / f"{digest}.json"
        resolver = Resolver(self._server)
        self._refresher = Refresher(resolver, self._source, self._changed, file)
        if self._options.share_rtt:
            self._sharing = Sharing(resolver, self._source, self._choice, time.monotonic, random.random)
        try:
            return await self._refresher.first()
        except Unreachable as error:
            self._warnings.append(str(error))
            return ()

    async def _open(self, endpoints: tuple[Endpoint, ...]) -> Trusted:
        await asyncio.to_thread(forget_scratch, self._state)
        repository = Repository(self._state, self._options.root, self._fetcher)
        try:
            return await repository.open(
                endpoints,
                self._options.name,
                self._options.version,
                now=time.time(),
                require_fresh=self._options.require_fresh,
            )
        except MirrornetError as error:
            if self._warnings:
                raise type(error)(f"{'; '.join(self._warnings)} ({error})") from None  # the cause comes first
            raise

    def _make(self, trusted: Trusted) -> Mount:
        options = self._options
        failover = None
        if not options.offline:
            trouble = self._refresher.trouble if self._refresher else lambda: None
            failover = Failover(self._fetcher, self._choice, self._pool, trouble)
            if isinstance(self._source, Urls):
                self._choice.update(endpoints_of(self._source))
            if self._refresher is not None:
                self._spawn(self._refresher.run())
                self._spawn(self._descend(self._refresher))
            if self._sharing is not None:
                self._spawn(self._sharing.run())
            self._spawn(failover.watch(trusted.head.pages[0], self._active))
        self._spawn(asyncio.to_thread(self._cache.measure, time.time()))
        self._reader = Reader(trusted.head, self._cache, failover, self._pool, deadline=options.read_deadline)
        created = int(datetime.fromisoformat(trusted.image.created).timestamp()) * 1_000_000_000
        operations = Operations(options.name, self._reader, options.read_deadline, created)
        self._mount = Mount(options.mountpoint, f"{options.source}#{options.name}", operations)
        return self._mount

    async def _first_read(self, mount: Mount) -> None:
        """Reads the first bytes as any program would.  Raises Unreachable where that fails."""

        def read() -> None:
            with (mount.mountpoint / mount.operations.file_name).open("rb") as file:
                file.read(4096)

        try:
            await asyncio.to_thread(read)
        except OSError as error:
            why = (self._reader.figures.last_error if self._reader else "") or error.strerror
            if not self._options.offline:
                raise Unreachable(f"the first read failed: {why}") from None
            self._warnings.append(f"the first block cannot be read: {why}")

    def _changed(self, endpoints: tuple[Endpoint, ...]) -> None:
        self._choice.update(endpoints)
        self._spawn(self._fetcher.forget(endpoints))

    async def _descend(self, refresher: Refresher) -> None:
        """Where even the best mirror is far, asks for those near it (client/descent.py)."""
        asked: list[str] = []
        while True:
            for _ in range(SETTLE):
                await asyncio.sleep(0.1)
                if all(record.asked_at is not None for record in self._choice.records()):
                    break
            mirror = step({r.name: r.first_byte for r in self._choice.records() if r.first_byte is not None}, asked)
            if mirror is None or not await refresher.descend(mirror):
                return
            asked.append(mirror)

    def _active(self) -> bool:
        return self._reader is not None and time.monotonic() - self._reader.last_read < IDLE

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._beside.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task beside the mount ended: %s: %s", type(error).__name__, error)

    # -- the way out

    def _watch_signals(self, mount: Mount) -> None:
        loop = asyncio.get_running_loop()

        def stop() -> None:
            self._stops += 1
            if self._stops == 1:
                log.info("asked to stop: no new opens; leaving %s when nobody holds it", mount.mountpoint)
                self._spawn(mount.leave_when_free())
            elif self._stops == 2:
                log.warning("asked to stop again: leaving %s now", mount.mountpoint)
                self._spawn(mount.leave(force=True))

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)

    async def _close(self) -> None:
        tasks = tuple(self._beside)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._reader is not None:
            await self._reader.close()
        await self._fetcher.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    # -- the control socket

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if request.get("do") == "status":
            return self.status()
        if request.get("do") == "leave" and self._mount is not None:
            try:
                return {"left": await self._mount.leave(force=bool(request.get("force")))}
            except LocalError as error:
                return {"error": str(error), "code": error.exit_code}
        raise InputError(f"{request.get('do')!r} is nothing a mount can do")

    def status(self) -> dict[str, Any]:
        """What is known just now; plain values.  Times in seconds unless the name says otherwise."""
        trusted, reader, mount = self._trusted, self._reader, self._mount
        if trusted is None or reader is None or mount is None:
            return {"mountpoint": str(self._options.mountpoint), "pid": os.getpid(), "ready": False}
        now = time.monotonic()
        return {
            "mountpoint": str(self._options.mountpoint),
            "source": self._options.source,
            "image": trusted.image.name,
            "version": trusted.image.version,
            "size": trusted.image.size,
            "repository": trusted.metadata.repository_id,
            "pid": os.getpid(),
            "ready": True,
            "uptime": round(time.time() - self._started, 1),
            "offline": self._options.offline,
            "leaving": mount.operations.refusing,
            "open_handles": len(mount.operations.handles),
            "reads_waiting": len(mount.operations.reads),
            "metadata_expires": trusted.metadata.expires,
            "metadata_expired": trusted.metadata.expires < time.time(),
            "warnings": self._warnings,
            "name_server": self._refresher.last_error if self._refresher else "",
            "network_down": self._choice.network_down,
            "hedges": self._choice.hedges,
            "mirrors": [
                *(_mirror(record, now) for record in self._choice.records()),
                *({**_mirror(record, now), "offered": False} for record in self._choice.former()),
            ],
            "reads": reader.status(),
            "cache": self._cache.status(),
        }


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
        "first_byte_ms": None if record.first_byte is None else round(record.first_byte * 1000, 1),
        "rate": None if record.rate is None else round(record.rate),
        "blocks": record.blocks,
        "bytes": record.bytes,
        "missing": record.missing,
        "failures": record.failures,
        "blames": {str(blame): count for blame, count in record.blames.items()},
        "last_blame": record.last_blame,
        "out_for": max(0.0, round(record.out_until - now, 1)) if record.out_until is not None else 0.0,
    }


def run(options: MountOptions, ready: Callable[[list[str]], None]) -> None:
    """Mounts and stays until the end.  Raises MirrornetError."""
    session = Session(options)
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(session.run(ready))
