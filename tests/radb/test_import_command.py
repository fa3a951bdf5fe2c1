"""The verb import-radb as an operator meets it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from mirrornet.cli.import_progress import amount

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


def test_what_is_no_table_is_not_replaced_by_a_slip(tmp_path: Path) -> None:
    dump = tmp_path / "radb.db"
    dump.write_bytes(GARBAGE.read_bytes())
    done = run(dump, "--out", dump)
    assert done.returncode == 2 and "is no table, so it stays" in done.stderr and done.stderr.count("\n") == 1
    assert dump.read_bytes() == GARBAGE.read_bytes()
    assert run(GARBAGE, "--out", tmp_path / "table").returncode == 0
    clash = run(GARBAGE, "--out", tmp_path / "table", "--report", tmp_path / "table")
    assert clash.returncode == 2 and "is the table itself" in clash.stderr
    assert (tmp_path / "table").read_bytes().startswith(b"MNWORLD1")
    assert run(GARBAGE, "--force", "--out", dump).returncode == 0


def test_an_anycast_list_is_a_file_and_its_faults_are_short(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "binary").write_bytes(b"\xff" * 10_000)
    for name, told in (("pipe", "is no regular file"), ("binary", "binary:1: "), ("absent", "No such file")):
        done = run(GARBAGE, "--out", tmp_path / "table", "--anycast", tmp_path / name)
        assert done.returncode == 2 and told in done.stderr and len(done.stderr) < 500, done.stderr


def test_urls_that_lead_nowhere_are_told_in_words(tmp_path: Path) -> None:
    for url, code, told in (
        ("http://[::1", 2, "not a URL"),
        ("http://127.0.0.1:1/x", 1, "Connection refused"),
        ("ftp://127.0.0.1:1/x", 1, "Connection refused"),
    ):
        done = run(url, "--out", tmp_path / "table")
        assert done.returncode == code and told in done.stderr and "Errno" not in done.stderr, done.stderr


def test_a_full_disk_leaves_the_old_table(tmp_path: Path, need: Callable[..., None]) -> None:
    need("root", "mount", "umount")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)], check=True)
    try:
        table = disk / "world.table"
        assert run(GARBAGE, "--out", table).returncode == 0
        old = table.read_bytes()
        with (disk / "fill").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        done = run(GARBAGE, "--out", table)
        assert done.returncode == 1 and "No space left on device; what was there before stands" in done.stderr
        assert table.read_bytes() == old and len(list(disk.iterdir())) == 2
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_what_is_told_of_a_transfer() -> None:
    assert amount(0, 60_000_000, None) == ""
    assert amount(12_340_000, 60_100_000, 4_500_000.0) == "12.3 of 60.1 MB, 4.5 MB/s"
    assert amount(12_340_000, None, None) == "12.3 MB"


def test_a_bar_on_a_terminal(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    command = [sys.executable, "-c", CODE, "import-radb", str(GARBAGE), "--out", str(tmp_path / "table")]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=theirs, env={**os.environ, "TERM": "xterm"}
    ) as done:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # the other end is closed
            while part := os.read(ours, 4096):
                shown += part
        os.close(ours)
    assert done.returncode == 0 and b"garbage.db" in shown and b"compiling" in shown


def test_rolling_back_on_the_command_line(tmp_path: Path) -> None:
    out = tmp_path / "table"
    for _ in range(2):
        assert run(GARBAGE, "--out", out).returncode == 0
    second = out.read_bytes()
    done = run("--rollback", "--out", out)
    assert done.returncode == 0 and "(it was table.1); the one before is table.undone" in done.stdout
    assert (tmp_path / "table.undone").read_bytes() == second
    for arguments, told in (
        (["--rollback"], "no table before this one"),
        (["--rollback", GARBAGE], "reads no dump"),
        ([], "no dump is named"),
    ):
        failed = run(*arguments, "--out", out)  # type: ignore[arg-type]
        assert failed.returncode == 2 and told in failed.stderr and failed.stderr.count("\n") == 1
