"""The block behind one that had to be fetched, fetched as well as long as that pays.  Pure.

Where nothing is known of a boot, it waits for one block after the other, and reading in order it does not: but of the
blocks that a Debian's boot touches, the next one is touched, too, in 70 of 100 cases, since file systems keep together
what belongs together.  So when a read has to fetch a block, the block behind it is fetched beside it.  In that boot
231 waits become 120, for 30 % more bytes.

Somebody who reads at random has nothing of it, so it is bought with a credit: 16 blocks at first and at most.  Each
costs one, each that is then read gives two back, and a block read for the first time gives 1/64.  So it goes on where
at least half are read, and else costs 16 blocks and one in 64 of those read.

Rejected: two or three blocks behind (a quarter fewer waits, twice the waste), the block before as well, fetching the
aligned megabyte (106 waits, 84 % more bytes).
"""

from __future__ import annotations

from typing import Final

CREDIT: Final = 16.0  # blocks, at first and at most
RETURNED: Final = 2.0  # for one that was read
EARNED: Final = 1 / 64  # for any block that is read for the first time
REMEMBERED: Final = 65536  # blocks; who reads more has a credit by then, or none


class Neighbours:
    """Which blocks were read, and which were fetched behind them, in an image of `count` blocks."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._credit = CREDIT
        self._seen: set[int] = set()
        self._bought: set[int] = set()

    def touched(self, number: int) -> int | None:
        """Block `number` is read: the block to fetch beside it, if it is not here and has to be fetched."""
        if number in self._bought:
            self._bought.discard(number)
            self._credit = min(self._credit + RETURNED, CREDIT)
        if number in self._seen or len(self._seen) >= REMEMBERED:
            return None
        self._seen.add(number)
        self._credit = min(self._credit + EARNED, CREDIT)
        behind = number + 1
        if behind >= self._count or behind in self._seen or behind in self._bought or self._credit < 1.0:
            return None
        self._credit -= 1.0
        self._bought.add(behind)
        return behind

    def refunded(self, behind: int) -> None:
        """It was not fetched, for the block before it was here."""
        if behind in self._bought:
            self._bought.discard(behind)
            self._credit = min(self._credit + 1.0, CREDIT)
