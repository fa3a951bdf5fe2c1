"""An audit finds what is missing, corrupt, extra, old and expired, of each mirror for itself."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from contents import some_bytes
from copies import FolderMirror

from mirrornet.image.copying.audit import AuditOptions, MirrorReport, audit
from mirrornet.image.copying.files import Mirror, Sink
from mirrornet.model.errors import InputError, Unreachable, Untrusted

NOW = 1_800_000_000.0
DAY = 86400.0
SMALL = 65536
ALL = AuditOptions(sample=1.0)


def look(pin: str, *mirrors: FolderMirror, options: AuditOptions = ALL, now: float = NOW) -> list[MirrorReport]:
    pairs = [(each.mirror, None) for each in mirrors]
    return asyncio.run(audit(pairs, pin, options, now=now, dice=random.Random(4)))


def big_blocks(repo: Path) -> list[Path]:
    """Blocks of content, not pages."""
    return sorted(path for path in (repo / "blocks").rglob("*") if path.is_file() and path.stat().st_size > 20_000)


def test_a_good_mirror_is_well(publisher) -> None:
    publisher.publish(some_bytes(30 * SMALL))
    publisher.publish(some_bytes(31 * SMALL), name="other")
    (report,) = look(publisher.pin, FolderMirror(publisher.repo))
    assert report.wrong == [] and report.images == {"demo": 1, "other": 1}
    assert (report.snapshot, report.timestamp, report.behind, report.lag) == (2, 2, 0, 0.0)
    content = [path for part in ("blocks", "files") for path in (publisher.repo / part).rglob("*") if path.is_file()]
    signed = ("1.root", "timestamp", "2.snapshot", "2.targets", "1.image-demo", "1.image-other")
    content += [publisher.repo / "metadata" / f"{name}.json" for name in signed]
    assert report.checked == report.needed == len(content)
    assert report.bytes == sum(path.stat().st_size for path in content)


def test_missing_corrupt_and_truncated_are_told_by_name(publisher) -> None:
    publisher.publish(some_bytes(30 * SMALL))
    bad = publisher.copy("bad")
    gone, flipped, short = big_blocks(bad)[:3]
    gone.unlink()
    data = flipped.read_bytes()
    flipped.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    short.write_bytes(short.read_bytes()[:-1])
    report, good = look(publisher.pin, FolderMirror(bad, "bad"), FolderMirror(publisher.repo, "good"))
    assert good.wrong == []
    assert report.missing == [gone.relative_to(bad).as_posix()]
    assert report.corrupt == sorted(path.relative_to(bad).as_posix() for path in (flipped, short))
    assert len(report.wrong) == 2 and "1 of" in report.wrong[0] and report.missing[0] in report.wrong[0]


def test_one_that_takes_too_long_leaves_no_thread_behind(publisher: Any) -> None:
    """Its walk is ahead of what is looked at, and waits; when its time is up it ends, before its folder goes."""
    publisher.publish(some_bytes(400 * SMALL))
    slow = FolderMirror(publisher.repo)

    async def get(path: str, limit: int, sink: Sink | None) -> bytes:
        if sink is not None:
            await asyncio.Event().wait()
        return slow.fetch(path, limit)

    async def run() -> MirrorReport:
        options = AuditOptions(sample=1.0, patience=1.0)
        pairs = [(Mirror("slow", get), None)]
        (report,) = await audit(pairs, publisher.pin, options, now=NOW, dice=random.Random(4))
        async with asyncio.timeout(30):
            await asyncio.get_running_loop().shutdown_default_executor()
        return report

    report = asyncio.run(run())
    assert report.checked < report.needed and report.wrong[0] == "not done after 1.0 s"


def test_a_page_that_one_lacks_is_lent_by_another(publisher) -> None:
    publisher.publish(some_bytes(30 * SMALL))
    bad = publisher.copy("bad")
    (page,) = [path for path in (bad / "blocks").rglob("*") if path.is_file() and path.stat().st_size < 20_000]
    page.unlink()
    report, _ = look(publisher.pin, FolderMirror(bad, "bad"), FolderMirror(publisher.repo, "good"))
    assert report.missing == [page.relative_to(bad).as_posix()] and report.checked == report.needed == 37
    (alone,) = look(publisher.pin, FolderMirror(bad, "bad"))
    assert any(page.name in line for line in alone.wrong)


def test_a_sample_reads_its_share_and_finds_by_luck(publisher) -> None:
    publisher.publish(some_bytes(400 * SMALL))
    (tenth,) = look(publisher.pin, FolderMirror(publisher.repo), options=AuditOptions(sample=0.1))
    assert 20 <= tenth.checked <= 70 and tenth.needed > 400 and not tenth.wrong
    (least,) = look(publisher.pin, FolderMirror(publisher.repo), options=AuditOptions(sample=0.0))
    assert 8 <= least.checked <= 40


def test_a_mirror_behind_the_others(publisher) -> None:
    publisher.publish(some_bytes(5 * SMALL))
    old = publisher.copy("old")
    publisher.publish(some_bytes(5 * SMALL, 2), now=NOW + 2 * DAY)
    mirrors = FolderMirror(old, "old"), FolderMirror(publisher.repo, "new")
    report, newest = look(publisher.pin, *mirrors, now=NOW + 2 * DAY)
    assert (report.behind, report.lag) == (1, 2 * DAY) and "2.0 d behind" in report.wrong[0]
    assert not newest.wrong and newest.lag == 0.0
    report, _ = look(publisher.pin, *mirrors, now=NOW + 2 * DAY, options=AuditOptions(sample=1.0, lag=3 * DAY))
    assert report.wrong == [] and report.lag == 2 * DAY


def test_an_expired_mirror_is_told_as_one(publisher) -> None:
    publisher.publish(some_bytes(5 * SMALL))
    (report,) = look(publisher.pin, FolderMirror(publisher.repo), now=NOW + 4 * DAY)
    assert len(report.wrong) == 1 and "expired on 2027-01-18" in report.wrong[0] and report.checked == 12


def test_one_that_answers_nothing_and_one_that_lies_about_metadata(publisher) -> None:
    publisher.publish(some_bytes(30 * SMALL))

    def silent(path: str, data: bytes) -> bytes:
        if path.startswith("blocks/"):
            raise Unreachable(f"silent: {path}: no answer in 10.0 s")
        return data

    def portal(path: str, data: bytes) -> bytes:
        return b"<html>log in</html>"

    quiet, liar, good = look(
        publisher.pin,
        FolderMirror(publisher.repo, "silent", silent),
        FolderMirror(publisher.repo, "portal", portal),
        FolderMirror(publisher.repo, "good"),
    )
    assert "given up: silent" in quiet.wrong[0] and quiet.checked < 10
    assert liar.timestamp is None and "metadata" in liar.wrong[0]
    assert good.wrong == [] and good.checked == 37


def test_what_a_folder_holds_and_nothing_needs(publisher) -> None:
    publisher.publish(some_bytes(5 * SMALL))
    stray = publisher.repo / "blocks" / "00" / ("00" + "1" * 62)
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"123")
    mirror = FolderMirror(publisher.repo)
    (report,) = asyncio.run(
        audit([(mirror.mirror, publisher.repo)], publisher.pin, ALL, now=NOW, dice=random.Random(1))
    )
    assert (report.extra, report.extra_bytes) == (1, 3) and report.wrong == []


def test_a_wrong_root(publisher, make_publisher) -> None:
    publisher.publish(some_bytes(5 * SMALL))
    with pytest.raises(Untrusted, match="pin says"):
        look(make_publisher("stranger").pin, FolderMirror(publisher.repo))
    with pytest.raises(InputError):
        look("/no/such/root.json", FolderMirror(publisher.repo))
