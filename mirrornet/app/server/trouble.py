"""A thing that may fail for hours and is tried every second: said once when it begins, once when it is over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from mirrornet.model.errors import MirrornetError


class Trouble:
    """`what`: what fails, as the beginning of the line in the log; `relief`: the line when it works again."""

    def __init__(self, log: logging.Logger, what: str, relief: str) -> None:
        self._log, self._what, self._relief = log, what, relief
        self.reason = ""  # "" while all is well

    def met(self, error: Exception) -> None:
        """It failed; said where it did not before, or failed otherwise."""
        reason = str(error.strerror or error) if isinstance(error, OSError) else str(error)
        if reason != self.reason:
            self._log.error("%s: %s", self._what, reason)
        self.reason = reason

    def over(self) -> None:
        """It worked."""
        if self.reason:
            self._log.info("%s", self._relief)
        self.reason = ""

    async def outlast(self, work: Callable[[], Awaitable[None]], every: float, most: float, bug: str) -> None:
        """Does `work` again and again, `every` so many seconds; while it fails, less and less often, down to `most`.

        `bug`: the line in the log where it fails as it never should.
        """
        pause = every
        while True:
            try:
                await work()
            except MirrornetError as error:
                self.met(error)
                pause = min(most, pause * 2)
            except Exception:  # a bug of ours must not end it
                self._log.exception("%s", bug)
                pause = most
            else:
                self.over()
                pause = every
            await asyncio.sleep(pause)
