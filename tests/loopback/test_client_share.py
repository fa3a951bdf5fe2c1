"""--share-rtt: what is told, to whom, and that nothing of it ever hurts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import pytest
from client_mirrors import NameServer

from mirrornet.app.client.session import ClientOptions, Session
from mirrornet.client.finding import share
from mirrornet.client.finding.resolve import Resolver
from mirrornet.client.finding.share import FRESH, LOST_FRESH, Sharing, report_of
from mirrornet.client.mirrors.choice import Blame, Choice
from mirrornet.client.mirrors.source import Endpoint, SelectName
from mirrornet.model.address import Address, parse_address
from mirrornet.model.errors import InputError
from mirrornet.model.rtt import RttReport
from mirrornet.web.reports import ReportListener

SELECT = SelectName("select.example.net")
OWNER = "_rtt._tcp.select.example.net."
NOW = 10_000.0


def measured(**seconds: float) -> Choice:
    choice = Choice()
    choice.update(Endpoint(name, f"http://{name}.test", rank=rank) for rank, name in enumerate(seconds))
    for name, first_byte in seconds.items():
        choice.began(name, first_byte, NOW)
        choice.verified(name, 100_000, 0.1, NOW)
    return choice


@pytest.fixture
def server() -> Iterator[NameServer]:
    running = NameServer()
    yield running
    with contextlib.suppress(OSError):
        running.stop()


@contextlib.asynccontextmanager
async def listening(status: int = 204):  # type: ignore[no-untyped-def]
    taken: list[RttReport] = []

    def take(_: Address, report: RttReport) -> int:
        taken.append(report)
        return status

    listener = ReportListener(take)
    await listener.start(parse_address("127.0.0.1"), 0)
    try:
        yield listener.port, taken
    finally:
        await listener.stop()


def sharing(server: NameServer, choice: Choice) -> Sharing:
    return Sharing(Resolver(server.address, lifetime=1.0), SELECT, choice, lambda: NOW, lambda: 0.0)


async def test_every_name_server_that_asks_is_told(server: NameServer) -> None:
    async with listening() as (one, first), listening() as (two, second):
        server.records = {
            (OWNER, "URI"): [f'10 1 "http://ns1.example:{one}/v1/rtt"', f'10 1 "http://127.0.0.1:{two}/v1/rtt"'],
            ("ns1.example.", "A"): ["127.0.0.1"],
        }
        ours = sharing(server, measured(tokyo=0.0415, paris=0.243))
        await ours.report()
    assert first == second == [RttReport("select.example.net", {"tokyo": 41.5, "paris": 243.0})]
    assert ours.sent == 2


async def test_where_nobody_asks_nothing_is_sent(server: NameServer) -> None:
    ours = sharing(server, measured(tokyo=0.04, paris=0.2))
    await ours.report()
    assert ours.sent == 0


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:9/v1/rtt",
        "file:///etc/passwd",
        "gopher://x/",
        "http://[::1",
        "http://169.254.169.254/v1/rtt",
        "http://nowhere.example/v1/rtt",
    ],
)
async def test_places_where_no_report_goes_hurt_nobody(server: NameServer, target: str) -> None:
    server.records = {(OWNER, "URI"): [f'10 1 "{target}"']}
    ours = sharing(server, measured(tokyo=0.04, paris=0.2))
    await ours.report()
    assert ours.sent == 0


async def test_a_server_that_never_answers_costs_its_deadline_and_no_more(
    server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(share, "DEADLINE", 0.2)
    silent = await asyncio.start_server(lambda reader, writer: asyncio.sleep(60), "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    async with listening() as (other, taken):
        server.records = {
            (OWNER, "URI"): [f'10 1 "http://127.0.0.1:{port}/v1/rtt"', f'20 1 "http://127.0.0.1:{other}/v1/rtt"']
        }
        async with asyncio.timeout(60):
            await sharing(server, measured(tokyo=0.04, paris=0.2)).report()
        assert len(taken) == 1
    silent.close()


async def test_a_refused_report_is_no_trouble(server: NameServer) -> None:
    async with listening(429) as (port, taken):
        server.records = {(OWNER, "URI"): [f'10 1 "http://127.0.0.1:{port}/v1/rtt"']}
        ours = sharing(server, measured(tokyo=0.04, paris=0.2))
        await ours.report()
    assert len(taken) == 1 and ours.sent == 0


async def test_through_a_proxy_nothing_is_sent(server: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening() as (port, taken):
        server.records = {(OWNER, "URI"): [f'10 1 "http://127.0.0.1:{port}/v1/rtt"']}
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        monkeypatch.delenv("no_proxy", raising=False)
        await sharing(server, measured(tokyo=0.04, paris=0.2)).report()
    assert not taken


def test_only_what_is_fresh_and_in_use_is_told() -> None:
    choice = measured(tokyo=0.04, paris=0.2, osaka=0.05)
    choice.failed("osaka", Blame.CORRUPT, "a lie", NOW)
    told = report_of(choice.records(), SELECT, NOW)
    assert told is not None and set(told.rtt) == {"tokyo", "paris"}
    assert report_of(choice.records(), SELECT, NOW + FRESH + 1) is None
    assert report_of(measured(tokyo=0.04).records(), SELECT, NOW) is None, "one mirror is no difference"


def test_what_is_out_of_reach_is_told_by_who_reaches_another() -> None:
    choice = measured(tokyo=0.04, paris=0.2, osaka=0.05)
    for _ in range(5):
        choice.failed("osaka", Blame.UNREACHABLE, "connection refused", NOW)
        choice.failed("paris", Blame.SLOW, "asked, and silent", NOW)
    told = report_of(choice.records(), SELECT, NOW)
    assert told is not None and (set(told.rtt), told.lost) == ({"tokyo"}, {"osaka"})
    assert report_of(choice.records(), SELECT, NOW + LOST_FRESH + 1) is None, "it may be an old story"
    choice.failed("osaka", Blame.CORRUPT, "a lie", NOW)
    assert report_of(choice.records(), SELECT, NOW) is None, "a liar is reached"


async def test_the_first_report_comes_after_a_while_and_then_hourly(
    server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            raise asyncio.CancelledError

    ours = Sharing(Resolver(server.address), SELECT, Choice(), lambda: NOW, lambda: 0.5)
    monkeypatch.setattr(share.asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await ours.run()
    assert waits == [share.FIRST + 300, share.EVERY + 300, share.EVERY + 300]


def test_urls_have_nobody_to_tell(tmp_path) -> None:  # type: ignore[no-untyped-def]
    options = ClientOptions("http://a.test/os", "debian", "sha256:" + "0" * 64, cache=tmp_path, share_rtt=True)
    with pytest.raises(InputError, match="give a select name"):
        Session(options)
