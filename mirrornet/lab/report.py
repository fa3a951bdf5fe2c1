"""What each client of a lab got, before and after a mirror was killed: as values, as JSON, as a table.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

Cell = str | int | float | None


@dataclass(frozen=True, slots=True)
class Got:
    """What a client got in one phase.

    `offered`: mirrors as DNS ranked them for it.  `mirror`: whence most of its bytes came, "" none.  `estimate_ms`: the
    name server's; `round_trip_ms`: the lab's; `connect_ms`: TCP, as measured; `first_byte_ms`: as the client itself
    measured.  `rate`: bytes a second of its read.  `nearest`, `nearest_ms`: by the lab's round trips, of the mirrors
    that lived.  `error`: why there was no read.
    """

    client: str
    offered: tuple[str, ...]
    mirror: str
    estimate_ms: float | None
    round_trip_ms: float | None
    connect_ms: float | None
    first_byte_ms: float | None
    rate: float | None
    nearest: str
    nearest_ms: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class Outage:
    """After a mirror was killed, seconds until a read that no cache could answer was done, and until DNS left it out.

    None: not in the time that was waited.  `error`: what the read failed with.
    """

    client: str
    reads_after: float | None
    fresh_after: float | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """A mirror: `state` is the name server's verdict before anything was killed, `why` its reason."""

    name: str
    url: str
    state: str
    why: str


@dataclass(frozen=True, slots=True)
class Report:
    """One run of a lab.

    `notes`: what the operator should know of his zone.  `mount_seconds`: what `mirrornet mount` took, by client.
    `waited`: seconds, at most.
    """

    zone: str
    select: str
    image: str
    read_bytes: int
    rate: float
    ways: str
    notes: tuple[str, ...]
    mirrors: tuple[Standing, ...]
    mount_seconds: dict[str, float]
    before: tuple[Got, ...]
    killed: str
    outages: tuple[Outage, ...]
    after: tuple[Got, ...]
    waited: float

    def json(self) -> dict[str, Any]:
        """As plain values, for json.dumps."""
        return asdict(self)


def text(report: Report) -> str:
    """The report for a person."""
    lines = [
        f"{report.select}: {len(report.mirrors)} mirrors, {len(report.before)} clients, {report.rate:g} Mbit/s, "
        f"round trips by {report.ways}"
    ]
    lines += [f"  {note}" for note in report.notes]
    lines += [f"  {one.name} is {one.state}: {one.why}" for one in report.mirrors if one.state != "up"]
    lines += ["", *_table(report.before, report.mount_seconds)]
    if report.killed:
        lines += ["", f"{report.killed} is cut off", "", *_table(report.after, None, report.outages)]
        lines += ["", _summary(report)]
    lines += [
        "",
        "estimate: the name server's; rtt: the lab's; connect, first byte, MB/s: measured; nearest: by rtt"
        + ("; again: seconds until a read was done, fresh: until DNS left the mirror out" if report.killed else ""),
    ]
    return "\n".join(lines)


def _summary(report: Report) -> str:
    slowest = [one.reads_after for one in report.outages]
    fresh = [one.fresh_after for one in report.outages]
    return "; ".join(
        (
            f"all mounts read again {_within(slowest, report.waited)}",
            f"DNS left {report.killed} out {_within(fresh, report.waited)}",
        )
    )


def _within(seconds: Sequence[float | None], waited: float) -> str:
    done = [one for one in seconds if one is not None]
    if len(done) == len(seconds):
        return f"within {max(done, default=0.0):.1f} s"
    return f"for {len(done)} of {len(seconds)} clients only, within {waited:.0f} s"


def _table(phase: Iterable[Got], mounts: dict[str, float] | None, outages: Sequence[Outage] | None = None) -> list[str]:
    heads = ["client", "mirror", "estimate ms", "rtt ms", "connect ms", "first byte ms", "MB/s", "nearest", "ms"]
    heads += ["mount s"] if mounts is not None else []
    heads += ["again s", "fresh s"] if outages is not None else []
    rows: list[list[Cell]] = []
    errors = []
    by_client = {one.client: one for one in outages or ()}
    for got in phase:
        row: list[Cell] = [got.client, got.mirror or "none", got.estimate_ms, got.round_trip_ms, got.connect_ms]
        row += [got.first_byte_ms, None if got.rate is None else round(got.rate / 1e6, 1), got.nearest, got.nearest_ms]
        if mounts is not None:
            row.append(mounts.get(got.client))
        if outages is not None:
            outage = by_client.get(got.client)
            row += [outage.reads_after, outage.fresh_after] if outage else [None, None]
            if outage and outage.error:
                errors.append(f"  {got.client}: {outage.error}")
        rows.append(row)
        if got.error:
            errors.append(f"  {got.client}: {got.error}")
    return [*_columns(heads, rows), *dict.fromkeys(errors)]


def _columns(heads: Sequence[str], rows: Sequence[Sequence[Cell]]) -> list[str]:
    """Words to the left, numbers to the right."""
    shown = [[_shown(cell) for cell in row] for row in rows]
    widths = [max(len(head), *(len(row[at]) for row in shown)) for at, head in enumerate(heads)]
    left = [isinstance(cell, str) for cell in rows[0]]

    def line(cells: Sequence[str]) -> str:
        return "  ".join(
            cell.ljust(width) if to_left else cell.rjust(width)
            for cell, width, to_left in zip(cells, widths, left, strict=True)
        ).rstrip()

    return [line(heads), *(line(row) for row in shown)]


def _shown(cell: Cell) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return f"{cell:.0f}" if cell >= 100 else f"{cell:.1f}"
    return str(cell)
