"""What is dear to make is given out again, for as long as keeps its cost small.  Pure: the clock is an argument.

A time of so many seconds would be too long for a page of ten mirrors, which costs a millisecond, and too short for one
of a thousand.  So the time goes by what the making took.
"""

from __future__ import annotations

import math
from collections.abc import Callable


class Spared:
    """The last of `make()`, until `times` as long as making it took has passed by `clock` (seconds)."""

    def __init__(self, make: Callable[[], str], times: float, clock: Callable[[], float]) -> None:
        self._make, self._times, self._clock = make, times, clock
        self._made, self._until = "", -math.inf

    def get(self) -> str:
        """What was made, or is made now.  An exception of `make` is the caller's, and nothing is kept of it."""
        begin = self._clock()
        if begin >= self._until:
            self._made = self._make()
            end = self._clock()
            self._until = end + self._times * (end - begin)
        return self._made
