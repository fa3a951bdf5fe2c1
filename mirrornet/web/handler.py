"""How a connection speaks HTTP: aiohttp's own handler with small heads, and errors that tell a stranger nothing.

aiohttp answers what is no HTTP with the offending octets and its own version.  Here such an answer is one plain line of
ours, with the security headers that every other answer has.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Server": "mirrornet",
}
_SILENT: Final = logging.getLogger(f"{__name__}.http")  # what strangers get wrong fills no log
_SILENT.setLevel(logging.CRITICAL + 1)


class Handler(web.RequestHandler):
    """One connection."""

    __slots__ = ()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """The answer to what is no HTTP, and to a bug of ours that nobody caught."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer had begun")
        response = web.Response(status=status, text=f"{status} {_phrase(status)}\n", headers=HEADERS)
        response.force_close()
        return response


def handlers(server: web.Server, head: int, idle: float) -> Callable[[], asyncio.Protocol]:
    """Makes a Handler for each connection.  `head`: bytes of one header line; `idle`: seconds that one is kept."""
    settings: Mapping[str, Any] = {
        "access_log": None,
        "logger": _SILENT,
        "max_line_size": head,
        "max_field_size": head,
        "lingering_time": 0,
        "keepalive_timeout": idle,
    }
    return lambda: Handler(server, loop=asyncio.get_running_loop(), **settings)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
