"""The two halves of sharing: a Speaker puts up what is seen here, a Listener reads what the others have put up.

A statement is said when something in it changes that an answer could depend on, a promise included, and once an
interval in any case, so that the others know it still counts.  Both halves are called again and again by whoever runs
them and do one thing at a time; what goes wrong with the board is one PeerError, and nothing is lost by it: the next
call says, or reads, what is true then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mirrornet.health.eyes.ledger import Ledger, beat, life
from mirrornet.health.eyes.observation import BOTH, CONTEXT, HEAD_LIMIT, Statement, encode, key_of, size_limit
from mirrornet.health.rule.state import Track
from mirrornet.health.rule.table import Level
from mirrornet.image.trust.seal import Seal
from mirrornet.model.address import Family
from mirrornet.model.override import Override
from mirrornet.model.verdict import Verdict, Verdicts
from mirrornet.model.zone import Vantage, Zone

if TYPE_CHECKING:  # redis-py is for those who share
    from mirrornet.health.eyes.link import Link

_log = logging.getLogger(__name__)
EVERY: Final = 0.5  # seconds between two calls of either half
PAUSE: Final = 5.0  # seconds at most between two attempts while the board does not answer


@dataclass(frozen=True, slots=True)
class _Said:
    at: float
    sequence: int
    effect: tuple[object, ...]


class Speaker:
    """Says what `name` sees, signed by its `seal`.  `clock`: Unix time."""

    def __init__(self, link: Link, name: str, seal: Seal, clock: Callable[[], float]) -> None:
        self.name = name
        self._link, self._seal, self._clock = link, seal, clock
        self._said: dict[str, _Said] = {}

    def doubled(self, zone: str, heard: Statement | None) -> bool:
        """Whether what was `heard` under this name is newer than all that was said here: another has the same key."""
        said = self._said.get(zone)
        return heard is not None and said is not None and heard.sequence > said.sequence

    async def speak(
        self,
        zone: Zone,
        verdicts: Verdicts,
        overrides: Sequence[Override] = (),
        sees: frozenset[Family] = BOTH,
    ) -> bool:
        """Says it, if there is something to say: news, or the time to repeat oneself; whether there was.

        Raises PeerError.
        """
        now, said, effect = self._clock(), self._said.get(zone.name), _effect(verdicts, overrides, sees)
        if said is not None and said.effect == effect and 0 <= now - said.at < beat(zone.health):
            return False
        sequence = max(int(now * 1000), said.sequence + 1 if said else 1)
        room = size_limit(len(zone.mirrors))
        told, data = list(overrides), b""
        while True:
            statement = Statement(zone.name, self.name, sequence, now, verdicts, tuple(told), sees)
            data = encode(statement, lambda message: self._seal.sign(CONTEXT, message))
            if len(data) <= room or not told:
                break
            del told[len(told) // 2 :]
        if len(data) > room:
            _log.error("%s: %d octets are too many to share: %d at most", zone.name, len(data), room)
        self._said[zone.name] = _Said(now, sequence, effect)
        try:
            await self._link.write(key_of(zone.name, self.name), data, life(zone.health))
        except BaseException:
            self._said[zone.name] = _Said(now, sequence, ())  # it is news still
            raise
        return True


class Listener:
    """Hears what the vantages of a process's zones say."""

    def __init__(self, link: Link, zones: Sequence[Zone], vantages: Sequence[Vantage]) -> None:
        self._link = link
        self._sizes: dict[str, int] = {}
        self.ledgers: dict[str, Ledger] = {}
        self.vantages: Mapping[str, Vantage] = {}
        self.adopt(zones, vantages)

    def adopt(self, zones: Sequence[Zone], vantages: Sequence[Vantage]) -> None:
        """Other zones, other vantages; of those that stay, what they said stays."""
        keys = {vantage.name: vantage.key for vantage in vantages}
        self.vantages = {vantage.name: vantage for vantage in vantages}
        self.ledgers = {
            zone.name: Ledger(
                zone.name,
                keys,
                life(zone.health),
                [mirror.name for mirror in zone.mirrors],
                self.ledgers.get(zone.name),
            )
            for zone in zones
        }
        self._sizes = {zone.name: size_limit(len(zone.mirrors)) for zone in zones}

    async def listen(self, clock: Callable[[], float]) -> bool:
        """Reads what is new; whether anything was.  Raises PeerError."""
        news = False
        for zone, ledger in list(self.ledgers.items()):
            ledger.doubt(clock())
            names = list(ledger)
            keys = [key_of(zone, name) for name in names]
            heads = await self._link.read(keys, HEAD_LIMIT) if keys else []
            for name, key, head in zip(names, keys, heads, strict=True):
                if ledger.wants(name, head):
                    (data,) = await self._link.read([key], self._sizes[zone])
                    news = ledger.take(name, data, clock()) or news
        return news


def most_octets(zones: Sequence[Zone]) -> int:
    """What a link must be able to carry for these zones."""
    return max((size_limit(len(zone.mirrors)) for zone in zones), default=size_limit(0))


def families_seen(tracks: Iterable[Track]) -> frozenset[Family]:
    """The families over which any mirror was ever reached; both, where that cannot be told."""
    seen = {family for track in tracks for family, reach in track.families.items() if reach.meter.level is Level.IN}
    return frozenset(seen) or BOTH


def _effect(verdicts: Verdicts, overrides: Sequence[Override], sees: frozenset[Family]) -> tuple[object, ...]:
    seen = tuple((name, _of(verdicts[name])) for name in sorted(verdicts))
    return seen, tuple(overrides), sees


def _of(verdict: Verdict) -> tuple[object, ...]:
    """What of a verdict others go by."""
    return (
        verdict.state,
        verdict.promise,
        verdict.serves_select,
        verdict.holds,
        verdict.families,
        verdict.share,
    )
