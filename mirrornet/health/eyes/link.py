"""Redis or Valkey: a few keys, read and written by redis-py, with limits on size and time.

Every exchange is one round trip on one connection and over within PATIENCE seconds, connecting included, or it has
failed: PeerError, with a sentence.  Readers say how many octets they want (GETRANGE), so a value of any size costs what
was asked for.  A server that is no Redis, or no longer ours, may send anything: a reply that announces more than was
asked for ends the connection before it is read (`_Bounded`), since redis-py believes whatever length stands there.

Keys expire by themselves (PX), so that a board nobody reads does not grow.  No scripts, no transactions, no push:
nothing that an ACL of three commands (GETRANGE, SET, and AUTH before them) would forbid.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import ssl
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import redis.asyncio as redis_asyncio
from redis._parsers import _AsyncRESP2Parser
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, InvalidResponse, RedisError, ResponseError

from mirrornet.model.errors import PeerError

PATIENCE: Final = 2.0  # seconds for one exchange
_NUMBER: Final = re.compile(r"Error ([0-9]{1,3}) connecting to ")  # how redis-py begins what the system refused
NO_TEXT: Final = b"\0"  # stands for a value that is no string of octets: it is no statement either
SPARE: Final = 16 << 10  # octets of a reply beyond what was asked for: lines of lengths, an error's text


class _Bounded(_AsyncRESP2Parser):  # type: ignore[misc,no-any-unimported,unused-ignore]
    """RESP 2, of which one reply has at most `room` octets, however it announces them."""

    room = SPARE

    async def read_response(self, *arguments: Any, **named: Any) -> Any:
        self._left = self.room
        return await super().read_response(*arguments, **named)

    async def _read(self, length: int) -> bytes:
        if not 0 <= length <= self._left:
            raise InvalidResponse(f"a reply of {length} octets, where {self._left} are expected at most")
        self._left -= length
        data: bytes = await super()._read(length)
        return data

    async def _readline(self) -> bytes:
        if self._left <= 0:
            raise InvalidResponse("a reply without an end")
        line: bytes = await super()._readline()
        self._left -= len(line) + 2
        return line


class Link:
    """One connection to the board, made when it is needed and again when it is lost.  `limit`: octets of a value."""

    def __init__(self, url: str, limit: int, password: str | None = None) -> None:
        self.url, self.limit = url, limit

        class Sized(_Bounded):
            pass

        self._parser = Sized
        parts = urlsplit(url)
        given: dict[str, Any] = {
            "password": password,
            "socket_timeout": PATIENCE,
            "socket_connect_timeout": PATIENCE,
            "retry": Retry(NoBackoff(), 0),
            "parser_class": Sized,
            "protocol": 2,
            "driver_info": None,
        }
        if parts.scheme == "rediss":
            given["ssl_cert_reqs"] = ssl.CERT_REQUIRED
        self._pool = redis_asyncio.ConnectionPool.from_url(url, max_connections=1, **given)
        self._redis: Any = redis_asyncio.Redis(connection_pool=self._pool)  # typed halfway

    async def read(self, keys: Sequence[str], octets: int) -> list[bytes]:
        """The first `octets` of each key's value, in one round trip; b"" where there is none.  Raises PeerError."""
        self._parser.room = min(octets, self.limit) + SPARE
        async with self._asking(), self._redis.pipeline(transaction=False) as pipeline:
            together: Any = pipeline
            for key in keys:
                together.execute_command("GETRANGE", key, 0, min(octets, self.limit) - 1)
            values = await together.execute(raise_on_error=False)
            for value in values:
                if isinstance(value, Exception) and not str(value).startswith("WRONGTYPE"):
                    raise value
        return [value if isinstance(value, bytes) else NO_TEXT for value in values]

    async def write(self, key: str, value: bytes, seconds: float) -> None:
        """Puts `value` there for so many seconds.  Raises PeerError."""
        self._parser.room = SPARE
        async with self._asking():
            await self._redis.execute_command("SET", key, value, "PX", max(1, round(seconds * 1000)))

    async def close(self) -> None:
        """Ends the connection."""
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._redis.aclose()
                await self._pool.disconnect()

    @contextlib.asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(PATIENCE):
                yield
        except TimeoutError:
            await self._forget()
            raise PeerError(f"{self.url}: no answer within {PATIENCE:g} s") from None
        except AuthenticationError:
            raise PeerError(f"{self.url}: refuses the user or the password; see `password` under `share`") from None
        except ResponseError as error:
            raise PeerError(f"{self.url}: {_line(error)}") from None
        except (RedisError, OSError, ValueError, RecursionError) as error:
            await self._forget()
            raise PeerError(f"{self.url}: {_line(error)}") from None

    async def _forget(self) -> None:
        """The connection may be in the middle of a reply: it is of no use any more."""
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._pool.disconnect()


def _line(error: BaseException) -> str:
    """What went wrong, as a line of printable characters; from the other end comes whatever it likes."""
    cause, text = error.__cause__ or error.__context__, ""
    if isinstance(cause, ssl.SSLCertVerificationError):
        text = f"its certificate is not trusted here: {cause.verify_message}"
    elif isinstance(cause, ssl.SSLError):
        text = f"no TLS: {cause.reason or cause}"
    elif isinstance(cause, OSError) and cause.errno:
        text = os.strerror(cause.errno).lower() if cause.errno > 0 else cause.strerror or ""
    elif number := _NUMBER.match(str(error)):  # redis-py loses the cause where an old connection is made anew
        text = os.strerror(int(number[1])).lower()
    text = text or str(error) or type(error).__name__
    return "".join(one if one.isprintable() else "?" for one in " ".join(text.split()))[:200]
