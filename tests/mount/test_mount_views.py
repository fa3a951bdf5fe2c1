"""NAME.cloop beside NAME.raw: the file that `export --cloop` writes, through the kernel, as other programs see it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import client_mirrors as world
import pytest
from kept import kept
from waiting import until

from mirrornet.app.client.mounts import statuses, umount
from mirrornet.client.fuse.mountpoint import mounted_at
from mirrornet.image.format.block import Codec
from mirrornet.image.format.index import Head
from mirrornet.image.publishing.export import export
from mirrornet.image.publishing.publish import publish
from mirrornet.image.trust.keys import keygen

UNIT = 262144


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> world.Published:
    return world.published(tmp_path_factory.mktemp("published"), blocks=24)


@pytest.fixture
def mirror(image: world.Published) -> Iterator[world.Mirror]:
    made = world.Mirror(image.repo, "127.0.0.62")
    yield made
    made.stop()


class Mounting:
    """One mount point; `mount` is the real command."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.point = folder, folder / "mnt"
        self.point.mkdir()
        self.raw, self.cloop = self.point / "disk.raw", self.point / "disk.cloop"

    def mount(self, image: world.Published, url: str, *words: str) -> None:
        command = [
            sys.executable, "-c", "from mirrornet.cli import main; main()", "mount", url, "disk", str(self.point),
            "--root", image.pin, "--state", str(self.folder / "state"), "--cache", str(self.folder / "cache"),
            "--log", str(self.folder / "log"), *words,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode == 0, done.stderr

    def end(self) -> None:
        if mounted_at(self.point) is not None:
            umount(self.point, force=True)
        log = self.folder / "log"
        assert not log.exists() or "Traceback" not in log.read_text()


@pytest.fixture
def mounting(need: Callable[..., None], tmp_path: Path) -> Iterator[Mounting]:
    need("root", "fuse", "umount")
    made = Mounting(tmp_path)
    yield made
    made.end()


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=120, check=False)


def test_it_is_the_exported_file_and_opening_it_costs_no_block(
    mounting: Mounting, image: world.Published, mirror: world.Mirror, tmp_path: Path
) -> None:
    mounting.mount(image, mirror.url)
    before = list(mirror.blocks_asked)
    expected = tmp_path / "exported.cloop"
    export(image.repo, "disk", expected, "cloop", version=None, now=time.time())
    assert mounting.cloop.stat().st_size == expected.stat().st_size
    with mounting.cloop.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        assert file.read(128)[11:15] == b"V2.0"
    assert mirror.blocks_asked == before
    assert mounting.cloop.read_bytes() == expected.read_bytes()
    assert statuses(mounting.point)[0]["files"] == ["disk.raw", "disk.cloop"]


def test_qemu_and_cloop_utils_see_the_image(
    mounting: Mounting, image: world.Published, mirror: world.Mirror, need: Callable[..., None], tmp_path: Path
) -> None:
    need("qemu-img", "extract_compressed_fs")
    mounting.mount(image, mirror.url)
    padded = tmp_path / "padded.raw"
    padded.write_bytes(image.content + bytes(-len(image.content) % UNIT))
    compared = run("qemu-img", "compare", "-f", "cloop", "-F", "raw", mounting.cloop, padded)
    assert compared.returncode == 0 and "identical" in compared.stdout, compared
    assert run("qemu-img", "compare", "-s", "-f", "raw", "-F", "raw", mounting.raw, image.image).returncode == 0
    converted, extracted = tmp_path / "converted", tmp_path / "extracted"
    assert run("qemu-img", "convert", "-f", "cloop", "-O", "raw", mounting.cloop, converted).returncode == 0
    assert converted.read_bytes() == padded.read_bytes()
    assert "file format: cloop" in run("qemu-img", "info", mounting.cloop).stdout
    done = run("extract_compressed_fs", mounting.cloop, extracted)
    assert done.returncode == 0, done.stderr
    assert extracted.read_bytes() == padded.read_bytes()


def test_an_image_of_zstd_has_no_such_view_and_status_says_why(
    mounting: Mounting, tmp_path_factory: pytest.TempPathFactory
) -> None:
    image = world.published(tmp_path_factory.mktemp("zstd"), blocks=8, codec=Codec.ZSTD)
    server = world.Mirror(image.repo, "127.0.0.63")
    try:
        mounting.mount(image, server.url)
        assert [path.name for path in mounting.point.iterdir()] == ["disk.raw"]
        assert not mounting.cloop.exists()
        assert "zstd" in statuses(mounting.point)[0]["no_cloop"]
        told = run(sys.executable, "-c", "from mirrornet.cli import main; main()", "status", mounting.point).stdout
        assert "no disk.cloop: its blocks are zstd" in " ".join(told.split())
    finally:
        server.stop()


def test_a_corrupt_stored_block_in_the_cache_is_never_shown(
    mounting: Mounting, image: world.Published, mirror: world.Mirror
) -> None:
    mounting.mount(image, mirror.url)
    whole = mounting.cloop.read_bytes()
    until(lambda: len(kept(mounting.folder / "cache")) > 18)
    umount(mounting.point, force=False)
    for path in kept(mounting.folder / "cache"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    mounting.mount(image, mirror.url)
    assert mounting.cloop.read_bytes() == whole
    assert statuses(mounting.point)[0]["cache"]["corrupt"] > 18


def test_a_killed_client_frees_its_readers(mounting: Mounting, image: world.Published, mirror: world.Mirror) -> None:
    mounting.mount(image, mirror.url, "--read-deadline", "60s")
    mirror.behave = "hang"
    failed: list[float] = []

    def read(number: int) -> None:
        try:
            with (mounting.raw if number % 2 else mounting.cloop).open("rb", buffering=0) as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
                os.pread(file.fileno(), 100, (6 + number // 2) * UNIT)
        except OSError:
            failed.append(time.monotonic())

    threads = [threading.Thread(target=read, args=(number,), daemon=True) for number in range(20)]
    for thread in threads:
        thread.start()
    until(lambda: statuses(mounting.point)[0]["reads_waiting"] >= 16)
    os.kill(statuses(mounting.point)[0]["pid"], signal.SIGKILL)
    killed = time.monotonic()
    for thread in threads:
        thread.join(50)
    assert len(failed) >= 16 and not any(thread.is_alive() for thread in threads)
    assert max(failed) - killed < 45, "before their deadline"
    subprocess.run(["umount", "-l", str(mounting.point)], check=False)


def test_a_reader_that_is_killed_leaves_no_trace(
    mounting: Mounting, image: world.Published, mirror: world.Mirror
) -> None:
    mounting.mount(image, mirror.url, "--read-deadline", "60s")
    mirror.behave = "hang"
    code = (
        "import os, sys; f = os.open(sys.argv[1], os.O_RDONLY); os.posix_fadvise(f, 0, 0, os.POSIX_FADV_RANDOM); "
        "os.pread(f, 100, int(sys.argv[2]))"
    )
    readers = [
        subprocess.Popen([sys.executable, "-c", code, str(mounting.raw), str((14 + number) * UNIT)])
        for number in range(8)
    ]
    until(lambda: statuses(mounting.point)[0]["reads_waiting"] >= 6)
    for reader in readers:
        reader.kill()
    for reader in readers:
        assert reader.wait(45) == -signal.SIGKILL
    begun = time.monotonic()
    assert mounting.raw.stat().st_size == len(image.content) and os.statvfs(mounting.point).f_blocks
    assert statuses(mounting.point)[0]["ready"] and time.monotonic() - begun < 30


def test_a_terabyte_costs_its_head_one_page_and_what_is_read(
    mounting: Mounting, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("large")
    disk = folder / "disk.img"
    with disk.open("wb") as file:
        file.write(b"begins")
        file.seek((1 << 40) - 4096)
        file.write(b"ends".ljust(4096, b"."))
    pin = keygen(folder / "keys", passphrase=None)
    publish(disk, "disk", folder / "repo", folder / "keys", now=time.time())
    image = world.Published(folder, disk, folder / "repo", folder / "keys", pin)
    (head,) = (image.repo / "files" / "disk" / "1").glob("*.index")
    least = min(Head.parse(head.read_bytes()).pages, key=lambda page: page.stored)
    server = world.Mirror(image.repo, "127.0.0.67")

    def asked() -> set[str]:
        return set(server.blocks_asked) - {f"/{least.path}"}  # that is for measuring the mirror, sooner or later

    try:
        mounting.mount(image, server.url)
        blocks = asked()
        assert len(blocks) == 2, "the first page and the first block"
        assert mounting.raw.stat().st_size == 1 << 40
        table = 8 * ((1 << 22) + 1)
        with mounting.cloop.open("rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            assert file.read(16)[11:15] == b"V2.0"
            assert asked() == blocks
            end = os.pread(file.fileno(), 8, 136 + table - 8)
        assert int.from_bytes(end, "big") == mounting.cloop.stat().st_size
        assert len(asked() - blocks) <= 1, "the last page"
        with mounting.raw.open("rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            assert os.pread(file.fileno(), 4096, (1 << 40) - 4096).startswith(b"ends")
        status = Path(f"/proc/{statuses(mounting.point)[0]['pid']}/status").read_text()
        peak = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
        assert peak < 150_000, "KiB"
    finally:
        server.stop()
