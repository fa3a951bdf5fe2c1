"""How often each answer class was given: two banks of the control page for each worker, written by it alone.

    bank      u64 generation of the plan whose slots these are, u64 epoch, 48 bytes zero, u32[HITS]: answers by TTL slot

An answer class and a TTL slot are the same thing (planning/planfile.py), so that the plan's notes say which mirrors
each one names. A new plan numbers its slots anew: the worker then begins in the other bank, and the one it leaves
stands still until the plan after next, which gives the supervisor time to add it up (app/server/answers/asked.py).
Each beginning has an epoch of its own, greater than all before, also where a worker is replaced under the same plan.
Counts wrap; who reads them more than once a day misses nothing.

A plan of more classes than HITS is answered from like any other, and not counted; 500 mirrors have 49,000.
"""

from __future__ import annotations

from typing import Final

HITS: Final = 1 << 16
HEAD: Final = 64  # octets before the first count
BANK: Final = HEAD + 4 * HITS
SIZE: Final = 2 * BANK
_GENERATION, _EPOCH = 0, 1


class Hits:
    """A worker's banks.  `room`: SIZE octets of the control page."""

    def __init__(self, room: memoryview) -> None:
        octets = room.cast("B")
        self._heads = [octets[at : at + HEAD].cast("Q") for at in (0, BANK)]
        self._counts = [octets[at + HEAD : at + BANK].cast("I") for at in (0, BANK)]
        self._used = int(self._heads[0][_EPOCH] < self._heads[1][_EPOCH])  # where a predecessor counted last

    def begin(self, generation: int, slots: int) -> memoryview | None:
        """Room for the counts of `slots` classes of the plan of `generation`, all zero; None where they are too many.

        It is in use once `use` was called; until then the plan before goes on counting where it is.
        """
        if slots > HITS:
            return None
        head, counts = self._heads[1 - self._used], self._counts[1 - self._used]
        epoch = max(head[_EPOCH], self._heads[self._used][_EPOCH]) + 1
        head[_GENERATION] = 0
        counts[:] = memoryview(bytes(4 * HITS)).cast("I")
        head[_EPOCH], head[_GENERATION] = epoch, generation
        return counts

    def use(self) -> None:
        """What was begun is in use."""
        self._used = 1 - self._used

    def read(self) -> list[tuple[int, int, bytes]]:
        """(epoch, generation, u32 counts by slot) of both banks; those that were never used are left out."""
        return [
            (head[_EPOCH], head[_GENERATION], counts.tobytes())
            for head, counts in zip(self._heads, self._counts, strict=True)
            if head[_GENERATION]
        ]
