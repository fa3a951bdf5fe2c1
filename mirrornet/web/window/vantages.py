"""The eyes of others on the page: who is heard, what they say otherwise, what they may move.  Pure.

A vantage that is outvoted is named with what it says; whether it lies or is cut off, a person decides.
"""

from __future__ import annotations

from html import escape

from mirrornet.web.eyes import SharingStatus, VantageStatus
from mirrornet.web.status import Snapshot
from mirrornet.web.window.words import ago, percent, place_text


def alarms(sharing: SharingStatus | None) -> list[str]:
    """What of it is worth an alarm, as text."""
    if sharing is None:
        return []
    told = [f"Redis does not answer, so this server goes by its own eyes: {sharing.trouble}"] if sharing.trouble else []
    told += [f"Vantage {one.name} is not believed: {one.refused}" for one in sharing.vantages if one.refused]
    return told


def render(snapshot: Snapshot) -> str:
    """The section; nothing where nothing is shared."""
    sharing = snapshot.sharing
    if sharing is None:
        return ""
    quorum = "more than half of those heard" if sharing.quorum is None else f"{sharing.quorum} of those heard"
    lines = [f"{escape(sharing.url)}, {'silent' if sharing.trouble else 'answers'}; a quorum is {quorum}."]
    if sharing.name:
        lines.append(f"This server is {escape(sharing.name)}{_otherwise(sharing.outvoted)}.")
    for zone, moved in sharing.moved.items():
        said = f"{escape(zone)}: others move {percent(moved)} of the weight, {percent(sharing.limit)} at most"
        stopped = sharing.stopped.get(zone, ())
        lines.append(f"{said}; stopped there: {escape(', '.join(stopped))}." if stopped else f"{said}.")
    rows = "".join(_row(snapshot, one) for one in sharing.vantages)
    return (
        '<section aria-labelledby="eyes"><h2 id="eyes">Other eyes</h2><div id="vantages" data-live>'
        f'<p class="soft">{" ".join(lines)}</p><div class="wide" tabindex="0" role="region" aria-labelledby="eyes">'
        '<table><thead><tr><th scope="col">Vantage</th><th scope="col">Heard</th>'
        f'<th scope="col">Says otherwise</th></tr></thead><tbody>{rows}</tbody></table></div></div></section>'
    )


def _otherwise(outvoted: tuple[str, ...]) -> str:
    return f", and outvoted on {escape(', '.join(outvoted))}" if outvoted else ""


def _row(snapshot: Snapshot, one: VantageStatus) -> str:
    where = place_text(one.country, one.asn, False)
    heard = f"{ago(snapshot.now, one.heard)} ago" if one.heard else "never"
    if one.refused:
        heard, colour = f"{heard}; not believed: {escape(one.refused)}", "poor"
    elif one.fresh:
        colour = "good"
    else:
        heard, colour = f"{heard}; its votes have expired", "fair"
    return (
        f'<tr><th scope="row">{escape(one.name)}<span class="soft under">{where}</span></th>'
        f'<td class="{colour}">{heard}</td><td>{escape(", ".join(one.outvoted)) or "nothing"}</td></tr>'
    )
