"""The supervisor of `mirrornet serve`: health, planner and window in one asyncio process, workers beside it.

Start: zone files, table and records are read and every fault told; sockets are opened, so that a port in use is known
at once; one round of probes; the first plan; only then do workers answer.  While it runs, a verdict that changes makes
a new plan, which is published whole; TTLs follow the verdicts every second without a plan.

Files are read again on SIGHUP, and when they have changed and come to rest (files.py).  A new world is staged beside
the old one, which goes on: files proven, new mirrors probed once, a planner made.  Then its first plan is published,
with the verdicts of mirrors that stay as they stand, and only then do probes follow (probing.py).  Where any of it
fails the old world stays, whole, and the log says why, once.  What only a start can change (sockets, workers) is said.

A plan that cannot be written, for a disk is full, leaves the last one in force and is tried again every few seconds.
SIGTERM and Ctrl-C stop workers first, then probes, then the window.  After SIGUSR2 they leave the workers, which answer
on: the unit in deploy/ sends it when it is a restart that ends us (inherit.py).
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from mirrornet.app.control import Control
from mirrornet.app.folders import state_folder
from mirrornet.app.lock import only_server
from mirrornet.app.notify import Manager, attend
from mirrornet.app.server.answers.answering import Answering, Engine, FastEngine, ReferenceEngine
from mirrornet.app.server.showing.explaining import Explaining
from mirrornet.app.server.showing.showing import Showing, table
from mirrornet.app.server.showing.surveying import Surveying
from mirrornet.app.server.showing.watching import Watching
from mirrornet.app.server.trouble import Trouble
from mirrornet.app.server.voices.joining import fixed, join
from mirrornet.app.server.voices.measuring import Measuring
from mirrornet.app.server.voices.overriding import SOCKET, Overriding
from mirrornet.app.server.voices.probing import Probing
from mirrornet.app.server.worlds.files import Files, Moving, worth_reading
from mirrornet.app.server.worlds.manners import manners_of
from mirrornet.app.server.worlds.tokens import TokenFile
from mirrornet.app.server.worlds.world import World
from mirrornet.app.signals import until_told
from mirrornet.config.addresses import endpoint
from mirrornet.config.faults import Wrong
from mirrornet.model.address import Address
from mirrornet.model.errors import InputError, MirrornetError
from mirrornet.model.zone import ServerSettings
from mirrornet.web.overriding import OverrideDoor
from mirrornet.web.reports import ReportListener
from mirrornet.web.server import Window
from mirrornet.web.status import Snapshot

log = logging.getLogger("mirrornet.serve")

SETTLE = 0.05  # seconds: verdicts that change together make one plan
TTL_EVERY = 1.0  # seconds between updates of the TTL slots
_LIVE = {"query_log"}  # keys of `server:` that a reload changes
AGAIN = 3.0  # seconds after which a plan that could not be written is tried again


@dataclass(frozen=True, slots=True)
class Options:
    """The command line of `serve`; empty or zero where it says nothing."""

    zones: tuple[Path, ...]
    listen: tuple[str, ...] = ()
    http: str = ""
    state: Path | None = None
    workers: int = 0
    engine: str = "fast"
    share: str = ""
    share_key: Path | None = None


class Supervisor:
    """One running name server."""

    def __init__(self, options: Options, manager: Manager | None = None) -> None:
        """Reads all files.  Raises ConfigError or InputError; nothing is started."""
        self.options = options
        self.manager = manager or Manager()
        self.leaving = False  # the workers are to answer on when we have ended
        self.state = options.state or state_folder()
        self.files = Files(options.zones)
        self.world = self.files.load()
        settings = self.world.server
        listen = [_endpoint(text) for text in options.listen] or list(settings.listen if settings else ())
        if not listen:
            raise InputError("nowhere to listen: give --listen ADDR:PORT, or `server: listen` in a zone file")
        http = _endpoint(options.http) if options.http else settings.http if settings else None
        self.http: tuple[Address, int] | None = http
        count = options.workers or (settings.workers if settings else None) or os.cpu_count() or 1
        secure = settings.tls.listen if settings and settings.tls else ()
        manners = manners_of(settings, self.state, 1 if options.engine == "reference" else count)
        engine: Engine = FastEngine(listen, self.state, count, manners, secure, self.manager)
        if options.engine == "reference":
            engine = ReferenceEngine(listen, manners, secure, self.manager)
        self.answering = Answering(self.world, engine, self.state)
        self.started = time.time()
        self.not_ready = "the first round of probes is not over"  # empty once answers are given
        self._started_with = settings
        self._changed = asyncio.Event()
        self._swapping = asyncio.Lock()  # a world, its probes and its plans change hands together
        self._unplanned = Trouble(log, "no new plan, the last one stays in force", "a new plan is in force again")
        self._unread = Trouble(log, "reload refused, the old files stay in force", "the files are in force again")
        self.probing = Probing(self.state, self._changed.set)
        self.overriding = Overriding(self.state, lambda: self.world.zones, self.probing.own, self._changed.set)
        self.probing.opinions.append(self.overriding.opinion)
        self.overriding.pardon = self.probing.pardon
        self.tokens = TokenFile(settings.token_file if settings else None)
        where = options.share, options.share_key
        self.sharing = join(*where, self.world, self.probing, self.overriding, self._changed.set)
        self.explaining = Explaining(self.answering, self.probing.verdicts)
        self.surveying = Surveying(self.answering, self.explaining)
        self.showing = Showing(self.probing, self.explaining, self.surveying, engine.asked)
        self.watching = Watching(engine, count)
        self.watching.settle(settings.query_log if settings else None)
        self.reports: Mapping[str, int] = {}  # of round trips, by what became of them
        self.rtt = settings.rtt if settings else None
        self.measuring: Measuring | None = None  # once the state folder is ours

    def leave(self) -> None:
        """When we end, the workers stay: somebody follows who takes over from them."""
        self.leaving = True

    async def run(self, reload: asyncio.Event) -> None:
        """Serves until cancelled.  Everything that was started is stopped on the way out, whatever happens."""
        with only_server(self.state):
            await self._run(reload)

    async def _run(self, reload: asyncio.Event) -> None:
        door = OverrideDoor(self.overriding.take, self.tokens.current)
        explain, locate = self.explaining.text, self.explaining.place
        window = Window(self.snapshot, explain=explain, locate=locate, feed=self.watching, overrides=door)
        listener, control = None, Control(self.state / SOCKET, self.overriding.answer)
        try:
            await self.answering.engine.start()
            self.overriding.load()
            await control.start()
            if self.rtt:
                self.measuring = Measuring(self.state, lambda: self.world, self._adopt_measured, self._changed.set)
                self.probing.opinions.insert(1 if self.sharing else 0, self.measuring.opinion)
                listener = ReportListener(self.measuring.take)
                self.reports = listener.counts
                await listener.start(*self.rtt)
                log.info("taking reports of round trips on %s port %d", *self.rtt)
                await self._adopt_measured(await self.measuring.recall(self.world), publish=False)
            if self.http:
                await window.start(str(self.http[0]), self.http[1])
                log.info("status page on http://%s:%d/", self.http[0], window.port)
            staged = await self.probing.stage(self.world.zones)
            if self.sharing:
                await self.sharing.first()
            await self.answering.replan(self.probing.foresee(staged))
            await self.probing.swap(staged, self.world.zones)
            self.not_ready = ""
            for address, port in self.answering.engine.addresses:
                log.info("answering on %s port %d", address, port)
            for address, port in self.answering.engine.secure_addresses:
                log.info("answering on %s port %d, inside TLS", address, port)
            names = ", ".join(zone.name for zone in self.world.zones)
            self.manager.ready(f"answering for {names}")
            async with asyncio.TaskGroup() as group:
                group.create_task(attend(self.manager))
                group.create_task(self._replan_on_change())
                group.create_task(self._refresh_ttls())
                group.create_task(self._reload_on(reload))
                group.create_task(self.probing.watch())
                group.create_task(self.overriding.run())
                group.create_task(self.watching.run())
                if self.http:
                    group.create_task(self.surveying.run())
                if self.measuring:
                    group.create_task(self.measuring.run())
                if self.sharing:
                    group.create_task(self.sharing.run())
        finally:
            if listener:
                await listener.stop()
            if self.measuring:
                await self.measuring.save()
            await control.stop()
            await (self.answering.engine.leave() if self.leaving else self.answering.engine.stop())
            await self.probing.stop()
            await window.stop()

    def snapshot(self) -> Snapshot:
        """What is known at this moment, for the window; nothing changes it any more."""
        return Snapshot(
            now=time.time(),
            started=self.started,
            zones=self.showing.zones(self.world.zones),
            not_ready=self.not_ready,
            plan=self.answering.planned,
            table=table(self.world),
            counters=self.answering.engine.counters() | self.watching.counters(),
            reports=self.reports,
            sharing=self.sharing.status() if self.sharing else None,
        )

    async def _replan_on_change(self) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(SETTLE)
            self._changed.clear()
            try:
                async with self._swapping:
                    await self.answering.replan(self.probing.verdicts())
            except (MirrornetError, OSError) as error:
                self._unplanned.met(error)
                asyncio.get_running_loop().call_later(AGAIN, self._changed.set)
            except Exception:  # a bug of ours in a plan must not end the answers of the last one
                log.exception("making a plan broke, the last one stays in force")
            else:
                self._unplanned.over()

    async def _refresh_ttls(self) -> None:
        while True:
            await asyncio.sleep(TTL_EVERY)
            async with self._swapping:
                await self.answering.refresh_ttls(self.probing.verdicts())

    async def _reload_on(self, reload: asyncio.Event) -> None:
        """Reads the files again when told to, and when they have changed and come to rest."""
        while True:
            if await worth_reading(reload, self.files.rested):
                self._unread.reason = ""  # who asks is told, again if need be
            try:
                world = await asyncio.to_thread(self.files.load, self.world)
                await self._adopt(await self.measuring.recall(world) if self.measuring else world)
            except Moving as error:
                log.info("%s", error)
            except InputError as error:
                self._unread.met(error)
            except (MirrornetError, OSError) as error:  # no fault of the files: they are tried again
                self._unread.met(error)
                asyncio.get_running_loop().call_later(AGAIN, self.files.forget)
            except Exception:  # a bug of ours in a new world must not end the old one
                log.exception("the reload broke, the old files stay in force")
            else:
                self._unread.over()
                log.info("reloaded %s", ", ".join(str(path) for path in self.options.zones))
                for name in _only_at_start(self._started_with, world.server):
                    log.warning("server: %s: the change takes effect when the server is started anew", name)

    async def _adopt(self, world: World) -> None:
        """`world` in place of the one in force, or an exception and nothing changed."""
        if self.sharing:
            self.sharing.prove(world)
        staged = await self.probing.stage(world.zones)
        planner = await self.answering.stage(world)
        async with self._swapping:
            expected = self.probing.foresee(staged)
            await self.answering.adopt(world, planner, expected)
            self.watching.settle(world.server.query_log if world.server else None)
            self.world = world
            if self.sharing:
                self.sharing.adopt(world)
            await self.probing.swap(staged, world.zones)
            if self.probing.verdicts() != expected:
                self._changed.set()  # they have moved while the plan was made

    async def _adopt_measured(self, world: World, publish: bool = True) -> None:
        """`world` is the one in force, but for what clients measured; a reload that comes between goes first."""
        base = self.world
        if not world.measured and not base.measured:
            return
        planner = await self.answering.stage(world)
        async with self._swapping:
            if self.world is not base:
                return  # the reload has recalled the reports itself
            if publish:
                await self.answering.adopt(world, planner, self.probing.verdicts())
            else:
                self.answering.replace(world, planner)
            self.world = world


def _only_at_start(before: ServerSettings | None, after: ServerSettings | None) -> list[str]:
    """The keys of `server:` that differ and shape sockets or processes, which a reload leaves alone."""
    before, after = fixed(before), fixed(after)
    names = {field.name for field in fields(before)} - _LIVE
    return sorted(name for name in names if getattr(before, name) != getattr(after, name))


def _endpoint(text: str) -> tuple[Address, int]:
    try:
        return endpoint(text)
    except Wrong as error:
        raise InputError(f"{error.what} ({error.hint})" if error.hint else error.what) from None


def run(options: Options) -> None:
    """The verb: serves until SIGTERM or Ctrl-C.  Raises MirrornetError in one line where it cannot start."""

    async def main() -> None:
        supervisor = Supervisor(options, Manager.of(os.environ))
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, supervisor.leave)
        await until_told(supervisor.run)
        if supervisor.leaving:
            logging.shutdown()
            os._exit(0)  # on its way out asyncio kills the children it has not seen end

    asyncio.run(main())
