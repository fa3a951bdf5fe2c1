"""The publisher's verbs, as a person meets them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from mirrornet.cli import publish, signing
from mirrornet.model.errors import InputError

Run = Callable[..., tuple[str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """run("verb", …): (stdout, stderr); a fault of ours is raised as it is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIRRORNET_PASSPHRASE", raising=False)
    (tmp_path / "image").write_bytes(b"x" * 100_000)
    app = typer.Typer()
    publish.register(app)
    signing.register(app)

    def call(*arguments: str) -> tuple[str, str]:
        result = CliRunner().invoke(app, arguments)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.stdout, result.stderr

    return call


def test_from_nothing_to_versions(run: Run) -> None:
    out, err = run("keygen", "keys")
    pin = out.strip()
    assert pin.startswith("sha256:") and len(pin) == 71
    assert "NOT encrypted" in err and "offline" in err
    publish = ("publish", "image", "--name", "demo", "--repo", "repo", "--keys", "keys")
    out, err = run(*publish)
    assert "demo version 1: 97.7 KiB in 1 blocks" in out and f"--root {pin}" in out and "100 %" in err
    out, _ = run(*publish, "--json", "--codec", "zstd", "--level", "3", "--block-size", "64K")
    report = json.loads(out)
    assert (report["version"], report["blocks"], report["pin"]) == (2, 2, pin)
    out, _ = run("resign", "--repo", "repo", "--keys", "keys")
    assert out.startswith("timestamp version 3, snapshot version 2; valid until ")
    out, _ = run("versions", "--repo", "repo")
    assert [line.split()[:2] for line in out.splitlines()] == [["NAME", "VERSION"], ["demo", "1"], ["demo", "2"]]
    out, _ = run("versions", "demo", "--repo", "repo", "--json")
    assert [version["codec"] for version in json.loads(out)] == ["zlib", "zstd"]


def test_passphrase_from_the_environment(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIRRORNET_PASSPHRASE", "open")
    _, err = run("keygen", "keys")
    assert "NOT encrypted" not in err
    publish = ("publish", "image", "--name", "demo", "--repo", "repo", "--keys", "keys")
    run(*publish)
    monkeypatch.delenv("MIRRORNET_PASSPHRASE")
    with pytest.raises(InputError, match="MIRRORNET_PASSPHRASE"):
        run(*publish)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("publish", "image", "--codec", "lzma"), "there are zlib, zstd and stored"),
        (("publish", "image", "--block-size", "many"), "is not a size"),
        (("publish", "image", "--block-size", "100K"), "power of two"),
        (("publish", "none"), "No such file"),
        (("publish", "image"), "no such folder of keys"),
    ],
)
def test_one_clear_line(run: Run, arguments: tuple[str, ...], line: str) -> None:
    if "no such folder" not in line:
        run("keygen", "keys")
    with pytest.raises(InputError, match=line) as caught:
        run(*arguments, "--name", "demo", "--repo", "repo", "--keys", "keys")
    assert "\n" not in str(caught.value)


def test_versions_of_nothing(run: Run) -> None:
    with pytest.raises(InputError, match="no repository"):
        run("versions", "--repo", "nothing")
