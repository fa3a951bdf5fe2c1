"""A planner that dies leaves the answers standing, in a new plan and in a reload; what comes after is planned again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import dns.asyncquery
import dns.message
import pytest

from mirrornet.app.server.answers import answering
from mirrornet.app.server.serve import Options, Supervisor

ZONE = """
zone: serve.test
contact: hostmaster@serve.test
serial: {serial}
nameservers: {{ns1.serve.test: [127.0.0.1]}}
select: [{{name: select}}]
health: {{probe: none}}
mirrors:
  tokyo: {{url: "http://select.serve.test/", addresses: [192.0.2.1], place: {{country: JP}}}}
server: {{listen: ["127.0.0.1:0"], workers: 1}}
"""


class Server:
    def __init__(self, folder: Path) -> None:
        self.zone = folder / "zone.yaml"
        self.write(7)
        self.supervisor = Supervisor(Options((self.zone,), state=folder / "state"))
        self.reload = asyncio.Event()

    def write(self, serial: int) -> None:
        self.zone.write_text(ZONE.format(serial=serial))

    async def serial(self) -> int:
        query = dns.message.make_query("serve.test", "SOA")
        address, port = self.supervisor.answering.engine.addresses[0]
        reply = await dns.asyncquery.udp(query, str(address), timeout=30, port=port)
        number: int = reply.answer[0][0].serial
        return number


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    found = Server(tmp_path)
    running = asyncio.create_task(found.supervisor.run(found.reload))
    await until(lambda: not found.supervisor.not_ready or running.done())
    yield found
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 (it is the log that tells)
            await asyncio.sleep(0.01)


async def test_a_reload_that_breaks_keeps_the_old_world(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, expected_warnings: list[str]
) -> None:
    expected_warnings.append("the reload broke")

    def broken(*_: object) -> None:
        raise MemoryError("no room for numpy")

    with monkeypatch.context() as patched:
        patched.setattr(answering, "Planner", broken)
        server.write(8)
        server.reload.set()
        await until(lambda: "the reload broke, the old files stay in force" in caplog.text)
        assert await server.serial() == 7
    server.write(9)
    server.reload.set()
    async with asyncio.timeout(60):
        while await server.serial() != 9:  # noqa: ASYNC110 (the server tells nobody)
            await asyncio.sleep(0.01)


async def test_a_plan_that_breaks_keeps_the_last_one(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, expected_warnings: list[str]
) -> None:
    expected_warnings.append("making a plan broke")
    generation = server.supervisor.answering.planned

    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug of ours")

    with monkeypatch.context() as patched:
        patched.setattr(server.supervisor.answering._planner, "plan", broken)
        server.supervisor._changed.set()
        await until(lambda: "making a plan broke, the last one stays in force" in caplog.text)
        assert await server.serial() == 7
        assert server.supervisor.answering.planned is generation
    server.supervisor._changed.set()
    await until(lambda: server.supervisor.answering.planned is not generation)
    assert await server.serial() == 7
