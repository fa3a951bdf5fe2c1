"""A visit: one connection to one address of one mirror, on which a few files are asked for.

Every visit makes a connection of its own and closes it: a probe over a connection that was kept alive would prove that
the connection is alive.  All the traps of asking a stranger for a file are here: Host and TLS name of the URL at an
address of our choice, no proxy, no cookies, no inflating (`Accept-Encoding: identity`: a block's name is the hash of
its stored bytes), redirects followed by hand (target.py says where to), a limit on every body, and 403 taken like 404,
since a bucket says "forbidden" for what it does not have.  Deadlines are the caller's: one for a whole probe.
"""

from __future__ import annotations

import asyncio
import errno
import ssl
import time
from typing import Final, Self

import aiohttp
from yarl import URL

from mirrornet import __version__
from mirrornet.health.target import Target, follow, target
from mirrornet.model.address import Address
from mirrornet.model.errors import LocalError, Missing, Unreachable, Untrusted
from mirrornet.model.url import MOVED, NOT_HERE, REDIRECTS

_NO_ROUTE: Final = frozenset({errno.ENETUNREACH, errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.ENETDOWN})
_PIECE: Final = 65536  # bytes read at a time


class NoRoute(LocalError):
    """This machine cannot reach any address of that family; the mirror is not to blame."""


class Refused(Unreachable):
    """The mirror answers with a status that is neither success nor "not here".  `retry_after` in seconds, or None."""

    def __init__(self, message: str, retry_after: float | None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def user_agent(zone: str, contact: str) -> str:
    """Who asks, and why, so that an operator who reads his log knows whom to write to."""
    return f"mirrornet/{__version__} (health probe for {zone}; {contact})"


class Visit:
    """Use as `async with Visit(address, agent) as visit: body = await visit.get(url, limit)`.

    `rtt_ms` is the time to the first byte of the first answer, in milliseconds, connecting (and TLS) included.
    """

    def __init__(self, address: Address, agent: str, tls: ssl.SSLContext | None = None) -> None:
        """`tls`: what to verify certificates with; None is what the system trusts."""
        self.address = address
        self._tls = tls
        self.rtt_ms: float | None = None
        self._agent = agent
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=1),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=("User-Agent", "Accept"),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, url: str, limit: int) -> bytes:
        """The body of `url`, at most `limit` bytes.

        Raises Missing (404, 403, 410), Refused (any other status), Unreachable, Untrusted (over the limit), NoRoute.
        TimeoutError is left to whoever set the deadline.
        """
        there = target(url, self.address)
        try:
            for _ in range(REDIRECTS + 1):
                location, body = await self._once(there, limit)
                if location is None:
                    return body
                there = follow(there, location)
        except TimeoutError:
            raise
        except (aiohttp.ClientError, OSError, ssl.SSLError, asyncio.IncompleteReadError) as error:
            raise translate(error) from None
        except ValueError as error:
            raise Unreachable(f"speaks HTTP that cannot be read: {error}") from None
        raise Unreachable(f"more than {REDIRECTS} redirects")

    async def _once(self, there: Target, limit: int) -> tuple[str | None, bytes]:
        assert self._session is not None
        begun = time.monotonic()
        async with self._session.get(
            URL(there.literal_url, encoded=True),
            headers={
                "Host": there.host_header,
                "User-Agent": self._agent,
                "Accept": "*/*",
                "Accept-Encoding": "identity",
            },
            allow_redirects=False,
            server_hostname=there.host if there.tls else None,
            ssl=self._tls or True,
        ) as answer:
            if self.rtt_ms is None:
                self.rtt_ms = (time.monotonic() - begun) * 1000
            if answer.status in MOVED:
                return answer.headers.get("Location", ""), b""
            if answer.status in NOT_HERE:
                raise Missing(f"HTTP {answer.status} for {there.path}")
            if answer.status != 200:
                raise Refused(f"HTTP {answer.status} for {there.path}", _seconds(answer.headers.get("Retry-After")))
            encoding = answer.headers.get("Content-Encoding", "identity").lower()
            if encoding != "identity":
                raise Unreachable(f"sends Content-Encoding {encoding!r} though asked for identity: switch it off")
            if (answer.content_length or 0) > limit:
                raise Untrusted(f"{there.path} has {answer.content_length} bytes, more than the {limit} it may have")
            body = bytearray()
            async for piece in answer.content.iter_chunked(_PIECE):
                body += piece
                if len(body) > limit:
                    raise Untrusted(f"{there.path} has more than the {limit} bytes it may have")
            return None, bytes(body)


def _seconds(text: str | None) -> float | None:
    """Retry-After as seconds; its other form, a date, is not worth a parser for probes."""
    return float(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 9 else None


def translate(error: BaseException) -> Unreachable | NoRoute:
    """What a failure of aiohttp, TLS or the socket means, in one short sentence."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        reason = getattr(error.certificate_error, "verify_message", "") or error.certificate_error
        return Unreachable(f"its TLS certificate is not good: {reason}")
    if isinstance(error, aiohttp.ClientConnectorSSLError | ssl.SSLError):
        return Unreachable(f"TLS fails: {error}")
    code = error.errno if isinstance(error, OSError) else None
    if code in _NO_ROUTE:
        return NoRoute("this machine has no route there")
    if code == errno.ECONNREFUSED:
        return Unreachable("connection refused")
    if isinstance(error, aiohttp.ServerDisconnectedError | ConnectionError | aiohttp.ClientPayloadError):
        return Unreachable("the connection broke off")
    if isinstance(error, OSError):
        return Unreachable(error.strerror or str(error))
    return Unreachable(f"speaks HTTP that cannot be read: {type(error).__name__}")
