"""Metadata is on its way before it is asked for; what a liar names costs some files in vain and nothing else."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import client_mirrors as world
import pytest

from mirrornet.client.foresight import LIMITS, TIMESTAMP, Foresight, at_hand
from mirrornet.image.trust.versions import Metadata
from mirrornet.model.errors import Missing, Untrusted


class Mirror:
    """Files by path; each turn of the event loop answers what was asked before it."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.asked: list[tuple[str, int]] = []

    async def fetch(self, path: str, limit: int) -> bytes:
        self.asked.append((path, limit))
        await asyncio.sleep(0)
        if path not in self.files:
            raise Missing(path)
        return self.files[path]

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]


def said(version: int, **more: Any) -> bytes:
    return json.dumps({"signed": {"version": version, **more}, "signatures": []}).encode()


def proven(root: int, timestamp: int) -> Metadata:
    return Metadata("ab", b"", timestamp, 1, 0.0, {}, root_version=root)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    repo = world.published(tmp_path_factory.mktemp("foreseen")).repo
    return {str(path.relative_to(repo)): path.read_bytes() for path in repo.rglob("*") if path.is_file()}


async def settled() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


async def test_all_up_to_the_index_is_on_its_way_before_it_is_asked_for(repository: dict[str, bytes]) -> None:
    mirror = Mirror(repository)
    foresight = Foresight(mirror.fetch, "disk", (2,))
    await settled()
    index = next(path for path in repository if path.endswith(".index"))
    chain = ["metadata/1.snapshot.json", "metadata/1.targets.json", "metadata/1.image-disk.json", index]
    assert mirror.paths == ["metadata/2.root.json", TIMESTAMP, *chain]
    with pytest.raises(Missing):
        await foresight.get("metadata/2.root.json", LIMITS["root"])
    for path in (TIMESTAMP, *chain):
        assert await foresight.get(path, 1 << 20) == repository[path]
    assert len(mirror.asked) == 6
    assert await foresight.get(TIMESTAMP, 1 << 20) and len(mirror.asked) == 7  # each time anew
    await foresight.close()


async def test_what_is_kept_already_is_not_asked_for(repository: dict[str, bytes]) -> None:
    mirror = Mirror(repository)
    foresight = Foresight(mirror.fetch, "disk", (), repository[TIMESTAMP])
    await settled()
    assert mirror.paths == [TIMESTAMP]
    await foresight.close()


async def test_a_limit_holds_for_what_came_before_it_was_asked(repository: dict[str, bytes]) -> None:
    foresight = Foresight(Mirror(repository).fetch, "disk", ())
    await settled()
    with pytest.raises(Untrusted):
        await foresight.get("metadata/1.snapshot.json", 100)
    await foresight.close()


@pytest.mark.parametrize(
    "files",
    [
        {TIMESTAMP: b"<html>please log in</html>"},
        {TIMESTAMP: b"[" * 15_000},
        {TIMESTAMP: said(1, meta={"snapshot.json": {"version": "../../etc"}})},
        {TIMESTAMP: said(1, meta={"snapshot.json": {"version": -1}})},
        {TIMESTAMP: said(1, meta=[1])},
        {TIMESTAMP: json.dumps([1]).encode()},
        {TIMESTAMP: json.dumps({"signed": 7}).encode()},
    ],
)
async def test_nonsense_leads_nowhere(files: dict[str, bytes]) -> None:
    mirror = Mirror(files)
    foresight = Foresight(mirror.fetch, "disk", ())
    await settled()
    assert mirror.paths == [TIMESTAMP]
    assert await foresight.get(TIMESTAMP, LIMITS["timestamp"]) == files[TIMESTAMP]
    await foresight.close()


async def test_a_liars_names_stay_below_the_repository_and_within_limits() -> None:
    row = {"version": 5}
    files = {
        TIMESTAMP: said(9, meta={"snapshot.json": row}),
        "metadata/5.snapshot.json": said(5, meta={"targets.json": row, "image-disk.json": row, "../x.json": row}),
        "metadata/5.image-disk.json": said(
            5,
            targets={
                "disk/1/index": {"hashes": {"sha256": "a" * 64}},
                "disk/7/index": {"hashes": {"sha256": "../" * 20}},
                "disk/3/../index": {"hashes": {"sha256": "b" * 64}},
                "other/9/index": {"hashes": {"sha256": "c" * 64}},
                "disk/2/index": 3,
            },
        ),
    }
    mirror = Mirror(files)
    foresight = Foresight(mirror.fetch, "disk", ())
    await settled()
    assert mirror.paths == [TIMESTAMP, *(f"metadata/5.{name}.json" for name in ("snapshot", "targets", "image-disk"))]
    assert all(limit <= LIMITS["targets"] for _, limit in mirror.asked)
    await foresight.close()


async def test_what_a_mirror_claims_to_have() -> None:
    mirror = Mirror({TIMESTAMP: said(4, meta={})})
    foresight = Foresight(mirror.fetch, "disk", (3,))
    assert foresight.may_be_newer(proven(2, 4))  # nobody knows yet
    await settled()
    assert not foresight.may_be_newer(proven(2, 4))
    assert foresight.may_be_newer(proven(2, 3))
    await foresight.close()


async def test_a_newer_root_may_be_newer() -> None:
    foresight = Foresight(Mirror({TIMESTAMP: said(4, meta={}), "metadata/3.root.json": said(3)}).fetch, "disk", (3,))
    await settled()
    assert foresight.may_be_newer(proven(2, 4)) and not foresight.may_be_newer(proven(3, 4))
    await foresight.close()


def test_guesses_are_made_of_what_is_here(tmp_path: Path) -> None:
    root = tmp_path / "root.json"
    root.write_bytes(said(3))
    assert at_hand(None, str(root)) == (b"", (4,))
    assert at_hand(None, "sha256:" + "0" * 64) == (b"", (1, 2))
    assert at_hand(None, str(tmp_path / "absent")) == (b"", ())
    (tmp_path / "current").mkdir()
    (tmp_path / "current/root.json").write_bytes(said(6))
    (tmp_path / "current/timestamp.json").write_bytes(b"x")
    assert at_hand(tmp_path, "sha256:" + "0" * 64) == (b"x", (7,))
