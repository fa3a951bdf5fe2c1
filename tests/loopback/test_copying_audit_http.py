"""`mirrornet audit` over real HTTP: the table, the JSON, the exit code; a mirror that hangs keeps nobody waiting."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from client_mirrors import Mirror, Published, copy_of, mirrors, published


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return published(tmp_path_factory.mktemp("published"))


def audit(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from mirrornet.cli import main; main()", "audit", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=cwd,
    )


def test_the_table_and_the_exit_code(one: Published, tmp_path: Path) -> None:
    bad = copy_of(one.repo, tmp_path / "bad")
    victim = max((bad / "blocks").rglob("*"), key=lambda path: path.stat().st_size)
    victim.write_bytes(victim.read_bytes()[:-1] + b"\0")
    with mirrors(one.repo, 1) as (good,):
        spoilt = Mirror(bad, "127.0.0.9")
        try:
            done = audit("--repo", one.repo, good.url, spoilt.url, "--root", one.pin, "--sample", "100%")
            well = audit(good.url, "--root", one.pin, "--sample", "100%", "--json")
        finally:
            spoilt.stop()
    assert done.returncode == 1 and "1 of 3 mirrors are not well" in done.stderr
    table = done.stdout.splitlines()
    assert table[0].split() == [
        "mirror",
        "snapshot",
        "timestamp",
        "expires",
        "lag",
        "read",
        "missing",
        "corrupt",
        "extra",
    ]
    rows = {line.split("  ")[0]: line.split() for line in table[1:4]}
    assert len(rows) == 3 and all("none" in row for row in rows.values())
    assert "files corrupt, such as blocks/" in table[4]
    assert well.returncode == 0, well.stderr
    (report,) = json.loads(well.stdout)
    assert report["wrong"] == [] and report["snapshot"] == 1 and report["images"] == {"disk": 1}


def test_a_folder_is_named_as_one_names_folders(one: Published, tmp_path: Path) -> None:
    """By a path, or a word that can be no select name; the one with dots is asked of DNS, whatever lies here."""
    copies = [copy_of(one.repo, tmp_path / name) for name in ("plain", "select.invalid")]
    stray = copies[1] / "blocks" / "00" / f"{0:064x}"
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"stray")
    done = audit("plain", "./select.invalid", "--root", one.pin, "--sample", "100%", "--json", cwd=tmp_path)
    plain, dotted = json.loads(done.stdout)
    assert (plain["name"], plain["extra"]) == (f"plain ({copies[0].as_uri()})", 0)
    assert dotted["extra"] == 1 and plain["checked"] == plain["needed"] > 10
    asked = audit("select.invalid", "--root", one.pin, "--resolver", "127.0.0.1:1", cwd=tmp_path)
    assert asked.returncode == 1 and "127.0.0.1" in asked.stderr


def test_one_that_hangs_does_not_stop_the_rest(one: Published) -> None:
    with mirrors(one.repo, 2) as (hanging, good):
        hanging.behave = "hang"
        done = audit(hanging.url, good.url, "--root", one.pin, "--sample", "100%", "--patience", "3s", "--json")
    assert done.returncode == 1
    slow, fast = json.loads(done.stdout)
    assert "not done after 3.0 s" in slow["wrong"][0] and slow["snapshot"] == 1
    assert fast["wrong"] == [] and fast["seconds"] < slow["seconds"]


def test_what_is_wrong_on_the_command_line(one: Published, tmp_path: Path) -> None:
    for arguments in (
        ("--root", one.pin),
        ("--repo", tmp_path, "--root", one.pin),
        ("--repo", one.repo, "--root", one.pin, "--sample", "2"),
        ("--repo", one.repo, "--root", "sha256:12"),
    ):
        done = audit(*arguments)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
