"""One HTTP GET to one mirror, with every limit and deadline there is.

Nothing is decoded on the way (`Accept-Encoding: identity`): a block's hash is that of the stored bytes.  A body is read
up to the length that was signed and not one byte further, each wait for more bytes has its own deadline, and a redirect
is followed on the mirror's host only, three times.  A range asked of a server that knows none is cut out of the whole
file, as it passes by.

With a proxy in the environment (http_proxy and friends) the URL's own name goes to the proxy, which resolves it.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from mirrornet.client.fetching.body import Fetched as Fetched
from mirrornet.client.fetching.body import Progress as Progress
from mirrornet.client.fetching.body import Sink as Sink
from mirrornet.client.fetching.body import Within as Within
from mirrornet.client.fetching.connections import Connections
from mirrornet.client.fetching.folder import read_folder
from mirrornet.client.mirrors.source import Endpoint
from mirrornet.model.errors import Busy, LocalError, Missing, Unreachable, Untrusted
from mirrornet.model.url import BUSY, MOVED, NOT_HERE, REDIRECTS, redirected, wait_asked

CONNECT: Final = 3.0  # seconds for name, connection and TLS; TCP's second SYN goes after 1 s
PROGRESS: Final = 5.0  # seconds between two pieces of a body, and until the first


class Fetcher:
    """The connections to all mirrors.  Use inside one event loop; `await close()` at the end."""

    def __init__(self, *, connect: float = CONNECT, progress: float = PROGRESS) -> None:
        self._connections = Connections(connect, progress)
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
        them is passed over.  Cancelled, it leaves in `progress` what had come.

        Raises Missing (404, 403, 410), Unreachable (no answer in time, an error of the server; Busy where it says when
        to come again), Untrusted (longer than `limit`, encoded on the way, redirected to another host).
        """
        if self._closed:
            raise LocalError("the client is being closed")
        progress = progress or Progress()
        if endpoint.url.startswith("file:"):
            return await read_folder(endpoint, path, limit, progress, sink, within)
        url = f"{endpoint.url}/{path}"
        headers = {"Range": f"bytes={within.offset}-{within.offset + limit - 1}"} if within else None
        begun = time.monotonic()
        try:
            for _ in range(REDIRECTS + 1):
                async with (
                    self._connections.one(endpoint) as session,
                    session.get(
                        URL(url, encoded=True),
                        allow_redirects=False,
                        proxy=_proxy(url),
                        headers=headers,
                        trace_request_ctx=progress,
                    ) as response,
                ):
                    self._connections.answered(endpoint, response)
                    if response.status in MOVED:
                        url = _redirected(endpoint, url, response.headers.get("Location", ""))
                        continue
                    if response.status == 206 and not within:
                        raise Unreachable(f"{endpoint}: {path}: a part of it, which was not asked for")
                    await _Body(endpoint, path, limit, progress, sink).read(response, within)
                    return progress.fetched(begun, time.monotonic())
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
            async with (
                self._connections.one(endpoint) as session,
                session.post(
                    URL(endpoint.url, encoded=True), data=body, headers=headers, allow_redirects=False
                ) as response,
            ):
                return response.status
        except TimeoutError:
            raise Unreachable(f"{endpoint}: no answer in time") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unreachable(f"{endpoint}: {_plain(error)}") from None

    async def forget(self, keep: Iterable[Endpoint]) -> None:
        """Closes the connections to mirrors that are not in `keep`."""
        await self._connections.forget(keep)

    async def close(self) -> None:
        """Closes every connection; fetches under way end as Unreachable."""
        self._closed = True
        await self._connections.forget((), busy=True)


class _Body:
    """The body of one answer, on its way to `progress` or `sink`."""

    def __init__(self, endpoint: Endpoint, path: str, limit: int, progress: Progress, sink: Sink | None) -> None:
        self._name = f"{endpoint}: {path}"
        self._endpoint, self._path, self._limit = endpoint, path, limit
        self._progress, self._sink = progress, sink

    async def read(self, response: aiohttp.ClientResponse, within: Within | None) -> None:
        """All that was asked for of it.  Raises as Fetcher.fetch does."""
        self._check(response)
        whole = within is not None and response.status == 200
        limit = within.whole if within is not None and whole else self._limit
        declared = response.content_length
        if declared is not None and declared > limit:
            raise Untrusted(f"{self._name}: {declared} bytes where at most {limit} were signed")
        skip = within.offset if within is not None and whole else 0
        progress, have = self._progress, 0
        async for part in response.content.iter_any():
            progress.came(len(part), time.monotonic())
            have += len(part)
            if have > limit:
                response.close()
                raise Untrusted(f"{self._name}: more than the {limit} bytes that were signed")
            if skip:
                skip, part = max(0, skip - len(part)), part[skip:]
            if whole:
                part = part[: self._limit - progress.count]
            if part:
                await progress.keep(part, self._sink)
            if whole and progress.count == self._limit:
                response.close()  # the connection goes with the rest of the file
                return

    def _check(self, response: aiohttp.ClientResponse) -> None:
        status = response.status
        if status in NOT_HERE:
            raise Missing(f"{self._endpoint}: it does not have {self._path} (HTTP {status})")
        if status in BUSY:
            after = wait_asked(response.headers.get("Retry-After", ""), time.time())
            raise Busy(f"{self._name}: HTTP {status}, it is busy", after)
        if status not in (200, 206):
            raise Unreachable(f"{self._name}: HTTP {status}")
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise Untrusted(f"{self._name}: encoded on the way although we asked for identity; turn that off there")


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
