"""All clients of one export.

The sockets are made elsewhere and handed over listening, so that whoever supervises us may keep them while we are
started again: clients that reconnect meanwhile wait in the backlog.

Every connection's window is its share of TOTAL, so two hundred clients take as much memory as two, and one that takes
nothing of what it asked for takes from its own share.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from collections.abc import Sequence
from typing import Final

from mirrornet.client.nbd.connection import Connection
from mirrornet.client.nbd.handshake import Export
from mirrornet.client.nbd.reads import LEAVING
from mirrornet.client.reading.reader import Reader

log = logging.getLogger(__name__)

MOST: Final = 256  # connections
TOTAL: Final = 32 << 20  # bytes under way of all connections
WINDOW: Final = 8 << 20  # of one
LEAST: Final = 128 << 10
CHECK: Final = 1.0  # seconds between two looks at the clock
BACKLOG: Final = 128  # connections that wait to be accepted
_KEEPALIVE: Final = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))  # seconds, seconds, probes


class Server:
    """An export, served.  Use inside one event loop: `start`, and `close` at the end."""

    def __init__(self, reader: Reader, export: Export) -> None:
        self.export = export
        self.refusing = False  # nobody new may connect
        self.served = 0  # connections until now
        self._reader = reader
        self._connections: set[Connection] = set()
        self._serial = itertools.count(1)
        self._servers: list[asyncio.AbstractServer] = []
        self._clock: asyncio.Task[None] | None = None
        self._nobody = asyncio.Event()
        self._nobody.set()
        self._crowd_told = False

    @property
    def connected(self) -> int:
        """How many clients have the export now."""
        return sum(connection.agreed for connection in self._connections)

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Serves whoever connects to `sockets`, which listen."""
        loop = asyncio.get_running_loop()
        self._reader.blocks.crowded = lambda: any(connection.busy for connection in self._connections)
        for each in sockets:
            if each.family == socket.AF_UNIX:
                self._servers.append(await loop.create_unix_server(self._connection, sock=each, backlog=BACKLOG))
            else:
                _keep_alive(each)
                self._servers.append(await loop.create_server(self._connection, sock=each, backlog=BACKLOG))
        self._clock = asyncio.create_task(self._tick())

    def refuse(self) -> None:
        """From now on nobody new is let in."""
        self.refusing = True

    async def free(self) -> None:
        """Waits until nobody is connected."""
        await self._nobody.wait()

    async def close(self) -> None:
        """Ends all connections, now."""
        self.refuse()
        for server in self._servers:
            server.close()
        if self._clock is not None:
            self._clock.cancel()
        for connection in tuple(self._connections):
            connection.abort(LEAVING)
        await self._nobody.wait()

    def _connection(self) -> Connection:
        number = next(self._serial)
        return Connection(self._reader, self.export, number, self._window, self._opened, self._closed)

    def _window(self) -> int:
        return max(LEAST, min(WINDOW, TOTAL // max(1, len(self._connections))))

    def _opened(self, connection: Connection) -> str:
        self._connections.add(connection)
        self._nobody.clear()
        if self.refusing:
            return LEAVING
        if len(self._connections) <= MOST:
            self.served += 1
            return ""
        if not self._crowd_told:
            self._crowd_told = True
            log.warning("more than %d connections: who comes now is turned away", MOST)
        return f"there are {MOST} connections already"

    def _closed(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._nobody.set()

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(CHECK)
            for connection in tuple(self._connections):
                connection.check(loop.time())


def _keep_alive(listener: socket.socket) -> None:
    """Connections of it notice within two minutes that the other machine is gone; they inherit the options."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        if (option := getattr(socket, name, None)) is not None:  # not everywhere
            listener.setsockopt(socket.IPPROTO_TCP, option, value)
