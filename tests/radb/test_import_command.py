"""The verb import-radb as an operator meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

GARBAGE = Path(__file__).parents[1] / "vectors" / "rpsl" / "garbage.db"
CODE = """
import sys, typer
from mirrornet.cli import import_radb
from mirrornet.model.errors import MirrornetError
app = typer.Typer(pretty_exceptions_enable=False)
import_radb.register(app)
app.callback()(lambda: None)
try:
    app(args=sys.argv[1:])
except MirrornetError as error:
    print(f"mirrornet: {error}", file=sys.stderr)
    sys.exit(error.exit_code)
"""


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The verb alone, so that this test does not wait for all the others."""
    command = [sys.executable, "-c", CODE, "import-radb", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_it_prints_a_summary_and_writes_the_report(tmp_path: Path) -> None:
    done = run(GARBAGE, "--out", tmp_path / "world.table", "--report", tmp_path / "report.json")
    assert done.returncode == 0, done.stderr
    assert "17 objects of 7 sources" in done.stdout
    assert "rejected: 1 × prefix length is not a number in range, such as" in done.stdout
    assert f"{GARBAGE}:76: route: 192.0.2.0/xx" in done.stdout
    assert done.stdout.rstrip().endswith("world.table is ready")
    assert "garbage.db (0.0 MB) ..." in done.stderr
    report = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert report["objects"]["RADB"] == {"*xxte": 1, "as-set": 1, "route": 5}
    assert report["rejected"]["prefix without length"]["count"] == 1


def test_a_fault_is_one_line_and_the_right_code(tmp_path: Path) -> None:
    done = run(tmp_path / "missing.db", "--out", tmp_path / "world.table")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "missing.db: cannot be read: No such file or directory" in done.stderr


def test_reserved_space_enters_only_when_asked(tmp_path: Path) -> None:
    without = run(GARBAGE, "--out", tmp_path / "world.table")
    asked = run(GARBAGE, "--bogons", "--out", tmp_path / "world.table")
    assert "prefix in reserved address space" in without.stdout
    assert "prefix in reserved address space" not in asked.stdout


def test_a_report_that_cannot_be_written_is_told_before_any_work(tmp_path: Path) -> None:
    done = run(GARBAGE, "--out", tmp_path / "world.table", "--report", tmp_path / "nowhere" / "report.json")
    assert done.returncode == 2
    assert "there is no folder" in done.stderr
    assert not (tmp_path / "world.table").exists()
