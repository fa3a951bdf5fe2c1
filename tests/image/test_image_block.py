"""A block: there and back, and everything that must not come back."""

from __future__ import annotations

import hashlib
import zlib

import pytest
import zstandard
from contents import some_bytes

from mirrornet.image.format.block import BlockRef, Codec, block_path, check_level, open_block, pack_block, stored_limit
from mirrornet.model.errors import InputError, Untrusted

SIZE = 65536


def named(stored: bytes, codec: Codec, size: int = SIZE) -> BlockRef:
    return BlockRef(hashlib.sha256(stored).digest(), len(stored), size, codec)


@pytest.mark.parametrize(
    ("codec", "level"),
    [(Codec.STORED, 0), *((Codec.ZLIB, level) for level in (1, 2, 3, 4, 6, 9)), (Codec.ZSTD, 1), (Codec.ZSTD, 19)],
)
def test_there_and_back(codec: Codec, level: int) -> None:
    raw = some_bytes(SIZE)
    ref, stored = pack_block(raw, codec, level)
    assert ref == named(stored, codec)
    assert open_block(stored, ref) == raw
    if codec is Codec.ZLIB:
        assert zlib.decompress(stored) == raw


def test_level_9_is_plain_zlib() -> None:
    assert pack_block(some_bytes(SIZE), Codec.ZLIB, 9)[1] == zlib.compress(some_bytes(SIZE), 9)


def test_what_does_not_shrink() -> None:
    raw = b"".join(hashlib.sha256(bytes([n % 256, n // 256])).digest() for n in range(SIZE // 32))
    for level in (1, 3, 6):
        ref, stored = pack_block(raw, Codec.ZLIB, level)
        assert ref.codec is Codec.ZLIB and SIZE < ref.stored <= stored_limit(SIZE)
        assert open_block(stored, ref) == raw
    assert pack_block(raw, Codec.ZSTD, 9)[0].codec is Codec.STORED


def test_path() -> None:
    assert block_path(bytes([0xAB, *range(31)])).startswith("blocks/ab/ab0001")


def test_truncated_and_corrupted_blocks() -> None:
    ref, stored = pack_block(some_bytes(SIZE), Codec.ZLIB, 6)
    with pytest.raises(Untrusted, match="ask another mirror"):
        open_block(stored[:-1], ref)
    with pytest.raises(Untrusted, match="ask another mirror"):
        open_block(b"", ref)
    for at in (0, len(stored) // 2, len(stored) - 1):
        changed = bytearray(stored)
        changed[at] ^= 1
        with pytest.raises(Untrusted, match="do not match their name"):
            open_block(bytes(changed), ref)


def test_swapped_block() -> None:
    ref, stored = pack_block(some_bytes(SIZE), Codec.STORED, 0)
    _, other = pack_block(some_bytes(SIZE, 7), Codec.STORED, 0)
    assert len(stored) == len(other)
    with pytest.raises(Untrusted):
        open_block(other, ref)


def bomb(size: int) -> bytes:
    return zlib.compress(bytes(size), 9)


@pytest.mark.parametrize(
    ("stored", "codec"),
    [
        (bomb(1 << 28), Codec.ZLIB),
        (bomb(SIZE + 1), Codec.ZLIB),
        (bomb(SIZE - 1), Codec.ZLIB),
        (bomb(SIZE) + b"x", Codec.ZLIB),
        (bomb(SIZE)[:-4], Codec.ZLIB),
        (bomb(SIZE)[:-1] + b"\0", Codec.ZLIB),
        (b"", Codec.ZLIB),
        (b"<html>", Codec.ZLIB),
        (zstandard.ZstdCompressor().compress(bytes(1 << 28)), Codec.ZSTD),
        (zstandard.ZstdCompressor(write_content_size=False).compress(bytes(SIZE)), Codec.ZSTD),
        (zstandard.ZstdCompressor().compress(bytes(SIZE)) + b"x", Codec.ZSTD),
        (zstandard.ZstdCompressor().compress(bytes(SIZE))[:-1], Codec.ZSTD),
        (zstandard.ZstdCompressor().compress(bytes(SIZE - 1)), Codec.ZSTD),
        (b"\x28\xb5\x2f\xfd", Codec.ZSTD),
        (bytes(SIZE - 1), Codec.STORED),
        (bytes(SIZE + 1), Codec.STORED),
    ],
)
def test_bombs(stored: bytes, codec: Codec) -> None:
    """Rightly named, wrongly made: the publisher's fault, and still nothing but the promised size comes out."""
    with pytest.raises(Untrusted, match="publisher"):
        open_block(stored, named(stored, codec))


def test_a_bomb_costs_no_memory() -> None:
    import tracemalloc

    stored = bomb(1 << 28)
    tracemalloc.start()
    with pytest.raises(Untrusted):
        open_block(stored, named(stored, Codec.ZLIB))
    assert tracemalloc.get_traced_memory()[1] < 2 << 20
    tracemalloc.stop()


def test_levels() -> None:
    assert check_level(Codec.ZLIB, None) == 5
    for codec, level in ((Codec.ZLIB, 0), (Codec.ZLIB, 10), (Codec.ZSTD, 20), (Codec.STORED, 1)):
        with pytest.raises(InputError, match="has levels"):
            check_level(codec, level)
