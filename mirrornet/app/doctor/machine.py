"""Is this machine fit: disk, files, FUSE, the world.table's age, the unit?  Pure; here.py looks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from mirrornet.app.doctor.finding import Finding, fault, ok, warning
from mirrornet.model.zone import Zone

WORLD, DISK, FILES, FUSE, UNIT, SERVER = "world.table", "disk", "open files", "fuse", "unit", "server"
DAY: Final = 86400.0
OLD, VERY_OLD = 8 * DAY, 60 * DAY  # an import is nightly; registries move some percent in two months
LITTLE, NOTHING = 1 << 30, 64 << 20  # bytes: a plan is some 50 MB, and old and new lie side by side
FEW_FILES: Final = 4096  # a worker takes 1,024 connections, the probes some hundred
Unit = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is to see.

    `table`: the world.table's age in seconds and number of ranges; None where there is none, or a sentence why it
    cannot be read.  `state`: the state folder, as a person calls it, and its free bytes (None: it is not there).
    `writable`: by this user.  `files`: the limit of open files.  `fuse`: why nothing can be mounted here, "" where
    it can.  `unit`: what systemd says of mirrornet-serve; None where it does not run here.  `serving`: whether a
    server uses the state folder.
    """

    table: tuple[float, int] | str | None
    state: str
    free: int | None
    writable: bool
    files: int
    fuse: str
    unit: Unit | None = None
    serving: bool | None = None
    unsound: tuple[str, ...] = field(default=())  # warnings about the zone file


def judge(zone: Zone, machine: Machine) -> Iterable[Finding]:
    """Everything about this machine."""
    for problem in machine.unsound:
        yield warning("zone file", str(zone.file.name), problem, "`mirrornet check` says it with its line")
    yield _world(zone, machine)
    yield from _disk(machine)
    yield _serving(machine)
    if machine.files < FEW_FILES:
        mend = "LimitNOFILE=65536 in the unit, or `ulimit -n`"
        yield warning(FILES, "this user", f"may open {machine.files} files, {FEW_FILES} are wanted", mend)
    else:
        yield ok(FILES, "this user", f"may open {machine.files:,} files")
    if machine.fuse:
        yield warning(FUSE, "this machine", machine.fuse, "only `mirrornet mount` needs it; `nbd` and `boot` do not")
    else:
        yield ok(FUSE, "this machine", "can mount (FUSE)")
    if machine.unit is not None:
        yield _unit(machine.unit)


def _world(zone: Zone, machine: Machine) -> Finding:
    import_it = f"`mirrornet import-radb DUMP --out {zone.world}`, by a timer (deploy/)"
    if zone.world is None:
        mend = "name one with `world:`, or let it be if all clients are equal to you"
        return warning(WORLD, zone.file.name, "no map: nobody's place is known but by `places`", mend)
    if machine.table is None:
        return fault(WORLD, str(zone.world), "is not there, so nobody's place is known", import_it)
    if isinstance(machine.table, str):
        return fault(WORLD, str(zone.world), machine.table, import_it)
    age, ranges = machine.table
    said = f"{ranges:,} ranges, {int(age // DAY)} days old"
    if age >= VERY_OLD:
        return fault(WORLD, str(zone.world), said, import_it)
    if age >= OLD:
        return warning(WORLD, str(zone.world), said, import_it)
    return ok(WORLD, str(zone.world), said)


def _disk(machine: Machine) -> Iterable[Finding]:
    if machine.free is None:
        what = "is not there: no server has run here with it"
        yield warning(DISK, machine.state, what, "say where it is with --state, or run the doctor on the name server")
        return
    said = f"{machine.free >> 20:,} MB free"
    if machine.free < NOTHING:
        yield fault(DISK, machine.state, said, "make room: a plan that cannot be written leaves the old one in force")
    elif machine.free < LITTLE:
        yield warning(DISK, machine.state, said, "make room")
    else:
        yield ok(DISK, machine.state, said)
    if not machine.writable:
        yield warning(DISK, machine.state, "may not be written by this user", "run the doctor as the server's user")


def _serving(machine: Machine) -> Finding:
    if machine.serving:
        return ok(SERVER, machine.state, "a server is running with it")
    return warning(SERVER, machine.state, "no server is running with it", "fine if the servers are elsewhere")


def _unit(unit: Unit) -> Finding:
    about = "mirrornet-serve.service"
    load, active, enabled = (unit.get(key, "") for key in ("LoadState", "ActiveState", "UnitFileState"))
    if load == "not-found":
        return ok(UNIT, about, "is not installed here")
    restarts = unit.get("NRestarts", "0")
    if active == "failed" or unit.get("Result", "success") not in ("success", ""):
        what = f"has failed ({unit.get('Result', 'failed')}, {restarts} restarts)"
        return fault(UNIT, about, what, "journalctl -u mirrornet-serve says why")
    if active not in ("active", "reloading", "activating"):
        return warning(UNIT, about, f"is {active or 'not active'}", "systemctl start mirrornet-serve")
    if enabled not in ("enabled", "enabled-runtime", "static", "generated", "transient", "linked"):
        what = f"runs, but is {enabled or 'not enabled'}: it would not after a reboot"
        return warning(UNIT, about, what, "systemctl enable mirrornet-serve")
    if restarts.isdigit() and int(restarts) > 0:
        return warning(UNIT, about, f"runs; systemd has restarted it {restarts} times", "journalctl -u mirrornet-serve")
    return ok(UNIT, about, "runs, and will after a reboot")
