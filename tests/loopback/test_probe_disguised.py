"""Probes that look like a client: to the letter, the path and the range; mirrors that are honest to probers alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address

import pytest
from aiohttp import web
from probed import QUICK, Network, Watch, until
from waiting import eventually

from mirrornet.client.fetching.body import Within
from mirrornet.client.fetching.fetch import Fetcher
from mirrornet.client.mirrors.source import Endpoint
from mirrornet.health.probes.fetch import Visit
from mirrornet.health.probes.monitor import Monitor
from mirrornet.image.fetch import Bridge
from mirrornet.image.trust import attempt as trust
from mirrornet.model.verdict import State

PROBER = "(health probe for example.net; hostmaster@example.net)"
ALWAYS, NEVER = (lambda: 0.05), (lambda: 0.95)  # dice: in disguise or not


async def test_its_headers_are_a_clients_to_the_letter(network: Network) -> None:
    site = network.sites[0]
    url, address = f"http://tokyo.example:{site.port}", ip_address(site.address)
    block = f"blocks/{site.blocks()[0].parent.name}/{site.blocks()[0].name}"
    client = Fetcher()
    endpoint = Endpoint("tokyo", url, (site.address,), allow_local=True)
    await client.fetch(endpoint, "metadata/timestamp.json", 99999)
    await client.fetch(endpoint, block, 10, within=Within(5, 999999))
    await client.close()
    async with Visit(address, "") as visit:
        await visit.get(f"{url}/metadata/timestamp.json", 99999)
        await visit.get(f"{url}/{block}", 10, 5)
    assert len(site.said) == 4
    assert site.said[:2] == site.said[2:]


async def test_it_asks_what_a_client_asks_in_that_order(network: Network) -> None:
    site = network.sites[0]
    client = Fetcher()
    endpoint = Endpoint("tokyo", f"http://tokyo.example:{site.port}", (site.address,), allow_local=True)

    async def get(path: str, limit: int) -> bytes:
        return (await client.fetch(endpoint, path, limit)).data

    folder, fetch = network.folder / "trust", Bridge(get, asyncio.get_running_loop(), 10.0)
    trust.initialise(folder, (network.folder / "keys" / "root.json").read_bytes())
    for _ in range(2):  # the second time as whoever has been here before
        site.asked.clear()
        scratch = trust.new_scratch(folder)
        await asyncio.to_thread(trust.attempt, folder, scratch, fetch, ("debian",), 0.0)
        trust.commit(folder, scratch)
    await client.close()
    begins = list(site.asked)
    assert [path.rpartition("/")[2] for path in begins] == ["2.root.json", "timestamp.json"]
    monitor = Monitor(network.zone(), network.state, dice=ALWAYS)
    await monitor.first_round()
    site.asked.clear()
    await monitor._once(monitor.zone.mirrors[0], client=True)
    assert site.asked[: len(begins)] == begins
    rest = site.asked[len(begins) :]
    assert 1 <= len(rest) <= 3 and all("/blocks/" in path for path in rest)


async def test_a_liar_who_knows_probers_is_caught_and_stays_out(network: Network, watch: Watch) -> None:
    network.sites[2].lies_to = lambda agent: "health probe" not in agent
    monitor = await watch(network.zone(), dice=ALWAYS)
    assert monitor.verdicts()["dallas"].state is State.UP  # the first look says who it is
    await until(monitor, dallas=State.CORRUPT, tokyo=State.UP)
    assert monitor.verdicts()["dallas"].reason.startswith("asked as a client asks: block ")
    asked = len(network.sites[2].said)
    await eventually(lambda: len(network.sites[2].said) > asked + 12)
    later = {value for headers in network.sites[2].said[asked:] for name, value in headers if name == b"User-Agent"}
    assert not any(PROBER.encode() in agent for agent in later)  # all that follow look like a client
    assert monitor.verdicts()["dallas"].state is State.CORRUPT
    network.sites[2].lies_to = lambda agent: False
    await until(monitor, dallas=State.UP)


async def test_who_turns_clients_away_is_out_however_it_treats_probers(network: Network, watch: Watch) -> None:
    monitor = await watch(network.zone(), dice=ALWAYS)
    site = network.sites[2]
    await site.down()

    async def picky(request: web.BaseRequest) -> web.StreamResponse:
        if "health probe" not in request.headers["User-Agent"]:
            return web.Response(status=503)
        return web.FileResponse(site.folder / request.path.lstrip("/"))

    site.runner = web.ServerRunner(web.Server(picky), shutdown_timeout=0.1)
    await site.runner.setup()
    await web.TCPSite(site.runner, site.address, site.port).start()
    await until(monitor, dallas=State.DOWN)
    assert "HTTP 503" in monitor.verdicts()["dallas"].reason


async def test_blocks_in_packs_are_asked_for_by_range(network: Network, expected_warnings: list[str]) -> None:
    expected_warnings.append(": mirror ")
    network.publish(packs=True)
    for site in network.sites:
        network.sync(site)
    monitor = Monitor(network.zone(), network.state, dice=NEVER)
    await monitor.first_round()
    site = network.sites[0]
    assert any(name == b"Range" for headers in site.said for name, _ in headers)
    assert {verdict.state for verdict in monitor.verdicts().values()} == {State.UP}
    for path in site.blocks():
        data = bytearray(path.read_bytes())
        data[::64] = bytes(b ^ 1 for b in data[::64])
        path.write_bytes(data)
    await monitor._once(monitor.zone.mirrors[0], client=False)
    assert monitor.verdicts()["tokyo"].state is State.CORRUPT


@pytest.mark.parametrize("knows", ["ranges", "none", "too little"])
async def test_a_part_of_a_file(network: Network, knows: str, free_port: Callable[[], int]) -> None:
    async def serve(request: web.BaseRequest) -> web.Response:
        assert request.headers["Range"] == "bytes=1000-1099"
        if knows == "ranges":
            return web.Response(status=206, body=b"y" * 100)
        return web.Response(body=b"x" * 1000 + b"y" * (100 if knows == "none" else 99))

    runner = web.ServerRunner(web.Server(serve), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.34", 0).start()
    url = f"http://tokyo.example:{runner.addresses[0][1]}/x"
    async with Visit(ip_address("127.0.0.34"), "") as visit:
        if knows == "too little":
            with pytest.raises(Exception, match="ends 1 bytes before"):
                await visit.get(url, 100, 1000)
        else:
            assert await visit.get(url, 100, 1000) == b"y" * 100
    await runner.cleanup()


async def test_a_plainer_probe_in_disguise_only_changes_its_name(network: Network) -> None:
    zone = replace(network.zone(replace(QUICK, probe="http")), repository=None)
    monitor = Monitor(zone, network.state)
    await monitor.first_round()
    site = network.sites[0]
    site.asked.clear()
    site.said.clear()
    await monitor._once(zone.mirrors[0], client=True)
    assert site.asked == [f"tokyo.example:{site.port} /metadata/timestamp.json"]
    assert PROBER.encode() not in dict(site.said[0])[b"User-Agent"]
