"""What a client is told when the name server or the mirrors have a bad day, and how long it waits for them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import pytest
from client_mirrors import Mirror, Published, copy_of, mirrors, published

from mirrornet.client.fetching.fetch import Fetcher
from mirrornet.client.finding.resolve import Resolver
from mirrornet.client.mirrors.source import Endpoint, SelectName
from mirrornet.client.repository import Repository
from mirrornet.model.errors import MirrornetError, Unreachable

SELECT = SelectName("select.example.net")


@contextlib.contextmanager
def bad_server(spoil: Callable[[dns.message.Message], bytes | None]) -> Iterator[tuple[str, int]]:
    """A name server whose every answer, empty to begin with, goes through `spoil`."""

    class Protocol(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, peer: Any) -> None:
            told = spoil(dns.message.make_response(dns.message.from_wire(data)))
            if told is not None:
                self.transport.sendto(told, peer)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind(("127.0.0.1", 0))
        address = link.getsockname()
        loop = asyncio.get_running_loop()
        task = loop.create_task(loop.create_datagram_endpoint(Protocol, sock=link))
        yield address
        task.result()[0].abort()


def _coded(code: dns.rcode.Rcode) -> Callable[[dns.message.Message], bytes]:
    def spoil(answer: dns.message.Message) -> bytes:
        answer.set_rcode(code)
        return answer.to_wire()

    return spoil


def _wrong_id(answer: dns.message.Message) -> bytes:
    answer.id ^= 1
    return answer.to_wire()


def _cut(answer: dns.message.Message) -> bytes:
    answer.flags |= dns.flags.TC  # and TCP is refused
    return answer.to_wire()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda answer: None, "does not answer"),
        (lambda answer: b"\xff" * 40, "does not answer"),
        (_wrong_id, "does not answer"),
        (_cut, "has no answer of use"),
        (_coded(dns.rcode.REFUSED), "has no answer of use (REFUSED)"),
        (_coded(dns.rcode.SERVFAIL), "has no answer of use (SERVFAIL)"),
        (_coded(dns.rcode.NXDOMAIN), "says that there is no such name"),
        (lambda answer: answer.to_wire(), "DNS names no mirror"),
    ],
)
async def test_a_bad_name_server_is_told_by_its_fault(
    spoil: Callable[[dns.message.Message], bytes | None], told: str
) -> None:
    with bad_server(spoil) as address:
        begun = time.monotonic()
        with pytest.raises(Unreachable) as error:
            await Resolver(address, 0.5).mirrors(SELECT)
        assert time.monotonic() - begun < 20
    assert told in str(error.value) and str(error.value).startswith("select.example.net: ")
    assert told == "DNS names no mirror" or f"127.0.0.1 port {address[1]}" in str(error.value)


async def test_mirrors_passed_over_for_their_addresses_are_the_reason(expected_warnings: list[str]) -> None:
    expected_warnings.append("is no public address")

    def private(answer: dns.message.Message) -> bytes:
        question = answer.question[0]
        if question.rdtype == dns.rdatatype.A:
            answer.answer.append(dns.rrset.from_text(question.name, 5, "IN", "A", "10.1.2.3"))
        return answer.to_wire()

    with bad_server(private) as address:
        resolver = Resolver(address, 0.5)
        resolver._allow_local = False  # as with the system's name servers
        with pytest.raises(Unreachable, match=r"no mirror that may be used: .* is 10\.1\.2\.3, which is no public"):
            await resolver.mirrors(SELECT)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return published(tmp_path_factory.mktemp("published"), blocks=8)


async def opened(state: Path, image: Published, *urls: str) -> Any:
    fetcher = Fetcher()
    try:
        endpoints = [Endpoint(url, url, (), rank, True) for rank, url in enumerate(urls)]
        return await Repository(state, image.pin, fetcher).open(
            endpoints, "disk", None, now=time.time(), require_fresh=False
        )
    finally:
        await fetcher.close()


async def test_mirrors_that_hang_cost_a_moment_each(image: Published, tmp_path: Path) -> None:
    """Not their whole deadline one after the other, for the root, the metadata and the index."""
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        good = Mirror(image.repo)
        stack.callback(good.stop)
        begun = time.monotonic()
        found = await opened(tmp_path, image, *(f"http://127.0.0.1:{s.getsockname()[1]}" for s in silent), good.url)
        assert found.image.version == 1 and time.monotonic() - begun < 15  # of 30


async def test_each_wrong_mirror_is_told_by_its_fault(image: Published, tmp_path: Path) -> None:
    portal = tmp_path / "portal"
    copy_of(image.repo, portal)
    for file in (portal / "metadata").iterdir():
        file.write_text("<html>Please log in</html>")
    with mirrors(image.repo, 1) as (good,), mirrors(portal, 1, first=20) as (captive,):
        for url, told in (
            (captive.url, "the pin says"),
            (good.url.replace("http:", "https:"), "no TLS is spoken there"),
            (f"{good.url}/elsewhere", "HTTP 404"),
            ("http://127.0.0.1:1", "connection refused"),
            ("http://[::1]:1", "no connection"),
            (f"file://{tmp_path}/absent", "No such file"),
        ):
            with pytest.raises(MirrornetError) as error:
                await opened(tmp_path / "state", image, url)
            assert told in str(error.value), str(error.value)
            assert "Errno" not in str(error.value) and "\n" not in str(error.value)
        found = await opened(tmp_path / "state", image, captive.url, good.url)  # the good one is asked all the same
        assert found.image.version == 1
        assert not list((tmp_path / "state" / "trust").glob(".attempt-*"))
