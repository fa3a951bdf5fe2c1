"""Sockets to octets and back: one loop for the UDP, TCP and TLS of a worker, in front of any `respond`.

UDP is drained in batches; between two batches streams get their turn, and no turn is long, so that neither a flood nor
a slow client starves the other.  UDP itself is in batch.py (many datagrams a system call) and, where that is not
possible, datagrams.py; TCP and TLS are in streams.py.

Rejected: asyncio (one socket, one loop: a blocking one costs half), a thread for TCP (the interpreter lock makes UDP
wait up to 5 ms for it), SO_REUSEPORT shared between processes (a killed worker's socket would swallow queries).
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import ssl
from collections.abc import Callable, Sequence

from mirrornet.dns.serving import batch, counters, datagrams
from mirrornet.dns.serving.datagrams import Respond as Respond
from mirrornet.dns.serving.step import Step
from mirrornet.dns.serving.streams import Connection, Streams
from mirrornet.dns.serving.streams import Limits as Limits


def serve(
    sockets: Sequence[socket.socket],
    current: Callable[[], Respond | None],
    *,
    wake: Sequence[int] = (),
    counts: list[int] | None = None,
    limits: Limits | None = None,
    secure: Sequence[socket.socket] = (),
    tls: ssl.SSLContext | None = None,
    step: Step | None = None,
    lost: Callable[[], None] | None = None,
) -> None:
    """Answers on `sockets` (bound UDP, listening TCP, of any family) until `current` returns None.

    `current` is called before every turn, at least once a second, and gives the function that answers in it.
    `wake`: file descriptors that end a wait when they become readable; at the end of one of them `lost` is called,
    or without it the loop ends.
    `counts`: as in counters.py.  On the listening sockets `secure`, TLS is spoken by the context `tls`.  All
    sockets are left open; connections are closed.  `step`: answers what it can of UDP (step.py).
    """
    loop = _Loop(current, [0] * len(counters.NAMES) if counts is None else counts, limits or Limits(), step)
    try:
        loop.listen(sockets, None)
        loop.listen(secure, tls)
        loop.heed(wake, lost)
        loop.run()
    finally:
        loop.close()


class _Loop:
    def __init__(
        self, current: Callable[[], Respond | None], counts: list[int], limits: Limits, step: Step | None
    ) -> None:
        self.current = current
        self.step = step
        self.counts = counts
        self.over = False
        self.selector = selectors.EpollSelector() if step is not None else selectors.DefaultSelector()
        self.selector_file = self.selector.fileno() if isinstance(self.selector, selectors.EpollSelector) else -1
        self.streams = Streams(self.selector, counts, limits)

    def listen(self, sockets: Sequence[socket.socket], tls: ssl.SSLContext | None) -> None:
        for sock in sockets:
            sock.setblocking(False)
            if sock.type == socket.SOCK_STREAM:
                handler = self.streams.acceptor(sock, tls)
            elif self.step is not None and self.step.add(sock):
                continue
            else:
                handler = (batch if batch.supported() else datagrams).turn(sock, self.counts)
            self.selector.register(sock, selectors.EVENT_READ, handler)

    def heed(self, wake: Sequence[int], lost: Callable[[], None] | None) -> None:
        for descriptor in wake:
            self.selector.register(descriptor, selectors.EVENT_READ, self._waker(descriptor, lost))

    def run(self) -> None:
        """Turns, until `current` says None or a wake descriptor ends."""
        streams, step = self.streams, self.step
        respond: Respond | None = None
        while not self.over:
            patience = 0.0 if streams.busy else 1.0
            if step is not None:
                step.wait(self.selector_file, patience)
                patience = 0.0
            events = self.selector.select(patience)
            before, respond = respond, self.current()
            if respond is None:
                if step is not None and before is not None:
                    step.rest(before)  # these were read, so nobody else can answer them
                return
            if step is not None:
                step.rest(respond)
            waiting: list[tuple[Connection, int]] = []
            for event, mask in events:
                if isinstance(event.data, Connection):
                    waiting.append((event.data, mask))
                else:
                    event.data(respond)
            streams.turn(waiting, respond)

    def close(self) -> None:
        self.streams.close()
        self.selector.close()

    def _waker(self, descriptor: int, lost: Callable[[], None] | None) -> Callable[[Respond], None]:
        def turn(_: Respond) -> None:
            with contextlib.suppress(BlockingIOError):
                if os.read(descriptor, 4096):
                    return
                self.selector.unregister(descriptor)
                if lost is None:
                    self.over = True
                else:
                    lost()

        return turn
