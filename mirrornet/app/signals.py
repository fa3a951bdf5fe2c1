"""What signals mean to a process that runs until it is told to end: SIGTERM and Ctrl-C end it, SIGHUP has it reload."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine
from typing import Any


async def until_told(work: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Runs `work`, with the event that SIGHUP sets; at SIGTERM and Ctrl-C it is cancelled, and that is no error."""
    loop = asyncio.get_running_loop()
    reload = asyncio.Event()
    running = asyncio.create_task(work(reload))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    with contextlib.suppress(asyncio.CancelledError):
        await running
