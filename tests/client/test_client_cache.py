"""The disk cache: kept over restarts, within its quota, silent about a disk that refuses."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from mirrornet.client.cache import RENEW, SUSPEND, Cache
from mirrornet.image.files import replacing
from mirrornet.image.format.block import BlockRef, Codec, block_path, open_block, pack_block

NOW = 1_800_000_000.0


def _block(seed: int, size: int = 65536) -> tuple[BlockRef, bytes]:
    return pack_block(random.Random(seed).randbytes(size), Codec.STORED, 0)


def _files(folder: Path) -> list[Path]:
    return [path for path in (folder / "blocks").rglob("*") if path.is_file()]


def _kept(folder: Path) -> int:
    return sum(path.stat().st_size for path in _files(folder))


def test_what_was_put_is_there_after_a_restart(tmp_path: Path) -> None:
    ref, stored = _block(1)
    assert Cache(tmp_path).get(ref, NOW) is None
    assert Cache(tmp_path).put(ref, stored, NOW)
    again = Cache(tmp_path)
    found = again.get(ref, NOW)
    assert found is not None and open_block(found, ref) == stored
    assert again.figures.hits == 1 and not again.figures.misses
    assert (tmp_path / block_path(ref.hash)).read_bytes() == stored


def test_the_quota_holds_and_the_least_recently_used_goes(tmp_path: Path) -> None:
    quota = 10 * 65536
    cache = Cache(tmp_path, quota)
    blocks = [_block(seed) for seed in range(30)]
    for at, (ref, stored) in enumerate(blocks):  # one every 99 seconds
        assert cache.put(ref, stored, NOW + 99 * at)
        assert cache.get(blocks[0][0], NOW + 99 * at + RENEW + 1) is not None, "what is used stays"
        assert _kept(tmp_path) <= quota
    assert cache.figures.evicted == 30 - len(_files(tmp_path)) == 20
    assert cache.get(blocks[-1][0], NOW) is not None and cache.get(blocks[3][0], NOW) is None


def test_a_block_larger_than_the_quota_is_not_kept(tmp_path: Path) -> None:
    ref, stored = _block(1)
    assert not Cache(tmp_path, 1000).put(ref, stored, NOW)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_refuses_is_told_once_and_tried_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected_warnings: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    expected_warnings.append("serving on without it")
    cache = Cache(tmp_path)

    @contextmanager
    def full(path: Path) -> Iterator[BinaryIO]:
        with replacing(path) as file:
            file.write(b"the first")
            file.flush()
            yield file
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("mirrornet.client.cache.replacing", full)
    for seed in range(5):
        assert not cache.put(*_block(seed), NOW)
    assert not cache.put(*_block(1), NOW + SUSPEND + 1)
    assert _files(tmp_path) == []
    assert cache.figures.refused == "No space left on device"
    monkeypatch.setattr("mirrornet.client.cache.replacing", replacing)
    assert not cache.put(*_block(1), NOW + SUSPEND + 2)
    assert cache.put(*_block(1), NOW + 3 * SUSPEND)
    assert cache.figures.refused == ""
    assert len([record for record in caplog.records if "refuses" in record.message]) == 1


def test_a_corrupt_entry_is_discarded_and_unfinished_files_are_swept(
    tmp_path: Path, expected_warnings: list[str]
) -> None:
    expected_warnings.append("held a corrupt block")
    cache = Cache(tmp_path)
    ref, stored = _block(1)
    cache.put(ref, stored, NOW)
    left = tmp_path / "blocks" / ref.hash.hex()[:2] / ".ab12.1-1"
    left.write_bytes(b"half")
    os.utime(left, (NOW - 7200, NOW - 7200))
    cache.discard(ref)
    assert cache.get(ref, NOW) is None and cache.figures.corrupt == 1
    cache.measure(NOW)
    assert not left.exists() and cache.figures.bytes == 0
