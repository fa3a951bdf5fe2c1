"""`mirrornet vantage`: the mirrors of a zone seen from elsewhere, said to its name servers.

    zone file → monitors (as in `serve`) → verdicts → signed statements → Redis

It answers nobody and listens nowhere.  Of the zone file it needs the mirrors, the health section, the repository's root
and its own public key under `server: vantages`; files that only a name server reads may be missing.  The zone file is
read again on SIGHUP and when it has changed and come to rest; a faulty one is told, and the old one stays.

While Redis does not answer it goes on looking, says so once, and tries again every few seconds: what it then says is
what it sees then.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mirrornet.app.folders import state_folder
from mirrornet.app.lock import alone
from mirrornet.app.notify import Manager, attend
from mirrornet.app.server.trouble import Trouble
from mirrornet.app.server.voices.joining import share_argument
from mirrornet.app.server.voices.probing import Probing
from mirrornet.app.server.voices.sharing import password_of
from mirrornet.app.server.worlds.files import Rest, worth_reading
from mirrornet.app.signals import until_told
from mirrornet.config.load import examine
from mirrornet.health.eyes.exchange import EVERY, PAUSE, Speaker, most_octets
from mirrornet.health.eyes.link import Link
from mirrornet.image.trust.seal import Seal, public_text
from mirrornet.model.errors import ConfigError, InputError, MirrornetError
from mirrornet.model.names import suggest
from mirrornet.model.zone import Vantage, Zone

log = logging.getLogger("mirrornet.vantage")


@dataclass(frozen=True, slots=True)
class VantageOptions:
    """The command line of `vantage`.  `share` "": what the zone file says."""

    zones: tuple[Path, ...]
    name: str
    key: Path
    share: str = ""
    password: Path | None = None
    state: Path | None = None


class Lookout:
    """One running vantage.  Raises ConfigError or InputError when made; nothing is started."""

    def __init__(
        self, options: VantageOptions, passphrase: bytes | None = None, manager: Manager | None = None
    ) -> None:
        self.options = options
        self.state = options.state or state_folder() / f"vantage-{options.name}"
        self._manager = manager or Manager()
        self._rest = Rest()
        self._seal = Seal(options.key, passphrase)
        self.zones = self._load()
        server = next((zone.server for zone in self.zones if zone.server is not None), None)
        share = server.share if server else None
        url = share_argument(options.share) if options.share else share.url if share else ""
        if not url:
            raise InputError("nowhere to say what is seen: give --share redis://…, or `server: share` in the zone file")
        theirs = share.password if share and not options.share else None  # meant for that board and no other
        self._link = Link(url, most_octets(self.zones), password_of(options.password or theirs))
        self._speaker = Speaker(self._link, options.name, self._seal, time.time)
        self.probing = Probing(self.state, lambda: None)
        self._lost = Trouble(log, "what is seen here is not heard", f"{url}: what is seen here is heard again")
        self._unread = Trouble(log, "reload refused, the old file stays in force", "the file is in force again")

    def _load(self) -> tuple[Zone, ...]:
        """The zones, proven as far as a vantage needs them.  Raises ConfigError, InputError."""
        self._rest.read(self.options.zones)
        zones, problems = examine(self.options.zones, serverless=True)
        faults = [problem for problem in problems if not problem.warning]
        if faults:
            raise ConfigError(faults)
        for zone in zones:
            if zone.health.probe == "none":
                raise InputError(f"{zone.file}: `probe: none`: there is nothing for a vantage to look at")
        listed = next((zone.server.vantages for zone in zones if zone.server is not None), ())
        self._prove_name(listed)
        return zones

    def _prove_name(self, listed: Sequence[Vantage]) -> None:
        """Raises InputError where the name servers would not believe us."""
        name, text = self.options.name, public_text(self._seal.public)
        own = next((vantage for vantage in listed if vantage.name == name), None)
        where = self.options.zones[0]
        if own is None:
            known = [vantage.name for vantage in listed]
            hint = suggest(name, known) or f"add to `server: vantages:`  {name}: {{key: {text}}}"
            raise InputError(f"{where}: has no vantage {name!r}: {hint}")
        if own.key != self._seal.public:
            raise InputError(
                f"{self.options.key}: is not the key of {name} in {where}, which is {public_text(own.key)}"
            )

    async def run(self, reload: asyncio.Event) -> None:
        """Looks and says what it sees, until cancelled."""
        with alone(
            self.state,
            taken="another process uses it{who}: give each vantage its own --state",
            refused="the state folder must be writable (see --state)",
        ):
            try:
                staged = await self.probing.stage(self.zones)
                await self.probing.swap(staged, self.zones)
                names = ", ".join(f"{zone.name} ({len(zone.mirrors)} mirrors)" for zone in self.zones)
                log.info("looking at %s as %s, for %s", names, self.options.name, self._link.url)
                self._manager.ready(f"looking at {names}")
                async with asyncio.TaskGroup() as group:
                    group.create_task(attend(self._manager))
                    group.create_task(self.probing.watch())
                    said = self._lost.outlast(self._say, EVERY, PAUSE, "what is seen here could not be said")
                    group.create_task(said)
                    group.create_task(self._reload_on(reload))
            finally:
                await self.probing.stop()
                await self._link.close()

    async def _say(self) -> None:
        """What is due, to the name servers of each zone.  Raises MirrornetError."""
        own = self.probing.own()
        for zone in self.zones:
            if zone.name in own:
                await self._speaker.speak(zone, own[zone.name], (), self.probing.sees(zone.name))

    async def _reload_on(self, reload: asyncio.Event) -> None:
        while True:
            if await worth_reading(reload, self._rest.come):
                self._unread.reason = ""  # who asks is told, again if need be
            try:
                zones = self._load()
                staged = await self.probing.stage(zones)
                self._link.limit = most_octets(zones)
                await self.probing.swap(staged, zones)
                self.zones = zones
            except (MirrornetError, OSError) as error:
                self._unread.met(error)
            else:
                self._unread.over()
                log.info("reloaded %s", ", ".join(str(path) for path in self.options.zones))


def run(options: VantageOptions) -> None:
    """The verb: looks until SIGTERM or Ctrl-C.  Raises MirrornetError in one line where it cannot start."""

    async def main() -> None:
        secret = os.environ.get("MIRRORNET_PASSPHRASE", "").encode() or None
        lookout = Lookout(options, secret, Manager.of(os.environ))
        await until_told(lookout.run)

    asyncio.run(main())
