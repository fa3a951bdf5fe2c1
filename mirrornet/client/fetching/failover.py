"""Blocks from whichever mirror gives them first, verified: rounds, turns and proofs around `choice` and `race`.

A block is asked of the mirrors in the order of `choice` (race.py).  When every mirror has failed, rounds follow each
other with a growing pause until the reader's deadline, and whoever knows of new mirrors is told of the trouble.

Readers first: a reader's request goes out at once.  What nobody waits for yet waits in line until a mirror has room
for it (window.py) and goes one round; when a reader wants that very block, `wanted` is set, and from there on it is
his.  (Else he would sit behind a prefetch that waits for its turn, or for a mirror which fell silent.)

`prove` fetches one block from one mirror in the background, to measure it or to let it back in.  It asks for the very
block the mirror last got wrong, for a mirror that lies about one block answers well for all others.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Set
from concurrent.futures import Executor
from contextlib import aclosing
from typing import Final

from mirrornet.client.fetching.attempt import Attempt, Tools, Wanted
from mirrornet.client.fetching.attempt import Opened as Opened
from mirrornet.client.fetching.body import Within
from mirrornet.client.fetching.fetch import Fetcher
from mirrornet.client.fetching.race import Race
from mirrornet.client.fetching.stretch import Arrived, Piece, Stretch
from mirrornet.client.mirrors.choice import Blame, Choice
from mirrornet.client.mirrors.source import Endpoint
from mirrornet.image.format.block import BlockRef
from mirrornet.model.errors import Missing, PeerError, Unreachable, Untrusted
from mirrornet.model.units import format_duration

log = logging.getLogger(__name__)

PAUSE: Final = (0.05, 1.0)  # seconds between rounds when every mirror failed: the first, and the cap of the doubling
REMIND: Final = 60.0  # seconds between two lines in the log about a reader who waits (`--read-deadline never`)
TICK: Final = 0.25  # seconds between two looks at which mirrors are due, and at whether there is room


class Failover:
    """Blocks from mirrors.  `trouble` is called when no mirror answers, to find new ones; it must not block.

    `clock` is time.monotonic(), or a test's.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        choice: Choice,
        pool: Executor,
        trouble: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.choice = choice
        self._trouble = trouble
        self._clock = clock
        self._proofs: dict[str, Wanted] = {}
        self._default_proof: Wanted | None = None
        self._line: deque[asyncio.Event] = deque()  # prefetches that wait for room
        self._tools = Tools(fetcher, choice, pool, clock, self._proofs, self._next_in_line)

    async def block(
        self,
        ref: BlockRef,
        *,
        deadline: float,
        wanted: asyncio.Event,
        pack: tuple[str, Within] | None = None,
    ) -> Opened:
        """The block `ref`, verified; `deadline` on the clock, or math.inf.  `wanted`: set once a reader waits for it.

        `pack`: the file it lies in, and where, if it is none of its own.

        Raises Unreachable (nobody gave it in time), Missing (no mirror has it), Untrusted (only corrupt ones do).
        """
        what = Wanted(ref, *(pack or (ref.path,)))
        pause, begun, told = PAUSE[0], self._clock(), 0
        spoiled: set[str] = set()  # mirrors whose bytes were wrong: never asked twice for the same ones
        if not wanted.is_set():
            await self._room(ref.hash, ref.stored, wanted, deadline)
        while True:
            order = self.choice.order(ref.hash, ref.stored, self._clock())
            usable = [endpoint for endpoint in order if endpoint.name not in spoiled]
            if not wanted.is_set():
                roomy = self.choice.roomy(usable, ref.stored, self._clock(), len(self._line))
                usable.sort(key=lambda endpoint: endpoint not in roomy[:1])
            if not usable and (spoiled or self.choice.records()):
                self._trouble()
                if spoiled:
                    liars = ", ".join(sorted(spoiled))
                    raise Untrusted(f"block {ref.hash.hex()[:16]}…: {liars} gave wrong bytes, and nobody else has it")
                raise Missing(f"block {ref.hash.hex()[:16]}…: no mirror has it")
            errors: list[PeerError] = []
            others = functools.partial(self._others, ref, spoiled)
            opened = await Race(self._tools, what, usable, wanted, spoiled, errors, others).run(deadline)
            if opened is not None:
                if self._default_proof is None or ref.stored < self._default_proof.ref.stored:
                    self._default_proof = what
                return opened
            if errors and all(isinstance(error, Missing) for error in errors):
                continue  # the next order is empty and says so
            self._trouble()
            left = deadline - self._clock()
            if not wanted.is_set() or left <= pause:
                why = errors[-1] if errors else "no mirror is known"
                raise Unreachable(f"block {ref.hash.hex()[:16]}…: no mirror gave it in time; the last: {why}")
            if (minutes := int((self._clock() - begun) / REMIND)) > told:
                told = minutes
                last = f"; the last: {errors[-1]}" if errors else ""
                log.warning("block %s…: a reader has waited for %d min%s", ref.hash.hex()[:16], minutes, last)
            await asyncio.sleep(pause)
            pause = min(2 * pause, PAUSE[1])

    async def stretch(
        self,
        piece: Piece,
        deadline: float,
        wanted: asyncio.Event | None = None,
        trouble: Callable[[], None] = lambda: None,
    ) -> AsyncGenerator[Arrived]:
        """The blocks of `piece` in order, by one request, each as soon as it is verified (stretch.py).

        `deadline` on the clock.  A prefetch: it never hedges, and waits for room until `wanted` is set: a reader waits
        for one of its blocks.  `trouble` is called when a mirror fails and another goes on: that takes a while, and
        whoever waits may do better by himself.  Close the generator (contextlib.aclosing) where it is left early.

        Raises Unreachable, Missing, Untrusted as `block` does, when nobody gives the next one.
        """
        wanted = wanted or asyncio.Event()
        await self._room(piece.path.encode(), piece.size, wanted, deadline)
        async with aclosing(Stretch(self._tools, wanted, trouble).blocks(piece, deadline)) as coming:
            async for arrived in coming:
                yield arrived

    def _others(self, ref: BlockRef, spoiled: set[str], asked: Set[str]) -> list[Endpoint]:
        """The mirrors that may be asked for a block, but for those that were."""
        if all(record.name in asked for record in self.choice.records()):
            return []
        order = self.choice.order(ref.hash, ref.stored, self._clock())
        return [endpoint for endpoint in order if endpoint.name not in asked and endpoint.name not in spoiled]

    # -- readers first

    async def _room(self, key: bytes, size: int, wanted: asyncio.Event, deadline: float) -> None:
        """Waits until a mirror has room for a request of `size` bytes, a reader wants it, or `deadline` is past."""
        mine = asyncio.Event()
        self._line.append(mine)
        call = asyncio.create_task(wanted.wait())
        try:
            while not wanted.is_set() and self._clock() < deadline:
                if self._line[0] is mine:
                    now = self._clock()
                    order = self.choice.order(key, size, now)
                    if not order or self.choice.roomy(order, size, now, len(self._line) - 1):
                        return
                mine.clear()
                turn = asyncio.create_task(mine.wait())
                try:
                    await asyncio.wait({turn, call}, timeout=TICK, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    turn.cancel()
        finally:
            call.cancel()
            self._line.remove(mine)
            self._next_in_line()  # there may be room for one more

    def _next_in_line(self) -> None:
        if self._line:
            self._line[0].set()

    # -- proofs

    async def prove(self, endpoint: Endpoint, deadline: float) -> None:
        """Measures `endpoint` by one block.  What it finds is in `choice`; raises nothing."""
        what = self._proofs.get(endpoint.name) or self._default_proof
        if what is None:
            return
        attempt = Attempt(self._tools, what, endpoint)
        try:
            async with asyncio.timeout(deadline):
                await attempt.task
        except Missing:
            self._proofs.pop(endpoint.name, None)  # the next proof is by another block
        except TimeoutError:
            why = f"no block in {format_duration(deadline)}"
            self.choice.failed(endpoint.name, Blame.UNREACHABLE, why, self._clock())
        except PeerError as error:
            log.debug("%s has not proved itself: %s", endpoint, error)
        finally:
            attempt.give_up("")

    async def watch(self, proof: BlockRef, active: Callable[[], bool], deadline: float = 8.0) -> None:
        """Measures every mirror by `proof` (a small block), then whoever is due while `active()`.  Runs for ever.

        A mirror that is taken out is trouble, too: a new list is asked for before the others are gone as well.
        """
        self._default_proof = Wanted(proof, proof.path)
        proving: set[asyncio.Task[None]] = set()
        busy: set[str] = set()
        out: set[str] = set()

        async def one(endpoint: Endpoint) -> None:
            try:
                await self.prove(endpoint, deadline)
            finally:
                busy.discard(endpoint.name)

        try:
            while True:
                before, out = out, {record.name for record in self.choice.records() if record.out_until is not None}
                if out - before:
                    self._trouble()  # there may be a better list by now
                for endpoint in self.choice.due(self._clock()) if active() else ():
                    if endpoint.name not in busy:
                        busy.add(endpoint.name)
                        task = asyncio.create_task(one(endpoint))
                        proving.add(task)
                        task.add_done_callback(proving.discard)
                await asyncio.sleep(TICK)
        finally:
            for task in proving:
                task.cancel()
