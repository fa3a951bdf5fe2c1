"""The block behind: fetched where that pays, and what it costs where it does not."""

from __future__ import annotations

import random

from mirrornet.client.reading.neighbours import CREDIT, EARNED, REMEMBERED, Neighbours


def bought(reads: list[int], count: int = 1_000_000) -> tuple[int, int]:
    """(blocks fetched behind others, of them read later)."""
    near, found = Neighbours(count), set()
    used = 0
    for number in reads:
        used += number in found
        found.discard(number)
        if (behind := near.touched(number)) is not None:
            found.add(behind)
            assert behind == number + 1 < count
    return used + len(found), used


def test_it_pays_where_neighbours_are_read() -> None:
    dice = random.Random(1)
    starts = dice.sample(range(0, 100_000, 10), 300)
    fetched, used = bought([start + step for start in starts for step in range(4)])
    assert used == 900 and fetched == 1200  # of each run of four blocks, the last three; and one behind


def test_it_ends_where_they_are_not() -> None:
    dice = random.Random(2)
    for count in (2000, 20_000):
        reads = dice.sample(range(0, 40 * count, 2), count)
        fetched, used = bought(reads)
        assert used == 0 and fetched <= CREDIT + EARNED * count + 1


def test_whatever_is_read_the_waste_has_its_bound() -> None:
    for seed in range(40):
        dice = random.Random(seed)
        reads, at = [], 0
        for _ in range(3000):
            at = at + 1 if dice.random() < seed / 40 else dice.randrange(500_000)
            reads.append(at)
        fetched, used = bought(reads)
        assert fetched - used <= CREDIT + used + EARNED * len(reads) + 1


def test_what_was_here_costs_nothing() -> None:
    near = Neighbours(10_000)
    for number in range(0, 6000, 2):
        behind = near.touched(number)
        assert behind == number + 1
        near.refunded(behind)
    near.refunded(5)  # nobody bought it


def test_the_end_and_the_memory() -> None:
    near = Neighbours(REMEMBERED * 2)
    assert Neighbours(5).touched(4) is None
    for number in range(REMEMBERED + 10):
        near.touched(number)
    assert len(near._seen) == REMEMBERED and near.touched(REMEMBERED + 100) is None
