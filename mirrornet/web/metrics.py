"""The Snapshot in Prometheus' words.

A custom collector over a registry of its own: nothing is counted here, everything is read from the one Snapshot at the
moment of a scrape, so no counter can drift from what /status.json says and a test sees only its own server.  Names and
units follow Prometheus' conventions (seconds, base units, `_total` for what only grows).  Ages are left to the reader
where he can compute them (`time() - mirrornet_plan_made_timestamp_seconds`) and given beside it where he looks first.

Counters of the workers are known by their names in dns/serving/counters.py.  One that is not known here is exported as
`mirrornet_worker_events_total`, so that a new one is never lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric

from mirrornet import __version__
from mirrornet.model.verdict import State
from mirrornet.web import eyes
from mirrornet.web.status import Snapshot

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_TRANSPORTS: Final = ("udp", "tcp")
_RCODES: Final = ("nxdomain", "refused", "formerr", "notimp", "badvers", "servfail")
_KINDS: Final = {
    "nodata": "answers that the name exists without such a record",
    "referral": "referrals to a delegated child zone",
    "truncated": "answers cut short with TC set",
    "limited": "queries over the rate limit, with a short reply or none",
    "dropped": "messages that get no reply: answers, and what is no message",
    "unsent": "replies that the kernel would not take",
}
_GAUGES: Final = {
    "tcp_open": ("mirrornet_dns_tcp_connections", "TCP connections open now"),
    "workers": ("mirrornet_workers", "Worker processes that run"),
    "generation": ("mirrornet_worker_plan_generation", "Oldest plan generation that a worker still uses"),
}
_COUNTERS: Final = {
    "ecs": ("mirrornet_dns_ecs_queries", "Queries with an EDNS Client Subnet option"),
    "restarts": ("mirrornet_worker_restarts", "Workers that were replaced after they had died"),
    "plans": ("mirrornet_worker_plans", "Plans taken up by workers"),
    "plan_faults": ("mirrornet_worker_plan_faults", "Plan files that a worker could not read"),
}


class Metrics:
    """`Metrics(snapshot).text()` is the body of /metrics, in the text format 0.0.4."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._noerror = 0  # greatest seen: workers count in two steps, and a counter must not fall

    def text(self) -> bytes:
        return bytes(generate_latest(self._registry))

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not ask for a Snapshot."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """All metrics, from one Snapshot."""
        snapshot = self._snapshot()
        yield InfoMetricFamily("mirrornet_build", "This program", value={"version": __version__})
        yield GaugeMetricFamily("mirrornet_ready", "1 once DNS answers are given", float(not snapshot.not_ready))
        yield GaugeMetricFamily("mirrornet_start_time_seconds", "Unix time of the start", snapshot.started)
        yield from _mirrors(snapshot)
        yield from _plan(snapshot)
        yield from eyes.metrics(snapshot.sharing)
        yield from self._queries(snapshot)

    def _queries(self, snapshot: Snapshot) -> Iterable[Metric]:
        counts = snapshot.counters
        queries = CounterMetricFamily("mirrornet_dns_queries", "Queries received", labels=["transport"])
        for transport in _TRANSPORTS:
            queries.add_metric([transport], counts.get(transport, 0))
        yield queries
        failed = sum(counts.get(name, 0) for name in (*_RCODES, "dropped"))
        total = sum(counts.get(name, 0) for name in _TRANSPORTS)
        self._noerror = max(self._noerror, total - failed)
        responses = CounterMetricFamily("mirrornet_dns_responses", "Responses by rcode", labels=["rcode"])
        responses.add_metric(["noerror"], self._noerror)
        for rcode in _RCODES:
            responses.add_metric([rcode], counts.get(rcode, 0))
        yield responses
        for name, help_text in _KINDS.items():
            yield CounterMetricFamily(f"mirrornet_dns_{name}", f"Of these, {help_text}", counts.get(name, 0))
        accepted = CounterMetricFamily("mirrornet_dns_tcp_accepts", "TCP connections", labels=["outcome"])
        for outcome in ("accepted", "refused"):
            accepted.add_metric([outcome], counts.get(f"tcp_{outcome}", 0))
        yield accepted
        for name, (metric, help_text) in _GAUGES.items():
            if name in counts:
                yield GaugeMetricFamily(metric, help_text, counts[name])
        for name, (metric, help_text) in _COUNTERS.items():
            yield CounterMetricFamily(metric, help_text, counts.get(name, 0))
        known = {*_TRANSPORTS, *_RCODES, *_KINDS, *_GAUGES, *_COUNTERS, "tcp_accepted", "tcp_refused", "pid"}
        rest = CounterMetricFamily("mirrornet_worker_events", "Whatever else workers count", labels=["event"])
        for name in sorted(counts.keys() - known):
            rest.add_metric([name], counts[name])
        yield rest


def _mirrors(snapshot: Snapshot) -> Iterable[Metric]:
    labels = ["zone", "mirror"]
    up = GaugeMetricFamily("mirrornet_mirror_up", "1 where the mirror may be answered", labels=labels)
    state = GaugeMetricFamily("mirrornet_mirror_state", "1 for the state it is in", labels=[*labels, "state"])
    rtt = GaugeMetricFamily("mirrornet_mirror_rtt_seconds", "Time to first byte of the last probe", labels=labels)
    since = GaugeMetricFamily("mirrornet_mirror_state_since_timestamp_seconds", "When its state changed", labels=labels)
    version = GaugeMetricFamily("mirrornet_mirror_repository_version", "Timestamp version it shows", labels=labels)
    select = GaugeMetricFamily("mirrornet_mirror_serves_select", "1 where the select url works there", labels=labels)
    flips = CounterMetricFamily("mirrornet_mirror_flips", "Changes between usable and not", labels=labels)
    probes = CounterMetricFamily("mirrornet_probes", "Probes made, one per address", labels=["zone"])
    usable = GaugeMetricFamily("mirrornet_zone_usable_mirrors", "0: the nearest is answered anyway", labels=["zone"])
    for status in snapshot.zones:
        zone = status.zone.name
        probes.add_metric([zone], status.probes)
        usable.add_metric([zone], status.usable)
        for mirror in status.zone.mirrors:
            verdict, key = status.verdict(mirror), [zone, mirror.name]
            up.add_metric(key, float(verdict.usable))
            for each in State:
                state.add_metric([*key, each.value], float(verdict.state is each))
            if verdict.rtt_ms is not None:
                rtt.add_metric(key, verdict.rtt_ms / 1000)
            if verdict.since:
                since.add_metric(key, verdict.since)
            if verdict.repository_version is not None:
                version.add_metric(key, verdict.repository_version)
            if verdict.serves_select is not None:
                select.add_metric(key, float(verdict.serves_select))
            flips.add_metric(key, status.flips.get(mirror.name, 0))
    yield from (up, state, rtt, since, version, select, flips, probes, usable)


def _plan(snapshot: Snapshot) -> Iterable[Metric]:
    plan, table, now = snapshot.plan, snapshot.table, snapshot.now
    if plan is not None:
        yield GaugeMetricFamily("mirrornet_plan_generation", "The plan that was published last", plan.generation)
        yield GaugeMetricFamily("mirrornet_plan_made_timestamp_seconds", "When it was made", plan.made)
        yield GaugeMetricFamily("mirrornet_plan_age_seconds", "How old it is", max(0.0, now - plan.made))
        yield GaugeMetricFamily("mirrornet_plan_build_seconds", "What making it took", plan.build_seconds)
        yield GaugeMetricFamily("mirrornet_plan_ranges", "Address ranges in it", plan.ranges)
        yield GaugeMetricFamily("mirrornet_plan_answer_classes", "Answer classes in it", plan.classes)
    if table is not None:
        yield GaugeMetricFamily("mirrornet_world_table_created_timestamp_seconds", "When it was made", table.created)
        yield GaugeMetricFamily("mirrornet_world_table_age_seconds", "How old it is", max(0.0, now - table.created))
        yield GaugeMetricFamily("mirrornet_world_table_ranges", "Address ranges in it", table.ranges)
