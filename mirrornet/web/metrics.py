"""The Snapshot in Prometheus' words.

A custom collector over a registry of its own: nothing is counted here, everything is read from the one Snapshot at the
moment of a scrape, so no counter can drift from what /status.json says and a test sees only its own server.  Names and
units follow Prometheus' conventions (seconds, base units, `_total` for what only grows, `_ratio` for 0 to 1).  Times
are told as Unix time, so that an alert reckons with them (`time() - mirrornet_plan_made_timestamp_seconds`), and the
two ages that everybody looks at first stand beside them.

What a label may say is bounded by the zone file: names of mirrors, zones and vantages, never an asker or a name that
was asked for.  dns_figures.py has the answers, mirror_figures.py the mirrors, eyes.py who looks besides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric

from mirrornet import __version__
from mirrornet.web import dns_figures, eyes, mirror_figures
from mirrornet.web.status import Snapshot

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_REPORTS: Final = {"204": "taken", "429": "too_soon", "404": "unknown_select", "500": "error"}


class Metrics:
    """`Metrics(snapshot).text()` is the body of /metrics, in the text format 0.0.4.

    `http`: how many requests at the window got which HTTP status.
    """

    def __init__(self, snapshot: Callable[[], Snapshot], http: Mapping[int, int] | None = None) -> None:
        self._snapshot = snapshot
        self._http = http or {}
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)  # of the supervisor: memory, processor, open files

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
        yield from mirror_figures.metrics(snapshot)
        yield from _plan(snapshot)
        yield from eyes.metrics(snapshot.sharing)
        yield from dns_figures.metrics(snapshot.counters)
        yield from _letters(snapshot.reports)
        requests = CounterMetricFamily("mirrornet_http_requests", "Requests at this socket", labels=["code"])
        for status, times in sorted(self._http.items()):
            requests.add_metric([str(status)], times)
        yield requests


def _plan(snapshot: Snapshot) -> Iterable[Metric]:
    plan, table, now = snapshot.plan, snapshot.table, snapshot.now
    if plan is not None:
        yield GaugeMetricFamily("mirrornet_plan_generation", "The plan that was published last", plan.generation)
        yield GaugeMetricFamily("mirrornet_plan_made_timestamp_seconds", "When it was made", plan.made)
        yield GaugeMetricFamily("mirrornet_plan_age_seconds", "How old it is", max(0.0, now - plan.made))
        yield GaugeMetricFamily("mirrornet_plan_build_seconds", "What making it took", plan.build_seconds)
        yield GaugeMetricFamily("mirrornet_plan_ranges", "Address ranges in it", plan.ranges)
        yield GaugeMetricFamily("mirrornet_plan_answer_classes", "Answer classes in it", plan.classes)
        told = "Mirrors that turn places away while others are out"
        yield GaugeMetricFamily("mirrornet_plan_full_mirrors", told, len(plan.full))
        told = "What the fullest mirror carries, by what `health: spill` allows, where the rest cannot carry the load"
        yield GaugeMetricFamily("mirrornet_plan_overload_ratio", told, plan.overload)
    if table is not None:
        yield GaugeMetricFamily("mirrornet_world_table_created_timestamp_seconds", "When it was made", table.created)
        yield GaugeMetricFamily("mirrornet_world_table_age_seconds", "How old it is", max(0.0, now - table.created))
        yield GaugeMetricFamily("mirrornet_world_table_ranges", "Address ranges in it", table.ranges)


def _letters(reports: Mapping[str, int]) -> Iterable[Metric]:
    """POST /v1/rtt."""
    found = dict.fromkeys((*_REPORTS.values(), "malformed"), 0)
    for status, times in reports.items():
        found[_REPORTS.get(status, "malformed")] += times
    metric = CounterMetricFamily("mirrornet_rtt_reports", "Clients' reports of round trips", labels=["outcome"])
    for outcome, times in found.items():
        metric.add_metric([outcome], times)
    yield metric
