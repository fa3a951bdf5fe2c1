"""What one probe of one mirror found, as a value.

A probe never raises and never judges alone: it says what it saw at one address, `worst` puts the addresses of a mirror
together, freshness.py compares what all mirrors show, and only then does state.py decide.  Rejected: an exception per
kind of failure.  A failed probe is the expected case here, and a value can be counted, stored, compared and, later,
signed and shared with other name servers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What a probe amounts to, from best to worst."""

    OK = "ok"
    LAGGING = "lagging"  # good, but behind the newest timestamp seen anywhere, for less than repository.lag
    BLIND = "blind"  # this machine has no route of that family: nothing was learnt of the mirror
    FAILED = "failed"  # no answer in time, a wrong status, a block that is not there
    STALE = "stale"  # behind for longer, or its metadata is expired
    CORRUPT = "corrupt"  # bytes that are not what was signed or named


_RANK: Final = {kind: rank for rank, kind in enumerate(Kind)}


@dataclass(frozen=True, slots=True, order=True)
class Sample:
    """A block worth asking for: an image that has it, SHA-256 (32 octets) and length in bytes of the stored file."""

    image: str
    hash: bytes
    stored: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """One probe.  `at`: Unix time at which it ended.  `reason`: a short sentence for a person, "" where all is well.

    `rtt_ms`: milliseconds to the first byte.  `serves_select`: whether the select url works at this mirror (None: not
    asked).  `version`, `expires`: of the timestamp it showed.  `until`: Unix time at which what was seen turns stale by
    itself.  `images`: whether it held the block asked for, by image.  `suspects`: blocks that were not what their names
    say.  `retry_after`: seconds the mirror asked us to stay away.
    """

    kind: Kind
    at: float
    reason: str = ""
    rtt_ms: float | None = None
    serves_select: bool | None = None
    version: int | None = None
    expires: float | None = None
    until: float | None = None
    images: Mapping[str, bool] = field(default_factory=dict)
    suspects: tuple[Sample, ...] = ()
    retry_after: float | None = None


def worst(found: Sequence[tuple[str, Outcome]]) -> Outcome:
    """One outcome for a mirror from those of its addresses, each with the address's text.

    The worst address decides and is named where there are several, since a client may pick any of them.  An address
    family that this machine cannot reach is left out as long as another one can be seen; with none, the probe failed.
    """
    if not found:
        raise ValueError("a mirror without an address cannot be probed")
    seen = [pair for pair in found if pair[1].kind is not Kind.BLIND] or list(found)
    address, decisive = max(seen, key=lambda pair: _RANK[pair[1].kind])
    outcomes = [outcome for _, outcome in seen]
    reason = decisive.reason
    if reason and len(found) > 1:
        reason = f"{address}: {reason}"
    images: dict[str, bool] = {}
    for outcome in outcomes:
        for name, held in outcome.images.items():
            images[name] = held and images.get(name, True)
    asked = [outcome.serves_select for outcome in outcomes if outcome.serves_select is not None]
    return replace(
        decisive,
        kind=Kind.FAILED if decisive.kind is Kind.BLIND else decisive.kind,
        at=max(outcome.at for outcome in outcomes),
        reason=reason,
        rtt_ms=max((outcome.rtt_ms for outcome in outcomes if outcome.rtt_ms is not None), default=None),
        serves_select=all(asked) if asked else None,
        version=min((outcome.version for outcome in outcomes if outcome.version is not None), default=None),
        expires=min((outcome.expires for outcome in outcomes if outcome.expires is not None), default=None),
        images=images,
        suspects=tuple(sorted({sample for outcome in outcomes for sample in outcome.suspects})),
        retry_after=max((o.retry_after for o in outcomes if o.retry_after is not None), default=None),
    )
