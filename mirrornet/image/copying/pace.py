"""Bytes a second, kept by waiting.  Pure: the time is an argument.

A bucket that runs over: who takes n bytes has them at once and waits until they would have come at the rate, so long
transfers keep the rate exactly and short ones are not delayed by more than their own length.  What was not used in the
last second is not saved up: the operator of a line that others use, too, means every second.
"""

from __future__ import annotations

from typing import Final

_SAVED: Final = 1.0  # seconds of the rate that may be taken at once after a rest


class Pace:
    """At most `rate` bytes a second, by all who share it; None: as fast as it goes."""

    def __init__(self, rate: int | None) -> None:
        self._rate = rate
        self._free = 0.0  # the time at which all that was taken would have come

    def take(self, size: int, now: float) -> float:
        """Seconds to wait now that `size` bytes were taken."""
        if self._rate is None:
            return 0.0
        self._free = max(self._free, now - _SAVED) + size / self._rate
        return max(0.0, self._free - now)
