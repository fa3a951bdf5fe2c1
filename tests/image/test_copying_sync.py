"""A copy is verified, complete, and never anything but old or new."""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path

import pytest
from contents import some_bytes
from copies import FolderMirror, same, tree, whole

from mirrornet.image.copying.pace import Pace
from mirrornet.image.copying.standing import Standing
from mirrornet.image.copying.sync import SyncOptions, SyncReport, sync
from mirrornet.model.errors import Busy, InputError, LocalError, Missing, PeerError, Unreachable, Untrusted

NOW = 1_800_000_000.0
DAY = 86400.0
SMALL = 65536


class Operator:
    """Someone who runs `sync` again and again."""

    def __init__(self, folder: Path, pin: str) -> None:
        self.into, self.state, self.pin = folder / "copy", folder / "state", pin

    def sync(self, *mirrors: FolderMirror, now: float = NOW, **options: object) -> SyncReport:
        settings = SyncOptions(**options)  # type: ignore[arg-type]
        return asyncio.run(sync([each.mirror for each in mirrors], self.into, self.pin, self.state, settings, now=now))


@pytest.fixture
def operator(publisher, tmp_path: Path) -> Operator:
    publisher.publish(some_bytes(20 * SMALL))
    return Operator(tmp_path, publisher.pin)


def test_a_copy_is_the_repository(publisher, operator: Operator) -> None:
    publisher.publish(some_bytes(5 * SMALL, 2), name="other")
    report = operator.sync(FolderMirror(publisher.repo))
    assert same(operator.into, publisher.repo)
    assert report.new and report.files and not report.warnings and not report.removed
    assert sorted(whole(operator.into, NOW)) == ["demo/1", "other/1"]


def test_the_second_time_only_what_is_new_is_fetched(publisher, operator: Operator) -> None:
    operator.sync(FolderMirror(publisher.repo))
    again = FolderMirror(publisher.repo)
    report = operator.sync(again)
    assert not again.content_asked and not report.files and not report.new
    before = set(tree(publisher.repo))
    publisher.publish(some_bytes(20 * SMALL)[: 19 * SMALL] + some_bytes(SMALL, 3))
    third = FolderMirror(publisher.repo)
    operator.sync(third)
    assert set(third.content_asked) == {path for path in set(tree(publisher.repo)) - before if "metadata" not in path}
    assert same(operator.into, publisher.repo)


def test_blocks_come_before_metadata_and_the_timestamp_is_last(publisher, operator: Operator, monkeypatch) -> None:
    renamed: list[str] = []
    rename = Path.rename

    def spy(self: Path, target: Path) -> Path:
        if target.is_relative_to(operator.into):
            renamed.append(target.relative_to(operator.into).as_posix())
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", spy)
    operator.sync(FolderMirror(publisher.repo))
    kinds = [name.split("/")[0] == "metadata" for name in renamed if not name.startswith(".")]
    assert kinds == sorted(kinds) and renamed[-1] == "metadata/timestamp.json"


def test_what_is_here_is_believed_by_its_length_unless_told_to_verify(publisher, operator: Operator) -> None:
    operator.sync(FolderMirror(publisher.repo))
    victim = max((operator.into / "blocks").rglob("*"), key=lambda path: path.stat().st_size)  # a block, not a page
    content = victim.read_bytes()
    victim.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert operator.sync(FolderMirror(publisher.repo)).files == 0
    assert operator.sync(FolderMirror(publisher.repo), verify=True).files == 1
    assert victim.read_bytes() == content
    victim.write_bytes(content[:-1])
    assert operator.sync(FolderMirror(publisher.repo)).files == 1
    assert victim.read_bytes() == content


def test_a_lying_mirror_is_passed_over_for_each_file(publisher, operator: Operator) -> None:
    def lie(path: str, data: bytes) -> bytes:
        return data if path.startswith("metadata/") else data[:-1] + bytes([data[-1] ^ 1])

    report = operator.sync(FolderMirror(publisher.repo, "liar", lie), FolderMirror(publisher.repo, "honest"))
    assert same(operator.into, publisher.repo)
    assert set(report.by) == {"honest"} and any("liar" in line and "corrupt" in line for line in report.warnings)


def test_half_a_mirror_gives_what_it_has(publisher, operator: Operator) -> None:
    half = {path for path in sorted(tree(publisher.repo)) if path.startswith("blocks/")}
    half = set(sorted(half)[::2])

    def other_half(path: str, data: bytes) -> bytes:
        if path.startswith("blocks/") and path not in half:
            raise Missing(f"half: it does not have {path}")
        return data

    report = operator.sync(FolderMirror(publisher.repo, "half", other_half), FolderMirror(publisher.repo, "full"))
    assert same(operator.into, publisher.repo) and set(report.by) == {"half", "full"}
    assert not report.warnings  # what somebody does not have is no fault


def test_what_no_mirror_has_leaves_the_copy_old(publisher, operator: Operator) -> None:
    operator.sync(FolderMirror(publisher.repo))
    old = tree(operator.into)
    publisher.publish(some_bytes(20 * SMALL, 7))
    lost = next(path for path in sorted(set(tree(publisher.repo)) - set(old)) if path.startswith("blocks/"))

    def hole(path: str, data: bytes) -> bytes:
        if path == lost:
            raise Missing(f"tokyo: it does not have {path}")
        return data

    with pytest.raises(PeerError, match=r"1 files could not be had.*stays at its old version"):
        operator.sync(FolderMirror(publisher.repo, spoil=hole))
    now = tree(operator.into)
    assert now["metadata/timestamp.json"] == old["metadata/timestamp.json"] and whole(operator.into, NOW) == ["demo/1"]
    assert len(now) > len(old)  # the rest was fetched all the same
    assert operator.sync(FolderMirror(publisher.repo)).files == 1


def test_a_mirror_that_is_busy_is_left_alone_for_as_long_as_it_asks(publisher, operator: Operator) -> None:
    def busy(path: str, data: bytes) -> bytes:
        if not path.startswith("blocks/"):
            return data
        raise Busy("busy: HTTP 503, it is busy", 600.0)

    first = FolderMirror(publisher.repo, "busy", busy)
    operator.sync(first, FolderMirror(publisher.repo, "other"), jobs=1)
    assert len([path for path in first.asked if path.startswith("blocks/")]) == 1 and same(
        operator.into, publisher.repo
    )


def test_no_more_files_at_once_than_jobs(publisher, operator: Operator) -> None:
    mirror = FolderMirror(publisher.repo)
    operator.sync(mirror, jobs=3)
    assert 1 < mirror.most <= 4  # the walk reads pages beside the workers


def test_a_stale_mirror_does_not_turn_a_copy_back(publisher, operator: Operator, tmp_path: Path) -> None:
    old = publisher.copy("old")
    publisher.publish(some_bytes(20 * SMALL, 2))
    operator.sync(FolderMirror(publisher.repo))
    with pytest.raises(Untrusted, match="no mirror gave metadata that verifies"):
        operator.sync(FolderMirror(old))
    forgetful = Operator(tmp_path, publisher.pin)
    forgetful.state = tmp_path / "another state"
    with pytest.raises(Untrusted, match="newer than what the mirrors have"):
        forgetful.sync(FolderMirror(old))
    assert whole(operator.into, NOW) == ["demo/1", "demo/2"]
    report = operator.sync(FolderMirror(old, "stale"), FolderMirror(publisher.repo, "fresh"))
    assert any("stale" in line for line in report.warnings)


def test_another_repository_is_not_mixed_in(make_publisher, tmp_path: Path) -> None:
    one, two = make_publisher("one"), make_publisher("two")
    one.publish(some_bytes(3 * SMALL))
    two.publish(some_bytes(3 * SMALL))
    operator = Operator(tmp_path, one.pin)
    operator.sync(FolderMirror(one.repo))
    with pytest.raises(PeerError, match="pin says"):
        Operator(tmp_path / "elsewhere", one.pin).sync(FolderMirror(two.repo))
    operator.pin = two.pin
    with pytest.raises(InputError, match="another repository"):
        operator.sync(FolderMirror(two.repo))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letters.txt").write_text("mine")
    operator.into = tmp_path / "home"
    with pytest.raises(InputError, match="letters"):
        operator.sync(FolderMirror(two.repo))


def test_two_crons_do_not_meet(publisher, operator: Operator, monkeypatch) -> None:
    monkeypatch.setattr("mirrornet.image.files.LOCK_WAIT", 0.1)
    operator.into.mkdir()
    handle = os.open(operator.into, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        with pytest.raises(LocalError, match="at work here"):
            operator.sync(FolderMirror(publisher.repo))
    finally:
        os.close(handle)
    operator.sync(FolderMirror(publisher.repo))


def test_what_is_not_needed_goes_after_the_grace(publisher, operator: Operator) -> None:
    operator.sync(FolderMirror(publisher.repo))
    stray = operator.into / "blocks" / "ab" / f"ab{'0' * 62}"
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"left over")
    mine = operator.into / "blocks" / "README"
    mine.write_text("not ours")
    publisher.resign(now=NOW + DAY)
    old_snapshot = operator.into / "metadata" / "1.snapshot.json"
    first = operator.sync(FolderMirror(publisher.repo), now=NOW + DAY, grace=10 * DAY)
    assert first.unneeded == 1 and not first.removed and stray.exists()
    publisher.resign(now=NOW + 16 * DAY)  # the snapshot is renewed past half its life
    second = operator.sync(FolderMirror(publisher.repo), now=NOW + 16 * DAY, grace=10 * DAY)
    assert second.removed == 1 and second.unneeded == 1 and not stray.exists() and old_snapshot.exists()
    publisher.resign(now=NOW + 27 * DAY)
    operator.sync(FolderMirror(publisher.repo), now=NOW + 27 * DAY, grace=10 * DAY)
    assert not old_snapshot.exists() and mine.exists()
    assert (operator.into / "metadata" / "1.root.json").exists()
    assert whole(operator.into, NOW + 27 * DAY) == ["demo/1"]


def test_a_full_disk_is_one_line_and_the_copy_stays(publisher, operator: Operator, monkeypatch) -> None:
    operator.sync(FolderMirror(publisher.repo))
    old = tree(operator.into)
    publisher.publish(some_bytes(20 * SMALL, 9))
    from mirrornet.image.copying import files

    def full(*_: object, **__: object) -> object:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "replacing", full)
    with pytest.raises(LocalError, match="No space left on device; the copy is as good as before"):
        operator.sync(FolderMirror(publisher.repo))
    assert tree(operator.into) == old


def test_silence_of_all_ends_with_their_names(publisher, operator: Operator, monkeypatch) -> None:
    monkeypatch.setattr("mirrornet.image.copying.files.PATIENCE", 0.0)

    def dead(path: str, data: bytes) -> bytes:
        if not path.startswith("blocks/"):
            return data
        raise Unreachable(f"tokyo: {path}: no connection")

    with pytest.raises(Unreachable, match="tokyo"):
        operator.sync(FolderMirror(publisher.repo, spoil=dead))
    assert not (operator.into / "metadata" / "timestamp.json").exists()


def test_pace_keeps_the_rate() -> None:
    pace, now = Pace(1000), 50.0
    for _ in range(100):
        now += pace.take(500, now)
    assert 48.0 <= now - 50.0 <= 50.0
    assert pace.take(10, now + 1e6) == 0.0 and Pace(None).take(1 << 40, 0.0) == 0.0


def test_standing_rests_longer_each_time_and_forgives_at_once() -> None:
    standing = Standing(2)
    now = 0.0
    rests = []
    for _ in range(8):
        assert standing.pick(now) == 0
        standing.failed(0, now)
        standing.failed(0, now)  # a request beside it failed with it
        assert standing.pick(now) == 1 and standing.pick(now, {1}) is None
        wait = standing.wait(now, {1})
        assert wait is not None
        rests.append(wait)
        now += wait
    assert rests == [1, 2, 4, 8, 16, 32, 60, 60]
    standing.worked(0)
    standing.failed(0, now)
    assert standing.wait(now, {1}) == 1 and standing.wait(now, {0, 1}) is None
    standing.failed(0, now, 300.0)
    assert standing.wait(now, {1}) == 300.0
