"""Pins as files: whose they are, how long they last, how much they may hold."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mirrornet.client.cache.pins import SOFT_SHARE, Kind, Pins, Subject, size_of
from mirrornet.image.format.block import BlockRef, Codec

NOW = 1_800_000_000.0
UNIT = 65536


def refs(seed: int, count: int) -> list[BlockRef]:
    dice = random.Random(seed)
    return [BlockRef(dice.randbytes(32), UNIT, UNIT, Codec.STORED) for _ in range(count)]


def subject(version: int, image: str = "demo", repository: str = "a") -> Subject:
    return Subject(repository * 64, image, version)


def prefixes(blocks: list[BlockRef]) -> set[int]:
    return {int.from_bytes(ref.hash[:8], "big") for ref in blocks}


def test_what_a_person_pins_stays_each_version_for_itself(tmp_path: Path) -> None:
    pins = Pins(tmp_path)
    assert pins.listed() == [] and pins.pinned(1) == set() and pins.stamp() == 0
    one, two = refs(1, 3), refs(2, 4)
    pins.keep(subject(1), Kind.HAND, one, NOW)
    before = pins.stamp()
    os.utime(tmp_path / "pins", ns=(1, 1))
    pins.keep(subject(2), Kind.HAND, two, NOW + 1)
    assert before and pins.stamp() != 1, "who makes room sees that something changed"
    assert pins.pinned(1) == prefixes(one + two)
    again = Pins(tmp_path)
    assert [(pin.subject.version, pin.size) for pin in again.listed()] == [(2, 4 * UNIT), (1, 3 * UNIT)]
    again.remove(again.listed()[0])
    assert again.pinned(1) == prefixes(one)


def test_of_what_booted_the_last_version_of_each_image(tmp_path: Path) -> None:
    pins = Pins(tmp_path)
    for version in (1, 2):
        pins.keep(subject(version), Kind.BOOTED, refs(version, 2), NOW + version)
    pins.keep(subject(1, "other"), Kind.BOOTED, refs(9, 2), NOW)
    assert {str(pin.subject) for pin in pins.listed()} == {"demo@2", "other@1"}
    pins.keep(subject(1, repository="b"), Kind.BOOTED, refs(8, 2), NOW)
    assert len(pins.listed()) == 3


def test_what_no_person_pinned_holds_half_at_most_the_newest_first(tmp_path: Path) -> None:
    pins, quota = Pins(tmp_path), 100 * UNIT
    pins.keep(subject(1, "old"), Kind.BOOTED, refs(1, 30), NOW)
    pins.keep(subject(1, "new"), Kind.BOOTED, refs(2, 30), NOW + 1)
    pins.keep(subject(1, "hand"), Kind.HAND, refs(3, 90), NOW - 1)
    assert pins.pinned(quota) == prefixes(refs(2, 30) + refs(3, 90)) and SOFT_SHARE == 0.5


def test_a_mounts_pin_ends_with_it_and_a_killed_ones_is_known(tmp_path: Path) -> None:
    pins = Pins(tmp_path)
    held = pins.held(subject(1))
    held.hold(refs(1, 2), NOW)
    held.hold(refs(1, 5), NOW)  # its profile is known by now
    assert [pin.size for pin in pins.listed()] == [5 * UNIT]
    program = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from test_client_pins import *\n"
        "held = Pins(Path(sys.argv[1])).held(subject(2)); held.hold(refs(2, 7), NOW); print(1, flush=True); input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path), str(Path(__file__).parent)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert other.stdout is not None and other.stdout.readline() == b"1\n"
    assert {pin.size // UNIT for pin in pins.listed()} == {5, 7}
    other.send_signal(signal.SIGKILL)
    other.communicate()
    assert {pin.size // UNIT for pin in pins.listed()} == {5}
    assert len(list((tmp_path / "pins").iterdir())) == 1
    held.release()
    held.release()
    held.hold(refs(1, 2), NOW)  # by a thread that was late
    assert pins.listed() == []


def test_a_folder_that_refuses_is_an_oserror_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "pins").write_text("")
    with pytest.raises(OSError):
        Pins(tmp_path).keep(subject(1), Kind.HAND, refs(1, 1), NOW)


def test_sizes_count_each_block_once() -> None:
    two = refs(1, 2)
    assert size_of([*two, *two]) == 2 * UNIT
