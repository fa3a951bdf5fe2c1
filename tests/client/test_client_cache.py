"""The disk cache: kept over restarts, within its quota, silent about a disk that refuses."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from mirrornet.client.cache.pins import Kind, Subject
from mirrornet.client.cache.store import RENEW, SUSPEND, Cache
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

    monkeypatch.setattr("mirrornet.client.cache.store.replacing", full)
    for seed in range(5):
        assert not cache.put(*_block(seed), NOW)
    assert not cache.put(*_block(1), NOW + SUSPEND + 1)
    assert _files(tmp_path) == []
    assert cache.figures.refused == "No space left on device"
    monkeypatch.setattr("mirrornet.client.cache.store.replacing", replacing)
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


def _fill(cache: Cache, seeds: range, now: float) -> None:
    for seed in seeds:
        assert cache.put(*_block(seed), now + seed), cache.figures.refused


def test_the_quota_is_the_folders(tmp_path: Path) -> None:
    first = Cache(tmp_path, 10 * 65536)
    _fill(first, range(10), NOW)
    second = Cache(tmp_path)  # says nothing of a quota
    _fill(second, range(10, 15), NOW)
    assert _kept(tmp_path) == 10 * 65536 == second.figures.quota
    third = Cache(tmp_path, 4 * 65536)  # less, from now on and for all
    third.measure(NOW)
    assert _kept(tmp_path) == 4 * 65536
    _fill(first, range(20, 30), NOW)
    assert _kept(tmp_path) == 4 * 65536 == first.figures.quota


def test_who_leaves_is_found_by_one_look_at_all_files_in_thousands(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 50 * 65536)
    _fill(cache, range(50), NOW)
    scans = cache.figures.scans
    _fill(cache, range(50, 99), NOW)
    assert cache.figures.scans == scans + 1 and cache.figures.evicted == 49


def test_a_cache_full_of_pins_is_not_looked_through_for_each_block(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 5 * 65536)
    pinned = [_block(seed)[0] for seed in range(5)]
    cache.pins.keep(Subject("0" * 64, "demo", 1), Kind.HAND, pinned, NOW)
    _fill(cache, range(5), NOW)
    scans = cache.figures.scans
    for seed in range(10, 30):
        assert not cache.put(*_block(seed), NOW + 10)
    assert cache.figures.scans == scans + 1 and "is pinned" in cache.figures.refused
    cache.pins.remove(cache.pins.listed()[0])  # at once, not a minute later
    assert cache.put(*_block(30), NOW + 11) and cache.figures.refused == ""


def test_a_clock_that_is_set_back_ends_no_cache(tmp_path: Path, expected_warnings: list[str]) -> None:
    expected_warnings.append("serving on without it")
    (tmp_path / "cache").write_text("")
    cache = Cache(tmp_path / "cache")
    assert not cache.put(*_block(1), NOW + 1e8)
    (tmp_path / "cache").unlink()
    assert cache.put(*_block(1), NOW)


def test_files_of_the_future_leave_first_and_a_hit_mends_them(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 4 * 65536)
    _fill(cache, range(4), NOW + 1e9)  # under a wrong clock
    used, _ = _block(3)
    assert cache.get(used, NOW) is not None
    _fill(Cache(tmp_path), range(10, 13), NOW)
    assert cache.get(used, NOW) is not None and all(cache.get(_block(seed)[0], NOW) is None for seed in range(3))


@pytest.mark.parametrize("line", [b"", b"x" * 500, b"-1 -1 -1\n", b"9" * 60, b"1 2\n", b"\xff\x00", b"0 0 0\n"])
def test_an_account_that_is_garbage_is_counted_again(tmp_path: Path, line: bytes) -> None:
    quota = 5 * 65536
    _fill(Cache(tmp_path, quota), range(5), NOW)
    (tmp_path / "usage").write_bytes(line)
    _fill(Cache(tmp_path, quota), range(5, 9), NOW)
    assert _kept(tmp_path) == quota
    assert (tmp_path / "usage").read_bytes().split()[:2] == [b"%020d" % quota, b"%020d" % quota]


def test_an_account_that_is_too_low_is_put_right_by_the_next_count(tmp_path: Path) -> None:
    quota = 5 * 65536
    cache = Cache(tmp_path, quota)
    _fill(cache, range(5), NOW)
    for seed in range(5, 20):  # a stranger copies blocks in
        ref, stored = _block(seed)
        (tmp_path / ref.path).parent.mkdir(exist_ok=True)
        (tmp_path / ref.path).write_bytes(stored)
    assert _kept(tmp_path) == 4 * quota
    again = Cache(tmp_path)
    again.measure(NOW)
    assert _kept(tmp_path) <= quota and again.figures.bytes == _kept(tmp_path)


def test_a_cache_that_somebody_removed_begins_anew(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    cache = Cache(folder, 5 * 65536)
    _fill(cache, range(5), NOW)
    shutil.rmtree(folder)
    _fill(cache, range(5, 12), NOW)
    assert _kept(folder) == 5 * 65536


@pytest.mark.parametrize(
    ("broken", "code", "told"),
    [
        ("mirrornet.client.cache.ledger.fcntl.flock", 95, "Operation not supported"),
        ("mirrornet.image.files.Path.rename", 18, "Invalid cross-device link"),
        ("mirrornet.client.cache.store.os.ftruncate", 30, "Read-only file system"),
        ("mirrornet.client.cache.ledger.os.open", 24, "Too many open files"),
    ],
)
def test_a_file_system_that_cannot_is_served_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected_warnings: list[str], broken: str, code: int, told: str
) -> None:
    expected_warnings.append("serving on without it")

    def fails(*arguments: object, **named: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(broken, fails)
    cache = Cache(tmp_path / "cache")
    assert not cache.put(*_block(1), NOW) and cache.figures.refused == told
    cache.measure(NOW)
    assert cache.get(_block(1)[0], NOW) is None
    monkeypatch.undo()
    assert cache.put(*_block(1), NOW + 2 * SUSPEND) and cache.figures.refused == ""
    cache.measure(NOW)
    assert cache.figures.bytes == 65536, "what was booked and not written was given back"


def test_a_folder_that_is_a_file(tmp_path: Path, expected_warnings: list[str]) -> None:
    expected_warnings.append("serving on without it")
    (tmp_path / "cache").write_text("")
    cache = Cache(tmp_path / "cache")
    cache.measure(NOW)
    assert not cache.put(*_block(1), NOW) and cache.figures.refused == "Not a directory"
    assert cache.get(_block(1)[0], NOW) is None and not cache.has(_block(1)[0])


def test_a_link_in_a_cache_leads_nowhere(tmp_path: Path, expected_warnings: list[str]) -> None:
    """The owner of a cache that root uses could else have root write where he may not."""
    expected_warnings.append("serving on without it")
    ref, stored = _block(1)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "cache" / "blocks").mkdir(parents=True)
    (tmp_path / "cache" / "blocks" / ref.hash.hex()[:2]).symlink_to(tmp_path / "elsewhere")
    cache = Cache(tmp_path / "cache")
    assert not cache.put(ref, stored, NOW) and list((tmp_path / "elsewhere").iterdir()) == []


def test_somebody_who_holds_the_account_and_does_not_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected_warnings: list[str]
) -> None:
    expected_warnings.append("serving on without it")
    monkeypatch.setattr("mirrornet.client.cache.ledger.PATIENCE", 0.05)
    cache = Cache(tmp_path)
    _fill(cache, range(2), NOW)
    with (tmp_path / "usage").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert not cache.put(*_block(5), NOW)
        assert "does not let go" in cache.figures.refused
        assert cache.get(_block(1)[0], NOW) is not None
    assert cache.put(*_block(5), NOW + 2 * SUSPEND)
