"""`--share-rtt`: once an hour, what this client measured anyway, to the name servers that ask for it.

What goes out is model/rtt.py's report: the select name, milliseconds to the first byte by mirror, and the mirrors that
could not be reached from here, so that others of this network need not find out.  No image, no
version, no name of ours; the address is seen by whoever is spoken to, and used to know the place.  Where to: the URI
records at `_rtt._tcp.<select name>`, all of them, since equal servers do not share what they hear.  The addresses obey
the same rule as mirrors' do (source.py), redirects are not followed, the answer is not read, and through a proxy
nothing is sent, for the place would be the proxy's.

It is a courtesy: it waits for no reader, nothing waits for it, and what fails is a line for who debugs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final

from mirrornet.client.fetching.fetch import Fetcher, proxied
from mirrornet.client.finding.resolve import Resolver
from mirrornet.client.mirrors.choice import Choice, Record
from mirrornet.client.mirrors.record import Blame
from mirrornet.client.mirrors.source import SelectName
from mirrornet.model.errors import MirrornetError
from mirrornet.model.rtt import MOST_MIRRORS, RttReport, encode_report

log = logging.getLogger(__name__)

FIRST: Final = 120.0  # seconds after the start: all mirrors are measured by then
EVERY: Final = 3600.0
SPREAD: Final = 600.0  # seconds of dice, so that a room of machines switched on together does not report together
FRESH: Final = 3600.0  # seconds; what was measured before that is not told
LOST_FRESH: Final = 600.0  # seconds; a failure before that may have been an outage that everybody knows of
DEADLINE: Final = 10.0  # seconds for one name server


def report_of(records: Iterable[Record], select: SelectName, now: float) -> RttReport | None:
    """What there is to tell; None for fewer than two mirrors, of which nobody could learn anything.  Pure."""
    fresh = [record for record in records if record.asked_at is not None and now - record.asked_at <= FRESH]
    rtt = {
        record.name: record.first_byte * 1000
        for record in fresh
        if record.first_byte is not None and record.out_until is None
    }
    lost = frozenset(
        record.name
        for record in fresh
        if record.failing
        and record.asked_at is not None
        and now - record.asked_at <= LOST_FRESH
        and record.out_until is not None
        and record.corrupt_until <= now
        and record.blames[Blame.UNREACHABLE]
    )
    if not rtt or len(rtt) + len(lost) < 2:
        return None
    return RttReport(select.name, dict(list(rtt.items())[:MOST_MIRRORS]), lost)


class Sharing:
    """The reports of one mount.  `clock`: choice.py's; `dice`: numbers from 0 to 1."""

    def __init__(
        self,
        resolver: Resolver,
        select: SelectName,
        choice: Choice,
        clock: Callable[[], float],
        dice: Callable[[], float],
    ) -> None:
        self._resolver = resolver
        self._select = select
        self._choice = choice
        self._clock = clock
        self._dice = dice
        self.sent = 0

    async def run(self) -> None:
        """Reports for ever."""
        wait = FIRST
        while True:
            await asyncio.sleep(wait + self._dice() * SPREAD)
            await self.report()
            wait = EVERY

    async def report(self) -> None:
        """One report to every name server that asks for it; whatever goes wrong is only told to who debugs."""
        told = report_of(self._choice.records(), self._select, self._clock())
        if told is None:
            return
        body = encode_report(told)
        fetcher = Fetcher(connect=DEADLINE, progress=DEADLINE)
        try:
            for endpoint in await self._resolver.reports_to(self._select):
                if proxied(endpoint.url):
                    log.debug("%s: no report through a proxy", endpoint)
                    continue
                try:
                    async with asyncio.timeout(DEADLINE):
                        status = await fetcher.send(endpoint, body)
                except (MirrornetError, OSError) as error:
                    log.debug("%s: the report was not taken: %s", endpoint, error)
                else:
                    self.sent += status == 204
                    log.debug("%s: %d bytes reported, HTTP %d", endpoint, len(body), status)
        except Exception as error:  # never a reason for a mount to complain
            log.debug("no report: %s: %s", type(error).__name__, error)
        finally:
            await fetcher.close()
