"""Whom each mirror serves, reckoned when somebody looks.

On a whole table of the world that takes half a second, so it is done beside the answers: once for a plan, in a thread,
after somebody has looked at the status page or a figure of it, and not again before SPARED times what it cost of a
processor has passed: a drain makes a plan every few seconds, and a scraper looks at each.  Until then the regions of
the plan before stand there, with its number.  The first plan is reckoned unasked, so that who looks first sees them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Final

from mirrornet.app.server.answers.answering import Answering
from mirrornet.app.server.showing.explaining import Explaining
from mirrornet.app.server.worlds.world import World
from mirrornet.dns.planning.plan import Planner
from mirrornet.dns.planning.planfile import Plan
from mirrornet.dns.ranking.nearest import FAMILIES
from mirrornet.dns.simulate.regions import regions
from mirrornet.dns.simulate.sides import Side
from mirrornet.dns.simulate.space import space
from mirrornet.model.regions import Regions

log = logging.getLogger(__name__)

PAUSE: Final = 2.0  # seconds, at least
SPARED: Final = 9  # a tenth of a processor at most

Surveyed = Mapping[str, Mapping[str, Regions]]  # by zone name, then select name


class Surveying:
    """`regions` is what is known, of the plan of `generation`; `look` says that somebody wants to know."""

    def __init__(self, answering: Answering, explaining: Explaining) -> None:
        self._answering, self._explaining = answering, explaining
        self._plan: Plan | None = None
        self._wanted = asyncio.Event()
        self.regions: Surveyed = {}
        self.generation = 0

    def look(self) -> Surveyed:
        """What is known; where that is of an older plan, the new one is reckoned next."""
        if self._answering.laid is not None and self._answering.laid[2] is not self._plan:
            self._wanted.set()
        return self.regions

    async def run(self) -> None:
        """Until cancelled."""
        self._wanted.set()
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            cost = await self.survey()
            await asyncio.sleep(max(PAUSE, SPARED * cost))

    async def survey(self) -> float:
        """Reckons the regions of the plan in force; the seconds of a processor that it took."""
        laid = self._answering.laid
        if laid is None or laid[2] is self._plan:
            return 0.0
        self._plan = laid[2]
        try:
            self.regions, cost = await asyncio.to_thread(self._survey, *laid)
        except Exception:  # a bug of ours in a figure for people must not end the answers
            log.exception("whom each mirror serves cannot be reckoned")
            return 0.0
        self.generation = laid[2].generation
        return cost

    def _survey(self, world: World, planner: Planner, plan: Plan) -> tuple[Surveyed, float]:
        begin = time.thread_time()
        self._explaining.reasons(world)  # the places of mirrors and askers, too
        found = {}
        for zone in world.zones:
            spaces = {family: space(family, (world.table,), (zone,)) for family in FAMILIES}
            survey = planner.survey(zone.name)
            found[zone.name] = {
                select.name: regions(Side(zone, select, plan, survey, world.table), spaces) for select in zone.select
            }
        return found, time.thread_time() - begin
