"""Figures and times as the page writes them.  Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape

from mirrornet.model.units import format_duration


def percent(share: float) -> str:
    """A share from 0 to 1 for a person: "0 %", "<0.1 %", "3.4 %", "27 %"."""
    hundred = 100 * share
    if hundred and hundred < 0.1:
        return "<0.1 %"
    return f"{hundred:.1f} %" if 0 < hundred < 9.95 else f"{hundred:.0f} %"


def ago(now: float, when: float) -> str:
    """How long ago `when` is, both Unix time; in whole seconds where it is a matter of seconds."""
    seconds = max(0.0, now - when)
    return f"{seconds:.0f} s" if seconds < 120 else format_duration(seconds)


def moment(when: float) -> str:
    """A <time> in UTC, to the second."""
    try:
        at = datetime.fromtimestamp(when, UTC)
    except (ValueError, OverflowError, OSError):
        return "–"
    return f'<time datetime="{at:%Y-%m-%dT%H:%M:%SZ}">{at:%Y-%m-%d %H:%M:%S} UTC</time>'


def place_text(country: str, asn: int, anycast: bool) -> str:
    """A place in a few words, escaped."""
    parts = [escape(country)] if country else []
    if asn:
        parts.append(f"AS{asn}")
    if anycast:
        parts.append("anycast")
    return "\N{NO-BREAK SPACE}· ".join(parts)
