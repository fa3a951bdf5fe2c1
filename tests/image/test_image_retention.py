"""Which versions there are and which files stay: rollback, retire, gc, and what a client mounts of it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from contents import some_bytes

from mirrornet.image.copying.garbage import GRACE, gc
from mirrornet.image.fetch import file_fetch
from mirrornet.image.files import locked
from mirrornet.image.inventory import needed
from mirrornet.image.publishing.listing import lacking, listed
from mirrornet.image.publishing.retire import retire
from mirrornet.image.publishing.rollback import rollback
from mirrornet.model.errors import Expired, InputError, LimitError, LocalError, Missing

NOW, DAY, SMALL = 1_800_000_000.0, 86400, 65536
LATER = NOW + 31 * DAY


def files(repo: Path) -> set[str]:
    return {path.relative_to(repo).as_posix() for path in repo.rglob("*") if path.is_file()}


def age(repo: Path, when: float) -> None:
    """The disk says that every file was written at `when`."""
    for path in repo.rglob("*"):
        if path.is_file():
            os.utime(path, (when, when))


@pytest.fixture
def three(publisher: Any) -> Any:
    """A publisher of three versions, a day apart, each with eight blocks of its own and four that all have."""
    for number in range(3):
        now = NOW + number * DAY
        publisher.publish(some_bytes(4 * SMALL) + some_bytes(8 * SMALL, 10 + number), now=now,
                          attached={"kernel": b"kernel %d" % number})  # fmt: skip
    age(publisher.repo, NOW)
    return publisher


def test_rollback_is_a_new_version(three: Any, client: Any, mirror: Any) -> None:
    here = client(three.root)
    here.refresh(mirror(three.repo), now=NOW + 2 * DAY)
    blocks = {name for name in files(three.repo) if name.startswith("blocks/")}
    report = rollback(three.repo, three.keys, "demo", 1, now=NOW + 3 * DAY)
    assert (report.version, report.rollback_of, report.before) == (4, 1, 3)
    metadata = here.refresh(mirror(three.repo), now=NOW + 3 * DAY)  # a client that has seen 3 follows
    new, old = metadata.latest("demo"), metadata.version("demo", 1)
    assert (new.version, new.rollback_of, new.index_hash) == (4, 1, old.index_hash)
    sizes = {each.path: each.size for each in needed(old, file_fetch(three.repo)) if each.kind == "block"}
    for each in needed(metadata.version("demo", 3), file_fetch(three.repo)):
        sizes.pop(each.path, None)
    assert new.new == sum(sizes.values()) > 0  # what a client of version 3 has to fetch
    assert [(each.kind, each.hash) for each in new.attached] == [("kernel", old.attached[0].hash)]
    assert {name for name in files(three.repo) if name.startswith("blocks/")} == blocks
    assert lacking(three.repo, new) == ""
    three.publish(b"five", now=NOW + 3 * DAY)
    assert rollback(three.repo, three.keys, "demo", 4, now=NOW + 3 * DAY).version == 6


@pytest.mark.parametrize(
    ("name", "version", "line"),
    [
        ("demo", 3, "is what clients have already"),
        ("demo", 9, "no version 9"),
        ("dmo", 1, "did you mean demo"),
        ("../demo", 1, "cannot name an image"),
    ],
)
def test_no_rollback(three: Any, name: str, version: int, line: str) -> None:
    before = files(three.repo)
    with pytest.raises(InputError, match=line):
        rollback(three.repo, three.keys, name, version, now=NOW + 2 * DAY)
    assert files(three.repo) == before


def test_no_rollback_to_what_is_not_whole(three: Any) -> None:
    old = listed(three.repo, NOW).version("demo", 1)
    block = next(each for each in needed(old, file_fetch(three.repo)) if each.kind == "block")
    (three.repo / block.path).write_bytes(b"")
    assert lacking(three.repo, old) == block.path
    with pytest.raises(InputError, match="is not complete here"):
        rollback(three.repo, three.keys, "demo", 1, now=NOW + 2 * DAY)


def test_retire(three: Any, client: Any, mirror: Any) -> None:
    here = client(three.root)
    here.refresh(mirror(three.repo), now=NOW + 2 * DAY)
    report = retire(three.repo, three.keys, "demo", versions=[1], now=NOW + 2 * DAY)
    assert (report.retired, report.kept) == ((1,), (2, 3))
    metadata = here.refresh(mirror(three.repo), now=NOW + 2 * DAY)
    assert [version.version for version in metadata.images["demo"]] == [2, 3]
    with pytest.raises(InputError, match="no version 1"):
        metadata.version("demo", 1)
    assert retire(three.repo, three.keys, "demo", keep=1, now=NOW + 2 * DAY).retired == (2,)
    assert retire(three.repo, three.keys, "demo", keep=1, now=NOW + 2 * DAY).retired == ()
    assert retire(three.repo, three.keys, "demo", versions=[3], now=NOW + 2 * DAY).kept == ()  # all of them
    with pytest.raises(InputError, match="the publisher retired them all"):
        here.refresh(mirror(three.repo), now=NOW + 2 * DAY).latest("demo")
    assert three.publish(b"four", now=NOW + 2 * DAY).version == 4  # no number is used twice


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ({"versions": [3]}, "rollback demo 2"),
        ({"versions": [2, 3]}, "rollback demo 1"),
        ({"versions": [7]}, "no version 7"),
        ({"versions": []}, "one of the two"),
        ({"versions": [1], "keep": 1}, "one of the two"),
        ({"keep": 0}, "at least one"),
    ],
)
def test_no_retire(three: Any, what: dict[str, Any], line: str) -> None:
    before = (three.repo / "metadata/timestamp.json").read_bytes()
    with pytest.raises(InputError, match=line):
        retire(three.repo, three.keys, "demo", now=NOW + 2 * DAY, **what)
    assert (three.repo / "metadata/timestamp.json").read_bytes() == before


def test_gc_removes_what_only_a_retired_version_needed(three: Any, client: Any, mirror: Any) -> None:
    before = files(three.repo)
    only = {each.path for each in needed(listed(three.repo, NOW).version("demo", 1), file_fetch(three.repo))}
    for number in (2, 3):
        only -= {each.path for each in needed(listed(three.repo, NOW).version("demo", number), file_fetch(three.repo))}
    retire(three.repo, three.keys, "demo", versions=[1], now=NOW + 3 * DAY)
    assert only and sum(gc(three.repo, now=NOW + 3 * DAY).removed.values()) == 0
    now = NOW + 3 * DAY + GRACE + 1
    three.resign(now)
    told = gc(three.repo, now=now, dry_run=True)
    assert before < files(three.repo)  # a rehearsal
    report = gc(three.repo, now=now)
    assert report.removed == told.removed and report.bytes == told.bytes > 8 * SMALL / 3
    assert report.removed["block"] == len([name for name in only if name.startswith("blocks/")]) == 9  # a page, too
    assert report.removed["target"] == 2 and report.removed["metadata"] > 2
    left = files(three.repo)
    assert not left & only and not (three.repo / "files/demo/1").exists()
    assert {"metadata/1.root.json", "metadata/timestamp.json"} < left
    metadata = client(three.root).refresh(mirror(three.repo), now=now)
    assert all(lacking(three.repo, version) == "" for version in metadata.images["demo"])
    assert sum(gc(three.repo, now=now).removed.values()) == 0  # nothing is left to do
    assert three.publish(some_bytes(4 * SMALL) + some_bytes(8 * SMALL, 10), now=now).new_blocks == 8


def test_gc_counts_from_when_a_version_was_retired(three: Any) -> None:
    """The blocks of version 1 are a year old; it was retired yesterday."""
    now = NOW + 365 * DAY
    three.publish(b"new", now=now - 3 * DAY)  # and signs all that expires within the year
    three.resign(now - DAY)
    retire(three.repo, three.keys, "demo", versions=[1], now=now - DAY)
    age(three.repo, NOW)
    before = {name for name in files(three.repo) if not name.startswith("metadata/")}
    with pytest.raises(Expired):  # root and targets live a year
        gc(three.repo, now=now + 31 * DAY)
    report = gc(three.repo, now=now - 1)
    assert report.removed["block"] == report.removed["target"] == 0 and report.kept > 0
    assert {name for name in files(three.repo) if not name.startswith("metadata/")} == before


def test_gc_believes_neither_an_old_disk_nor_a_wrong_clock(three: Any) -> None:
    """Times of files that say 1970, and a signature that says 1970: the later one counts."""
    retire(three.repo, three.keys, "demo", versions=[1], now=NOW + 3 * DAY)
    age(three.repo, 0.0)
    assert gc(three.repo, now=NOW + 4 * DAY).removed["block"] == 0
    retire(three.repo, three.keys, "demo", versions=[2], now=0.0)  # the clock's battery was dead
    three.resign(NOW + 4 * DAY)
    three.publish(b"x", now=NOW + 4 * DAY)
    age(three.repo, NOW + 4 * DAY)
    assert gc(three.repo, now=NOW + 4 * DAY).removed["block"] == 0


def test_gc_spares_what_a_killed_publish_left(three: Any) -> None:
    young = three.repo / "blocks/ab" / ("ab" * 32)
    young.parent.mkdir(exist_ok=True)
    young.write_bytes(b"new")
    os.utime(young, (LATER - DAY, LATER - DAY))
    foreign = three.repo / "blocks/ab/README"
    foreign.write_bytes(b"not ours")
    os.utime(foreign, (NOW, NOW))
    three.resign(LATER)
    report = gc(three.repo, now=LATER)
    assert young.exists() and foreign.exists() and report.kept_bytes >= 3
    assert gc(three.repo, now=LATER, grace=0.0, force=True).removed["block"] == 1
    assert not young.exists() and foreign.exists()


def test_gc_refuses(three: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LimitError, match="is shorter than signed metadata lives"):
        gc(three.repo, now=NOW + 2 * DAY, grace=DAY)
    with pytest.raises(Expired, match=r"resign.* comes first"):
        gc(three.repo, now=NOW + 20 * DAY)
    with pytest.raises(InputError, match="no repository"):
        gc(tmp_path / "nothing", now=NOW)
    assert not (tmp_path / "nothing").exists()
    monkeypatch.setattr("mirrornet.image.files.LOCK_WAIT", 0.0)
    with locked(three.repo, "a publish"), pytest.raises(LocalError, match="is at work here; try again when"):
        gc(three.repo, now=NOW + 2 * DAY)


def test_gc_leaves_a_repository_alone_that_is_not_whole(three: Any) -> None:
    """A lost page names blocks that would look like garbage."""
    image = listed(three.repo, NOW).version("demo", 2)
    page = next(each for each in needed(image, file_fetch(three.repo)) if each.kind == "page")
    (three.repo / page.path).unlink()
    three.resign(LATER)
    before = files(three.repo)
    with pytest.raises(Missing, match="demo version 2 is not whole here, so nothing is removed"):
        gc(three.repo, now=LATER)
    assert files(three.repo) == before


def test_gc_killed_at_any_moment(three: Any, client: Any, mirror: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    retire(three.repo, three.keys, "demo", keep=1, now=NOW + 2 * DAY)
    now = NOW + 3 * DAY + GRACE
    three.resign(now)
    whole = gc(three.repo, now=now, dry_run=True)
    unlink, count = Path.unlink, 0

    def killed(path: Path, *arguments: Any, **named: Any) -> None:
        nonlocal count
        if path.is_relative_to(three.repo / "blocks") or path.is_relative_to(three.repo / "files"):
            count += 1
            if count % 5 == 0:
                raise KeyboardInterrupt
        unlink(path, *arguments, **named)

    monkeypatch.setattr(Path, "unlink", killed)
    kills = 0
    while kills < 40:
        try:
            gc(three.repo, now=now)
            break
        except KeyboardInterrupt:
            kills += 1
            fresh = client(three.root, f"fresh{kills}")
            assert lacking(three.repo, fresh.refresh(mirror(three.repo), now=now).latest("demo")) == ""
    assert 2 < kills < 40 and whole.removed["block"] >= 16
    assert gc(three.repo, now=now, dry_run=True).removed == {"block": 0, "target": 0, "metadata": 0}


def test_a_mirror_may_collect_as_well(three: Any, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(three.repo, tmp_path / "copy"))
    assert gc(copy, now=NOW + 2 * DAY).removed["block"] == 0


def test_gc_of_packs(publisher: Any, client: Any, mirror: Any) -> None:
    """A pack that only a retired version names goes; blocks that lie in packs alone are nobody's files."""
    for number in range(4):  # a version may name a pack of the one before that it does not use
        publisher.publish(some_bytes(8 * SMALL, number), now=NOW + number * 3600, packs=True)
    age(publisher.repo, NOW)
    *old, new = (
        {each.path for each in needed(version, file_fetch(publisher.repo)) if each.kind in ("pack", "page")}
        for version in listed(publisher.repo, NOW + DAY).images["demo"]
    )
    gone = set().union(*old) - new
    assert len(gone) > 3 and len(new) > 1
    retire(publisher.repo, publisher.keys, "demo", keep=1, now=NOW + 2 * DAY)
    now = NOW + 3 * DAY + GRACE
    publisher.resign(now)
    assert gc(publisher.repo, now=now).removed["block"] == len(gone)
    left = files(publisher.repo)
    assert new < left and not gone & left
    assert lacking(publisher.repo, client(publisher.root).refresh(mirror(publisher.repo), now=now).latest("demo")) == ""
