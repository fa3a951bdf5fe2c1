"""From clients' reports to the plan: the listener, the memory, its file, and a new planner now and then.

A report is placed by the address it came from, as a query would be.  At most once a minute, and only if something was
reported, what may be believed is reckoned anew (dns/ranking/measured.py); where that changed, the world gets it and a
planner is staged for it, beside the one that answers.  The memory is written down every few minutes and at the end, as
a whole file; one that cannot be read is told once and begun anew.

What they say of mirrors out of reach is an opinion of probing.py: askers of an AS are barred from a mirror that many of
it cannot reach (dns/ranking/unreached.py).  That is looked at once a minute, too, since it expires by itself.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from mirrornet.app.server.trouble import Trouble
from mirrornet.app.server.worlds.world import World
from mirrornet.dns.planning.ground import columns
from mirrornet.dns.planning.hops import graph_of, terms_of
from mirrornet.dns.ranking.estimate import located
from mirrornet.dns.ranking.measured import MOST_PLACES, measured
from mirrornet.dns.ranking.rendezvous import country_number
from mirrornet.dns.ranking.reports import Reports, Taken, decode, network_of
from mirrornet.dns.ranking.terms import Measured
from mirrornet.dns.ranking.unreached import Barred, unreached
from mirrornet.dns.ranking.whereabouts import NOWHERE, placed_mirrors, whereabouts
from mirrornet.image.files import replacing
from mirrornet.model.address import Address
from mirrornet.model.place import Place
from mirrornet.model.rtt import RttReport
from mirrornet.model.table import Match, WorldTable
from mirrornet.model.verdict import Verdicts
from mirrornet.model.zone import Zone

log = logging.getLogger(__name__)

FILE: Final = "rtt-reports"  # in the state folder
EVERY: Final = 60.0  # seconds between two plans because of reports
PAUSES: Final = 30  # times what the last took: a full memory takes three seconds, so at most 3 % of a processor
SAVE_EVERY: Final = 5  # of these
STEADY: Final = 900.0  # seconds that a mirror has to be in one state before a client's missing it says something new
FILE_LIMIT: Final = 32 << 20  # bytes; the fullest memory takes some 10 MB


def read_reports(state: Path) -> Reports | None:
    """The reports kept in `state`; None where there are none.  What cannot be read is told in the log."""
    path = state / FILE
    try:
        with path.open("rb") as file:
            data = file.read(FILE_LIMIT + 1)
        if len(data) > FILE_LIMIT:
            raise ValueError(f"it is longer than {FILE_LIMIT >> 20} MiB")
        return decode(data)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("%s: reports of round trips are begun anew: %s", path, error)
        return None


def believed(reports: Reports, world: World, now: float) -> dict[str, Measured]:
    """What is to be believed of `reports`, by zone name.  Some hundred milliseconds for a full memory."""
    found = {}
    graph = None
    for zone in world.zones:
        reported = list(reports.of_zone(zone.name))
        if not reported:
            continue
        graph = graph or graph_of(world.table)
        mirrors = placed_mirrors(zone, _finder(world.table))
        countries = {one.place.country for one in reported} - {""}
        terms = terms_of(zone, mirrors, graph)
        told = measured(reported, mirrors, terms, _places(world.table, countries), now)
        if told:
            found[zone.name] = told
    return found


def _places(table: WorldTable | None, countries: Iterable[str]) -> Iterator[Place]:
    """The places of `table` in these countries, not more than anybody may hear from a wider level."""
    if table is None:
        return
    numbers = np.array([country_number(country) for country in countries], np.int64)
    for index in np.flatnonzero(np.isin(columns(table.place_records).countries, numbers))[:MOST_PLACES].tolist():
        yield table.place(index)


def _finder(table: WorldTable | None) -> Callable[[Address], Match]:
    def find(address: Address) -> Match:
        return NOWHERE if table is None else table.match(address)

    return find


class Measuring:
    """The reports of one server.  `world`: what is in force; `adopt`: puts another in its place, with its plan."""

    def __init__(
        self,
        state: Path,
        world: Callable[[], World],
        adopt: Callable[[World], Awaitable[None]],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """`changed` asks for a new plan, with the verdicts as they are then."""
        self._changed = changed
        self._barred: dict[str, Barred] = {}  # by zone
        self._seen: Mapping[str, Verdicts] = {}  # what probes, and other eyes, said last
        self._state = state
        self._world = world
        self._adopt = adopt
        self.reports = read_reports(state) or Reports(os.urandom(16))
        self._fresh = self._unsaved = False
        self._unwritten = Trouble(
            log, f"{state / FILE}: reports of round trips would not outlive a restart", f"{state / FILE}: written again"
        )

    def take(self, client: Address, report: RttReport) -> int:
        """One report, as web/reports.py hands it over: the HTTP status."""
        world = self._world()
        zone = _zone_of(world, report.select)
        if zone is None:
            return 404
        place = located(whereabouts(zone, _finder(world.table), client).place)
        names = {mirror.name for mirror in zone.mirrors}
        rtt = {name: ms for name, ms in report.rtt.items() if name in names}
        now = time.time()
        lost = frozenset(name for name in report.lost if self._steady(zone.name, name, now))
        taken = self.reports.take(zone.name, place, network_of(client), rtt, now, lost)
        if taken is Taken.KEPT:
            self._fresh = self._unsaved = True
        return 429 if taken is Taken.TOO_SOON else 204

    def _steady(self, zone: str, mirror: str, now: float) -> bool:
        """Whether `mirror` has been fine for all others so long that who misses it cannot mean an outage."""
        verdict = self._seen.get(zone, {}).get(mirror)
        return verdict is not None and verdict.usable and now - verdict.since >= STEADY

    async def recall(self, world: World) -> World:
        """`world` with what is believed of the reports as they are now."""
        reports = self.reports.copy()
        return replace(world, measured=await asyncio.to_thread(believed, reports, world, time.time()))

    def opinion(self, verdicts: dict[str, Verdicts]) -> dict[str, Verdicts]:
        """`verdicts` with those barred who cannot reach a mirror, by what they report."""
        self._seen, found = verdicts, dict(verdicts)
        for zone, barred in self._barred.items():
            if zone in found:
                mirrors = dict(found[zone])
                for name, items in barred.items():
                    if name in mirrors and mirrors[name].usable:
                        mirrors[name] = replace(mirrors[name], barred={**items, **mirrors[name].barred})
                found[zone] = mirrors
        return found

    def look(self) -> None:
        """Reckons anew who cannot reach what; asks for a plan where that is somebody else."""
        now, before = time.time(), self._barred
        self._barred = {
            zone.name: unreached(
                self.reports.of_zone(zone.name), {mirror.name: mirror.weight for mirror in zone.mirrors}, now
            )
            for zone in self._world().zones
        }
        if _items(before) != _items(self._barred):
            self._changed()
            for zone, barred in self._barred.items():
                for name, items in barred.items():
                    new = items.keys() - before.get(zone, {}).get(name, {}).keys()
                    for item in sorted(new):
                        log.info("%s: %s is kept from %s: %s", zone, name, item, items[item])

    async def run(self) -> None:
        """Renews what is believed, for ever; what takes long is done less often."""
        round_number, pause = 0, EVERY
        self.look()
        while True:
            await asyncio.sleep(pause)
            round_number += 1
            begun = time.monotonic()
            try:
                await self.renew()
            except Exception as error:  # reports are never a reason to stop answering
                log.warning("reports of round trips are not used just now: %s: %s", type(error).__name__, error)
            pause = max(EVERY, PAUSES * (time.monotonic() - begun))
            if round_number % SAVE_EVERY == 0:
                await self.save()

    async def renew(self) -> None:
        """A new world and plan, where reports have changed what is believed."""
        self.look()
        if not self._fresh:
            return
        self._fresh = False
        world = self._world()
        self.reports.forget(time.time(), [zone.name for zone in world.zones])
        new = await self.recall(world)
        if new.measured != world.measured:
            await self._adopt(new)
            places = sum(map(len, new.measured.values()))
            log.debug("%d reports of round trips bear on %d places", len(self.reports), places)

    async def save(self) -> None:
        """Writes the reports down, if there are new ones."""
        if not self._unsaved:
            return
        self._unsaved = False
        reports = self.reports.copy()

        def write() -> None:
            with replacing(self._state / FILE, mode=0o600) as file:
                file.write(reports.encode())

        try:
            await asyncio.to_thread(write)
        except OSError as error:
            self._unsaved = True
            self._unwritten.met(error)
        else:
            self._unwritten.over()


def _items(barred: Mapping[str, Barred]) -> dict[tuple[str, str], frozenset[str]]:
    """Who is barred from what, whatever the reasons."""
    return {(zone, name): frozenset(items) for zone, mirrors in barred.items() for name, items in mirrors.items()}


def _zone_of(world: World, select: str) -> Zone | None:
    return next((zone for zone in world.zones for one in zone.select if zone.select_fqdn(one) == select), None)


def as_served(state: Path, world: World, now: float) -> Mapping[str, Measured]:
    """What a server with this state folder believes, as of its last save: for `explain` and `simulate`."""
    if world.server is None or world.server.rtt is None:
        return {}
    reports = read_reports(state)
    return {} if reports is None else believed(reports, world, now)
