"""The supervisor's side of the workers: their sockets, their processes, the plan they answer from.

The supervisor opens the sockets of a worker slot (sockets.py), hands them to the slot's worker alone and keeps them:
what arrives while a dead worker is being replaced waits in the socket and is answered by its successor.

Where a supervisor before this one left workers that still answer, and the service manager kept their sockets, they go
on until the first plan of this one is out; then ours begin on the same sockets, and when they have the plan, the others
end.  Between the two not one query is without somebody who reads it (inherit.py).
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import mirrornet
from mirrornet.app.notify import Manager
from mirrornet.app.server.answers import inherit
from mirrornet.app.server.answers.sockets import Endpoint, Sockets, offered, open_all
from mirrornet.dns.message.manners import Manners
from mirrornet.dns.serving import step
from mirrornet.dns.serving.control import ControlPage, plan_path
from mirrornet.dns.serving.counters import GAUGES, NAMES
from mirrornet.dns.serving.samples import Sample
from mirrornet.dns.serving.worker import Assignment
from mirrornet.model.errors import LocalError

log = logging.getLogger(__name__)

_QUICK: Final = 1.0  # seconds: a worker that lived no longer did not really start
_PATIENCE: Final = 5.0  # seconds from SIGTERM to SIGKILL
_READ_PLAN: Final = 10.0  # seconds after which new workers that still have no plan get no more help from old ones

_ROOT: Final = str(Path(mirrornet.__file__).parents[1])  # where a worker finds this very package

_PLAIN: Final = Manners()


class Workers:
    """`count` workers that answer on every endpoint of `listen` from the plan in the folder `state`.

    On the endpoints of `secure` they speak TLS.
    """

    def __init__(
        self,
        listen: Sequence[Endpoint],
        state: Path,
        count: int,
        manners: Manners = _PLAIN,
        secure: Sequence[Endpoint] = (),
        grace: float = inherit.GRACE,
        manager: Manager | None = None,
    ) -> None:
        self._listen = tuple(listen)
        self._state = state.absolute()  # a successor finds our workers by it
        self._count = count
        self._manners = manners
        self._secure = tuple(secure)
        self._grace = grace
        self._manager = manager or Manager()
        self._page: ControlPage | None = None
        self._sockets = Sockets([], [])
        self._before: list[int] = []  # process ids of the workers that answer until ours do
        self._first_plan = asyncio.Event()
        self._succession: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lifelines: list[int] = []
        self._processes: list[asyncio.subprocess.Process | None] = []
        self._keepers: list[asyncio.Task[None]] = []
        self._generation = 0
        self._sampled: dict[int, int] = {}  # by slot: the last sample that was read
        self.restarts = 0
        self.addresses: list[Endpoint] = []
        self.secure_addresses: list[Endpoint] = []

    async def start(self) -> None:
        """Opens the sockets and starts the workers, which answer SERVFAIL until the first plan.  Raises LocalError.

        Workers that a predecessor left behind end first; or, if the service manager has kept all sockets, once ours
        have a plan (app/server/answers/inherit.py).
        """
        self._loop = asyncio.get_running_loop()
        self._before = inherit.left_behind(self._state)
        if not offered(self._listen, self._secure, self._manager):
            await inherit.end(self._before)
            self._before = []
            self._open()
        else:
            self.addresses, self.secure_addresses = list(self._listen), list(self._secure)
        try:
            self._state.mkdir(parents=True, exist_ok=True)
            self._page = ControlPage.create(self._state, self._count)
        except OSError as error:
            self._close()
            raise LocalError(f"{self._state}: {error.strerror or error}: the state folder must be writable") from error
        hindrance = await asyncio.to_thread(step.build, self._state)
        if hindrance:
            log.info("without the compiled step: %s", hindrance)
        if self._before:
            log.info("the last server's workers answer until the first plan is ready")
            self._succession = asyncio.create_task(self._succeed(), name="succession")
            return
        await self._begin()

    def _open(self) -> None:
        self._sockets = open_all(self._listen, self._secure, self._count, self._manager)
        self.addresses, self.secure_addresses = self._sockets.addresses, self._sockets.secure_addresses

    async def _begin(self) -> None:
        """Starts the workers of all slots, and what replaces them.  Raises LocalError, with nothing left running."""
        self._lifelines = [-1] * self._count
        self._processes = [None] * self._count
        try:
            if not self._sockets.slots:
                self._open()
            for slot in range(self._count):
                await self._spawn(slot)
        except LocalError:
            await self.stop()
            raise
        self._keepers = [asyncio.create_task(self._keep(slot), name=f"worker {slot}") for slot in range(self._count)]

    async def _succeed(self) -> None:
        """Ours in place of those before, once there is a plan for them; in between both read the same sockets."""
        await self._first_plan.wait()
        try:
            await self._begin()
        except LocalError as error:  # those before end by themselves: somebody has to start us anew
            log.critical("%s", error)
            os.kill(os.getpid(), signal.SIGTERM)
            return
        end = time.monotonic() + _READ_PLAN
        while not self.counters()["generation"] and time.monotonic() < end:  # noqa: ASYNC110 (other processes)
            await asyncio.sleep(0.01)
        await inherit.end(self._before)
        self._before = []

    def publish(self, pieces: Sequence[bytes], generation: int, ttls: Sequence[int]) -> None:
        """Makes `pieces` (planfile.encode) the plan of all workers.  Raises LocalError or OSError: the old one stays.

        `generation` must be greater than the last one.
        """
        if generation <= self._generation:
            raise ValueError(f"generation {generation} does not follow {self._generation}")
        page = self._the_page()
        path = plan_path(self._state, generation)
        temporary = path.with_name(f".{path.name}.new")
        try:
            with temporary.open("wb") as file:
                for piece in pieces:
                    file.write(piece)
            temporary.rename(path)
        except OSError:
            temporary.unlink(missing_ok=True)  # half a plan would keep a full disk full
            raise
        page.set_ttls(ttls, generation)
        page.raise_generation(generation)
        before, self._generation = self._generation, generation
        self._wake()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._first_plan.set)
        keep = {plan_path(self._state, number).name for number in (before, generation)}
        for old in self._state.glob("plan.*"):
            if old.name not in keep:
                old.unlink(missing_ok=True)

    def set_ttls(self, ttls: Sequence[int]) -> None:
        """New TTLs for the plan that was published last."""
        self._the_page().set_ttls(ttls, self._generation)
        self._wake()

    def counters(self) -> dict[str, int]:
        """Counts of all workers together, by the names of dns/serving/counters.py; `generation` is the oldest in use.

        Beside them `workers` (now running) and `restarts`.
        """
        page = self._the_page()
        rows = [page.counters(slot) for slot in range(self._count)]
        total = {name: sum(row[name] for row in rows) for name in NAMES if name not in GAUGES or name == "tcp_open"}
        total["generation"] = min((row["generation"] for row in rows), default=0)
        total["workers"] = sum(process is not None and process.returncode is None for process in self._processes)
        total["restarts"] = self.restarts
        return total | self._sockets.queues()

    def hits(self) -> list[list[tuple[int, int, bytes]]]:
        """Of each worker what its banks hold, as dns/serving/hits.py tells it."""
        page = self._the_page()
        return [page.hits(slot).read() for slot in range(self._count)]

    def sample(self, every: int, rate: int) -> None:
        """From now on one answer of `every` is a sample (0: none), at most `rate` a second of a worker."""
        page = self._the_page()
        if page.sampled != (every, rate):
            page.sample(every, rate)
            self._wake()

    def samples(self) -> list[Sample]:
        """The samples since the last time, oldest first."""
        found: list[Sample] = []
        for slot in range(self._count):
            ring = self._the_page().ring(slot)
            found += ring.since(self._sampled.get(slot, 0))
            self._sampled[slot] = ring.last
        return sorted(found, key=lambda one: one.at)

    @property
    def pids(self) -> list[int]:
        """Process ids, by slot; 0 where there is none just now."""
        return [process.pid if process and process.returncode is None else 0 for process in self._processes]

    async def stop(self) -> None:
        """Ends all workers (SIGTERM, after five seconds SIGKILL) and closes the sockets.  May be called twice."""
        await self._let_be()
        await inherit.end(self._before)
        self._before = []
        running = [process for process in self._processes if process is not None and process.returncode is None]
        for process in running:
            process.terminate()
        try:
            async with asyncio.timeout(_PATIENCE):
                await asyncio.gather(*(process.wait() for process in running))
        except TimeoutError:
            for process in running:
                if process.returncode is None:
                    log.warning("worker %d did not end within %.0f s and is killed", process.pid, _PATIENCE)
                    process.kill()
            await asyncio.gather(*(process.wait() for process in running))
        self._close()

    async def leave(self) -> None:
        """Looks after the workers no longer, but lets them answer: their grace begins when this process has ended."""
        await self._let_be()

    async def _let_be(self) -> None:
        own = asyncio.current_task()
        tasks = [task for task in (*self._keepers, self._succession) if task is not None and task is not own]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._keepers, self._succession = [], None

    def _close(self) -> None:
        self._sockets.close()
        for lifeline in self._lifelines:
            if lifeline >= 0:
                os.close(lifeline)
        self._lifelines, self._processes = [], []
        if self._page is not None:
            self._page.close()
            self._page = None

    def _the_page(self) -> ControlPage:
        if self._page is None:
            raise RuntimeError("the workers are not started")
        return self._page

    def _wake(self) -> None:
        for lifeline in self._lifelines:
            try:
                os.write(lifeline, b"\0")
            except OSError:  # full: it has been woken already; closed: its keeper is at work
                continue

    async def _spawn(self, slot: int) -> None:
        far, near = os.pipe()
        os.set_blocking(near, False)
        sockets = [sock.fileno() for sock in self._sockets.slots[slot]]
        secure = [sock.fileno() for sock in self._sockets.secure[slot]]
        task = Assignment(str(self._state), slot, sockets, secure, far, self._grace, asdict(self._manners))
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # what lies in the current folder is none of a worker's business
                "-m",
                "mirrornet.dns.serving.worker",
                json.dumps(asdict(task)),
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (_ROOT, os.environ.get("PYTHONPATH"))))},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # who reads ours waits for its end, and a worker may outlive us
                pass_fds=(*sockets, *secure, far),
            )
        except BaseException as error:
            os.close(near)  # a worker that did start after all sees the end of its lifeline
            if isinstance(error, OSError):
                raise LocalError(f"cannot start a worker: {error.strerror or error}") from error
            raise
        finally:
            os.close(far)
        if self._lifelines[slot] >= 0:
            os.close(self._lifelines[slot])
        self._lifelines[slot] = near
        self._processes[slot] = process

    async def _keep(self, slot: int) -> None:
        """Replaces the worker of `slot` whenever it ends: at once, or after a pause if it does nothing but die."""
        quick, started = 0, time.monotonic()
        while True:
            process = self._processes[slot]
            if process is not None:
                code = await process.wait()
                log.warning("worker %d of slot %d ended (%s) and is replaced", process.pid, slot, _why(code))
            quick = quick + 1 if time.monotonic() - started < _QUICK else 0
            if quick > 2:
                await asyncio.sleep(min(0.2 * 2 ** (quick - 3), 5.0))
            started = time.monotonic()
            self.restarts += 1
            try:
                await self._spawn(slot)
            except LocalError as error:
                self._processes[slot] = None
                log.error("slot %d: %s", slot, error)


def _why(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
