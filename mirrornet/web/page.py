"""The status page: tables that any browser shows, in its own light or dark, at any width, without JavaScript.  Pure.

Everything that comes from a file or a mirror is escaped here, at the only place where text becomes HTML.  A state is
told by a word and, beside it, by colour; both colours of every pair keep a contrast of 4.5 to 1 (WCAG 2.2, 1.4.3).
Rejected: a template engine (one page, one loop), a framework, anything fetched from elsewhere.
"""

from __future__ import annotations

import math
from html import escape
from typing import Final

from mirrornet import __version__
from mirrornet.model.place import Place
from mirrornet.model.units import format_duration
from mirrornet.model.verdict import State, Verdict
from mirrornet.model.zone import Mirror
from mirrornet.web.status import Snapshot, ZoneStatus

STYLE: Final = """\
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --line: #d0d7de; --soft: #57606a;
  --good: #1a6b33; --fair: #7a5200; --poor: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --paper: #14181d; --line: #3a424c; --soft: #9aa5b1;
    --good: #5bd07f; --fair: #e3b341; --poor: #ff8f87; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 76rem; font: 1rem/1.5 system-ui, sans-serif;
  color: var(--ink); background: var(--paper); }
h1 { font-size: 1.4rem; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 1.5rem 0 .25rem; }
p { margin: .25rem 0; } .soft { color: var(--soft); }
.wide { overflow-x: auto; } .wide:focus-visible { outline: 2px solid currentColor; }
table { border-collapse: collapse; width: 100%; margin-top: .5rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; } th, td { text-align: left; padding: .35rem .75rem .35rem 0; vertical-align: top;
  border-bottom: 1px solid var(--line); }
td.number, th.number { text-align: right; white-space: nowrap; } td.url { overflow-wrap: anywhere; min-width: 12rem; }
.good { color: var(--good); } .fair { color: var(--fair); } .poor { color: var(--poor); }
strong.alarm { display: block; padding: .5rem .75rem; border: 2px solid var(--poor); color: var(--poor); }
a { color: inherit; }
"""

_CLASS: Final = {
    State.UP: "good",
    State.LAGGING: "fair",
    State.SLOW: "fair",
    State.UNKNOWN: "fair",
    State.DOWN: "poor",
    State.STALE: "poor",
    State.CORRUPT: "poor",
    State.DRAINED: "fair",
    State.FORCED_UP: "fair",
    State.FORCED_DOWN: "poor",
}
_COUNTED: Final = {
    "udp": "Queries by UDP",
    "tcp": "Queries by TCP",
    "ecs": "With Client Subnet",
    "nxdomain": "NXDOMAIN",
    "refused": "REFUSED",
    "servfail": "SERVFAIL",
    "truncated": "Truncated",
    "dropped": "Dropped",
    "limited": "Over the limit",
}


def render(snapshot: Snapshot) -> str:
    """The page as HTML."""
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        "<title>mirrornet: mirrors</title>",
        '<link rel="stylesheet" href="style.css"></head><body><header><h1>mirrornet</h1>',
        f'<p class="soft">version {escape(__version__)}, up for {_since(snapshot, snapshot.started)}.',
        ' As data: <a href="status.json">status.json</a>, <a href="metrics">metrics</a>.</p></header><main>',
    ]
    if snapshot.not_ready:
        parts.append(f'<strong class="alarm">No answers yet: {escape(snapshot.not_ready)}</strong>')
    parts += [_zone(snapshot, zone) for zone in snapshot.zones]
    parts += [_server(snapshot), "</main></body></html>\n"]
    return "".join(parts)


def _zone(snapshot: Snapshot, status: ZoneStatus) -> str:
    zone = status.zone
    names = ", ".join(f"{escape(zone.select_fqdn(s))} for {escape(s.url)}" for s in zone.select)
    head = f'<section><h2>{escape(zone.name)}</h2><p class="soft">{names}</p>'
    alarm = ""
    if zone.mirrors and not status.usable and not snapshot.not_ready:
        alarm = '<strong class="alarm">No mirror is usable: the nearest is answered all the same.</strong>'
    rows = "".join(_mirror(snapshot, status, mirror) for mirror in zone.mirrors)
    return (
        f"{head}{alarm}"
        f'<div class="wide" tabindex="0" role="region" aria-label="Mirrors of {escape(zone.name)}"><table>'
        f'<caption class="soft">{status.usable} of {len(zone.mirrors)} mirrors usable, probe: '
        f"{escape(zone.health.probe)} every {format_duration(zone.health.interval)}</caption>"
        '<thead><tr><th scope="col">Mirror</th><th scope="col">State</th><th scope="col" class="number">For</th>'
        '<th scope="col" class="number">RTT</th><th scope="col" class="number">Promise</th>'
        '<th scope="col" class="number">Weight</th><th scope="col">Place</th><th scope="col">URL</th>'
        f'<th scope="col">Why</th></tr></thead><tbody>{rows}</tbody></table></div></section>'
    )


def _mirror(snapshot: Snapshot, status: ZoneStatus, mirror: Mirror) -> str:
    verdict = status.verdict(mirror)
    since = _since(snapshot, verdict.since) if verdict.since else "–"
    rtt = f"{verdict.rtt_ms:.0f} ms" if verdict.rtt_ms is not None else "–"
    promise = format_duration(verdict.promise) if math.isfinite(verdict.promise) else "always"
    return (
        f'<tr><th scope="row">{escape(mirror.name)}</th><td class="{_CLASS[verdict.state]}">{verdict.state}</td>'
        f'<td class="number">{since}</td><td class="number">{rtt}</td><td class="number">{promise}</td>'
        f'<td class="number">{mirror.weight}</td><td>{escape(_place(mirror.place))}</td>'
        f'<td class="url">{escape(mirror.url)}</td><td>{escape(_why(mirror, verdict))}</td></tr>'
    )


def _why(mirror: Mirror, verdict: Verdict) -> str:
    reasons = [verdict.reason] if verdict.reason else []
    if not mirror.addresses:
        reasons.append("no addresses in the zone file: in SRV and URI only")
    elif verdict.serves_select is False:
        reasons.append("does not serve under the select url: not in A and AAAA")
    return "; ".join(reasons)


def _server(snapshot: Snapshot) -> str:
    rows = []
    if snapshot.plan is not None:
        plan = snapshot.plan
        rows.append(("Plan", f"generation {plan.generation}, {_since(snapshot, plan.made)} old"))
        rows.append(("Made in", f"{format_duration(plan.build_seconds)}, {plan.ranges:,} ranges"))
    if snapshot.table is not None:
        rows.append(
            ("world.table", f"{_since(snapshot, snapshot.table.created)} old, {snapshot.table.ranges:,} ranges")
        )
    rows += [(text, f"{snapshot.counters[name]:,}") for name, text in _COUNTED.items() if name in snapshot.counters]
    body = "".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in rows)
    return f"<section><h2>Server</h2><table><tbody>{body}</tbody></table></section>"


def _place(place: Place) -> str:
    parts = [place.country] if place.country else []
    if place.latitude is not None and place.longitude is not None:
        parts.append(f"{place.latitude:.1f}, {place.longitude:.1f}")
    if place.asn:
        parts.append(f"AS{place.asn}")
    if place.anycast:
        parts.append("anycast")
    return " · ".join(parts) or "looked up"


def _since(snapshot: Snapshot, when: float) -> str:
    return format_duration(max(0.0, snapshot.now - when))
