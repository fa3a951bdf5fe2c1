"""Publishing: what lands in the repository, what is refused, and that an image comes back byte for byte."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from contents import some_bytes

from mirrornet.image.files import locked
from mirrornet.image.format.block import Codec, open_block
from mirrornet.image.format.index import Head, Page
from mirrornet.image.publishing.listing import listed
from mirrornet.image.publishing.publish import publish
from mirrornet.image.publishing.resign import resign
from mirrornet.image.trust.keyfiles import is_encrypted, key_path, open_key
from mirrornet.image.trust.keys import first_root, keygen
from mirrornet.model.errors import InputError, LocalError

NOW, SMALL, DAY = 1_800_000_000.0, 65536, 86400


def page(repo: Path, head: Head, number: int) -> Page:
    ref = head.pages[number]
    return Page.parse(open_block((repo / ref.path).read_bytes(), ref), head, number)


def content(repo: Path, name: str = "demo", version: int | None = None) -> bytes:
    """The image, read back from a repository by its format alone."""
    metadata = listed(repo, NOW)
    image = metadata.latest(name) if version is None else metadata.version(name, version)
    head = Head.parse((repo / image.index_path).read_bytes())
    out = []
    for number in range(len(head.pages)):
        for ref in page(repo, head, number).refs:
            out.append(open_block((repo / ref.path).read_bytes(), ref) if ref else bytes(head.block_size))
    return b"".join(out)[: head.size]


def files(repo: Path) -> dict[str, bytes]:
    return {str(path.relative_to(repo)): path.read_bytes() for path in repo.rglob("*") if path.is_file()}


@pytest.mark.parametrize("codec", list(Codec))
@pytest.mark.parametrize("size", [1, SMALL - 1, SMALL, SMALL + 1, 10 * SMALL + 12345])
def test_there_and_back(publisher: Any, codec: Codec, size: int) -> None:
    report = publisher.publish(some_bytes(size), codec=codec)
    assert content(publisher.repo) == some_bytes(size)
    assert (report.version, report.size, report.blocks) == (1, size, -(-size // SMALL))
    image = listed(publisher.repo, NOW).latest("demo")
    assert (image.size, image.stored, image.codec) == (size, report.stored, codec.name.lower())
    assert image.created == "2027-01-15T08:00:00Z"


def test_the_same_again_writes_no_block(publisher: Any) -> None:
    first = publisher.publish(some_bytes(20 * SMALL))
    before = files(publisher.repo)
    second = publisher.publish(some_bytes(20 * SMALL), now=NOW + 60)
    assert (first.version, first.new_blocks, second.version, second.new_blocks, second.new_bytes) == (1, 20, 2, 0, 0)
    after = files(publisher.repo)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"metadata/timestamp.json"}
    assert all(re.match(r"(metadata/2\.|files/demo/2/)", name) for name in after.keys() - before.keys())


def test_an_update_writes_only_what_is_new(publisher: Any) -> None:
    old = some_bytes(20 * SMALL)
    new = old[: 5 * SMALL] + some_bytes(SMALL, 9) + old[6 * SMALL :]
    publisher.publish(old)
    report = publisher.publish(new)
    assert (report.new_blocks, report.blocks) == (1, 20)
    assert content(publisher.repo, version=1) == old and content(publisher.repo, version=2) == new


def test_zero_and_equal_blocks_are_stored_once_or_not_at_all(publisher: Any) -> None:
    block = some_bytes(SMALL)
    report = publisher.publish(block + bytes(3 * SMALL) + block * 4)
    assert (report.blocks, report.new_blocks) == (8, 1)
    assert content(publisher.repo) == block + bytes(3 * SMALL) + block * 4


def test_all_zeroes(publisher: Any) -> None:
    report = publisher.publish(bytes(5 * SMALL + 1))
    assert (report.new_blocks, report.stored) == (0, 0)
    assert content(publisher.repo) == bytes(5 * SMALL + 1)


def test_holes_are_not_read(publisher: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """100 GB of holes with a block in the middle and one at the end."""
    path = publisher.image(b"")
    with path.open("r+b") as file:
        file.seek(50_000_000_000 // SMALL * SMALL)
        file.write(some_bytes(SMALL))
        file.seek(100_000_000_000 - 10)
        file.write(b"0123456789")
    read: list[int] = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, n, at: read.append(n) or pread(fd, n, at))
    report = publish(path, "demo", publisher.repo, publisher.keys, block_size=1 << 22, now=NOW)
    assert sum(read) <= 3 << 22
    assert (report.size, report.new_blocks) == (100_000_000_000, 2)


def test_metadata_is_copied_last_and_lives_as_promised(publisher: Any) -> None:
    publisher.publish(b"x")
    assert listed(publisher.repo, NOW).expires == NOW + 3 * DAY
    names = sorted(files(publisher.repo))
    assert names[-1] == "metadata/timestamp.json"
    assert [name.split("/")[0] for name in names] == ["blocks", "blocks", "files", *["metadata"] * 5]


def test_nothing_secret_and_nothing_left_over(publisher: Any) -> None:
    publisher.publish(b"x")
    assert {path.name for path in publisher.repo.iterdir()} == {"blocks", "files", "metadata"}
    assert not any(b"PRIVATE" in data for data in files(publisher.repo).values())


def test_keys_are_private(publisher: Any) -> None:
    publisher.publish(b"x")
    pems = list(publisher.keys.rglob("*.pem"))
    assert {path.stem for path in pems} == {"root", "targets", "snapshot", "timestamp", "demo"}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in pems)


def test_encrypted_keys(tmp_path: Path) -> None:
    image, keys, repo = tmp_path / "image", tmp_path / "keys", tmp_path / "repo"
    image.write_bytes(b"x")
    keygen(keys, passphrase=b"open", now=NOW)
    assert is_encrypted(keys)
    with pytest.raises(InputError, match="MIRRORNET_PASSPHRASE"):
        publish(image, "demo", repo, keys, now=NOW)
    with pytest.raises(InputError, match="passphrase is wrong"):
        publish(image, "demo", repo, keys, now=NOW, passphrase=b"shut")
    assert not list((repo / "blocks").iterdir())  # found out before the work
    publish(image, "demo", repo, keys, now=NOW, passphrase=b"open")
    assert b"ENCRYPTED" in (keys / "images" / "demo.pem").read_bytes()


def test_a_passphrase_for_keys_that_have_none(publisher: Any) -> None:
    publisher.publish(b"x", passphrase=b"needless")
    assert publisher.publish(b"x").version == 2


def test_only_the_keys_that_are_needed(publisher: Any) -> None:
    """root and targets go offline after the first publish of a name; resign needs the two online keys alone."""
    publisher.publish(b"x")
    (publisher.keys / "root.pem").unlink()
    (publisher.keys / "targets.pem").unlink()
    assert publisher.publish(b"y").version == 2
    with pytest.raises(InputError, match=r"targets\.pem"):
        publisher.publish(b"z", name="other")
    (publisher.keys / "images" / "demo.pem").unlink()
    publisher.resign()
    with pytest.raises(InputError, match=r"images/demo\.pem"):
        publisher.publish(b"z")


@pytest.mark.parametrize("role", ["snapshot", "timestamp", "targets"])
def test_a_missing_key_is_found_before_the_work(publisher: Any, role: str) -> None:
    (publisher.keys / f"{role}.pem").unlink()
    with pytest.raises(InputError, match=rf"{role}\.pem: the key of the role {role} is not here"):
        publisher.publish(some_bytes(3 * SMALL))
    assert not list((publisher.repo / "blocks").iterdir())


def test_resign(publisher: Any) -> None:
    publisher.publish(b"x")
    report = resign(publisher.repo, publisher.keys, now=NOW + 2 * DAY)
    assert (report.timestamp, report.snapshot, report.expires, report.warnings) == (2, 1, NOW + 5 * DAY, ())
    report = resign(publisher.repo, publisher.keys, now=NOW + 16 * DAY)
    assert (report.timestamp, report.snapshot) == (3, 2)
    report = resign(publisher.repo, publisher.keys, now=NOW + 300 * DAY)
    assert {line.split()[0] for line in report.warnings} == {"root", "targets", "image-demo"}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "name": ({"name": "Demo"}, "cannot name an image"),
    "name with a path": ({"name": "../demo"}, "cannot name an image"),
    "long name": ({"name": "a" * 64}, "cannot name an image"),
    "level": ({"level": 10}, "levels 1 to 9"),
    "block size": ({"block_size": 100_000}, "power of two"),
    "small blocks": ({"block_size": 32768}, "power of two"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(publisher: Any, what: str) -> None:
    options, line = REFUSED[what]
    with pytest.raises(InputError, match=line):
        publisher.publish(b"x", **options)
    assert not publisher.repo.exists()


def test_refused_paths(publisher: Any, tmp_path: Path) -> None:
    image = publisher.image(b"x")
    for path, keys, repo, line in (
        (tmp_path / "nothing", publisher.keys, publisher.repo, "name an image file"),
        (tmp_path, publisher.keys, publisher.repo, "neither a file nor a block device"),
        (Path("/dev/null"), publisher.keys, publisher.repo, "neither a file nor a block device"),
        (image, tmp_path / "nokeys", publisher.repo, "no such folder of keys"),
        (image, tmp_path, publisher.repo, "no folder of keys"),
        (image, publisher.keys, image, "not a folder"),
        (image, publisher.keys, tmp_path, "no repository|inside the repository"),
    ):
        with pytest.raises(InputError, match=line):
            publish(path, "demo", repo, keys, now=NOW)
    with pytest.raises(InputError, match="is empty"):
        publisher.publish(b"")
    with pytest.raises(InputError, match="no repository"):
        resign(tmp_path / "nothing", publisher.keys, now=NOW)


def test_keys_never_lie_in_a_repository(publisher: Any) -> None:
    publisher.publish(b"x")
    with pytest.raises(InputError, match="inside the repository"):
        keygen(publisher.repo / "keys", passphrase=None)
    publisher.keys.rename(publisher.repo / "keys")
    with pytest.raises(InputError, match="inside the repository"):
        publish(publisher.image(b"x"), "demo", publisher.repo, publisher.repo / "keys", now=NOW)


def test_keygen_spares_keys_that_are_there(publisher: Any) -> None:
    before = publisher.root
    with pytest.raises(InputError, match="holds keys already"):
        keygen(publisher.keys, passphrase=None)
    assert first_root(publisher.keys) == before


def test_other_keys(publisher: Any, make_publisher: Callable[[str], Any]) -> None:
    publisher.publish(b"x")
    other = make_publisher("other")
    with pytest.raises(InputError, match="other keys"):
        publish(publisher.image(b"x"), "demo", publisher.repo, other.keys, now=NOW)


def test_a_key_that_is_none(publisher: Any) -> None:
    (publisher.keys / "snapshot.pem").write_text("rubbish")
    with pytest.raises(InputError, match=r"snapshot\.pem: not a PKCS #8 PEM key"):
        open_key(key_path(publisher.keys, "snapshot"), "snapshot", None)


def test_a_repository_that_was_tampered_with(publisher: Any) -> None:
    publisher.publish(b"x")
    path = publisher.repo / "metadata" / "1.image-demo.json"
    path.write_bytes(path.read_bytes().replace(b'"size":1', b'"size":2'))
    with pytest.raises(InputError, match="does not hold together"):
        publisher.publish(b"y")
    path.unlink()
    with pytest.raises(InputError, match="does not hold together"):
        publisher.publish(b"y")


def test_two_publishers_are_kept_apart(publisher: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher.publish(b"x")
    monkeypatch.setattr("mirrornet.image.files.LOCK_WAIT", 0.0)
    with locked(publisher.repo, "test"), pytest.raises(LocalError, match="another process is at work"):
        publisher.publish(b"y")
    assert publisher.publish(b"y").version == 2


def test_a_full_disk(publisher: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher.publish(some_bytes(SMALL))
    before = files(publisher.repo)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "blocks/ab/cd")

    with monkeypatch.context() as patch:
        patch.setattr("mirrornet.image.publishing.store.Store.put", full)
        with pytest.raises(LocalError, match="No space left on device; what was published before still stands"):
            publisher.publish(some_bytes(9 * SMALL, 5))
    assert files(publisher.repo) == before
    assert publisher.publish(some_bytes(9 * SMALL, 5)).version == 2


def test_killed_before_the_metadata(publisher: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed publish leaves is invisible to clients, and the next one uses it."""
    publisher.publish(some_bytes(SMALL))

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mirrornet.image.trust.shelf.Shelf.write", die)
        with pytest.raises(KeyboardInterrupt):
            publisher.publish(some_bytes(9 * SMALL, 5))
    assert content(publisher.repo) == some_bytes(SMALL)
    written = {path: path.stat().st_ino for path in (publisher.repo / "blocks").rglob("*")}
    report = publisher.publish(some_bytes(9 * SMALL, 5))
    assert (report.version, report.new_blocks) == (2, 9)
    assert written == {path: path.stat().st_ino for path in (publisher.repo / "blocks").rglob("*")}
    assert content(publisher.repo) == some_bytes(9 * SMALL, 5)


def test_an_image_that_changes_meanwhile(publisher: Any) -> None:
    def touch(done: int, total: int) -> None:
        os.utime(publisher.folder / "image.raw", ns=(1, 1))

    with pytest.raises(InputError, match="changed while it was read"):
        publisher.publish(some_bytes(200 * SMALL), progress=touch)
    assert not (publisher.repo / "metadata" / "timestamp.json").exists()


def test_progress(publisher: Any) -> None:
    seen: list[tuple[int, int]] = []
    publisher.publish(some_bytes(200 * SMALL + 1), progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen) and seen[-1] == (200 * SMALL + 1, 200 * SMALL + 1) and len(seen) > 3


def test_a_block_of_the_wrong_length_is_written_again(publisher: Any) -> None:
    publisher.publish(some_bytes(SMALL))
    image = listed(publisher.repo, NOW).latest("demo")
    ref = page(publisher.repo, Head.parse((publisher.repo / image.index_path).read_bytes()), 0).refs[0]
    assert ref is not None
    (publisher.repo / ref.path).write_bytes(b"")
    assert publisher.publish(some_bytes(SMALL)).new_blocks == 0  # clients have it
    assert content(publisher.repo) == some_bytes(SMALL)


def test_names_that_are_roles(publisher: Any) -> None:
    """An image may be called like one of TUF's own roles."""
    for number, name in enumerate(("root", "targets", "snapshot", "timestamp", "image-x")):
        publisher.publish(bytes([number]), name=name)
    assert listed(publisher.repo, NOW).names == ("image-x", "root", "snapshot", "targets", "timestamp")
    assert content(publisher.repo, "root") == b"\0" and content(publisher.repo, "timestamp") == b"\3"


def test_did_you_mean(publisher: Any) -> None:
    publisher.publish(b"x", name="debian")
    metadata = listed(publisher.repo, NOW)
    with pytest.raises(InputError, match="did you mean debian"):
        metadata.latest("debain")
    with pytest.raises(InputError, match=r"no version 7 \(newest 1"):
        metadata.version("debian", 7)


def test_resign_tells_that_the_clock_went_back(publisher: Any) -> None:
    publisher.publish(b"x" * 1000)
    assert resign(publisher.repo, publisher.keys, now=NOW + DAY).warnings == ()
    told = resign(publisher.repo, publisher.keys, now=NOW - 5 * DAY).warnings
    assert any("the clock went back to 2027-01-10" in line for line in told)
