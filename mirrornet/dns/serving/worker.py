"""One worker: a process of its own with its own sockets, which maps the plan and answers until it is told to stop.

    python -m mirrornet.dns.serving.worker JSON

where JSON holds `state` (the folder of plan and control page), `slot` (its row), `sockets`, `secure` (those that speak
TLS) and `lifeline` (inherited file descriptors) and `manners` (message/manners.py).  It imports the answering path and
nothing else: a worker is a few megabytes and is there again in a tenth of a second.

The supervisor holds the other end of the lifeline.  A byte on it means "look at the control page"; its end means that
the supervisor was killed: the worker answers on for `grace` seconds, and then ends, unless its successor ends it before
(app/server/answers/inherit.py; PR_SET_PDEATHSIG was rejected: it fires when the *thread* that started us ends).
SIGTERM ends the worker after the turn it is in.  A plan that cannot be read leaves the old one standing.
"""

from __future__ import annotations

import json
import mmap
import os
import resource
import signal
import socket
import sys
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, time
from typing import Any

from mirrornet.dns.message.manners import Keeper, Manners
from mirrornet.dns.planning import planfile
from mirrornet.dns.serving import counters, step
from mirrornet.dns.serving.answer import Responder, not_ready
from mirrornet.dns.serving.control import ControlPage, plan_path
from mirrornet.dns.serving.samples import Picker
from mirrornet.dns.serving.transport import Limits, Respond, serve
from mirrornet.model.errors import LocalError, MirrornetError

__all__ = ["Assignment", "Limits", "Worker", "main", "serve"]

_SETTLE = 1.0  # seconds between two times that the quick road's answers are counted
_RETRY = 1.0  # seconds until a plan file that could not be read is tried again


@dataclass(frozen=True, slots=True)
class Assignment:
    """What the supervisor tells a worker."""

    state: str
    slot: int
    sockets: Sequence[int]
    secure: Sequence[int]
    lifeline: int
    grace: float  # seconds to answer on once the lifeline has ended
    manners: Mapping[str, Any]  # of message/manners.py


class Worker:
    """The plan in use, and what has been counted."""

    def __init__(self, state: Path, slot: int, manners: Manners) -> None:
        """Raises LocalError or OSError where there is no control page."""
        self._state = state
        self.keeper = Keeper(manners, _say)
        self._nsid = manners.nsid.encode()
        self._page = ControlPage.open(state)
        self._row = self._page.row(slot)[: len(counters.NAMES)]
        self.counts: list[int] = self._row.tolist()  # goes on where its predecessor ended
        self._hits = self._page.hits(slot)
        self._ring = self._page.ring(slot)
        self._picker = Picker()
        self._settled = 0.0  # on the gate's clock
        self.counts[counters.PID] = os.getpid()
        self.counts[counters.TCP_OPEN] = 0
        self.stopped = False
        self.until: float | None = None  # the end of an orphan's life, on the monotonic clock
        self.step = step.load(state, self._page.row(slot, step=True), self._ring.room)
        self._respond: Respond = self._not_ready
        self._responder: Responder | None = None
        self._generation = 0
        self._sequence = 0
        self._retry = 0.0

    def current(self) -> Respond | None:
        """What `serve` asks before every turn: the function that answers in it, or None to stop."""
        page = self._page
        self.keeper.look()
        if self.step is not None:
            self.step.mind(self.keeper.gate)
        if page.generation != self._generation:
            self._take_up(page.generation)
        elif page.sequence != self._sequence:
            self._retime()
        now = self.keeper.gate.now
        if self._responder is not None and (not 0 <= now - self._settled < _SETTLE or self.stopped):
            self._settled = now
            self._responder.settle()
        if page.sampled != (self._picker.every, self._picker.rate):
            self._want_samples(*page.sampled)
        self._row[:] = memoryview(array("Q", self.counts))
        if self.until is not None and monotonic() >= self.until:
            return None
        if self.stopped:
            return None
        return self._respond_and_sample if self._picker.every else self._respond

    def _not_ready(self, data: bytes, peer: bytes, transport: int) -> bytes | None:
        self.counts[counters.SERVFAIL] += 1
        return not_ready(data, peer, transport)

    def _want_samples(self, every: int, rate: int) -> None:
        self._picker.want(every, rate)
        if self.step is not None:
            self.step.sample(every, rate)

    def _respond_and_sample(self, data: bytes, peer: bytes, transport: int) -> bytes | None:
        reply = self._respond(data, peer, transport)
        now = self.keeper.gate.now
        if self._picker.picks(now):
            slot = -1 if self._responder is None else self._responder.slot_of(data, peer)
            self._ring.put(now, self._generation, slot, transport, peer, data, reply)
        return reply

    def _take_up(self, generation: int) -> None:
        if monotonic() < self._retry:
            return
        sequence = self._page.sequence
        ttls = self._page.ttls(generation)
        if ttls is None:  # the next plan's are being written: it will be there in a moment
            return
        try:
            plan = _map(plan_path(self._state, generation))
            if plan.generation != generation or plan.slot_count > len(ttls):
                raise LocalError(f"it is the plan of generation {plan.generation}, or its TTLs are missing")
            hits = self._hits.begin(generation, plan.slot_count)
            responder = Responder(plan, ttls, nsid=self._nsid, counts=self.counts, hits=hits, gate=self.keeper.gate)
            if self.step is not None:
                self.step.equip(responder, ttls)
        except (MirrornetError, OSError, ValueError, LookupError, TypeError) as error:
            self.counts[counters.PLAN_FAULTS] += 1
            self._retry = monotonic() + _RETRY
            path = plan_path(self._state, generation)
            _say(f"{path}: {error}; the old plan stays")
            return
        if self._responder is not None:
            self._responder.settle()
        if hits is not None:
            self._hits.use()
        self._responder = responder
        self._respond = responder.respond
        self._generation, self._sequence = generation, sequence
        self.counts[counters.GENERATION] = generation
        self.counts[counters.PLANS] += 1

    def _retime(self) -> None:
        sequence = self._page.sequence
        ttls = self._page.ttls(self._generation)
        if self._responder is None or ttls is None or len(ttls) < self._responder.plan.slot_count:
            return
        self._responder.retime(ttls)
        if self.step is not None:
            self.step.retime(ttls)
        self._sequence = sequence


def _say(text: str) -> None:
    from mirrornet.model import event  # a worker with nothing to say need not know about calendars

    form = os.environ.get(event.SWITCH, "plain")
    source = f"mirrornet.worker.{os.getpid()}"
    print(event.line(form, time(), "warning", source, text), file=sys.stderr, flush=True)


def _map(path: Path) -> planfile.Plan:
    with path.open("rb") as file:
        # A copy on write that nobody writes: pages are shared as ever, and the step may have their addresses.
        return planfile.decode(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)))


def main(arguments: Sequence[str]) -> int:
    """The process: 0 when it was told to stop, 1 with a line on stderr when it cannot work."""
    task = Assignment(**json.loads(arguments[0]))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 65536)), hard))  # TCP connections
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's affair
    try:
        worker = Worker(Path(task.state), task.slot, Manners(**task.manners))
    except (MirrornetError, OSError) as error:
        _say(str(error))
        return 1

    def stop(*_: object) -> None:
        worker.stopped = True

    def orphaned() -> None:
        worker.until = monotonic() + task.grace
        _say(f"the supervisor is gone; the last plan is in force for {task.grace:.0f} s more")

    signal.signal(signal.SIGTERM, stop)
    alarm, alarmed = os.pipe()
    for descriptor in (task.lifeline, alarm, alarmed):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(alarmed)
    sockets, secure = ([socket.socket(fileno=number) for number in own] for own in (task.sockets, task.secure))
    wake = (task.lifeline, alarm)
    tls = worker.keeper.tls
    serve(
        sockets,
        worker.current,
        wake=wake,
        counts=worker.counts,
        secure=secure,
        tls=tls,
        step=worker.step,
        lost=orphaned,
    )
    worker.stopped = True
    worker.current()  # the last counts
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
