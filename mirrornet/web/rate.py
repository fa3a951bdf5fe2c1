"""Token buckets by name (an address, say), bounded in number.  Pure: the time is an argument.

The form is GCRA, as in dns/message/rate.py: of each bucket one number is kept, the time at which it is full again.
Who is not in memory has a full bucket; where memory is full, whoever came longest ago is forgotten, which only ever
errs in an asker's favour.  Rejected: one bucket for all (a flood would lock the operator out of his own page).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable


class Rates:
    """`rate` tokens a second and `burst` at once for each key, of at most `most` keys."""

    def __init__(self, rate: float, burst: float, most: int = 1024) -> None:
        self._interval = 1 / rate
        self._depth = burst / rate  # seconds that an empty bucket takes to be full
        self._most = most
        self._full: OrderedDict[Hashable, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full)

    def wait(self, key: Hashable, now: float) -> float:
        """Takes a token of `key` and returns 0; or, where there is none, the seconds until there is one."""
        full = min(max(self._full.pop(key, now), now), now + self._depth)  # a clock that was set back locks nobody out
        late = full + self._interval - (now + self._depth)
        if late <= 1e-9:
            full += self._interval
        self._full[key] = full
        while len(self._full) > self._most:
            self._full.popitem(last=False)
        return late if late > 1e-9 else 0.0
