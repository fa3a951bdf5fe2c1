"""What a supervisor that was killed leaves behind: workers that go on answering, and how the next one follows it.

A worker whose lifeline ends (dns/serving/worker.py) answers on from its last plan, for the planner's death is no reason
to be silent.  It does so for a minute: longer than any service manager takes to start a new supervisor, shorter than a
dead mirror should go unnoticed, since nobody probes meanwhile.  A supervisor that starts in the same state folder ends
them first: they hold the sockets, and two plans at once would give two answers.

Rejected: planning in a child of a smaller supervisor (the same minute of old answers, one more process, and the smaller
one can be killed as well); sockets handed from the old to the new (nobody is there to hand them over).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from pathlib import Path
from typing import Final

from mirrornet.dns.serving.control import ControlPage
from mirrornet.model.errors import LocalError

log = logging.getLogger(__name__)

GRACE: Final = 60.0  # seconds that workers answer on without a supervisor
_PATIENCE: Final = 5.0  # seconds from SIGTERM to SIGKILL
_MODULE: Final = b"mirrornet.dns.serving.worker"


def left_behind(state: Path) -> list[int]:
    """Process ids of the workers that still answer from the folder `state`.

    Their ids stand in the control page; whether such a process is one of them, its command line says.
    """
    try:
        page = ControlPage.open(state)
    except (LocalError, OSError):
        return []
    try:
        pids = [page.counters(row)["pid"] for row in range(page.rows)]
    finally:
        page.close()
    return [pid for pid in pids if pid > 1 and _is_worker(pid, state)]


def _is_worker(pid: int, state: Path) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:  # it has ended; or this is no Linux, where a worker left behind ends by itself
        return False
    return _MODULE in words and any(os.fsencode(f'"{state}"') in word for word in words)


async def take_over(state: Path) -> None:
    """Ends the workers that a killed supervisor left in the folder `state`.  Does nothing where there are none."""
    pids = left_behind(state)
    if not pids:
        return
    log.warning("a supervisor was killed; its workers (%s) have answered on and end now", ", ".join(map(str, pids)))
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        end = time.monotonic() + _PATIENCE
        while pids and time.monotonic() < end:
            pids = [pid for pid in pids if _is_worker(pid, state)]
            await asyncio.sleep(0.005)
        if not pids:
            return
