"""POST /v1/override: an operator's word by HTTP, for scripts and for those who have no shell on the name server.

    curl -H 'Authorization: Bearer TOKEN' -H 'Content-Type: application/json' \\
         -d '{"action": "drain", "mirrors": ["fra*"], "for": "2h", "why": "new disks"}' http://127.0.0.1:8053/v1/override

Without a token nothing is read of a request but its head; who has one is known by its name, which becomes the author.
A token goes over the wire as it is, so the status page belongs on loopback, or behind something that speaks TLS.

A browser can be made to send a request here by any page its user looks at, but neither a token, which no browser
keeps, nor this content type without asking first.  Rejected: cookies and a form (they would need all that), Basic
authentication (browsers remember it), a token in the URL (URLs end up in logs).

This module parses HTTP only; what a request means, `take` says.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from aiohttp import web

from mirrornet.model.errors import InputError, MirrornetError
from mirrornet.web.rate import Rates

_log = logging.getLogger(__name__)

PATH: Final = "/v1/override"
BODY_LIMIT: Final = 16 << 10  # bytes: some hundred mirrors by name
RATE: Final = 2.0  # requests a second of one token: each may be a plan and a write to the disk
BURST: Final = 20.0
TOLD_EVERY: Final = 60.0  # seconds between two lines in the log about wrong tokens of one address

Take = Callable[[object, str], Awaitable[dict[str, Any]]]  # the document and its author, to the answer
Tokens = Callable[[], Mapping[str, str]]  # names by token; empty: nobody may


class OverrideDoor:
    """`take` raises InputError for a request that is wrong, any other MirrornetError where it cannot be done."""

    def __init__(self, take: Take, tokens: Tokens, clock: Callable[[], float] = time.monotonic) -> None:
        self._take, self._tokens, self._clock = take, tokens, clock
        self._rates = Rates(RATE, BURST)
        self._told = Rates(1 / TOLD_EVERY, 1.0)

    async def handle(self, request: web.Request) -> web.Response:
        """One request."""
        status, answer, headers = await self._answer(request)
        response = web.Response(
            status=status,
            text=json.dumps(answer, ensure_ascii=False) + "\n",
            content_type="application/json",
            headers=headers,
        )
        if status != 200:
            response.force_close()  # its body may not have been read
        return response

    async def _answer(self, request: web.Request) -> tuple[int, dict[str, Any], dict[str, str]]:
        tokens = self._tokens()
        if not tokens:
            return _refused(403, "this server takes no overrides by HTTP: name a `server: token_file` in its zone file")
        author = owner(request.headers.get("Authorization", ""), tokens)
        if author is None:
            if not self._told.wait(request.remote, self._clock()):
                _log.warning("%s: an override without a token that is known here", request.remote)
            return _refused(401, "send Authorization: Bearer TOKEN, with a token of the server's token_file", {
                "WWW-Authenticate": 'Bearer realm="mirrornet"'
            })  # fmt: skip
        wait = self._rates.wait(author, self._clock())
        if wait:
            return _refused(429, f"{RATE:g} requests a second at most", {"Retry-After": str(math.ceil(wait))})
        if request.content_type != "application/json":
            return _refused(415, "send Content-Type: application/json")
        if request.content_length is None or request.headers.get("Content-Encoding", "identity") != "identity":
            return _refused(411, "a request says how long it is, and is not compressed")
        if request.content_length > BODY_LIMIT:
            return _refused(413, f"a request has at most {BODY_LIMIT} bytes")
        try:
            document = json.loads(await request.content.readexactly(request.content_length))
        except (ValueError, RecursionError, asyncio.IncompleteReadError, OSError):  # OSError: the peer has left
            return _refused(400, "the body is no JSON")
        try:
            return 200, await self._take(document, author), {}
        except InputError as error:
            return _refused(400, str(error))
        except MirrornetError as error:
            return _refused(503, str(error))


def owner(header: str, tokens: Mapping[str, str]) -> str | None:
    """Whose token the Authorization `header` carries (RFC 6750, section 2.1); None: nobody's.

    Takes the same time whatever is wrong with it, but for its length.
    """
    scheme, _, given = header.partition(" ")
    found = None
    for token, name in tokens.items():
        if hmac.compare_digest(token.encode(), given.strip().encode("utf-8", "surrogateescape")):
            found = name
    return found if scheme.lower() == "bearer" else None


def _refused(
    status: int, error: str, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, Any], dict[str, str]]:
    return status, {"error": error}, headers or {}
