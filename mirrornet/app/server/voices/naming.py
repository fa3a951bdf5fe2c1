"""Who is silent, not believed or outvoted: named in the log once each, and on the status page as long as it is so.

One line when it begins, and not again within QUIET, so that who puts up noise and takes it down does not fill the log.
Being outvoted on a mirror or two is what vantages are for (the mirror
is dead for one network only), and is shown on the page; on more of the weight than others may move it is a line in the
log, since whoever sees the world so differently is cut off from it, or does not tell what it sees.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from mirrornet.health.eyes.exchange import Listener
from mirrornet.health.eyes.quorum import Judged
from mirrornet.web.eyes import VantageStatus

log = logging.getLogger(__name__)


QUIET: Final = 300.0  # seconds in which the same is not said again


class Naming:
    """What has been said in the log already of those whom `listener` hears.  `clock`: Unix time."""

    def __init__(self, listener: Listener, clock: Callable[[], float]) -> None:
        self._listener, self._clock = listener, clock
        self._fresh: set[tuple[str, str]] = set()
        self._said: dict[tuple[str, str, str], float] = {}
        self._now: dict[str, set[tuple[str, str]]] = {}

    def _news(self, what: str, found: set[tuple[str, str]]) -> list[tuple[str, str]]:
        """Of whom it is to be said that `what` holds: it did not before, and has not been said for a while."""
        now, before = self._clock(), self._now.get(what, set())
        self._now[what] = found
        news = [one for one in sorted(found - before) if abs(now - self._said.get((what, *one), -QUIET)) >= QUIET]
        self._said.update({(what, *one): now for one in news})
        return news

    def refused(self) -> None:
        """Who is not believed, and why."""
        why = {
            (zone, name): ledger.heard(name).refused
            for zone, ledger in self._listener.ledgers.items()
            for name in ledger
        }
        for zone, name in self._news("refused", {one for one, reason in why.items() if reason}):
            log.warning("%s: vantage %s is not believed: %s", zone, name, why[zone, name])

    def doubled(self, found: set[tuple[str, str]]) -> None:
        """Under which of our names somebody else speaks, by zone."""
        for zone, name in self._news("doubled", found):
            log.warning("%s: another process speaks as %s: one key, one server; make it a key of its own", zone, name)

    def stopped(self, zone: str, mirrors: Sequence[str], limit: float) -> None:
        """Which mirrors others would move and may not."""
        news = self._news(f"stopped in {zone}", {(zone, mirror) for mirror in mirrors})
        if news:
            listed = ", ".join(mirror for _, mirror in news)
            share = 100 * limit
            log.warning("%s: others would move more than %.0f %% of the weight: %s stay as here", zone, share, listed)

    def silent(self, own: str) -> None:
        """Whose votes count no more, and whose do (again).  `own`: this server's name, of which nothing is said."""
        now, ledgers = self._clock(), self._listener.ledgers
        fresh = {(zone, name) for zone, ledger in ledgers.items() for name in ledger.fresh(now) if name != own}
        listed = {(zone, name) for zone, ledger in ledgers.items() for name in ledger}
        for zone, name in self._news("heard", fresh):
            log.info("%s: vantage %s is heard", zone, name)
        for zone, name in self._news("silent", (self._fresh & listed) - fresh):
            log.warning("%s: vantage %s is silent: its votes count no more", zone, name)
        self._fresh |= fresh

    def astray(self, parts: Mapping[str, Mapping[str, float]], limit: float) -> None:
        """Who is outvoted on more than `limit` of the weight; `parts` by zone and vantage ("": these probes)."""
        found = {(zone, name) for zone, one in parts.items() for name, part in one.items() if part > limit}
        for zone, name in self._news("astray", found):
            who = f"vantage {name} is" if name else "these probes are"
            what = "cut off from much of the world, or not telling what they see"
            log.warning("%s: %s outvoted on %.0f %% of the weight: %s", zone, who, 100 * parts[zone][name], what)


def dissent(judged: Iterable[Mapping[str, Judged]], name: str) -> tuple[str, ...]:
    """The mirrors on which `name` ("": this server) says otherwise, with what it says: "tokyo: down"."""
    return tuple(
        f"{mirror}: {vote.verdict.state}"
        for mirrors in judged
        for mirror, one in sorted(mirrors.items())
        for vote in one.votes
        if vote.name == name and name in one.outvoted
    )


def vantage_status(
    listener: Listener, name: str, judged: Mapping[str, Mapping[str, Judged]], now: float
) -> VantageStatus:
    """What the window shows of one vantage, over all zones."""
    vantage, heard, fresh, refused = listener.vantages[name], 0.0, False, ""
    for ledger in listener.ledgers.values():
        known = ledger.heard(name)
        heard = max(heard, known.statement.at if known.statement else 0.0)
        fresh = fresh or name in ledger.fresh(now)
        refused = refused or known.refused
    return VantageStatus(name, vantage.asn, vantage.country, heard, fresh, refused, dissent(judged.values(), name))
