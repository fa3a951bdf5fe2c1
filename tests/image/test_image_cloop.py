"""The .cloop and the raw image that come out are the ones that went in, by the tools of others."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from contents import some_bytes

from mirrornet.image.fetch import file_fetch
from mirrornet.image.format.block import TAKEN_OVER, Codec, open_block
from mirrornet.image.format.cloop import HEADER_SIZE, CloopHeader, offsets
from mirrornet.image.format.index import PREAMBLE, Head, Page
from mirrornet.image.publishing.export import export
from mirrornet.image.publishing.listing import listed
from mirrornet.model.errors import InputError, Untrusted

NOW = 1_800_000_000.0
SMALL = 65536
IMAGE = b"".join(  # 14 blocks: extract_compressed_fs dies of fewer than 10
    [some_bytes(3 * SMALL), bytes(2 * SMALL), some_bytes(SMALL, 7), some_bytes(6 * SMALL, 2), bytes(SMALL), b"the end"]
)
PADDED = IMAGE.ljust(14 * SMALL, b"\0")


def run(*command: str | Path) -> None:
    subprocess.run([str(word) for word in command], check=True, capture_output=True, timeout=120)


def made_by_cloop_utils(folder: Path, data: bytes, level: int = 9) -> Path:
    raw, out = folder / "theirs.raw", folder / f"theirs-{level}.cloop"
    raw.write_bytes(data)
    run("create_compressed_fs", "-q", "-B", "64K", "-L", str(level), raw, out)
    return out


def take_out(publisher: Any, form: str, version: int | None = None) -> Path:
    out = publisher.folder / f"out.{form}"
    export(publisher.repo, "demo", out, form, version=version, now=NOW)  # type: ignore[arg-type]
    return Path(out)


@pytest.mark.parametrize("packs", [False, True])
@pytest.mark.parametrize("codec", list(Codec))
def test_raw_again(publisher: Any, codec: Codec, packs: bool) -> None:
    publisher.publish(IMAGE, codec=codec, packs=packs)
    assert take_out(publisher, "raw").read_bytes() == IMAGE


def test_an_older_version(publisher: Any) -> None:
    publisher.publish(IMAGE)
    publisher.publish(b"another")
    assert take_out(publisher, "raw", 1).read_bytes() == IMAGE
    with pytest.raises(InputError, match="no version 3"):
        take_out(publisher, "raw", 3)


def test_holes_stay_holes(publisher: Any) -> None:
    publisher.publish(bytes(64 * SMALL) + b"x")
    out = take_out(publisher, "raw")
    assert out.stat().st_size == 64 * SMALL + 1
    assert out.stat().st_blocks * 512 <= 2 * SMALL


@pytest.mark.parametrize("codec", list(Codec))
def test_level_9_is_what_cloop_utils_write(publisher: Any, need: Callable[..., None], codec: Codec) -> None:
    need("create_compressed_fs")
    publisher.publish(IMAGE, codec=codec, level=9 if codec is Codec.ZLIB else None)
    assert take_out(publisher, "cloop").read_bytes() == made_by_cloop_utils(publisher.folder, IMAGE).read_bytes()


@pytest.mark.parametrize("level", [1, 4, 5, 9])
def test_other_tools_read_it(publisher: Any, need: Callable[..., None], level: int) -> None:
    need("extract_compressed_fs", "qemu-img")
    publisher.publish(IMAGE, level=level)
    out, padded = take_out(publisher, "cloop"), publisher.folder / "padded"
    padded.write_bytes(PADDED)
    run("qemu-img", "compare", "-f", "cloop", "-F", "raw", out, padded)
    run("qemu-img", "convert", "-f", "cloop", "-O", "raw", out, publisher.folder / "converted")
    assert (publisher.folder / "converted").read_bytes() == PADDED
    run("extract_compressed_fs", out, publisher.folder / "extracted")
    assert (publisher.folder / "extracted").read_bytes() == PADDED


@pytest.mark.parametrize("level", [1, 6, 9])
def test_a_cloop_keeps_its_streams(publisher: Any, need: Callable[..., None], level: int) -> None:
    need("create_compressed_fs")
    theirs = made_by_cloop_utils(publisher.folder, IMAGE, level).read_bytes()
    report = publisher.publish(theirs, block_size=None)
    assert (report.size, report.block_size, report.level, report.codec) == (len(PADDED), SMALL, TAKEN_OVER, "zlib")
    assert report.files == 11 + 1 + 1  # three zero blocks are not stored; page and head
    assert take_out(publisher, "cloop").read_bytes() == theirs
    assert take_out(publisher, "raw").read_bytes() == PADDED
    assert publisher.publish(theirs, block_size=None).new_blocks == 0


def test_a_cloop_has_its_own_blocks(publisher: Any) -> None:
    publisher.publish(IMAGE)
    theirs = take_out(publisher, "cloop").read_bytes()
    for options in ({"codec": Codec.ZSTD, "block_size": None}, {"block_size": 1 << 18}):
        with pytest.raises(InputError, match="keeps its own blocks of 64K"):
            publisher.publish(theirs, **options)


def test_a_cloop_that_lies(publisher: Any) -> None:
    publisher.publish(IMAGE)
    good = take_out(publisher, "cloop").read_bytes()

    def with_offset(number: int, value: int) -> bytes:
        data = bytearray(good)
        struct.pack_into(">Q", data, HEADER_SIZE + 8 * number, value)
        return bytes(data)

    spoiled = bytearray(good)
    spoiled[-3] ^= 1
    for data, what in (
        (good[:100], "not a .cloop"),
        (good[:200], "ends within its table"),
        (good[:-1], "the file at"),
        (good + b"\0", "the file at"),
        (with_offset(0, 1), "do not follow"),
        (with_offset(3, 1 << 40), "block 2 has"),
        (good[:128] + struct.pack(">II", 1000, 14) + good[136:], "powers of two"),
        (good[:132] + struct.pack(">I", 0xFFFFFFFF) + good[136:], "ends within its table"),
        (bytes(spoiled), "block 13"),
    ):
        with pytest.raises(InputError, match=what):
            publisher.publish(data, block_size=None)
    assert len(listed(publisher.repo, NOW).images["demo"]) == 1


def test_any_part_of_the_table_from_one_page(publisher: Any) -> None:
    """FORMAT.md promises it: the .cloop view of a mount needs it."""
    publisher.publish(IMAGE + some_bytes(1100 * SMALL, 9), level=1)
    whole = take_out(publisher, "cloop").read_bytes()
    image = listed(publisher.repo, NOW).latest("demo")
    head = Head.parse((publisher.repo / image.index_path).read_bytes())
    assert len(head.pages) == 2 and whole[:128] == PREAMBLE
    for number in (1, 0):
        ref = head.pages[number]
        page = Page.parse(open_block(file_fetch(publisher.repo)(ref.path, ref.stored), ref), head, number)
        part = offsets(head, page, number)
        at = HEADER_SIZE + 8 * 1024 * number
        assert whole[at : at + len(part)] == part
    assert CloopHeader.parse(whole).block_count == head.block_count


def test_a_damaged_repository_gives_no_file(publisher: Any) -> None:
    publisher.publish(IMAGE)
    block = max((publisher.repo / "blocks").rglob("*"), key=lambda path: path.stat().st_size * path.is_file())
    block.write_bytes(b"x" * block.stat().st_size)
    for form in ("raw", "cloop"):
        with pytest.raises(Untrusted, match="nothing was exported"):
            take_out(publisher, form)
        assert not (publisher.folder / f"out.{form}").exists()
    assert not [path for path in publisher.folder.iterdir() if path.name.startswith(".out")]


def test_a_device(publisher: Any, need: Callable[..., None], tmp_path: Path) -> None:
    """A loop device as the image, and as what is written to."""
    need("losetup", "root")
    publisher.publish(IMAGE)
    disk = tmp_path / "disk"
    disk.write_bytes(b"\xff" * 16 * SMALL)
    losetup = shutil.which("losetup") or "losetup"
    found = subprocess.run([losetup, "-f", "--show", str(disk)], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip(f"no loop device: {found.stderr.strip()}")
    device = Path(found.stdout.strip())
    try:
        export(publisher.repo, "demo", device, "raw", version=None, now=NOW)
        assert disk.read_bytes() == IMAGE + b"\xff" * (16 * SMALL - len(IMAGE))
        from mirrornet.image.publishing.publish import publish

        report = publish(device, "device", publisher.repo, publisher.keys, block_size=SMALL, now=NOW)
        assert report.size == 16 * SMALL
        out = tmp_path / "again"
        export(publisher.repo, "device", out, "raw", version=None, now=NOW)
        assert out.read_bytes() == disk.read_bytes()
    finally:
        subprocess.run([losetup, "-d", str(device)], check=True)
