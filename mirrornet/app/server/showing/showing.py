"""What the window shows of each zone, put together from those who know it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mirrornet.app.server.answers.asked import Asked
from mirrornet.app.server.showing.explaining import Explaining
from mirrornet.app.server.showing.surveying import Surveying
from mirrornet.app.server.voices.probing import AllVerdicts, Probing
from mirrornet.app.server.worlds.world import World
from mirrornet.health.rule.state import Track
from mirrornet.model.zone import Zone
from mirrornet.web.status import Change, TableStatus, ZoneStatus


class Showing:
    """The parts of a Snapshot that more than one part of the server has to say something about."""

    def __init__(
        self, probing: Probing, explaining: Explaining, surveying: Surveying, asked: Callable[[], Asked]
    ) -> None:
        self._probing, self._explaining, self._surveying, self._asked = probing, explaining, surveying, asked

    def zones(self, zones: Sequence[Zone]) -> tuple[ZoneStatus, ...]:
        """The zones in force; of one that is not probed yet, what its file says."""
        shown = {zone.name: ZoneStatus(zone, {}) for zone in zones}
        verdicts: AllVerdicts = self._probing.verdicts()
        regions, asked = self._surveying.look(), self._asked()
        for name, monitor in self._probing.monitors.items():
            tracks = monitor.tracks()
            shown[name] = ZoneStatus(
                monitor.zone,
                verdicts[name],
                {mirror: track.flips for mirror, track in tracks.items()},
                monitor.probes,
                changes=_changes(tracks),
                places=self._explaining.places(name),
                regions=regions.get(name, {}),
                surveyed=self._surveying.generation,
                asked=asked.of_zone(name),
                answers=asked.kinds_of(name),
                expiries=monitor.expiries(),
            )
        return tuple(shown.values())


def table(world: World) -> TableStatus | None:
    """The table in use."""
    if world.table is None:
        return None
    ranges = sum(len(world.table.ranges[family].starts) for family in world.table.ranges)
    return TableStatus(world.table.created, ranges, world.table.place_count, world.table.checksum)


def _changes(tracks: Mapping[str, Track]) -> dict[str, tuple[Change, ...]]:
    return {
        mirror: tuple(Change(past.at, past.state, past.reason) for past in track.changes)
        for mirror, track in tracks.items()
    }
