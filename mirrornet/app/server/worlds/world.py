"""All that is read from files before anything is answered: zones, their static records, one world.table for all.

Everything is proven first, and every fault of every file is told at once; what is in force stays until the whole of
the new is sound.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mirrornet.app.server.worlds import families, manners, policies, tokens
from mirrornet.app.server.worlds.endpoints import publish
from mirrornet.config.load import examine
from mirrornet.dns.message.rrset import RRset
from mirrornet.dns.ranking.terms import Measured
from mirrornet.dns.records.static import read_records
from mirrornet.model.errors import ConfigError, InputError
from mirrornet.model.problem import Problem
from mirrornet.model.table import WorldTable
from mirrornet.model.zone import ServerSettings, Zone

log = logging.getLogger(__name__)

Records = dict[str, dict[bytes, dict[int, RRset]]]


@dataclass(frozen=True, slots=True)
class World:
    """What is served: zones, one table for all of them, their static records by zone name.

    `measured`: what clients reported (measuring.py), by zone name.
    """

    zones: tuple[Zone, ...]
    table: WorldTable | None
    records: Records
    measured: Mapping[str, Measured] = field(default_factory=dict)

    @property
    def server(self) -> ServerSettings | None:
        """The one `server:` section."""
        return next((zone.server for zone in self.zones if zone.server is not None), None)


def examine_all(paths: Sequence[Path]) -> tuple[tuple[Zone, ...], Records, list[Problem]]:
    """Zones, static records, and every fault and warning of zone files and of the files they name.

    The table is opened only where zones name sets, which have to be in it.  Raises InputError where it is damaged then.
    """
    zones, records, problems = _examine_files(paths)
    if policies.names_sets(zones) and all(problem.warning for problem in problems):
        problems += policies.problems(zones, _table_of(zones))
    if all(problem.warning for problem in problems):
        problems += families.problems(zones)
    return zones, records, problems


def _examine_files(paths: Sequence[Path], *, rootless: bool = False) -> tuple[tuple[Zone, ...], Records, list[Problem]]:
    zones, problems = examine(paths, rootless=rootless)
    records: Records = {}
    for zone in zones:
        if zone.records is not None and zone.records.is_file():
            text = zone.records.read_text(encoding="utf-8", errors="replace")
            records[zone.name], found = read_records(text, zone.name, str(zone.records))
            problems += found
        if zone.server is not None:
            problems += manners.faults(zone.server, zone.file)
            problems += tokens.faults(zone.server, zone.file)
    return zones, records, problems


def load_world(paths: Sequence[Path], *, rootless: bool = False) -> World:
    """Reads and proves everything.  Raises ConfigError with every fault, or InputError naming the table's file.

    `rootless`: nobody will read the repository's root.json, so it may be missing.
    """
    zones, records, problems = _examine_files(paths, rootless=rootless)
    faults = [problem for problem in problems if not problem.warning]
    table = None if faults else _table_of(zones)
    if not faults:
        problems += policies.problems(zones, table)
    for problem in problems:
        if problem.warning:
            log.warning("%s", problem)
    if faults:
        raise ConfigError(faults)
    world = World(zones, table, records)
    publish(zones, world.server, records)
    return world


def _table_of(zones: Sequence[Zone]) -> WorldTable | None:
    """The one table of `zones`; None where there is none.

    One that is not there yet has had its warning: until it is made, every asker's place is unknown.
    """
    table = next((zone.world for zone in zones if zone.world is not None), None)
    return open_table(table) if table and table.exists() else None


def open_table(path: Path) -> WorldTable:
    """The table in `path`, read and verified.  Raises InputError naming the file and what to do.

    Read, not mapped: an import replaces the file by rename, but a person may copy another one over it, and a mapping
    of a file that is cut short ends the process that looks into it.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file: make it with `mirrornet import-radb DUMP --out {path}`") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    if not data:
        raise InputError(f"{path}: the file is empty: make it anew with `mirrornet import-radb`")
    return WorldTable(memoryview(data), str(path))
