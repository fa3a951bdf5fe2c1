"""What a replay makes of a profile, without a network: rows once a page, pages bounded, zeroes and twins left out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from mirrornet.client.reading.replay import PAGES, Replay
from mirrornet.image.format.block import BlockRef, Codec
from mirrornet.image.format.profile import Profile

UNIT = 65536
ENTRIES = 1024


class Index:
    """An index of any size: every third block is zeroes, blocks 1 and 4 are the same."""

    def __init__(self, count: int) -> None:
        self.head = SimpleNamespace(block_count=count, locate=lambda number: divmod(number, ENTRIES))
        self.asked: list[int] = []

    async def row(self, number: int) -> tuple[BlockRef | None, None]:
        self.asked.append(number // ENTRIES)
        if number % 3 == 0:
            return None, None
        return BlockRef((1 if number == 4 else number).to_bytes(32, "big"), 1000, UNIT, Codec.ZLIB), None


def replay(index: Index, blocks: tuple[int, ...]) -> Replay:
    unused: Any = None
    reader: Any = index
    return Replay(Profile(UNIT, blocks), reader, None, unused)


async def test_the_order_is_kept_without_zeroes_and_twins() -> None:
    index = Index(5000)
    made = replay(index, (7, 4999, 3, 1, 4, 2048, 5000, 1 << 40))
    assert made.refs is None
    assert [block.number for block in await made.needed()] == [7, 4999, 1, 2048]
    assert made.figures.blocks == 4 and len(made.refs or ()) == 4
    before = len(index.asked)
    await made.needed()
    assert len(index.asked) == before


async def test_a_profile_all_over_a_huge_image_costs_a_bounded_index() -> None:
    index = Index(1 << 28)
    blocks = tuple(ENTRIES * page + 1 + 3 * turn for turn in range(2) for page in range(20_000))
    needed = await replay(index, blocks).needed()
    assert len(set(index.asked)) == PAGES
    numbers = [number for number in blocks if number < PAGES * ENTRIES and number % 3 and number != 4]
    assert [block.number for block in needed] == numbers
