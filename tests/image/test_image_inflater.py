"""zlib streams are opened alike by libdeflate, ISA-L and zlib: the same bytes, and the same refusals."""

from __future__ import annotations

import threading
import zlib

import pytest
from contents import some_bytes
from hypothesis import given
from hypothesis import strategies as st

from mirrornet.image.format import block
from mirrornet.image.format.block import Codec, inflate
from mirrornet.image.format.inflater import Inflater, inflater

SIZE = 65536
STREAM = zlib.compress(some_bytes(SIZE), 6)


@pytest.fixture(params=["libdeflate", "isal", "zlib"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param != "libdeflate":
        monkeypatch.setattr(block, "inflater", lambda: None)
    else:
        assert inflater() is not None
    if request.param == "zlib":
        monkeypatch.setattr(block, "_fast", None)
    else:
        assert block._fast is not None
    return str(request.param)


def test_exactly_the_bytes(library: str) -> None:
    assert inflate(STREAM, Codec.ZLIB, SIZE) == some_bytes(SIZE)


@pytest.mark.parametrize(
    ("stored", "size", "told"),
    [
        (STREAM, SIZE - 1, "more"),
        (STREAM, SIZE + 1, "fewer"),
        (STREAM + b"x", SIZE, "bytes follow"),
        (STREAM[:-1], SIZE, None),
        (STREAM[:100], SIZE, None),
        (b"", SIZE, None),
        (b"nothing of the kind", SIZE, None),
        (STREAM[:-1] + bytes([STREAM[-1] ^ 1]), SIZE, None),
        (zlib.compress(bytes(1 << 26), 9), SIZE, "more"),
    ],
)
def test_refusals(library: str, stored: bytes, size: int, told: str | None) -> None:
    with pytest.raises(ValueError, match=told):
        inflate(stored, Codec.ZLIB, size)


def made() -> Inflater:
    found = inflater()
    assert found is not None
    return found


@given(st.binary(min_size=1, max_size=5000), st.integers(1, 9))
def test_whatever_zlib_makes(raw: bytes, level: int) -> None:
    assert made().inflate(zlib.compress(raw, level), len(raw)) == raw


@given(st.binary(max_size=300), st.integers(1, 400))
def test_no_bytes_crash_it(stored: bytes, size: int) -> None:
    try:
        expected = zlib.decompress(stored)
    except zlib.error:
        expected = b""
    if expected and len(expected) == size:
        assert made().inflate(stored, size) == expected
    else:
        with pytest.raises(ValueError):
            made().inflate(stored, size)


def test_many_threads() -> None:
    streams = {level: zlib.compress(some_bytes(SIZE, level), 6) for level in range(4)}
    wrong: list[int] = []

    def work(seed: int) -> None:
        for _ in range(50):
            if made().inflate(streams[seed], SIZE) != some_bytes(SIZE, seed):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in streams]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
