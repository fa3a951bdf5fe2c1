"""What a supervisor leaves behind that was killed, or restarted: workers that go on answering, and how they end.

A worker whose lifeline ends (dns/serving/worker.py) answers on from its last plan, for the planner's death is no reason
to be silent.  It does so for a minute: longer than any service manager takes to start a new supervisor, shorter than a
dead mirror should go unnoticed, since nobody probes meanwhile.

The supervisor that starts next in the same state folder ends them.  Where the service manager kept the sockets
(app/notify.py), it does so when its own workers have a plan: a restart takes seconds, in which tables are read and
mirrors probed, and nobody is without an answer.  Elsewhere it does so at once: they hold the ports.

They are found by their command lines, which name the state folder; a list of their ids was rejected, since of two
supervisors that die one after the other the second one's list would hide the first one's workers.  Rejected, too:
planning in a child of a smaller supervisor (the same minute of old answers, one more process, and the smaller one can
be killed as well).
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

log = logging.getLogger(__name__)

GRACE: Final = 60.0  # seconds that workers answer on without a supervisor
_PATIENCE: Final = 5.0  # seconds from SIGTERM to SIGKILL
_MODULE: Final = b"mirrornet.dns.serving.worker"


def left_behind(state: Path) -> list[int]:
    """Process ids of the workers that still answer from the folder `state`."""
    try:
        found = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    except OSError:  # this is no Linux, where a worker left behind ends by itself
        return []
    wanted = os.fsencode(f'"{state.absolute()}"')
    return [pid for pid in found if any(wanted in word for word in _words(pid)) and _ours(pid)]


def _words(pid: int) -> list[bytes]:
    """The command line of a worker; nothing for every other process, and for one that has ended."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []
    return words if _MODULE in words else []


def _ours(pid: int) -> bool:
    """Whether it is no other user's, and not in a container, where the same path is another folder."""
    try:
        if os.geteuid() not in (0, Path(f"/proc/{pid}").stat().st_uid):
            return False
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return False
    return all(len(line.split()) == 2 for line in lines if line.startswith("NSpid:"))


async def end(pids: list[int]) -> None:
    """Ends these workers, which a supervisor before us has left.  Does nothing where there are none."""
    if not pids:
        return
    log.info("the last server's workers (%s) have answered on and end now", ", ".join(map(str, pids)))
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        limit = time.monotonic() + _PATIENCE
        while pids and time.monotonic() < limit:
            pids = [pid for pid in pids if _words(pid)]
            await asyncio.sleep(0.005)
        if not pids:
            return
