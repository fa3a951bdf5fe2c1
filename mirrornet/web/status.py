"""What the server knows at one moment, and the document of /status.json.  Pure.

A Snapshot is made of values that every room may hold, since this room may not look into others.  The document is plain
JSON that any language reads: times are Unix seconds, durations are seconds with the unit in the key, what is not known
is null, and what is endless (the promise of a mirror that is never probed) is null, too, because JSON has no infinity.
Keys may be added; none changes its meaning.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mirrornet import __version__
from mirrornet.model.override import Override
from mirrornet.model.place import Place
from mirrornet.model.regions import Regions
from mirrornet.model.verdict import State, Verdict, Verdicts
from mirrornet.model.zone import Mirror, Zone
from mirrornet.web import eyes
from mirrornet.web.eyes import SharingStatus

_NEVER_SEEN = Verdict(State.UNKNOWN, 1.0, reason="not probed yet")


@dataclass(frozen=True, slots=True)
class PlanStatus:
    """The plan in force.  `made`: Unix time.  `build_seconds`: what making it took.

    `full`: mirrors that turn places away while others are out; `overload`: how many times what `health: spill` allows
    the fullest mirror carries; 1 where nobody carries more.
    """

    generation: int
    made: float
    build_seconds: float
    ranges: int = 0
    classes: int = 0
    full: tuple[str, ...] = ()
    overload: float = 1.0


@dataclass(frozen=True, slots=True)
class TableStatus:
    """The world.table in use.  `created`: Unix time of its import."""

    created: float
    ranges: int = 0
    places: int = 0
    checksum: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a mirror's state in the past: when (Unix time), to what, and why."""

    at: float
    state: State
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ZoneStatus:
    """One zone: what its file says, what probes say, and how often each mirror's `usable` has changed, by name.

    By mirror, too: `changes`, the last ones of its state, the newest last; `places`, where it is as the ranking has it
    (the zone file's word, else looked up by address); `asked`, its share of the answers that were given;
    `answers`, how often it was named in which records ("A", "AAAA", "list").  `regions`: by select name, whom each
    mirror serves by the plan of generation `surveyed`, the one before while this one's are being reckoned; none before
    the first.  `expiries`: Unix time at which each role of the repository's metadata ends, where probes have seen it.
    """

    zone: Zone
    verdicts: Verdicts
    flips: Mapping[str, int] = field(default_factory=dict)
    probes: int = 0
    changes: Mapping[str, Sequence[Change]] = field(default_factory=dict)
    places: Mapping[str, Place] = field(default_factory=dict)
    regions: Mapping[str, Regions] = field(default_factory=dict)
    asked: Mapping[str, float] = field(default_factory=dict)
    answers: Mapping[tuple[str, str], int] = field(default_factory=dict)
    expiries: Mapping[str, float] = field(default_factory=dict)
    surveyed: int = 0

    def verdict(self, mirror: Mirror) -> Verdict:
        return self.verdicts.get(mirror.name, _NEVER_SEEN)

    def place(self, mirror: Mirror) -> Place:
        return self.places.get(mirror.name, mirror.place)

    @property
    def usable(self) -> int:
        """Mirrors that may be answered; 0 means that the nearest is answered though it is down."""
        return sum(self.verdict(mirror).usable for mirror in self.zone.mirrors)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The server at `now` (Unix time).  `not_ready`: why no answers are given yet, "" once they are.

    `counters`: of all workers together, by the names of dns/serving/counters.py, with `workers` and `restarts`.
    `reports`: of round trips, by the HTTP status they got.
    """

    now: float
    started: float
    zones: tuple[ZoneStatus, ...]
    not_ready: str = ""
    plan: PlanStatus | None = None
    table: TableStatus | None = None
    counters: Mapping[str, int] = field(default_factory=dict)
    reports: Mapping[str, int] = field(default_factory=dict)
    sharing: SharingStatus | None = None


def document(snapshot: Snapshot) -> dict[str, Any]:
    """The document of /status.json: strict JSON values only."""
    return {
        "version": __version__,
        "now": snapshot.now,
        "started": snapshot.started,
        "uptime_seconds": _age(snapshot, snapshot.started),
        "ready": not snapshot.not_ready,
        "reason": snapshot.not_ready,
        "zones": [_zone(snapshot, zone) for zone in snapshot.zones],
        "plan": _plan(snapshot),
        "world_table": _table(snapshot),
        "counters": dict(snapshot.counters),
        "reports": dict(snapshot.reports),
        "eyes": eyes.document(snapshot.sharing, snapshot.now),
    }


def _age(snapshot: Snapshot, since: float) -> float:
    return round(max(0.0, snapshot.now - since), 3)


def _days(snapshot: Snapshot, until: float | None) -> int | None:
    """Whole days left; below zero once it is over."""
    return None if until is None else int((until - snapshot.now) // 86400)


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 3)


def _plan(snapshot: Snapshot) -> dict[str, Any] | None:
    plan = snapshot.plan
    if plan is None:
        return None
    return {
        "generation": plan.generation,
        "made": plan.made,
        "age_seconds": _age(snapshot, plan.made),
        "build_seconds": _finite(plan.build_seconds),
        "ranges": plan.ranges,
        "answer_classes": plan.classes,
        "full_mirrors": list(plan.full),
        "overload": round(plan.overload, 3),
    }


def _table(snapshot: Snapshot) -> dict[str, Any] | None:
    table = snapshot.table
    if table is None:
        return None
    return {
        "created": table.created,
        "age_seconds": _age(snapshot, table.created),
        "ranges": table.ranges,
        "places": table.places,
        "checksum": table.checksum,
    }


def _zone(snapshot: Snapshot, status: ZoneStatus) -> dict[str, Any]:
    zone = status.zone
    return {
        "zone": zone.name,
        "serial": zone.serial,
        "probe": zone.health.probe,
        "interval_seconds": zone.health.interval,
        "probes": status.probes,
        "select": [
            {"name": zone.select_fqdn(select), "url": select.url, "answers": select.answers, "ttl": select.ttl}
            for select in zone.select
        ],
        "usable_mirrors": status.usable,
        "address_share_generation": status.surveyed or None,
        "metadata_expires": dict(status.expiries),
        "mirrors": [_mirror(snapshot, status, mirror) for mirror in zone.mirrors],
    }


def _mirror(snapshot: Snapshot, status: ZoneStatus, mirror: Mirror) -> dict[str, Any]:
    verdict = status.verdict(mirror)
    return {
        "name": mirror.name,
        "url": mirror.url,
        "addresses": [str(address) for address in mirror.addresses],
        "place": _place(status.place(mirror)),
        "weight": mirror.weight,
        "share": round(verdict.share, 4),
        "override": _override(verdict.override),
        "state": str(verdict.state),
        "usable": verdict.usable,
        "since": verdict.since or None,
        "for_seconds": _age(snapshot, verdict.since) if verdict.since else None,
        "reason": verdict.reason,
        "rtt_ms": _finite(verdict.rtt_ms),
        "lag_seconds": _finite(verdict.lag),
        "promise_seconds": _finite(verdict.promise),
        "silent_over": [f for f in (4, 6) if not verdict.answers(f) and any(a.version == f for a in mirror.addresses)],
        "certificate_until": verdict.certificate_until,
        "certificate_days": _days(snapshot, verdict.certificate_until),
        "serves_select": verdict.serves_select,
        "holds": None if verdict.holds is None else sorted(verdict.holds),
        "repository_version": verdict.repository_version,
        "flips": status.flips.get(mirror.name, 0),
        "changes": [
            {"at": change.at, "state": str(change.state), "reason": change.reason}
            for change in status.changes.get(mirror.name, ())
        ],
        "address_share": {name: _addresses(regions, mirror.name) for name, regions in status.regions.items()},
        "query_share": _finite(status.asked.get(mirror.name, 0.0)) if status.asked else None,
    }


def _override(override: Override | None) -> dict[str, Any] | None:
    return None if override is None else {**asdict(override), "action": str(override.action)}


def _addresses(regions: Regions, mirror: str) -> dict[str, float]:
    """The mirror's share of the addresses of each family, from 0 to 1."""
    return {f"ipv{family}": round(shares.get(mirror, 0.0), 6) for family, shares in regions.shares.items()}


def _place(place: Place) -> dict[str, Any]:
    return {
        "country": place.country or None,
        "latitude": place.latitude,
        "longitude": place.longitude,
        "asn": place.asn or None,
        "anycast": place.anycast,
    }
