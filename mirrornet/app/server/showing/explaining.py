"""From a world and an address to explanations: what `mirrornet explain` prints and the status page shows.

What it takes to explain a zone is made once and kept (the mirrors' places, the terms of the estimates, the policy), for
on a whole table of the world that takes longer than the explanation.  The scopes come from the very plan in force.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping

from mirrornet.app.server.answers.answering import Answering
from mirrornet.app.server.worlds.world import World
from mirrornet.dns.explain import Explanation, Scopes, explain
from mirrornet.dns.explain_text import text
from mirrornet.dns.message.rrset import name_to_text
from mirrornet.dns.planning.crowding import NO_CROWD, crowds_in
from mirrornet.dns.planning.hops import graph_of, terms_of
from mirrornet.dns.planning.planfile import Plan
from mirrornet.dns.ranking.policy import policy_of
from mirrornet.dns.ranking.whereabouts import NOWHERE, placed_mirrors, whereabouts
from mirrornet.model.address import Address, key
from mirrornet.model.place import UNKNOWN, Place
from mirrornet.model.sets import SECTION, Sets
from mirrornet.model.table import Match
from mirrornet.model.verdict import Verdicts
from mirrornet.model.zone import Zone

SEVERAL = "\n\n"  # between the explanations of several selects


class Reasons:
    """One zone of a world, ready to be explained."""

    def __init__(self, world: World, zone: Zone) -> None:
        table = world.table
        self.zone, self._table = zone, table
        self.mirrors = placed_mirrors(zone, self._find)
        self._terms = terms_of(zone, self.mirrors, graph_of(table), world.measured.get(zone.name))
        self._policy = policy_of(zone, None if table is None else Sets.read(table.section(SECTION)))

    def _find(self, address: Address) -> Match:
        return NOWHERE if self._table is None else self._table.match(address)

    def place(self, address: Address) -> Place:
        """Where `address` is, as this zone has it."""
        return whereabouts(self.zone, self._find, address).place

    def explain(self, address: Address, plan: Plan, verdicts: Verdicts, assumed: bool = False) -> list[Explanation]:
        """One explanation for each select.  `assumed`: `verdicts` are not known, but taken as up."""
        match, scopes = whereabouts(self.zone, self._find, address), scopes_of(plan, address)
        crowds = crowds_in(plan.notes).get(self.zone.name, {})
        said = (match, self.mirrors, verdicts, scopes, assumed, self._terms, self._policy)
        return [
            explain(self.zone, select, address, *said, crowds.get(select.name, NO_CROWD)) for select in self.zone.select
        ]


def scopes_of(plan: Plan, address: Address) -> Scopes:
    """The scope of every tailored answer that `address` would get."""
    family, value = key(address)
    return {
        (name_to_text(name), rtype): plan.partitions[entry.partition].family(family).find(value)[1]
        for name, node in plan.nodes.items()
        for rtype, entry in node.entries.items()
        if entry.partition >= 0
    }


class Explaining:
    """What the status page asks of the server in force."""

    def __init__(self, answering: Answering, verdicts: Callable[[], Mapping[str, Verdicts]]) -> None:
        self._answering, self._verdicts = answering, verdicts
        self._reasons: dict[str, Reasons] = {}
        self._world: World | None = None
        self._lock = threading.Lock()

    def reasons(self, world: World) -> dict[str, Reasons]:
        """By zone name.  May take a second where `world` is a new one; any thread may ask."""
        with self._lock:
            if world is not self._world:
                self._reasons = {zone.name: Reasons(world, zone) for zone in world.zones}
                self._world = world
            return self._reasons

    def place(self, zone: str, address: Address) -> Place:
        """Where an asker is, as far as that is known at once."""
        reasons = self._reasons.get(zone)
        return UNKNOWN if reasons is None else reasons.place(address)

    def places(self, zone: str) -> dict[str, Place]:
        """Where the mirrors are, as far as that is known at once."""
        reasons = self._reasons.get(zone)
        return {} if reasons is None else {mirror.name: mirror.place for mirror in reasons.mirrors}

    async def text(self, address: Address) -> str:
        """As `mirrornet explain` says it, for each zone."""
        return await asyncio.to_thread(self._text, address, self._verdicts())

    def _text(self, address: Address, verdicts: Mapping[str, Verdicts]) -> str:
        if self._answering.laid is None:
            return "no plan is in force yet: ask again in a moment"
        world, _, plan = self._answering.laid
        found = [
            one
            for name, reasons in self.reasons(world).items()
            for one in reasons.explain(address, plan, verdicts.get(name, {}))
        ]
        return SEVERAL.join(text(one) for one in found)
