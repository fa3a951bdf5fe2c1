"""One block from whichever mirror gives it first, verified: the shell around `choice`.

A reader's block is asked of the best mirror.  If that one stays silent for longer than usual, the next is asked
beside it (the hedge); if it fails, the next at once.  The first *verified* answer wins and the others are cancelled:
one slow or lying mirror costs one block's hedge.  When every mirror has failed, rounds follow each other with a
growing pause until the reader's deadline, and whoever knows of new mirrors is told of the trouble.

Prefetch goes one round and never hedges, until a reader wants that very block: `wanted` is then set, and from there
on it is his.  (Else he would sit behind a prefetch that waits for a mirror which fell silent.)

Verifying includes inflating, in a thread: both release the interpreter lock, so other blocks go on arriving.

`prove` fetches one block from one mirror in the background, to measure it or to let it back in.  It asks for the very
block the mirror last got wrong, for a mirror that lies about one block answers well for all others.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

from mirrornet.client.choice import Blame, Choice
from mirrornet.client.fetch import Fetcher, Progress, Within
from mirrornet.client.source import Endpoint
from mirrornet.image.format.block import BlockRef, open_block
from mirrornet.model.errors import Missing, PeerError, Unreachable, Untrusted
from mirrornet.model.units import format_duration

log = logging.getLogger(__name__)

PAUSE: Final = (0.05, 1.0)  # seconds between rounds when every mirror failed: the first, and the cap of the doubling
TICK: Final = 0.25  # seconds between two looks at which mirrors are due


@dataclass(frozen=True, slots=True)
class Wanted:
    """A block and the file it lies in: its own, or `within` a pack."""

    ref: BlockRef
    path: str
    within: Within | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """A block as stored, as inflated, and who gave it."""

    stored: bytes
    data: bytes
    mirror: str


class Failover:
    """Blocks from mirrors.  `trouble` is called when no mirror answers, to find new ones; it must not block."""

    def __init__(
        self, fetcher: Fetcher, choice: Choice, pool: Executor, trouble: Callable[[], None] = lambda: None
    ) -> None:
        self._fetcher = fetcher
        self.choice = choice
        self._pool = pool
        self._trouble = trouble
        self._proofs: dict[str, Wanted] = {}
        self._default_proof: Wanted | None = None

    async def block(
        self,
        ref: BlockRef,
        *,
        deadline: float,
        wanted: asyncio.Event,
        pack: tuple[str, Within] | None = None,
    ) -> Opened:
        """The block `ref`, verified; `deadline` on time.monotonic().  `wanted`: set once a reader waits for it.

        `pack`: the file it lies in, and where, if it is none of its own.

        Raises Unreachable (nobody gave it in time), Missing (no mirror has it), Untrusted (only corrupt ones do).
        """
        what = Wanted(ref, *(pack or (ref.path,)))
        pause = PAUSE[0]
        spoiled: set[str] = set()  # mirrors whose bytes were wrong: never asked twice for the same ones
        while True:
            order = self.choice.order(ref.hash, ref.stored, time.monotonic())
            usable = [endpoint for endpoint in order if endpoint.name not in spoiled]
            if not usable and (spoiled or self.choice.records()):
                self._trouble()
                if spoiled:
                    liars = ", ".join(sorted(spoiled))
                    raise Untrusted(f"block {ref.hash.hex()[:16]}…: {liars} gave wrong bytes, and nobody else has it")
                raise Missing(f"block {ref.hash.hex()[:16]}…: no mirror has it")
            errors: list[PeerError] = []
            opened = await self._round(what, usable, deadline, wanted, spoiled, errors)
            if opened is not None:
                return opened
            if errors and all(isinstance(error, Missing) for error in errors):
                continue  # the next order is empty and says so
            self._trouble()
            left = deadline - time.monotonic()
            if not wanted.is_set() or left <= pause:
                why = errors[-1] if errors else "no mirror is known"
                raise Unreachable(f"block {ref.hash.hex()[:16]}…: no mirror gave it in time; the last: {why}")
            await asyncio.sleep(pause)
            pause = min(2 * pause, PAUSE[1])

    async def _round(
        self,
        what: Wanted,
        order: list[Endpoint],
        deadline: float,
        wanted: asyncio.Event,
        spoiled: set[str],
        errors: list[PeerError],
    ) -> Opened | None:
        """Asks the mirrors of `order` one after the other, the next beside the last when that one is silent."""
        waiting = list(order)
        running: dict[asyncio.Task[Opened], tuple[Endpoint, float, Progress]] = {}
        last, why = "", ""
        call = asyncio.create_task(wanted.wait())
        try:
            while waiting or running:
                now = time.monotonic()
                if now >= deadline:
                    why = "no answer within the reader's deadline"
                    return None
                if not running:
                    last = self._start(what, waiting.pop(0), running)
                hedge = wanted.is_set() and bool(waiting)
                delay = self.choice.hedge_delay(last, what.ref.stored) if hedge else deadline - now
                done, _ = await asyncio.wait(
                    running if wanted.is_set() else {*running, call},
                    timeout=max(0.0, min(delay, deadline - now)),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                answered = [task for task in running if task in done]
                if not answered and hedge and time.monotonic() < deadline:
                    waited = time.monotonic() - min(begun for _, begun, _ in running.values())
                    if self.choice.may_hedge(waited):
                        last = self._start(what, waiting.pop(0), running)
                    continue
                for task in answered:
                    endpoint, _, _ = running.pop(task)
                    error = task.exception()
                    if error is None:
                        why = "silent while another mirror had the block"
                        return task.result()
                    if isinstance(error, Untrusted):
                        spoiled.add(endpoint.name)
                    if not isinstance(error, PeerError):
                        raise error
                    errors.append(error)
                if answered and waiting:
                    last = self._start(what, waiting.pop(0), running)
            return None
        finally:
            call.cancel()
            self._cancel(running, why)

    def _start(
        self, what: Wanted, endpoint: Endpoint, running: dict[asyncio.Task[Opened], tuple[Endpoint, float, Progress]]
    ) -> str:
        progress = Progress()
        task = asyncio.create_task(self._ask(what, endpoint, progress))
        running[task] = (endpoint, time.monotonic(), progress)
        return endpoint.name

    def _cancel(self, running: dict[asyncio.Task[Opened], tuple[Endpoint, float, Progress]], why: str) -> None:
        """Ends what lost.  Who had not sent a byte by then is blamed with `why`; nobody where that is empty."""
        now = time.monotonic()
        for task, (endpoint, begun, progress) in running.items():
            if task.done():
                task.exception()  # it failed in the same moment; _ask has written that down
                continue
            task.cancel()
            waited = now - begun
            if why and not progress.started and waited >= self.choice.hedge_delay(endpoint.name, 0):
                self.choice.lost(endpoint.name, waited, f"{format_duration(waited)}: {why}", now)

    async def _ask(self, what: Wanted, endpoint: Endpoint, progress: Progress) -> Opened:
        """One block from one mirror, and what that says of the mirror."""
        choice, name, ref = self.choice, endpoint.name, what.ref
        choice.asked(name)
        try:
            fetched = await self._fetcher.fetch(endpoint, what.path, ref.stored, progress, within=what.within)
            data = await asyncio.get_running_loop().run_in_executor(self._pool, open_block, fetched.data, ref)
        except Missing:
            choice.lacks(name, ref.hash, time.monotonic())
            raise
        except Untrusted as error:
            self._proofs[name] = what
            log.warning("%s gave a corrupt block and is left out: %s", endpoint, error)
            choice.failed(name, Blame.CORRUPT, str(error), time.monotonic())
            raise Untrusted(f"{name}: {error}") from None
        except PeerError as error:
            choice.failed(name, Blame.UNREACHABLE, str(error), time.monotonic())
            raise
        finally:
            choice.ended(name)
        choice.verified(name, len(fetched.data), fetched.first_byte, fetched.seconds, time.monotonic())
        if self._default_proof is None or ref.stored < self._default_proof.ref.stored:
            self._default_proof = what
        self._proofs.pop(name, None)
        return Opened(fetched.data, data, name)

    async def prove(self, endpoint: Endpoint, deadline: float) -> None:
        """Measures `endpoint` by one block.  What it finds is in `choice`; raises nothing."""
        what = self._proofs.get(endpoint.name) or self._default_proof
        if what is None:
            return
        try:
            async with asyncio.timeout(deadline):
                await self._ask(what, endpoint, Progress())
        except Missing:
            self._proofs.pop(endpoint.name, None)  # the next proof is by another block
        except TimeoutError:
            why = f"no block in {format_duration(deadline)}"
            self.choice.failed(endpoint.name, Blame.UNREACHABLE, why, time.monotonic())
        except PeerError as error:
            log.debug("%s has not proved itself: %s", endpoint, error)

    async def watch(self, proof: BlockRef, active: Callable[[], bool], deadline: float = 8.0) -> None:
        """Measures every mirror by `proof` (a small block), then whoever is due while `active()`.  Runs for ever."""
        self._default_proof = Wanted(proof, proof.path)
        proving: set[asyncio.Task[None]] = set()
        busy: set[str] = set()

        async def one(endpoint: Endpoint) -> None:
            try:
                await self.prove(endpoint, deadline)
            finally:
                busy.discard(endpoint.name)

        try:
            while True:
                for endpoint in self.choice.due(time.monotonic()) if active() else ():
                    if endpoint.name not in busy:
                        busy.add(endpoint.name)
                        task = asyncio.create_task(one(endpoint))
                        proving.add(task)
                        task.add_done_callback(proving.discard)
                await asyncio.sleep(TICK)
        finally:
            for task in proving:
                task.cancel()
