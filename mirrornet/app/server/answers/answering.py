"""From a world and its verdicts to answers: the engines that answer, and the planning before them.

`Answering` keeps one planner for the world in force, makes plans in a thread (numpy frees the interpreter), and hands
each to the engine whole, under the next generation.  Two engines know how to answer: the fast one publishes plan files
to worker processes; the reference one (dns/reference.py) answers in a thread of this process, from the table itself.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from mirrornet.app.notify import Manager
from mirrornet.app.server.answers.asked import Asked
from mirrornet.app.server.answers.sockets import Endpoint, Sockets, open_all
from mirrornet.app.server.answers.workers import Workers
from mirrornet.app.server.trouble import Trouble
from mirrornet.app.server.verdicts import FILE, write
from mirrornet.app.server.worlds.world import World
from mirrornet.dns.message.manners import Keeper, Manners
from mirrornet.dns.planning import planfile
from mirrornet.dns.planning.crowding import crowds_in, limits_in
from mirrornet.dns.planning.plan import Planner
from mirrornet.dns.ranking.closing import Limits
from mirrornet.dns.reference import Reference
from mirrornet.dns.serving import counters
from mirrornet.dns.serving.answer import not_ready
from mirrornet.dns.serving.samples import Sample
from mirrornet.dns.serving.transport import Respond, serve
from mirrornet.model.address import Address
from mirrornet.model.errors import InputError
from mirrornet.model.table import Match
from mirrornet.model.verdict import Verdicts
from mirrornet.radb.compiling.tries import Tries
from mirrornet.web.status import PlanStatus

AllVerdicts = Mapping[str, Verdicts]

log = logging.getLogger(__name__)


class Engine(Protocol):
    """Whoever answers.  `start` opens the sockets (LocalError where it cannot) and says SERVFAIL until `publish`."""

    @property
    def addresses(self) -> list[Endpoint]: ...
    @property
    def secure_addresses(self) -> list[Endpoint]: ...
    async def start(self) -> None: ...
    def publish(self, world: World, plan: planfile.Plan, ttls: Sequence[int], verdicts: AllVerdicts) -> None: ...
    def set_ttls(self, ttls: Sequence[int], verdicts: AllVerdicts) -> None: ...
    def counters(self) -> dict[str, int]: ...
    def asked(self) -> Asked: ...
    def sample(self, every: int, rate: int) -> None: ...
    def samples(self) -> Sequence[Sample]: ...
    def mirrors_of(self, generation: int, slot: int) -> Sequence[str]: ...
    async def stop(self) -> None: ...
    async def leave(self) -> None: ...


class FastEngine:
    """Worker processes over a mapped plan."""

    def __init__(
        self,
        listen: Sequence[Endpoint],
        state: Path,
        count: int,
        manners: Manners,
        secure: Sequence[Endpoint] = (),
        manager: Manager | None = None,
    ) -> None:
        self._workers = Workers(listen, state, count, manners, secure, manager=manager)
        self._asked = Asked()
        self._adding = threading.Lock()

    @property
    def addresses(self) -> list[Endpoint]:
        return self._workers.addresses

    @property
    def secure_addresses(self) -> list[Endpoint]:
        return self._workers.secure_addresses

    async def start(self) -> None:
        await self._workers.start()

    def publish(self, world: World, plan: planfile.Plan, ttls: Sequence[int], verdicts: AllVerdicts) -> None:
        self.asked()  # the plan after the next one takes the place of what was counted by the last one
        self._workers.publish(planfile.encode(plan), plan.generation, ttls)
        classes = self._asked.prepare(plan.notes["describe"])  # takes a while, which the answers need not wait for
        with self._adding:
            self._asked.know(plan.generation, classes)

    def set_ttls(self, ttls: Sequence[int], verdicts: AllVerdicts) -> None:
        self._workers.set_ttls(ttls)

    def counters(self) -> dict[str, int]:
        return self._workers.counters()

    def asked(self) -> Asked:
        """Which mirrors have been named how often, up to now."""
        with self._adding:  # a plan is published by another thread
            for worker, banks in enumerate(self._workers.hits()):
                self._asked.add(worker, banks)
        return self._asked

    def sample(self, every: int, rate: int) -> None:
        """From now on one answer of `every` is a sample (0: none), at most `rate` a second of a worker."""
        self._workers.sample(every, rate)

    def samples(self) -> Sequence[Sample]:
        """The samples since the last time, oldest first."""
        return self._workers.samples()

    def mirrors_of(self, generation: int, slot: int) -> Sequence[str]:
        """The mirrors that answers of this class name."""
        return self._asked.mirrors(generation, slot)

    async def stop(self) -> None:
        await self._workers.stop()

    async def leave(self) -> None:
        await self._workers.leave()


class ReferenceEngine:
    """dns/reference.py behind the workers' own transport, in one thread of this process."""

    def __init__(
        self,
        listen: Sequence[Endpoint],
        manners: Manners,
        secure: Sequence[Endpoint] = (),
        manager: Manager | None = None,
    ) -> None:
        self._listen = listen
        self._secure = secure
        self._manager = manager
        self._keeper = Keeper(manners, log.warning)
        self._sockets = Sockets([], [])
        self._thread: threading.Thread | None = None
        self._counts = [0] * len(counters.NAMES)
        self._world: World | None = None
        self._find: Callable[[Address], Match] | None = None
        self._full: Mapping[str, Mapping[str, Limits]] = {}  # by zone and select
        self._respond: Respond | None = not_ready
        self.addresses: list[Endpoint] = []
        self.secure_addresses: list[Endpoint] = []

    async def start(self) -> None:
        self._sockets = open_all(self._listen, self._secure, manager=self._manager)
        self.addresses, self.secure_addresses = self._sockets.addresses, self._sockets.secure_addresses
        plain, secure = self._sockets.slots[0], self._sockets.secure[0]
        how = {"counts": self._counts, "secure": secure, "tls": self._keeper.tls}
        self._thread = threading.Thread(target=serve, args=(plain, self._current), kwargs=how, daemon=True)
        self._thread.start()

    def _current(self) -> Respond | None:
        self._keeper.look()
        return self._respond

    def publish(self, world: World, plan: planfile.Plan, ttls: Sequence[int], verdicts: AllVerdicts) -> None:
        if self._world is None or world.table is not self._world.table:
            self._find = _finder(world)
        self._world, self._full = world, limits_in(plan.notes)
        self.set_ttls(ttls, verdicts)

    def set_ttls(self, ttls: Sequence[int], verdicts: AllVerdicts) -> None:
        world = self._world
        if world is not None and world.table is not None and self._find is not None:
            nsid, gate = self._keeper.manners.nsid.encode(), self._keeper.gate
            reference = Reference(
                world.zones,
                world.table,
                self._find,
                world.records,
                verdicts,
                nsid=nsid,
                gate=gate,
                measured=world.measured,
                full=self._full,
            )
            self._respond = reference.respond

    def counters(self) -> dict[str, int]:
        return dict(zip(counters.NAMES, self._counts, strict=True))

    def asked(self) -> Asked:
        return Asked()

    def sample(self, every: int, rate: int) -> None:
        """It takes no samples."""

    def samples(self) -> Sequence[Sample]:
        return ()

    def mirrors_of(self, generation: int, slot: int) -> Sequence[str]:
        return ()

    async def stop(self) -> None:
        self._respond = None
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, 3)
        self._sockets.close()

    async def leave(self) -> None:
        """A thread cannot outlive its process: it ends."""
        await self.stop()


def _finder(world: World) -> Callable[[Address], Match]:
    """The pytricia look-up of the reference engine."""
    if world.table is None:
        raise InputError("the reference engine needs a `world` table")
    return Tries.of_table(world.table).match


def _planner(world: World) -> Planner:
    return Planner(world.zones, world.table, world.records, world.measured)


class Answering:
    """The planner of the world in force and the engine that answers."""

    def __init__(self, world: World, engine: Engine, state: Path) -> None:
        self.world = world
        self.engine = engine
        self.planned: PlanStatus | None = None
        self.laid: tuple[World, Planner, planfile.Plan] | None = None  # what is in force, and belongs together
        self._generation = 0
        self._state = state
        self._planner = _planner(world)
        self._plan: planfile.Plan | None = None
        self._ttls: list[int] = []
        self._lock = asyncio.Lock()
        self._unwritten = Trouble(
            log, f"{state / FILE}: `explain` reads old verdicts", f"{state / FILE}: written again"
        )

    async def replan(self, verdicts: AllVerdicts) -> None:
        """A new plan for `verdicts`, published.  Raises MirrornetError or OSError: the old one stays."""
        async with self._lock:
            await self._publish(self.world, self._planner, verdicts)

    async def stage(self, world: World) -> Planner:
        """The planner for a new world: seconds at full scale, in which the old one goes on planning."""
        return await asyncio.to_thread(_planner, world)

    async def adopt(self, world: World, planner: Planner, verdicts: AllVerdicts) -> None:
        """A new world with the planner that was staged for it: swapped once its first plan is published.

        Raises MirrornetError or OSError: the old world and its plan stay.
        """
        async with self._lock:
            await self._publish(world, planner, verdicts)
            self.world, self._planner = world, planner

    def replace(self, world: World, planner: Planner) -> None:
        """As adopt(), before there is a first plan."""
        self.world, self._planner = world, planner

    async def _publish(self, world: World, planner: Planner, verdicts: AllVerdicts) -> None:
        def work() -> PlanStatus:
            begin = time.perf_counter()
            plan = planner.plan(verdicts, self._generation + 1)
            ttls = planner.ttls(plan, verdicts)
            self.engine.publish(world, plan, ttls, verdicts)
            self._generation, self._plan, self._ttls = plan.generation, plan, ttls
            self.laid = world, planner, plan
            seconds = time.perf_counter() - begin
            ranges = sum(len(part.ranges4.starts) + len(part.ranges6.starts) for part in plan.partitions)
            classes = len({tuple(answer) for answers in plan.notes["answers"].values() for answer in answers})
            crowds = [crowd for some in crowds_in(plan.notes).values() for crowd in some.values()]
            full = tuple(sorted({name for crowd in crowds for name in crowd.limits}))
            overload = max((crowd.overload for crowd in crowds), default=1.0)
            return PlanStatus(plan.generation, time.time(), seconds, ranges, classes, full, overload)

        self.planned = await asyncio.to_thread(work)
        try:
            await asyncio.to_thread(write, self._state, verdicts)
        except OSError as error:
            self._unwritten.met(error)
        else:
            self._unwritten.over()

    async def refresh_ttls(self, verdicts: AllVerdicts) -> None:
        """The TTL slots as the verdicts' promises stand now; nothing is written where none changed."""
        async with self._lock:
            if self._plan is None:
                return
            ttls = self._planner.ttls(self._plan, verdicts)
            if ttls != self._ttls:
                self._ttls = ttls
                self.engine.set_ttls(ttls, verdicts)
