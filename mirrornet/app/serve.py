"""The supervisor of `mirrornet serve`: health, planner and window in one asyncio process, workers beside it.

Start: zone files, table and records are read and every fault told; sockets are opened, so that a port in use is known
at once; one round of probes; the first plan; only then do workers answer.  While it runs, a verdict that changes makes
a new plan, which is published whole; TTLs follow the verdicts every second without a plan.  SIGHUP reads the files
again: a new world is staged, planned and swapped only if all of it is sound, else the old one stays and the log says
why.  SIGTERM and Ctrl-C stop workers first, then probes, then the window.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from mirrornet.app.answering import Answering, Engine, FastEngine, ReferenceEngine
from mirrornet.app.folders import state_folder
from mirrornet.app.world import World, load_world
from mirrornet.config.addresses import endpoint
from mirrornet.config.faults import Wrong
from mirrornet.health.monitor import Monitor
from mirrornet.model.address import Address
from mirrornet.model.errors import InputError, MirrornetError
from mirrornet.model.verdict import Verdicts
from mirrornet.web.server import Window
from mirrornet.web.status import Snapshot, TableStatus, ZoneStatus

log = logging.getLogger("mirrornet.serve")

SETTLE = 0.05  # seconds: verdicts that change together make one plan
TTL_EVERY = 1.0  # seconds between updates of the TTL slots


@dataclass(frozen=True, slots=True)
class Options:
    """The command line of `serve`; empty or zero where it says nothing."""

    zones: tuple[Path, ...]
    listen: tuple[str, ...] = ()
    http: str = ""
    state: Path | None = None
    workers: int = 0
    engine: str = "fast"


class Supervisor:
    """One running name server."""

    def __init__(self, options: Options) -> None:
        """Reads all files.  Raises ConfigError or InputError; nothing is started."""
        self.options = options
        self.state = options.state or state_folder()
        self.world = load_world(options.zones)
        settings = self.world.server
        listen = [_endpoint(text) for text in options.listen] or list(settings.listen if settings else ())
        if not listen:
            raise InputError("nowhere to listen: give --listen ADDR:PORT, or `server: listen` in a zone file")
        http = _endpoint(options.http) if options.http else settings.http if settings else None
        self.http: tuple[Address, int] | None = http
        self.state.mkdir(parents=True, exist_ok=True)
        count = options.workers or (settings.workers if settings else None) or os.cpu_count() or 1
        nsid = settings.nsid if settings else ""
        engine: Engine = FastEngine(listen, self.state, count, nsid)
        if options.engine == "reference":
            engine = ReferenceEngine(listen)
        self.answering = Answering(self.world, engine, self.state)
        self.monitors: list[Monitor] = []
        self.started = time.time()
        self.not_ready = "the first round of probes is not over"  # empty once answers are given
        self._changed = asyncio.Event()
        self._probing: list[asyncio.Task[None]] = []

    async def run(self, reload: asyncio.Event) -> None:
        """Serves until cancelled.  Everything that was started is stopped on the way out, whatever happens."""
        window = Window(self.snapshot)
        try:
            await self.answering.engine.start()
            if self.http:
                await window.start(str(self.http[0]), self.http[1])
                log.info("status page on http://%s:%d/", self.http[0], window.port)
            await self._probe(self.world)
            await self.answering.replan(self.verdicts())
            self.not_ready = ""
            for address, port in self.answering.engine.addresses:
                log.info("answering on %s port %d", address, port)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._replan_on_change())
                group.create_task(self._refresh_ttls())
                group.create_task(self._reload_on(reload))
                group.create_task(self._watch_probing())
        finally:
            await self.answering.engine.stop()
            await _cancel(self._probing)
            await window.stop()

    def verdicts(self) -> dict[str, Verdicts]:
        """By zone name, then mirror name."""
        return {monitor.zone.name: monitor.verdicts() for monitor in self.monitors}

    def snapshot(self) -> Snapshot:
        """What is known at this moment, for the window; nothing changes it any more."""
        table, status = self.world.table, None
        if table is not None:
            ranges = sum(len(table.ranges[family].starts) for family in table.ranges)
            status = TableStatus(table.created, ranges, table.place_count, table.checksum)
        zones = {zone.name: ZoneStatus(zone, {}) for zone in self.world.zones}
        for monitor in self.monitors:
            flips = {name: track.flips for name, track in monitor.tracks().items()}
            zones[monitor.zone.name] = ZoneStatus(monitor.zone, monitor.verdicts(), flips, monitor.probes)
        return Snapshot(
            now=time.time(),
            started=self.started,
            zones=tuple(zones.values()),
            not_ready=self.not_ready,
            plan=self.answering.planned,
            table=status,
            counters=self.answering.engine.counters(),
        )

    async def _probe(self, world: World) -> None:
        """New monitors: their first round, then their watch in place of the old ones'."""
        monitors = [Monitor(zone, self.state, on_change=self._changed.set) for zone in world.zones]
        await asyncio.gather(*(monitor.first_round() for monitor in monitors))
        await _cancel(self._probing)
        self.monitors = monitors
        self._probing = [asyncio.create_task(monitor.run()) for monitor in monitors]

    async def _replan_on_change(self) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(SETTLE)
            self._changed.clear()
            try:
                await self.answering.replan(self.verdicts())
            except (MirrornetError, OSError) as error:
                log.error("no new plan, the last one stays in force: %s", error)

    async def _watch_probing(self) -> None:
        """A monitor never ends by itself: one that does has met a bug of ours, which must not go unseen."""
        while True:
            watched = list(self._probing)
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            for task in watched:
                if task.done() and not task.cancelled():
                    task.result()

    async def _refresh_ttls(self) -> None:
        while True:
            await asyncio.sleep(TTL_EVERY)
            await self.answering.refresh_ttls(self.verdicts())

    async def _reload_on(self, reload: asyncio.Event) -> None:
        while True:
            await reload.wait()
            reload.clear()
            try:
                world = await asyncio.to_thread(load_world, self.options.zones)
                await self._probe(world)
                await self.answering.adopt(world, self.verdicts())
            except MirrornetError as error:
                log.error("reload refused, the old files stay in force: %s", error)
                continue
            self.world = world
            log.info("reloaded %s", ", ".join(str(path) for path in self.options.zones))


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    tasks.clear()


def _endpoint(text: str) -> tuple[Address, int]:
    try:
        return endpoint(text)
    except Wrong as error:
        raise InputError(f"{error.what} ({error.hint})" if error.hint else error.what) from None


def run(options: Options) -> None:
    """The verb: serves until SIGTERM or Ctrl-C.  Raises MirrornetError in one line where it cannot start."""

    async def main() -> None:
        supervisor = Supervisor(options)
        loop = asyncio.get_running_loop()
        reload = asyncio.Event()
        running = asyncio.create_task(supervisor.run(reload))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, running.cancel)
        loop.add_signal_handler(signal.SIGHUP, reload.set)
        with contextlib.suppress(asyncio.CancelledError):
            await running

    asyncio.run(main())
