"""Whatever bytes come in: a value or Untrusted.  Whatever value goes out comes back."""

from __future__ import annotations

import contextlib
import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from mirrornet.image.format.block import BlockRef, Codec, inflate, open_block, pack_block
from mirrornet.image.format.index import PREAMBLE, Head, Pack, Page, Place, page_of, summed, zero_stream
from mirrornet.image.trust.verify import check_timestamp, open_root
from mirrornet.image.trust.versions import from_target
from mirrornet.model.errors import Untrusted

SIZE = 65536
ZERO = {codec: zero_stream(codec, 9, SIZE) for codec in Codec}


@st.composite
def rows(draw: st.DrawFn, codec: Codec) -> BlockRef | None:
    if draw(st.booleans()):
        return None
    used = draw(st.sampled_from([Codec.ZSTD, Codec.STORED])) if codec is Codec.ZSTD else codec
    stored = SIZE if used is Codec.STORED else draw(st.integers(1, SIZE))
    return BlockRef(draw(st.binary(min_size=32, max_size=32).filter(any)), stored, SIZE, used)


@st.composite
def indexes(draw: st.DrawFn) -> tuple[Head, list[Page]]:
    """A head and its pages that agree."""
    codec = draw(st.sampled_from(list(Codec)))
    count = draw(st.integers(1, 150))
    some = draw(st.lists(rows(codec), min_size=1, max_size=8))
    refs = [some[n % len(some)] for n in range(count)]
    packs = tuple(
        draw(
            st.lists(st.builds(Pack, st.binary(min_size=32, max_size=32), st.just(1 << 20), st.booleans()), max_size=3)
        )
    )
    pages = []
    for at in range(0, count, 64):
        part = refs[at : at + 64]
        places = [Place(n % len(packs), 7 * n) if packs and ref and n % 2 else None for n, ref in enumerate(part)]
        pages.append(Page(tuple(part), tuple(places)))
    sums = [summed(page.refs, len(ZERO[codec])) for page in pages]
    head = Head(
        size=count * SIZE - draw(st.integers(0, SIZE - 1)),
        block_size=SIZE,
        stored=draw(st.integers(0, sum(sums))),
        body=sum(sums),
        codec=codec,
        level=draw(st.integers(0, 255)),
        page_entries=64,
        pages=tuple(pack_block(page.encode(), Codec.ZLIB, 6)[0] for page in pages),
        before=tuple(sum(sums[:n]) for n in range(len(sums))),
        preamble=PREAMBLE if codec is Codec.ZLIB else b"",
        zero_stream=ZERO[codec],
        packs=packs,
    )
    return head, pages


@given(indexes())
@settings(max_examples=100, deadline=None)
def test_encode_then_parse_is_identity(index: tuple[Head, list[Page]]) -> None:
    head, pages = index
    assert Head.parse(head.encode()) == head
    for number, page in enumerate(pages):
        assert Page.parse(page.encode(), head, number) == page


@given(indexes(), st.data())
@settings(max_examples=150, deadline=None)
def test_changed_bytes_are_refused_or_are_another_sound_index(
    index: tuple[Head, list[Page]], data: st.DataObject
) -> None:
    """What parses, encodes to the same bytes: there is one way to write an index, and no bit is ignored."""
    head, pages = index
    original = head.encode()
    for whole in (original, pages[0].encode()):
        changed = bytearray(whole)
        for _ in range(data.draw(st.integers(1, 4))):
            changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
        with contextlib.suppress(Untrusted):
            if whole is original:
                parsed = Head.parse(bytes(changed))
                assert parsed.encode() == changed
                assert parsed.locate(parsed.block_count - 1)[0] == len(parsed.pages) - 1
            else:
                assert Page.parse(bytes(changed), head, 0).encode() == changed


@given(
    st.binary(max_size=400)
    | st.binary(max_size=400).map(lambda tail: b"MNINDEX1" + struct.pack("<I", 12 + len(tail)) + tail)
)
@settings(max_examples=200, deadline=None)
def test_any_bytes(data: bytes) -> None:
    head, _ = _one()
    for attempt in (
        lambda: Head.parse(data),
        lambda: Page.parse(data, head, 0),
        lambda: open_root(data),
        lambda: check_timestamp(data, data, 0.0),
    ):
        with contextlib.suppress(Untrusted):
            attempt()


def _one() -> tuple[Head, Page]:
    page = page_of([BlockRef(b"h" * 32, 10, SIZE, Codec.ZSTD)])
    ref = pack_block(page.encode(), Codec.ZLIB, 6)[0]
    return Head(SIZE, SIZE, 10, 10, Codec.ZSTD, 9, 64, (ref,), (0,)), page


@given(st.binary(max_size=3000), st.sampled_from(list(Codec)), st.integers(0, 3000))
@settings(max_examples=200, deadline=None)
def test_inflating_gives_the_promised_size_or_nothing(data: bytes, codec: Codec, size: int) -> None:
    for stored in (data, pack_block(data, codec, 1)[1]):
        with contextlib.suppress(ValueError):
            assert len(inflate(stored, codec, size)) == size


@given(
    st.binary(min_size=1, max_size=5000),
    st.sampled_from([(Codec.STORED, 0), (Codec.ZLIB, 1), (Codec.ZLIB, 6), (Codec.ZSTD, 3)]),
)
@settings(max_examples=200, deadline=None)
def test_blocks_come_back(raw: bytes, how: tuple[Codec, int]) -> None:
    ref, stored = pack_block(raw, *how)
    assert open_block(stored, ref) == raw


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["zlib", "zstd"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["mirrornet", "version", "size", "stored", "codec", "created", "rollback_of"]), inner
        )
    ),
    max_leaves=10,
)


@given(
    JSON,
    st.sampled_from(["demo/1/index", "demo/01/index", "x/1/index", "demo/1/profile"]),
    st.integers(),
    st.text(max_size=3),
)
@settings(max_examples=200, deadline=None)
def test_any_custom_fields(custom: object, path: str, length: int, digest: str) -> None:
    for hashes in ({"sha256": "ab" * 32}, {"sha256": digest}, {}):
        with contextlib.suppress(Untrusted):
            image = from_target(path, length, hashes, custom, "demo")
            assert image is None or (image.version, image.name) == (1, "demo")
