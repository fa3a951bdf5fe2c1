"""Readahead orders what is read in order, and leaves alone what a profile names."""

from __future__ import annotations

import asyncio

from mirrornet.client.reading.ahead import Ahead

UNIT = 262144


async def ordered(named: frozenset[int], numbers: range) -> set[int]:
    """The blocks that are fetched ahead of a reader of `numbers`, where none is here."""
    fetched: set[int] = set()

    async def fetch(number: int) -> bool:
        fetched.add(number)
        return True

    ahead = Ahead(fetch, lambda number: False, lambda number: True, UNIT, 1000)
    ahead.named = named
    for number in numbers:
        ahead.seen(number * UNIT, (number + 1) * UNIT, 1)
        for _ in range(3):
            await asyncio.sleep(0)
    await ahead.close()
    return fetched


async def test_who_reads_in_order_is_fetched_for() -> None:
    assert set(range(12, 20)) <= await ordered(frozenset(), range(20))


async def test_what_a_profile_names_orders_nothing_and_what_follows_it_does() -> None:
    assert not await ordered(frozenset(range(20)), range(20))
    assert 30 in await ordered(frozenset(range(20)), range(28))


async def test_what_a_profile_names_interrupts_no_reader_in_order() -> None:
    every_third = frozenset(range(0, 200, 3))
    assert set(range(30, 200)) - every_third <= await ordered(every_third, range(200))
