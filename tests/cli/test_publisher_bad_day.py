"""The publisher's slips and the machine's: pipes for keys, full disks, a timestamp that was lost, two at once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-c", "from mirrornet.cli import main; main()"]


class Publisher:
    """A folder with an image, keys and a repository of two versions; runs verbs in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "image").write_bytes(os.urandom(300_000))
        assert self.run("keygen", "keys").returncode == 0
        assert self.publish().returncode == 0 and self.publish().returncode == 0

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *words], capture_output=True, text=True, timeout=20, check=False, cwd=self.folder
        )

    def publish(self, image: str = "image", repo: str = "repo", keys: str = "keys") -> subprocess.CompletedProcess[str]:
        return self.run("publish", image, "--name", "demo", "--repo", repo, "--keys", keys)

    def refused(self, code: int, told: str, *words: str) -> None:
        done = self.run(*words)
        assert done.returncode == code and done.stderr.count("\n") == 1, done.stderr
        assert told in done.stderr and "bug" not in done.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Publisher:
    return Publisher(tmp_path_factory.mktemp("publisher"))


@pytest.fixture
def publisher(made: Publisher, tmp_path: Path) -> Publisher:
    """A copy of it that a test may spoil."""
    shutil.copytree(made.folder, tmp_path, dirs_exist_ok=True)
    copy = Publisher.__new__(Publisher)
    copy.folder = tmp_path
    return copy


@pytest.fixture
def small_disk(need: Callable[..., None], tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    need("root", "mount", "umount")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_what_is_no_file_is_not_waited_for(publisher: Publisher) -> None:
    folder = publisher.folder
    os.mkfifo(folder / "pipe")
    arguments = ("--name", "demo", "--repo", "repo", "--keys", "keys")
    publisher.refused(2, "pipe: is neither a file nor a block device", "publish", "pipe", *arguments)
    publisher.refused(2, "has no size", "publish", "/proc/self/mem", *arguments)
    key = folder / "keys" / "timestamp.pem"
    for spoil, told in (
        (lambda: os.mkfifo(key), "is no regular file"),
        (key.mkdir, "is a folder"),
        (lambda: key.symlink_to("/dev/zero"), "is no regular file"),
        (lambda: os.truncate(os.open(key, os.O_CREAT | os.O_WRONLY), 3 << 30), "is longer than"),
    ):
        key.rmdir() if key.is_dir() else key.unlink()
        spoil()
        publisher.refused(2, told, "resign", "--repo", "repo", "--keys", "keys")
    stamp = folder / "repo" / "metadata" / "timestamp.json"
    stamp.unlink()
    os.mkfifo(stamp)
    publisher.refused(2, "timestamp.json: is no regular file", "versions", "--repo", "repo")


def test_a_lost_timestamp_does_not_start_versions_again(publisher: Publisher) -> None:
    (publisher.folder / "repo" / "metadata" / "timestamp.json").unlink()
    arguments = ("--repo", "repo", "--keys", "keys")
    for words in (
        ("publish", "image", "--name", "demo", *arguments),
        ("resign", *arguments),
        ("versions", *arguments[:2]),
    ):
        publisher.refused(2, "holds 2.snapshot.json, but no timestamp.json; copy that from a mirror", *words)


def test_a_first_publish_that_was_killed_may_be_tried_again(publisher: Publisher) -> None:
    shutil.rmtree(publisher.folder / "repo")
    assert publisher.publish().returncode == 0
    (publisher.folder / "repo" / "metadata" / "timestamp.json").unlink()
    again = publisher.publish()
    assert again.returncode == 0 and "version 1" in again.stdout


def test_advice_is_for_a_publisher(publisher: Publisher) -> None:
    """Not "ask another mirror", which is for clients."""
    (publisher.folder / "keys" / "root.json").write_text("{}")
    publisher.refused(2, "copy metadata/1.root.json of the repository", "resign", "--repo", "repo", "--keys", "keys")
    (publisher.folder / "repo" / "metadata" / "timestamp.json").write_text("{}")
    done = publisher.run("versions", "--repo", "repo")
    assert done.returncode == 2 and "restore it from a mirror" in done.stderr and "another" not in done.stderr


def test_keygen_on_a_full_disk_leaves_nothing(publisher: Publisher, small_disk: Path) -> None:
    (small_disk / "keys").mkdir()
    with (small_disk / "fill").open("wb", buffering=0) as file:
        for size in (4096, 1):
            while True:
                try:
                    file.write(bytes(size))
                except OSError:
                    break
    publisher.refused(1, "No space left on device; no keys were made", "keygen", str(small_disk / "keys"))
    assert list((small_disk / "keys").iterdir()) == []
    (small_disk / "fill").unlink()
    assert publisher.run("keygen", str(small_disk / "keys")).returncode == 0


def test_publish_on_a_full_disk_says_so_and_goes_on_later(publisher: Publisher, small_disk: Path) -> None:
    done = publisher.publish(repo=str(small_disk / "repo"))
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "No space left on device" in done.stderr
    assert not (small_disk / "repo" / ".partial").exists()
    subprocess.run(["mount", "-o", "remount,size=1m", str(small_disk)], check=True)
    assert publisher.publish(repo=str(small_disk / "repo")).returncode == 0


def test_a_publish_that_is_stopped_leaves_no_temporary_files(publisher: Publisher) -> None:
    big = publisher.folder / "big"
    with big.open("wb") as file:
        for _ in range(200):
            file.write(os.urandom(1 << 19))
    process = subprocess.Popen(
        [*COMMAND, "publish", "big", "--name", "demo", "--repo", "repo", "--keys", "keys", "--level", "9"],
        cwd=publisher.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None and "publishing demo" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        out, told = process.communicate(timeout=10)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130 and told.endswith("mirrornet: interrupted\n") and not out
    assert not (publisher.folder / "repo" / ".partial").exists()
    assert publisher.run("versions", "--repo", "repo").stdout.count("demo") == 2


def test_two_keygens_at_once_make_one_set(tmp_path: Path, made: Publisher) -> None:
    codes: list[int] = []

    def make() -> None:
        codes.append(made.run("keygen", str(tmp_path / "keys")).returncode)

    threads = [threading.Thread(target=make) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [0, 2, 2]
    assert made.publish(repo=str(tmp_path / "repo"), keys=str(tmp_path / "keys")).returncode == 0


def pipes(publisher: Publisher, part: str, pattern: str) -> None:
    """A named pipe in the place of each such file of the repository."""
    found = list((publisher.folder / "repo" / part).rglob(pattern))
    assert found
    for path in found:
        path.unlink()
        os.mkfifo(path)


@pytest.mark.parametrize("packs", [False, True])
def test_a_pipe_in_the_place_of_a_block_is_not_waited_for(publisher: Publisher, packs: bool) -> None:
    """Of a disk that somebody else has written to: it used to hang, and Ctrl-C with it."""
    arguments = ("--name", "demo", "--repo", "repo", "--keys", "keys", *(["--packs"] if packs else []))
    assert publisher.run("publish", "image", *arguments).returncode == 0
    pipes(publisher, "blocks", "?" * 64)
    publisher.refused(1, "is no regular file", "export", "demo", "--repo", "repo", "--raw", "out")
    publisher.refused(1, "is not whole here", "gc", "--repo", "repo")
    audit = publisher.run("audit", "--repo", "repo", "--root", "keys/root.json", "--sample", "100%")
    assert audit.returncode == 1 and "missing" in audit.stdout
    copy = publisher.run("sync", f"file://{publisher.folder}/repo", "copy", "--root", "keys/root.json", "--state", "st")
    assert copy.returncode == 1 and "is no regular file" in copy.stderr
    assert publisher.run("publish", "image", *arguments).returncode == 0  # what is needed is written again
    assert publisher.run("export", "demo", "--repo", "repo", "--raw", "out").returncode == 0
    assert (publisher.folder / "out").read_bytes() == (publisher.folder / "image").read_bytes()


def test_a_pipe_in_the_place_of_an_index(publisher: Publisher) -> None:
    pipes(publisher, "files", "*.index")
    publisher.refused(1, "is no regular file", "export", "demo", "--repo", "repo", "--raw", "out")
    publisher.refused(1, "is no regular file", "gc", "--repo", "repo")
    assert "NOT complete" in publisher.run("versions", "--repo", "repo").stdout
    assert publisher.publish().returncode == 0  # of that version nothing is used again


def test_a_pin_that_is_none(publisher: Publisher) -> None:
    """It used to be taken for the name of a folder: `sha256:` was the folder of all trust folders."""
    for pin in ("sha256:", "sha256:../..", "sha256:" + "0" * 63):
        publisher.refused(2, "a pin is sha256: and 64", "sync", "file:///tmp/none", "copy", "--root", pin)


def test_a_folder_that_is_not_there_is_called_by_the_name_given(publisher: Publisher) -> None:
    told = "none/out: No such file or directory; nothing was exported"
    publisher.refused(1, f"mirrornet: {told}", "export", "demo", "--repo", "repo", "--raw", "none/out")


def test_a_strange_folder_is_told_by_what_is_strange_in_it(publisher: Publisher) -> None:
    """Not by a hidden file, which any folder may have."""
    for number in range(20):
        (publisher.folder / "other" / f".hidden{number}").mkdir(parents=True)
    (publisher.folder / "other" / "letters").touch()
    done = publisher.publish(repo="other")
    assert done.returncode == 2 and "holds letters, so it is no repository" in done.stderr
