"""Mirrors in virtual time: the client's own code against servers that are made of waiting.

The event loop is async-solipsism's, whose clock jumps to the next thing that happens; so an hour of failures is a test
of a second, and the same every time.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import async_solipsism

from mirrornet.client.fetching.body import Fetched, Progress, Sink, Within
from mirrornet.client.fetching.failover import Failover
from mirrornet.client.mirrors.choice import Choice
from mirrornet.client.mirrors.source import Endpoint
from mirrornet.image.format.block import BlockRef, Codec
from mirrornet.model.errors import Missing, Unreachable

T = TypeVar("T")
PIECE: Final = 16384  # bytes that come at once
CONNECT, PROGRESS = 3.0, 5.0  # seconds, as the real fetcher's
STATES: Final = ("up", "refuse", "hole", "lie", "slow", "stall", "lack")


@dataclass(slots=True)
class Server:
    """`phases`: (seconds, state) in turn, again and again.  `rtt` in seconds, `rate` in bytes a second of its line.

    `tail`: the share of requests that take 20 times as long.
    """

    name: str
    rtt: float
    rate: float
    phases: Sequence[tuple[float, str]] = ((1.0, "up"),)
    tail: float = 0.0
    flows: int = 0
    asked: int = 0
    asked_bad: int = 0  # while it was not up

    def state(self, now: float) -> str:
        """What it does at `now`."""
        now %= sum(seconds for seconds, _ in self.phases)
        for seconds, state in self.phases:
            if now < seconds:
                return state
            now -= seconds
        return self.phases[-1][1]

    def faulty(self, since: float, until: float) -> bool:
        """Whether it was anything but up at some moment of these."""
        steps = max(2, int((until - since) / 0.05) + 2)
        return any(self.state(since + (until - since) * step / (steps - 1)) != "up" for step in range(steps))


class Inline(Executor):
    """Threads without threads."""

    def submit(self, call: Callable[..., Any], /, *given: Any, **named: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(call(*given, **named))
        except BaseException as error:
            done.set_exception(error)
        return done


@dataclass
class World:
    """The servers, what they serve, and the client's parts.  Make it inside the loop."""

    servers: Sequence[Server]
    dice: random.Random
    files: dict[str, bytes]
    favourites: list[tuple[float, str]] = field(default_factory=list)  # when it changed, and to whom
    troubles: list[float] = field(default_factory=list)  # when new mirrors were asked for

    def __post_init__(self) -> None:
        self.choice = Choice()
        self.choice.update(
            Endpoint(server.name, f"http://{server.name}", (), rank) for rank, server in enumerate(self.servers)
        )
        self._by_name = {server.name: server for server in self.servers}
        self.now = asyncio.get_running_loop().time
        fetcher: Any = self
        self.failover = Failover(fetcher, self.choice, Inline(), lambda: self.troubles.append(self.now()), self.now)

    async def fetch(
        self,
        endpoint: Endpoint,
        path: str,
        limit: int,
        progress: Progress | None = None,
        sink: Sink | None = None,
        within: Within | None = None,
    ) -> Fetched:
        """As the real one."""
        if not self.favourites or self.favourites[-1][1] != self.choice.favourite:
            self.favourites.append((self.now(), self.choice.favourite))
        server, begun, progress = self._by_name[endpoint.name], self.now(), progress or Progress()
        server.asked += 1
        state = server.state(begun)
        server.asked_bad += state != "up"
        slower = 20.0 if state == "slow" or self.dice.random() < server.tail else 1.0
        if state == "hole":
            await asyncio.sleep(CONNECT)
            raise Unreachable(f"{endpoint}: no answer in {CONNECT} s")
        await asyncio.sleep(server.rtt * slower * self.dice.uniform(1.0, 1.1))
        if state == "refuse":
            raise Unreachable(f"{endpoint}: connection refused")
        if state == "lack" or path not in self.files:
            raise Missing(f"{endpoint}: it does not have {path}")
        start = within.offset if within else 0
        data = self.files[path][start : start + limit]
        if state == "lie":
            data = data[:-1] + bytes([data[-1] ^ 1])
        server.flows += 1
        try:
            for at in range(0, len(data), PIECE):
                if (state == "stall" and at >= len(data) // 2) or server.state(self.now()) == "hole":
                    await asyncio.sleep(PROGRESS)
                    raise Unreachable(f"{endpoint}: no answer in {PROGRESS} s")
                part = data[at : at + PIECE]
                await asyncio.sleep(len(part) / server.rate * server.flows * slower)
                progress.came(len(part), self.now())
                await progress.keep(part, sink)
        finally:
            server.flows -= 1
        return progress.fetched(begun, self.now())

    async def read(self, ref: BlockRef, deadline: float = 30.0) -> float:
        """Seconds that a reader waited for `ref`, at most `deadline`; it is verified, and looked at."""
        begun = self.now()
        wanted = asyncio.Event()
        wanted.set()
        opened = await self.failover.block(ref, deadline=begun + deadline, wanted=wanted)
        assert opened.data == self.files[ref.path]
        return self.now() - begun


def blocks(count: int, size: int = 65536) -> tuple[tuple[BlockRef, ...], dict[str, bytes]]:
    """Stored blocks, and the files they are."""
    refs, files = [], {}
    for number in range(count):
        data = random.Random(number).randbytes(size)
        ref = BlockRef(hashlib.sha256(data).digest(), size, size, Codec.STORED)
        refs.append(ref)
        files[ref.path] = data
    return tuple(refs), files


def virtually(work: Callable[[], Awaitable[T]]) -> T:
    """Runs `work` in a loop of its own whose time passes by itself."""

    async def run() -> T:
        return await work()

    with asyncio.Runner(loop_factory=async_solipsism.EventLoop) as runner:
        return runner.run(run())
