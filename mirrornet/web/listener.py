"""A listening socket that strangers may flood, in front of an HTTP server of aiohttp.

aiohttp bounds what one message may be, but not who connects: not how many, how fast, or how long somebody may take to
send a request (slowloris) or to read an answer.  So connections are accepted here: at most `rate` a second, and the
rest waits in the kernel's queue or is refused there, at no cost.  A connection that reaches its deadline is cut,
whatever it does; `renew` moves the deadline, and `hold` lifts it, for a stream of events.  Where too many are open, or
too many from one address, the one nearest to its deadline leaves: an honest request takes a fraction of a second,
so it is a silent one.

Rejected: to wait until a connection ends where too many are open (a hundred silent ones would shut the page for the
length of a deadline, again and again); a proxy in front (an operator may put one there, and must not have to).
"""

from __future__ import annotations

import asyncio
import errno
import math
import os
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mirrornet.model.address import Address, bracketed
from mirrornet.model.errors import LocalError

BACKLOG: Final = 128
_PAUSE: Final = 1.0  # seconds without accepting where the system has nothing left
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_LOOK: Final = 0.25  # seconds between two looks at who is late

Factory = Callable[[], asyncio.Protocol]


@dataclass(frozen=True, slots=True)
class Limits:
    """`rate` connections accepted a second, `burst` at once; `connections` open, `each` of them of one address.

    `deadline`: seconds that a connection may last, or may last on after `renew`.  `held`: connections without one.
    """

    rate: float
    burst: float
    connections: int
    each: int
    deadline: float
    held: int = 0


class Listener:
    """Accepts connections for `factory` within `limits`."""

    def __init__(self, factory: Factory, limits: Limits) -> None:
        self._factory = factory
        self._limits = limits
        self._socket: socket.socket | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._open: dict[asyncio.BaseTransport, tuple[float, str]] = {}  # when each is cut, and whose it is
        self._clients: Counter[str] = Counter()
        self.accepted = self.cut = 0

    @property
    def port(self) -> int:
        """The port really bound; 0 while stopped."""
        return 0 if self._socket is None else int(self._socket.getsockname()[1])

    @property
    def open(self) -> int:
        """Connections open now."""
        return len(self._open)

    def start(self, address: Address, port: int, what: str, remedy: str) -> None:
        """Listens on `address` and `port`, 0 for any.  Raises LocalError: "`what` (why): `remedy`"."""
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((str(address), port))
            sock.listen(BACKLOG)
            sock.setblocking(False)
        except OSError as error:
            sock.close()
            raise LocalError(f"{bracketed(address)}:{port}: {what} ({_short(error)}): {remedy}") from None
        self._socket = sock
        self._tasks = [asyncio.create_task(self._accept(sock)), asyncio.create_task(self._cut_late())]

    async def stop(self) -> None:
        """Closes the socket and all connections.  May be called twice, and without a start."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        sock, self._socket = self._socket, None
        if sock is not None:
            sock.close()
        for transport in list(self._open):
            self._drop(transport)

    def renew(self, transport: asyncio.BaseTransport | None) -> None:
        """The deadline of this connection begins anew."""
        if transport in self._open:
            assert transport is not None
            end, client = self._open[transport]
            if end < math.inf:
                self._open[transport] = (asyncio.get_running_loop().time() + self._limits.deadline, client)

    def hold(self, transport: asyncio.BaseTransport | None) -> bool:
        """Lifts the deadline of this connection until it ends; False where as many as may be are held already."""
        if transport is None or transport not in self._open:
            return False
        if sum(end == math.inf for end, _ in self._open.values()) >= self._limits.held:
            return False
        self._open[transport] = (math.inf, self._open[transport][1])
        return True

    async def _accept(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        limits = self._limits
        tokens, at = limits.burst, loop.time()
        while True:
            tokens, at = min(limits.burst, tokens + (loop.time() - at) * limits.rate), loop.time()
            if tokens < 1:
                await asyncio.sleep(1 / limits.rate)
                continue
            try:
                connection, peer = await loop.sock_accept(sock)
                tokens -= 1
                client = str(peer[0])
                self._make_room(client)
                transport, _ = await loop.connect_accepted_socket(self._factory, connection)
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    await asyncio.sleep(_PAUSE)
                continue
            self.accepted += 1
            self._open[transport] = (loop.time() + limits.deadline, client)
            self._clients[client] += 1

    def _make_room(self, client: str) -> None:
        """Where this one would be too many, one leaves: of the same address where that has too many, else anybody's."""
        crowd = self._clients[client] >= self._limits.each
        while crowd or len(self._open) >= self._limits.connections:
            ends = {one: end for one, (end, whose) in self._open.items() if whose == client or not crowd}
            self._drop(min(ends, key=ends.__getitem__))
            self.cut += 1
            crowd = False

    def _drop(self, transport: asyncio.BaseTransport) -> None:
        _, client = self._open.pop(transport)
        self._clients[client] -= 1
        if not self._clients[client]:
            del self._clients[client]
        if not transport.is_closing():
            assert isinstance(transport, asyncio.Transport)
            transport.abort()

    async def _cut_late(self) -> None:
        """Ends connections at their deadlines, and forgets those that have ended by themselves."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_LOOK)
            for transport, (end, _) in list(self._open.items()):
                if transport.is_closing():
                    self._drop(transport)
                elif end <= loop.time():
                    self._drop(transport)
                    self.cut += 1


def _short(error: OSError) -> str:
    known = {errno.EADDRINUSE: "the port is in use", errno.EADDRNOTAVAIL: "this machine has no such address"}
    return known.get(error.errno or 0) or os.strerror(error.errno or 0).lower()
