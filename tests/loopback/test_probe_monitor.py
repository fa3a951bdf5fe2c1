"""The watch over real mirrors of a really published repository: what dies, lies, lags and comes back."""

from __future__ import annotations

import asyncio
import json
import math
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from probed import QUICK, Network, Site, Watch, until
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root, Timestamp
from waiting import PATIENCE, eventually

from mirrornet.health.probes.monitor import Monitor
from mirrornet.health.rule.outcome import Kind, Outcome
from mirrornet.image.trust.keyfiles import open_key
from mirrornet.image.trust.keys import keygen
from mirrornet.model.errors import InputError
from mirrornet.model.verdict import State
from mirrornet.model.zone import HealthSettings, Mirror, RepositorySettings, Select


async def test_the_first_round_decides_at_once(network: Network, expected_warnings: list[str]) -> None:
    expected_warnings.append("mirror dallas was unknown, is down")
    await network.sites[2].down()
    monitor = Monitor(network.zone(), network.state)
    assert {verdict.state for verdict in monitor.verdicts().values()} == {State.UNKNOWN}
    begun = time.monotonic()
    await monitor.first_round()
    assert time.monotonic() - begun < 2 * QUICK.timeout + 1
    verdicts = monitor.verdicts()
    assert [verdicts[name].state for name in ("tokyo", "paris", "dallas")] == [State.UP, State.UP, State.DOWN]
    assert verdicts["tokyo"].serves_select is True
    assert verdicts["tokyo"].repository_version == 1
    asked = network.sites[0].asked
    assert any("/blocks/" in line for line in asked)
    assert f"select.example.net:{network.sites[0].port} /metadata/timestamp.json" in asked


async def test_it_dies_and_comes_back(network: Network, watch: Watch) -> None:
    monitor = await watch(network.zone())
    await network.sites[1].down()
    await until(monitor, tokyo=State.UP, paris=State.DOWN)
    assert monitor.verdicts()["paris"].reason == "connection refused"
    await network.sites[1].up()
    await until(monitor, paris=State.UP)
    assert monitor.tracks()["paris"].flips == 2


async def test_who_flaps_is_held_while_others_are_enough(network: Network, expected_warnings: list[str]) -> None:
    expected_warnings += [": mirror ", "no mirror is usable"]
    monitor = Monitor(network.zone(), network.state)
    await monitor.first_round()
    begun = time.time()

    def look(number: int, letters: str) -> None:
        for letter in letters:
            kind = Kind.OK if letter == "+" else Kind.FAILED
            monitor._apply(monitor.zone.mirrors[number], Outcome(kind, begun, "no answer"))

    look(0, "--++" * 3 + "--+++++")
    assert monitor.verdicts()["tokyo"].state is State.DOWN
    assert "since it goes up and down" in monitor.verdicts()["tokyo"].reason
    look(1, "--")
    look(0, "+")
    assert monitor.verdicts()["tokyo"].state is State.UP  # one of three is not enough


async def test_it_lies_and_is_out_until_its_blocks_are_whole_again(network: Network, watch: Watch) -> None:
    monitor = await watch(network.zone())
    liar = network.sites[2]
    for path in liar.blocks():
        path.write_bytes(b"x" * path.stat().st_size)
    await until(monitor, dallas=State.CORRUPT, tokyo=State.UP)
    (suspect,) = monitor.tracks()["dallas"].suspects
    assert suspect.hash.hex()[:16] in monitor.verdicts()["dallas"].reason
    # all but the one that was caught are mended: it stays out
    for path in liar.blocks():
        if path.name != suspect.hash.hex():
            shutil.copy(network.folder / "repo" / path.relative_to(liar.folder), path)
    asked = len(liar.asked)
    await eventually(lambda: len(liar.asked) >= asked + 12)
    assert monitor.verdicts()["dallas"].state is State.CORRUPT
    network.sync(liar)
    await until(monitor, dallas=State.UP)


async def test_who_has_not_synced_lags_and_then_is_stale(network: Network, watch: Watch) -> None:
    ahead = 0.0
    monitor = await watch(network.zone(lag=3600.0), lambda: time.time() + ahead)
    network.publish()
    network.sync(network.sites[0])
    await until(monitor, tokyo=State.UP, paris=State.LAGGING, dallas=State.LAGGING)
    assert monitor.verdicts()["paris"].usable
    network.sync(network.sites[1])
    ahead = 3700.0
    await until(monitor, paris=State.UP, dallas=State.STALE)
    assert "has timestamp 1, the newest is 2" in monitor.verdicts()["dallas"].reason
    # new blocks are known by now, and are what mirrors are asked for
    new = {path.name for path in network.sites[0].blocks()}
    network.sites[0].asked.clear()
    await eventually(lambda: any("/blocks/" in line for line in network.sites[0].asked))
    asked = next(line for line in network.sites[0].asked if "/blocks/" in line)
    assert asked.rpartition("/")[2] in new


async def test_all_down_is_said_once(
    network: Network, watch: Watch, expected_warnings: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    expected_warnings.append("no mirror is usable")
    monitor = await watch(network.zone())
    for site in network.sites:
        await site.down()
    await until(monitor, tokyo=State.DOWN, paris=State.DOWN, dallas=State.DOWN)
    assert [record.getMessage() for record in caplog.records].count(
        "example.net: no mirror is usable, the nearest is answered all the same"
    ) == 1


async def test_what_is_known_survives_a_restart(network: Network, expected_warnings: list[str]) -> None:
    expected_warnings.append(": mirror ")
    liar = network.sites[0]
    for path in liar.blocks():
        path.write_bytes(b"x" * path.stat().st_size)
    first = Monitor(network.zone(), network.state)
    await first.first_round()
    assert first.verdicts()["tokyo"].state is State.CORRUPT
    network.sync(liar)
    second = Monitor(network.zone(), network.state)
    await second.first_round()
    assert second.verdicts()["tokyo"].state is State.CORRUPT  # one good look is not enough
    assert second.verdicts()["tokyo"].since == first.verdicts()["tokyo"].since
    moved = network.zone()
    moved = replace(moved, mirrors=(replace(moved.mirrors[0], url=moved.mirrors[0].url + "/"), *moved.mirrors[1:]))
    third = Monitor(moved, network.state)
    await third.first_round()
    assert third.verdicts()["tokyo"].state is State.UP  # another URL is another mirror


async def test_a_damaged_memory_is_told_and_replaced(network: Network, expected_warnings: list[str]) -> None:
    expected_warnings.append("health.example.net.json is ignored")
    file = network.state / "health.example.net.json"
    file.parent.mkdir()
    file.write_text("{")
    monitor = Monitor(network.zone(), network.state)
    await monitor.first_round()
    assert len(json.loads(file.read_text())["tracks"]) == 3


async def test_on_change_is_called_for_what_changes_an_answer(network: Network, expected_warnings: list[str]) -> None:
    expected_warnings.append(": mirror ")
    calls: list[set[State]] = []
    monitor = Monitor(
        network.zone(), network.state, on_change=lambda: calls.append({v.state for v in monitor.verdicts().values()})
    )
    await monitor.first_round()
    assert calls == []
    task = asyncio.create_task(monitor.run())
    probes = monitor.probes
    await eventually(lambda: monitor.probes >= probes + 6)
    assert calls == []  # RTTs moved, nothing else did
    await network.sites[0].down()
    await until(monitor, tokyo=State.DOWN)
    assert calls[-1] == {State.UP, State.DOWN}
    task.cancel()
    assert (await asyncio.gather(task, return_exceptions=True))[0].__class__ is asyncio.CancelledError


async def test_probe_none_takes_all_as_up_without_asking(network: Network) -> None:
    monitor = Monitor(network.zone(HealthSettings(probe="none")), network.state)
    await monitor.first_round()
    task = asyncio.create_task(monitor.run())
    await asyncio.sleep(0)
    for verdict in monitor.verdicts().values():
        assert (verdict.state, verdict.promise, verdict.serves_select) == (State.UP, math.inf, None)
    assert all(site.asked == [] for site in network.sites)
    task.cancel()


@pytest.mark.parametrize("kind", ["tcp", "http"])
async def test_the_plainer_probes(network: Network, kind: str, expected_warnings: list[str]) -> None:
    expected_warnings.append("mirror paris was unknown, is down")
    await network.sites[1].down()
    settings = replace(QUICK, probe=kind)  # type: ignore[arg-type]
    monitor = Monitor(replace(network.zone(settings), repository=None), network.state)
    await monitor.first_round()
    assert [verdict.state for verdict in monitor.verdicts().values()] == [State.UP, State.DOWN, State.UP]


async def test_no_root_is_one_line(network: Network) -> None:
    zone = network.zone()
    with pytest.raises(InputError, match="needs `repository"):
        Monitor(replace(zone, repository=None), network.state)
    absent = RepositorySettings(network.folder / "absent.json", ("debian",))
    with pytest.raises(InputError, match=r"absent\.json: No such file"):
        Monitor(replace(zone, repository=absent), network.state)


async def test_somebody_elses_repository_is_corrupt(network: Network, expected_warnings: list[str]) -> None:
    expected_warnings += [": mirror ", "no mirror is usable"]
    keygen(network.folder / "others", passphrase=None)
    zone = replace(network.zone(), repository=RepositorySettings(network.folder / "others" / "root.json", ("debian",)))
    monitor = Monitor(zone, network.state)
    await monitor.first_round()
    assert {verdict.state for verdict in monitor.verdicts().values()} == {State.CORRUPT}


async def test_a_state_folder_that_cannot_be_written_stops_nothing(
    network: Network, expected_warnings: list[str]
) -> None:
    expected_warnings += ["is ignored", "verdicts will not survive a restart", "blocks cannot be probed"]
    network.state.write_text("a file where the folder should be")
    monitor = Monitor(network.zone(), network.state)
    await monitor.first_round()
    assert {verdict.state for verdict in monitor.verdicts().values()} == {State.UP}


async def test_nginx_serves_two_names(
    network: Network, need: Callable[..., None], free_port: Callable[[], int], tmp_path: Path
) -> None:
    """A real server with virtual hosts: the mirror's own name under /os, the select name at its root."""
    need("nginx")
    port = free_port()
    run = tmp_path / "nginx"
    run.mkdir()
    (run / "nginx.conf").write_text(f"""
daemon off; master_process off; pid {run}/pid; error_log {run}/error.log;
events {{}}
http {{
  access_log {run}/access.log combined; client_body_temp_path {run}/b; proxy_temp_path {run}/p;
  fastcgi_temp_path {run}/f; uwsgi_temp_path {run}/u; scgi_temp_path {run}/s;
  server {{ listen 127.0.0.41:{port} default_server; return 404; }}
  server {{ listen 127.0.0.41:{port}; server_name tokyo.example; location /os/ {{ alias {network.folder}/repo/; }} }}
  server {{ listen 127.0.0.41:{port}; server_name select.example.net; root {network.folder}/repo; }}
}}
""")
    nginx = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    assert nginx is not None
    process = await asyncio.create_subprocess_exec(
        nginx, "-p", str(run), "-e", str(run / "error.log"), "-c", str(run / "nginx.conf")
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.41", port)
                writer.close()
                break
            except OSError:
                assert time.monotonic() < deadline and process.returncode is None, (run / "error.log").read_text()
                await asyncio.sleep(0.05)
        zone = network.zone()
        zone = replace(
            zone,
            mirrors=(Mirror("tokyo", f"http://tokyo.example:{port}/os", (ip_address("127.0.0.41"),)),),
            select=(Select("select", f"http://select.example.net:{port}/"),),
        )
        monitor = Monitor(zone, network.state)
        await monitor.first_round()
        verdict = monitor.verdicts()["tokyo"]
        assert (verdict.state, verdict.serves_select, verdict.reason) == (State.UP, True, "")
        log = (run / "access.log").read_text()
        assert "(health probe for example.net; hostmaster@example.net)" in log
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), PATIENCE)


def turn_keys(network: Network) -> None:
    """A second root, signed by the first one's key, that gives the timestamp to a new key; then it is signed anew."""
    keys, metadata = network.folder / "keys", network.folder / "repo" / "metadata"
    root_key, new_key = open_key(keys / "root.pem", "root", None), CryptoSigner.generate_ed25519()
    root = Metadata[Root].from_bytes((keys / "root.json").read_bytes())
    root.signed.version = 2
    root.signed.revoke_key(root.signed.roles["timestamp"].keyids[0], "timestamp")
    root.signed.add_key(new_key.public_key, "timestamp")
    root.sign(root_key)
    root.to_file(str(metadata / "2.root.json"))
    timestamp = Metadata[Timestamp].from_file(str(metadata / "timestamp.json"))
    timestamp.signed.version += 1
    timestamp.sign(new_key)
    timestamp.to_file(str(metadata / "timestamp.json"))


async def test_new_keys_of_the_publisher_are_no_corruption(network: Network, watch: Watch) -> None:
    monitor = await watch(network.zone())
    turn_keys(network)
    for site in network.sites:
        network.sync(site)
    await eventually(lambda: {v.repository_version for v in monitor.verdicts().values()} == {2}, monitor.verdicts)
    assert {track.flips for track in monitor.tracks().values()} == {0}


async def test_a_probe_that_is_late_when_keys_turn_blames_nobody(network: Network) -> None:
    monitor = Monitor(network.zone(), network.state)
    await monitor.first_round()
    turn_keys(network)
    for site in network.sites:
        network.sync(site)
    tokyo, paris, _ = monitor.zone.mirrors
    late = network.sites[0]
    late.asked.clear()
    late.gate = asyncio.Event()
    probe = asyncio.create_task(monitor._once(tokyo, client=False))
    await eventually(lambda: late.asked)  # by now it is judged by the first root
    await monitor._once(paris, client=False)
    assert monitor.verdicts()["paris"].repository_version == 2
    late.gate.set()
    await probe
    verdict = monitor.verdicts()["tokyo"]
    assert (verdict.state, verdict.repository_version) == (State.UP, 2)


async def test_a_half_copied_mirror_is_told_and_teaches_nothing(
    network: Network, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    monitor = await watch(network.zone())
    network.publish()
    for site in network.sites[:2]:
        shutil.copy(network.folder / "repo" / "metadata" / "timestamp.json", site.folder / "metadata")
    await eventually(lambda: monitor.verdicts()["paris"].repository_version == 2)
    network.sync(network.sites[2])
    # the third mirror has it all, teaches it, and the two halves are then found out by their blocks
    await until(monitor, tokyo=State.DOWN, paris=State.DOWN, dallas=State.UP)
    assert "is not there" in monitor.verdicts()["paris"].reason
    told = [r.getMessage() for r in caplog.records if "does not hold a whole set" in r.getMessage()]
    assert len(told) == len(set(told)) >= 1


async def test_a_mirror_that_falls_silent_over_ipv6_is_up_over_ipv4(network: Network, watch: Watch) -> None:
    site = network.sites[0]
    six = Site("tokyo", site.folder, "::1", site.port)
    try:
        await six.up()
    except OSError:
        pytest.skip("needs ::1")
    zone = network.zone()
    both = replace(zone.mirrors[0], addresses=(ip_address(site.address), ip_address("::1")))
    changes: list[object] = []
    monitor = await watch(replace(zone, mirrors=(both, *zone.mirrors[1:])))
    monitor._on_change = lambda: changes.append(monitor.verdicts()["tokyo"].families)
    assert monitor.verdicts()["tokyo"].families is None
    await six.down()
    await eventually(lambda: monitor.verdicts()["tokyo"].families == {4})
    seen = monitor.verdicts()["tokyo"]
    assert (seen.state, seen.reason) == (State.UP, "not over IPv6: ::1: connection refused")
    assert changes[-1] == {4}  # the plan was told
    await six.up()
    await eventually(lambda: monitor.verdicts()["tokyo"].families is None)
    await six.down()
    await site.down()
    await until(monitor, tokyo=State.DOWN)
    assert monitor.verdicts()["tokyo"].families is None
    assert monitor.tracks()["tokyo"].flips == 1


async def test_who_is_pardoned_by_hand_is_judged_anew(network: Network, expected_warnings: list[str]) -> None:
    expected_warnings.append(": mirror ")
    liar = network.sites[0]
    for path in liar.blocks():
        path.write_bytes(b"x" * path.stat().st_size)
    told: list[int] = []
    monitor = Monitor(network.zone(), network.state, on_change=lambda: told.append(1))
    await monitor.first_round()
    assert monitor.verdicts()["tokyo"].state is State.CORRUPT
    network.sync(liar)
    assert monitor.pardon("tokyo")
    assert (monitor.verdicts()["tokyo"].state, len(told)) == (State.UNKNOWN, 1)
    again = Monitor(network.zone(), network.state)
    await again.first_round()
    assert again.verdicts()["tokyo"].state is State.UP
    assert not monitor.pardon("paris") and not monitor.pardon("osaka")
    assert monitor.verdicts()["paris"].state is State.UP


async def test_a_certificate_that_ends_soon_is_told_once(
    network: Network, expected_warnings: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    expected_warnings.append("the TLS certificate of mirror tokyo ends in 9 days")
    monitor = Monitor(network.zone(), network.state)
    await monitor.first_round()
    mirror, ends = monitor.zone.mirrors[0], time.time() + 10 * 86400 - 60
    for _ in range(3):
        monitor._apply(mirror, Outcome(Kind.OK, time.time(), certificate_until=ends))
    assert len(caplog.records) == 1
    assert monitor.verdicts()["tokyo"].reason == "its TLS certificate ends in 9 days"


async def test_each_address_is_probed_and_the_bad_one_named(network: Network, expected_warnings: list[str]) -> None:
    expected_warnings.append("mirror tokyo was unknown, is down")
    zone = network.zone()
    both = replace(zone.mirrors[0], addresses=(ip_address("127.0.0.31"), ip_address("127.0.0.99")))
    monitor = Monitor(replace(zone, mirrors=(both, *zone.mirrors[1:])), network.state)
    await monitor.first_round()
    assert monitor.verdicts()["tokyo"].reason == "127.0.0.99: connection refused"


async def test_it_stops_at_once_in_the_middle_of_a_round(network: Network) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.42", 0)
    async with server:
        zone = network.zone(replace(QUICK, timeout=60.0, interval=60.0))
        port = server.sockets[0].getsockname()[1]
        hanging = Mirror("hanging", f"http://hanging.example:{port}/", (ip_address("127.0.0.42"),))
        monitor = Monitor(replace(zone, mirrors=(hanging,)), network.state)
        task = asyncio.create_task(monitor.first_round())
        await eventually(lambda: monitor.probes == 1)
        task.cancel()
        begun = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - begun < 30, "the probe's own deadline is 60 s"


async def test_no_more_than_so_many_probes_at_once(network: Network, expected_warnings: list[str]) -> None:
    expected_warnings += [": mirror ", "no mirror is usable"]
    now, most, came = 0, 0, 0
    gate = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Lets six go at once, when they are there; the last four when nobody else is to come: no clock decides."""
        nonlocal now, most, came, gate
        await reader.readuntil(b"\r\n\r\n")
        now, came, mine = now + 1, came + 1, gate
        most = max(most, now)
        if now >= 6 or came == 22:
            gate.set()
            gate = asyncio.Event()
        await mine.wait()
        for _ in range(20):  # turns of the loop in which one too many would come
            await asyncio.sleep(0)
        now -= 1
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.42", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        mirrors = tuple(Mirror(f"m{n}", f"http://m{n}.example:{port}/", (ip_address("127.0.0.42"),)) for n in range(11))
        zone = replace(network.zone(replace(QUICK, timeout=60.0, probe="http")), mirrors=mirrors)
        limit = asyncio.Semaphore(6)
        both = [Monitor(replace(zone, name=f"{n}.example"), network.state, limit=limit) for n in range(2)]
        await asyncio.gather(*(monitor.first_round() for monitor in both))
    assert (most, came) == (6, 22)
    assert [monitor.probes for monitor in both] == [11, 11]
