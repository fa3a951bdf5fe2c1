"""One set of monitors follows another: nothing forgotten, nothing probed twice, nothing changed before the swap."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from aiohttp import web

from mirrornet.app.server.voices.probing import Probing
from mirrornet.model.errors import InputError
from mirrornet.model.verdict import State
from mirrornet.model.zone import HealthSettings, Mirror, RepositorySettings, Select, Zone

SELDOM = HealthSettings(interval=600, timeout=30, up=2, ok=1, down=2, probe="http")
OFTEN = replace(SELDOM, interval=0.1, timeout=30)


class Site:
    """A mirror that counts who asks."""

    def __init__(self, name: str, address: str) -> None:
        self.name, self.address, self.port, self.asked = name, address, 0, 0
        self.runner: web.AppRunner | None = None

    async def up(self) -> None:
        async def answer(_: web.Request) -> web.Response:
            self.asked += 1
            return web.Response(text="{}")

        app = web.Application()
        app.router.add_get("/{path:.*}", answer)
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        site = web.TCPSite(self.runner, self.address, self.port)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]

    async def down(self) -> None:
        if self.runner is not None:
            await self.runner.cleanup()
            self.runner = None

    @property
    def mirror(self) -> Mirror:
        return Mirror(self.name, f"http://{self.name}.example.net:{self.port}/", (ip_address(self.address),))


@pytest.fixture
async def sites() -> AsyncIterator[list[Site]]:
    found = [Site("tokyo", "127.0.0.51"), Site("paris", "127.0.0.52"), Site("dallas", "127.0.0.53")]
    for site in found:
        await site.up()
    yield found
    for site in found:
        await site.down()


@pytest.fixture
async def probing(tmp_path: Path) -> AsyncIterator[Probing]:
    found = Probing(tmp_path, lambda: None)
    yield found
    await found.stop()


def zone(sites: list[Site], health: HealthSettings = SELDOM, serial: int = 1) -> Zone:
    return Zone(
        file=Path("zone.yaml"),
        name="example.net",
        contact="hostmaster@example.net",
        serial=serial,
        nameservers={},
        world=None,
        select=(Select("select", "http://select.example.net/"),),
        mirrors=tuple(site.mirror for site in sites),
        health=health,
    )


async def take(probing: Probing, new: Zone) -> None:
    await probing.swap(await probing.stage([new]), [new])


async def test_a_zone_whose_probes_are_the_same_keeps_its_monitor(sites: list[Site], probing: Probing) -> None:
    await take(probing, zone(sites))
    monitor = probing.monitors["example.net"]
    asked = [site.asked for site in sites]
    assert min(asked) >= 1
    await take(probing, zone(sites, serial=2))
    assert probing.monitors["example.net"] is monitor
    assert monitor.zone.serial == 2
    assert [site.asked for site in sites] == asked


async def test_mirrors_that_stay_are_not_probed_again_and_new_ones_are(sites: list[Site], probing: Probing) -> None:
    tokyo, paris, dallas = sites
    await take(probing, zone([tokyo, paris]))
    before = probing.verdicts()["example.net"]
    asked = tokyo.asked, paris.asked
    changed = zone([tokyo, dallas])
    changed = replace(changed, mirrors=(replace(changed.mirrors[0], weight=7), changed.mirrors[1]))
    staged = await probing.stage([changed])
    assert set(probing.verdicts()["example.net"]) == {"tokyo", "paris"}  # nothing has changed yet
    assert dallas.asked >= 1
    foreseen = probing.foresee(staged)["example.net"]
    await probing.swap(staged, [changed])
    after = probing.verdicts()["example.net"]
    assert after == foreseen
    assert after["tokyo"] == before["tokyo"]
    assert after["dallas"].state is State.UP
    assert set(after) == {"tokyo", "dallas"}
    assert (tokyo.asked, paris.asked) == asked


async def test_what_happens_while_staging_is_not_lost(
    sites: list[Site], probing: Probing, expected_warnings: list[str]
) -> None:
    expected_warnings.append("mirror tokyo was up, is down")
    tokyo, paris, dallas = sites
    await take(probing, zone([tokyo, paris], OFTEN))
    new = zone([tokyo, paris, dallas], OFTEN)
    staged = await probing.stage([new])
    await tokyo.down()
    async with asyncio.timeout(60):
        while probing.verdicts()["example.net"]["tokyo"].usable:  # noqa: ASYNC110 (a monitor sets no event)
            await asyncio.sleep(0.01)
    assert probing.foresee(staged)["example.net"]["tokyo"].state is State.DOWN
    await probing.swap(staged, [new])
    assert probing.verdicts()["example.net"]["tokyo"].state is State.DOWN
    await tokyo.up()
    async with asyncio.timeout(60):
        while not probing.verdicts()["example.net"]["tokyo"].usable:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_stage_that_fails_changes_nothing(sites: list[Site], probing: Probing, tmp_path: Path) -> None:
    await take(probing, zone(sites))
    monitor = probing.monitors["example.net"]
    faulty = replace(
        zone(sites), health=replace(SELDOM, probe="block"), repository=RepositorySettings(tmp_path / "root.json")
    )
    with pytest.raises(InputError, match=r"root\.json"):
        await probing.stage([faulty])
    assert probing.monitors["example.net"] is monitor
    await take(probing, zone(sites))
    assert probing.monitors["example.net"] is monitor


async def test_a_zone_that_is_gone_is_watched_no_more(sites: list[Site], probing: Probing) -> None:
    other = replace(zone(sites[:1], OFTEN), name="example.org")
    first = zone(sites[1:2], SELDOM)
    await probing.swap(await probing.stage([other, first]), [other, first])
    await probing.swap(await probing.stage([first]), [first])
    asked = sites[0].asked
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert "probing example.net" in names
    assert "probing example.org" not in names
    assert list(probing.monitors) == ["example.net"]
    assert sites[0].asked == asked
