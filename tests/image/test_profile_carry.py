"""A boot's profile follows its blocks into the next version: by content, then by place."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from mirrornet.image.fetch import file_fetch
from mirrornet.image.format.profile import MAX_BLOCKS, Profile
from mirrornet.image.inventory import open_head
from mirrornet.image.publishing.carry import profile_of
from mirrornet.image.publishing.listing import listed
from mirrornet.image.publishing.publish import publish
from mirrornet.image.trust.keys import keygen

UNIT = 65536
NOW = 1_790_000_000.0
BOOT = Profile(UNIT, (9, 2, 30, 5, 17))


@pytest.fixture
def blocks() -> list[bytes]:
    dice = random.Random(7)
    return [dice.randbytes(UNIT) for _ in range(32)]


class Publisher:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        keygen(folder / "keys", passphrase=None)
        self.repo = folder / "repo"

    def publish(self, blocks: list[bytes], **options: object) -> None:
        image = self.folder / "image"
        image.write_bytes(b"".join(blocks))
        options.setdefault("block_size", UNIT)
        publish(image, "disk", self.repo, self.folder / "keys", now=NOW, **options)  # type: ignore[arg-type]

    @property
    def profile(self) -> Profile | None:
        return profile_of(listed(self.repo, NOW).latest("disk"), file_fetch(self.repo))


@pytest.fixture
def publisher(tmp_path: Path, blocks: list[bytes]) -> Publisher:
    made = Publisher(tmp_path)
    made.publish(blocks, profile=BOOT)
    return made


def test_blocks_are_followed_by_content_and_kept_by_place(publisher: Publisher, blocks: list[bytes]) -> None:
    new = list(blocks)
    new[2], new[20] = bytes(UNIT), blocks[2]  # moved
    new[30], new[31] = blocks[31], blocks[30]  # swapped with one that is not of the boot
    new[5] = random.Random(1).randbytes(UNIT)  # changed in place
    publisher.publish(new)
    assert publisher.profile == Profile(UNIT, (9, 20, 31, 5, 17))
    version = listed(publisher.repo, NOW).latest("disk")
    head = open_head(version, file_fetch(publisher.repo))
    assert 5 * UNIT < head.packs[0].length < 5.1 * UNIT  # noise does not shrink
    publisher.publish(new)
    assert publisher.profile == Profile(UNIT, (9, 20, 31, 5, 17))


def test_blocks_with_equal_middles_are_told_apart(publisher: Publisher, blocks: list[bytes]) -> None:
    half = UNIT // 2
    alike = [piece[:half] + bytes(4096) + piece[half + 4096 :] for piece in blocks]
    publisher.publish(alike, profile=BOOT)
    publisher.publish(alike[1:] + alike[:1])
    assert publisher.profile == Profile(UNIT, tuple((number - 1) % 32 for number in BOOT.blocks))


def test_a_smaller_image_a_grown_one_and_an_odd_end(publisher: Publisher, blocks: list[bytes]) -> None:
    publisher.publish([*blocks[:20], b"the end"])
    assert publisher.profile == Profile(UNIT, (9, 2, 5, 17))
    publisher.publish([b"a start".ljust(UNIT, b"."), *blocks, b"."])
    assert publisher.profile == Profile(UNIT, (10, 3, 6, 18))


def test_another_block_size_goes_by_place(publisher: Publisher, blocks: list[bytes]) -> None:
    publisher.publish(blocks, block_size=4 * UNIT)
    assert publisher.profile == Profile(4 * UNIT, (2, 0, 7, 1, 4))


def test_none_of_it_is_left_or_wanted(publisher: Publisher, blocks: list[bytes]) -> None:
    publisher.publish(blocks, carry=False)
    assert publisher.profile is None
    publisher.publish(blocks)
    assert publisher.profile is None
    publisher.publish(blocks, profile=Profile(UNIT, (30, 31)))
    publisher.publish(blocks[:4])
    assert publisher.profile is None


def test_a_damaged_profile_is_not_carried(publisher: Publisher, blocks: list[bytes]) -> None:
    path = next(publisher.repo.rglob("*.profile"))
    path.write_bytes(path.read_bytes().replace(b"17", b"18"))
    publisher.publish(blocks)
    assert publisher.profile is None


def test_a_profile_of_large_blocks_stays_bounded_in_small_ones() -> None:
    large = Profile(4 << 20, tuple(range(MAX_BLOCKS)))
    assert len(large.resized(UNIT, 1 << 40).blocks) == MAX_BLOCKS
