"""The newest statement of each vantage on one zone, and why one was not believed.

A statement counts from the moment it was signed (`at`, the vantage's clock) for `life` seconds, and expires at whole
seconds of this clock, so that servers whose clocks agree forget it together.  Three intervals and a timeout are a
vantage that has missed two of its turns: then it is silent, and has no vote.

    from the future     its clock is more than SKEW seconds ahead of ours: refused, and said
    old                 its clock is behind, or somebody has put back what was said long ago: refused, and said
    sequence not newer  the statement that is known already, or an older one: nothing is taken

The clock of a vantage may go back: its sequence does not, while it runs; started anew it is not heard until its clock
has caught up with what it last said.  Where our own clock goes back, what was said in what is the future then is
forgotten: it would count until that day, and keep out all that is said before it.

Rejected: the receiver's time of arrival as a statement's age, by which whoever holds back notices could keep a dead
mirror alive.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from mirrornet.health.eyes.observation import CONTEXT, Statement, decode, heading
from mirrornet.image.trust.seal import genuine
from mirrornet.model.units import format_duration
from mirrornet.model.zone import HealthSettings

SKEW: Final = 5.0  # seconds that a vantage's clock may be ahead
BEATS: Final = 3  # intervals for which a statement counts
SHORTEST: Final = 1.0  # seconds between two statements of a vantage of which nothing changes


def beat(settings: HealthSettings) -> float:
    """Seconds after which a vantage repeats itself, though nothing has changed."""
    return max(SHORTEST, settings.interval)


def life(settings: HealthSettings) -> float:
    """Seconds for which a statement counts."""
    return BEATS * beat(settings) + settings.timeout


def whole(now: float) -> float:
    """The second in which `now` is: what expires does so for all servers in the same one."""
    return math.floor(now)


@dataclass(frozen=True, slots=True)
class Heard:
    """What is known of one vantage.  `refused`: why what stands in its place is not believed; "" where it is."""

    statement: Statement | None = None
    refused: str = ""


class Ledger:
    """Of one zone.  `keys`: the public key of each vantage that may speak.  `mirrors`: of whom it may."""

    def __init__(
        self,
        zone: str,
        keys: Mapping[str, bytes],
        life: float,
        mirrors: Collection[str],
        before: Ledger | None = None,
    ) -> None:
        """`before`: the ledger of the same zone until now; what those who are still listed have said stays."""
        self._mirrors = frozenset(mirrors)
        self.zone, self.life = zone, life
        self._keys = dict(keys)
        same = () if before is None or before.zone != zone else before._keys.items() & self._keys.items()
        kept: dict[str, Heard] = {name: before._heard[name] for name, _ in same} if before is not None else {}
        self._heard: dict[str, Heard] = {name: kept.get(name, Heard()) for name in self._keys}

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def heard(self, vantage: str) -> Heard:
        """What is known of `vantage`."""
        return self._heard[vantage]

    def doubt(self, now: float) -> None:
        """Forgets what was said more than SKEW after `now`: this clock has gone back since it was believed."""
        for name, heard in self._heard.items():
            if heard.statement is not None and heard.statement.at > now + SKEW:
                self._heard[name] = Heard()

    def wants(self, vantage: str, head: bytes) -> bool:
        """Whether a key with this beginning is worth reading whole.  Remembers why not, if it is no statement."""
        if not head:
            return False
        found = heading(head)
        if found is None or found[:2] != (self.zone, vantage):
            self._refuse(vantage, "what stands in its place is no statement of its own")
            return False
        known = self._heard[vantage].statement
        if known is not None and found[2] < known.sequence:
            self._refuse(vantage, "an older statement was put back in its place")
        elif known is not None and found[2] == known.sequence:
            self._heard[vantage] = Heard(known)
        return known is None or found[2] > known.sequence

    def take(self, vantage: str, data: bytes, now: float) -> bool:
        """Takes the statement in `data` if it is to be believed at `now` (Unix time); whether it was."""
        known = self._heard[vantage].statement
        try:
            statement = decode(data, self.zone, vantage, partial(genuine, self._keys[vantage], CONTEXT))
            if known is not None and statement.sequence <= known.sequence:
                raise ValueError("an older statement was put back in its place")
            if statement.at > now + SKEW:
                raise ValueError(f"its clock is {format_duration(statement.at - now)} ahead: both need NTP")
            if statement.at + self.life <= whole(now):
                age = format_duration(now - statement.at)
                raise ValueError(f"it is {age} old: it is silent, or its clock is behind")
        except ValueError as error:
            self._refuse(vantage, str(error))
            return False
        known_ones = {name: one for name, one in statement.verdicts.items() if name in self._mirrors}
        self._heard[vantage] = Heard(replace(statement, verdicts=known_ones))  # so that nobody fills our memory
        return True

    def fresh(self, now: float) -> dict[str, Statement]:
        """What counts at `now`, by vantage in the order of their names."""
        found = {}
        for name in sorted(self._heard):
            statement = self._heard[name].statement
            if statement is not None and statement.at + self.life > whole(now):
                found[name] = statement
        return found

    def _refuse(self, vantage: str, why: str) -> None:
        self._heard[vantage] = Heard(self._heard[vantage].statement, why)
