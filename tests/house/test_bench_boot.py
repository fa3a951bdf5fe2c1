"""What `make bench-boot` computes: a boot's reads out of a log, how they are done again, percentiles, tables."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench" / "boot"))

import figures
import goals
import reads
import recording
import replay
import tables

LOG = """\
2026-11-23 12:39:21.028810 Ready thread_model=3
2026-11-23 12:39:21.562238 connection=1 Connect export="" tls=0 size=0x80000000 write=0 flush=1
2026-11-23 12:39:21.594040 connection=1 Read id=1 offset=0x0 count=0x200 ...
2026-11-23 12:39:21.594284 connection=1 ...Read id=1 return=0
2026-11-23 12:39:26.000000 connection=1 Read id=3 offset=0x1000 count=0x1000 ...
2026-11-23 12:39:26.100000 connection=1 Read id=4 offset=0x7fff0000 count=0x40000 ...
2026-11-23 12:39:26.200000 connection=1 ...Read id=4 return=0
2026-11-23 12:39:26.300000 connection=1 ...Read id=3 return=0
2026-11-23 12:39:27.300000 connection=1 Read id=5 offset=0x2000 count=0x1000 ...
2026-11-23 12:39:27.300001 connection=1 ...Read id=5 return=0
2026-11-23 12:39:28.000000 connection=1 Read id=6 offset=0x9000 count=0x1000 ...
2026-11-23 12:39:29.000000 connection=1 Read id=7 offset=0x0 count=0x1000 ...
2026-11-23 12:39:29.100000 connection=1 ...Read id=7 return=0 error=EIO
"""


def test_reads_of_a_log_and_what_they_waited_for() -> None:
    found = recording.parse_log(LOG.splitlines())
    assert [(read.offset, read.size) for read in found] == [
        (0x1000, 0x1000),
        (0x7FFF0000, 0x40000),
        (0x2000, 0x1000),
        (0, 0x1000),
    ]  # without qemu's look at the format, and without the read that never ended
    assert found[0].ended - found[0].begun == pytest.approx(0.3)
    steps = recording.steps(found)
    assert [step.after for step in steps] == [-1, -1, 0, 2]
    assert [step.think for step in steps] == pytest.approx([0, 0.1, 1.0, 1.7], abs=1e-4)
    assert recording.parse_log(LOG.splitlines(), until=found[2].begun) == found[:2]


def test_steps_are_kept_as_they_are_and_others_refused() -> None:
    steps = recording.steps(recording.parse_log(LOG.splitlines()))
    assert recording.decode(recording.encode(steps)) == steps
    for wrong in (
        "[1]",
        '[{"offset": 1}]',
        '[{"offset":0,"size":1,"after":0,"think":0}]',
        '[{"offset":0,"size":0,"after":-1,"think":0}]',
    ):
        with pytest.raises(ValueError):
            recording.decode(wrong)


def test_blocks_in_the_order_of_their_first_touch() -> None:
    steps = recording.steps(recording.parse_log(LOG.splitlines()))
    assert recording.touched(steps, 0x40000) == [0, 0x1FFF, 0x2000]


def test_a_replay_keeps_the_order_and_finds_wrong_bytes(tmp_path: Path) -> None:
    data = random.Random(3).randbytes(1 << 20)
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_bytes(data)
    wrong.write_bytes(data[:70_000] + b"\0" + data[70_001:])
    steps = [recording.Step(number * 4096, 8192, (-1, 0, 0, 1)[number % 4] if number < 4 else number - 1, 0.001)
             for number in range(40)]  # fmt: skip
    done = replay.replay(right, steps, 1, right)
    assert (done.reads, done.wrong) == (40, 0) and done.seconds >= 0.038 >= done.waited >= 0
    assert replay.replay(wrong, steps, 0, right).wrong == 2
    with pytest.raises(OSError):
        replay.replay(tmp_path, steps, 0)


def test_percentiles_by_nearest_rank() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert [figures.percentile(values, share) for share in (0, 0.5, 0.95, 0.99, 1)] == [1, 50, 95, 99, 100]
    assert figures.percentile([7.0], 0.5) == 7
    with pytest.raises(ValueError):
        figures.percentile([], 0.5)


def test_a_table_is_aligned_and_whole() -> None:
    text = figures.table(["boot", "s"], [["local file", "16.7"], ["rclone", "7"]])
    assert text.splitlines()[1] == "|------------|-----:|" and len({len(line) for line in text.splitlines()}) == 1
    assert text.splitlines()[3] == "| rclone     |    7 |"
    with pytest.raises(ValueError):
        figures.table(["one"], [["two", "cells"]])


def _boot(who: str, seconds: float, again: bool = False, received: int = 20_000_000) -> dict[str, Any]:
    rest = {"received": received, "requests": 9, "cpu": 1.5, "start": 0.5}
    return {"who": who, "what": "boot", "again": again, "seconds": seconds, "local": 16.0, **rest}


def _replay(who: str, think: float, seconds: float, again: bool = False) -> dict[str, Any]:
    rest = {"longest": 0.05, "received": 20_000_000, "requests": 9, "cpu": 1.0}
    return {"who": who, "what": "replay", "think": think, "again": again, "seconds": seconds, **rest}


def test_records_become_tables() -> None:
    records = [_boot("ours", 17.6), _boot("ours", 16.8, again=True), _boot("rclone", 48.0), _boot("ours", 16.0),
               _boot("ours", 20.8), _replay("ours", 0.0, 1.25), _replay("ours", 1.0, 13.0),
               _replay("ours", 0.0, 0.5, again=True)]  # fmt: skip
    assert [line.split("|")[1:-1] for line in tables.boots(records).replace(" ", "").splitlines()[2:]] == [
        ["localfile", "", "16.0", "", "", "", "", "", ""],
        ["ours", "0.5", "17.6", "1.10", "1.6", "20.0", "9", "1.5", "1.05"],
        ["rclone", "0.5", "48.0", "3.00", "32.0", "20.0", "9", "1.5", ""],
    ]
    text = tables.replays(records).replace(" ", "")
    assert text.splitlines()[0].startswith("|replay|s,think|longest|s,none|longest|MB|")
    assert text.splitlines()[2] == "|ours|13.00|0.050|1.25|0.050|20.0|9|1.0|0.50|" and "rclone" not in text
    order = {"who": "ours", "what": "order", "seconds": 3.0, "received": 60_000_000}
    took = [0.05] * 57 + [0.1, 0.11, 0.2]
    at_random = {"who": "ours", "what": "random", "took": took, "received": 60 * 80_000}
    cells = tables.reads([order, at_random]).replace(" ", "").splitlines()[2].split("|")[1:-1]
    assert cells == ["ours", "21.3", "160.0", "50.0", "50.0", "200.0", "80"]


def test_goals_are_met_or_not() -> None:
    order = {"who": "plain", "what": "order", "seconds": 3.0, "received": 60_000_000}
    at_random = {"who": "plain", "what": "random", "took": [0.05, 0.06, 0.07], "received": 3 * 100_000}
    records = [_boot("profiled", 17.0), _replay("profiled", 0.0, 1.3), order, at_random]
    found = {goal.name: goal for goal in goals.of_tables(records, "plain", "profiled", 40, 200)}
    assert not found["boot without think time, last byte"].met
    assert found["boot without think time, last byte"].limit == pytest.approx(1.25 * 0.8 + 0.2)
    assert found["cold boot with a profile, beside local"].met and found["  received"].measured == 20
    assert found["64 MB in order, share of the link"].measured == pytest.approx(80)
    assert not found["64 MB in order, share of the link"].met
    assert found["random 4 KiB, p50"].limit == pytest.approx(52 + 4) and not found["random 4 KiB, p50"].met
    assert [line.split("|")[4].strip() for line in goals.told(list(found.values())).splitlines()[2:4]] == ["met", "met"]


def test_places_are_where_the_image_has_something() -> None:
    wide = reads.STRETCH // reads.BLOCK
    full = [*range(5), *range(100, 100 + wide), *range(1000, 1100)]
    where = reads.places(full, 60, random.Random(1))
    assert where.start == 100 * reads.BLOCK
    numbers = {offset // reads.BLOCK for offset in where.offsets}
    assert len(numbers) == 60 and numbers <= set(full) - set(range(100, 100 + wide))
    assert all(offset % 4096 == 0 for offset in where.offsets)
    with pytest.raises(ValueError, match="in a row"):
        reads.places(full[5 : wide - 1], 1, random.Random(1))
