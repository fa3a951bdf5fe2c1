"""A cache whose users are killed at any moment, share a quota, belong to different people, or sit on a bad disk."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import client_mirrors as world
import pytest
from kept import kept

from mirrornet.client.cache import ledger
from mirrornet.client.cache.store import Cache
from mirrornet.image.format.block import BlockRef, Codec, pack_block

UNIT = 65536
HELPER = Path(__file__).parents[1] / "helpers" / "killed_cache.py"


def block(seed: int) -> tuple[BlockRef, bytes]:
    return pack_block(random.Random(seed).randbytes(UNIT), Codec.STORED, 0)


def test_killed_50_times_nothing_wrong_is_ever_served(tmp_path: Path) -> None:
    image = world.published(tmp_path)
    (head,) = (image.repo / "files" / "disk" / "1").glob("*.index")
    with world.mirrors(image.repo, 1, first=161) as (server,):
        words = [str(image.repo), str(image.image), str(head.relative_to(image.repo)), server.url]
        done = subprocess.run(
            [sys.executable, str(HELPER), *words, str(tmp_path / "cache"), "50"],
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["wrong"] == told["over"] == told["spoilt"] == 0, told
    assert told["right"] > 50 * 20, told


def crowd(folder: Path, number: int, quota: int, count: int) -> None:
    ledger.PATIENCE = 60.0  # two cores may be busy with something else
    cache = Cache(folder, quota)
    cache.measure(time.time())
    for seed in range(count):
        if not cache.put(*block(1000 * number + seed), time.time()):
            sys.exit(f"not kept: {cache.figures.refused}")


def test_four_processes_share_one_quota_to_the_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "PATIENCE", 60.0)
    quota = 20 * UNIT
    start = multiprocessing.get_context("spawn").Process
    busy = [start(target=crowd, args=(tmp_path, number, quota, 60)) for number in range(4)]
    for process in busy:
        process.start()
    book, seen = ledger.Ledger(tmp_path), list[int]()
    while any(process.is_alive() for process in busy):
        time.sleep(0.002)  # the others want the account, too
        with book.account() as account:  # held, nobody books: what is seen one after the other is there at once
            seen.append(sum(kept(tmp_path).values()))
            assert seen[-1] <= (account.used or quota) <= quota
    for process in busy:
        process.join()
        assert process.exitcode == 0
    held = sum(kept(tmp_path).values())
    assert max(seen) > quota // 2 and held == quota, (max(seen), held)
    cache = Cache(tmp_path)
    cache.measure(time.time())
    assert cache.figures.bytes == quota == cache.figures.quota


PUT = """
import logging, os, random, sys, time
from pathlib import Path
logging.basicConfig(format="%(message)s")
from mirrornet.client.cache.store import Cache
from mirrornet.image.format.block import Codec, pack_block
user, folder, *seeds = sys.argv[1:]
if int(user):  # only now: a plain user may not read where this Python lies
    os.setgroups([])
    os.setgid(int(user))
    os.setuid(int(user))
cache = Cache(Path(folder))
kept = 0
for seed in map(int, seeds):
    ref, stored = pack_block(random.Random(seed).randbytes(65536), Codec.STORED, 0)
    cache.put(ref, stored, time.time())
    kept += cache.get(ref, time.time()) == stored
print(kept, cache.figures.refused)
"""


def test_root_and_a_plain_user_do_not_trip_over_each_other(
    need: Callable[..., None], request: pytest.FixtureRequest
) -> None:
    need("root")
    nobody = 65534
    place = tempfile.TemporaryDirectory()  # pytest's folders are root's alone, whatever a test says
    request.addfinalizer(place.cleanup)
    Path(place.name).chmod(0o755)

    def run(user: int, folder: Path, *seeds: str) -> str:
        words = [sys.executable, "-c", PUT, str(user), str(folder), *seeds]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, cwd=HELPER.parents[2])
        assert done.returncode == 0, done.stderr
        return done.stdout.strip() + done.stderr

    def as_nobody(folder: Path, *seeds: str) -> str:
        return run(nobody, folder, *seeds)

    def as_root(folder: Path, *seeds: str) -> str:
        old = os.umask(0o077)  # as careful administrators have it
        try:
            return run(0, folder, *seeds)
        finally:
            os.umask(old)

    theirs = Path(place.name) / "theirs"
    theirs.mkdir(0o755)
    os.chown(theirs, nobody, nobody)
    assert as_root(theirs, "1", "2", "3") == "3"
    assert as_nobody(theirs, "1", "4", "5", "6") == "4", "root made files that their owner may not use"
    assert as_root(theirs, "4", "7") == "2"
    assert {path.owner() for path in theirs.rglob("*")} == {theirs.owner()}

    ours = Path(place.name) / "ours"
    ours.mkdir(0o755)
    assert as_root(ours, "1", "2") == "2"
    told = as_nobody(ours, "1", "2", "3")
    assert told.startswith("2 Permission denied") and told.count("serving on without it") == 1, told
    assert as_root(ours, "1", "3") == "2"


def test_a_disk_that_is_full(need: Callable[..., None], tmp_path: Path) -> None:
    need("root", "unshare", "mount")
    script = 'mount -t tmpfs -o size=1m none "$0" && exec "$@"'
    seeds = [str(seed) for seed in range(40)]
    words = ["unshare", "-m", "sh", "-c", script, str(tmp_path), sys.executable, "-c", PUT, "0", str(tmp_path), *seeds]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    kept, _, refused = done.stdout.strip().partition(" ")
    assert 8 <= int(kept) <= 16 and refused == "No space left on device"
    assert done.stderr.count("serving on without it") == 1 and "Traceback" not in done.stderr


def test_a_disk_that_is_read_only(need: Callable[..., None], tmp_path: Path) -> None:
    need("root", "unshare", "mount")
    cache = Cache(tmp_path)
    assert cache.put(*block(1), time.time())
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    words = [
        "unshare",
        "-m",
        "sh",
        "-c",
        script,
        str(tmp_path),
        sys.executable,
        "-c",
        PUT,
        "0",
        str(tmp_path),
        "1",
        "2",
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "1 Read-only file system", done.stderr
