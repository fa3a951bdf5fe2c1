"""Inflated blocks in memory: the limit holds, what is used again stays, and what is read once pushes nothing out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mirrornet.client.reading.memory import TOGETHER, Memory

BLOCK = bytes(100)


def name(number: int) -> bytes:
    return number.to_bytes(32, "big")


def read(memory: Memory, number: int) -> bool:
    """As a reader does; whether it was there."""
    if memory.get(name(number)) is not None:
        return True
    memory.put(name(number), BLOCK)
    return False


def test_a_scan_does_not_push_out_what_is_in_use() -> None:
    memory = Memory(100 * len(BLOCK))
    for _ in range(3):
        for number in range(50):
            read(memory, number)
    for number in range(1000, 3000):  # somebody copies the image
        for _ in range(4):  # in four reads a block
            read(memory, number)
    assert all(read(memory, number) for number in range(50))
    assert memory.bytes <= 100 * len(BLOCK)


def test_a_working_set_as_large_as_the_memory_stays_whole() -> None:
    memory = Memory(100 * len(BLOCK))
    for number in range(100):
        read(memory, number)
    for _ in range(5):
        assert all(read(memory, number) for number in range(100))


def test_a_new_working_set_takes_the_place_of_the_old() -> None:
    memory = Memory(100 * len(BLOCK))
    for start in (0, 500):
        for _ in range(6):
            for number in range(start, start + 60):
                read(memory, number)
    assert all(name(number) in memory for number in range(500, 560))


def test_a_block_read_in_pieces_was_used_once() -> None:
    memory = Memory((TOGETHER + 4) * len(BLOCK))
    for _ in range(64):
        read(memory, 0)
    for number in range(1, 2 * TOGETHER + 8):
        read(memory, number)
    assert name(0) not in memory


def test_a_block_larger_than_the_limit_is_held_alone() -> None:
    memory = Memory(10)
    for number in range(3):
        memory.put(name(number), BLOCK)
        assert memory.get(name(number)) == BLOCK and len(memory) == 1


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 300)), max_size=300), st.integers(1, 3000))
def test_the_limit_holds_and_the_count_is_right(uses: list[tuple[int, int]], limit: int) -> None:
    memory = Memory(limit)
    sizes: dict[int, int] = {}
    for number, size in uses:
        if memory.get(name(number)) is None:
            memory.put(name(number), bytes(size))
            sizes[number] = size
        assert name(number) in memory
        there = [number for number in sizes if name(number) in memory]
        assert memory.bytes == sum(sizes[number] for number in there) and len(memory) == len(there)
        assert memory.bytes <= limit or len(memory) == 1
