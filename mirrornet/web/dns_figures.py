"""The workers' counters in Prometheus' words.  Pure.

They are known by their names in dns/serving/counters.py, which this room may not look into.  One that is not known here
is exported as `mirrornet_worker_events_total`, so that a new one is never lost.  What workers do not count, since it is
the most common, is added up here: rcode NOERROR is what had records, or none, or lies below a delegation.  (What is
left of all queries would do as well, were they not counted before their answers: a counter must not fall.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

Counts = Mapping[str, int]

_TRANSPORTS: Final = ("udp", "tcp", "tls")
_RCODES: Final = ("nxdomain", "refused", "formerr", "notimp", "badvers", "badcookie", "servfail")
_NOERROR: Final = ("tailored", "static", "nodata", "referral", "shortened")
_TYPES: Final = ("a", "aaaa", "ns", "soa", "txt", "srv", "uri", "https", "any", "other")
_BOUNDS: Final = {  # by counter: the upper bound in seconds
    "within_10us": "1e-05", "within_25us": "2.5e-05", "within_50us": "5e-05", "within_100us": "0.0001",
    "within_250us": "0.00025", "within_500us": "0.0005", "within_1ms": "0.001", "within_5ms": "0.005",
    "within_25ms": "0.025", "within_100ms": "0.1", "later": "+Inf",
}  # fmt: skip
_KINDS: Final = {
    "truncated": "Replies cut short with TC set, but for those over the rate limit",
    "dropped": "Messages that get no reply: answers, and what is no message",
    "unsent": "Replies that the kernel would not take",
}
_GAUGES: Final = {
    "tcp_open": ("mirrornet_dns_tcp_connections", "TCP connections open now"),
    "queued": ("mirrornet_dns_socket_queued_bytes", "Queries that wait in the sockets, as the kernel counts them"),
    "workers": ("mirrornet_workers", "Worker processes that run"),
    "generation": ("mirrornet_worker_plan_generation", "Oldest plan generation that a worker still uses"),
}
_COUNTERS: Final = {
    "ecs": ("mirrornet_dns_ecs_queries", "Queries with an EDNS Client Subnet option"),
    "overflowed": ("mirrornet_dns_socket_overflows", "Datagrams that found the sockets full and were lost"),
    "restarts": ("mirrornet_worker_restarts", "Workers that were replaced after they had died"),
    "plans": ("mirrornet_worker_plans", "Plans taken up by workers"),
    "plan_faults": ("mirrornet_worker_plan_faults", "Plan files that a worker could not read"),
}
_LABELLED: Final = {
    "mirrornet_dns_tcp_accepts": ("TCP connections", "outcome", {"tcp_accepted": "accepted", "tcp_refused": "refused"}),
    "mirrornet_query_log_lines": ("Lines of the query log", "outcome", {"log_lines": "written", "log_lost": "lost"}),
}
_REST: Final = (*_NOERROR, "limited", "silenced", "anywhere", "last_resort")
_KNOWN: Final = frozenset(
    (
        *_TRANSPORTS,
        *_RCODES,
        *(f"type_{name}" for name in _TYPES),
        *_BOUNDS,
        "latency_ns",
        *_KINDS,
        *_GAUGES,
        *_COUNTERS,
        *(name for _, _, names in _LABELLED.values() for name in names),
        *_REST,
        "pid",
    )
)


def metrics(counts: Counts) -> Iterable[Metric]:
    """Everything about answers."""

    def get(name: str) -> int:
        return counts.get(name, 0)

    transports = {"udp": get("udp"), "tcp": max(0, get("tcp") - get("tls")), "tls": get("tls")}
    yield _counter("mirrornet_dns_queries", "Queries received", "transport", transports)
    types = {name.upper() if name != "other" else name: get(f"type_{name}") for name in _TYPES}
    yield _counter("mirrornet_dns_queries_by_type", "Queries that could be read, by type", "type", types)
    rcodes = {"noerror": sum(map(get, _NOERROR))} | {name: get(name) for name in _RCODES}
    yield _counter("mirrornet_dns_responses", "Responses by rcode", "rcode", rcodes)
    classes = {
        "placed": max(0, get("tailored") - get("anywhere") - get("last_resort")),
        "anywhere": get("anywhere"),
        "last_resort": get("last_resort"),
        "static": get("static"),
        "nodata": get("nodata"),
        "nxdomain": get("nxdomain"),
        "referral": get("referral"),
    }
    about = (
        "Answers by class: chosen for the asker's place, the one for whoever has none that is known, one whose mirrors "
        "are all down, the same for everybody, none"
    )
    yield _counter("mirrornet_dns_answers", about, "class", classes)
    limited = {"none": get("silenced"), "short": max(0, get("limited") - get("silenced"))}
    yield _counter("mirrornet_dns_rate_limited", "Queries over the rate limit, by the reply", "reply", limited)
    yield _latency(counts)
    for name, about in _KINDS.items():
        yield CounterMetricFamily(f"mirrornet_dns_{name}", about, get(name))
    for metric, (about, label, names) in _LABELLED.items():
        yield _counter(metric, about, label, {value: get(name) for name, value in names.items()})
    for name, (metric, about) in _GAUGES.items():
        if name in counts:
            yield GaugeMetricFamily(metric, about, counts[name])
    for name, (metric, about) in _COUNTERS.items():
        yield CounterMetricFamily(metric, about, get(name))
    rest = {name: counts[name] for name in sorted(counts.keys() - _KNOWN)}
    yield _counter("mirrornet_worker_events", "Whatever else workers count", "event", rest)


def _counter(name: str, about: str, label: str, values: Mapping[str, int]) -> Metric:
    metric = CounterMetricFamily(name, about, labels=[label])
    for value, count in values.items():
        metric.add_metric([value], count)
    return metric


def _latency(counts: Counts) -> Metric:
    """A query's latency is its batch's: from when it was read to when the replies were handed to the kernel."""
    metric = HistogramMetricFamily("mirrornet_dns_latency_seconds", "From reading a batch of queries to having sent it")
    buckets, total = [], 0
    for name, bound in _BOUNDS.items():
        total += counts.get(name, 0)
        buckets.append((bound, total))
    metric.add_metric([], buckets, counts.get("latency_ns", 0) / 1e9)
    return metric
