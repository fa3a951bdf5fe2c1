"""The watch over all mirrors of one zone: tasks, the clock, dice, one file; every decision is somebody else's.

One task a mirror: probe, step, sleep.  `first_round` asks everybody once, at most LIMIT probes at a time, and the
first probe decides at once (state.py); an answer may be given after it.  `run` then watches until it is cancelled.
`verdicts()` is a snapshot, a new value at each call; `on_change` is called in the event loop when one of them would
change an answer or a TTL, not when only an RTT moved.

Nothing here stops the watch: a full disk, a mirror that speaks nonsense or a bug in a probe is a line in the log.
All mirrors down is a state like any other here; that the nearest is answered anyway is the plan's business.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from mirrornet.health.probes import memory
from mirrornet.health.probes.fetch import user_agent
from mirrornet.health.probes.learning import Learning, images_of, read_root
from mirrornet.health.probes.ordering import disguised, order, select_urls
from mirrornet.health.probes.probe import addresses, probe
from mirrornet.health.rule import pace, schedule
from mirrornet.health.rule.freshness import Sightings, judge, sight
from mirrornet.health.rule.outcome import Kind, Outcome, Seen, together
from mirrornet.health.rule.state import CERTIFICATE, Track, owes, pardoned, step, verdict, verdicts
from mirrornet.health.rule.table import Level
from mirrornet.model.address import Address
from mirrornet.model.errors import PeerError
from mirrornet.model.verdict import State, Verdict
from mirrornet.model.zone import Mirror, Zone

_log = logging.getLogger(__name__)
LIMIT: Final = 64  # probes at once; 400 addresses, each a second and a half away, every 10 s
KEEP: Final = 10.0  # seconds between two writings of what is remembered, where no verdict changed
_UNPROBED: Final = Verdict(State.UP, math.inf, reason="not probed: the zone says `probe: none`")
_Found = list[Seen]  # what one probe saw at each address of a mirror, not compared with others yet


class Monitor:
    """Raises InputError where the zone's root.json cannot be read."""

    def __init__(
        self,
        zone: Zone,
        state: Path,
        *,
        clock: Callable[[], float] = time.time,
        dice: Callable[[], float] = random.random,
        on_change: Callable[[], None] = lambda: None,
        before: Monitor | None = None,
        limit: asyncio.Semaphore | None = None,
    ) -> None:
        """`before`: the monitor of the same zone that this one is to replace; its memory is taken, not the file's.

        `limit`: of probes at once, shared with other monitors; None: one of its own, of LIMIT.
        """
        self.zone = zone
        self.probes = 0  # since the start, one per address
        self._settings = zone.health
        self._clock, self._dice, self._on_change = clock, dice, on_change
        self._file = state / f"health.{zone.name}.json"
        self._limit = limit or asyncio.Semaphore(LIMIT)
        self._agent = user_agent(zone.name, zone.contact)
        self._ready = False
        self._due: dict[str, float] = {}  # mirror → when its next probe begins, in the event loop's time
        self._unkept = ""  # why the memory could not be written, as already told
        # mirror → the end of its certificate, as already told
        self._ending: dict[str, float] = dict(before._ending) if before else {}
        self._root = read_root(zone) if zone.health.probe == "block" else b""
        kept = memory.load(self._file, clock(), zone.health) if before is None else before.remembered()
        self._sightings: Sightings = kept.sightings
        self._tracks = {m.name: kept.tracks.get(_key(m), Track()) for m in zone.mirrors}
        self._going_on: frozenset[str] = frozenset()  # mirrors of `before` that need no first probe here
        known: Learning | None = None
        if before is not None and _content(self) == _content(before):
            known = before._learning
            same = {
                m.name for m in zone.mirrors if _aim(zone, m) in {_aim(before.zone, o) for o in before.zone.mirrors}
            }
            self._going_on = frozenset(n for n in same if before._tracks[n].state is not State.UNKNOWN)
        self._learning: Learning | None = None
        if zone.health.probe == "block":
            self._learning = Learning(zone, state, self._root, self._agent, known)

    def verdicts(self) -> dict[str, Verdict]:
        """Every mirror of the zone file by name, as things stand."""
        if self._settings.probe == "none":
            return {mirror.name: _UNPROBED for mirror in self.zone.mirrors}
        return verdicts(self._tracks, self._settings)

    def pardon(self, mirror: str) -> bool:
        """Forgets that `mirror` lied, and what it owes for flapping: its next probe decides.  False: nothing to do."""
        track = self._tracks.get(mirror)
        if track is None or not owes(track):
            return False
        self._tracks[mirror] = pardoned(track)
        self._keep()
        self._on_change()
        return True

    def expiries(self) -> Mapping[str, float]:
        """Unix time at which each role of the repository's metadata ends, where block probes have seen it."""
        return {} if self._learning is None else self._learning.expiries

    def tracks(self) -> Mapping[str, Track]:
        """What is remembered of every mirror, for `status`: flips, past changes and their reasons."""
        return dict(self._tracks)

    def remembered(self) -> memory.Memory:
        """All that is remembered, as it stands."""
        tracks = {_key(mirror): self._tracks[mirror.name] for mirror in self.zone.mirrors}
        return memory.Memory(self._clock(), tracks, self._sightings)

    def fits(self, zone: Zone) -> bool:
        """Whether a new monitor for `zone` would do what this one does, so that this one may go on.

        Raises InputError where the zone's root.json cannot be read.
        """
        root = read_root(zone) if zone.health.probe == "block" else b""
        return root == self._root and _watched(zone) == _watched(self.zone)

    def take_over(self, before: Monitor) -> None:
        """Goes on where `before` stands now, with every mirror that is still the same; may be called again."""
        earliest = {**self._sightings}
        for version, at in before._sightings.items() if self._going_on else ():
            earliest[version] = min(at, earliest.get(version, at))
        self._sightings = earliest
        for name in self._going_on:
            self._tracks[name] = before._tracks[name]
            if name in before._due:
                self._due[name] = before._due[name]

    async def first_round(self) -> None:
        """Probes every mirror once, but for those that another monitor has watched until now.

        Takes at most a few timeouts; `on_change` is not called.
        """
        mirrors = [mirror for mirror in self.zone.mirrors if mirror.name not in self._going_on]
        if self._settings.probe != "none" and mirrors:
            found = await self._survey(mirrors)
            if self._learning is not None:
                if not self._going_on:
                    seen = [(mirror, self._judged(mirror, found[mirror.name])) for mirror in mirrors]
                    await self._learning.begin(seen, self._dice, self._clock())
                if self._learning.known.samples:
                    found = await self._survey(mirrors)
            for mirror in mirrors:
                self._sight(found[mirror.name])
            for mirror in mirrors:
                self._apply(mirror, self._judged(mirror, found[mirror.name]), quiet=True)
            self._tell_if_all_are_down()
            self._keep()
        self._ready = True

    async def run(self) -> None:
        """Watches until cancelled.  Does the first round where nobody did."""
        if not self._ready:
            await self.first_round()
            self._on_change()
        if self._settings.probe == "none":
            await asyncio.Event().wait()
        try:
            async with asyncio.TaskGroup() as group:
                for mirror in self.zone.mirrors:
                    group.create_task(self._watch(mirror), name=f"watch {mirror.name}")
                group.create_task(self._keep_on(), name=f"keep {self.zone.name}")
        finally:
            self._keep()

    async def _survey(self, mirrors: Sequence[Mirror]) -> dict[str, _Found]:
        found = await asyncio.gather(*(self._look(mirror, client=False) for mirror in mirrors))
        return {mirror.name: each for mirror, each in zip(mirrors, found, strict=True)}

    async def _watch(self, mirror: Mirror) -> None:
        loop, interval = asyncio.get_running_loop(), self._settings.interval
        due = schedule.after_first_round(mirror.name, loop.time(), interval)
        due = min(due, self._due.get(mirror.name, due))  # the rhythm of the monitor before this one, if it is quicker
        while True:
            client = disguised(self._tracks[mirror.name], self._dice())
            self._due[mirror.name] = schedule.unannounced(due, interval, self._dice()) if client else due
            await asyncio.sleep(max(0.0, self._due[mirror.name] - loop.time()))
            retry_after = None
            try:
                retry_after = await self._once(mirror, client)
            except Exception:  # a bug of ours, about one mirror, must not end the watch over all
                _log.exception("%s: the watch over %s broke and goes on", self.zone.name, mirror.name)
            due = schedule.after(loop.time(), interval, retry_after)

    async def _once(self, mirror: Mirror, client: bool) -> float | None:
        """One probe and all that follows from it; returns the seconds the mirror asked us to stay away."""
        learning = self._learning
        believed = learning.known.root if learning else b""
        found = await self._look(mirror, client)
        outcome = self._judged(mirror, found)
        if learning and await learning.root_has_turned(mirror, outcome, believed, self._dice(), self._clock()):
            found = await self._look(mirror, client)
        self._sight(found)
        outcome = self._judged(mirror, found)
        self._apply(mirror, outcome)
        if learning:
            await learning.follow(mirror, outcome, self._dice(), self._clock())
        return outcome.retry_after

    async def _look(self, mirror: Mirror, client: bool) -> _Found:
        """One probe of every address of `mirror`; none where it has none."""
        timeout = self._settings.timeout
        try:
            where = await addresses(mirror, timeout)
        except PeerError as error:
            return [(None, Outcome(Kind.FAILED, self._clock(), str(error)))]
        known = self._learning.known if self._learning else None
        asked = order(self.zone, mirror, self._tracks[mirror.name], known, client, self._dice)

        async def one(address: Address) -> Outcome:
            async with self._limit:
                self.probes += 1
                return await probe(asked, address, timeout, self._agent, self._clock)

        outcomes = await asyncio.gather(*(one(address) for address in where))
        return [(address, outcome) for address, outcome in zip(where, outcomes, strict=True)]

    def _sight(self, found: _Found) -> None:
        for _, outcome in found:
            if outcome.version is not None:
                self._sightings = sight(self._sightings, outcome.version, outcome.at)

    def _judged(self, mirror: Mirror, found: _Found) -> Outcome:
        """One outcome: each address compared with all mirrors, and the mirror's pace with its past and its peers."""
        lag = self.zone.repository.lag if self.zone.repository else math.inf
        outcome = together([(address, judge(one, self._sightings, lag)) for address, one in found])
        others = (track for name, track in self._tracks.items() if name != mirror.name)
        grown = pace.weather(track.pace for track in others if track.meter.level is Level.IN)
        return pace.judge(outcome, self._tracks[mirror.name].pace, grown, self._settings.timeout)

    def _apply(self, mirror: Mirror, outcome: Outcome, quiet: bool = False) -> None:
        before = self._tracks[mirror.name]
        after = self._tracks[mirror.name] = step(before, outcome, self._settings, self._short())
        if after.state is not before.state:
            self._tell(mirror, before, after)
        elif after.meter.level is Level.GATE is not before.meter.level:
            _log.info("%s: mirror %s is still %s: %s", self.zone.name, mirror.name, after.state, after.reason)
        self._tell_of_certificate(mirror, after)
        old, new = verdict(before, self._settings), verdict(after, self._settings)
        if quiet or _effect(old) == _effect(new):
            return
        if old.usable and not new.usable:
            self._tell_if_all_are_down()
        if old.state is not new.state:
            self._keep()
        self._on_change()

    def _short(self) -> bool:
        """Whether less than half of the zone's weight is in use."""
        used = sum(m.weight for m in self.zone.mirrors if self._tracks[m.name].meter.level is Level.IN)
        return 2 * used < sum(mirror.weight for mirror in self.zone.mirrors)

    def _tell(self, mirror: Mirror, before: Track, after: Track) -> None:
        level = logging.INFO if verdict(after, self._settings).usable else logging.WARNING
        reason = f": {after.reason}" if after.reason else ""
        _log.log(level, "%s: mirror %s was %s, is %s%s", self.zone.name, mirror.name, before.state, after.state, reason)

    def _tell_if_all_are_down(self) -> None:
        if not any(verdict.usable for verdict in self.verdicts().values()):
            _log.warning("%s: no mirror is usable, the nearest is answered all the same", self.zone.name)

    def _tell_of_certificate(self, mirror: Mirror, track: Track) -> None:
        ends = track.certificate_until
        if ends is not None and ends - track.at < CERTIFICATE and self._ending.get(mirror.name) != ends:
            self._ending[mirror.name] = ends
            days = max(0, int((ends - track.at) // 86400))
            _log.warning("%s: the TLS certificate of mirror %s ends in %d days", self.zone.name, mirror.name, days)

    def _keep(self) -> None:
        try:
            memory.save(self._file, self.remembered())
        except OSError as error:
            if self._unkept != str(error.strerror):
                self._unkept = str(error.strerror)
                _log.warning("%s: verdicts will not survive a restart: %s", self._file, error.strerror)
            return
        if self._unkept:
            self._unkept = ""
            _log.info("%s: written again", self._file)

    async def _keep_on(self) -> None:
        while True:
            await asyncio.sleep(KEEP)
            self._keep()


def _key(mirror: Mirror) -> str:
    """A mirror that moved to another URL is another mirror."""
    return f"{mirror.name} {mirror.url}"


def _aim(zone: Zone, mirror: Mirror) -> tuple[object, ...]:
    """What a probe of `mirror` depends on, besides what the whole zone's probes do."""
    return mirror.name, mirror.url, mirror.addresses, mirror.holds, select_urls(zone, mirror)


def _content(monitor: Monitor) -> tuple[object, ...]:
    """What the probes of a zone believe: where two monitors agree in it, one may use what the other has found."""
    return monitor._settings.probe, monitor._root, images_of(monitor.zone) if monitor._root else ()


def _watched(zone: Zone) -> tuple[object, ...]:
    return zone.name, zone.contact, zone.select, zone.mirrors, zone.health, zone.repository


def _effect(verdict: Verdict) -> tuple[object, ...]:
    """What of a verdict the plan or a TTL depends on."""
    return verdict.state, verdict.promise, verdict.serves_select, verdict.holds, verdict.families, verdict.share
