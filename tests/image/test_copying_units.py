"""The units for sync and refresh are what systemd reads, and their command lines are ones of ours."""

from __future__ import annotations

import configparser
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.mark.parametrize("verb", ["sync", "refresh"])
def test_systemd_understands_them(verb: str, need: Callable[..., None], tmp_path: Path) -> None:
    need("systemd-analyze")
    names = [f"mirrornet-{verb}.service", f"mirrornet-{verb}.timer"]
    for name in names:
        text = (DEPLOY / name).read_text().replace("/usr/local/bin/mirrornet", "/bin/true")
        (tmp_path / name).write_text(text.replace("User=mirrornet", "User=root"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / name) for name in names)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    told = [line for line in done.stderr.splitlines() if f"mirrornet-{verb}" in line]
    assert done.returncode == 0 and not told, done.stderr


@pytest.mark.parametrize(("verb", "told"), [("sync", "origin.example"), ("refresh", "no repository")])
def test_what_they_call_is_a_verb_of_ours(verb: str, told: str, tmp_path: Path) -> None:
    """It gets as far as the places that the unit names, which are not here."""
    parser = configparser.ConfigParser(interpolation=None, strict=False, comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(DEPLOY / f"mirrornet-{verb}.service")
    words = shlex.split(parser["Service"]["ExecStart"].replace("\\\n", " "))
    assert words[0] == "/usr/local/bin/mirrornet" and words[1] == verb
    words = [str(tmp_path / Path(word).name) if word.startswith("/") else word for word in words[1:]]
    done = subprocess.run(
        [sys.executable, "-c", "from mirrornet.cli import main; main()", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "needs root" not in done.stderr:
        assert done.returncode in (1, 2) and told in done.stderr, done.stderr
