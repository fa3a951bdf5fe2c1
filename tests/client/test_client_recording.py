"""Recordings of boots: what they have in common is the profile, whatever one of them did."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable

import pytest

from mirrornet.client.reading.batches import Needed, batched
from mirrornet.client.reading.recording import (
    FEWEST,
    KEPT,
    LONGEST,
    MOST,
    Recorder,
    Recording,
    Recordings,
    combined,
    merged,
)
from mirrornet.client.reading.replay import Likeness
from mirrornet.image.format.block import BlockRef, Codec
from mirrornet.image.format.index import Place
from mirrornet.image.format.profile import MAX_PROFILE, Profile

UNIT = 262144


def boot(blocks: list[int], *, at: float = 0.0, real: bool = True, pace: int = 10) -> Recording:
    return Recording(at, real, tuple((number, pace * place) for place, number in enumerate(blocks)))


def test_a_recorder_keeps_first_touches_in_order() -> None:
    recorder = Recorder(boot=True, count=8192)
    recorder.touched(0, 50.0)  # the mount's own read, long before
    for place, number in enumerate([7, 0, 7, 3, *range(100, 140)]):
        recorder.touched(number, 100.0 + place)
    recording = recorder.recording(at=5.0)
    assert recording is not None and recording.boot
    assert recording.touches[:4] == ((0, 0), (7, 0), (3, 3000), (100, 4000))


def test_a_recorder_ends_after_its_time_and_at_its_size() -> None:
    recorder = Recorder(boot=True, count=8192)
    for number in range(FEWEST - 1):
        recorder.touched(number, 10.0)
    assert recorder.recording(0.0) is None  # who touches so few has not booted
    recorder.touched(1000, 10.0 + LONGEST)
    assert not recorder.full and not recorder.over(10.0 + LONGEST) and recorder.over(10.1 + LONGEST)
    recorder.touched(1001, 10.1 + LONGEST)
    recording = recorder.recording(0.0)
    assert recorder.full and recording is not None and len(recording.touches) == FEWEST
    recorder = Recorder(boot=True, count=8192)
    for number in range(2 * MOST):
        recorder.touched(number, 0.0)
    assert recorder.full and len(recorder.blocks) == MOST


@pytest.mark.parametrize("boot", [True, False])
def test_a_copy_is_nobodys_boot(boot: bool) -> None:
    def taught(blocks: Iterable[int], count: int) -> bool:
        recorder = Recorder(boot, count)
        for number in blocks:
            recorder.touched(number, 1.0)
        return recorder.recording(0.0) is not None

    scattered = [37 * number % 1000 for number in range(400)]
    assert taught(scattered, 1000)
    assert taught(scattered, 700) is boot, "most of the image"
    assert taught(range(0, 900, 3), 10_000) is boot, "in order"


def test_the_majority_decides_and_the_median_orders() -> None:
    common = [5, 9, 2, 7, 4]
    orders = [[5, 9, 2, 7, 4], [9, 5, 2, 7, 99, 4], [5, 2, 9, 7, 4, 50]]
    profile = merged(UNIT, orders)
    assert profile is not None and set(profile.blocks) == set(common)
    assert profile.blocks == (5, 9, 2, 7, 4)
    assert merged(UNIT, [[1, 2], [3, 4]]) is None and merged(UNIT, []) is None
    assert merged(UNIT, [[3, 1, 3]]) == Profile(UNIT, (3, 1))


@pytest.mark.parametrize("boots", [1, 2, 4])
def test_one_boot_that_read_everything_changes_nothing(boots: int) -> None:
    blocks = random.Random(boots).sample(range(8192), 264)
    everything = boot(list(range(8192)))
    runs = (*(boot(blocks, at=float(number)) for number in range(boots)), everything)
    profile = Recordings(UNIT, runs).profile()
    assert profile is not None and set(profile.blocks) == set(blocks)
    if boots > 1:
        assert profile.blocks == tuple(blocks)


def test_boots_count_and_other_mounts_only_where_there_are_none() -> None:
    mounts = tuple(boot([1, 2, 3], at=float(number), real=False) for number in range(3))
    known = Recordings(UNIT, mounts)
    assert known.profile() == Profile(UNIT, (1, 2, 3))
    assert known.added(boot([8, 9], at=9.0)).profile() == Profile(UNIT, (8, 9))


def test_only_the_last_recordings_are_kept() -> None:
    known = Recordings(UNIT, ())
    for number in range(20):
        known = known.added(boot([number], at=float(number)))
    assert [run.at for run in known.runs] == [float(number) for number in range(20 - KEPT, 20)]
    again = known.added(boot([1, 2], at=19.0))
    assert len(again.runs) == KEPT and again.runs[-1].touches[1][0] == 2  # the same boot, told again


def test_recordings_survive_their_file() -> None:
    known = Recordings(UNIT, (boot([5, 1, 9], at=1.5), boot([2], at=2.5, real=False)))
    assert Recordings.parse(known.encode()) == known


GOOD = json.loads(Recordings(UNIT, (boot([5, 1], at=1.0),)).encode())


def changed(**fields: object) -> bytes:
    return json.dumps(GOOD | fields).encode()


def run(**fields: object) -> bytes:
    return changed(runs=[GOOD["runs"][0] | fields])


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b" " * (MAX_PROFILE + 1),
        changed(**{"mirrornet-recordings": 2}), changed(block_size=0), changed(block_size=True),
        changed(block_size=262145), changed(runs=None), changed(runs=[GOOD["runs"][0]] * (KEPT + 1)), changed(runs=[3]),
        run(at="now"), run(at=-1), run(at=1e12), run(at=10**400), run(at=float("nan")), run(at=float("inf")),
        run(boot=1), run(blocks=[1]), run(blocks=[1, -1]), run(blocks=[1, 1 << 60]), run(ms=[0, 0.5]),
        run(blocks=[1, True]), run(blocks={"a": 1}), run(blocks=list(range(MOST + 1)), ms=[0] * (MOST + 1)),
    ],
)  # fmt: skip
def test_garbage_is_refused_with_a_reason(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"it |its |one of|the blocks"):
        Recordings.parse(data)


def test_several_machines_and_block_sizes_make_one_profile() -> None:
    small = Recordings(65536, (boot([4, 5, 40]), boot([5, 40])))
    profile = combined([small, Profile(UNIT, (1, 77))], UNIT, 100)
    assert profile == Profile(UNIT, (1, 10))
    assert combined([Profile(UNIT, (500,))], UNIT, 100) is None


def test_blocks_in_a_row_of_a_pack_come_together() -> None:
    def needed(number: int, pack: int | None, offset: int, stored: int = 100_000) -> Needed:
        ref = BlockRef(number.to_bytes(32, "big"), stored, UNIT, Codec.ZLIB)
        return Needed(number, ref, None if pack is None else Place(pack, offset))

    row = [needed(number, 0, 100_000 * number) for number in range(40)]
    assert [len(batch.blocks) for batch in batched(row)] == [2] * 20  # up to 256 KiB each
    assert [len(batch.blocks) for batch in batched(row, 500_000)] == [5] * 8
    assert [block for batch in batched(row) for block in batch.blocks] == row
    gap = [*row[:2], *row[3:5], needed(9, 1, 500_000), needed(10, None, 0), needed(11, None, 0)]
    assert [len(batch.blocks) for batch in batched(gap)] == [2, 2, 1, 1, 1]
    assert [len(batch.blocks) for batch in batched([needed(1, 0, 0, 5 << 20), needed(2, 0, 5 << 20)])] == [1, 1]
    assert batched([]) == []


def test_only_what_looks_like_the_boot_starts_the_replay() -> None:
    profile = Profile(UNIT, tuple(range(1000, 1264)))
    for touched, starts in (
        (range(1000, 1040), True),
        ([0, 1, 2, *range(1000, 1020)], True),
        (range(40), False),
        ([0, *range(1000, 1010)], False),  # a file system that is looked at
        (range(900, 3000), False),  # somebody who reads everything
    ):
        started: list[int] = []
        likeness = Likeness(profile, lambda started=started: started.append(1))  # type: ignore[misc]
        for number in touched:
            likeness.touched(number)
        assert bool(started) == starts and len(started) <= 1, touched
