"""What survives a restart, and how much of it is believed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mirrornet.health.probes.memory import Memory, decode, encode, load, recall, save
from mirrornet.health.rule.outcome import Kind, Outcome, Sample
from mirrornet.health.rule.state import Track, step
from mirrornet.health.rule.table import Level
from mirrornet.model.verdict import State
from mirrornet.model.zone import HealthSettings

SETTINGS = HealthSettings(interval=10, up=3, ok=2, down=3)
UP = step(step(Track(), Outcome(Kind.OK, 90), SETTINGS), Outcome(Kind.FAILED, 100, "no answer"), SETTINGS)
CORRUPT = step(Track(), Outcome(Kind.CORRUPT, 100, "bad block"), SETTINGS)
MEMORY = Memory(100.0, {"a": UP, "b": CORRUPT}, {7: 50.0})


def test_a_short_pause_changes_nothing(tmp_path: Path) -> None:
    save(tmp_path / "new" / "health.json", MEMORY)
    assert load(tmp_path / "new" / "health.json", 130.0, SETTINGS) == MEMORY
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["health.json"]


@pytest.mark.parametrize("now", [131.0, 99.0, 1e9])
def test_after_a_long_one_the_first_probe_decides_again_but_not_over_the_corrupt(now: float) -> None:
    known = recall(MEMORY, now, SETTINGS)
    assert known.sightings == MEMORY.sightings
    down = step(known.tracks["a"], Outcome(Kind.FAILED, now), SETTINGS)
    assert (known.tracks["a"].meter.level, down.state) == (Level.UNKNOWN, State.DOWN)
    good = step(known.tracks["b"], Outcome(Kind.OK, now), SETTINGS)
    assert good.state is State.CORRUPT


def test_an_older_file_is_read_and_makes_nobody_honest() -> None:
    old = json.loads(encode(MEMORY))
    old["version"] = 1
    for track in old["tracks"].values():
        for name in ("flaps", "families", "quick", "pace", "audited", "wary", "lag", "certificate_until", "back"):
            del track[name]
        del track["within"]
        track["suspects"] = [["debian", "01" * 32, 10]]
    known = decode(json.dumps(old).encode())
    assert (known.tracks["b"].state, known.sightings) == (State.CORRUPT, MEMORY.sightings)
    assert known.tracks["b"].suspects == (Sample("debian", b"\1" * 32, 10),)


def test_what_is_owed_for_flapping_is_forgotten_by_time_alone() -> None:
    track = Track()
    for number, letter in enumerate("+---+++---+++---+++---+++"):
        track = step(track, Outcome(Kind.OK if letter == "+" else Kind.FAILED, 10.0 * number), SETTINGS)
    memory = recall(Memory(track.at, {"a": track}), track.at + 200, SETTINGS)
    assert step(memory.tracks["a"], Outcome(Kind.OK, track.at + 200), SETTINGS).meter.level is Level.GATE
    late = recall(memory, track.at + 7200, SETTINGS)
    assert step(late.tracks["a"], Outcome(Kind.OK, track.at + 7200), SETTINGS).meter.level is Level.IN


def test_no_memory_is_no_warning(tmp_path: Path) -> None:
    assert load(tmp_path / "absent.json", 1.0, SETTINGS) == Memory()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"version": 99}',
        encode(MEMORY)[:-40],
        encode(MEMORY).replace(b'"corrupt"', b'"chipper"'),
        encode(MEMORY).replace(b'"flips": 0', b'"flips": "many"'),
        encode(MEMORY).replace(b'"in"', b"7"),
        encode(MEMORY).replace(b'"repository_version": null', b'"repository_version": 1e999'),
        b"[" * 100_000,
    ],
)
def test_a_damaged_memory_is_a_warning_and_a_fresh_start(
    tmp_path: Path, data: bytes, expected_warnings: list[str]
) -> None:
    expected_warnings.append("is ignored, every mirror is judged anew")
    path = tmp_path / "health.json"
    path.write_bytes(data)
    assert load(path, 100.0, SETTINGS) == Memory()


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    target = tmp_path / "health.json"
    target.mkdir()
    with pytest.raises(OSError):
        save(target, replace(MEMORY, at=1.0))
    assert list(tmp_path.iterdir()) == [target]
