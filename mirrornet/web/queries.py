"""Queries as the window shows them: a few of those that were answered, with askers truncated.  Values and a protocol.

Who asks is nobody's business: what is here has been cut to a /24 or /56 already, as RFC 7871 section 11.1 advises for
Client Subnet (app/server/showing/seeing.py).
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Seen:
    """One query that was answered.

    `at`: Unix time.  `transport`: udp, tcp or tls.  `client`: a prefix as text, of the Client Subnet where there was
    one (`subnet`), else of the asker.  `mirrors`: whom the answer names, in order; nobody for NXDOMAIN and the like.
    """

    at: float
    transport: str
    client: str
    subnet: bool
    name: str
    type: str
    rcode: str
    mirrors: tuple[str, ...] = ()


class Feed(Protocol):
    """Where queries come from while somebody listens."""

    def listening(self) -> AbstractAsyncContextManager[asyncio.Queue[tuple[Seen, ...]]]:
        """A bounded queue of what is seen from now on, a few at a time; a slow reader misses some."""
        ...
