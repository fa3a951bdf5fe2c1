"""The publisher's verbs, as a person meets them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from mirrornet.cli import publish, retention, signing
from mirrornet.model.errors import InputError, LimitError

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
    retention.register(app)

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


def test_thresholds_and_rotation(run: Run) -> None:
    for text, line in (("root=2", "write ROLE=M:N"), ("root=3:2", "cannot be"), ("image-x=1:2", "is no role")):
        with pytest.raises(InputError, match=line):
            run("keygen", "keys", "--threshold", text)
    pin, told = run("keygen", "keys", "--threshold", "root=2:3")
    assert "root.pem, root+2.pem, root+3.pem, targets.pem belong offline" in told and "2 of its 3 keys" in told
    run("publish", "image", "--name", "demo", "--repo", "repo", "--keys", "keys")
    place = ("--repo", "repo", "--keys", "keys")
    out, told = run("rotate", "root", "image-demo", *place)
    assert "new keys for root, image-demo" in out and pin.strip() in out and "belong offline" in told
    report = json.loads(run("rotate", "timestamp", "--threshold", "2:2", "--json", *place)[0])
    assert report["made"] == ["keys/timestamp.pem", "keys/timestamp+2.pem"] and report["root"] == 3
    with pytest.raises(InputError, match="is the stick mounted"):
        run("rotate", "root", "--also", "nowhere", *place)
    out, _ = run("resign", "--offline", *place)
    assert "renewed" not in out  # nothing has lived for half a year


def test_versions_of_a_source_come_and_go(run: Run, tmp_path: Path) -> None:
    pin = run("keygen", "keys")[0].strip()
    place = ("--repo", "repo", "--keys", "keys")
    for content in (b"one" * 90_000, b"two" * 90_000):
        (tmp_path / "image").write_bytes(content)
        run("publish", "image", "--name", "demo", *place)
    assert run("rollback", "demo", "1", *place)[0] == "demo version 3 is version 1 again (version 2 until now)\n"
    assert run("retire", "demo", "1", *place)[0] == "demo: retired 1; there are still 2, 3\n"
    there = json.loads(run("versions", "--repo", "repo", "demo", "--json")[0])
    assert [(each["version"], each["rollback_of"], each["complete"]) for each in there] == [
        (2, None, True),
        (3, 1, True),
    ]
    source = (tmp_path / "repo").as_uri()
    trust = ("--root", pin, "--state", "state")
    told = json.loads(run("versions", source, "--json", *trust)[0])
    assert told == [{**each, "complete": None} for each in there]
    assert "again version 1" in run("versions", source, "demo", *trust)[0]
    for block in (tmp_path / "repo/blocks").glob("*/*"):
        block.unlink()
        break
    assert "NOT complete: blocks/" in run("versions", "--repo", "repo")[0]
    assert run("gc", "--repo", "repo", "--dry-run")[0].startswith("would remove 0 block files")
    with pytest.raises(LimitError, match="--force"):
        run("gc", "--repo", "repo", "--grace", "1d")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("file:///nowhere",), "believed by --root"),
        ((), "name a SOURCE"),
        (("a", "b", "c", "--root", "x"), "one image or none"),
        (("a", "b", "--repo", "repo"), "--repo names the repository already"),
    ],
)
def test_versions_of_what(run: Run, words: tuple[str, ...], line: str) -> None:
    with pytest.raises(InputError, match=line):
        run("versions", *words)
