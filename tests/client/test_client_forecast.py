"""What a newer version costs, from two indexes."""

from __future__ import annotations

import hashlib

import pytest

from mirrornet.client.reading.forecast import changed, news, published_cost, rows, seconds
from mirrornet.image.format.block import BlockRef, Codec
from mirrornet.image.format.index import Head, page_of
from mirrornet.image.trust.versions import ImageVersion


def ref(seed: int, stored: int = 1000) -> BlockRef:
    return BlockRef(hashlib.sha256(bytes([seed])).digest(), stored, 262144, Codec.ZLIB)


def head(*pages: int) -> Head:
    refs = tuple(ref(seed) for seed in pages)
    return Head(len(pages) << 28, 262144, 0, 0, Codec.ZLIB, 5, 1024, refs, (0,) * len(pages))


def version(number: int, new: int | None) -> ImageVersion:
    return ImageVersion("demo", number, 1, 1, "zlib", "", None, "", b"", 1, new=new)


def test_only_pages_that_differ_are_looked_at() -> None:
    assert changed(head(1, 2, 3), head(1, 4, 3, 5)) == ([1], [1, 3])
    assert changed(head(1, 2), head(1, 2)) == ([], [])
    assert changed(head(1, 2), head(2, 1)) == ([], []), "pages that only moved are there"


def test_news_are_the_blocks_that_nobody_had_each_once() -> None:
    old = [page_of([ref(1), None, ref(2)])]
    new = [page_of([ref(3), None, ref(1)]), page_of([ref(3), ref(4), ref(2)])]
    assert [row.ref for row in news(old, new)] == [ref(3), ref(4)]
    assert [row.ref for row in rows(new)] == [ref(3), ref(1), ref(4), ref(2)]
    assert all(row.place is None for row in rows(new))


@pytest.mark.parametrize(
    ("told", "cost"), [((10, 20, 30), 50), ((10, None, 30), None), ((None, 20, 30), 50), ((10, 20, 0), 20)]
)
def test_the_publishers_own_figure(told: tuple[int | None, ...], cost: int | None) -> None:
    versions = [version(number, new) for number, new in enumerate(told, 1)]
    assert published_cost(versions, 1, 3) == cost
    assert published_cost(versions, 3, 3) is None


def test_the_time_is_the_best_mirrors() -> None:
    assert seconds(1_000_000, [(0.1, 1_000_000.0), (0.01, 500_000.0), (None, None), (0.1, None)]) == pytest.approx(1.2)
    assert seconds(1, []) is None and seconds(1, [(None, 5.0)]) is None
