"""Who reads in order is found whatever the order of the kernel's reads, and nobody causes more waste than is stated."""

from __future__ import annotations

import random

from mirrornet.client.reading.streams import CREDIT, EARNED, FIRST, HANDLES, STREAMS, TRIGGER, Streams

MOST = 64


def kernel(first: int, count: int, dice: random.Random) -> list[tuple[int, int]]:
    """Reads of half a block each, as (block, block), shuffled within 16 of them as the kernel's come."""
    pieces = [(number, number) for number in range(first, first + count) for _ in range(2)]
    for at in range(0, len(pieces), 16):
        part = pieces[at : at + 16]
        dice.shuffle(part)
        pieces[at : at + 16] = part
    return pieces


def test_a_reader_in_order_gets_a_window_that_grows_while_he_waits() -> None:
    streams = Streams(10_000, MOST)
    ahead = 0
    widths = []
    for number in range(2000):
        found = streams.seen(number, number, 1, late=number < 300)
        assert not found or found.start > number
        ahead = max(ahead, found.stop)
        widths.append(max(0, ahead - number - 1))
    assert widths[0] == 0 and max(widths) == MOST == widths[299]
    assert FIRST <= widths[-1] <= MOST / 4  # nothing was late any more: it shrinks
    assert all(width <= 2 * (number + 1) for number, width in enumerate(widths))


def test_the_order_of_pieces_does_not_matter() -> None:
    dice = random.Random(3)
    streams = Streams(10_000, MOST)
    ordered: list[int] = []
    for first, last in kernel(1000, 300, dice):
        ordered += streams.seen(first, last, 1, late=True)
    assert len(ordered) == len(set(ordered)) and ordered == sorted(ordered)
    assert len(set(range(1000, 1300)) - set(ordered)) < 24  # nearly all of it was ordered ahead
    assert max(ordered) <= 1299 + MOST


def test_several_files_through_one_handle() -> None:
    streams = Streams(100_000, MOST)
    dice = random.Random(4)
    files = [kernel(first, 200, dice) for first in (0, 5_000, 40_000)]
    ordered: set[int] = set()
    for at in range(len(files[0])):
        for pieces in files:
            ordered.update(streams.seen(*pieces[at], 7, late=True))
    for first in (0, 5_000, 40_000):
        assert len(set(range(first, first + 200)) - ordered) < 32


def test_who_reads_at_random_is_never_fetched_for() -> None:
    dice = random.Random(5)
    for count in (8192, 1_000_000):
        streams = Streams(count, MOST)
        ordered = 0
        for _ in range(20_000):
            number = dice.randrange(count)
            ordered += len(streams.seen(number, number, 1, late=False))
        assert ordered <= 20_000 * 0.002


def test_who_reads_every_second_block_is_never_fetched_for() -> None:
    streams = Streams(10_000, MOST)
    assert not any(streams.seen(number, number, 1, late=False) for number in range(0, 5_000, 2))
    assert not any(streams.seen(number, number, 1, late=False) for number in range(9_000, 6_000, -1))  # backwards


def test_waste_is_bounded() -> None:
    """Whoever reads runs and jumps, of any length: never more is wasted than the essay says."""
    for length in (2, 3, 5, 9, 20, 100):
        streams = Streams(10_000_000, MOST)
        dice = random.Random(length)
        read = wasted = 0
        for _ in range(400):
            first = dice.randrange(9_000_000)
            ordered: set[int] = set()
            for number in range(first, first + length):
                ordered.update(streams.seen(number, number, 1, late=True))
            waste = len(ordered - set(range(first, first + length)))
            assert waste <= 2 * length
            read, wasted = read + length, wasted + waste
            assert wasted <= CREDIT + EARNED * read
        assert (wasted > 0) == (length >= TRIGGER)


def test_blocks_that_are_passed_count_for_nothing_and_break_nothing() -> None:
    streams = Streams(10_000, MOST)
    assert not any(streams.passed(number, number, 1) for number in range(100)), "they begin nothing"
    ordered: set[int] = set()
    for number in range(1000, 1300):
        if number % 2:
            ordered.update(streams.seen(number, number, 1, late=True))
        else:
            ordered.update(streams.passed(number, number, 1))
    assert set(range(1020, 1300)) <= ordered
    for number in range(1300, 1310):
        ordered.update(streams.passed(number, number, 1))
    unread = max(ordered) - 1309
    assert 0 < unread <= CREDIT + EARNED * 150


def test_a_handle_without_credit_earns_it_again() -> None:
    streams = Streams(10_000_000, MOST)
    for turn in range(100):
        for number in range(5):
            streams.seen(1000 * turn + number, 1000 * turn + number, 1, late=True)
    ahead = 0
    for number in range(500_000, 500_300):
        ahead = max(ahead, streams.seen(number, number, 1, late=True).stop)
    assert ahead - number - 1 == MOST


def test_memory_is_bounded() -> None:
    streams = Streams(10_000_000, MOST)
    for handle in range(5000):
        for turn in range(20):
            streams.seen(1000 * turn, 1000 * turn, handle, late=False)
    assert len(streams._handles) <= HANDLES
    assert all(len(known.streams) <= STREAMS for known in streams._handles.values())


def test_nothing_beyond_the_end_is_ordered() -> None:
    streams = Streams(50, MOST)
    ordered = [block for number in range(50) for block in streams.seen(number, number, 1, late=True)]
    assert max(ordered) == 49
