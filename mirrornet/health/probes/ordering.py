"""What the next probe asks of a mirror: which blocks, how many, and under whose name.  Dice are arguments.

Usually that is one block, and the select urls.  A probe in disguise (schedule.py) reads a few blocks that follow each
other, as somebody does who reads a file from a mount.  A mirror that lied is asked for the blocks that were bad, for
AUDIT_STEP others, and always in disguise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from mirrornet.health.probes.probe import Order
from mirrornet.health.rule import schedule
from mirrornet.health.rule.outcome import Sample
from mirrornet.health.rule.state import AUDIT, AUDIT_STEP, Track
from mirrornet.model.verdict import State
from mirrornet.model.zone import Mirror, Zone

READ: Final = 3  # blocks of a probe in disguise


@dataclass(frozen=True, slots=True)
class Known:
    """What was learnt of the repository: its newest root and that root's version, and blocks of timestamp `version`."""

    root: bytes
    root_version: int = 1
    version: int | None = None
    samples: Mapping[str, tuple[Sample, ...]] = field(default_factory=dict)


def select_urls(zone: Zone, mirror: Mirror) -> tuple[str, ...]:
    """The select urls that `mirror` may serve; none where it has no addresses to stand in A and AAAA with."""
    if not mirror.addresses:
        return ()
    return tuple(sorted({select.url for select in zone.select if mirror in zone.candidates(select)}))


def disguised(track: Track, number: float) -> bool:
    """Whether the next probe looks like a client.  `number`: at least 0 and below 1."""
    if track.state is State.UNKNOWN:
        return False  # an answer waits for it, and for what it says of the select url
    return track.wary or track.state is State.CORRUPT or number < schedule.DISGUISED


def order(
    zone: Zone, mirror: Mirror, track: Track, known: Known | None, client: bool, dice: Callable[[], float]
) -> Order:
    """The next probe of `mirror`; in disguise if `client`.  `known`: None where blocks are not asked for."""
    kind, urls = zone.health.probe, () if client else select_urls(zone, mirror)
    if known is None:
        return Order(kind, mirror.url, urls, disguised=client)
    images = sorted(name for name in known.samples if mirror.holds is None or name in mirror.holds)
    return Order(
        kind,
        mirror.url,
        urls,
        root=known.root,
        samples=_samples(track, [known.samples[name] for name in images], client, dice),
        expect=known.version,
        suspects=track.suspects,
        audit=min(AUDIT, sum(len(known.samples[name]) for name in images)) if images else AUDIT,
        sole_image=mirror.holds is not None or len(images) <= 1,
        disguised=client,
        next_root=known.root_version + 1,
    )


def _samples(
    track: Track, images: Sequence[tuple[Sample, ...]], client: bool, dice: Callable[[], float]
) -> tuple[Sample, ...]:
    if not images:
        return ()
    if track.state is State.CORRUPT:
        drawn = (pick(images[_position(images, dice())], dice()) for _ in range(4 * AUDIT_STEP))
        return tuple(dict.fromkeys(sample for sample in drawn if sample is not None))[:AUDIT_STEP]
    held = images[_position(images, dice())]
    first = _position(held, dice())
    return held[first : first + (READ if client else 1)]


def pick(samples: Sequence[Sample], number: float) -> Sample | None:
    """One of `samples` by `number` (0 to below 1); None where there are none."""
    return samples[_position(samples, number)] if samples else None


def _position(several: Sequence[object], number: float) -> int:
    return max(0, min(int(number * len(several)), len(several) - 1))
