"""When files are read again: not before they have come to rest, not while they change, and not if they vanish."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mirrornet.app.server.worlds import files
from mirrornet.app.server.worlds.files import Files, Moving
from mirrornet.app.server.worlds.world import World, load_world
from mirrornet.model.errors import ConfigError

ZONE = """
zone: files.test
contact: hostmaster@files.test
serial: {serial}
nameservers: {{ns1.files.test: [127.0.0.1]}}
{more}
select: [{{name: select}}]
health: {{probe: none}}
mirrors:
  tokyo: {{url: "http://select.files.test/", addresses: [192.0.2.1], place: {{country: JP}}}}
"""


@pytest.fixture
def zone(tmp_path: Path) -> Path:
    path = tmp_path / "zone.yaml"
    path.write_text(ZONE.format(serial=1, more="records: static.zone"))
    (tmp_path / "static.zone").write_text("www IN A 192.0.2.1\n")
    return path


def touch(path: Path, text: str) -> None:
    """Writes so that nobody can overlook it, however coarse the file system's clock is."""
    path.write_text(text)
    before = path.stat().st_mtime_ns
    os.utime(path, ns=(before + 1_000_000_000, before + 1_000_000_000))


def test_nothing_is_read_again_while_nothing_changes(zone: Path) -> None:
    found = Files([zone])
    found.load()
    assert not any(found.rested() for _ in range(3))


def test_an_edit_is_taken_when_two_looks_agree(zone: Path) -> None:
    found = Files([zone])
    found.load()
    records = zone.with_name("static.zone")
    for number in range(3):  # a writer at work: no two looks are alike
        touch(records, "www IN A 192.0.2.1\n" + "; more\n" * (number + 1))
        assert not found.rested()
    assert found.rested()
    found.load()
    assert not found.rested()


def test_an_edit_that_is_taken_back_is_none(zone: Path) -> None:
    found = Files([zone])
    found.load()
    status = zone.stat()
    text = zone.read_text()
    touch(zone, text + "# more\n")
    assert not found.rested()
    zone.write_text(text)
    os.utime(zone, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not found.rested()
    assert not found.rested()


def test_files_that_change_while_they_are_read_are_not_taken(zone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Files([zone])
    reading = 0

    def disturbed(paths: list[Path]) -> World:
        nonlocal reading
        world = load_world(paths)
        reading += 1
        touch(zone.with_name("static.zone"), "www IN A 192.0.2.1\n" + "; more\n" * reading)
        return world

    with monkeypatch.context() as patched:
        patched.setattr(files, "load_world", disturbed)
        with pytest.raises(Moving, match="come to rest"):
            found.load()
    assert reading == 3
    assert found.rested()  # nothing has changed since, and it was never read
    assert found.load().zones[0].serial == 1


def test_a_file_that_only_the_faulty_zone_names_is_waited_for(zone: Path) -> None:
    found = Files([zone])
    found.load()
    touch(zone, ZONE.format(serial=2, more="records: other.zone"))
    assert not found.rested()
    assert found.rested()
    with pytest.raises(ConfigError, match=r"other\.zone"):
        found.load()
    assert not found.rested()
    zone.with_name("other.zone").write_text("www IN A 192.0.2.2\n")
    assert not found.rested()
    assert found.rested()
    assert found.load().zones[0].serial == 2


def test_what_could_not_be_used_is_read_again(zone: Path) -> None:
    found = Files([zone])
    found.load()
    found.forget()
    assert found.rested()
