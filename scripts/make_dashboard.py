"""Writes deploy/grafana.json, the dashboard for what `mirrornet serve --http` exports at /metrics.

    python scripts/make_dashboard.py > deploy/grafana.json

A dashboard's JSON is forty lines a panel, of which two say something; those stand here.  A test holds the file equal to
this, its queries to Prometheus' grammar, and their names to those that /metrics has.
"""

from __future__ import annotations

import json
import sys
from typing import Any

SERVER = 'instance=~"$instance"'
ZONE = f'{SERVER}, zone=~"$zone"'


def rate(metric: str, by: str = "", where: str = SERVER) -> str:
    """How fast a counter grows, added up but for the label `by`."""
    return f"sum{f' by ({by}) ' if by else ''}(rate({metric}{{{where}}}[$__rate_interval]))"


def late(part: float) -> str:
    """A quantile of the latency."""
    return f"histogram_quantile({part}, {rate('mirrornet_dns_latency_seconds_bucket', 'le')})"


HEIGHT = 8  # of a panel, in Grafana's units; the whole width is 24

# (title, unit, width, [(query, legend)], what it says); a title alone begins a row.
PANELS: list[tuple[str, str, int, list[tuple[str, str]], str]] = [
    ("At a glance", "", 0, [], ""),
    (
        "Queries", "reqps", 6,
        [(rate("mirrornet_dns_queries_total"), "all")],
        "Queries a second, by all transports.",
    ),
    (
        "Usable mirrors", "none", 6,
        [(f"min by (zone) (mirrornet_zone_usable_mirrors{{{ZONE}}})", "{{zone}}")],
        "0: no mirror is usable, and the nearest is answered all the same.",
    ),
    (
        "p99 of the latency", "s", 6,
        [(late(0.99), "p99")],
        "From reading a batch of queries to having sent it; what a query waited in the socket is not in it.",
    ),
    (
        "Lost in the sockets", "pps", 6,
        [(rate("mirrornet_dns_socket_overflows_total", "instance"), "{{instance}}")],
        "Datagrams that found the socket full.  Anything but 0 is a server that is too slow, or a flood.",
    ),
    ("Queries", "", 0, [], ""),
    (
        "By transport", "reqps", 8,
        [(rate("mirrornet_dns_queries_total", "transport"), "{{transport}}")],
        "",
    ),
    (
        "By type", "reqps", 8,
        [(rate("mirrornet_dns_queries_by_type_total", "type"), "{{type}}")],
        "",
    ),
    (
        "By rcode", "reqps", 8,
        [(rate("mirrornet_dns_responses_total", "rcode"), "{{rcode}}")],
        "",
    ),
    (
        "Answers by class", "reqps", 8,
        [(rate("mirrornet_dns_answers_total", "class"), "{{class}}")],
        "placed: for the asker's place; anywhere: nothing is known of him; last_resort: its mirrors are all down.",
    ),
    (
        "Latency", "s", 8,
        [
            (late(q), name)
            for q, name in ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"))
        ],
        "",
    ),
    (
        "With Client Subnet; over the limit", "percentunit", 8,
        [
            (f"{rate('mirrornet_dns_ecs_queries_total')} / {rate('mirrornet_dns_queries_total')}", "with ECS"),
            (
                f"{rate('mirrornet_dns_rate_limited_total', 'reply')} / scalar({rate('mirrornet_dns_queries_total')})",
                "limited, reply: {{reply}}",
            ),
        ],
        "Parts of all queries.",
    ),
    ("Mirrors", "", 0, [], ""),
    (
        "State", "none", 12,
        [(f"max by (mirror, state) (mirrornet_mirror_state{{{ZONE}}}) == 1", "{{mirror}}: {{state}}")],
        "",
    ),
    (
        "Time to first byte of probes", "s", 12,
        [(f"max by (mirror) (mirrornet_mirror_rtt_seconds{{{ZONE}}})", "{{mirror}}")],
        "",
    ),
    (
        "Answers that name it", "reqps", 12,
        [(rate("mirrornet_mirror_answers_total", "mirror", ZONE), "{{mirror}}")],
        "An answer with three mirrors counts for each of the three.",
    ),
    (
        "Share of the addresses", "percentunit", 12,
        [(f'avg by (mirror) (mirrornet_mirror_address_share_ratio{{{ZONE}, family="ipv4"}})', "{{mirror}}")],
        "IPv4; what the plan sends to it.",
    ),
    (
        "Behind the newest timestamp", "s", 8,
        [(f"max by (mirror) (mirrornet_mirror_lag_seconds{{{ZONE}}})", "{{mirror}}")],
        "",
    ),
    (
        "Part of its weight", "percentunit", 8,
        [(f"min by (mirror) (mirrornet_mirror_share_ratio{{{ZONE}}})", "{{mirror}}")],
        "Less than all of it while it is drained, or comes back.",
    ),
    (
        "Comings and goings in an hour", "none", 8,
        [(f"max by (mirror) (increase(mirrornet_mirror_flips_total{{{ZONE}}}[1h]))", "{{mirror}}")],
        "",
    ),
    ("What ends, and what grows old", "", 0, [], ""),
    (
        "Signed metadata ends in", "s", 8,
        [(f"min by (role) (mirrornet_repository_expiry_timestamp_seconds{{{ZONE}}}) - time()", "{{role}}")],
        "",
    ),
    (
        "TLS certificates end in", "s", 8,
        [(f"min by (mirror) (mirrornet_mirror_certificate_expiry_timestamp_seconds{{{ZONE}}}) - time()", "{{mirror}}")],
        "",
    ),
    (
        "Age of plan and world.table", "s", 8,
        [
            (f"mirrornet_plan_age_seconds{{{SERVER}}}", "plan, {{instance}}"),
            (f"mirrornet_world_table_age_seconds{{{SERVER}}}", "world.table, {{instance}}"),
        ],
        "A plan grows old where nothing changes; that is well.",
    ),
    ("Server", "", 0, [], ""),
    (
        "What a plan takes", "s", 6,
        [(f"mirrornet_plan_build_seconds{{{SERVER}}}", "{{instance}}")],
        "",
    ),
    (
        "Workers that died", "none", 6,
        [(f"increase(mirrornet_worker_restarts_total{{{SERVER}}}[1h])", "{{instance}}")],
        "In an hour.",
    ),
    (
        "Memory of the supervisor", "bytes", 6,
        [(f"process_resident_memory_bytes{{{SERVER}}}", "{{instance}}")],
        "",
    ),
    (
        "Vantages that are heard", "none", 6,
        [(f"sum by (instance) (mirrornet_vantage_fresh{{{SERVER}}})", "{{instance}}")],
        "",
    ),
]  # fmt: skip


def dashboard() -> dict[str, Any]:
    """The document."""
    panels: list[dict[str, Any]] = []
    x = y = 0
    for title, unit, width, queries, about in PANELS:
        number = len(panels) + 1
        if not queries:
            y += HEIGHT if x else 0
            row = {"id": number, "type": "row", "title": title, "collapsed": False, "panels": []}
            panels.append(row | {"gridPos": {"x": 0, "y": y, "w": 24, "h": 1}})
            x, y = 0, y + 1
            continue
        if x + width > 24:
            x, y = 0, y + HEIGHT
        panels.append(
            _panel(number, title, unit, queries, about) | {"gridPos": {"x": x, "y": y, "w": width, "h": HEIGHT}}
        )
        x += width
    variables = [
        _source(),
        _variable("instance", "mirrornet_ready"),
        _variable("zone", "mirrornet_zone_usable_mirrors"),
    ]
    return {
        "title": "mirrornet",
        "uid": "mirrornet",
        "tags": ["dns", "mirrors"],
        "schemaVersion": 39,
        "editable": True,
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "templating": {"list": variables},
        "panels": panels,
    }


def _panel(number: int, title: str, unit: str, queries: list[tuple[str, str]], about: str) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${datasource}"}
    targets = [
        {"refId": chr(65 + index), "datasource": source, "expr": query, "legendFormat": legend}
        for index, (query, legend) in enumerate(queries)
    ]
    defaults = {"unit": unit, "min": 0, "custom": {"fillOpacity": 8, "showPoints": "never"}}
    if "- time()" in queries[0][0]:
        del defaults["min"]  # what has ended is below zero
    return {
        "id": number,
        "type": "timeseries",
        "title": title,
        "description": about,
        "datasource": source,
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
    }


def _source() -> dict[str, Any]:
    return {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Source"}


def _variable(label: str, metric: str) -> dict[str, Any]:
    return {
        "name": label,
        "label": label.capitalize(),
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": {"query": f"label_values({metric}, {label})", "refId": label},
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
    }


if __name__ == "__main__":
    json.dump(dashboard(), sys.stdout, indent=1)
    print()
