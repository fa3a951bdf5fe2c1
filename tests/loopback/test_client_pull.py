"""`pull`: everything, the profile, what a newer version adds; stopped, short of room, over bad mirrors."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import client_mirrors as world
import pytest
from waiting import until

from mirrornet.app.client.pull import Pulled, PullOptions, run_pull
from mirrornet.app.client.session import ClientOptions
from mirrornet.client.cache.store import Cache
from mirrornet.client.reading import gather
from mirrornet.image.format.profile import Profile
from mirrornet.image.publishing.publish import publish
from mirrornet.model.errors import InputError, LimitError, LocalError, MirrornetError, PeerError

UNIT = 262144
BLOCKS = 24 - 5 + 1  # that are not zeroes, each once: noise and the end


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> world.Published:
    profile = Profile(UNIT, (9, 3, 1, 10, 23))  # 9 and 10 lie in the hole, 23 is block 0 again
    return world.published(tmp_path_factory.mktemp("published"), profile=profile)


@pytest.fixture
def three(image: world.Published) -> Iterator[list[world.Mirror]]:
    with world.mirrors(image.repo, 3, first=141) as servers:
        yield servers


def pulled(
    image: world.Published,
    servers: list[world.Mirror],
    folder: Path,
    *,
    size: int | None = None,
    tell: Callable[[int, int], None] = lambda done, total: None,
    profile_only: bool = False,
    next: bool = False,
    version: int | None = None,
) -> Pulled:
    options = ClientOptions(
        ",".join(server.url for server in servers), "disk", image.pin, version=version,
        cache=folder / "cache", cache_size=size, state=folder / "state",
    )  # fmt: skip
    return run_pull(PullOptions(options, profile_only, next), tell)


def files(folder: Path) -> list[Path]:
    return [path for path in (folder / "cache" / "blocks").rglob("*") if path.is_file()]


def test_all_of_it_comes_from_all_mirrors_and_once(
    image: world.Published, three: list[world.Mirror], tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []
    done = pulled(image, three, tmp_path, tell=lambda done, total: seen.append((done, total)))
    assert done.fetched == BLOCKS and done.here == 0 and done.profile == 3
    assert seen[0] == (0, done.fetched_bytes) and seen[-1] == (done.fetched_bytes, done.fetched_bytes)
    assert [a for a, _ in seen] == sorted(a for a, _ in seen)
    assert len(files(tmp_path)) == BLOCKS + 1  # and the page
    asked = [path for server in three for path in server.blocks_asked]
    assert len(set(asked)) == BLOCKS + 1
    again = pulled(image, three, tmp_path)
    assert (again.fetched, again.here, again.here_bytes) == (0, BLOCKS, done.fetched_bytes)


def test_the_profile_comes_first_and_alone_where_that_is_wanted(
    image: world.Published, three: list[world.Mirror], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only = pulled(image, three, tmp_path / "only", profile_only=True)
    assert (only.fetched, only.profile) == (3, 3) and len(files(tmp_path / "only")) == 4
    monkeypatch.setattr(gather, "AT_ONCE", 1)
    one = three[:1]
    one[0].asked.clear()
    pulled(image, one, tmp_path / "all")
    first = {path.name for path in files(tmp_path / "only")}
    order = list(dict.fromkeys(path.rpartition("/")[2] for path in one[0].blocks_asked))
    assert set(order[:4]) == first and len(order) == BLOCKS + 1


def test_a_pull_that_was_stopped_goes_on_and_mends_what_is_wrong(
    image: world.Published, three: list[world.Mirror], tmp_path: Path, expected_warnings: list[str]
) -> None:
    expected_warnings.append("held a corrupt block")

    class Stop(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done > total // 3:
            raise Stop

    with pytest.raises(Stop):
        pulled(image, three, tmp_path, tell=stop)
    kept = files(tmp_path)
    assert 0 < len(kept) < BLOCKS
    victim = next(path for path in kept if path.stat().st_size >= UNIT)
    victim.write_bytes(bytes(victim.stat().st_size))
    again = pulled(image, three, tmp_path)
    assert again.here >= len(kept) - 2 and again.fetched + again.here == BLOCKS and again.fetched < BLOCKS
    assert all(path.stat().st_size for path in files(tmp_path)) and len(files(tmp_path)) == BLOCKS + 1


def test_a_quota_that_cannot_hold_it_is_said_before_a_block_is_fetched(
    image: world.Published, three: list[world.Mirror], tmp_path: Path
) -> None:
    with pytest.raises(LimitError, match=r"disk@1 takes 4\.\d MiB, .* may hold 3\.0 MiB: give it more with --cache"):
        pulled(image, three, tmp_path, size=3 << 20)
    assert files(tmp_path) == []
    assert pulled(image, three, tmp_path, profile_only=True).fetched == 3  # the quota is the folder's
    assert pulled(image, three, tmp_path, size=6 << 20).fetched == BLOCKS - 3


def test_a_full_disk_ends_it_with_how_far_it_came(
    image: world.Published,
    three: list[world.Mirror],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    expected_warnings: list[str],
) -> None:
    expected_warnings.append("serving on without it")
    written = 0
    real = os.ftruncate

    def full(handle: int, size: int) -> None:
        nonlocal written
        written += size
        if written > 8 * UNIT:
            raise OSError(28, "No space left on device")
        real(handle, size)

    monkeypatch.setattr(os, "ftruncate", full)
    with pytest.raises(LocalError, match=r"No space left on device \(\d+ of 20 blocks are here; pull again"):
        pulled(image, three, tmp_path)


@pytest.mark.parametrize("behave", ["lie", "truncate", "missing", "die"])
def test_one_bad_mirror_costs_nothing(
    image: world.Published, three: list[world.Mirror], tmp_path: Path, behave: str, expected_warnings: list[str]
) -> None:
    expected_warnings.append("corrupt block")
    three[0].behave = behave
    assert pulled(image, three, tmp_path).fetched == BLOCKS


def test_what_no_mirror_has_is_told(image: world.Published, three: list[world.Mirror], tmp_path: Path) -> None:
    name = next(path for path in (image.repo / "blocks").rglob("*") if path.is_file() and path.stat().st_size > 260000)
    poor = world.copy_of(image.repo, tmp_path / "poor")
    (poor / name.relative_to(image.repo)).unlink()
    for server in three:
        server.folder = poor
    with pytest.raises(PeerError, match=r"no mirror has it .*of 20 blocks are here"):
        pulled(image, three, tmp_path)


def test_slips(image: world.Published, three: list[world.Mirror], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="leave --version out"):
        pulled(image, three, tmp_path, version=1, next=True)
    with pytest.raises(InputError, match="no version of disk is mounted here"):
        pulled(image, three, tmp_path, next=True)
    (tmp_path / "file").write_text("")
    options = ClientOptions(three[0].url, "disk", image.pin, cache=tmp_path / "file", state=tmp_path / "state")
    with pytest.raises(InputError, match="is no folder"):
        run_pull(PullOptions(options), lambda done, total: None)
    offline = ClientOptions(three[0].url, "disk", image.pin, cache=tmp_path / "cache", offline=True)
    with pytest.raises(InputError, match="offline"):
        run_pull(PullOptions(offline), lambda done, total: None)


def test_a_version_without_a_profile(three: list[world.Mirror], tmp_path: Path) -> None:
    plain = world.published(tmp_path, blocks=8)
    with world.mirrors(plain.repo, 1, first=145) as servers:
        with pytest.raises(InputError, match="has no profile"):
            pulled(plain, servers, tmp_path, profile_only=True)
        assert pulled(plain, servers, tmp_path).fetched == 4


def test_the_next_version_beside_a_mounted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, three: list[world.Mirror]
) -> None:
    own = world.published(tmp_path, profile=Profile(UNIT, (2, 5)))
    content = bytearray(own.content)
    dice = random.Random(5)
    for number in (7, 15):
        content[number * UNIT : (number + 1) * UNIT] = dice.randbytes(UNIT)
    own.image.write_bytes(content)
    publish(own.image, "disk", own.repo, own.keys, now=time.time(), profile=Profile(UNIT, (2, 5)))
    asked: list[object] = []

    def mounted(point: object) -> list[dict[str, object]]:
        asked.append(point)
        others = {"ready": True, "repository": "0" * 64, "image": "disk", "version": 2}
        ours = {"ready": True, "repository": own.pin.removeprefix("sha256:"), "image": "disk", "version": 1}
        return [{"ready": False}, others, ours]

    monkeypatch.setattr("mirrornet.app.client.pull.statuses", mounted)
    with world.mirrors(own.repo, 2, first=147) as servers:
        done = pulled(own, servers, tmp_path, next=True)
        assert asked and (done.version, done.beside) == (2, 1)
        assert (done.profile, done.fetched) == (2, 4)  # two of the profile, two that are new
        assert pulled(own, servers, tmp_path, next=True).fetched == 0


def test_blocks_in_packs_come_too(tmp_path: Path) -> None:
    packed = world.published(tmp_path, packs=True)
    with world.mirrors(packed.repo, 2, first=149) as servers:
        assert pulled(packed, servers, tmp_path).fetched == BLOCKS
        assert len(files(tmp_path)) == BLOCKS + 1


def test_every_line_is_one_line(image: world.Published, three: list[world.Mirror], tmp_path: Path) -> None:
    for server in three:
        server.stop()
    with pytest.raises(MirrornetError) as error:
        pulled(image, three, tmp_path)
    assert "\n" not in str(error.value) and "refused" in str(error.value)


def test_a_pull_that_is_killed_leaves_nothing_behind_but_blocks(
    image: world.Published, three: list[world.Mirror], tmp_path: Path
) -> None:
    every = sorted(path for path in (image.repo / "blocks").rglob("*") if path.is_file())
    noise = [path for path in every if UNIT <= path.stat().st_size < 2 * UNIT]
    held = {f"/{path.relative_to(image.repo)}" for path in noise[8:]}  # so that it cannot be over before it is killed
    for server in three:
        server.spare = {f"/{path.relative_to(image.repo)}" for path in every} - held
        server.behave = "hang"
    words = ["pull", three[0].url, "disk", "--root", image.pin]
    folders = ["--cache", str(tmp_path / "cache"), "--state", str(tmp_path / "state")]
    command = [sys.executable, "-c", "from mirrornet.cli import main; main()", *words, *folders]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: len(files(tmp_path)) > 3)
    finally:
        process.kill()
        process.wait()
    kept = len([path for path in files(tmp_path) if not path.name.startswith(".")])
    assert kept < BLOCKS + 1, "it was killed in the middle"
    for server in three:
        server.behave = "good"
    again = pulled(image, three, tmp_path)
    assert again.here >= kept - 1 and again.fetched == BLOCKS - again.here
    assert list((tmp_path / "cache" / "pins").iterdir()) == []


def test_two_pulls_at_once_help_each_other(image: world.Published, three: list[world.Mirror], tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda number: pulled(image, three, tmp_path), range(2)))
    assert all(each.fetched + each.here == BLOCKS for each in both)
    assert len(files(tmp_path)) == BLOCKS + 1
    cache = Cache(tmp_path / "cache")
    cache.measure(time.time())
    assert cache.figures.bytes == sum(path.stat().st_size for path in files(tmp_path))
