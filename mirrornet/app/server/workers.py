"""The supervisor's side of the workers: their sockets, their processes, the plan they answer from.

A worker slot owns one UDP and one TCP socket for each listen address (SO_REUSEPORT: the kernel deals the queries out
among the slots).  The supervisor opens them, hands them to the slot's worker alone and keeps them: what arrives while
a dead worker is being replaced waits in the socket and is answered by its successor.

SO_REUSEPORT would also let a second mirrornet of the same user steal half of the queries in silence, so each address
is first bound without it, which fails where anybody else has it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import mirrornet
from mirrornet.app.server import inherit
from mirrornet.dns.message.manners import Manners
from mirrornet.dns.serving import step
from mirrornet.dns.serving.control import ControlPage, plan_path
from mirrornet.dns.serving.counters import GAUGES, NAMES
from mirrornet.dns.serving.worker import Assignment
from mirrornet.model.address import Address
from mirrornet.model.errors import LocalError

log = logging.getLogger(__name__)

_BUFFER: Final = 16 << 20  # bytes a UDP socket may hold while its worker is replaced; the kernel may give less
_SO_RCVBUFFORCE: Final = 33  # asm-generic/socket.h: beyond net.core.rmem_max, for who has CAP_NET_ADMIN
_BACKLOG: Final = 1024  # connections
_QUICK: Final = 1.0  # seconds: a worker that lived no longer did not really start
_PATIENCE: Final = 5.0  # seconds from SIGTERM to SIGKILL
_IP_MTU_DISCOVER, _IP_PMTUDISC_OMIT = 10, 5  # linux/in.h: a forged "too big" must not make us send fragments

_ROOT: Final = str(Path(mirrornet.__file__).parents[1])  # where a worker finds this very package

_PLAIN: Final = Manners()

Endpoint = tuple[Address, int]


def _family(address: Address) -> socket.AddressFamily:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def _bind(address: Address, port: int, kind: socket.SocketKind, share: bool) -> socket.socket:
    sock = socket.socket(_family(address), kind)
    try:
        if address.version == 6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
            if address.version == 4:
                sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_OMIT)
        if share:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((str(address), port))
        if share and kind == socket.SOCK_STREAM:
            sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        protocol = "TCP" if kind == socket.SOCK_STREAM else "UDP"
        raise LocalError(f"cannot listen on {address} port {port} ({protocol}): {_advice(error)}") from error
    return sock


def _advice(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "another program has it; `ss -lunpt` shows which one"
        case errno.EACCES | errno.EPERM:
            return "no right to; start as root, or give the program CAP_NET_BIND_SERVICE"
        case errno.EADDRNOTAVAIL:
            return "this machine has no such address"
        case errno.EAFNOSUPPORT:
            return "this machine does not speak IPv6"
    return error.strerror or str(error)


def open_sockets(listen: Sequence[Endpoint], count: int) -> tuple[list[list[socket.socket]], list[Endpoint]]:
    """For each of `count` slots a UDP and a TCP socket per endpoint, and the endpoints really bound (port 0: chosen).

    All are close-on-exec.  Raises LocalError, with nothing left open.
    """
    slots: list[list[socket.socket]] = [[] for _ in range(count)]
    bound: list[Endpoint] = []
    try:
        for address, wanted in listen:
            port = _free(address, wanted)
            for sockets in slots:
                sockets.append(_bind(address, port, socket.SOCK_DGRAM, True))
                sockets.append(_bind(address, port, socket.SOCK_STREAM, True))
            bound.append((address, port))
    except LocalError:
        for sockets in slots:
            for sock in sockets:
                sock.close()
        raise
    return slots, bound


def open_secure(listen: Sequence[Endpoint], slots: Sequence[list[socket.socket]]) -> list[Endpoint]:
    """Adds to each of `slots` a TCP socket per endpoint, for TLS; the endpoints really bound.  Raises LocalError."""
    bound: list[Endpoint] = []
    for address, wanted in listen:
        with _bind(address, wanted, socket.SOCK_STREAM, False) as probe:
            port: int = probe.getsockname()[1]
        for sockets in slots:
            sockets.append(_bind(address, port, socket.SOCK_STREAM, True))
        bound.append((address, port))
    return bound


def _free(address: Address, wanted: int) -> int:
    """A port that nobody holds, by UDP and TCP: `wanted`, or for 0 one the kernel picks.  Raises LocalError."""
    attempts = 1 if wanted else 20
    while True:
        attempts -= 1
        with _bind(address, wanted, socket.SOCK_DGRAM, False) as udp:
            port: int = udp.getsockname()[1]
            try:
                _bind(address, port, socket.SOCK_STREAM, False).close()
            except LocalError:
                if not attempts:
                    raise
                continue
            return port


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
    ) -> None:
        self._listen = tuple(listen)
        self._state = state
        self._count = count
        self._manners = manners
        self._secure = tuple(secure)
        self._grace = grace
        self._page: ControlPage | None = None
        self._slots: list[list[socket.socket]] = []
        self._secure_slots: list[list[socket.socket]] = []
        self._lifelines: list[int] = []
        self._processes: list[asyncio.subprocess.Process | None] = []
        self._keepers: list[asyncio.Task[None]] = []
        self._generation = 0
        self.restarts = 0
        self.addresses: list[Endpoint] = []
        self.secure_addresses: list[Endpoint] = []

    async def start(self) -> None:
        """Opens the sockets and starts the workers, which answer SERVFAIL until the first plan.  Raises LocalError.

        Workers that a killed predecessor left behind end first (app/server/inherit.py).
        """
        await inherit.take_over(self._state)
        self._slots, self.addresses = open_sockets(self._listen, self._count)
        self._secure_slots = [[] for _ in range(self._count)]
        try:
            self.secure_addresses = open_secure(self._secure, self._secure_slots)
        except LocalError:
            self._close()
            raise
        try:
            self._state.mkdir(parents=True, exist_ok=True)
            self._page = ControlPage.create(self._state, self._count)
        except OSError as error:
            self._close()
            raise LocalError(f"{self._state}: {error.strerror or error}: the state folder must be writable") from error
        hindrance = await asyncio.to_thread(step.build, self._state)
        if hindrance:
            log.info("without the compiled step: %s", hindrance)
        self._lifelines = [-1] * self._count
        self._processes = [None] * self._count
        try:
            for slot in range(self._count):
                await self._spawn(slot)
        except LocalError:
            await self.stop()
            raise
        self._keepers = [asyncio.create_task(self._keep(slot), name=f"worker {slot}") for slot in range(self._count)]

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
        return total

    @property
    def pids(self) -> list[int]:
        """Process ids, by slot; 0 where there is none just now."""
        return [process.pid if process and process.returncode is None else 0 for process in self._processes]

    async def stop(self) -> None:
        """Ends all workers (SIGTERM, after five seconds SIGKILL) and closes the sockets.  May be called twice."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        self._keepers = []
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

    def _close(self) -> None:
        for sockets in (*self._slots, *self._secure_slots):
            for sock in sockets:
                sock.close()
        for lifeline in self._lifelines:
            if lifeline >= 0:
                os.close(lifeline)
        self._slots, self._secure_slots, self._lifelines, self._processes = [], [], [], []
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
        sockets = [sock.fileno() for sock in self._slots[slot]]
        secure = [sock.fileno() for sock in self._secure_slots[slot]]
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
