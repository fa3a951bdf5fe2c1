"""Three mirrors of a really published repository, each on an address of its own, and a zone that names them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from aiohttp import web
from waiting import eventually

from mirrornet.health.probes.monitor import Monitor
from mirrornet.image.publishing.publish import publish
from mirrornet.image.trust.keys import keygen
from mirrornet.model.verdict import State
from mirrornet.model.zone import HealthSettings, Mirror, RepositorySettings, Select, Zone

Watch = Callable[..., Awaitable[Monitor]]
QUICK = HealthSettings(interval=0.1, timeout=2.0, up=2, ok=2, down=2, probe="block")


@dataclass
class Site:
    """One mirror: a folder, served on an address of its own."""

    name: str
    folder: Path
    address: str
    port: int = 0
    runner: web.ServerRunner | None = None
    asked: list[str] = field(default_factory=list)
    said: list[tuple[tuple[bytes, bytes], ...]] = field(default_factory=list)  # headers, as they came
    lies_to: Callable[[str], bool] = lambda agent: False  # who gets blocks that are not whole, by User-Agent
    gate: asyncio.Event | None = None  # what answers wait for

    async def up(self) -> None:
        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            self.asked.append(f"{request.host} {request.path}")
            self.said.append(request.raw_headers)
            if self.gate is not None:
                await self.gate.wait()
            path = self.folder / request.path.lstrip("/")
            if not path.is_file():
                return web.Response(status=404)
            if "/blocks/" in request.path and self.lies_to(request.headers["User-Agent"]):
                return web.Response(body=b"x" * path.stat().st_size)
            return web.FileResponse(path)

        self.runner = web.ServerRunner(web.Server(handle), shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, self.address, self.port).start()
        self.port = self.runner.addresses[0][1]

    async def down(self) -> None:
        if self.runner is not None:
            await self.runner.cleanup()
            self.runner = None

    def blocks(self) -> list[Path]:
        return sorted(path for path in (self.folder / "blocks").rglob("*") if path.is_file())


class Network:
    """Three mirrors, their publisher, and a zone that names them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.sites = [
            Site(name, folder / name, f"127.0.0.{31 + n}") for n, name in enumerate(("tokyo", "paris", "dallas"))
        ]
        keygen(folder / "keys", passphrase=None)
        self.publish()
        for site in self.sites:
            self.sync(site)

    def publish(self, packs: bool = False) -> None:
        (self.folder / "image").write_bytes(os.urandom(1 << 20))
        repo, keys = self.folder / "repo", self.folder / "keys"
        publish(self.folder / "image", "debian", repo, keys, now=time.time(), packs=packs)

    def sync(self, site: Site) -> None:
        """By renaming: threads of the server may be reading, and half a file would be a lie of the mirror's."""
        new, old = (site.folder.with_name(f"{site.name}.{what}") for what in ("new", "old"))
        shutil.copytree(self.folder / "repo", new)
        if site.folder.exists():
            site.folder.rename(old)
        new.rename(site.folder)
        shutil.rmtree(old, ignore_errors=True)

    def zone(self, health: HealthSettings = QUICK, lag: float = 3600.0) -> Zone:
        mirrors = tuple(
            Mirror(s.name, f"http://{s.name}.example:{s.port}", (ip_address(s.address),)) for s in self.sites
        )
        return Zone(
            file=self.folder / "zone.yaml",
            name="example.net",
            contact="hostmaster@example.net",
            serial=1,
            nameservers={},
            world=None,
            select=(Select("select", f"http://select.example.net:{self.sites[0].port}/"),),
            mirrors=mirrors,
            health=health,
            repository=RepositorySettings(self.folder / "keys" / "root.json", ("debian",), lag),
        )


@contextlib.asynccontextmanager
async def served(folder: Path) -> AsyncIterator[Network]:
    """A network whose mirrors are up."""
    built = Network(folder)
    for site in built.sites:
        await site.up()
    yield built
    for site in built.sites:
        await site.down()


@contextlib.asynccontextmanager
async def watching(state: Path) -> AsyncIterator[Watch]:
    """start(zone): a Monitor that runs once its first round is over, stopped at the end."""
    tasks: list[asyncio.Task[None]] = []

    async def start(
        zone: Zone, clock: Callable[[], float] = time.time, dice: Callable[[], float] = random.random
    ) -> Monitor:
        monitor = Monitor(zone, state, clock=clock, dice=dice)
        await monitor.first_round()
        tasks.append(asyncio.create_task(monitor.run()))
        return monitor

    yield start
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(result, asyncio.CancelledError)


async def until(monitor: Monitor, **states: State) -> None:
    """Waits until these mirrors are in these states."""
    await eventually(lambda: {name: monitor.verdicts()[name].state for name in states} == states, monitor.verdicts)
