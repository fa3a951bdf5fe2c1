"""Waiting for a result instead of sleeping for it: looks again and again, and says what it saw when time is up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

PATIENCE = 60.0  # seconds; generous, since two cores may be busy with something else: only a failure takes so long
LOOK_EVERY = 0.01  # seconds


def until(
    holds: Callable[[], object],
    told: Callable[[], object] = lambda: None,
    patience: float = PATIENCE,
    every: float = LOOK_EVERY,
) -> None:
    """Returns as soon as `holds()`, which is asked `every` so many seconds; fails with `told()` after `patience`."""
    deadline = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < deadline, told()
        time.sleep(every)


async def eventually(holds: Callable[[], object], told: Callable[[], object] = lambda: None) -> None:
    """The same in an event loop."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, told()
        await asyncio.sleep(LOOK_EVERY)
