"""Who is behind?  Mirrors are compared with the newest timestamp that any of them has shown.

Only the publisher can make a timestamp, so the greatest version with a good signature is the truth, whoever shows it.
A mirror falls behind not when it was last synced but when something newer than what it has was first seen anywhere:
that moment is kept for every version (`Sightings`).  For `repository.lag` after it the mirror stays, as lagging; a
publication therefore moves no load to whoever synced first.  Then it is stale.  Expired metadata is stale at once.

Rejected: a schedule of the publisher's (it would have to be configured and would be wrong), and the mirror's own
Last-Modified (a mirror that does not sync has no reason to tell the truth about it).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from mirrornet.health.rule.outcome import Kind, Outcome
from mirrornet.model.units import format_duration

Sightings = Mapping[int, float]  # timestamp version → Unix time at which it was first seen at any mirror
KEPT: Final = 64  # versions; a mirror that is more than this far behind is judged by the oldest one kept


def sight(sightings: Sightings, version: int, now: float) -> Sightings:
    """`sightings` with `version` in it, seen first at `now` unless it was known."""
    if version in sightings:
        return sightings
    grown = {**sightings, version: now}
    return {kept: grown[kept] for kept in sorted(grown)[-KEPT:]}


def behind_since(sightings: Sightings, version: int) -> float | None:
    """Unix time since which something newer than `version` has been known; None where it is the newest."""
    return min((at for newer, at in sightings.items() if newer > version), default=None)


def judge(outcome: Outcome, sightings: Sightings, lag: float) -> Outcome:
    """`outcome` with its freshness judged: a good probe may turn into a lagging or a stale one.

    `lag` in seconds.  `until` of the result is the time at which the same timestamp would turn stale, `lag` how long it
    has been behind.
    """
    if outcome.kind is not Kind.OK or outcome.version is None:
        return outcome
    if outcome.expires is not None and outcome.expires <= outcome.at:
        age = format_duration(outcome.at - outcome.expires)
        return replace(outcome, kind=Kind.STALE, reason=f"its metadata expired {age} ago: sync it, or resign")
    since = behind_since(sightings, outcome.version)
    deadlines = [] if outcome.expires is None else [outcome.expires]
    if since is None:
        return replace(outcome, until=min(deadlines, default=None))
    what = f"has timestamp {outcome.version}, the newest is {max(sightings)}"
    behind = max(0.0, outcome.at - since)
    if behind >= lag:
        reason = f"{what}, since {format_duration(behind)}: longer than {format_duration(lag)}"
        return replace(outcome, kind=Kind.STALE, reason=reason, lag=behind)
    return replace(outcome, kind=Kind.LAGGING, reason=what, until=min([*deadlines, since + lag]), lag=behind)
