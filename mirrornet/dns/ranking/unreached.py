"""Mirrors that clients of one AS cannot reach, by their reports: whom to keep from them (Verdict.barred).

MirrorCache's users wrote of mirrors that are dead for AS6697 alone; no probe of the operator's would ever see it.  So
where NETWORKS networks or more of an AS say in their latest reports (RECENT) that they asked a mirror and could not
reach it, while they reached others, and three times as many as have reached it, askers of that AS get others.

It heals by itself: who is not sent there does not report on it, so after RECENT the next ones are sent there again, and
either reach it or say so.  A network is a /24 or a /48, and has one voice an hour (reports.py); whoever has three of
them in an AS can keep a mirror from that AS, and from nobody else.  Mirrors of more than LIMIT of the weight at once
are not lost but those who say so, or they lie: nothing is barred then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from mirrornet.dns.ranking.reports import EARLY, OFTEN, Reported

NETWORKS: Final = 3
RECENT: Final = 2 * OFTEN  # seconds; a client reports once an hour
LIMIT: Final = 0.3  # of the zone's weight, for one AS

Barred = Mapping[str, Mapping[str, str]]  # by mirror: "AS64500" and the reason


def unreached(reported: Iterable[Reported], weights: Mapping[str, int], now: float) -> dict[str, dict[str, str]]:
    """By mirror (a key of `weights`): the ASes that cannot reach it, each with the reason."""
    lost: dict[int, Counter[str]] = {}
    reached: dict[int, Counter[str]] = {}
    for one in reported:
        asn = one.place.asn
        if not asn:
            continue
        for report in one.reports.values():
            if -EARLY <= now - report.at <= RECENT:
                lost.setdefault(asn, Counter()).update(report.lost)
                reached.setdefault(asn, Counter()).update(report.rtt.keys())
    total = sum(weights.values()) or 1
    found: dict[str, dict[str, str]] = {}
    for asn, counts in sorted(lost.items()):
        names = [
            name
            for name, count in sorted(counts.items())
            if name in weights and count >= NETWORKS and count >= 3 * reached[asn][name]
        ]
        if sum(weights[name] for name in names) > LIMIT * total:
            continue
        for name in names:
            why = f"{counts[name]} networks of it could not reach it lately, {reached[asn][name]} did"
            found.setdefault(name, {})[f"AS{asn}"] = why
    return found
