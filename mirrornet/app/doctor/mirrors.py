"""Does each mirror serve, at each of its addresses, under the select url, with what is signed and fresh?  Pure.

What is judged are outcomes of the very probes that `serve` makes (health/probes/probe.py), made from here once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from mirrornet.app.doctor.finding import Finding, fault, ok, warning
from mirrornet.health.rule.outcome import Kind, Outcome
from mirrornet.model.units import format_duration
from mirrornet.model.zone import Mirror, Zone

CHECK, METADATA, CERTIFICATE, CLOCK = "mirror", "metadata", "certificate", "clock"
DAY: Final = 86400.0
CERTIFICATE_SOON, METADATA_SOON, OTHERS_SOON = 14 * DAY, 2 * DAY, 14 * DAY
QUICK: Final = frozenset({"timestamp", "snapshot"})  # renewed by a timer, every day
SKEW_WARNING, SKEW_FAULT = 30.0, 300.0  # seconds; a cookie may be 5 minutes ahead (RFC 9018 section 4.3)


@dataclass(frozen=True, slots=True)
class Visited:
    """One mirror at one address ("": its host did not resolve), and by how much its clock differs, in seconds."""

    mirror: Mirror
    address: str
    outcome: Outcome
    skew: float | None = None

    @property
    def about(self) -> str:
        return f"{self.mirror.name} at {self.address}" if self.address else self.mirror.name


def judge(zone: Zone, visits: Sequence[Visited], expiries: Mapping[str, float], now: float) -> Iterable[Finding]:
    """All mirrors, then what they have in common.

    `expiries`: when each role of the newest verified metadata ends; Unix times, as is `now`.
    """
    newest = max((v.outcome.version for v in visits if v.outcome.version is not None), default=None)
    for visited in visits:
        yield from _one(zone, visited, newest, now)
    if expiries:
        yield _expiry(expiries, now)
    skews = [v.skew for v in visits if v.skew is not None]
    if skews:
        yield _skew(median(skews), len(skews))


def _one(zone: Zone, visited: Visited, newest: int | None, now: float) -> Iterable[Finding]:
    about, outcome = visited.about, visited.outcome
    if outcome.kind is Kind.BLIND:
        family = "IPv6" if ":" in visited.address else "IPv4"
        mend = f"run the doctor where {family} works: clients of {family} are sent there"
        yield warning(CHECK, about, f"not seen, for this machine has no {family}", mend)
        return
    if outcome.kind is Kind.CORRUPT:
        mend = "copy it anew (`mirrornet sync`), and ask who else writes there"
        yield fault(CHECK, about, f"serves what was not signed: {outcome.reason}", mend)
        return
    if outcome.kind is Kind.STALE:
        mend = "if all mirrors say so, `mirrornet resign` where the keys are; else this copy is not kept up to date"
        yield fault(METADATA, about, outcome.reason or "its metadata is expired", mend)
        return
    if outcome.kind is Kind.FAILED:
        mend = "take the address out of `addresses`, or let the mirror's operator mend it"
        yield fault(CHECK, about, outcome.reason, mend)
        return
    said = f"serves {zone_word(zone)}" + (f", {outcome.rtt_ms:.0f} ms" if outcome.rtt_ms is not None else "")
    if outcome.serves_select is False:
        what = f"{said}, but not under the select url, so it stands in SRV and URI only"
        yield warning(CHECK, about, what, "let it answer to the select's host name, port and path as well, if it is to")
    elif newest is not None and outcome.version is not None and outcome.version < newest:
        what = f"{said}, but its copy is {newest - outcome.version} behind"
        yield warning(METADATA, about, what, "it follows with its next sync; if not, look at its cron")
    else:
        yield ok(CHECK, about, said + (", also under the select url" if outcome.serves_select else ""))
    if outcome.certificate_until is not None:
        yield _certificate(about, outcome.certificate_until - now)


def zone_word(zone: Zone) -> str:
    """What a probe proves."""
    if zone.health.probe == "block":
        return "what is signed"
    return "connections" if zone.health.probe == "tcp" else "a timestamp (nobody checks what it says)"


def _certificate(about: str, left: float) -> Finding:
    days = int(left // DAY)
    if left < CERTIFICATE_SOON:
        what = f"its TLS certificate ends in {days} days" if left > 0 else "its TLS certificate is over"
        return warning(CERTIFICATE, about, what, "renew it, and see why that does not happen by itself")
    return ok(CERTIFICATE, about, f"its TLS certificate is good for {days} days")


def _expiry(expiries: Mapping[str, float], now: float) -> Finding:
    about = "the repository's metadata"
    over = [role for role, until in expiries.items() if until <= now]
    renew = "`mirrornet resign` where the keys are, by a timer (deploy/); `mirrornet rotate root` for the root"
    if over:
        return fault(METADATA, about, f"is expired: {', '.join(sorted(over))}", renew)
    for role, until in sorted(expiries.items(), key=lambda pair: pair[1]):
        if until - now < (METADATA_SOON if role in QUICK else OTHERS_SOON):
            return warning(METADATA, about, f"{role} expires in {format_duration(until - now)}", renew)
    role, until = min(expiries.items(), key=lambda pair: pair[1])
    return ok(METADATA, about, f"is good for {format_duration(until - now)} ({role} ends first)")


def _skew(skew: float, count: int) -> Finding:
    about, off = "this machine's clock", format_duration(abs(round(skew, 0)))
    said = f"{off} {'behind' if skew > 0 else 'ahead of'} {count} mirrors' (HTTP Date)"
    if abs(skew) >= SKEW_FAULT:
        return fault(CLOCK, about, said, "let NTP set it: signatures, certificates and cookies go by it")
    if abs(skew) >= SKEW_WARNING:
        return warning(CLOCK, about, said, "let NTP set it")
    return ok(CLOCK, about, f"agrees with that of {count} mirrors (HTTP Date)")
