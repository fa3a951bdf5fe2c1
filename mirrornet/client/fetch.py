"""One HTTP GET to one mirror, with every limit and deadline there is.

A mirror is dialled at the addresses of its endpoint while Host header and TLS name come from its URL, so every mirror
has a connection pool of its own (two mirrors may share a URL).  Connections are kept alive; both address families are
raced by aiohttp (RFC 8305).  Nothing is decoded on the way (`Accept-Encoding: identity`): a block's hash is that of
the stored bytes.  A body is read up to the length that was signed and not one byte further, each wait for more bytes
has its own deadline, and a redirect is followed on the mirror's host only, three times.

With a proxy in the environment (http_proxy and friends) the URL's own name goes to the proxy, which resolves it.

Rejected: one pool with the address in the URL (the TLS name and keep-alive suffer), httpx (HTTP/2 brings nothing on
one block per request and costs twice the CPU), urllib3 in threads (a hedge's loser cannot be cancelled).
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from mirrornet import __version__
from mirrornet.client.source import Endpoint, permitted
from mirrornet.model.errors import Busy, LocalError, Missing, Unreachable, Untrusted
from mirrornet.model.url import BUSY, MOVED, NOT_HERE, REDIRECTS, redirected, wait_asked

CONNECT: Final = 3.0  # seconds for name, connection and TLS; TCP's second SYN goes after 1 s
PROGRESS: Final = 5.0  # seconds between two pieces of a body, and until the first
CONNECTIONS: Final = 24  # to one mirror at once
Sink = Callable[[bytes], Awaitable[None]]
_PIECE: Final = 1 << 20  # bytes of a local file at once
_HEADERS = {"Accept-Encoding": "identity", "User-Agent": f"mirrornet/{__version__}"}


@dataclass(frozen=True, slots=True)
class Fetched:
    """A body, and how it came: seconds until its first byte and until its last."""

    data: bytes
    first_byte: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Within:
    """A part of a file: from byte `offset` on; `whole`: the file's length, should the server know no ranges."""

    offset: int
    whole: int


@dataclass(slots=True)
class Progress:
    """What a caller may look at while a fetch runs."""

    started: bool = False  # the first byte of the body is here


class _Pinned(AbstractResolver):
    """Gives the endpoint's addresses for the host of its URL, and the system's for others (a proxy)."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        endpoint = self._endpoint
        ours = host == endpoint.host
        if ours and endpoint.addresses:
            found = list(endpoint.addresses)
        else:
            async with asyncio.timeout(CONNECT):  # aiohttp's own deadlines do not cover this
                infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found = [str(info[4][0]) for info in infos]
        if ours:
            allowed = permitted(found, endpoint.allow_local)
            if not allowed:
                raise OSError(f"{host} is {', '.join(found)}, which no name server may send us to")
            found = list(allowed)
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


class Fetcher:
    """The connections to all mirrors.  Use inside one event loop; `await close()` at the end."""

    def __init__(self, *, connect: float = CONNECT, progress: float = PROGRESS) -> None:
        self._connect = connect
        self._progress = progress
        self._sessions: dict[tuple[object, ...], aiohttp.ClientSession] = {}
        self._closed = False

    async def fetch(
        self,
        endpoint: Endpoint,
        path: str,
        limit: int,
        progress: Progress | None = None,
        sink: Sink | None = None,
        within: Within | None = None,
    ) -> Fetched:
        """The body of `path` (relative to the repository) at `endpoint`, at most `limit` bytes.

        With a `sink` each piece goes there as it comes, at the pace of the sink, and `data` is empty: for files too
        large to hold.  `within`: only `limit` bytes of a file, by a range; what a server without ranges sends before
        them is passed over.  Raises Missing (404, 403, 410), Unreachable (no answer in time, an error of the server;
        Busy where it says when to come again), Untrusted (longer than `limit`, encoded on the way, redirected to
        another host).
        """
        if self._closed:
            raise LocalError("the client is being closed")
        if endpoint.url.startswith("file:"):
            if sink is not None:
                return await _pour_file(endpoint, path, limit, sink)
            return await asyncio.to_thread(_read_file, endpoint, path, limit, within)
        url = f"{endpoint.url}/{path}"
        headers = {"Range": f"bytes={within.offset}-{within.offset + limit - 1}"} if within else None
        begun = time.monotonic()
        try:
            for _ in range(REDIRECTS + 1):
                async with self._session(endpoint).get(
                    URL(url, encoded=True), allow_redirects=False, proxy=_proxy(url), headers=headers
                ) as response:
                    if response.status in MOVED:
                        url = _redirected(endpoint, url, response.headers.get("Location", ""))
                        continue
                    if response.status == 206 and not within:
                        raise Unreachable(f"{endpoint}: {path}: a part of it, which was not asked for")
                    if within and response.status == 200:
                        return await _passing_over(endpoint, path, limit, response, begun, progress, within)
                    return await _body(endpoint, path, limit, response, begun, progress, sink)
            raise Unreachable(f"{endpoint}: {path}: more than {REDIRECTS} redirects")
        except TimeoutError:
            spent = time.monotonic() - begun
            raise Unreachable(f"{endpoint}: {path}: no answer in {spent:.1f} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unreachable(f"{endpoint}: {path}: {_plain(error)}") from None

    async def send(self, endpoint: Endpoint, body: bytes) -> int:
        """POSTs the JSON `body` to the endpoint's URL as it stands: the HTTP status.  No redirect, no proxy.

        The answer is not read.  Raises Unreachable.
        """
        headers = {"Content-Type": "application/json"}
        try:
            async with self._session(endpoint).post(
                URL(endpoint.url, encoded=True), data=body, headers=headers, allow_redirects=False
            ) as response:
                return response.status
        except TimeoutError:
            raise Unreachable(f"{endpoint}: no answer in time") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unreachable(f"{endpoint}: {_plain(error)}") from None

    async def forget(self, keep: Iterable[Endpoint]) -> None:
        """Closes the connections to mirrors that are not in `keep`."""
        kept = {endpoint.dialled for endpoint in keep}
        for key in [known for known in self._sessions if known not in kept]:
            await self._sessions.pop(key).close()

    async def close(self) -> None:
        """Closes every connection; fetches under way end as Unreachable."""
        self._closed = True
        await self.forget(())

    def _session(self, endpoint: Endpoint) -> aiohttp.ClientSession:
        session = self._sessions.get(endpoint.dialled)
        if session is None:
            connector = aiohttp.TCPConnector(
                resolver=_Pinned(endpoint), limit=CONNECTIONS, keepalive_timeout=60.0, use_dns_cache=False
            )
            session = aiohttp.ClientSession(
                connector=connector,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=_HEADERS,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect, sock_read=self._progress),
            )
            self._sessions[endpoint.dialled] = session
        return session


async def _body(
    endpoint: Endpoint,
    path: str,
    limit: int,
    response: aiohttp.ClientResponse,
    begun: float,
    progress: Progress | None,
    sink: Sink | None,
) -> Fetched:
    status = response.status
    if status in NOT_HERE:
        raise Missing(f"{endpoint}: it does not have {path} (HTTP {status})")
    if status in BUSY:
        after = wait_asked(response.headers.get("Retry-After", ""), time.time())
        raise Busy(f"{endpoint}: {path}: HTTP {status}, it is busy", after)
    if status not in (200, 206):
        raise Unreachable(f"{endpoint}: {path}: HTTP {status}")
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Untrusted(f"{endpoint}: {path}: encoded on the way although we asked for identity; turn that off there")
    declared = response.content_length
    if declared is not None and declared > limit:
        raise Untrusted(f"{endpoint}: {path}: {declared} bytes where at most {limit} were signed")
    parts: list[bytes] = []
    have, first_byte = 0, 0.0
    async for part in response.content.iter_any():
        if not have:
            first_byte = time.monotonic() - begun
            if progress is not None:
                progress.started = True
        have += len(part)
        if have > limit:
            response.close()
            raise Untrusted(f"{endpoint}: {path}: more than the {limit} bytes that were signed")
        if sink is None:
            parts.append(part)
        else:
            await sink(part)
    seconds = time.monotonic() - begun
    return Fetched(parts[0] if len(parts) == 1 else b"".join(parts), first_byte or seconds, seconds)


async def _passing_over(
    endpoint: Endpoint,
    path: str,
    limit: int,
    response: aiohttp.ClientResponse,
    begun: float,
    progress: Progress | None,
    within: Within,
) -> Fetched:
    """The part asked for out of a whole file; the connection goes with the rest of it."""
    wanted = bytearray()
    left = within.offset

    async def sink(piece: bytes) -> None:
        nonlocal left
        wanted.extend(piece[left : left + limit - len(wanted)])
        left -= min(left, len(piece))
        if len(wanted) == limit:
            raise _EnoughError

    first_byte = 0.0
    try:
        first_byte = (await _body(endpoint, path, within.whole, response, begun, progress, sink)).first_byte
    except _EnoughError:
        response.close()
    seconds = time.monotonic() - begun
    return Fetched(bytes(wanted), first_byte or seconds, seconds)


class _EnoughError(Exception):
    """The rest of a body is not needed."""


def _redirected(endpoint: Endpoint, url: str, location: str) -> str:
    """Where a redirect leads.  Raises Untrusted where that is another host, or back from TLS."""
    try:
        return redirected(url, location)
    except ValueError as error:
        raise Untrusted(f"{endpoint}: {error}") from None


def _proxy(url: str) -> str | None:
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    if proxy is None or proxy_bypass(parts.netloc):
        return None
    return proxy


def proxied(url: str) -> bool:
    """Whether a proxy of the environment stands between us and `url`."""
    return _proxy(url) is not None


def _plain(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        reason = getattr(error.certificate_error, "verify_message", "") or error.certificate_error
        return f"its TLS certificate is not good: {reason}"
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        if getattr(error.os_error, "reason", "") in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
            return "no TLS is spoken there: is it http:// ?"
        return f"TLS fails: {error.os_error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
        if isinstance(cause, socket.gaierror):
            return f"its host is not found ({(cause.strerror or str(cause)).lower()})"
        return f"no connection ({os.strerror(cause.errno).lower() if cause.errno else cause})"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the connection ended in the middle of the answer"
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError | ConnectionResetError):
        return "the connection was closed before an answer"
    return " ".join(f"{error or type(error).__name__}".split())


def _read_file(endpoint: Endpoint, path: str, limit: int, within: Within | None = None) -> Fetched:
    """A repository in a folder of this machine, such as a USB disk."""
    begun = time.monotonic()
    file = Path(unquote(urlsplit(endpoint.url).path)) / path
    try:
        with file.open("rb") as stream:
            if within:
                stream.seek(within.offset)
            data = stream.read(limit if within else limit + 1)
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise Missing(f"{endpoint}: it does not have {path} ({error.strerror})") from None
    except OSError as error:
        raise Unreachable(f"{endpoint}: {path}: {error.strerror}") from None
    if len(data) > limit:
        raise Untrusted(f"{endpoint}: {path}: more than the {limit} bytes that were signed")
    spent = time.monotonic() - begun
    return Fetched(data, spent, spent)


async def _pour_file(endpoint: Endpoint, path: str, limit: int, sink: Sink) -> Fetched:
    """The same, piece by piece."""
    begun = time.monotonic()
    file = Path(unquote(urlsplit(endpoint.url).path)) / path
    have = 0
    try:
        with file.open("rb") as stream:
            while part := await asyncio.to_thread(stream.read, _PIECE):
                have += len(part)
                if have > limit:
                    raise Untrusted(f"{endpoint}: {path}: more than the {limit} bytes that were signed")
                await sink(part)
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise Missing(f"{endpoint}: it does not have {path} ({error.strerror})") from None
    except OSError as error:
        raise Unreachable(f"{endpoint}: {path}: {error.strerror}") from None
    spent = time.monotonic() - begun
    return Fetched(b"", spent, spent)
