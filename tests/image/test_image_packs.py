"""Packs, profiles, what of a version stays in the next one, and files beside an index."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest
from contents import some_bytes

from mirrornet.image.fetch import file_fetch
from mirrornet.image.format import block as block_module
from mirrornet.image.format.block import Codec, block_path, open_block
from mirrornet.image.format.index import Head, Page
from mirrornet.image.format.profile import MAX_BLOCKS, Profile
from mirrornet.image.inventory import needed
from mirrornet.image.publishing import packs as packs_module
from mirrornet.image.publishing.export import export
from mirrornet.image.publishing.listing import listed
from mirrornet.image.publishing.tally import Tally
from mirrornet.image.trust.versions import ImageVersion
from mirrornet.model.errors import InputError

NOW = 1_800_000_000.0
SMALL = 65536


def noise(seed: int, blocks: int = 1) -> bytes:
    return random.Random(seed).randbytes(blocks * SMALL)


def version_of(publisher: Any, number: int | None = None) -> ImageVersion:
    metadata = listed(publisher.repo, NOW)
    return metadata.latest("demo") if number is None else metadata.version("demo", number)


def head_of(publisher: Any, number: int | None = None) -> Head:
    return Head.parse((publisher.repo / version_of(publisher, number).index_path).read_bytes())


def page_of(publisher: Any, head: Head, number: int = 0) -> Page:
    ref = head.pages[number]
    return Page.parse(open_block(file_fetch(publisher.repo)(ref.path, ref.stored), ref), head, number)


def content(publisher: Any, number: int | None = None) -> bytes:
    out = publisher.folder / "taken"
    export(publisher.repo, "demo", out, "raw", version=number, now=NOW)
    return bytes(out.read_bytes())


def files(publisher: Any) -> int:
    return sum(path.is_file() for path in (publisher.repo / "blocks").rglob("*"))


@pytest.fixture
def tiny_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packs of four blocks."""
    monkeypatch.setattr(packs_module.PackWriter.__init__, "__kwdefaults__", {"limit": 4 * SMALL})


def test_few_files(publisher: Any) -> None:
    report = publisher.publish(noise(1, 100), packs=True, codec=Codec.STORED)
    assert (report.packs, report.files) == (1, 3)  # a pack, a page, the head
    assert files(publisher) == 2
    assert content(publisher) == noise(1, 100)
    head = head_of(publisher)
    pack = publisher.repo / block_path(head.packs[0].hash)
    assert hashlib.sha256(pack.read_bytes()).digest() == head.packs[0].hash and not head.packs[0].single
    assert {each.kind for each in needed(version_of(publisher), file_fetch(publisher.repo))} == {"head", "page", "pack"}


@pytest.mark.usefixtures("tiny_packs")
def test_the_next_version_uses_old_packs(publisher: Any) -> None:
    first = noise(1, 12)
    assert publisher.publish(first, packs=True).packs == 3
    report = publisher.publish(first[:SMALL] + noise(9) + first[2 * SMALL :], packs=True)
    assert (report.new_blocks, report.packs) == (1, 4)
    assert report.new_bytes < SMALL + 300 and report.new_files == 3 + 3  # pack, page, head; metadata
    assert head_of(publisher).packs[:3] == head_of(publisher, 1).packs
    assert content(publisher) == first[:SMALL] + noise(9) + first[2 * SMALL :] and content(publisher, 1) == first


@pytest.mark.usefixtures("tiny_packs")
def test_a_pack_hardly_used_is_left_behind(publisher: Any) -> None:
    first = noise(1, 8)
    publisher.publish(first, packs=True)
    second = first[:SMALL] + noise(9, 3) + first[4 * SMALL :]
    publisher.publish(second, packs=True)  # of the first pack one block of four is left
    assert head_of(publisher).packs[0] == head_of(publisher, 1).packs[0]
    publisher.publish(second, packs=True)
    assert head_of(publisher, 1).packs[0] not in head_of(publisher).packs
    assert head_of(publisher, 1).packs[1] in head_of(publisher).packs
    assert content(publisher) == second


def test_from_packs_to_single_blocks_and_back(publisher: Any) -> None:
    for number, packs in enumerate((False, True, True, False, True)):
        data = noise(1, 10) + noise(number)
        publisher.publish(data, packs=packs, codec=Codec.ZSTD)
        assert bool(head_of(publisher).packs) is packs
        assert content(publisher) == data


def test_blocks_that_come_again_are_packed_once(publisher: Any) -> None:
    report = publisher.publish(noise(1) * 20, packs=True, codec=Codec.STORED)
    assert report.stored == SMALL
    assert head_of(publisher).packs[0].length == SMALL


@pytest.mark.parametrize("packs", [False, True])
def test_a_profile(publisher: Any, packs: bool) -> None:
    data = noise(1, 6) + bytes(SMALL) + noise(2, 5)
    wanted = (9, 2, 6, 3)  # the third is zero
    report = publisher.publish(data, profile=Profile(SMALL, wanted), packs=packs)
    assert report.attached == ("profile",)
    head = head_of(publisher)
    page = page_of(publisher, head)
    boot = head.packs[0]
    assert boot.single is not packs and len(head.packs) == 1 + packs
    raw = (publisher.repo / block_path(boot.hash)).read_bytes()
    at = 0
    for number in (9, 2, 3):
        ref, place = page.block(number), page.place(number)
        assert ref and place and (place.pack, place.offset) == (0, at)
        assert open_block(raw[at : at + ref.stored], ref) == data[number * SMALL :][:SMALL]
        assert (publisher.repo / ref.path).exists() is not packs
        at += ref.stored
    assert at == len(raw) == boot.length
    (beside,) = version_of(publisher).attached
    assert Profile.parse((publisher.repo / beside.path).read_bytes()) == Profile(SMALL, wanted)
    assert content(publisher) == data
    again = publisher.publish(data + noise(7), profile=Profile(SMALL, wanted), packs=packs)
    assert again.new_blocks == 1
    assert head_of(publisher).packs[0] == boot


def test_a_profile_of_another_image(publisher: Any) -> None:
    with pytest.raises(InputError, match="names no block of this image"):
        publisher.publish(noise(1), profile=Profile(SMALL, (5,)))


def test_profiles_there_and_back() -> None:
    profile = Profile(262144, (4, 0, 7))
    assert Profile.parse(profile.encode()) == profile
    assert profile.resized(65536, 100).blocks == (16, 17, 18, 19, 0, 1, 2, 3, 28, 29, 30, 31)
    assert profile.resized(1 << 20, 2).blocks == (1, 0)
    good = json.loads(profile.encode())
    for change, what in (
        ({"mirrornet-profile": 2}, "mirrornet-profile"),
        ({"block_size": 1000}, "block_size"),
        ({"block_size": True}, "block_size"),
        ({"blocks": []}, "0 blocks"),
        ({"blocks": [-1]}, "no list of numbers"),
        ({"blocks": [1.5]}, "no list of numbers"),
        ({"blocks": list(range(MAX_BLOCKS + 1))}, "65537 blocks"),
    ):
        with pytest.raises(ValueError, match=what):
            Profile.parse(json.dumps({**good, **change}).encode())
    for data in (b"", b"[]", b"[" * 100_000, b"\xff"):
        with pytest.raises(ValueError, match=r"JSON|mirrornet-profile"):
            Profile.parse(data)


def test_blocks_stay_when_the_encoder_changes(publisher: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library's next version deflates to other bytes: what did not change is not sent again."""
    first = some_bytes(20 * SMALL)
    publisher.publish(first)
    monkeypatch.setattr(block_module, "deflater", lambda level: None)  # zlib, from now on
    report = publisher.publish(first + some_bytes(SMALL, 5))
    assert report.new_blocks == 1
    assert content(publisher) == first + some_bytes(SMALL, 5)


def test_another_level_is_another_wish(publisher: Any) -> None:
    first = some_bytes(20 * SMALL)
    publisher.publish(first)
    assert publisher.publish(first, level=9).new_blocks == 20
    assert publisher.publish(first, level=9).new_blocks == 0


@pytest.mark.parametrize(
    "wish",
    [
        {"codec": Codec.ZSTD, "level": 7, "packs": True, "block_size": 2 * SMALL},
        {"codec": Codec.ZLIB, "level": 9, "block_size": 1 << 18},
        {"codec": Codec.STORED, "block_size": SMALL},
    ],
)
def test_what_is_not_said_again_stays_as_it_was(publisher: Any, wish: dict[str, Any]) -> None:
    first = noise(1, 40)
    made = publisher.publish(first, **wish)
    report = publisher.publish(first[:-5] + b"hello", block_size=None)
    for field in ("codec", "level", "block_size"):
        assert getattr(report, field) == getattr(made, field)
    assert report.new_blocks == 1 and bool(report.packs) is bool(made.packs)
    other = Codec.ZLIB if wish["codec"] is Codec.ZSTD else Codec.ZSTD
    told = publisher.publish(first, codec=other, packs=False, block_size=1 << 17)
    assert (told.codec, told.level) == (other.name.lower(), 5 if other is Codec.ZLIB else 3)  # not the other's level
    assert told.block_size == 1 << 17 and not told.packs
    assert content(publisher) == first


def test_a_damaged_block_of_the_version_before_is_mended(publisher: Any) -> None:
    first = some_bytes(3 * SMALL)
    publisher.publish(first)
    ref = page_of(publisher, head_of(publisher)).block(1)
    assert ref is not None
    (publisher.repo / ref.path).write_bytes(b"")
    publisher.publish(first)
    assert content(publisher) == content(publisher, 1) == first
    page = head_of(publisher).pages[0]
    (publisher.repo / page.path).write_bytes(b"")
    publisher.publish(first)
    assert content(publisher, 1) == first
    (publisher.repo / version_of(publisher).index_path).write_bytes(b"")
    assert publisher.publish(first).version == 4
    assert content(publisher) == first


def test_files_beside_an_index(publisher: Any, tmp_path: Path) -> None:
    kernel = tmp_path / "vmlinuz"
    kernel.write_bytes(noise(3, 20))
    report = publisher.publish(b"x", attached={"kernel": kernel, "sbom": b"{}"})
    assert report.attached == ("kernel", "sbom") and report.files == 1 + 1 + 1 + 2
    found = {each.kind: publisher.repo / each.path for each in version_of(publisher).attached}
    assert found["kernel"].read_bytes() == noise(3, 20) and found["sbom"].read_bytes() == b"{}"
    assert found["kernel"].name == f"{hashlib.sha256(noise(3, 20)).hexdigest()}.kernel"
    for attached, what in (
        ({"kernel": tmp_path / "none"}, "is no file"),
        ({"index": b"x"}, "cannot name"),
        ({"../x": b"x"}, "cannot name"),
    ):
        with pytest.raises(InputError, match=what):
            publisher.publish(b"x", attached=attached)
    assert version_of(publisher).version == 1


def test_a_tally_counts_like_a_set(tmp_path: Path) -> None:
    dice = random.Random(4)
    tally, known = Tally(tmp_path), {}
    hashes = [dice.randbytes(32) for _ in range(6000)]
    for _ in range(20_000):
        one, mark = dice.choice(hashes), dice.choice((1, 2))
        assert tally.mark(one, mark) == known.get(one, 0)
        known[one] = known.get(one, 0) | mark
    tally.close()
    assert not list(tmp_path.iterdir())
