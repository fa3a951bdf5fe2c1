"""A visit: one connection to one address of one mirror, on which a few files are asked for.

Every visit makes a connection of its own and closes it: a probe over a connection that was kept alive would prove that
the connection is alive.  All the traps of asking a stranger for a file are here: Host and TLS name of the URL at an
address of our choice, no proxy, no cookies, no inflating (`Accept-Encoding: identity`: a block's name is the hash of
its stored bytes), redirects followed by hand (target.py says where to), a limit on every body, and 403 taken like 404,
since a bucket says "forbidden" for what it does not have.  Deadlines are the caller's: one for a whole probe.

A visit says who asks and why, so that an operator who reads his log knows whom to write to.  One without an agent
says what our client says instead, to the letter (model/url.py), and asks as it does: for parts of packs by range.
"""

from __future__ import annotations

import asyncio
import errno
import ssl
import time
from email.utils import parsedate_to_datetime
from typing import Any, Final, Self

import aiohttp
from yarl import URL

from mirrornet import __version__
from mirrornet.health.probes.target import Target, follow, target
from mirrornet.model.address import Address
from mirrornet.model.errors import LocalError, Missing, Unreachable, Untrusted
from mirrornet.model.url import CLIENT, MOVED, NOT_HERE, REDIRECTS

_NO_ROUTE: Final = frozenset({errno.ENETUNREACH, errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.ENETDOWN})
_NO_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"})  # what OpenSSL makes of plain text
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


class _Connector(aiohttp.TCPConnector):
    """Remembers when the certificate of the last TLS connection ends."""

    certificate_until: float | None = None

    async def connect(self, *args: Any, **kwargs: Any) -> Any:
        connection = await super().connect(*args, **kwargs)
        secured = connection.transport.get_extra_info("ssl_object") if connection.transport else None
        ends = (secured.getpeercert() or {}).get("notAfter") if secured else None
        if ends:
            self.certificate_until = float(ssl.cert_time_to_seconds(ends))
        return connection


class Visit:
    """Use as `async with Visit(address, agent) as visit: body = await visit.get(url, limit)`.

    `rtt_ms` is the time to the first byte of the first answer, in milliseconds, connecting (and TLS) included.
    """

    def __init__(self, address: Address, agent: str, tls: ssl.SSLContext | None = None) -> None:
        """`agent` "": looks like a client.  `tls`: what to verify certificates with; None is what the system trusts."""
        self.address = address
        self._tls = tls
        self.rtt_ms: float | None = None
        self._said = {"User-Agent": agent, "Accept": "*/*", "Accept-Encoding": "identity"} if agent else CLIENT
        self._connector: _Connector | None = None
        self._session: aiohttp.ClientSession | None = None

    @property
    def certificate_until(self) -> float | None:
        """Unix time at which the certificate ends that was shown last, once a TLS connection was made."""
        return self._connector.certificate_until if self._connector else None

    async def __aenter__(self) -> Self:
        self._connector = _Connector(limit=1)
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=("User-Agent",),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, url: str, limit: int, offset: int | None = None) -> bytes:
        """The body of `url`, at most `limit` bytes; with an `offset`, exactly the `limit` bytes from there on.

        Raises Missing (404, 403, 410), Refused (any other status), Unreachable, Untrusted (over the limit), NoRoute.
        TimeoutError is left to whoever set the deadline.
        """
        there = target(url, self.address)
        try:
            for _ in range(REDIRECTS + 1):
                location, body = await self._once(there, limit, offset)
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

    async def _once(self, there: Target, limit: int, offset: int | None) -> tuple[str | None, bytes]:
        assert self._session is not None
        begun = time.monotonic()
        part = {} if offset is None else {"Range": f"bytes={offset}-{offset + limit - 1}"}
        async with self._session.get(
            URL(there.literal_url, encoded=True),
            headers={"Host": there.host_header, **self._said, **part},
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
            if answer.status != 200 and not (part and answer.status == 206):
                asked = _seconds(answer.headers.get("Retry-After"), time.time())
                raise Refused(f"HTTP {answer.status} for {there.path}", asked)
            encoding = answer.headers.get("Content-Encoding", "identity").lower()
            if encoding != "identity":
                raise Unreachable(f"sends Content-Encoding {encoding!r} though asked for identity: switch it off")
            if offset is None:
                return None, await _whole(answer, there.path, limit)
            skipped = 0 if answer.status == 206 else offset  # a server that knows no ranges sends all before it as well
            return None, await _part(answer, there.path, limit, skipped)


async def _whole(answer: aiohttp.ClientResponse, path: str, limit: int) -> bytes:
    if (answer.content_length or 0) > limit:
        raise Untrusted(f"{path} has {answer.content_length} bytes, more than the {limit} it may have")
    body = bytearray()
    async for piece in answer.content.iter_chunked(_PIECE):
        body += piece
        if len(body) > limit:
            raise Untrusted(f"{path} has more than the {limit} bytes it may have")
    return bytes(body)


async def _part(answer: aiohttp.ClientResponse, path: str, length: int, skipped: int) -> bytes:
    """`length` bytes after the first `skipped`; what comes after them is left where it is."""
    body = bytearray()
    async for piece in answer.content.iter_chunked(_PIECE):
        body += piece[skipped:]
        skipped = max(0, skipped - len(piece))
        if len(body) >= length:
            return bytes(body[:length])
    raise Unreachable(f"{path} ends {length - len(body)} bytes before the part that was asked for does")


def _seconds(text: str | None, now: float) -> float | None:
    """Retry-After as seconds from `now` on (RFC 9110, section 10.2.3: seconds or a date); None where it is neither."""
    if text is None or not text.isascii() or len(text) > 40:
        return None
    if text.isdigit():
        return float(text) if len(text) < 9 else None
    try:
        ahead = parsedate_to_datetime(text).timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return None
    return ahead if ahead > 0 else None


def translate(error: BaseException) -> Unreachable | NoRoute:
    """What a failure of aiohttp, TLS or the socket means, in one short sentence."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        reason = getattr(error.certificate_error, "verify_message", "") or error.certificate_error
        return Unreachable(f"its TLS certificate is not good: {reason}")
    if isinstance(error, aiohttp.ClientConnectorSSLError | ssl.SSLError):
        cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
        reason = getattr(cause, "reason", None) or ""  # OpenSSL's word for it, such as WRONG_VERSION_NUMBER
        if reason in _NO_TLS:
            return Unreachable("no TLS is spoken there: is it http:// ?")
        return Unreachable(f"TLS fails: {reason.replace('_', ' ').lower() or cause}")
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
