"""What one probe of one mirror found, as a value.

A probe never raises and never judges alone: it says what it saw at one address, freshness.py compares that with what
all mirrors show, `together` puts the addresses of a mirror into one outcome, and only then does state.py decide.

The two address families stand for themselves: a mirror that is silent over IPv6 still serves those who have IPv4.  So
an outcome says of each family what was heard over it, and is itself as good as the better one.  Not so a lie: who lies
over one family is a liar.

Rejected: an exception per kind of failure.  A failed probe is the expected case here, and a value can be counted,
stored, compared and, later, signed and shared with other name servers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from mirrornet.model.address import Address, Family


class Kind(StrEnum):
    """What a probe amounts to, from best to worst."""

    OK = "ok"
    LAGGING = "lagging"  # good, but behind the newest timestamp seen anywhere, for less than repository.lag
    BLIND = "blind"  # this machine has no route of that family: nothing was learnt of the mirror
    FAILED = "failed"  # no answer in time, a wrong status, a block that is not there
    STALE = "stale"  # behind for longer, or its metadata is expired
    CORRUPT = "corrupt"  # bytes that are not what was signed or named


_RANK: Final = {kind: rank for rank, kind in enumerate(Kind)}
FINE: Final = frozenset({Kind.OK, Kind.LAGGING})


@dataclass(frozen=True, slots=True, order=True)
class Sample:
    """A block worth asking for: an image that has it, SHA-256 (32 octets) and length in bytes of what is stored.

    `pack`: the hash of the pack it lies in, from byte `offset` on; b"" where it is a file of its own.
    """

    image: str
    hash: bytes
    stored: int
    pack: bytes = b""
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Heard:
    """What was heard over one address family."""

    kind: Kind
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One probe.  `at`: Unix time at which it ended.  `reason`: a short sentence for a person, "" where all is well.

    `rtt_ms`: milliseconds to the first byte; `slow`: whether that is much more than usual (None: not judged), `pace`
    the sentence about it.  `serves_select`: whether the select url works at this mirror (None: not asked).
    `version`, `expires`: of the timestamp it showed.  `lag`: seconds it has been behind the newest one.  `until`: Unix
    time at which what was seen turns stale by itself.  `images`: whether it held the block asked for, by image.
    `suspects`: blocks that were not what their names say; `whole`: how many were, and `audit`: how many in all a liar
    has to show (0: none can be asked for).  `retry_after`: seconds the mirror asked us to stay away.
    `certificate_until`: Unix time at which its TLS certificate ends.  `disguised`: the probe looked like a client.
    `families`: what each family that could be seen amounts to; empty in the outcome of one address.
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
    families: Mapping[Family, Heard] = field(default_factory=dict)
    lag: float = 0.0
    slow: bool | None = None
    pace: str = ""
    whole: int = 0
    audit: int = 0
    certificate_until: float | None = None
    disguised: bool = False


Seen = tuple[Address | None, Outcome]  # at an address; None where a name had none


def together(found: Sequence[Seen]) -> Outcome:
    """One outcome for a mirror from those of its addresses, each judged already (freshness.judge).

    Within a family the worst address decides, since a client may pick any of them; of the families the better one does.
    One that this machine cannot reach is left out as long as another can be seen; with none, the probe failed.
    A family over which the select url is not served, where it is over the other, counts as failed: it is of no use
    to those who are sent by A or AAAA.
    """
    if not found:
        raise ValueError("a mirror without an address cannot be probed")
    seen = [pair for pair in found if pair[1].kind is not Kind.BLIND]
    fine = [pair for pair in seen if pair[1].kind in FINE]
    decisive, reason = _decisive(found, seen)
    outcomes = [outcome for _, outcome in (fine or seen or found)]
    images: dict[str, bool] = {}
    for _, outcome in seen:
        for name, held in outcome.images.items():
            images[name] = held and images.get(name, True)
    families, serves_select = _families(seen)
    return replace(
        decisive,
        kind=Kind.FAILED if decisive.kind is Kind.BLIND else decisive.kind,
        at=max(outcome.at for _, outcome in found),
        reason=reason,
        rtt_ms=max((o.rtt_ms for o in outcomes if o.rtt_ms is not None), default=None),
        serves_select=serves_select,
        version=min((o.version for o in outcomes if o.version is not None), default=None),
        expires=min((o.expires for o in outcomes if o.expires is not None), default=None),
        until=min((o.until for o in outcomes if o.until is not None), default=None),
        images=images,
        suspects=tuple(sorted({sample for _, outcome in found for sample in outcome.suspects})),
        retry_after=max((o.retry_after for _, o in found if o.retry_after is not None), default=None),
        families=families,
        lag=max(o.lag for o in outcomes),
        whole=min(o.whole for o in outcomes),
        audit=max(o.audit for _, o in found),
        certificate_until=min((o.certificate_until for _, o in found if o.certificate_until is not None), default=None),
    )


def _decisive(found: Sequence[Seen], seen: Sequence[Seen]) -> tuple[Outcome, str]:
    """The outcome that the mirror's is like, and its reason with the address where there are several."""
    by_family: dict[int, Seen] = {}
    for pair in seen or found:
        family = pair[0].version if pair[0] else 0
        if family not in by_family or _RANK[pair[1].kind] > _RANK[by_family[family][1].kind]:
            by_family[family] = pair
    worst = list(by_family.values())
    if not any(outcome.kind is Kind.CORRUPT for _, outcome in worst):
        worst = [pair for pair in worst if pair[1].kind in FINE] or worst
    address, decisive = max(worst, key=lambda pair: _RANK[pair[1].kind])
    named = decisive.reason and len(found) > 1
    return decisive, f"{address}: {decisive.reason}" if named else decisive.reason


def _families(seen: Sequence[Seen]) -> tuple[dict[Family, Heard], bool | None]:
    """What was heard over each family, and whether the select url is served over any."""
    families: dict[Family, Heard] = {}
    serves: dict[Family, bool] = {}
    for address, outcome in seen:
        if address is None:
            continue
        family: Family = address.version
        if family not in families or _RANK[outcome.kind] > _RANK[families[family].kind]:
            families[family] = Heard(outcome.kind, f"{address}: {outcome.reason}" if outcome.reason else "")
        if outcome.serves_select is not None:
            serves[family] = outcome.serves_select and serves.get(family, True)
    if any(serves.values()):
        for family, does in serves.items():
            if not does and families[family].kind in FINE:
                families[family] = Heard(Kind.FAILED, "the select url is not served over it")
    return families, any(serves.values()) if serves else None
