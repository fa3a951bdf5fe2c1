"""The table of mirrors: everything the map shows, in words, and why.  Pure.

On a phone each row becomes a card (style.css), so the cells carry their heading, and the elements their roles: a
browser forgets that a table is one as soon as it is laid out otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from html import escape
from typing import Final

from mirrornet.data.countries import COUNTRIES
from mirrornet.model.override import Override
from mirrornet.model.regions import Regions
from mirrornet.model.units import format_duration
from mirrornet.model.verdict import Verdict
from mirrornet.model.zone import Mirror
from mirrornet.web.status import Snapshot, ZoneStatus
from mirrornet.web.window.marks import colour, mark, sign
from mirrornet.web.window.words import ago, moment, percent, place_text

_HEADS: Final = (
    ("Mirror", ""),
    ("State", ""),
    ("RTT", "number"),
    ("Lag", "number"),
    ("Weight", "number"),
    ("Addresses", "number"),
    ("Queries", "number"),
    ("Serves", ""),
    ("Last changes", ""),
)
_SOON: Final = 14 * 86_400.0  # seconds before its end from which a certificate is told
_SERVED: Final = 6  # countries shown at once
_SERVED_FEW: Final = 60  # of them named where one asks for more


def render(number: int, snapshot: Snapshot, status: ZoneStatus, tints: Mapping[str, int]) -> str:
    """The table of the zone that is `number`th on its page; `tints` are the mirrors' on the map."""
    zone = status.zone
    heads = "".join(f'<th scope="col" role="columnheader"{_class(kind)}>{head}</th>' for head, kind in _HEADS)
    rows = "".join(_row(number, snapshot, status, mirror, tints) for mirror in zone.mirrors)
    return (
        '<table class="mirrors" role="table"><caption class="soft">'
        f"{status.usable} of {len(zone.mirrors)} mirrors usable, probe: {escape(zone.health.probe)} every "
        f"{format_duration(zone.health.interval)}. Addresses: the share of announced IPv4 that is sent there, "
        f"and of IPv6 (v6){_older(snapshot, status)}. Queries: of the answers given.</caption>"
        '<thead role="rowgroup">'
        f'<tr role="row">{heads}</tr></thead><tbody role="rowgroup">{rows}</tbody></table>'
    )


def _older(snapshot: Snapshot, status: ZoneStatus) -> str:
    """That the shares are not those of the plan in force, where it is so."""
    if not status.regions or snapshot.plan is None or status.surveyed == snapshot.plan.generation:
        return ""
    return f", by plan {status.surveyed}: plan {snapshot.plan.generation} is being reckoned"


def _row(number: int, snapshot: Snapshot, status: ZoneStatus, mirror: Mirror, tints: Mapping[str, int]) -> str:
    verdict = status.verdict(mirror)
    place = status.place(mirror)
    where = place_text(place.country, place.asn, place.anycast)
    swatch = f'<span class="swatch tint{tints[mirror.name]}"></span>' if mirror.name in tints else ""
    head = (
        f'<th scope="row" role="rowheader">{swatch}{escape(mirror.name)}'
        f'<span class="soft under">{where or "place unknown"}</span>'
        f'<span class="under url">{_link(mirror.url)}</span></th>'
    )
    cells = (
        _state(snapshot, mirror, verdict),
        f"{verdict.rtt_ms:.0f} ms" if verdict.rtt_ms is not None else "–",
        format_duration(verdict.lag) if verdict.lag else "–",
        f"{mirror.weight}"
        + (f'<span class="under">{percent(verdict.share)} of it</span>' if verdict.share < 1 else ""),
        _by_select(status, lambda _, regions: _addresses(regions, mirror.name)),
        percent(status.asked.get(mirror.name, 0.0)) if status.asked else "–",
        _by_select(status, lambda place, regions: _serves(f"{number}-{place}", regions, mirror.name)),
        _changes(number, snapshot, status, mirror),
    )
    told = "".join(
        f'<td role="cell" data-head="{title}"{_class(kind)}><div>{cell}</div></td>'
        for (title, kind), cell in zip(_HEADS[1:], cells, strict=True)
    )
    return f'<tr role="row" id="mirror-{number}-{escape(mirror.name)}">{head}{told}</tr>'


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def _link(url: str) -> str:
    """A link that is no longer than it has to be; a zone file's urls are http and https."""
    shown = escape(url.removeprefix("http://").rstrip("/"))
    for border in ".:/":  # where it may be broken, if it has to be
        shown = shown.replace(border, f"<wbr>{border}")
    return f'<a class="soft" rel="noreferrer nofollow" href="{escape(url)}">{shown}</a>'


def _state(snapshot: Snapshot, mirror: Mirror, verdict: Verdict) -> str:
    known = [f"for {ago(snapshot.now, verdict.since)}"] if verdict.since else []
    if math.isfinite(verdict.promise):
        known.append(f"promised for {format_duration(verdict.promise)} more")
    parts = [
        f'<span class="state {colour(sign(verdict))}">{mark(sign(verdict))}{verdict.state}</span> '
        f'<span class="soft">{", ".join(known)}</span>'
    ]
    reasons = why(mirror, verdict)
    if verdict.override is not None:
        said = reasons.pop(0) if verdict.reason.startswith(verdict.override.action) else ""
        parts.append(f'<span class="under override">{_override(snapshot, verdict.override, said)}</span>')
    parts += [f'<span class="under">{escape(reason)}</span>' for reason in reasons]
    if verdict.certificate_until is not None and verdict.certificate_until - snapshot.now < _SOON:
        parts.append(f'<span class="under poor">certificate ends {moment(verdict.certificate_until)}</span>')
    for who, reason in verdict.barred.items():
        parts.append(f'<span class="under">out of reach for {escape(who)}: {escape(reason)}</span>')
    return "".join(parts)


def why(mirror: Mirror, verdict: Verdict) -> list[str]:
    """Why a mirror is in its state, and why it is missing from some answers."""
    reasons = [verdict.reason] if verdict.reason else []
    if not mirror.addresses:
        reasons.append("no addresses in the zone file: in SRV and URI only")
    elif verdict.serves_select is False:
        reasons.append("does not serve under the select url: not in A and AAAA")
    silent = [f"IPv{f}" for f in (4, 6) if not verdict.answers(f) and any(a.version == f for a in mirror.addresses)]
    if silent and verdict.usable:
        reasons.append(f"silent over {' and '.join(silent)}")
    return reasons


def _override(snapshot: Snapshot, override: Override, said: str) -> str:
    """`said`: the verdict's reason, where that says most of it."""
    when = f"said {ago(snapshot.now, override.at)} ago" + (f" at {escape(override.origin)}" if override.origin else "")
    if said:
        return f'{escape(said)} <span class="soft">({when})</span>'
    pace = f" by {override.rate:g} % a minute" if override.rate else ""
    author = f" by {escape(override.author)}" if override.author else ""
    until = f", until {moment(override.until)}" if override.until is not None else ""
    why = f": {escape(override.why)}" if override.why else ""
    return f"<strong>{escape(override.action)}</strong>{pace}, {when}{author}{until}{why}"


def _by_select(status: ZoneStatus, say: Callable[[int, Regions], str]) -> str:
    """What there is to say of each select's regions, under its name where there are several."""
    told = []
    for place, select in enumerate(status.zone.select):
        head = f'<span class="soft under">{escape(select.name)}</span>' if len(status.zone.select) > 1 else ""
        regions = status.regions.get(select.name)
        told.append(head + ("–" if regions is None else say(place, regions)))
    return "".join(told)


def _addresses(regions: Regions, mirror: str) -> str:
    four, six = (regions.shares.get(family, {}).get(mirror, 0.0) for family in (4, 6))
    bar = f'<svg class="bar" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">{_bar(four)}</svg>'
    return f'{percent(four)}{bar}<span class="under soft">v6 {percent(six)}</span>'


def _bar(share: float) -> str:
    return f'<rect class="whole" width="100" height="6"/><rect width="{100 * share:.1f}" height="6"/>'


def _serves(number: str, regions: Regions, mirror: str) -> str:
    served = [(country, part) for country, part in regions.of(mirror) if country]
    if not served:
        return "nobody near"
    words = [_country(country, part) for country, part in served]
    if len(words) <= _SERVED:
        return ", ".join(words)
    more = len(words) - _SERVED_FEW
    rest = ", ".join(words[_SERVED:_SERVED_FEW]) + (f" and {more} more" if more > 0 else "")
    return (
        f'{", ".join(words[:_SERVED])} <details id="serves-{number}-{escape(mirror)}">'
        f"<summary>{len(words) - _SERVED} more</summary>{rest}</details>"
    )


def _country(code: str, part: float) -> str:
    name = COUNTRIES[code].name if code in COUNTRIES else code
    told = f"{escape(code)}" if part > 0.995 else f"{escape(code)} {percent(part)}"
    return f'<abbr title="{escape(name)}">{told}</abbr>'


def _changes(number: int, snapshot: Snapshot, status: ZoneStatus, mirror: Mirror) -> str:
    changes = status.changes.get(mirror.name, ())
    if not changes:
        return "none"
    flips = status.flips.get(mirror.name, 0)
    rows = "".join(
        f"<li>{moment(change.at)}: {change.state}{f', {escape(change.reason)}' if change.reason else ''}</li>"
        for change in reversed(changes)
    )
    last = changes[-1]
    said = f"{last.state} {ago(snapshot.now, last.at)} ago"
    if flips:
        said += f", {flips} {'flip' if flips == 1 else 'flips'}"
    return f'<details id="changes-{number}-{escape(mirror.name)}"><summary>{said}</summary><ol>{rows}</ol></details>'
