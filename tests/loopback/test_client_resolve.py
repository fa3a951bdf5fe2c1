"""From a select name to mirrors, against a name server that answers, is silent for some types, or is gone."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from client_mirrors import NameServer
from waiting import eventually

from mirrornet.client.finding.resolve import PATIENCE, Refresher, Resolver
from mirrornet.client.mirrors.source import Endpoint, SelectName
from mirrornet.model.errors import InputError, Unreachable

SELECT = SelectName("select.example.net")
SERVICE = "_http._tcp.select.example.net."


@pytest.fixture
def server() -> Iterator[NameServer]:
    running = NameServer()
    yield running
    with contextlib.suppress(OSError):
        running.stop()


async def test_uri_is_the_ranked_list_dialled_at_the_mirrors_own_names(server: NameServer) -> None:
    server.records = {
        (SERVICE, "URI"): [
            '20 1 "https://two.example/os#paris"',
            '10 1 "http://one.example:8080/os#tokyo"',
            '30 1 "http://127.0.0.9:81/#bare"',
        ],
        ("tokyo.select.example.net.", "A"): ["127.0.0.7"],
        ("tokyo.select.example.net.", "AAAA"): ["::1"],
        ("two.example.", "A"): ["127.0.0.8"],
        ("select.example.net.", "A"): ["127.0.0.1"],
    }
    found = await Resolver(server.address).mirrors(SELECT)
    assert found.ttl == 7
    assert found.endpoints == (
        Endpoint("tokyo", "http://one.example:8080/os", ("::1", "127.0.0.7"), 0, True),
        Endpoint("paris", "https://two.example/os", ("127.0.0.8",), 1, True),
        Endpoint("bare", "http://127.0.0.9:81", ("127.0.0.9",), 2, True),
    )


async def test_txt_srv_and_plain_addresses_stand_in_for_a_swallowed_uri(server: NameServer) -> None:
    server.silent = {"URI"}
    server.records = {("select.example.net.", "A"): ["127.0.0.1", "127.0.0.2"]}
    begun = time.monotonic()
    found = await Resolver(server.address).mirrors(SELECT)
    assert time.monotonic() - begun < PATIENCE + 3, "URI itself is waited for longer"
    assert sorted(found.endpoints[0].addresses + found.endpoints[1].addresses) == ["127.0.0.1", "127.0.0.2"]
    assert {endpoint.url for endpoint in found.endpoints} == {"http://select.example.net"}

    server.records[(SERVICE, "SRV")] = ["10 1 8080 tokyo.select.example.net."]
    server.records[("tokyo.select.example.net.", "A")] = ["127.0.0.3"]
    found = await Resolver(server.address).mirrors(SELECT)
    assert found.endpoints == (Endpoint("tokyo", "http://select.example.net:8080", ("127.0.0.3",), 0, True),)

    server.records[(SERVICE, "TXT")] = ['"10 http://one.example/os#tokyo"', '"v=spf1 -all"']
    found = await Resolver(server.address).mirrors(SELECT)
    assert found.endpoints == (Endpoint("tokyo", "http://one.example/os", ("127.0.0.3",), 0, True),)


async def test_what_a_name_server_may_not_send_us_to(server: NameServer, expected_warnings: list[str]) -> None:
    expected_warnings += ["may not name a file", "is no public address", "is not a mirror's name"]
    server.records = {
        (SERVICE, "URI"): [
            '5 1 "file:///etc/passwd#a"',
            '10 1 "http://good.example/#good"',
            '20 1 "http://evil.example/#evil"',
            '30 1 "http://x.example/#no name"',
        ],
        ("good.select.example.net.", "A"): ["192.88.98.1", "10.0.0.1"],
        ("evil.select.example.net.", "A"): ["169.254.169.254", "127.0.0.1"],
    }
    resolver = Resolver(server.address)
    resolver._allow_local = False  # as with the system's name servers
    found = await resolver.mirrors(SELECT)
    assert found.endpoints == (Endpoint("good", "http://good.example", ("192.88.98.1",), 1, False),)


async def test_no_answer_is_unreachable_and_named(server: NameServer) -> None:
    with pytest.raises(Unreachable, match=r"select\.example\.net: .* says that there is no such name"):
        await Resolver(server.address).mirrors(SELECT)


async def test_a_name_server_that_is_gone_leaves_the_last_list(
    server: NameServer, tmp_path: Path, expected_warnings: list[str]
) -> None:
    expected_warnings.append("going on with the 1 mirrors of last time")
    server.records = {
        (SERVICE, "URI"): ['10 1 "http://one.example/#tokyo"'],
        ("tokyo.select.example.net.", "A"): ["127.0.0.7"],
    }
    seen: list[tuple[Endpoint, ...]] = []
    file = tmp_path / "deep" / "list.json"
    refresher = Refresher(Resolver(server.address), SELECT, seen.append, file)
    first = await refresher.first()
    server.stop()
    again = Refresher(Resolver(server.address, 0.3), SELECT, seen.append, file)
    assert await again.first() == first and seen == [first, first] and again.last_error
    file.write_text('[{"name": 1}]')
    with pytest.raises(Unreachable):
        await Refresher(Resolver(server.address, 0.3), SELECT, seen.append, file).first()


async def test_trouble_brings_a_new_list_before_the_ttl(
    server: NameServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirrornet.client.finding.resolve.TROUBLE", 0.05)
    server.ttl = 3600
    server.records = {
        (SERVICE, "URI"): ['10 1 "http://one.example/#tokyo"'],
        ("tokyo.select.example.net.", "A"): ["127.0.0.7"],
    }
    seen: list[tuple[Endpoint, ...]] = []
    refresher = Refresher(Resolver(server.address), SELECT, seen.append, tmp_path / "list.json")
    await refresher.first()
    server.records[(SERVICE, "URI")] = ['10 1 "http://two.example/#tokyo"']
    task = asyncio.create_task(refresher.run())

    def troubled() -> bool:
        refresher.trouble()
        return len(seen) > 1

    await eventually(troubled)
    task.cancel()
    assert [endpoints[0].url for endpoints in seen] == ["http://one.example", "http://two.example"]


async def test_mirrors_near_another_mirror_join_the_list(server: NameServer, tmp_path: Path) -> None:
    server.records = {
        (SERVICE, "URI"): ['10 1 "http://one.example/#tokyo"'],
        ("_http._tcp.tokyo.select.example.net.", "URI"): [
            '10 1 "http://one/#tokyo"',
            '20 1 "http://two.example/#osaka"',
        ],
        ("tokyo.select.example.net.", "A"): ["127.0.0.7"],
        ("osaka.select.example.net.", "A"): ["127.0.0.8"],
    }
    seen: list[tuple[Endpoint, ...]] = []
    refresher = Refresher(Resolver(server.address), SELECT, seen.append, tmp_path / "list.json")
    await refresher.first()
    assert await refresher.descend("tokyo") == 1
    assert seen[-1] == (
        Endpoint("tokyo", "http://one.example", ("127.0.0.7",), 0, True),
        Endpoint("osaka", "http://two.example", ("127.0.0.8",), 1, True),
    )
    assert await refresher.descend("osaka") == 0


def test_resolver_without_a_server_uses_the_systems() -> None:
    with contextlib.suppress(InputError):  # a machine may have none
        assert Resolver(None)._allow_local is False


async def test_a_late_uri_set_forgets_no_mirror_and_is_asked_for_again(
    server: NameServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirrornet.client.finding.resolve.TROUBLE", 0.05)
    server.ttl = 3600
    server.records = {
        (SERVICE, "URI"): ['10 1 "http://one.example/#tokyo"', '20 1 "http://two.example/#paris"'],
        ("tokyo.select.example.net.", "A"): ["127.0.0.7"],
        ("paris.select.example.net.", "A"): ["127.0.0.8"],
        ("select.example.net.", "A"): ["127.0.0.9"],
    }
    seen: list[list[str]] = []
    refresher = Refresher(
        Resolver(server.address), SELECT, lambda found: seen.append([e.name for e in found]), tmp_path / "list.json"
    )
    await refresher.first()
    server.silent = {"URI"}
    task = asyncio.create_task(refresher.run())
    refresher.trouble()
    await eventually(lambda: len(seen) > 4, lambda: seen)
    task.cancel()
    assert seen[0] == ["tokyo", "paris"]
    assert seen[1:4] == [["127.0.0.9", "tokyo", "paris"]] * 3, "asked again although the list lives for an hour"
    assert seen[4] == ["127.0.0.9"], "whoever never answers for URI is not waited for"
