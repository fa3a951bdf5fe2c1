"""Sockets to octets and back: one loop for the UDP and TCP of a worker, in front of any `respond(data, peer, tcp)`.

UDP is drained in batches; between two batches TCP gets its turn, and no turn is longer than a batch, so that neither
a flood nor a slow client starves the other.  A TCP connection takes any segmentation and any number of queries at
once (RFC 7766 section 6.2.1); it is closed when it has finished no query for ten seconds, however busy it looks.

A reply leaves from the address that was asked (RFC 2181 section 4): a socket bound to one address does that by
itself, one bound to all of them is told by IP_PKTINFO.

Rejected: asyncio (one socket, one loop: a blocking one costs half), a thread for TCP (the interpreter lock makes UDP
wait up to 5 ms for it), SO_REUSEPORT shared between processes (a killed worker's socket would swallow queries).
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final

from mirrornet.dns import counters

Respond = Callable[[bytes, bytes, bool], bytes | None]

BATCH: Final = 64  # UDP queries, or TCP queries of one connection, in one turn
QUERY: Final = 4096  # octets read of a datagram; what is longer is cut and so malformed
_READ: Final = 65536
_OUTBOX: Final = 131072  # octets of unread replies at which a connection is not read any more
_IP_PKTINFO: Final = getattr(socket, "IP_PKTINFO", 8)  # Linux; the module names it from 3.12 on


@dataclass(frozen=True, slots=True)
class Limits:
    """TCP: `idle` seconds without a finished query; connections in all (the idlest leaves) and of one address."""

    idle: float = 10.0
    connections: int = 1024
    per_client: int = 128


class _Connection:
    __slots__ = ("deadline", "finished", "inbox", "outbox", "peer", "socket")

    def __init__(self, sock: socket.socket, peer: bytes, deadline: float) -> None:
        self.socket = sock
        self.peer = peer
        self.deadline = deadline
        self.inbox = bytearray()
        self.outbox = bytearray()
        self.finished = False  # the client sends no more


def packed(address: str) -> bytes:
    """4 or 16 octets of the address in a socket's address tuple."""
    if ":" in address:
        return socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    return socket.inet_aton(address)


def serve(
    sockets: Sequence[socket.socket],
    current: Callable[[], Respond | None],
    *,
    wake: Sequence[int] = (),
    counts: list[int] | None = None,
    limits: Limits = Limits(),
) -> None:
    """Answers on `sockets` (bound UDP, listening TCP, of any family) until `current` returns None.

    `current` is called before every turn, at least once a second, and gives the function that answers in it.
    `wake`: file descriptors that end a wait when they become readable; at the end of one of them the loop ends.
    `counts`: as in dns/counters.py.  The sockets are left open; connections are closed.
    """
    loop = _Loop(sockets, current, wake, [0] * len(counters.NAMES) if counts is None else counts, limits)
    try:
        loop.run()
    finally:
        loop.close()


class _Loop:
    def __init__(
        self,
        sockets: Sequence[socket.socket],
        current: Callable[[], Respond | None],
        wake: Sequence[int],
        counts: list[int],
        limits: Limits,
    ) -> None:
        self.current = current
        self.counts = counts
        self.limits = limits
        self.now = monotonic()
        self.connections: OrderedDict[int, _Connection] = OrderedDict()  # the idlest first
        self.clients: dict[bytes, int] = {}
        self.busy: dict[int, _Connection] = {}  # with whole queries that wait for their next turn
        self.over = False
        self.selector = selectors.DefaultSelector()
        for sock in sockets:
            sock.setblocking(False)
            handler: Callable[[Respond], None]
            if sock.type == socket.SOCK_STREAM:
                handler = self._acceptor(sock)
            elif packed(sock.getsockname()[0]).strip(b"\0"):
                handler = self._udp(sock)
            else:
                handler = self._udp_anywhere(sock)
            self.selector.register(sock, selectors.EVENT_READ, handler)
        for descriptor in wake:
            self.selector.register(descriptor, selectors.EVENT_READ, self._waker(descriptor))

    def run(self) -> None:
        """Turns, until `current` says None or a wake descriptor ends."""
        while not self.over:
            events = self.selector.select(0 if self.busy else 1.0)
            respond = self.current()
            if respond is None:
                return
            self.now = monotonic()
            busy, self.busy = self.busy, {}
            for event, mask in events:
                if isinstance(event.data, _Connection):
                    self._tcp(event.data, mask, respond)
                    busy.pop(event.data.socket.fileno(), None)
                else:
                    event.data(respond)
            for connection in busy.values():
                if connection.socket.fileno() >= 0:
                    self._tcp(connection, 0, respond)
            while self.connections and (first := next(iter(self.connections.values()))).deadline <= self.now:
                self._drop(first)
            self.counts[counters.TCP_OPEN] = len(self.connections)

    def close(self) -> None:
        for connection in list(self.connections.values()):
            self._drop(connection)
        self.selector.close()

    def _waker(self, descriptor: int) -> Callable[[Respond], None]:
        def turn(_: Respond) -> None:
            with contextlib.suppress(BlockingIOError):
                self.over = not os.read(descriptor, 4096) or self.over

        return turn

    # UDP

    def _udp(self, sock: socket.socket) -> Callable[[Respond], None]:
        receive, send, counts = sock.recvfrom, sock.sendto, self.counts
        to_octets = socket.inet_aton if sock.family == socket.AF_INET else packed

        def turn(respond: Respond) -> None:
            for _ in range(BATCH):
                try:
                    data, address = receive(QUERY)
                except OSError:  # drained; or an error that an earlier reply met, which is not ours to mend
                    return
                counts[counters.UDP] += 1
                reply = respond(data, to_octets(address[0]), False)
                if reply is not None:
                    try:
                        send(reply, address)
                    except OSError:
                        counts[counters.UNSENT] += 1

        return turn

    def _udp_anywhere(self, sock: socket.socket) -> Callable[[Respond], None]:
        if sock.family == socket.AF_INET:
            level, kind, size = socket.IPPROTO_IP, _IP_PKTINFO, 12
            sock.setsockopt(level, kind, 1)
        else:
            level, kind, size = socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, 20
            sock.setsockopt(level, socket.IPV6_RECVPKTINFO, 1)
        space, counts = socket.CMSG_SPACE(size), self.counts

        def turn(respond: Respond) -> None:
            for _ in range(BATCH):
                try:
                    data, ancillary, _flags, address = sock.recvmsg(QUERY, space)
                except OSError:
                    return
                counts[counters.UDP] += 1
                reply = respond(data, packed(address[0]), False)
                if reply is None:
                    continue
                # struct in_pktinfo is interface, local address (which becomes the source), address in the header; the
                # second is 127.0.0.1 for all of 127/8, so the third counts.  No interface is named for IPv4, so that
                # the route back is the kernel's choice; in IPv6 it is part of a link-local address.
                own = [
                    (level, kind, bytes(4) + info[8:12] + bytes(4) if size == 12 else info)
                    for found_level, found_kind, info in ancillary
                    if (found_level, found_kind) == (level, kind)
                ]
                try:
                    sock.sendmsg([reply], own, 0, address)
                except OSError:
                    counts[counters.UNSENT] += 1

        return turn

    # TCP

    def _acceptor(self, listener: socket.socket) -> Callable[[Respond], None]:
        def turn(_: Respond) -> None:
            for _number in range(BATCH):
                try:
                    sock, address = listener.accept()
                except OSError as error:  # none waits, it has gone, or we are out of descriptors: the idlest leaves
                    if error.errno in (errno.EMFILE, errno.ENFILE) and self.connections:
                        self._drop(next(iter(self.connections.values())))
                    return
                self._admit(sock, packed(address[0]))

        return turn

    def _admit(self, sock: socket.socket, peer: bytes) -> None:
        if self.clients.get(peer, 0) >= self.limits.per_client:
            self.counts[counters.TCP_REFUSED] += 1
            sock.close()
            return
        if len(self.connections) >= self.limits.connections:
            self.counts[counters.TCP_REFUSED] += 1
            self._drop(next(iter(self.connections.values())))
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _Connection(sock, peer, self.now + self.limits.idle)
        self.connections[sock.fileno()] = connection
        self.clients[peer] = self.clients.get(peer, 0) + 1
        self.counts[counters.TCP_ACCEPTED] += 1
        self.selector.register(sock, selectors.EVENT_READ, connection)

    def _drop(self, connection: _Connection) -> None:
        number = connection.socket.fileno()
        self.connections.pop(number, None)
        self.busy.pop(number, None)
        self.selector.unregister(connection.socket)
        left = self.clients.pop(connection.peer) - 1
        if left:
            self.clients[connection.peer] = left
        connection.socket.close()

    def _tcp(self, connection: _Connection, mask: int, respond: Respond) -> None:
        sock = connection.socket
        if sock.fileno() < 0:  # dropped earlier in this turn
            return
        try:
            if mask & selectors.EVENT_READ:
                octets = sock.recv(_READ)
                connection.inbox += octets
                connection.finished = not octets
            more = self._answer(connection, respond)
            if connection.outbox:
                with contextlib.suppress(BlockingIOError):
                    del connection.outbox[: sock.send(connection.outbox)]
                    self._refresh(connection)
        except OSError:
            self._drop(connection)
            return
        if more is None or (connection.finished and not more and not connection.outbox):
            self._drop(connection)
            return
        wanted = selectors.EVENT_WRITE if connection.outbox else 0
        if not connection.finished and not more and len(connection.outbox) < _OUTBOX:
            wanted |= selectors.EVENT_READ
        self._want(connection, wanted)
        if more and len(connection.outbox) < _OUTBOX:
            self.busy[sock.fileno()] = connection

    def _answer(self, connection: _Connection, respond: Respond) -> bool | None:
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
            reply = respond(bytes(inbox[at + 2 : end]), connection.peer, True)
            if reply is None:  # who sends answers, or less than a header, is not a resolver
                return None
            outbox += len(reply).to_bytes(2, "big") + reply
            answered, at = answered + 1, end
        del inbox[:at]
        if answered:
            self._refresh(connection)
        return whole

    def _refresh(self, connection: _Connection) -> None:
        connection.deadline = self.now + self.limits.idle
        self.connections.move_to_end(connection.socket.fileno())

    def _want(self, connection: _Connection, events: int) -> None:
        # epoll reports errors and hang-ups whatever is asked for; an empty set is not allowed, so a connection that
        # waits for its turn only is watched for writing, which is true at once and brings the turn.
        self.selector.modify(connection.socket, events or selectors.EVENT_WRITE, connection)
