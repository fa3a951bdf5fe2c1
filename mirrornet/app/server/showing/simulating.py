"""`mirrornet simulate`: two worlds and their plans, for dns/simulate/ to lay over each other; and whom it is about."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TextIO

from mirrornet.app.server.verdicts import read
from mirrornet.app.server.voices.measuring import as_served
from mirrornet.app.server.worlds.world import World, load_world, open_table
from mirrornet.dns.planning.plan import Planner
from mirrornet.dns.ranking.nearest import verdict_of
from mirrornet.dns.simulate.compare import Simulation, simulate
from mirrornet.dns.simulate.sides import Side
from mirrornet.dns.simulate.space import of_clients
from mirrornet.model.address import Address, parse_address
from mirrornet.model.errors import InputError
from mirrornet.model.verdict import State, Verdict, Verdicts
from mirrornet.model.zone import Zone

COLUMNS: Final = ("address", "ip", "ip_address", "client")  # what a CSV may call its column of addresses
LINE_LIMIT: Final = 4096  # characters of a line of --clients
CLIENTS_LIMIT: Final = 5_000_000  # addresses; some 100 bytes each


@dataclass(frozen=True, slots=True)
class Questions:
    """The command line.  `state`: take verdicts and clients' reports from there; None: all are up."""

    zone: Path
    against: Path | None = None
    down: tuple[str, ...] = ()
    table: Path | None = None
    clients: Path | None = None
    state: Path | None = None

    @property
    def changes(self) -> bool:
        return bool(self.against or self.down or self.table)


def answer(questions: Questions) -> list[Simulation]:
    """One simulation for each select of the zone.  Raises InputError (ConfigError) naming what is wrong."""
    clients = of_clients(read_clients(questions.clients)) if questions.clients else None
    now = load_world([questions.zone])
    planner = _planner(now, questions)
    before = _sides(now, planner, _verdicts(now.zones[0], questions.state))
    if not questions.changes:
        return [simulate(side, side, clients) for side in before]
    then = load_world([questions.against]) if questions.against else now
    if questions.table:
        then = replace(then, table=open_table(questions.table))
    if then is not now:
        planner = _planner(then, questions)
    verdicts = _verdicts(then.zones[0], questions.state)
    for name in questions.down:
        if name not in verdicts:
            known = ", ".join(verdicts)
            raise InputError(f"--down: {then.zones[0].file} has no mirror {name!r}: its mirrors are {known}")
    verdicts |= {name: Verdict(State.DOWN, 1.0, reason="--down") for name in questions.down}
    after = {side.select.name: side for side in _sides(then, planner, verdicts)}
    for side in before:
        if side.select.name not in after:
            raise InputError(f"{then.zones[0].file} has no select {side.select.name!r} as {questions.zone} has")
    return [simulate(side, after[side.select.name], clients) for side in before]


def _planner(world: World, questions: Questions) -> Planner:
    measured = as_served(questions.state, world, time.time()) if questions.state else {}
    return Planner(world.zones, world.table, {}, measured)


def _verdicts(zone: Zone, state: Path | None) -> dict[str, Verdict]:
    if state is not None:
        known = read(state)
        if known is None or zone.name not in known:
            raise InputError(f"{state}: no verdicts of {zone.name}: has `mirrornet serve` run with this --state?")
        return {mirror.name: verdict_of(mirror.name, known[zone.name]) for mirror in zone.mirrors}
    return {mirror.name: Verdict(State.UP, float("inf"), reason="taken as up") for mirror in zone.mirrors}


def _sides(world: World, planner: Planner, verdicts: Verdicts) -> list[Side]:
    zone = world.zones[0]
    plan, survey = planner.plan({zone.name: verdicts}, 0), planner.survey(zone.name)
    return [Side(zone, select, plan, survey, world.table) for select in zone.select]


def read_clients(path: Path) -> Iterator[Address]:
    """The addresses of a list: one a line, or a CSV with a column of them (COLUMNS); `#` begins a comment.

    Raises InputError naming file and line.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            yield from _addresses(path, file)
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: this is no text: give one address a line, or a CSV") from None


def _addresses(path: Path, file: TextIO) -> Iterator[Address]:
    column, count = 0, 0
    for number, line in enumerate(iter(lambda: file.readline(LINE_LIMIT + 1), ""), 1):
        if len(line) > LINE_LIMIT:
            raise InputError(f"{path}:{number}: the line is longer than {LINE_LIMIT} characters: one address a line")
        line = line.partition("#")[0].strip()
        if not line:
            continue
        try:
            cells = [cell.strip() for cell in next(csv.reader([line]))]
        except csv.Error as error:
            raise InputError(f"{path}:{number}: {error}") from None
        names = [cell.lower() for cell in cells]
        if number == 1 and any(name in names for name in COLUMNS):
            column = next(names.index(name) for name in COLUMNS if name in names)
            continue
        if column >= len(cells):
            raise InputError(f"{path}:{number}: {len(cells)} columns, and addresses are in column {column + 1}")
        try:
            yield parse_address(cells[column])
        except ValueError as error:
            hint = "one address a line, or a CSV whose first line names a column address or ip"
            raise InputError(f"{path}:{number}: {error} ({hint})") from None
        count += 1
        if count > CLIENTS_LIMIT:
            raise InputError(f"{path}: more than {CLIENTS_LIMIT:,} addresses: give a sample of them")
