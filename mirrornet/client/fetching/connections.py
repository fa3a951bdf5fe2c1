"""The connections to each mirror: where they go, how they are made, how long they are kept.

A mirror is dialled at the addresses of its endpoint while Host header and TLS name come from its URL, so every mirror
has a pool of its own: two mirrors may share a URL and differ in address only.

Addresses of both families are raced (RFC 8305, by aiohttp): the families take turns, and the next address is tried
250 ms after the one before.  Where IPv6 leads nowhere, that would be 250 ms for every connection, so the address that
answered last goes first from then on, as RFC 8305 section 4 advises, until it fails.

The connection that was used last is used next.  A sender forgets how fast it may go on one that has rested for a few
hundred milliseconds (RFC 2861, RFC 9293; Linux's tcp_slow_start_after_idle), and a block then takes three round trips
instead of one.  aiohttp's pool hands out the one that rested longest, so each connection is a session of its own here
and they lie on a stack.

How long making a connection took is told to whoever waits (`Progress`): a first byte that comes after a handshake says
nothing of how busy the mirror is.

Rejected: one pool with the address in the URL (the TLS name and keep-alive suffer), httpx (HTTP/2 brings nothing on
one block per request and costs twice the CPU), urllib3 in threads (a hedge's loser cannot be cancelled).
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from mirrornet import __version__
from mirrornet.client.fetching.body import Progress
from mirrornet.client.mirrors.source import Endpoint, permitted

CONNECTIONS: Final = 48  # to one mirror at once; prefetch takes 32 of them at most (window.py)
KEPT: Final = 75.0  # seconds that an idle connection is kept, nginx's default
ATTEMPT_DELAY: Final = 0.25  # seconds between two addresses of a race, RFC 8305 section 5
_HEADERS = {"Accept-Encoding": "identity", "User-Agent": f"mirrornet/{__version__}"}


class Connections:
    """Connections to all mirrors.  `connect`: seconds for name, connection and TLS; `progress`: between two pieces."""

    def __init__(self, connect: float, progress: float) -> None:
        self._connect = connect
        self._progress = progress
        self._mirrors: dict[tuple[object, ...], _Mirror] = {}
        self._leaving: list[_Mirror] = []  # forgotten, and something of theirs was in use then
        self._trace = aiohttp.TraceConfig()
        self._trace.on_connection_create_start.append(_connecting)
        self._trace.on_connection_create_end.append(_connected)

    @asynccontextmanager
    async def one(self, endpoint: Endpoint) -> AsyncGenerator[aiohttp.ClientSession]:
        """A session with a connection to `endpoint`, or none yet; it is nobody else's meanwhile.

        Raises aiohttp.ClientConnectionError where the mirror is forgotten while all its connections are in use.
        """
        mirror = self._mirrors.get(endpoint.dialled)
        if mirror is None:
            mirror = self._mirrors[endpoint.dialled] = _Mirror(_Pinned(endpoint, self._connect))
        async with mirror.limit:
            if mirror.forgotten:
                raise aiohttp.ClientConnectionError("it is no mirror any more")
            session = mirror.rested.pop() if mirror.rested else self._session(mirror)
            try:
                yield session
            finally:
                await mirror.take_back(session)

    def _session(self, mirror: _Mirror) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            resolver=mirror.resolver,
            limit=1,
            keepalive_timeout=KEPT,
            use_dns_cache=False,
            happy_eyeballs_delay=ATTEMPT_DELAY,
            interleave=1,
        )
        session = aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_HEADERS,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect, sock_read=self._progress),
            trace_configs=[self._trace],
        )
        mirror.sessions.append(session)
        return session

    def answered(self, endpoint: Endpoint, response: aiohttp.ClientResponse) -> None:
        """Remembers the address that `response` came from, for the next connection."""
        transport = response.connection.transport if response.connection is not None else None
        peer = transport.get_extra_info("peername") if transport is not None else None
        mirror = self._mirrors.get(endpoint.dialled)
        if peer and mirror is not None:
            mirror.resolver.first = str(peer[0])

    async def forget(self, keep: Iterable[Endpoint], *, busy: bool = False) -> None:
        """Closes the connections to mirrors that are not in `keep`; those in use when they are used no more.

        An answer of DNS may lack an address for once: no request under way is to fail for that.  `busy`: at once.
        """
        kept = {endpoint.dialled for endpoint in keep}
        for key in [known for known in self._mirrors if known not in kept]:
            mirror = self._mirrors.pop(key)
            mirror.forgotten = True
            self._leaving.append(mirror)
            for session in tuple(mirror.rested):
                await session.close()
        if busy:
            for session in [session for mirror in self._leaving for session in mirror.sessions]:
                await session.close()
        self._leaving = [one for one in self._leaving if not all(session.closed for session in one.sessions)]


class _Mirror:
    """The sessions of one mirror: those that rest, the one used last on top, and all of them."""

    def __init__(self, resolver: _Pinned) -> None:
        self.resolver = resolver
        self.limit = asyncio.Semaphore(CONNECTIONS)
        self.rested: list[aiohttp.ClientSession] = []
        self.sessions: list[aiohttp.ClientSession] = []
        self.forgotten = False

    async def take_back(self, session: aiohttp.ClientSession) -> None:
        """It is used no more."""
        if self.forgotten:
            await session.close()
        else:
            self.rested.append(session)


class _Pinned(AbstractResolver):
    """Gives the endpoint's addresses for the host of its URL, and the system's for others (a proxy)."""

    def __init__(self, endpoint: Endpoint, patience: float) -> None:
        self._endpoint = endpoint
        self._patience = patience
        self.first = ""  # the address that goes first

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        endpoint = self._endpoint
        ours = host == endpoint.host
        if ours and endpoint.addresses:
            found = list(endpoint.addresses)
        else:
            async with asyncio.timeout(self._patience):  # aiohttp's own deadlines do not cover this
                infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found = [str(info[4][0]) for info in infos]
        if ours:
            allowed = permitted(found, endpoint.allow_local)
            if not allowed:
                raise OSError(f"{host} is {', '.join(found)}, which no name server may send us to")
            found = list(allowed)
        found.sort(key=lambda address: address != self.first)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in dict.fromkeys(found)
        ]

    async def close(self) -> None:
        return None


async def _connecting(session: aiohttp.ClientSession, context: SimpleNamespace, given: Any) -> None:
    progress = context.trace_request_ctx
    if isinstance(progress, Progress):
        progress.connected = False
        context.begun = time.monotonic()


async def _connected(session: aiohttp.ClientSession, context: SimpleNamespace, given: Any) -> None:
    progress = context.trace_request_ctx
    if isinstance(progress, Progress):
        progress.connecting += time.monotonic() - context.begun
