"""The monitors of all zones, and how one set of them follows another without forgetting anything.

A reload must not look like a restart.  A zone whose probes would be the same keeps its monitor, untouched.  For any
other a new monitor is staged beside the old one, which watches on: mirrors that stay bring their memory along and are
not probed an extra time (outcomes closer together than an interval would break the promise of the TTLs), mirrors that
are new are probed once, and only when the plan for all that is published does the new monitor go on where the old one
ends.  Until then nothing has changed, so a reload that fails has nothing to undo.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from mirrornet.health.eyes.exchange import families_seen
from mirrornet.health.probes.monitor import LIMIT, Monitor
from mirrornet.model.address import Family
from mirrornet.model.verdict import Verdicts
from mirrornet.model.zone import Zone

Monitors = Mapping[str, Monitor]  # by zone name
AllVerdicts = dict[str, Verdicts]  # by zone name, then mirror name
Opinion = Callable[[AllVerdicts], AllVerdicts]


class Probing:
    """The running monitors."""

    def __init__(self, state: Path, on_change: Callable[[], None]) -> None:
        self._state, self._on_change = state, on_change
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ended = asyncio.Event()
        self._limit = asyncio.Semaphore(LIMIT)  # of all zones together
        self.monitors: dict[str, Monitor] = {}
        self.opinions: list[Opinion] = []  # who else has a say, in this order: other eyes, then the operator

    def own(self) -> AllVerdicts:
        """What these probes alone say."""
        return {name: monitor.verdicts() for name, monitor in self.monitors.items()}

    def sees(self, zone: str) -> frozenset[Family]:
        """The address families over which any mirror of `zone` was ever reached from here; both, if none is known."""
        monitor = self.monitors.get(zone)
        return families_seen(monitor.tracks().values() if monitor else ())

    def verdicts(self) -> AllVerdicts:
        """What is answered by: own probes, and then whoever else has a say."""
        return self._weighed(self.own())

    def _weighed(self, verdicts: AllVerdicts) -> AllVerdicts:
        for opinion in self.opinions:
            verdicts = opinion(verdicts)
        return verdicts

    def pardon(self, zone: str, mirror: str) -> bool:
        """Forgets, by hand, what keeps a mirror out although it looks good.  True where there was something."""
        monitor = self.monitors.get(zone)
        return monitor is not None and monitor.pardon(mirror)

    async def stage(self, zones: Sequence[Zone]) -> dict[str, Monitor]:
        """Monitors for `zones`, first rounds done; none is running that was not.  Raises InputError."""
        staged: dict[str, Monitor] = {}
        for zone in zones:
            before = self.monitors.get(zone.name)
            if before is not None and before.fits(zone):
                staged[zone.name] = before
            else:
                staged[zone.name] = Monitor(
                    zone, self._state, on_change=self._on_change, before=before, limit=self._limit
                )
        fresh = [monitor for name, monitor in staged.items() if monitor is not self.monitors.get(name)]
        await asyncio.gather(*(monitor.first_round() for monitor in fresh))
        return staged

    def foresee(self, staged: Monitors) -> AllVerdicts:
        """The verdicts as they would be if `staged` were swapped in now."""
        for name, monitor in staged.items():
            before = self.monitors.get(name)
            if before is not None and before is not monitor:
                monitor.take_over(before)
        return self._weighed({name: monitor.verdicts() for name, monitor in staged.items()})

    async def swap(self, staged: Monitors, zones: Sequence[Zone]) -> None:
        """Ends the monitors that are not in `staged`, and starts those that are new, where their predecessors were."""
        leaving = {name: task for name, task in self._tasks.items() if staged.get(name) is not self.monitors[name]}
        for name in leaving:
            del self._tasks[name]
        await _end(list(leaving.values()))
        self.foresee(staged)
        self.monitors = dict(staged)
        for zone in zones:
            monitor = self.monitors[zone.name]
            monitor.zone = zone  # one that stayed differs in nothing that it reads; the status page shows all of it
            if zone.name not in self._tasks:
                task = asyncio.create_task(monitor.run(), name=f"probing {zone.name}")
                task.add_done_callback(lambda _: self._ended.set())
                self._tasks[zone.name] = task

    async def watch(self) -> None:
        """Until a monitor breaks, whose exception is raised: it never ends by itself, so it has met a bug of ours."""
        while True:
            await self._ended.wait()
            self._ended.clear()
            for task in list(self._tasks.values()):
                if task.done() and not task.cancelled():
                    task.result()

    async def stop(self) -> None:
        """Ends all of them.  May be called twice."""
        tasks, self._tasks = list(self._tasks.values()), {}
        await _end(tasks)


async def _end(tasks: Collection[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
