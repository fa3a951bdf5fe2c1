"""docs/copying.md, carried out: its recipes with the real rsync, wget and sha256sum, while somebody publishes."""

from __future__ import annotations

import functools
import http.server
import os
import random
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import client_mirrors as world
import pytest
from copies import same, whole
from waiting import until

from mirrornet.image.publishing.publish import publish

PAGE = Path(__file__).resolve().parents[2] / "docs" / "copying.md"


def recipe(name: str, source: str, into: Path) -> str:
    """The shell script that the page gives under this name, for this source and folder."""
    found = re.search(rf"```sh {name}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    script = re.sub(r"^SOURCE=.*$", f"SOURCE={source}", found[1], flags=re.MULTILINE)
    script = re.sub(r"^CUT=.*$", "CUT=1", script, flags=re.MULTILINE)
    script = re.sub(r"^DIR=.*$", f"DIR={into}", script, flags=re.MULTILINE)
    return script.replace("cd /srv/www/os", f"cd {into}")


def run(script: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.fixture
def one(tmp_path: Path) -> world.Published:
    return world.published(tmp_path, blocks=30)


def next_version(one: world.Published, seed: int) -> None:
    one.image.write_bytes(one.content + random.Random(seed).randbytes(5 * 262144))
    publish(one.image, "disk", one.repo, one.keys, now=time.time())


@pytest.fixture
def rsync(one: world.Published, need: Callable[..., None], free_port: Callable[[], int]) -> Iterator[str]:
    """The repository behind an rsync daemon."""
    need("rsync")
    config, port = one.folder / "rsyncd.conf", free_port()
    # Its default user, nobody, may not enter the folder of the tests.
    own = f"uid = {os.geteuid()}\ngid = {os.getegid()}\n"
    config.write_text(
        f"{own}use chroot = no\nlock file = {one.folder}/lock\n[os]\npath = {one.repo}\nread only = yes\n"
    )
    process = subprocess.Popen(
        ["rsync", "--daemon", "--no-detach", "--address=127.0.0.1", f"--port={port}", f"--config={config}",
         f"--log-file={one.folder}/rsync.log"],
    )  # fmt: skip
    url = f"rsync://127.0.0.1:{port}/os"
    try:
        until(lambda: subprocess.run(["rsync", url], capture_output=True, check=False).returncode == 0)
        yield url
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def listing(one: world.Published) -> Iterator[str]:
    """The repository behind a web server that lists folders."""
    (one.folder / "www").mkdir()
    (one.folder / "www" / "os").symlink_to(one.repo)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            return None

    handler = functools.partial(Quiet, directory=str(one.folder / "www"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/os"
    server.shutdown()
    server.server_close()


def test_rsync(one: world.Published, rsync: str, tmp_path: Path) -> None:
    into = tmp_path / "copy"
    run(recipe("rsync", rsync, into))
    assert same(into, one.repo) and whole(into, time.time()) == ["disk/1"]
    next_version(one, 2)
    run(recipe("rsync", rsync, into))
    assert same(into, one.repo) and whole(into, time.time()) == ["disk/1", "disk/2"]
    assert not (into / ".timestamp.next").exists() and not (into / ".partial").exists()


def test_a_publish_in_the_middle_of_rsync(one: world.Published, rsync: str, tmp_path: Path) -> None:
    """Between any two lines of the recipe."""
    into = tmp_path / "copy"
    lines = recipe("rsync", rsync, into).splitlines()
    for number, line in enumerate(lines):
        if not line.startswith(("rsync", "mv")):
            continue
        run("\n".join(lines[:number]))
        next_version(one, number)
        run("\n".join([*lines[:3], *lines[number:]]))
        versions = whole(into, time.time())
        assert versions == [f"disk/{n}" for n in range(1, len(versions) + 1)]


def test_rsync_killed_leaves_an_old_mirror(one: world.Published, rsync: str, tmp_path: Path) -> None:
    into = tmp_path / "copy"
    run(recipe("rsync", rsync, into))
    dice = random.Random(3)
    for number in range(8):
        next_version(one, number)
        script = recipe("rsync", rsync, into).replace("rsync -a", "rsync -a --bwlimit=3000")
        process = subprocess.Popen(["sh", "-c", script], start_new_session=True, stderr=subprocess.DEVNULL)
        try:
            process.wait(dice.uniform(0.05, 0.6))
        except subprocess.TimeoutExpired:
            subprocess.run(["kill", f"-{signal.SIGKILL.value}", "--", f"-{process.pid}"], check=False)
        process.wait()
        whole(into, time.time())
    run(recipe("rsync", rsync, into))
    assert len(whole(into, time.time())) == 9


def test_rsync_takes_away_what_went(one: world.Published, rsync: str, tmp_path: Path) -> None:
    into = tmp_path / "copy"
    run(recipe("rsync", rsync, into))
    stray = into / "blocks" / "00" / ("0" * 64)
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"gone at the source")
    next_version(one, 5)
    run(recipe("rsync", rsync, into))
    assert stray.exists()
    run(recipe("rsync-delete", rsync, into))
    assert not stray.exists() and same(into, one.repo)


def test_plain_rsync_copies_the_timestamp_last(one: world.Published, rsync: str, tmp_path: Path) -> None:
    told = run(f"rsync -a --out-format=%n --exclude='/.*' {rsync}/ {tmp_path}/copy/").stdout.split()
    files = [name for name in told if not name.endswith("/")]
    parts = [name.split("/")[0] for name in files]
    assert files[-1] == "metadata/timestamp.json" and parts == sorted(parts) and set(parts) == {
        "blocks", "files", "metadata",
    }  # fmt: skip


def test_wget(one: world.Published, listing: str, tmp_path: Path, need: Callable[..., None]) -> None:
    need("wget")
    into = tmp_path / "copy"
    run(recipe("wget", listing, into))
    assert whole(into, time.time()) == ["disk/1"]
    next_version(one, 2)
    lines = recipe("wget", listing, into).splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("for "))
    run("\n".join(lines[:first]))
    next_version(one, 3)  # in the middle
    run("\n".join([*lines[:4], f"cd {into}", *lines[first:]]))
    assert whole(into, time.time()) == ["disk/1", "disk/2"]
    victim = max((into / "blocks").rglob("*"), key=lambda path: path.stat().st_size)
    victim.write_bytes(victim.read_bytes()[:-100])  # it broke off
    run(recipe("wget", listing, into))
    assert whole(into, time.time()) == ["disk/1", "disk/2", "disk/3"] and same(into, one.repo)


def test_sha256sum_finds_what_is_damaged(one: world.Published, tmp_path: Path) -> None:
    script = recipe("check", "", one.repo)
    assert run(script).stdout == ""
    victim = max((one.repo / "blocks").rglob("*"), key=lambda path: path.stat().st_size)
    victim.write_bytes(victim.read_bytes()[:-1] + b"?")
    done = run(script, check=False)
    assert done.returncode == 1 and victim.name in done.stdout
