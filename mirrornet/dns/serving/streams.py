"""DNS over TCP and over TLS: the connections of a worker, in the same loop as its UDP (RFC 7766, RFC 7858).

A connection takes any segmentation and any number of queries at once (RFC 7766 section 6.2.1; replies come in the
order of the queries, which needs no more of a client than any order would).  It is closed when it has finished no query
for ten seconds, however busy it looks; that time is what the KEEPALIVE option tells (RFC 7828).  Where there are too
many, the idlest leaves; one address cannot have them all.

A turn serves a few connections, a batch of queries each, and goes on where it left off: so neither a thousand clients
nor one greedy one delays UDP by more than some milliseconds.

TLS is the standard library's, on the socket itself without blocking; a handshake is one more thing a connection may
wait for.  Rejected: a proxy in front (it would hide the client's address), a thread each.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import ssl
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic, perf_counter
from typing import Final

from mirrornet.dns.message import wire
from mirrornet.dns.message.edns import IDLE
from mirrornet.dns.serving import counters
from mirrornet.dns.serving.datagrams import BATCH, Respond, packed

CONNECTIONS: Final = 16  # served in one turn: with 64 queries each some ten milliseconds, as with as many handshakes
_READ: Final = 65536
_OUTBOX: Final = 131072  # octets of unread replies at which a connection is not read any more


@dataclass(frozen=True, slots=True)
class Limits:
    """TCP: `idle` seconds without a finished query; connections in all (the idlest leaves) and of one address."""

    idle: float = IDLE
    connections: int = 1024
    per_client: int = 128


class Connection:
    """One client.  `shaking`: its TLS handshake is not over."""

    __slots__ = ("deadline", "finished", "inbox", "outbox", "peer", "shaking", "socket", "transport")

    def __init__(self, sock: socket.socket, peer: bytes, deadline: float, transport: int) -> None:
        self.socket = sock
        self.peer = peer
        self.deadline = deadline
        self.transport = transport
        self.shaking = transport == wire.TLS
        self.inbox = bytearray()
        self.outbox = bytearray()
        self.finished = False  # the client sends no more


class Streams:
    """All connections.  Their selector keys hold the Connection; their events are passed to `turn`."""

    def __init__(self, selector: selectors.BaseSelector, counts: list[int], limits: Limits) -> None:
        self.selector = selector
        self.counts = counts
        self.limits = limits
        self.now = monotonic()
        self.connections: OrderedDict[int, Connection] = OrderedDict()  # the idlest first
        self.clients: dict[bytes, int] = {}
        self.busy: dict[int, Connection] = {}  # with whole queries that wait for their next turn
        self._served = 0

    def turn(self, events: Sequence[tuple[Connection, int]], respond: Respond) -> None:
        """Serves some of those that have something to do (`events`: connection and its mask) and closes the idle."""
        self.now = monotonic()
        waiting = {id(connection) for connection, _ in events}
        todo = [*events, *((one, 0) for one in self.busy.values() if id(one) not in waiting)]
        for number in range(min(CONNECTIONS, len(todo))):
            connection, mask = todo[(self._served + number) % len(todo)]
            self.busy.pop(connection.socket.fileno(), None)
            self._serve(connection, mask, respond)
        self._served += CONNECTIONS
        while self.connections and (first := next(iter(self.connections.values()))).deadline <= self.now:
            self._drop(first)
        self.counts[counters.TCP_OPEN] = len(self.connections)

    def close(self) -> None:
        for connection in list(self.connections.values()):
            self._drop(connection)

    def acceptor(self, listener: socket.socket, context: ssl.SSLContext | None = None) -> Callable[[Respond], None]:
        """The turn of a listening socket; with `context` its connections speak TLS."""

        def turn(_: Respond) -> None:
            self.now = monotonic()
            for _number in range(BATCH):
                try:
                    sock, address = listener.accept()
                except OSError as error:  # none waits, it has gone, or we are out of descriptors: the idlest leaves
                    if error.errno in (errno.EMFILE, errno.ENFILE) and self.connections:
                        self._drop(next(iter(self.connections.values())))
                    return
                with contextlib.suppress(OSError):  # it may have gone again
                    self._admit(sock, packed(address[0]), context)

        return turn

    def _admit(self, sock: socket.socket, peer: bytes, context: ssl.SSLContext | None) -> None:
        if self.clients.get(peer, 0) >= self.limits.per_client:
            self.counts[counters.TCP_REFUSED] += 1
            sock.close()
            return
        if len(self.connections) >= self.limits.connections:
            self.counts[counters.TCP_REFUSED] += 1
            self._drop(next(iter(self.connections.values())))
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            sock = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        transport = wire.TCP if context is None else wire.TLS
        connection = Connection(sock, peer, self.now + self.limits.idle, transport)
        self.connections[sock.fileno()] = connection
        self.clients[peer] = self.clients.get(peer, 0) + 1
        self.counts[counters.TCP_ACCEPTED] += 1
        self.selector.register(sock, selectors.EVENT_READ, connection)

    def _drop(self, connection: Connection) -> None:
        number = connection.socket.fileno()
        self.connections.pop(number, None)
        self.busy.pop(number, None)
        self.selector.unregister(connection.socket)
        left = self.clients.pop(connection.peer) - 1
        if left:
            self.clients[connection.peer] = left
        if isinstance(connection.socket, ssl.SSLSocket) and not connection.shaking:
            with contextlib.suppress(OSError, ValueError):
                connection.socket.unwrap()  # says close_notify (RFC 7858 3.4); whether he says it too is not waited for
        connection.socket.close()

    def _serve(self, connection: Connection, mask: int, respond: Respond) -> None:
        sock = connection.socket
        if sock.fileno() < 0:  # dropped earlier in this turn
            return
        stuck = 0  # what TLS itself waits for
        began, before = perf_counter(), self.counts[counters.TCP]
        try:
            try:
                if connection.shaking and isinstance(sock, ssl.SSLSocket):
                    sock.do_handshake()
                    connection.shaking = False
                if mask & selectors.EVENT_READ:
                    self._read(connection)
            except (BlockingIOError, ssl.SSLWantReadError):
                stuck = selectors.EVENT_READ
            except ssl.SSLWantWriteError:
                stuck = selectors.EVENT_WRITE
            more = self._answer(connection, respond)
            if connection.outbox:
                with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    del connection.outbox[: sock.send(connection.outbox)]
                    self._refresh(connection)
            if self.counts[counters.TCP] > before:
                counters.took(self.counts, self.counts[counters.TCP] - before, perf_counter() - began)
        except (OSError, ValueError):  # the peer has gone, or does not speak TLS
            self._drop(connection)
            return
        if more is None or (connection.finished and not more and not connection.outbox):
            self._drop(connection)
            return
        wanted = (selectors.EVENT_WRITE if connection.outbox else 0) | stuck & selectors.EVENT_WRITE
        if not connection.finished and not more and len(connection.outbox) < _OUTBOX:
            wanted |= selectors.EVENT_READ
        self._want(connection, wanted)
        if more and len(connection.outbox) < _OUTBOX:
            self.busy[sock.fileno()] = connection

    def _read(self, connection: Connection) -> None:
        sock = connection.socket
        while True:
            octets = sock.recv(_READ)
            connection.inbox += octets
            connection.finished = not octets
            # What OpenSSL holds already is not seen by the selector.
            if not octets or not isinstance(sock, ssl.SSLSocket) or not sock.pending():
                return

    def _answer(self, connection: Connection, respond: Respond) -> bool | None:
        """Answers the whole queries in the inbox, a batch at most.  True: more of them wait; None: hang up."""
        inbox, outbox, at = connection.inbox, connection.outbox, 0
        answered, whole = 0, False
        while len(inbox) - at >= 2:
            end = at + 2 + (inbox[at] << 8 | inbox[at + 1])
            if end > len(inbox):
                break
            if answered == BATCH or len(outbox) >= _OUTBOX:
                whole = True
                break
            self.counts[counters.TCP] += 1
            self.counts[counters.TLS] += connection.transport == wire.TLS
            reply = respond(bytes(inbox[at + 2 : end]), connection.peer, connection.transport)
            if reply is None:  # who sends answers, or less than a header, is not a resolver
                return None
            outbox += len(reply).to_bytes(2, "big") + reply
            answered, at = answered + 1, end
        del inbox[:at]
        if answered:
            self._refresh(connection)
        return whole

    def _refresh(self, connection: Connection) -> None:
        connection.deadline = self.now + self.limits.idle
        self.connections.move_to_end(connection.socket.fileno())

    def _want(self, connection: Connection, events: int) -> None:
        # epoll reports errors and hang-ups whatever is asked for; an empty set is not allowed, so a connection that
        # waits for its turn only is watched for writing, which is true at once and brings the turn.
        self.selector.modify(connection.socket, events or selectors.EVENT_WRITE, connection)
