"""What is shown of the eyes of others: who is heard, who is not believed and why, who is outvoted.  Pure.

Values for a Snapshot, their part of /status.json (`eyes`) and their metrics.  A vantage is named with what it says
otherwise than the rest; whether it is cut off or lies, a person decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric


@dataclass(frozen=True, slots=True)
class VantageStatus:
    """One vantage.  `heard`: Unix time of its newest statement, 0 for none.  `fresh`: its votes count now.

    `refused`: why what it says is not believed, "" where it is.  `outvoted`: on which mirrors it says otherwise, each
    with what it says ("tokyo: down").
    """

    name: str
    asn: int
    country: str
    heard: float
    fresh: bool
    refused: str = ""
    outvoted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SharingStatus:
    """`name`: this server's own among the vantages.  `trouble`: why the board does not answer, "" where it does.

    `quorum` None: more than half.  `limit`, and `moved` by zone: parts of the weight, 0 to 1, that others may move and
    do.  `stopped`: mirrors by zone that the limit keeps as they are seen here.  `outvoted`: as a vantage's, this
    server's own.
    """

    url: str
    name: str = ""
    trouble: str = ""
    quorum: int | None = None
    limit: float = 0.3
    moved: Mapping[str, float] = field(default_factory=dict)
    stopped: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    outvoted: tuple[str, ...] = ()
    vantages: tuple[VantageStatus, ...] = ()


def document(sharing: SharingStatus | None, now: float) -> dict[str, Any] | None:
    """The part `eyes` of /status.json; None where nothing is shared."""
    if sharing is None:
        return None
    return {
        "url": sharing.url,
        "name": sharing.name or None,
        "trouble": sharing.trouble or None,
        "quorum": sharing.quorum,
        "limit": sharing.limit,
        "moved": {zone: round(part, 4) for zone, part in sharing.moved.items()},
        "stopped": {zone: list(names) for zone, names in sharing.stopped.items()},
        "outvoted": list(sharing.outvoted),
        "vantages": [
            {
                "name": one.name,
                "asn": one.asn or None,
                "country": one.country or None,
                "heard": one.heard or None,
                "age_seconds": round(max(0.0, now - one.heard), 3) if one.heard else None,
                "fresh": one.fresh,
                "refused": one.refused or None,
                "outvoted": list(one.outvoted),
            }
            for one in sharing.vantages
        ],
    }


def metrics(sharing: SharingStatus | None) -> Iterable[Metric]:
    """Gauges; none where nothing is shared."""
    if sharing is None:
        return
    yield GaugeMetricFamily("mirrornet_eyes_connected", "1 while Redis answers", float(not sharing.trouble))
    moved = GaugeMetricFamily(
        "mirrornet_eyes_moved_ratio", "Part of the zone's weight that others move", labels=["zone"]
    )
    stopped = GaugeMetricFamily(
        "mirrornet_eyes_stopped_mirrors", "Mirrors that others could not move: out of bounds", labels=["zone"]
    )
    for zone, part in sharing.moved.items():
        moved.add_metric([zone], part)
        stopped.add_metric([zone], len(sharing.stopped.get(zone, ())))
    fresh = GaugeMetricFamily("mirrornet_vantage_fresh", "1 while its votes count", labels=["vantage"])
    heard = GaugeMetricFamily("mirrornet_vantage_heard_timestamp_seconds", "Its newest statement", labels=["vantage"])
    refused = GaugeMetricFamily("mirrornet_vantage_refused", "1 while what it says is not believed", labels=["vantage"])
    outvoted = GaugeMetricFamily(
        "mirrornet_vantage_outvoted_mirrors", "Mirrors of which it says otherwise than the rest", labels=["vantage"]
    )
    for one in sharing.vantages:
        fresh.add_metric([one.name], float(one.fresh))
        refused.add_metric([one.name], float(bool(one.refused)))
        outvoted.add_metric([one.name], len(one.outvoted))
        if one.heard:
            heard.add_metric([one.name], one.heard)
    yield from (moved, stopped, fresh, heard, refused, outvoted)
