"""`pin`: by name from what is known here, with figures against the quota; what is pinned stays, what is not goes."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import client_mirrors as world
import pytest
from kept import kept

from mirrornet.app.client.pinning import Pinning
from mirrornet.app.client.pull import PullOptions, run_pull
from mirrornet.app.client.session import ClientOptions
from mirrornet.client.cache.pins import Kind
from mirrornet.client.cache.store import Cache
from mirrornet.image.format.block import Codec, pack_block
from mirrornet.image.format.profile import Profile
from mirrornet.image.publishing.publish import publish
from mirrornet.model.errors import InputError, LimitError

UNIT = 262144
NOW = time.time()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> world.Published:
    """Two versions of an image with a profile, of which the second has one new block."""
    made = world.published(tmp_path_factory.mktemp("published"), blocks=12, profile=Profile(UNIT, (1, 2)))
    content = bytearray(made.content)
    content[0:UNIT] = random.Random(9).randbytes(UNIT)
    made.image.write_bytes(content)
    publish(made.image, "disk", made.repo, made.keys, now=time.time(), profile=Profile(UNIT, (1, 2)))
    return made


@pytest.fixture(scope="module")
def mirror(image: world.Published) -> Iterator[world.Mirror]:
    with world.mirrors(image.repo, 1, first=151) as (server,):
        yield server


def pull(
    image: world.Published, mirror: world.Mirror, folder: Path, *, version: int | None = None, profile: bool = False
) -> None:
    options = ClientOptions(
        mirror.url, "disk", image.pin, version=version, cache=folder / "cache", state=folder / "state"
    )
    run_pull(PullOptions(options, profile), lambda done, total: None)


def desk(folder: Path, size: int | None = None) -> Pinning:
    return Pinning(folder / "cache", size, folder / "state")


def files(folder: Path) -> set[str]:
    return {path.name for path in kept(folder / "cache")}


def test_what_is_pinned_stays_whatever_comes(image: world.Published, mirror: world.Mirror, tmp_path: Path) -> None:
    pull(image, mirror, tmp_path)
    ours = files(tmp_path)
    (pinned,) = desk(tmp_path).pin(["disk"], "", profile_only=False, now=NOW)
    assert str(pinned.subject) == "disk@2" and pinned.complete and pinned.here == pinned.size
    cache = Cache(tmp_path / "cache", pinned.size + 5 * UNIT)
    for seed in range(100, 120):
        ref, stored = pack_block(random.Random(seed).randbytes(UNIT), Codec.STORED, 0)
        assert cache.put(ref, stored, time.time())
    assert ours <= files(tmp_path) and len(files(tmp_path)) == len(ours) + 5 and cache.figures.pinned == pinned.size
    assert [str(subject) for subject in desk(tmp_path).remove(["disk"])] == ["disk@2"]
    for seed in range(120, 160):
        ref, stored = pack_block(random.Random(seed).randbytes(UNIT), Codec.STORED, 0)
        assert cache.put(ref, stored, time.time() + seed)
    assert not ours & files(tmp_path)


def test_a_cache_full_of_pins_keeps_nothing_new_and_says_why(
    image: world.Published, mirror: world.Mirror, tmp_path: Path
) -> None:
    pull(image, mirror, tmp_path)
    (pinned,) = desk(tmp_path).pin(["disk"], "", profile_only=False, now=NOW)
    cache = Cache(tmp_path / "cache", pinned.size)
    ref, stored = pack_block(random.Random(1).randbytes(UNIT), Codec.STORED, 0)
    assert not cache.put(ref, stored, time.time())
    assert "is pinned" in cache.figures.refused and len(files(tmp_path)) == len({*files(tmp_path)} - {ref.hash.hex()})


def test_more_than_the_quota_is_refused_with_figures(
    image: world.Published, mirror: world.Mirror, tmp_path: Path
) -> None:
    pull(image, mirror, tmp_path)
    pull(image, mirror, tmp_path, version=1)
    with pytest.raises(LimitError, match=r"disk@2: 2\.0 MiB are more than the 1\.0 MiB that .* give it more"):
        desk(tmp_path, 1 << 20).pin(["disk"], "", profile_only=False, now=NOW)
    assert desk(tmp_path).listed() == []


def test_versions_that_share_blocks_count_them_once(
    image: world.Published, mirror: world.Mirror, tmp_path: Path
) -> None:
    pull(image, mirror, tmp_path)
    pull(image, mirror, tmp_path, version=1)
    both = desk(tmp_path).pin(["disk@1", "disk@2"], "", profile_only=False, now=NOW)
    one = both[0].size
    assert one < 9 * UNIT
    desk(tmp_path).remove(["disk"])
    tight = desk(tmp_path, one + UNIT + UNIT // 2)  # the one block they differ in, and a page
    assert len(tight.pin(["disk@1"], "", profile_only=False, now=NOW)) == 1
    assert len(tight.pin(["disk@2"], "", profile_only=False, now=NOW)) == 1
    desk(tmp_path).remove(["disk@1"])
    with pytest.raises(LimitError, match=r"beside .* that are pinned are more than"):
        desk(tmp_path, one + UNIT // 2).pin(["disk@1"], "", profile_only=False, now=NOW)


def test_a_version_is_pinned_before_it_is_here(image: world.Published, mirror: world.Mirror, tmp_path: Path) -> None:
    pull(image, mirror, tmp_path, profile=True)
    (pinned,) = desk(tmp_path).pin(["disk"], "", profile_only=False, now=NOW)
    assert not pinned.complete and 0 < pinned.here < pinned.size
    pull(image, mirror, tmp_path)
    (pinned,) = desk(tmp_path).listed()
    assert pinned.complete and pinned.kind is Kind.HAND


def test_only_the_profile(image: world.Published, mirror: world.Mirror, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing is known yet"):
        desk(tmp_path).pin(["disk"], "", profile_only=True, now=NOW)
    pull(image, mirror, tmp_path, profile=True)
    (pinned,) = desk(tmp_path).pin(["disk"], "", profile_only=True, now=NOW)
    assert pinned.complete and not pinned.whole and 2 * UNIT < pinned.size < 3 * UNIT


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("dsik", "did you mean disk"),
        ("disk@0", "write NAME or NAME@VERSION, such as disk@3"),
        ("disk@x", "write NAME or NAME@VERSION"),
        ("disk@9", "has no version 9"),
        ("Disk", "cannot name an image"),
        ("@1", "write NAME|cannot name an image"),
    ],
)
def test_slips(image: world.Published, mirror: world.Mirror, tmp_path: Path, name: str, told: str) -> None:
    pull(image, mirror, tmp_path, profile=True)
    with pytest.raises(InputError, match=told):
        desk(tmp_path).pin([name], "", profile_only=False, now=NOW)
    assert desk(tmp_path).listed() == []


def test_a_pull_makes_room_around_pins_or_says_that_it_cannot(
    image: world.Published, mirror: world.Mirror, tmp_path: Path
) -> None:
    pull(image, mirror, tmp_path / "other")
    (second,) = desk(tmp_path / "other").pin(["disk@2"], "", profile_only=False, now=NOW)
    pull(image, mirror, tmp_path, version=1)
    desk(tmp_path, second.size + 100).pin(["disk@1"], "", profile_only=False, now=NOW)
    with pytest.raises(LimitError, match=r"disk@2 takes .* of which \d+ B are pinned: give it more"):
        pull(image, mirror, tmp_path)  # its blocks are shared; the page of version 1 is not
    Cache(tmp_path / "cache", second.size + 4096).measure(NOW)
    pull(image, mirror, tmp_path)
    assert desk(tmp_path).listed()[0].complete


def test_garbage_among_the_pins_is_told_once_and_harmless(
    image: world.Published, mirror: world.Mirror, tmp_path: Path, expected_warnings: list[str]
) -> None:
    expected_warnings.append("is no pin and holds nothing")
    pull(image, mirror, tmp_path)
    (pinned,) = desk(tmp_path).pin(["disk"], "", profile_only=False, now=NOW)
    folder = tmp_path / "cache" / "pins"
    good = next(iter(folder.iterdir())).read_bytes()
    (folder / "hand-garbage").write_bytes(b"\x00\xff" * 4000)
    (folder / "hand-empty").write_bytes(b"")
    (folder / "hand-short").write_bytes(good[:-7])
    (folder / "hand-deep").write_bytes(b"[" * 100_000 + b"\n")
    (folder / "hand-fields").write_bytes(good.replace(b'"version": 2', b'"version": "2"'))
    (folder / "folder").mkdir()
    assert [str(each.subject) for each in desk(tmp_path).listed()] == ["disk@2"]
    cache = Cache(tmp_path / "cache", pinned.size + 2 * UNIT)
    for seed in range(6):
        ref, stored = pack_block(random.Random(seed).randbytes(UNIT), Codec.STORED, 0)
        assert cache.put(ref, stored, time.time())
    assert cache.figures.pinned == pinned.size


def test_the_command(image: world.Published, mirror: world.Mirror, tmp_path: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from mirrornet.cli import main; main()", *words]
        folders = ["--cache", str(tmp_path / "cache"), "--state", str(tmp_path / "state")]
        return subprocess.run([*command, *folders], capture_output=True, text=True, timeout=60, check=False)

    done = run("pull", mirror.url, "disk", "--root", image.pin, "--profile-only")
    assert done.returncode == 0 and "disk version 2, its profile: 2 blocks fetched, 512." in done.stdout, done
    assert "fetching: 100 %" in done.stderr
    done = run("pin", "disk")
    assert done.returncode == 0 and "disk@2 is pinned: " in done.stdout and "mirrornet pull brings" in done.stdout
    done = run("pull", mirror.url, "disk", "--root", image.pin, "--json")
    assert json.loads(done.stdout)["here"] == 2
    done = run("pin", "--list")
    assert "disk@2  all of it" in done.stdout and "all here  by hand since" in done.stdout
    assert json.loads(run("pin", "--list", "--json").stdout)[0]["complete"] is True
    assert run("pin", "disk@2", "--remove").stdout == "disk@2 is not pinned any more\n"
    assert run("pin", "--list").stdout == "nothing is pinned\n"
    for words, code in (
        (("pin", "disk", "--cache-size", "0"), 2),
        (("pin",), 2),
        (("pin", "disk", "--list"), 2),
        (("pin", "disk", "--remove"), 2),
    ):
        done = run(*words)
        assert done.returncode == code and done.stderr.count("\n") == 1, done.stderr
    done = run("pin", "disk", "--cache-size", "1M")
    assert done.returncode == 3 and "more than the 1.0 MiB" in done.stderr
