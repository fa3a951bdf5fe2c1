"""One block, once through the mirrors: the best first, the next beside it when it is slow, after it when it fails.

A reader's block is asked of the best mirror.  If that one stays silent for longer than it nearly ever is, the next is
asked beside it (the hedge).  If it has begun and the rest would take far longer than at the next, or nothing more
comes, the next is asked for the rest: the bytes that are here are kept.  If it fails, the next at once, and for the
rest too.  The first *verified* answer wins, the others are cancelled: one slow or lying mirror costs one block a hedge.

Bytes of two mirrors that do not verify together blame neither.  The block is then fetched whole from one mirror, and
whoever's part differs from it gave wrong bytes.

When everybody has been asked and somebody is still silent, `more` tells who has become known meanwhile: the list of
mirrors may have been one that is dead, and the next answer of the name server comes while its silence lasts.

Prefetch never hedges; it only leaves a mirror that has sent nobody anything for far too long (choice.gone).  Once a
reader wants that very block (`wanted` is set) it is his, and all of the above holds.  Where it was asked of a mirror
that will take far longer than the best one would, he asks that one: this is his own request, and no hedge.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Set
from typing import Final

from mirrornet.client.fetching.attempt import WORTH_KEEPING, Attempt, Doubtful, Opened, Part, Tools, Wanted
from mirrornet.client.mirrors.choice import HEDGE
from mirrornet.client.mirrors.source import Endpoint
from mirrornet.model.errors import PeerError, Untrusted

WORSE: Final = 2.0  # times what the next mirror is predicted to take for the rest: then it is asked for it
GAP: Final = 1.5  # times the delay of the hedge without a byte, in mid-block
LOOK: Final = (0.02, 0.25)  # seconds between two looks at how it goes: for a reader, for a prefetch


class Race:
    """One block and the mirrors to ask for it.  `spoiled` and `errors` are filled with what happens."""

    def __init__(
        self,
        tools: Tools,
        what: Wanted,
        order: Iterable[Endpoint],
        wanted: asyncio.Event,
        spoiled: set[str],
        errors: list[PeerError],
        more: Callable[[Set[str]], list[Endpoint]] = lambda _: [],
    ) -> None:
        """`more`: given the names of those asked, the mirrors that may be asked besides."""
        self._tools = tools
        self._what = what
        self._waiting = list(order)
        self._wanted = wanted
        self._spoiled = spoiled
        self._errors = errors
        self._more = more
        self._names: set[str] = {endpoint.name for endpoint in self._waiting}
        self._running: list[Attempt] = []
        self._kept: tuple[Part, ...] = ()  # of an attempt that failed
        self._doubts: tuple[Part, ...] = ()
        self._doubted = False
        self._ahead: Attempt | None = None  # the request that went before a reader wanted the block

    async def run(self, deadline: float) -> Opened | None:
        """The block; None where nobody gave it by `deadline` (on the clock)."""
        clock, why = self._tools.clock, ""
        call = asyncio.create_task(self._wanted.wait())
        try:
            while self._waiting or self._running:
                now = clock()
                if now >= deadline:
                    why = "no answer within the reader's deadline"
                    return None
                if not self._running:
                    self._start(self._waiting.pop(0))
                watched: set[asyncio.Task[Opened] | asyncio.Task[bool]] = {attempt.task for attempt in self._running}
                if not self._wanted.is_set():
                    watched.add(call)
                await asyncio.wait(
                    watched,
                    timeout=max(0.0, min(self._next_look(now), deadline - now)),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                answered = [attempt for attempt in self._running if attempt.task.done()]
                for attempt in answered:
                    self._running.remove(attempt)
                    if (opened := self._result(attempt)) is not None:
                        why = "silent while another mirror had the block"
                        return opened
                if answered and self._waiting:
                    self._start(self._waiting.pop(0))
                elif not answered:
                    self._look(clock(), deadline)
            return None
        finally:
            call.cancel()
            for attempt in self._running:
                attempt.give_up(why)

    def _start(self, endpoint: Endpoint) -> None:
        """Asks `endpoint` for what is not here yet, or for all of it where that is hardly less."""
        most = max((self._kept, *(attempt.parts() for attempt in self._running)), key=_size)
        if self._doubted or not WORTH_KEEPING <= _size(most) < self._what.ref.stored:
            most = ()
        self._running.append(Attempt(self._tools, self._what, endpoint, most))
        self._ahead = None if self._wanted.is_set() else self._running[-1]

    def _result(self, attempt: Attempt) -> Opened | None:
        """What an attempt that is over gave, and what follows from it.  Raises what is no mirror's fault."""
        error = attempt.task.exception()
        if error is None:
            opened = attempt.task.result()
            self._settle(opened)
            return opened
        if not isinstance(error, PeerError):
            raise error
        if isinstance(error, Doubtful):
            self._doubts, self._doubted, self._kept = (*self._doubts, *error.parts), True, ()
            self._waiting.insert(0, attempt.endpoint)
            return None
        self._errors.append(error)
        if isinstance(error, Untrusted):
            self._spoiled.add(attempt.endpoint.name)
        elif _size(parts := attempt.parts()) > _size(self._kept):
            self._kept = parts
        return None

    def _settle(self, opened: Opened) -> None:
        """Blames those whose parts, joined before, differ from the block that verified."""
        for part in self._doubts:
            name = part.mirror.name
            if opened.stored[part.start : part.start + len(part.data)] != part.data and name not in self._spoiled:
                self._spoiled.add(name)
                self._tools.spoilt(part.mirror, self._what, "a part of a block differs from the whole that verified")

    # -- how it goes

    def _next_look(self, now: float) -> float:
        """Seconds until something may have to be done though nobody answers."""
        if not self._waiting:
            return LOOK[1]
        if not self._wanted.is_set():
            return LOOK[1]
        last = self._running[-1]
        if last is self._ahead:
            return 0.0
        if last.progress.started:
            return LOOK[0]
        delay = self._tools.choice.hedge_delay(last.endpoint.name, last.progress.connected)
        return max(LOOK[0], last.begun + delay - now)

    def _look(self, now: float, deadline: float) -> None:
        """Asks the next mirror where the last is too slow."""
        if not self._waiting:
            self._waiting = self._more(self._names)
            self._names |= {endpoint.name for endpoint in self._waiting}
        if not self._waiting or not self._running or now >= deadline:
            return
        choice, last = self._tools.choice, self._running[-1]
        if not self._wanted.is_set():
            if choice.gone(last.endpoint.name, now):
                self._running.remove(last)
                last.give_up("silent although others answer")
                self._start(self._waiting.pop(0))
            return
        if last is self._ahead:
            self._ahead = None
            if self._far(last, now):
                self._start(self._waiting.pop(0))
                return
        if self._late(last, now) and choice.may_hedge(last.endpoint.name, now - last.begun, now):
            self._start(self._waiting.pop(0))

    def _far(self, attempt: Attempt, now: float) -> bool:
        """Whether a reader who comes to this prefetch is better served by a request of his own."""
        here = self._tools.choice.record(attempt.endpoint.name)
        best = self._tools.choice.record(self._waiting[0].name)
        if attempt.progress.started or here is None or best is None or best.out_until is not None:
            return False
        size = self._what.ref.stored
        left = max(here.predicted(size, now, here.under_way) - (now - attempt.begun), 0.0)
        return left > WORSE * best.predicted(size, now, best.under_way) + HEDGE[0]

    def _late(self, attempt: Attempt, now: float) -> bool:
        """Whether `attempt` takes so long that another mirror is worth a request."""
        choice, progress = self._tools.choice, attempt.progress
        delay = choice.hedge_delay(attempt.endpoint.name, progress.connected)
        if progress.first_at is None or progress.last_at is None:
            return now - attempt.begun >= delay
        if attempt.left <= 0:
            return False
        quiet = now - progress.last_at
        if quiet > GAP * delay:
            return True
        other = choice.record(self._waiting[0].name)
        if other is None or other.first_byte is None or progress.count == 0:
            return False
        left = max(attempt.left * (now - progress.first_at) / progress.count, quiet)
        return left > WORSE * other.predicted(attempt.left, now, other.under_way) + HEDGE[0]


def _size(parts: tuple[Part, ...]) -> int:
    return sum(len(part.data) for part in parts)
