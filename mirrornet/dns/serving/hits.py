"""How often each answer class was given: two banks of the control page for each worker, written by it alone.

    bank      u64 generation of the plan whose slots these are, 56 bytes zero, u64[HITS]: answers by TTL slot

An answer class and a TTL slot are the same thing (planning/planfile.py), so that the plan's notes say which mirrors
each one names.  A new plan numbers its slots anew: the worker then begins in the other bank, and the one it leaves
stands still until the plan after next, which gives the supervisor time to add it up (app/server/asked.py).

A plan of more classes than HITS is answered from like any other, and not counted.
"""

from __future__ import annotations

from typing import Final

HITS: Final = 1 << 14
HEAD: Final = 8  # u64 numbers before the first count
BANK: Final = 8 * (HEAD + HITS)  # octets
SIZE: Final = 2 * BANK


class Hits:
    """A worker's banks.  `room`: SIZE octets of the control page."""

    def __init__(self, room: memoryview) -> None:
        numbers = room.cast("B").cast("Q")
        self._banks = (numbers[: HEAD + HITS], numbers[HEAD + HITS :])
        self._used = self._banks[0][0] < self._banks[1][0]  # the one that a predecessor counted in last

    def begin(self, generation: int, slots: int) -> memoryview | None:
        """Room for the counts of `slots` classes of the plan of `generation`, all zero; None where they are too many.

        It is in use once `use` was called; until then the plan before goes on counting where it is.
        """
        if slots > HITS:
            return None
        bank = self._banks[not self._used]
        bank[0] = 0
        bank[HEAD:] = memoryview(bytes(8 * HITS)).cast("Q")
        bank[0] = generation
        return bank[HEAD:]

    def use(self) -> None:
        """What was begun is in use."""
        self._used = not self._used

    def read(self) -> list[tuple[int, list[int]]]:
        """(generation, counts by slot) of both banks; those that were never used are left out."""
        return [(bank[0], bank[HEAD:].tolist()) for bank in self._banks if bank[0]]
