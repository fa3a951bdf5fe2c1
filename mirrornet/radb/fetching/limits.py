"""What every transfer is bounded by, what makes a file another one, and what can go wrong on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from mirrornet.model.errors import Unreachable

PORTION: Final = 2 << 20  # bytes read at once


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds and bytes.  All IRR sources together are 7 GiB unpacked (2023); RIPE with its inetnums is the largest."""

    connect: float = 10.0
    read: float = 60.0  # between two portions
    whole: float = 3600.0  # a slow link takes 600 MB in this at 170 kB/s
    wire: int = 8 << 30
    unpacked: int = 32 << 30
    pause: float = 1.0  # before the first attempt to resume without a new byte; doubled before each further one


DEFAULT_LIMITS: Final = Limits()


class Version(NamedTuple):
    """What tells a file from its next edition: ETag, date as the server wrote it, bytes.  "" and None: not said."""

    etag: str = ""
    modified: str = ""
    size: int | None = None

    @property
    def strong(self) -> str:
        """What If-Range may name (RFC 9110 section 13.1.5): a strong ETag, else the date; "" none."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


class Body(NamedTuple):
    """A body as it comes.  `start`: the offset of its first byte; `portions` may raise Broken."""

    start: int
    portions: Iterator[bytes]


class Broken(Exception):
    """The transfer broke off; the text says how.  Caught in resume.py."""


class Changed(Unreachable):
    """The file is another one than when its first half was read: all that was made of it is void."""
