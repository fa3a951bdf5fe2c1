"""Looks at mirrors: the probes of `serve`, made once from here, and the clocks that mirrors tell."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

import aiohttp
from yarl import URL

from mirrornet.app.doctor.mirrors import Visited
from mirrornet.health.probes.fetch import user_agent
from mirrornet.health.probes.learning import Learning, read_root
from mirrornet.health.probes.ordering import order, select_urls
from mirrornet.health.probes.probe import Order, addresses, probe
from mirrornet.health.probes.target import target
from mirrornet.health.rule.outcome import Kind, Outcome
from mirrornet.health.rule.state import Track
from mirrornet.model.address import Address
from mirrornet.model.errors import MirrornetError, PeerError
from mirrornet.model.zone import Mirror, Zone

AT_ONCE: Final = 32
LEAST: Final = 5.0  # seconds for a probe, where the zone allows less: the doctor may be far from the servers


async def mirrors(zone: Zone) -> tuple[list[Visited], Mapping[str, float]]:
    """Every mirror at each of its addresses, and when the metadata's roles end, as far as that could be verified."""
    agent, block = user_agent(zone.name, zone.contact), zone.health.probe == "block"
    root = read_root(zone) if block else b""
    limit = asyncio.Semaphore(AT_ONCE)
    kind = "http" if zone.health.probe == "none" else zone.health.probe
    wait = max(LEAST, zone.health.timeout)
    places = [where for found in await asyncio.gather(*(_where(m, wait) for m in zone.mirrors)) for where in found]

    async def one(mirror: Mirror, address: Address | str, asked: Order) -> Visited:
        if isinstance(address, str):
            return Visited(mirror, "", Outcome(Kind.FAILED, time.time(), address))
        async with limit:
            outcome = await probe(asked, address, wait, agent, time.time)
            skew = None if kind == "tcp" else await _skew(mirror, address, agent, wait)
        return Visited(mirror, str(address), outcome, skew)

    plain = [one(m, where, Order(kind, m.url, select_urls(zone, m), root=root)) for m, where in places]
    visits = list(await asyncio.gather(*plain))
    if not block:
        return visits, {}
    with tempfile.TemporaryDirectory(prefix="mirrornet-doctor-") as folder:
        learning = Learning(zone, Path(folder), root, agent)
        candidates = {visit.mirror.name: (visit.mirror, visit.outcome) for visit in visits if visit.address}
        await learning.begin(list(candidates.values()), random.random, time.time())
        if not learning.known.samples:  # nobody has a whole set, and each has said why
            return visits, learning.expiries
        again = [
            one(m, where, replace(order(zone, m, Track(), learning.known, False, random.random), kind=kind))
            for m, where in places
        ]
        return list(await asyncio.gather(*again)), learning.expiries


async def _where(mirror: Mirror, wait: float) -> Sequence[tuple[Mirror, Address | str]]:
    try:
        return [(mirror, address) for address in await addresses(mirror, wait)]
    except PeerError as error:
        return [(mirror, str(error))]


async def _skew(mirror: Mirror, address: Address, agent: str, wait: float) -> float | None:
    """By how many seconds the mirror's clock is ahead of ours; None where it tells no time."""
    try:
        there = target(mirror.url, address)
        async with (
            asyncio.timeout(wait),
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=False) as session,
            session.head(
                URL(there.literal_url, encoded=True),
                headers={"Host": there.host_header, "User-Agent": agent},
                allow_redirects=False,
                server_hostname=there.host if there.tls else None,
            ) as answer,
        ):
            return parsedate_to_datetime(answer.headers["Date"]).timestamp() - time.time()
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError, TypeError, MirrornetError):
        return None
