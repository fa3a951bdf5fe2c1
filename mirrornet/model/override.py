"""What an operator says of a mirror by hand, as a value that anybody may hold, keep and show."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    """`auto` is no action: it takes the override away."""

    DRAIN = "drain"  # its share goes down, bit by bit; it is out at the end
    FORCE_UP = "force-up"
    FORCE_DOWN = "force-down"


@dataclass(frozen=True, slots=True)
class Override:
    """One mirror of one zone, by name.  `at`, `until`: Unix times; None: until `auto`.

    `rate`: what a drain takes of the whole weight, in percent a minute; 0: all at once.  `author`: who said so, as the
    name server that took it knew him; `origin`: the name of that server, "" for this one.
    """

    zone: str
    mirror: str
    action: Action
    at: float
    until: float | None = None
    author: str = ""
    why: str = ""
    rate: float = 0.0
    origin: str = ""
