"""The status page as HTML: the map, the tables, a box for `explain`.  Pure.

Everything on it is there without JavaScript; window.js only brings it up to date by itself, and shows queries as they
come.  So what it takes from a newer page are whole sections, those marked `data-live`, and no second place knows how a
mirror is drawn.  Everything that comes from a file, a mirror or an asker is escaped where it becomes HTML.

A state is told by a word, a shape and a colour; colours of text keep a contrast of 4.5 to 1, marks 3 to 1 (WCAG 2.2,
1.4.3 and 1.4.11).  Rejected: a template engine (one page, one loop), a framework, anything fetched from elsewhere.
"""

from __future__ import annotations

from html import escape
from typing import Final

from mirrornet import __version__
from mirrornet.model.units import format_duration, format_overload
from mirrornet.web.status import Snapshot, ZoneStatus
from mirrornet.web.window import marks, table, vantages, worldmap
from mirrornet.web.window.words import ago

_COUNTED: Final = {
    "udp": "Queries by UDP",
    "tcp": "Queries by TCP",
    "ecs": "With Client Subnet",
    "nxdomain": "NXDOMAIN",
    "refused": "REFUSED",
    "servfail": "SERVFAIL",
    "truncated": "Truncated",
    "anywhere": "From nobody knows where",
    "last_resort": "Sent to mirrors that are down",
    "dropped": "Dropped",
    "limited": "Over the limit",
}
_REFRESH: Final = 30  # seconds, where there is no JavaScript


def render(snapshot: Snapshot) -> str:
    """The whole page."""
    zones = "".join(_zone(number, snapshot, zone) for number, zone in enumerate(snapshot.zones))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<noscript><meta http-equiv="refresh" content="{_REFRESH}"></noscript>'
        f"<title>{escape(_title(snapshot))}</title>"
        '<link rel="icon" href="icon.svg" type="image/svg+xml">'
        '<link rel="stylesheet" href="style.css"><script src="window.js" defer></script></head><body>'
        f"{marks.symbols()}{worldmap.shapes()}<header><h1>mirrornet</h1>"
        f'<p class="soft" id="head" data-live>{_plan(snapshot)}</p></header><main>'
        f'<div id="alarms" data-live role="alert">{_alarms(snapshot)}</div>{zones}'
        f"{_explain()}{_queries()}{vantages.render(snapshot)}{_server(snapshot)}</main></body></html>\n"
    )


def _title(snapshot: Snapshot) -> str:
    usable = sum(zone.usable for zone in snapshot.zones)
    total = sum(len(zone.zone.mirrors) for zone in snapshot.zones)
    return f"{usable} of {total} mirrors usable: mirrornet"


def _plan(snapshot: Snapshot) -> str:
    plan, table_ = snapshot.plan, snapshot.table
    parts = [f"version {escape(__version__)}, up for {ago(snapshot.now, snapshot.started)}"]
    if plan is not None:
        parts.append(f"plan generation {plan.generation}, made {ago(snapshot.now, plan.made)} ago")
    if table_ is not None:
        parts.append(f"world.table {ago(snapshot.now, table_.created)} old")
    links = 'As data: <a href="status.json">status.json</a>, <a href="metrics">metrics</a>.'
    return f"{'; '.join(parts)}. {links}"


def _alarms(snapshot: Snapshot) -> str:
    told = [f"No answers yet: {snapshot.not_ready}"] if snapshot.not_ready else []
    for status in snapshot.zones:
        if status.zone.mirrors and not status.usable and not snapshot.not_ready:
            told.append(f"No mirror of {status.zone.name} is usable: the nearest is answered all the same.")
        for role, at in status.expiries.items():
            if at <= snapshot.now:
                told.append(
                    f"{role} of {status.zone.name}'s repository ended {ago(snapshot.now, at)} ago: sign it anew."
                )
    if snapshot.plan is not None and (times := format_overload(snapshot.plan.overload)):
        full = ", ".join(snapshot.plan.full) or "those that are left"
        told.append(f"The rest cannot carry the load: {full}, up to {times} what may be.")
    told += vantages.alarms(snapshot.sharing)
    return "".join(f'<strong class="alarm">{escape(text)}</strong>' for text in told)


def _zone(number: int, snapshot: Snapshot, status: ZoneStatus) -> str:
    zone = status.zone
    names = ", ".join(f"{escape(zone.select_fqdn(s))} for {escape(s.url)}" for s in zone.select)
    tints = {spot.name: spot.tint for spot in worldmap.spots(status)}
    return (
        f'<section aria-labelledby="zone-{number}"><h2 id="zone-{number}">{escape(zone.name)}</h2>'
        f'<p class="soft" id="names-{number}" data-live>{names}{_expiries(snapshot, status)}</p>'
        f"{''.join(_map(number, place, status) for place in range(len(zone.select)) if zone.mirrors)}"
        f'<div id="legend-{number}" data-live>{_legend(status)}</div>'
        f'<div id="table-{number}" data-live class="wide" tabindex="0" role="region" '
        f'aria-label="Mirrors of {escape(zone.name)}">'
        f"{table.render(number, snapshot, status, tints)}</div></section>"
    )


def _map(number: int, place: int, status: ZoneStatus) -> str:
    """The map of the select that is `place`th in its zone, under its name where there are several."""
    zone = status.zone
    select = zone.select[place]
    head = f"<h3>{escape(zone.select_fqdn(select))}</h3>" if len(zone.select) > 1 else ""
    return f'{head}<div id="map-{number}-{place}" data-live>{worldmap.render(number, status, select)}</div>'


def _expiries(snapshot: Snapshot, status: ZoneStatus) -> str:
    """When the repository's metadata ends, the first first."""
    told = [f"{role} {_left(snapshot, at)}" for role, at in sorted(status.expiries.items(), key=lambda one: one[1])]
    return f"; metadata ends: {escape(', '.join(told))}" if told else ""


def _left(snapshot: Snapshot, at: float) -> str:
    return f"in {ago(at, snapshot.now)}" if at > snapshot.now else f"{ago(snapshot.now, at)} ago"


def _legend(status: ZoneStatus) -> str:
    signs = {marks.sign(status.verdict(mirror)) for mirror in status.zone.mirrors}
    marked = "".join(f"<li>{marks.mark(sign)}{sign}</li>" for sign in sorted(signs))
    tinted = "<li>a country has the tint of the mirror that most of it is sent to</li>" if status.regions else ""
    return f'<ul class="legend soft">{marked}{tinted}</ul>'


def _explain() -> str:
    return (
        '<section aria-labelledby="why"><h2 id="why">Why these mirrors?</h2>'
        '<form id="explain" action="explain" method="get"><label for="address">A client\'s address</label>'
        '<input id="address" name="address" required maxlength="64" autocomplete="off" autocapitalize="off" '
        'spellcheck="false" placeholder="203.0.113.7 or 2001:db8::1"><button>Explain</button></form>'
        '<pre id="explained" tabindex="0" role="region" aria-label="The explanation" aria-live="polite" hidden></pre>'
        "</section>"
    )


def _queries() -> str:
    """Empty, and not shown, until window.js fills it."""
    return (
        '<section id="queries" aria-labelledby="coming" hidden><h2 id="coming">Queries as they come</h2>'
        '<p class="soft">Some of them; askers are truncated to /24 and /56.</p>'
        '<div class="wide" tabindex="0" role="region" aria-labelledby="coming"><table class="queries"><thead><tr>'
        '<th scope="col">Asker</th><th scope="col">Asks</th><th scope="col">Is sent to</th>'
        "</tr></thead><tbody></tbody></table></div></section>"
    )


def _server(snapshot: Snapshot) -> str:
    rows = []
    if snapshot.plan is not None:
        plan = snapshot.plan
        rows.append(("Plan", f"generation {plan.generation}, {ago(snapshot.now, plan.made)} old"))
        made = f"{format_duration(plan.build_seconds)}: {plan.ranges:,} ranges, {plan.classes:,} different answers"
        rows.append(("Made in", made))
        if plan.full:
            rows.append(("Full, so they turn places away", ", ".join(plan.full)))
    if snapshot.table is not None:
        age, ranges = ago(snapshot.now, snapshot.table.created), snapshot.table.ranges
        rows.append(("world.table", f"{age} old, {ranges:,} ranges"))
    rows += [(text, f"{snapshot.counters[name]:,}") for name, text in _COUNTED.items() if name in snapshot.counters]
    body = "".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in rows)
    return (
        '<section aria-labelledby="server"><h2 id="server">Server</h2><div id="figures" data-live>'
        f'<table class="figures"><tbody>{body}</tbody></table></div></section>'
    )
