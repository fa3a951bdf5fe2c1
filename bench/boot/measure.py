"""One measurement of one contestant over one link, as a flat record of plain values (tables.py reads them).

    boot      a local boot, and in the same minute the contestant's cold boot and the one after it
    replay    the recorded boot's reads, cold; without think time also once more with what the first one kept
    reads     64 MB in order, then 60 times 4 KiB at random, cold

Each run has a mount and folders of its own, so that neither the page cache nor a cache on disk knows anything before
the first.  `received` and `requests` are what went over the wire meanwhile, `cpu` what the contestant's processes took.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import guest
from contestants import Contestant
from link import Link, Wire
from reads import Places, at_random, in_order
from recording import Step
from replay import replay

Record = dict[str, Any]
RANDOM = 60


def boot(link: Link, kind: type[Contestant]) -> list[Record]:
    """A boot from a local file, and over the link: cold, and again where it keeps anything."""
    folder = link.fresh()
    local = guest.boot(guest.file_drive(guest.image()), folder / "overlay.qcow2").seconds
    records = []
    for again in (False, True) if kind.keeps else (False,):
        before = link.wire()
        one = kind(link, folder)
        try:
            done = guest.boot(one.drive, folder / "overlay.qcow2", one.prefix)
            record = {"what": "boot", "again": again, "start": one.seconds, "seconds": done.seconds, "local": local}
            records.append(_record(kind, record, link.wire() - before, one.cpu()))
        finally:
            one.close()
    return records


def replays(link: Link, kind: type[Contestant], steps: Sequence[Step], think: float) -> list[Record]:
    """The reads of the recorded boot.  Raises RuntimeError where bytes were wrong."""
    folder = link.fresh()
    records = []
    for again in (False, True) if kind.keeps and not think else (False,):
        before = link.wire()
        one = kind(link, folder)
        try:
            done = replay(one.file, steps, think, guest.image())
            if done.wrong:
                raise RuntimeError(f"{done.wrong} reads gave wrong bytes")
            record = {"what": "replay", "again": again, "start": one.seconds, "think": think, **asdict(done)}
            records.append(_record(kind, record, link.wire() - before, one.cpu()))
        finally:
            one.close()
    return records


def reads(link: Link, kind: type[Contestant], where: Places) -> list[Record]:
    """In order, and at random."""
    one = kind(link, link.fresh())
    try:
        before, cpu = link.wire(), one.cpu()
        seconds = in_order(one.file, where.start)
        order = _record(kind, {"what": "order", "seconds": seconds}, link.wire() - before, one.cpu() - cpu)
        before, cpu = link.wire(), one.cpu()
        took = at_random(one.file, where.offsets[:RANDOM])
        return [order, _record(kind, {"what": "random", "took": took}, link.wire() - before, one.cpu() - cpu)]
    finally:
        one.close()


def _record(kind: type[Contestant], fields: Record, wire: Wire, cpu: float) -> Record:
    return {"who": kind.name, **fields, "received": wire.received, "requests": wire.requests, "cpu": cpu}
