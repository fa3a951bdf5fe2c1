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
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from mirrornet.health import memory, schedule
from mirrornet.health.catalogue import Catalogue, pick
from mirrornet.health.fetch import Visit, user_agent
from mirrornet.health.freshness import Sightings, judge, sight
from mirrornet.health.outcome import Kind, Outcome, Sample, worst
from mirrornet.health.probe import Order, addresses, probe
from mirrornet.health.state import Track, step, verdict
from mirrornet.health.target import under
from mirrornet.model.errors import InputError, LocalError, MirrornetError, PeerError, Unreachable
from mirrornet.model.units import format_duration
from mirrornet.model.verdict import State, Verdict
from mirrornet.model.zone import Mirror, Zone

_log = logging.getLogger(__name__)
LIMIT: Final = 16  # probes at once, of one zone
AUDIT: Final = 8  # blocks a corrupt mirror has to show whole, in each of `up` probes in a row, besides the bad ones
KEEP: Final = 10.0  # seconds between two writings of what is remembered, where no verdict changed
RELEARN: Final = 600.0  # seconds after which another page of the index is drawn
_UNPROBED: Final = Verdict(State.UP, math.inf, reason="not probed: the zone says `probe: none`")


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
    ) -> None:
        """`before`: the monitor of the same zone that this one is to replace; its memory is taken, not the file's."""
        self.zone = zone
        self.probes = 0  # since the start, one per address
        self._settings = zone.health
        self._clock, self._dice, self._on_change = clock, dice, on_change
        self._file = state / f"health.{zone.name}.json"
        self._limit = asyncio.Semaphore(LIMIT)
        self._agent = user_agent(zone.name, zone.contact)
        self._learning = asyncio.Lock()
        self._ready = False
        self._learnt = -math.inf
        self._unlearnable: dict[str, int] = {}  # mirror → the version whose set it did not hold, as already told
        self._due: dict[str, float] = {}  # mirror → when its next probe begins, in the event loop's time
        self._unkept = ""  # why the memory could not be written, as already told
        self._root = _read_root(zone) if zone.health.probe == "block" else b""
        self._catalogue: Catalogue | None = None
        if zone.health.probe == "block":
            self._catalogue = Catalogue(state, self._root, _images(zone))
        kept = memory.load(self._file, clock(), zone.health) if before is None else before.remembered()
        self._sightings: Sightings = kept.sightings
        self._tracks = {m.name: kept.tracks.get(_key(m), Track()) for m in zone.mirrors}
        self._going_on: frozenset[str] = frozenset()  # mirrors of `before` that need no first probe here
        if before is not None and _content(self) == _content(before):
            self._catalogue = before._catalogue
            same = {
                m.name for m in zone.mirrors if _aim(zone, m) in {_aim(before.zone, o) for o in before.zone.mirrors}
            }
            self._going_on = frozenset(n for n in same if before._tracks[n].state is not State.UNKNOWN)

    def verdicts(self) -> dict[str, Verdict]:
        """Every mirror of the zone file by name, as things stand."""
        if self._settings.probe == "none":
            return {mirror.name: _UNPROBED for mirror in self.zone.mirrors}
        return {name: verdict(track, self._settings) for name, track in self._tracks.items()}

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
        root = _read_root(zone) if zone.health.probe == "block" else b""
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
            if self._catalogue is not None:
                if not self._going_on:
                    await self._prepare(self._catalogue, found)
                if self._catalogue.samples:
                    found = await self._survey(mirrors)
            for mirror in mirrors:
                self._sight(found[mirror.name])
            for mirror in mirrors:
                self._apply(mirror, found[mirror.name], quiet=True)
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

    async def _survey(self, mirrors: Sequence[Mirror]) -> dict[str, Outcome]:
        found = await asyncio.gather(*(self._look(mirror) for mirror in mirrors))
        return {mirror.name: outcome for mirror, outcome in zip(mirrors, found, strict=True)}

    async def _prepare(self, catalogue: Catalogue, found: Mapping[str, Outcome]) -> None:
        """Learns what blocks exist from the first mirror that can tell, those with the newest timestamp first."""
        try:
            await catalogue.load(self._clock())
        except MirrornetError as error:
            _log.warning("%s: blocks cannot be probed, only timestamps: %s", self.zone.name, error)
            return
        usable = (Kind.OK, Kind.CORRUPT)
        candidates = [m for m in self.zone.mirrors if m.name in found and found[m.name].kind in usable]
        candidates.sort(key=lambda mirror: -(found[mirror.name].version or 0))
        for mirror in candidates:
            if await self._learn(mirror, found[mirror.name]):
                return

    async def _watch(self, mirror: Mirror) -> None:
        loop = asyncio.get_running_loop()
        due = schedule.after_first_round(mirror.name, loop.time(), self._settings.interval)
        due = min(due, self._due.get(mirror.name, due))  # the rhythm of the monitor before this one, if it is quicker
        while True:
            self._due[mirror.name] = due
            await asyncio.sleep(max(0.0, due - loop.time()))
            retry_after = None
            try:
                retry_after = await self._once(mirror)
            except Exception:  # a bug of ours, about one mirror, must not end the watch over all
                _log.exception("%s: the watch over %s broke and goes on", self.zone.name, mirror.name)
            due = schedule.after(loop.time(), self._settings.interval, retry_after)

    async def _once(self, mirror: Mirror) -> float | None:
        """One probe and all that follows from it; returns the seconds the mirror asked us to stay away."""
        outcome = await self._look(mirror)
        if await self._root_may_have_turned(mirror, outcome):
            outcome = await self._look(mirror)
        self._sight(outcome)
        self._apply(mirror, outcome)
        if self._catalogue is not None and self._worth_learning(outcome):
            await self._learn(mirror, outcome)
        return outcome.retry_after

    def _worth_learning(self, outcome: Outcome) -> bool:
        assert self._catalogue is not None
        if self._catalogue.wants(outcome.version):
            return True
        # Another page of the same index, now and then, so that in time every block may be asked for.
        return outcome.version == self._catalogue.version is not None and time.monotonic() - self._learnt > RELEARN

    async def _look(self, mirror: Mirror) -> Outcome:
        """One probe of every address of `mirror`, as one outcome, not yet compared with other mirrors."""
        timeout = self._settings.timeout
        try:
            found = await addresses(mirror, timeout)
        except PeerError as error:
            return Outcome(Kind.FAILED, self._clock(), str(error))
        order = self._order(mirror)

        async def one(index: int) -> Outcome:
            async with self._limit:
                self.probes += 1
                return await probe(order, found[index], timeout, self._agent, self._clock)

        outcomes = await asyncio.gather(*(one(index) for index in range(len(found))))
        return worst([(str(address), outcome) for address, outcome in zip(found, outcomes, strict=True)])

    def _order(self, mirror: Mirror) -> Order:
        selects = {s.url for s in self.zone.select if mirror in self.zone.candidates(s)} if mirror.addresses else set()
        order = Order(
            kind=self._settings.probe,
            url=mirror.url,
            select_urls=tuple(sorted(selects)),
        )
        if self._catalogue is None:
            return order
        track, known = self._tracks[mirror.name], self._catalogue.samples
        images = sorted(name for name in known if mirror.holds is None or name in mirror.holds)
        samples: set[Sample] = set()
        for _ in range(AUDIT if track.state is State.CORRUPT else 1):
            image = images[min(int(self._dice() * len(images)), len(images) - 1)] if images else ""
            sample = pick(known.get(image, ()), self._dice())
            if sample is not None:
                samples.add(sample)
        return replace(
            order,
            root=self._catalogue.root,
            samples=tuple(sorted(samples)),
            expect=self._catalogue.version,
            suspects=track.suspects,
            sole_image=mirror.holds is not None or len(images) <= 1,
        )

    def _sight(self, outcome: Outcome) -> None:
        if outcome.version is not None:
            self._sightings = sight(self._sightings, outcome.version, outcome.at)

    def _apply(self, mirror: Mirror, outcome: Outcome, quiet: bool = False) -> None:
        lag = self.zone.repository.lag if self.zone.repository else math.inf
        before = self._tracks[mirror.name]
        after = step(before, judge(outcome, self._sightings, lag), self._settings)
        self._tracks[mirror.name] = after
        if after.state is not before.state:
            self._tell(mirror, before, after)
        old, new = verdict(before, self._settings), verdict(after, self._settings)
        if quiet or _effect(old) == _effect(new):
            return
        if old.usable and not new.usable:
            self._tell_if_all_are_down()
        if old.state is not new.state:
            self._keep()
        self._on_change()

    def _tell(self, mirror: Mirror, before: Track, after: Track) -> None:
        level = logging.INFO if verdict(after, self._settings).usable else logging.WARNING
        reason = f": {after.reason}" if after.reason else ""
        _log.log(level, "%s: mirror %s was %s, is %s%s", self.zone.name, mirror.name, before.state, after.state, reason)

    def _tell_if_all_are_down(self) -> None:
        if not any(verdict.usable for verdict in self.verdicts().values()):
            _log.warning("%s: no mirror is usable, the nearest is answered all the same", self.zone.name)

    async def _root_may_have_turned(self, mirror: Mirror, outcome: Outcome) -> bool:
        """A signature we cannot check may be that of the next root's keys: its chain is asked for before blaming."""
        if self._catalogue is None or outcome.kind is not Kind.CORRUPT or outcome.suspects:
            return False
        known = self._catalogue.root
        return await self._learn(mirror, outcome) and self._catalogue.root != known

    async def _learn(self, mirror: Mirror, outcome: Outcome) -> bool:
        """One attempt at the mirror's metadata and a page of each index.  Failure is a line in the log, once."""
        assert self._catalogue is not None
        async with self._learning:
            if outcome.version is not None and not self._worth_learning(outcome):
                return False  # another mirror taught it while this one waited
            return await self._attempt(mirror, self._catalogue, outcome.version or 0)

    async def _attempt(self, mirror: Mirror, catalogue: Catalogue, version: int) -> bool:
        try:
            address = (await addresses(mirror, self._settings.timeout))[0]
            async with Visit(address, self._agent) as visit:
                get = _getter(visit, mirror.url, self._settings.timeout)
                taken = await catalogue.learn(get, self._dice(), self._clock())
        except (PeerError, LocalError, InputError) as error:
            if self._unlearnable.get(mirror.name) != version:
                self._unlearnable[mirror.name] = version
                _log.warning("%s: mirror %s does not hold a whole set: %s", self.zone.name, mirror.name, error)
            return False
        self._unlearnable.pop(mirror.name, None)
        self._learnt = time.monotonic()
        return taken

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
    urls = frozenset(select.url for select in zone.select if mirror in zone.candidates(select))
    return mirror.name, mirror.url, mirror.addresses, mirror.holds, urls


def _content(monitor: Monitor) -> tuple[object, ...]:
    """What the probes of a zone believe: where two monitors agree in it, one may use what the other has found."""
    return monitor._settings.probe, monitor._root, _images(monitor.zone) if monitor._root else ()


def _watched(zone: Zone) -> tuple[object, ...]:
    return zone.name, zone.contact, zone.select, zone.mirrors, zone.health, zone.repository


def _effect(verdict: Verdict) -> tuple[object, ...]:
    """What of a verdict the plan or a TTL depends on."""
    return verdict.state, verdict.promise, verdict.serves_select, verdict.holds


def _images(zone: Zone) -> tuple[str, ...]:
    """The images whose blocks are probed: what the zone says, in whichever section it says it."""
    if zone.repository is not None and zone.repository.images:
        return tuple(sorted(set(zone.repository.images)))
    named = {name for select in zone.select for name in select.images or ()}
    return tuple(sorted(named | {name for mirror in zone.mirrors for name in mirror.holds or ()}))


def _read_root(zone: Zone) -> bytes:
    if zone.repository is None:
        raise InputError(f"{zone.file}: `probe: block` needs `repository: {{root: …}}`, to know whom to believe")
    try:
        return zone.repository.root.read_bytes()
    except OSError as error:
        raise InputError(f"{zone.repository.root}: {error.strerror}: the zone's root.json is needed") from None


def _getter(visit: Visit, base: str, timeout: float) -> Callable[[str, int], Awaitable[bytes]]:
    async def get(path: str, limit: int) -> bytes:
        try:
            async with asyncio.timeout(timeout):
                return await visit.get(under(base, path), limit)
        except TimeoutError:
            raise Unreachable(f"{path}: no answer within {format_duration(timeout)}") from None

    return get
