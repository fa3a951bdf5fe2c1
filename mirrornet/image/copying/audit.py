"""Many mirrors side by side: what each holds, how far it is behind the others, and whether that is wrong.

Mirrors are looked at in parallel, each by a few requests at a time; one that hangs is given up by its own deadlines and
keeps nobody waiting.  The newest set that any of them proves is the measure for all: name the publisher's repository
among them, and it is the true one.  The lag is the time between two timestamps, by their expiry, since a timestamp
does not say when it was signed.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from mirrornet.image.copying.files import Mirror
from mirrornet.image.copying.proof import Proof, Sample, Shelf, look
from mirrornet.image.copying.remains import unneeded
from mirrornet.image.copying.signed import Signed, bridge_to, named
from mirrornet.image.trust.roots import obtain_root
from mirrornet.image.trust.verify import check_timestamp
from mirrornet.model.errors import PeerError, Untrusted
from mirrornet.model.units import format_duration

AT_ONCE: Final = 16  # mirrors
_NAMED: Final = 1000  # files of each kind that a report names


@dataclass(frozen=True, slots=True)
class AuditOptions:
    """`sample`: share of the files to read, 0 to 1.  `jobs`: requests at once to one mirror.  `lag`: seconds behind the
    newest that are still well.  `patience`: seconds for one mirror."""

    sample: float = 0.01
    jobs: int = 4
    lag: float = 86400.0
    patience: float = 3600.0


@dataclass
class MirrorReport:
    """What was found of one mirror.

    `wrong`: a line for each fault; none: all is well.  `timestamp`, `snapshot`, `root`: versions of its metadata, None
    where nothing verified.  `images`: the newest version of each.  `expires`: Unix time.  `behind`: snapshots, `lag`:
    seconds behind the newest set seen.  `checked`: files read to their end, metadata included.  `extra`: files
    that nothing needs, for a folder only.
    """

    name: str
    wrong: list[str] = field(default_factory=list)
    root: int | None = None
    timestamp: int | None = None
    snapshot: int | None = None
    images: dict[str, int] = field(default_factory=dict)
    expires: float | None = None
    behind: int = 0
    lag: float = 0.0
    needed: int = 0
    checked: int = 0
    bytes: int = 0
    missing: list[str] = field(default_factory=list)
    corrupt: list[str] = field(default_factory=list)
    extra: int | None = None
    extra_bytes: int | None = None
    seconds: float = 0.0


async def audit(
    mirrors: Sequence[tuple[Mirror, Path | None]],
    root: str,
    options: AuditOptions,
    *,
    now: float,
    dice: random.Random,
    done: Callable[[str], None] = lambda name: None,
) -> list[MirrorReport]:
    """A report for each of `mirrors`, which come with their folder where they are one on this machine.

    `root`: a root.json or its pin.  `now`: Unix time.  `done` is told the name of each mirror that was looked at.
    Raises InputError (the root), Untrusted where no mirror has the root of a pin, LocalError.
    """
    everybody = [mirror for mirror, _ in mirrors]
    first = await _first_root(root, everybody)
    turns = asyncio.Semaphore(AT_ONCE)
    with tempfile.TemporaryDirectory(prefix="mirrornet-audit-") as place:
        shelf = Shelf(Path(place))

        async def one(mirror: Mirror, folder: Path | None) -> tuple[MirrorReport, Proof]:
            async with turns:
                begun = time.monotonic()
                others = [each for each in everybody if each is not mirror]
                sample = Sample(options.sample, dice.randbytes(16), options.jobs)
                proof = Proof()
                try:
                    async with asyncio.timeout(options.patience):
                        await look(proof, mirror, others, first, shelf, sample, now)
                except TimeoutError:
                    proof.fault = f"not done after {format_duration(options.patience)}"
                report = await asyncio.to_thread(_report, mirror.name, proof, folder, now)
                report.seconds = time.monotonic() - begun
                done(mirror.name)
                return report, proof

        found = await asyncio.gather(*(one(mirror, folder) for mirror, folder in mirrors))
    _compare(found, options.lag)
    return [report for report, _ in found]


async def _first_root(root: str, mirrors: Sequence[Mirror]) -> bytes:
    """The first root.json, from the first mirror that has it where `root` is a pin."""
    failures = []
    for mirror in mirrors:
        bridge = bridge_to(mirror)
        try:
            return await asyncio.to_thread(obtain_root, root, bridge)
        except PeerError as error:
            failures.append(named(mirror, error))
        finally:
            bridge.stop()
    raise Untrusted(f"no mirror has the root.json of this pin: {'; '.join(failures)}")


def _report(name: str, proof: Proof, folder: Path | None, now: float) -> MirrorReport:
    report = MirrorReport(name, checked=proof.checked, bytes=proof.bytes)
    signed = proof.signed
    if proof.fault:
        report.wrong.append(proof.fault)
    if signed is None:
        return report
    metadata = signed.metadata
    report.root, report.timestamp, report.snapshot = (
        metadata.root_version,
        metadata.timestamp_version,
        metadata.snapshot_version,
    )
    report.images = {image: versions[-1].version for image, versions in metadata.images.items() if versions}
    report.expires = metadata.expires
    report.needed = len(proof.names) + len(signed.files)
    report.checked += len(signed.files)  # by whose signatures all else was judged
    report.bytes += sum(map(len, signed.files.values()))
    report.missing, report.corrupt = sorted(proof.missing)[:_NAMED], sorted(proof.corrupt)[:_NAMED]
    if metadata.expires <= now:
        day = datetime.fromtimestamp(metadata.expires, UTC)
        report.wrong.append(f"its metadata expired on {day:%Y-%m-%d %H:%M} UTC")
    for what, paths in (("missing", proof.missing), ("corrupt", proof.corrupt)):
        if paths:
            report.wrong.append(f"{len(paths)} of {proof.checked} files {what}, such as {min(paths)}")
    if folder is not None and not proof.fault:
        sizes = [size for _, size in unneeded(folder, proof.names, signed.files)]
        report.extra, report.extra_bytes = len(sizes), sum(sizes)
    return report


def _compare(found: Sequence[tuple[MirrorReport, Proof]], most: float) -> None:
    """Fills in how far each is behind the newest."""
    proven = [(report, proof.signed) for report, proof in found if proof.signed is not None]
    if not proven:
        return
    newest = max((signed for _, signed in proven), key=lambda signed: signed.metadata.age)
    latest = _signed_until(newest)
    for report, signed in proven:
        if signed.metadata.age >= newest.metadata.age:
            continue
        report.behind = max(0, newest.metadata.snapshot_version - signed.metadata.snapshot_version)
        report.lag = max(0.0, latest - _signed_until(signed))
        if report.lag > most:
            report.wrong.append(f"{format_duration(report.lag)} behind the newest: is its sync at work?")


def _signed_until(signed: Signed) -> float:
    return check_timestamp(signed.metadata.root, signed.files["metadata/timestamp.json"], 0.0)[2]
