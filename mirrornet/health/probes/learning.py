"""What a zone's probes have to know of the repository: learnt from whichever mirror shows something newer.

The catalogue (catalogue.py) holds what was verified.  Here is when it is asked to learn: at the start from the mirror
with the newest timestamp, later whenever a mirror shows a newer one, when a signature cannot be checked (it may be that
of the next root's keys), and now and then for another page of the index, so that in time every block may be asked for.

One attempt at a time.  A mirror that teaches nothing is told of once for each version, and stops nothing.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from mirrornet.health.probes.catalogue import Catalogue
from mirrornet.health.probes.fetch import Visit
from mirrornet.health.probes.ordering import Known
from mirrornet.health.probes.probe import addresses
from mirrornet.health.probes.target import under
from mirrornet.health.rule.outcome import Kind, Outcome
from mirrornet.image.trust.verify import open_root
from mirrornet.model.errors import InputError, LocalError, MirrornetError, PeerError, Unreachable
from mirrornet.model.units import format_duration
from mirrornet.model.zone import Mirror, Zone

_log = logging.getLogger(__name__)
RELEARN: Final = 600.0  # seconds after which another page of the index is drawn


class Learning:
    """The catalogue of one zone's repository, and the attempts to keep it new."""

    def __init__(self, zone: Zone, state: Path, root: bytes, agent: str, before: Learning | None = None) -> None:
        """`root`: the root.json that the zone trusts; `agent`: who asks, as mirrors are told; `before`: is taken up."""
        self._zone = zone.name
        self._timeout = zone.health.timeout
        self._agent = agent
        self._catalogue: Catalogue = before._catalogue if before else Catalogue(state, root, images_of(zone))
        self._one_at_a_time = asyncio.Lock()
        self._learnt: float = before._learnt if before else -math.inf
        self._told: dict[str, int] = {}  # mirror → the version whose set it did not hold, as already told
        self._known = Known(root)

    @property
    def known(self) -> Known:
        """What has been learnt, as it stands."""
        found = self._catalogue
        if found.root is not self._known.root or found.samples is not self._known.samples:
            version = open_root(found.root).version if found.samples else 1
            self._known = Known(found.root, version, found.version, found.samples)
        return self._known

    @property
    def expiries(self) -> Mapping[str, float]:
        """Unix time at which each role of the newest verified metadata ends."""
        return self._catalogue.expiries

    async def begin(self, candidates: Sequence[tuple[Mirror, Outcome]], dice: Callable[[], float], now: float) -> None:
        """Learns from the first of `candidates` that can teach, those with the newest timestamp first."""
        try:
            await self._catalogue.load(now)
        except MirrornetError as error:
            _log.warning("%s: blocks cannot be probed, only timestamps: %s", self._zone, error)
            return
        usable = [pair for pair in candidates if pair[1].kind in (Kind.OK, Kind.LAGGING, Kind.CORRUPT)]
        for mirror, outcome in sorted(usable, key=lambda pair: -(pair[1].version or 0)):
            if await self.learn(mirror, outcome, dice(), now):
                return

    async def follow(self, mirror: Mirror, outcome: Outcome, number: float, now: float) -> None:
        """Learns from `mirror` if its `outcome` shows that it could teach something."""
        if self._worth(outcome):
            await self.learn(mirror, outcome, number, now)

    async def root_has_turned(
        self, mirror: Mirror, outcome: Outcome, believed: bytes, number: float, now: float
    ) -> bool:
        """A signature we cannot check may be that of the next root's keys: its chain is asked for before blaming.

        `believed`: the root.json by which `outcome` was judged.  Another mirror's probe may have turned it meanwhile.
        """
        if outcome.kind is not Kind.CORRUPT or outcome.suspects:
            return False
        if self._catalogue.root == believed:
            await self.learn(mirror, outcome, number, now)
        return self._catalogue.root != believed

    async def learn(self, mirror: Mirror, outcome: Outcome, number: float, now: float) -> bool:
        """One attempt at the mirror's metadata and a page of each index.  Failure is a line in the log, once."""
        async with self._one_at_a_time:
            if outcome.version is not None and not self._worth(outcome):
                return False  # another mirror taught it while this one waited
            return await self._attempt(mirror, outcome.version or 0, number, now)

    def _worth(self, outcome: Outcome) -> bool:
        if self._catalogue.wants(outcome.version):
            return True
        return outcome.version == self._catalogue.version is not None and time.monotonic() - self._learnt > RELEARN

    async def _attempt(self, mirror: Mirror, version: int, number: float, now: float) -> bool:
        try:
            address = (await addresses(mirror, self._timeout))[0]
            async with Visit(address, self._agent) as visit:
                taken = await self._catalogue.learn(_getter(visit, mirror.url, self._timeout), number, now)
        except (PeerError, LocalError, InputError) as error:
            if self._told.get(mirror.name) != version:
                self._told[mirror.name] = version
                _log.warning("%s: mirror %s does not hold a whole set: %s", self._zone, mirror.name, error)
            return False
        self._told.pop(mirror.name, None)
        self._learnt = time.monotonic()
        return taken


def images_of(zone: Zone) -> tuple[str, ...]:
    """The images whose blocks are probed: what the zone says, in whichever section it says it."""
    if zone.repository is not None and zone.repository.images:
        return tuple(sorted(set(zone.repository.images)))
    named = {name for select in zone.select for name in select.images or ()}
    return tuple(sorted(named | {name for mirror in zone.mirrors for name in mirror.holds or ()}))


def read_root(zone: Zone) -> bytes:
    """The root.json that the zone trusts.  Raises InputError."""
    if zone.repository is None:
        raise InputError(f"{zone.file}: `probe: block` needs `repository: {{root: …}}`, to know whom to believe")
    try:
        return zone.repository.root.read_bytes()
    except OSError as error:
        raise InputError(f"{zone.repository.root}: {error.strerror}: the zone's root.json is needed") from None


def _getter(visit: Visit, base: str, timeout: float) -> Callable[[str, int], Awaitable[bytes]]:
    async def get(path: str, limit: int) -> bytes:
        try:
            async with asyncio.timeout(timeout):
                return await visit.get(under(base, path), limit)
        except TimeoutError:
            raise Unreachable(f"{path}: no answer within {format_duration(timeout)}") from None

    return get
