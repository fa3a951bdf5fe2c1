"""What a verb does for whoever calls it wrongly, without a place to write to, or who loses patience."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

COMMAND = [sys.executable, "-c", "from mirrornet.cli import main; main()"]


def run(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    settings = {"capture_output": True, "text": True, "timeout": 30, **options}
    done: subprocess.CompletedProcess[str] = subprocess.run([*COMMAND, *words], check=False, **settings)
    return done


def shell(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """`script` with $M as the command; in bash, since it closes descriptors."""
    text = f'M() {{ "{sys.executable}" -c "from mirrornet.cli import main; main()" "$@"; }}\n{script}'
    return subprocess.run(["bash", "-c", text], capture_output=True, text=True, timeout=30, check=False, cwd=folder)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["mount"], "mount: Missing argument 'SOURCE': see `mirrornet mount --help`"),
        (["mount", "--rooot"], "--root"),
        (["umount", "a", "b"], "unexpected extra argument"),
        (["publish", "image", "--level", "x"], "Invalid value for '--level'"),
        (["keygen", ""], "an argument after 'keygen' is empty"),
        (["publish", "image", "--name", "x", "--repo", "", "--keys", "k"], "an argument after '--repo' is empty"),
    ],
)
def test_wrong_arguments_are_one_line_and_code_2(words: list[str], told: str) -> None:
    done = run(*words)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith("mirrornet: ") and done.stderr.count("\n") == 1
    assert told in done.stderr


def test_without_a_verb_the_help_is_shown() -> None:
    done = run()
    assert done.returncode == 2 and "mirrornet VERB" in done.stdout and not done.stderr


def test_the_help_of_each_verb_can_be_typed() -> None:
    verbs = re.findall(r"^  ([a-z-]+)  ", run("--help").stdout, re.MULTILINE)
    assert {"check", "import-radb", "keygen", "mount", "publish", "status", "umount", "versions"} <= set(verbs)
    for verb in ("publish", "mount", "check"):
        told = run(verb, "--help").stdout
        assert not re.search("<bool>|[{}]|None", told), told
    assert "publish IMAGE --name NAME --repo DIR --keys DIR [OPTIONS]" in run("publish", "--help").stdout
    assert run("status", "--help").stdout.startswith("Usage: mirrornet status [MOUNTPOINT] [OPTIONS]\n")
    shown = run("versions", "--help").stdout.splitlines()
    assert "      mirrornet versions --repo repo debian" in shown, "each command has a line of its own"


def test_names_with_newlines_and_terminal_codes_stay_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "zone\n\x1b[31mred.yaml").write_text("zone: 1\nzone: 2\n")
    for words in (["keygen", "/proc/a\nb\x1b[2J"], ["versions", "--repo", "a\nb"], ["status", "a\nb"]):
        done = run(*words, cwd=tmp_path)
        assert done.returncode in (1, 2) and done.stderr.count("\n") == 1 and "\x1b" not in done.stderr
        assert "a\\nb" in done.stderr
    told = run("check", "zone\n\x1b[31mred.yaml", cwd=tmp_path).stderr
    assert all(line.startswith("zone\\n\\x1b[31mred.yaml") for line in told.splitlines()) and "\x1b" not in told


def test_a_zone_file_copied_without_its_files_lists_each_once_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "zone.yaml").write_bytes((Path(__file__).parents[2] / "zones" / "example.yaml").read_bytes())
    told = run("check", "zone.yaml", cwd=tmp_path).stderr.splitlines()
    assert len(told) == 10 and all(re.match(r"zone\.yaml:\d+: .*there is no such file", line) for line in told), told


def test_a_circle_of_symbolic_links_is_no_bug(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for words in (["keygen", "loop"], ["keygen", "loop/keys"]):
        done = run(*words, cwd=tmp_path)
        assert done.returncode == 2 and "lead in a circle" in done.stderr and "bug" not in done.stderr


def test_a_deleted_working_directory_is_named(tmp_path: Path) -> None:
    done = shell("mkdir gone; cd gone; rmdir ../gone; M mount http://127.0.0.1:1 x m --root r", tmp_path)
    assert done.returncode == 1 and "the folder you are in was deleted" in done.stderr


def test_closed_streams_do_not_matter(tmp_path: Path) -> None:
    done = shell("M keygen keys <&- >&- 2>&- && M --version >&- && sha256sum keys/root.json", tmp_path)
    assert done.returncode == 0, done.stderr
    assert all((tmp_path / "keys" / f"{role}.pem").stat().st_mode & 0o777 == 0o600 for role in ("root", "timestamp"))
    assert (tmp_path / "keys" / "root.json").read_bytes().endswith(b"}")  # and no message of ours in it


def test_output_that_is_lost_is_a_failure_and_a_message_that_is_lost_is_none(tmp_path: Path) -> None:
    lost = shell("M --version >/dev/full", tmp_path)
    assert lost.returncode == 1 and lost.stderr.count("\n") == 1 and "No space left" in lost.stderr
    untold = shell("M check none.yaml 2>/dev/full", tmp_path)
    assert untold.returncode == 2
    left = shell("set -o pipefail; M --help | true", tmp_path)
    assert left.returncode in (0, 1) and not left.stderr
    many = shell("M import-radb --help | head -1", tmp_path)
    assert many.stdout.startswith("Usage:") and not many.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_an_import_and_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    dump = tmp_path / "dump"
    os.mkfifo(dump)
    process = subprocess.Popen(
        [*COMMAND, "import-radb", str(dump), "--out", str(tmp_path / "world.table")],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with dump.open("wb", buffering=0) as writer:  # opens when the verb reads
            writer.write(b"route: 192.0.2.0/24\norigin: AS64500\n\n" * 100)
            assert process.stderr is not None and "dump" in process.stderr.readline()
            process.send_signal(number)
            _, told = process.communicate(timeout=60)
        assert process.returncode == 130 and told == "mirrornet: interrupted\n"
        assert list(tmp_path.iterdir()) == [dump]
    finally:
        process.kill()
        process.wait()
