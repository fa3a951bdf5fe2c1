"""Kept tables: three, in order, whole at every moment; and the way back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mirrornet.model.errors import InputError, LimitError
from mirrornet.model.table import WorldTable
from mirrornet.radb import generations
from mirrornet.radb.generations import generation, roll_back
from mirrornet.radb.importer import import_radb, write_table


def dump(path: Path, count: int, source: str = "RADB", country: bool = False) -> str:
    text = [f"route: 8.{i >> 8}.{i & 255}.0/24\norigin: AS{i + 1}\nsource: {source}\n\n" for i in range(count)]
    if country:
        text += [f"aut-num: AS{i + 1}\ncountry: JP\nsource: RIPE\n\n" for i in range(count)]
    path.write_text("".join(text) + "# EOF\n")
    return str(path)


def created(path: Path) -> float:
    return WorldTable(path.read_bytes(), str(path)).created


def test_three_are_kept_and_come_back_one_by_one(tmp_path: Path) -> None:
    out = tmp_path / "world.table"
    name = dump(tmp_path / "a.db", 5)
    for now in range(1, 7):
        import_radb([name], out, now=now)
    assert [created(generation(out, number)) for number in range(4)] == [6, 5, 4, 3]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.db",
        "world.table",
        "world.table.1",
        "world.table.2",
        "world.table.3",
    ]
    assert [roll_back(out).created for _ in range(3)] == [5, 4, 3]
    assert created(out) == 3 and created(out.with_name("world.table.undone")) == 4
    with pytest.raises(InputError, match="no table before this one"):
        roll_back(out)
    assert created(out) == 3


def test_a_damaged_one_is_passed_over_and_said(tmp_path: Path) -> None:
    out = tmp_path / "world.table"
    name = dump(tmp_path / "a.db", 5)
    for now in range(1, 5):
        import_radb([name], out, now=now)
    generation(out, 1).write_bytes(generation(out, 1).read_bytes()[:-1] + b"x")
    done = roll_back(out)
    assert done.created == 2 and done.was.name == "world.table.2"
    assert len(done.passed) == 1 and "checksum" in done.passed[0]
    assert created(generation(out, 1)) == 1  # the rest moved up


def test_a_table_that_vanished_comes_back(tmp_path: Path) -> None:
    out = tmp_path / "world.table"
    for now in (1, 2):
        import_radb([dump(tmp_path / "a.db", 5)], out, now=now)
    out.unlink()
    assert roll_back(out).created == 1 and created(out) == 1


def test_where_there_are_no_links_it_is_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*names: object, **options: object) -> None:
        raise OSError(1, "no links here")

    monkeypatch.setattr(generations.os, "link", no_links)
    out = tmp_path / "world.table"
    for now in (1, 2):
        import_radb([dump(tmp_path / "a.db", 5)], out, now=now)
    assert (created(out), created(generation(out, 1))) == (2, 1)
    assert out.stat().st_ino != generation(out, 1).stat().st_ino


def test_what_cannot_be_kept_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "world.table"
    out.write_bytes(b"old")

    def full(*names: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(generations.os, "link", full)
    monkeypatch.setattr(generations.shutil, "copy2", full)
    with pytest.raises(OSError, match="No space"):
        write_table(out, [b"new"])
    assert out.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["world.table"]


def test_a_stale_name_is_never_written_into(tmp_path: Path) -> None:
    """A killed process may leave a second name of the table; a copy into it would be a copy into the table."""
    out = tmp_path / "world.table"
    write_table(out, [b"one"])
    os.link(out, tmp_path / f".world.table.1.{os.getpid()}")
    write_table(out, [b"two"])
    assert (out.read_bytes(), generation(out, 1).read_bytes()) == (b"two", b"one")


def test_a_source_that_vanished_is_told_and_a_lost_country_refused(tmp_path: Path) -> None:
    out = tmp_path / "world.table"
    radb, altdb = dump(tmp_path / "radb.db", 900, country=True), dump(tmp_path / "altdb.db", 150, "ALTDB")
    (tmp_path / "altdb.db").write_text(Path(altdb).read_text().replace("route: 8.", "route: 9."))
    import_radb([radb, altdb], out, now=1)
    report = import_radb([radb], out, now=2)
    assert [one for one in report.warnings if "ALTDB" in one] == ["source ALTDB is gone; it had 150 ranges"]
    bare = dump(tmp_path / "bare.db", 900)
    with pytest.raises(LimitError, match=r"0 ranges with a country and the old one 900, 100 % lost"):
        import_radb([bare], out, now=3)
    assert created(out) == 2
    forced = import_radb([bare], out, now=4, force=True)
    assert any("much smaller" in one for one in forced.warnings) and created(out) == 4


def test_an_import_says_which_source_shrank_when_it_refuses(tmp_path: Path) -> None:
    out = tmp_path / "world.table"
    import_radb([dump(tmp_path / "a.db", 1000)], out, now=1)
    with pytest.raises(LimitError, match=r"source RADB has 100 ranges and had 1,000") as caught:
        import_radb([dump(tmp_path / "b.db", 100)], out, now=2)
    assert "\n" not in str(caught.value)
