"""Zones and their mirrors in Prometheus' words.  Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from mirrornet.model.override import Action
from mirrornet.model.verdict import State
from mirrornet.model.zone import Mirror
from mirrornet.web.status import Snapshot, ZoneStatus

_MIRROR: Final = ("zone", "mirror")
_RECORDS: Final = ("A", "AAAA", "list")


class _Gauges:
    """Gauges of one mirror each, made when they are first set."""

    def __init__(self) -> None:
        self.found: dict[str, GaugeMetricFamily] = {}

    def set(self, name: str, about: str, value: float, **labels: str) -> None:
        if name not in self.found:
            self.found[name] = GaugeMetricFamily(name, about, labels=list(labels))
        self.found[name].add_metric(list(labels.values()), value)


def metrics(snapshot: Snapshot) -> Iterable[Metric]:
    """Of every zone and every mirror; what is not known of a mirror is left out."""
    gauges = _Gauges()
    flips = CounterMetricFamily("mirrornet_mirror_flips", "Changes between usable and not", labels=list(_MIRROR))
    answers = CounterMetricFamily(
        "mirrornet_mirror_answers",
        "Answers that named it, by the records it stood in (list: SRV, URI, TXT)",
        labels=[*_MIRROR, "records"],
    )
    probes = CounterMetricFamily("mirrornet_probes", "Probes made, one per address", labels=["zone"])
    for status in snapshot.zones:
        zone = status.zone.name
        probes.add_metric([zone], status.probes)
        gauges.set(
            "mirrornet_zone_usable_mirrors", "0: the nearest is answered though it is down", status.usable, zone=zone
        )
        for role, ends in status.expiries.items():
            about = "When a role of the newest signed metadata ends"
            gauges.set("mirrornet_repository_expiry_timestamp_seconds", about, ends, zone=zone, role=role)
        for mirror in status.zone.mirrors:
            _mirror(gauges, status, mirror)
            flips.add_metric([zone, mirror.name], status.flips.get(mirror.name, 0))
            for records in _RECORDS:
                times = status.answers.get((mirror.name, records))
                if times is not None:
                    answers.add_metric([zone, mirror.name, records], times)
    yield from (probes, flips, answers)
    yield from gauges.found.values()


def _mirror(gauges: _Gauges, status: ZoneStatus, mirror: Mirror) -> None:
    verdict, which = status.verdict(mirror), {"zone": status.zone.name, "mirror": mirror.name}
    gauges.set("mirrornet_mirror_up", "1 where the mirror may be answered", float(verdict.usable), **which)
    for state in State:
        name, about = "mirrornet_mirror_state", "1 for the state it is in"
        gauges.set(name, about, float(verdict.state is state), **which, state=state.value)
    for family in (4, 6):
        if any(address.version == family for address in mirror.addresses):
            up = float(verdict.usable and (verdict.families is None or family in verdict.families))
            name, about = "mirrornet_mirror_family_up", "1 where it may be answered over this family"
            gauges.set(name, about, up, **which, family=f"ipv{family}")
    gauges.set(
        "mirrornet_mirror_share_ratio",
        "Part of its weight that it may have: less while it is drained or comes back",
        verdict.share,
        **which,
    )
    gauges.set("mirrornet_mirror_weight", "Its weight in the zone file", mirror.weight, **which)
    gauges.set("mirrornet_mirror_lag_seconds", "How long it has been behind the newest timestamp", verdict.lag, **which)
    gauges.set("mirrornet_mirror_barred_networks", "Askers for whom it is out of reach", len(verdict.barred), **which)
    override = verdict.override
    for action in (Action.DRAIN, Action.FORCE_UP, Action.FORCE_DOWN):
        on = float(override is not None and override.action is action)
        gauges.set("mirrornet_mirror_override", "1 for what was ordered by hand", on, **which, action=action.value)
    if override is not None and override.until is not None:
        name, about = "mirrornet_mirror_override_until_timestamp_seconds", "When the order by hand ends"
        gauges.set(name, about, override.until, **which)
    known = {
        "mirrornet_mirror_rtt_seconds": ("Time to first byte of the last probe", _per_mille(verdict.rtt_ms)),
        "mirrornet_mirror_state_since_timestamp_seconds": ("When its state changed", verdict.since or None),
        "mirrornet_mirror_repository_version": ("Timestamp version it shows", verdict.repository_version),
        "mirrornet_mirror_serves_select": ("1 where the select url works there", verdict.serves_select),
        "mirrornet_mirror_certificate_expiry_timestamp_seconds": (
            "When its TLS certificate ends",
            verdict.certificate_until,
        ),
    }
    for name, (about, value) in known.items():
        if value is not None:
            gauges.set(name, about, float(value), **which)
    for select, regions in status.regions.items():
        for served, shares in regions.shares.items():
            name, about = "mirrornet_mirror_address_share_ratio", "Part of the announced addresses that are sent to it"
            gauges.set(name, about, shares.get(mirror.name, 0.0), **which, select=select, family=f"ipv{served}")


def _per_mille(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
