"""Publishing on a bad day: killed at any moment, on a full disk, beside another one, of an image larger than memory."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import killed_publish
import pytest
from contents import some_bytes

from mirrornet.image.fetch import file_fetch
from mirrornet.image.format.block import Packer
from mirrornet.image.format.profile import Profile
from mirrornet.image.inventory import needed, open_head
from mirrornet.image.publishing import cut as cut_module
from mirrornet.image.publishing import packs as packs_module
from mirrornet.image.publishing import store as store_module
from mirrornet.image.publishing.export import export
from mirrornet.image.publishing.listing import listed
from mirrornet.image.publishing.previous import Unfinished
from mirrornet.model.errors import LocalError

NOW = 1_800_000_000.0
SMALL = 65536


def files(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def test_killed_fifty_times(tmp_path: Path) -> None:
    """At random moments; clients never see anything but the old or the new version, and the next run completes."""
    command = [sys.executable, killed_publish.__file__, str(tmp_path), "50"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["killed"] + told["finished"] == 50 and told["killed"] >= 10
    assert told["left"] == ["blocks", "files", "metadata"]


class Stopped:
    """Publishes whose every compressed block is counted, and that end by Ctrl-C at some block."""

    def __init__(self, publisher: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cut_module, "PAGE_ENTRIES", 64)
        monkeypatch.setattr(store_module, "BATCH", 10 * SMALL)
        monkeypatch.setattr(packs_module.PackWriter.__init__, "__kwdefaults__", {"limit": 5 * SMALL})
        self.publisher = publisher
        self.packed = 0
        pack = Packer.pack

        def count(packer: Packer, raw: bytes) -> Any:
            self.packed += len(raw) == SMALL and any(raw)  # not pages, nor the stream of a zero block
            return pack(packer, raw)

        monkeypatch.setattr(Packer, "pack", count)

    def publish(self, data: bytes, at: int | None = None, **options: Any) -> int:
        """How many blocks it compressed."""

        def die(done: int, total: int) -> None:
            if at is not None and done > at * SMALL:
                raise KeyboardInterrupt

        self.packed = 0
        with pytest.raises(KeyboardInterrupt) if at is not None else nullcontext():
            self.publisher.publish(data, level=1, progress=die, **options)
        return self.packed

    def noted(self) -> int:
        """How many blocks the note lists."""
        assert [path.name for path in self.publisher.repo.glob(".*")] == [".unfinished-demo"]
        found = Unfinished(self.publisher.repo, "demo").found()
        assert found is not None
        return found.head.block_count

    def check(self, data: bytes) -> None:
        assert not list(self.publisher.repo.glob(".*"))
        out = self.publisher.folder / "out"
        export(self.publisher.repo, "demo", out, "raw", version=None, now=NOW)
        assert out.read_bytes() == data


@pytest.fixture
def stopped(publisher: Any, monkeypatch: pytest.MonkeyPatch) -> Stopped:
    return Stopped(publisher, monkeypatch)


@pytest.mark.parametrize("packs", [False, True])
@pytest.mark.parametrize("profile", [None, Profile(SMALL, (5, 1))])
def test_what_was_done_is_not_done_again(stopped: Stopped, profile: Profile | None, packs: bool) -> None:
    """Killed after some pages: the next run compresses what was not listed yet, and leaves no note."""
    data = some_bytes(1000 * SMALL)
    assert stopped.publish(data, 900, profile=profile, packs=packs) > 900
    noted = stopped.noted()
    assert noted >= 512
    before = set(files(stopped.publisher.repo / "blocks"))
    assert stopped.publish(data, profile=profile, packs=packs) <= 1000 - noted + 2 * bool(profile)
    stopped.check(data)
    (version,) = listed(stopped.publisher.repo, NOW).images["demo"]
    wanted = {each.path.removeprefix("blocks/") for each in needed(version, file_fetch(stopped.publisher.repo))}
    assert len(before - wanted) <= packs  # what was done is what was wanted; of packs the last page listed fewer


@pytest.mark.parametrize("packs", [False, True])
def test_killed_again_and_earlier(stopped: Stopped, packs: bool) -> None:
    """What the first run had done is not forgotten by a second one that did not get as far."""
    data = some_bytes(1000 * SMALL)
    stopped.publish(data, 900, packs=packs)
    noted = stopped.noted()
    stopped.publish(data, 200, packs=packs)
    assert stopped.noted() == noted
    assert stopped.publish(data, packs=packs) <= 1000 - noted
    stopped.check(data)


def test_the_note_of_another_image_gives_way(stopped: Stopped) -> None:
    """Its packs are not published for nothing, and its note does not stand in the way of the next one's."""
    stopped.publish(some_bytes(1000 * SMALL), 900, packs=True)
    first = stopped.noted()
    data = some_bytes(600 * SMALL, seed=2)
    stopped.publish(data, 500, packs=True)
    assert stopped.noted() < first
    assert stopped.publish(data, packs=True) <= 300
    stopped.check(data)
    (version,) = listed(stopped.publisher.repo, NOW).images["demo"]
    head = open_head(version, file_fetch(stopped.publisher.repo))
    assert sum(pack.length for pack in head.packs) == head.stored


def spoil(publisher: Any) -> None:
    for name in files(publisher.repo / "blocks"):
        path = publisher.repo / "blocks" / name
        path.write_bytes(path.read_bytes()[:-100] + bytes(100))


def test_damaged_in_between(stopped: Stopped) -> None:
    """A pack that was kept and is not what it was: its blocks are made again."""
    data = some_bytes(1000 * SMALL)
    stopped.publish(data, 900, packs=True)
    spoil(stopped.publisher)
    stopped.publish(data, packs=True)
    stopped.check(data)


@pytest.mark.parametrize("packs", [False, True])
def test_what_a_bad_disk_has_changed_is_written_again(publisher: Any, packs: bool) -> None:
    """Same name, same length, other bytes: a publish used to see it, make the block again, and leave the file."""
    data = some_bytes(20 * SMALL)
    publisher.publish(data, packs=packs)
    spoil(publisher)
    publisher.publish(data + b"more", packs=packs)
    for stored in needed(listed(publisher.repo, NOW).latest("demo"), file_fetch(publisher.repo)):
        assert hashlib.sha256((publisher.repo / stored.path).read_bytes()).digest() == stored.sha256


@pytest.fixture
def small_disk(need: Callable[..., None], tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB."""
    need("root", "mount")
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no tmpfs here: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("packs", [False, True])
def test_a_disk_that_is_really_full(publisher: Any, small_disk: Path, packs: bool) -> None:
    publisher.repo = small_disk / "repo"
    publisher.publish(some_bytes(4 * SMALL))
    before = files(publisher.repo)
    with pytest.raises(LocalError, match="No space left on device; what was published before still stands") as told:
        publisher.publish(some_bytes(200 * SMALL, 5), packs=packs)
    assert "\n" not in str(told.value)
    after = files(publisher.repo)
    assert {name: size for name, size in after.items() if name in before} == before
    assert not [name for name in after if not name.startswith(("blocks/", "files/", "metadata/"))]
    out = publisher.folder / "out"
    export(publisher.repo, "demo", out, "raw", version=None, now=NOW)
    assert out.read_bytes() == some_bytes(4 * SMALL)


def test_two_at_once(publisher: Any) -> None:
    """Both from real processes: one waits for the other, or is told who is at work; never a broken repository."""
    publisher.publish(some_bytes(SMALL))
    image = publisher.image(some_bytes(100 * SMALL, 3))
    command = [sys.executable, "-c", "from mirrornet.cli import main; main()", "publish", image, "--name", "demo"]
    folders = ["--repo", publisher.repo, "--keys", publisher.keys, "--level", "9", "--block-size", "64K"]
    running = [subprocess.Popen([*command, *folders], stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate(timeout=120)[1] for process in running]
    good = [process.returncode for process in running].count(0)
    assert good >= 1
    for process, line in zip(running, told, strict=True):
        assert process.returncode == 0 or "a publish (process" in line
    out = publisher.folder / "out"
    export(publisher.repo, "demo", out, "raw", version=1 + good, now=time.time())
    assert out.read_bytes() == image.read_bytes()


def test_memory_for_50_gb(publisher: Any) -> None:
    """A hole of 50 GB with 160 MB in it, in a process of its own: under 200 MB, and most of it is Python and TUF."""
    image = publisher.folder / "image.raw"
    with image.open("wb") as file:
        for number in range(40):
            file.seek(number * 1_250_000_000)
            file.write(some_bytes(1 << 20, number) * 4)
        file.truncate(50_000_000_000)
    script = (
        "import sys; from pathlib import Path\n"
        "from mirrornet.image.publishing.publish import publish\n"
        "folder = Path(sys.argv[1])\n"
        "publish(folder / 'image.raw', 'demo', folder / 'repo', folder / 'keys', now=1_800_000_000.0)\n"
        # not ru_maxrss, which an exec takes over from the process that forked
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, publisher.folder], capture_output=True, text=True, timeout=300, check=True
    )
    assert int(done.stdout) < 200_000, f"{done.stdout} KB"


def test_a_clock_that_went_back_is_told(publisher: Any) -> None:
    """What is signed now expires before what it replaces, maybe in the past; only `resign` used to say so."""
    assert publisher.publish(b"1" * SMALL).warnings == ()
    assert publisher.publish(b"2" * SMALL, now=NOW - 3600).warnings == ()
    (line,) = publisher.publish(b"3" * SMALL, now=NOW - 400 * 86400).warnings
    assert line == "the clock went back to 2025-12-11: is it right now?"
