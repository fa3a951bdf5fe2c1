"""Which mirror is asked next for a file, and when one that failed may be asked again.  Pure: the time is an argument.

Unlike a reader, a copy is in no hurry: it needs no hedge and no measuring.  The mirrors are asked in the order given
(DNS put the nearest first), whoever fails rests for 1, 2, 4 … 60 s, and for as long as it says itself (Retry-After);
one good file ends that.  That a mirror does not have a file (404, 403) is no fault of the mirror's: it is older than
the metadata, or somebody's copy of one image only.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

REST: Final = (1.0, 60.0)  # seconds: after the first failure, and at most


class Standing:
    """`count` mirrors, by number, the preferred one first."""

    def __init__(self, count: int) -> None:
        self._failures = [0] * count
        self._until = [0.0] * count

    def pick(self, now: float, without: Collection[int] = ()) -> int | None:
        """The first mirror that may be asked now and is not in `without`."""
        may = (number for number, until in enumerate(self._until) if until <= now and number not in without)
        return next(may, None)

    def wait(self, now: float, without: Collection[int] = ()) -> float | None:
        """Seconds until the next of them may be asked; None: all are in `without`."""
        ends = [until for number, until in enumerate(self._until) if number not in without]
        return max(0.0, min(ends) - now) if ends else None

    def failed(self, number: int, now: float, after: float = 0.0) -> None:
        """It did not answer, or lied; `after`: the seconds it asked for.

        Requests that were under way together fail together: those that end while it rests count as one failure.
        """
        if self._until[number] > now and not after:
            return
        self._failures[number] += 1
        rest = min(REST[0] * 2 ** (self._failures[number] - 1), REST[1])
        self._until[number] = max(self._until[number], now + max(rest, after))

    def worked(self, number: int) -> None:
        """It gave a file, verified."""
        self._failures[number] = 0
