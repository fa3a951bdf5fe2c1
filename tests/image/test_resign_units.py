"""The units in deploy/ are what systemd reads, and what they call is a verb of ours."""

from __future__ import annotations

import configparser
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from mirrornet.cli import signing

DEPLOY = Path(__file__).parents[2] / "deploy"


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False, comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(DEPLOY / name)
    return parser


def test_systemd_understands_them(need: Callable[..., None], tmp_path: Path) -> None:
    need("systemd-analyze")
    for name in ("mirrornet-resign.service", "mirrornet-resign.timer"):
        text = (DEPLOY / name).read_text().replace("/usr/local/bin/mirrornet", "/bin/true")
        (tmp_path / name).write_text(text.replace("User=mirrornet", "User=root"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "mirrornet-resign.timer"),
         str(tmp_path / "mirrornet-resign.service")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    told = [line for line in done.stderr.splitlines() if "mirrornet-resign" in line]
    assert done.returncode == 0 and not told, done.stderr


def test_the_service_runs_a_verb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its command line, with a repository and keys in the places that it names."""
    monkeypatch.delenv("MIRRORNET_PASSPHRASE", raising=False)
    service = unit("mirrornet-resign.service")["Service"]
    words = shlex.split(service["ExecStart"])
    assert words[0].endswith("/mirrornet") and service["ReadWritePaths"] in words
    app = typer.Typer()
    signing.register(app)
    words = [str(tmp_path / Path(word).name) if word.startswith("/") else word for word in words[1:]]
    run = CliRunner()
    assert run.invoke(app, ["keygen", str(tmp_path / "keys")]).exit_code == 0
    from mirrornet.image.publishing.publish import publish

    (tmp_path / "image").write_bytes(b"x")
    publish(tmp_path / "image", "demo", tmp_path / "repo", tmp_path / "keys", now=1_790_000_000.0)
    result = run.invoke(app, words)
    assert result.exit_code == 0 and result.stdout.startswith("timestamp version 2"), result.output
