"""What an operator says of a mirror by hand, as a value that anybody may hold, keep and show.

There is one form in JSON, for files, sockets and whatever else carries overrides: `told` writes it, `recalled` reads
it back and believes nothing.  Of several overrides of one mirror the newest counts (`merged`), wherever it was said.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, Final

LONGEST_WHY: Final = 200  # characters
LONGEST_NAME: Final = 255  # characters of a zone's name, a mirror's, an author's, a server's
SLOWEST, FASTEST = 0.01, 6000.0  # percent a minute of a drain: in a week, in a second
LATEST: Final = 2.0**37  # Unix time, in the year 6325: calendars end at 9999
MARGIN: Final = 0.001  # seconds by which a new word is newer than the one it replaces, whatever the clocks say
AHEAD: Final = 60.0  # seconds by which another server's clock may be ahead


class Action(StrEnum):
    """What to do with a mirror."""

    DRAIN = "drain"  # its share goes down, bit by bit; it is out at the end
    FORCE_UP = "force-up"
    FORCE_DOWN = "force-down"
    AUTO = "auto"  # what was said before holds no more: kept only for those who may still remember it


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

    @property
    def key(self) -> tuple[str, str]:
        return self.zone, self.mirror

    def holds(self, now: float) -> bool:
        """Whether it has not expired."""
        return self.until is None or now < self.until


Held = Mapping[tuple[str, str], Override]  # by zone and mirror


def told(override: Override) -> dict[str, Any]:
    """The override as an object of JSON."""
    return {**asdict(override), "action": str(override.action)}


def recalled(document: object) -> Override:
    """The override that `told` wrote.  Raises ValueError with what is wrong with `document`, whatever it is."""
    names = [field.name for field in fields(Override)]
    if not isinstance(document, dict) or sorted(document) != sorted(names):
        raise ValueError(f"an override has the fields {', '.join(names)}")
    for name in ("zone", "mirror", "author", "why", "origin"):
        longest = LONGEST_WHY if name == "why" else LONGEST_NAME
        word(name, document[name], longest)
        if name in ("zone", "mirror") and not document[name]:
            raise ValueError(f"{name}: is empty")
    if document["action"] not in list(Action):
        raise ValueError("action: there are " + ", ".join(Action))
    number("at", document["at"], 0, LATEST)
    if document["until"] is not None:
        number("until", document["until"], 0, LATEST)  # before `at` too: clocks differ
    speed("rate", document["rate"])
    return Override(**{**document, "action": Action(document["action"])})


def word(name: str, value: object, longest: int) -> str:
    """`value` if it is one printable line of at most `longest` characters.  Raises ValueError about `name`."""
    if not isinstance(value, str):
        raise ValueError(f"{name}: takes a text")
    if len(value) > longest:
        raise ValueError(f"{name}: has {len(value)} characters, and {longest} are the most")
    if not value.isprintable():
        raise ValueError(f"{name}: takes one line of printable characters")
    return value


def number(name: str, value: object, low: float, high: float) -> float:
    """`value` if it is a number from `low` to `high`.  Raises ValueError about `name`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name}: takes a number")
    if not low <= value <= high:
        raise ValueError(f"{name}: {value:g} is out of range, from {low:g} to {high:g}")
    return float(value)


def speed(name: str, value: object) -> float:
    """`value` if it may be the rate of a drain.  Raises ValueError about `name`."""
    rate = number(name, value, 0, FASTEST)
    return number(name, rate, SLOWEST, FASTEST) if rate else rate


def merged(overrides: Iterable[Override]) -> dict[tuple[str, str], Override]:
    """The newest override of each mirror, `auto` and what has expired among them; the same on every server."""
    newest: dict[tuple[str, str], Override] = {}
    for override in overrides:
        known = newest.get(override.key)
        if known is None or _age(override) > _age(known):
            newest[override.key] = override
    return newest


def _age(override: Override) -> tuple[float, str, str]:
    return override.at, override.origin, str(override.action)


def in_force(overrides: Iterable[Override], now: float) -> dict[tuple[str, str], Override]:
    """What holds at `now`: the newest word of each mirror, where it has not expired and is not `auto`.

    What another server says from the future counts for nothing: nobody could say anything newer.
    """
    newest = merged(one for one in overrides if not one.origin or one.at <= now + AHEAD)
    return {k: one for k, one in newest.items() if one.action is not Action.AUTO and one.holds(now)}
