"""Many eyes in a running server: what others say reaches the plan, what is seen here reaches the others.

Two opinions of probing.py are here.  `opinion` is the first: own verdicts and the votes of others become one verdict a
mirror, and askers who cannot reach it are barred (health/eyes/).  `bounded` is the last, after what operators say by
hand: what all others together move, by eyes or by hand, is bounded.

The board may be slow, gone, started anew or full of garbage: that is said once in the log, on the status page and in
the metrics, while this server goes on, with the votes it has until they expire and then with its own eyes.  Whether
votes have expired is looked at once a second, whether or not the board answers.

Who is outvoted, silent or not believed is named (naming.py).  joining.py makes one of these for a server.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from mirrornet.app.server.trouble import Trouble
from mirrornet.app.server.voices.naming import Naming, dissent, vantage_status
from mirrornet.app.server.voices.probing import AllVerdicts
from mirrornet.app.server.worlds.world import World
from mirrornet.health.eyes.bounds import bound
from mirrornet.health.eyes.exchange import EVERY, PAUSE, Listener, Speaker, most_octets
from mirrornet.health.eyes.ledger import SKEW
from mirrornet.health.eyes.observation import BOTH
from mirrornet.health.eyes.places import barred, outvoted_weight
from mirrornet.health.eyes.quorum import Heeded, Judged, judge
from mirrornet.image.small import KEY_LIMIT, read_small
from mirrornet.image.trust.seal import Seal, public_text
from mirrornet.model.address import Family
from mirrornet.model.errors import InputError, PeerError
from mirrornet.model.override import Override
from mirrornet.model.verdict import Verdict, Verdicts
from mirrornet.model.zone import ServerSettings, ShareSettings, Zone
from mirrornet.web.eyes import SharingStatus
from mirrornet.web.rate import Rates

log = logging.getLogger(__name__)
TICK: Final = 1.0  # seconds between two looks at what has expired
FIRST: Final = 3.0  # seconds that the first plan waits for what others say

PLANS: Final = 10  # plans that others may cause at once: who changes its mind twice a second is not to keep us busy
PLANS_EVERY: Final = 5.0  # seconds a plan, after these

ByHand = Callable[[AllVerdicts], AllVerdicts]


class Sharing:
    """The eyes of others, for one server.

    `own`: verdicts by own probes alone; `changed` asks for a new plan.  `by_hand`: what is said by hand on this server,
    applied to verdicts; `ours`: what of it the others are told; `turned`: to be called when theirs has changed.
    `sees`: the families over which this server sees anything of a zone.
    """

    def __init__(
        self,
        settings: ShareSettings,
        world: World,
        own: Callable[[], AllVerdicts],
        changed: Callable[[], None],
        clock: Callable[[], float] = time.time,
        passphrase: bytes | None = None,
    ) -> None:
        """Raises InputError where a key or a password cannot be read, or the key is nobody's."""
        from mirrornet.health.eyes.link import Link  # redis-py's 5 MB are for those who share

        self.settings = settings
        self.by_hand: ByHand = lambda verdicts: verdicts
        self.ours: Callable[[], Sequence[Override]] = tuple
        self.turned: Callable[[], None] = lambda: None
        self.sees: Callable[[str], frozenset[Family]] = lambda zone: BOTH
        self._own, self._changed, self._clock = own, changed, clock
        self._zones: dict[str, Zone] = {}
        self._judged: dict[str, dict[str, Judged]] = {}
        self._stopped: dict[str, tuple[str, ...]] = {}
        self._moved: dict[str, float] = {}
        self._base: AllVerdicts = {}
        self._effect: object = None
        self._theirs: tuple[Override, ...] = ()
        self._link = Link(settings.url, most_octets(world.zones), password_of(settings.password))
        self._listener = Listener(self._link, (), ())
        self._naming = Naming(self._listener, clock)
        self._plans = Rates(1 / PLANS_EVERY, PLANS, 1)
        self._waiting = False  # a plan that others cause is put off
        self._speaker: Speaker | None = None
        self._seal = Seal(settings.key, passphrase) if settings.key is not None else None
        self._lost = Trouble(
            log, "what others see is not heard, and goes out of date", f"{settings.url}: the others are heard again"
        )
        self.adopt(world)

    @property
    def name(self) -> str:
        """This server's name among the vantages; "" where it only listens."""
        return self._speaker.name if self._speaker else ""

    def prove(self, world: World) -> str:
        """This server's name in `world`.  Raises InputError where its key is nobody's there."""
        vantages = world.server.vantages if world.server else ()
        if self._seal is None:
            return ""
        for vantage in vantages:
            if vantage.key == self._seal.public:
                return vantage.name
        text = public_text(self._seal.public)
        raise InputError(f"{self.settings.key}: is nobody's key: list it under `server: vantages` ({text})")

    def adopt(self, world: World) -> None:
        """Another world.  Raises InputError as prove() does."""
        server, name = world.server or ServerSettings(), self.prove(world)
        if server.share is not None:
            self.settings = replace(self.settings, quorum=server.share.quorum, limit=server.share.limit)
        zones = [zone for zone in world.zones if zone.health.probe != "none"]
        self._zones = {zone.name: zone for zone in zones}
        self._link.limit = most_octets(zones)
        self._listener.adopt(zones, server.vantages)
        if self._seal is not None and name != self.name:
            self._speaker = Speaker(self._link, name, self._seal, self._clock)

    # -- opinions

    def opinion(self, verdicts: AllVerdicts) -> AllVerdicts:
        """What all eyes say of each mirror."""
        self._base, found, now = verdicts, dict(verdicts), self._clock()
        for name, zone in self._zones.items():
            if name in verdicts:
                found[name] = self._weighed(zone, verdicts[name], now)
        return found

    def _weighed(self, zone: Zone, own: Verdicts, now: float) -> Verdicts:
        ledger = self._listener.ledgers[zone.name]
        statements = ledger.fresh(now)
        there = {one.name: frozenset(address.version for address in one.addresses) for one in zone.mirrors}
        sees, quorum = self.sees(zone.name), self.settings.quorum
        judged = judge(Heeded(own, statements, now, ledger.life, quorum, self.name, sees, there))
        self._judged[zone.name] = judged
        kept_away = barred(judged, self._listener.vantages, _weights(zone), self.settings.limit, self.name)
        return {
            mirror: replace(one.verdict, barred={**one.verdict.barred, **kept_away[mirror]})
            if mirror in kept_away
            else one.verdict
            for mirror, one in judged.items()
        }

    def bounded(self, verdicts: AllVerdicts) -> AllVerdicts:
        """`verdicts` as far as others may move them away from what is seen and said here."""
        base, found = self.by_hand(self._base), dict(verdicts)
        for name, zone in self._zones.items():
            if name in base and name in verdicts:
                margins = {mirror: one.margin for mirror, one in self._judged.get(name, {}).items()}
                bounds = bound(base[name], verdicts[name], _weights(zone), self.settings.limit, margins)
                found[name], self._moved[name] = bounds.verdicts, bounds.moved
                self._naming.stopped(name, bounds.stopped, self.settings.limit)
                self._stopped[name] = bounds.stopped
        return found

    def theirs(self) -> tuple[Override, ...]:
        """What is said by hand on those other servers whose word counts here, as of now."""
        return self._theirs

    def stopped(self) -> dict[str, tuple[str, ...]]:
        """By zone, the mirrors that others could not move in the last plan."""
        return {zone: names for zone, names in self._stopped.items() if names}

    # -- the board

    async def run(self) -> None:
        """Says and hears, until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._lost.outlast(self.turn, EVERY, PAUSE, "sharing broke, and goes on"))
                group.create_task(self._look_on())
        finally:
            await self.close()

    async def close(self) -> None:
        """Lets go of the board."""
        await self._link.close()

    async def first(self) -> None:
        """Hears the others once, so that the first plan knows them; whatever goes wrong is for run() to tell."""
        try:
            async with asyncio.timeout(FIRST):
                await self._listener.listen(self._clock)
        except (PeerError, TimeoutError) as error:
            log.debug("not heard at the start: %s", error)
        self.look()

    async def turn(self) -> None:
        """Says what is due, and hears what is new.  Raises PeerError."""
        own = self._own()
        if self._speaker is not None:
            for name, zone in self._zones.items():
                if name in own:
                    ours = [override for override in self.ours() if override.zone == name]
                    await self._speaker.speak(zone, own[name], ours, self.sees(name))
        if await self._listener.listen(self._clock):
            self.look()
        self._naming.refused()
        if self._speaker is not None:
            heard = {zone: ledger.heard(self.name).statement for zone, ledger in self._listener.ledgers.items()}
            self._naming.doubled({(zone, self.name) for zone in heard if self._speaker.doubled(zone, heard[zone])})

    async def _look_on(self) -> None:
        """Looks whenever somebody has fallen silent, and where a plan had to wait."""
        before: list[list[str]] = []
        while True:
            fresh = [sorted(ledger.fresh(self._clock())) for ledger in self._listener.ledgers.values()]
            if fresh != before or self._waiting:
                before = fresh
                self.look()
            await asyncio.sleep(TICK)

    def look(self) -> None:
        """Asks for a new plan where votes would change it, and it is not too soon for one."""
        weighed = self.opinion(self._own())
        effect = {
            zone: {name: _effect(verdict) for name, verdict in mirrors.items()} for zone, mirrors in weighed.items()
        }
        theirs = self._said_by_hand()
        if theirs != self._theirs:
            self._theirs = theirs
            self.turned()
            self._changed()
        if effect != self._effect or self._waiting:  # a plan may have been made of what has passed meanwhile
            self._waiting = self._plans.wait("", self._clock()) > 0
            if not self._waiting:
                self._effect = effect
                self._changed()
        parts = {
            zone: outvoted_weight(judged, _weights(self._zones[zone]))
            for zone, judged in self._judged.items()
            if zone in self._zones
        }
        self._naming.silent(self.name)
        self._naming.astray(parts, self.settings.limit)

    def _said_by_hand(self) -> tuple[Override, ...]:
        """The last that each other server has said; a drain does not end because the server is gone that took it."""
        found: list[Override] = []
        for ledger in self._listener.ledgers.values():
            for name in sorted(ledger):
                statement = ledger.heard(name).statement
                if statement and self._listener.vantages[name].overrides and name != self.name:
                    # One from the future would be the newest word for ever.
                    told = [one for one in statement.overrides if one.at <= statement.at + SKEW]
                    found += [replace(override, origin=name) for override in told]
        return tuple(found)

    def status(self) -> SharingStatus:
        """What the window shows."""
        names = sorted(self._listener.vantages)
        return SharingStatus(
            url=self.settings.url,
            name=self.name,
            trouble=self._lost.reason,
            quorum=self.settings.quorum,
            limit=self.settings.limit,
            moved=dict(self._moved),
            stopped=self.stopped(),
            outvoted=dissent(self._judged.values(), ""),
            vantages=tuple(vantage_status(self._listener, name, self._judged, self._clock()) for name in names),
        )


def _weights(zone: Zone) -> Mapping[str, int]:
    return {mirror.name: mirror.weight for mirror in zone.mirrors}


def _effect(verdict: Verdict) -> tuple[object, ...]:
    """What of a verdict a plan depends on."""
    return (
        verdict.state,
        verdict.serves_select,
        verdict.holds,
        verdict.families,
        verdict.share,
        tuple(sorted(verdict.barred)),
    )


def password_of(path: Path | None) -> str | None:
    """The password in the file `path`.  Raises InputError."""
    if path is None:
        return None
    try:
        return read_small(path, KEY_LIMIT).decode("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InputError(f"{path}: {reason}: a file with the password of Redis") from None
