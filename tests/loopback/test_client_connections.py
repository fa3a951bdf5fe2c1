"""Which connection a request takes, how many there are, and what happens when their mirror is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from mirrornet.client.fetching import connections
from mirrornet.client.fetching.body import Progress
from mirrornet.client.fetching.fetch import Fetcher
from mirrornet.client.mirrors.source import Endpoint
from mirrornet.model.errors import Unreachable


class Server:
    """Answers with the port that the client came from; holds requests back while `held` is not set."""

    def __init__(self) -> None:
        self.held = asyncio.Event()
        self.held.set()
        self.asked = 0
        self.ports: set[int] = set()

    async def start(self) -> Endpoint:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return Endpoint("m", f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}", allow_local=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = writer.get_extra_info("peername")[1]
        self.ports.add(port)
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self.asked += 1
                await self.held.wait()
                body = str(port).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def until(self, asked: int) -> None:
        async with asyncio.timeout(60):
            while self.asked < asked:  # noqa: ASYNC110  it is the server's own loop
                await asyncio.sleep(0.01)

    def stop(self) -> None:
        self.held.set()
        self._server.close()


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    yield made
    made.stop()


@pytest_asyncio.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    made = Fetcher()
    yield made
    await made.close()


async def _crowd(server: Server, fetcher: Fetcher, endpoint: Endpoint, count: int) -> list[int]:
    """The ports of `count` requests at once."""
    server.held.clear()
    before = server.asked
    tasks = [asyncio.create_task(fetcher.fetch(endpoint, "file", 10)) for _ in range(count)]
    await server.until(before + min(count, connections.CONNECTIONS))
    server.held.set()
    return [int((await task).data) for task in tasks]


async def test_the_connection_used_last_is_used_next(server: Server, fetcher: Fetcher) -> None:
    endpoint = await server.start()
    assert len(set(await _crowd(server, fetcher, endpoint, 6))) == 6
    ports = set()
    for _ in range(10):
        progress = Progress()
        ports.add(int((await fetcher.fetch(endpoint, "file", 10, progress)).data))
        assert progress.connected and progress.connecting == 0.0
    assert len(ports) == 1
    assert len(set(await _crowd(server, fetcher, endpoint, 6))) == 6 == len(server.ports)


async def test_there_are_so_many_and_the_next_waits(server: Server, fetcher: Fetcher) -> None:
    endpoint = await server.start()
    ports = await _crowd(server, fetcher, endpoint, connections.CONNECTIONS + 10)
    assert len(ports) == connections.CONNECTIONS + 10 and len(set(ports)) == connections.CONNECTIONS


async def test_forgetting_a_mirror_lets_go_on_what_goes_on_there_and_refuses_what_waits_for_it(
    server: Server, fetcher: Fetcher
) -> None:
    endpoint = await server.start()
    server.held.clear()
    tasks = [asyncio.create_task(fetcher.fetch(endpoint, "file", 10)) for _ in range(connections.CONNECTIONS + 3)]
    await server.until(connections.CONNECTIONS)
    await fetcher.forget(())
    server.held.set()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(end, BaseException) for end in ends] == [False] * connections.CONNECTIONS + [True] * 3
    assert all(isinstance(end, Unreachable) for end in ends[connections.CONNECTIONS :])
    assert (await fetcher.fetch(endpoint, "file", 10)).data, "and it may come back"


async def test_the_end_of_all_ends_what_goes_on_at_a_forgotten_mirror(server: Server) -> None:
    endpoint, fetcher = await server.start(), Fetcher(progress=60)
    server.held.clear()
    task = asyncio.create_task(fetcher.fetch(endpoint, "file", 10))
    await server.until(1)
    await fetcher.forget(())
    await fetcher.close()
    with pytest.raises(Unreachable):
        await asyncio.wait_for(task, 60)
