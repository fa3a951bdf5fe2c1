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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mirrornet.app.answering import Answering, FastEngine, ReferenceEngine, World, load_world
from mirrornet.app.folders import state_folder
from mirrornet.app.snapshot import snapshot
from mirrornet.config.load import parse_endpoint
from mirrornet.health.monitor import Monitor
from mirrornet.model.address import Address
from mirrornet.model.errors import InputError, MirrornetError
from mirrornet.web.server import Window

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
        listen = [parse_endpoint(text) for text in options.listen] or list(settings.listen if settings else ())
        if not listen:
            raise InputError("nowhere to listen: give --listen ADDR:PORT, or `server: listen` in a zone file")
        http = parse_endpoint(options.http) if options.http else settings.http if settings else None
        self.http: tuple[Address, int] | None = http
        self.state.mkdir(parents=True, exist_ok=True)
        count = options.workers or (settings.workers if settings else None) or os.cpu_count() or 1
        nsid = settings.nsid if settings else ""
        engine = ReferenceEngine(listen) if options.engine == "reference" else FastEngine(listen, self.state, count, nsid)
        self.answering = Answering(self.world, engine, self.state)
        self.monitors: list[Monitor] = []
        self.started = time.time()
        self.ready = ""  # why not yet; None of it once answers are given
        self._changed = asyncio.Event()
        self._probing: list[asyncio.Task[None]] = []

    async def run(self, stop: asyncio.Event, reload: asyncio.Event) -> None:
        """Serves until `stop` is set.  Everything that was started is stopped on the way out, whatever happens."""
        self.ready = "the first round of probes is not over"
        window = Window(lambda: snapshot(self))
        try:
            await self.answering.engine.open()
            if self.http:
                await window.start(str(self.http[0]), self.http[1])
                log.info("status page on http://%s:%d/", self.http[0], window.port)
            await self._start_probing(self.world)
            await self.answering.replan(self.verdicts())
            await self.answering.engine.start()
            self.ready = ""
            for address, port in self.answering.engine.addresses:
                log.info("answering on %s port %d", address, port)
            tasks = [
                asyncio.create_task(self._replan_on_change()),
                asyncio.create_task(self._refresh_ttls()),
                asyncio.create_task(self._reload_on(reload)),
            ]
            try:
                await self._until(stop, tasks)
            finally:
                await _cancel(tasks)
        finally:
            await self.answering.engine.stop()
            await _cancel(self._probing)
            await window.stop()

    def verdicts(self) -> dict[str, dict[str, object]]:
        """By zone name, then mirror name."""
        return {monitor.zone.name: dict(monitor.verdicts()) for monitor in self.monitors}

    async def _until(self, stop: asyncio.Event, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Waits for `stop`; a task that ends by itself is a bug of ours and ends the server."""
        waiting = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait({waiting, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        for task in done - {waiting}:
            task.result()

    async def _start_probing(self, world: World) -> None:
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
            await self.answering.replan(self.verdicts())

    async def _refresh_ttls(self) -> None:
        while True:
            await asyncio.sleep(TTL_EVERY)
            self.answering.refresh_ttls(self.verdicts())

    async def _reload_on(self, reload: asyncio.Event) -> None:
        while True:
            await reload.wait()
            reload.clear()
            try:
                world = await asyncio.to_thread(load_world, self.options.zones)
                staged = await self.answering.stage(world)
            except MirrornetError as error:
                log.error("reload refused, the old files stay in force: %s", error)
                continue
            await self._start_probing(world)
            self.world = world
            await self.answering.adopt(world, staged, self.verdicts())
            log.info("reloaded %s", ", ".join(str(path) for path in self.options.zones))


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError):
            await task
    tasks.clear()


def run(options: Options) -> None:
    """The verb: serves until SIGTERM or Ctrl-C.  Raises MirrornetError in one line where it cannot start."""

    async def serve() -> None:
        supervisor = Supervisor(options)
        loop = asyncio.get_running_loop()
        stop, reload = asyncio.Event(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, reload.set)
        running = asyncio.create_task(supervisor.run(stop, reload))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        try:
            await asyncio.wait_for(running, 10)  # a stop in the first round of probes must not wait for it
        except TimeoutError:
            log.warning("the server did not stop in 10 seconds and was cut off")
        finally:
            await _cancel([stopping])

    asyncio.run(serve())
