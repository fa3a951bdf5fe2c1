"""Which version a machine mounts, with and without a network: each rule of the client's trust, named.

    newest of what verifies; never the word of one mirror against another's proof
    what was verified here stays mountable: offline, with mirrors gone, with all of it expired, and that is said
    never a version seen for the first time in an expired set
    --require-fresh refuses what has expired; a clock set back makes nothing young again
    a forgotten, damaged or foreign trust folder is no trust

Folders serve as mirrors.  Attacks on the same rules are in test_client_attacks.py.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from contents import some_bytes

from mirrornet.client.fetching.fetch import Fetcher
from mirrornet.client.mirrors.source import Urls, endpoints_of
from mirrornet.client.repository import Repository, Trusted
from mirrornet.image.fetch import Bridge
from mirrornet.image.publishing.resign import resign
from mirrornet.model.errors import Expired, InputError, LocalError, Missing, PeerError, Unreachable, Untrusted

NOW, DAY = 1_800_000_000.0, 86400
ONE, TWO = some_bytes(3 * 65536 + 77, 1), some_bytes(3 * 65536 + 77, 2)


class Machine:
    """A client's machine: a state folder."""

    def __init__(self, state: Path, fetcher: Fetcher, root: str) -> None:
        self.state, self.fetcher, self.root = state, fetcher, root

    async def mounts(
        self, *mirrors: Path, now: float = NOW, version: int | None = None, fresh: bool = False
    ) -> Trusted:
        """What a mount would mount from `mirrors`; offline without any."""
        endpoints = endpoints_of(Urls(tuple(mirror.as_uri() for mirror in mirrors))) if mirrors else ()
        repository = Repository(self.state, self.root, self.fetcher)
        return await repository.open(endpoints, "demo", version, now=now, require_fresh=fresh)

    @property
    def trust(self) -> Path:
        (folder,) = (path for path in (self.state / "trust").iterdir() if not path.name.startswith("."))
        return folder


@pytest.fixture
async def here(publisher: Any, tmp_path: Path) -> AsyncIterator[Machine]:
    """A machine, before it has seen anything of a repository with versions 1 and 2."""
    publisher.publish(ONE)
    publisher.copy("old")
    publisher.publish(TWO, now=NOW + 60)
    fetcher = Fetcher()
    yield Machine(tmp_path / "machine", fetcher, publisher.pin)
    await fetcher.close()


def old(publisher: Any) -> Path:
    """A mirror that still has version 1."""
    return Path(publisher.repo).with_name("old")


async def test_rule_no_mirror_reachable_mounts_what_was_verified_here_and_says_so(
    here: Machine, publisher: Any
) -> None:
    assert (await here.mounts(publisher.repo)).warnings == ()
    gone = await here.mounts(publisher.repo.with_name("nowhere"))
    assert gone.image.version == 2 and gone.warnings[0].startswith("no mirror gave fresh metadata: ")


async def test_rule_offline_mounts_the_newest_version_verified_here(here: Machine, publisher: Any) -> None:
    await here.mounts(old(publisher))
    assert (await here.mounts()).image.version == 1
    await here.mounts(publisher.repo)
    found = await here.mounts()
    assert found.image.version == 2 and found.warnings == ()
    assert (await here.mounts(version=1)).image.version == 1, "its index was kept"


async def test_rule_offline_mounts_no_version_whose_index_was_never_here(here: Machine, publisher: Any) -> None:
    await here.mounts(publisher.repo)
    with pytest.raises(Missing, match="the index of demo is not kept here"):
        await here.mounts(version=1)
    with pytest.raises(InputError, match="no version 7"):
        await here.mounts(version=7)


async def test_rule_all_expired_mounts_what_was_verified_here_with_a_warning(here: Machine, publisher: Any) -> None:
    await here.mounts(publisher.repo)
    for mirrors in ((publisher.repo,), ()):
        late = await here.mounts(*mirrors, now=NOW + 400 * DAY)
        assert late.image.version == 2
        assert any(line.startswith("the metadata expired ") for line in late.warnings), late.warnings


async def test_rule_never_a_version_first_seen_in_an_expired_set(here: Machine, publisher: Any) -> None:
    await here.mounts(old(publisher))
    late = await here.mounts(publisher.repo, now=NOW + 400 * DAY)
    assert late.image.version == 1, "version 2 was first seen when its metadata had expired"
    assert "expired" in late.warnings[0]
    with pytest.raises(PeerError, match="no mirror gave metadata that verifies"):
        await Machine(here.state.with_name("new"), here.fetcher, here.root).mounts(publisher.repo, now=NOW + 400 * DAY)


async def test_rule_require_fresh_refuses_what_has_expired_and_nothing_else(here: Machine, publisher: Any) -> None:
    assert (await here.mounts(publisher.repo, fresh=True)).image.version == 2
    assert (await here.mounts(fresh=True)).image.version == 2, "offline, and not expired"
    for mirrors in ((publisher.repo,), ()):
        with pytest.raises(Expired, match=r"expired .* ago, and --require-fresh refuses that"):
            await here.mounts(*mirrors, now=NOW + 400 * DAY, fresh=True)


async def test_rule_a_clock_set_back_makes_nothing_young_again(here: Machine, publisher: Any) -> None:
    """Time is the later of the system's clock and that of the last refresh."""
    await here.mounts(publisher.repo)
    resign(publisher.repo, publisher.keys, now=NOW + 10 * DAY)
    await here.mounts(publisher.repo, now=NOW + 10 * DAY)
    back = await here.mounts(now=NOW - 1000 * DAY)
    assert back.metadata.now == NOW + 10 * DAY and back.image.version == 2
    stale = await here.mounts(old(publisher), now=NOW - 1000 * DAY)
    assert stale.image.version == 2 and stale.warnings


async def test_rule_a_forgotten_trust_folder_is_refused_offline_and_made_again_online(
    here: Machine, publisher: Any
) -> None:
    await here.mounts(publisher.repo)
    shutil.rmtree(here.state)
    with pytest.raises(Unreachable, match="nothing of this repository is kept here"):
        await here.mounts()
    assert not here.state.exists() or not list(here.state.rglob("*.json"))
    assert (await here.mounts(publisher.repo)).image.version == 2
    assert (await here.mounts()).image.version == 2


async def test_rule_a_trust_folder_of_nobody_yet_is_refused_offline(here: Machine, publisher: Any) -> None:
    """The root alone, from a file, says whom to believe and nothing of what there is."""
    machine = Machine(here.state, here.fetcher, str(publisher.repo / "metadata" / "1.root.json"))
    with pytest.raises(Missing, match="no mirror is known"):
        await machine.mounts()


@pytest.mark.parametrize("file", ["timestamp.json", "snapshot.json", "targets.json", "image-demo.json", "root.json"])
@pytest.mark.parametrize("what", ["garbage", "gone"])
async def test_rule_a_damaged_trust_folder_is_no_trust_and_is_mended_online(
    here: Machine, publisher: Any, file: str, what: str
) -> None:
    await here.mounts(publisher.repo)
    path = (here.trust / "current" / file).resolve(strict=True)
    if what == "gone":
        path.unlink()
    else:
        path.write_bytes(b"\x00garbage")
    try:
        offline = (await here.mounts()).image.version
    except (PeerError, LocalError) as error:
        assert "\n" not in str(error)
    else:
        assert offline == 2, "what is not needed may be damaged"
    assert (await here.mounts(publisher.repo)).image.version == 2
    assert (await here.mounts()).image.version == 2


async def test_rule_two_repositories_keep_apart(here: Machine, publisher: Any, tmp_path: Path) -> None:
    """Each has a trust folder; what one says of `demo` is nothing to the other, online and offline."""
    from mirrornet.image.publishing.publish import publish
    from mirrornet.image.trust.keys import keygen

    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "demo.raw").write_bytes(b"another demo")
    pin = keygen(folder / "keys", passphrase=None, now=NOW)
    publish(folder / "demo.raw", "demo", folder / "repo", folder / "keys", now=NOW)
    there = Machine(here.state, here.fetcher, pin)
    await here.mounts(publisher.repo)
    with pytest.raises(Unreachable, match="nothing of this repository is kept here"):
        await there.mounts()
    await there.mounts(folder / "repo")
    assert (await here.mounts()).image.size == len(TWO) and (await there.mounts()).image.size == len(b"another demo")
    wrong = await here.mounts(folder / "repo")
    assert wrong.image.size == len(TWO) and wrong.warnings
    with pytest.raises(Untrusted):
        await Machine(tmp_path / "third", here.fetcher, publisher.pin).mounts(folder / "repo")


async def test_rule_mounts_that_refresh_at_once_agree(here: Machine, publisher: Any) -> None:
    found = await asyncio.gather(*(here.mounts(publisher.repo, old(publisher)) for _ in range(6)))
    assert {each.image.version for each in found} == {2}
    assert (await here.mounts()).image.version == 2
    assert not list((here.state / "trust").glob(".attempt-*")) and not list(here.trust.glob("scratch-*"))


async def test_an_attempt_given_up_leaves_nothing_behind(
    here: Machine, publisher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread writes into the scratch folder until it has noticed."""
    from mirrornet.image.trust import attempt as trust

    real, ended = trust.attempt, []

    def attempt(folder: Path, scratch: Path, fetch: Any, names: Any, now: float) -> Any:
        if scratch.name == "0":
            return real(folder, scratch, fetch, names, now)
        for number in range(300):  # a third of a second: beyond the moment that the others get
            scratch.mkdir(parents=True, exist_ok=True)
            (scratch / str(number)).write_bytes(b"something")
            time.sleep(0.001)
        while not fetch._stopped.is_set():
            time.sleep(0.001)
        (scratch / "last").write_bytes(b"something")
        ended.append(scratch)
        raise Unreachable("given up")

    monkeypatch.setattr(trust, "attempt", attempt)
    assert (await here.mounts(publisher.repo, old(publisher), old(publisher))).image.version == 2
    assert len(ended) == 2 and not list((here.state / "trust").glob(".attempt-*"))


async def test_a_fetch_that_is_stopped_as_it_begins_is_given_up_at_once() -> None:
    class Stopped(Bridge):
        def _ask(self, path: str, limit: int) -> Any:
            self.stop()  # in this very moment, from the event loop's side
            return super()._ask(path, limit)

    async def for_ever(path: str, limit: int) -> bytes:
        await asyncio.Event().wait()
        return b""

    bridge = Stopped(for_ever, asyncio.get_running_loop(), 60)
    async with asyncio.timeout(10):
        with pytest.raises(Unreachable, match="given up"):
            await asyncio.to_thread(bridge, "timestamp.json", 100)


async def test_rule_a_running_session_learns_of_newer_metadata_and_keeps_it_for_the_next_mount(
    here: Machine, publisher: Any
) -> None:
    await here.mounts(old(publisher))
    repository = Repository(here.state, here.root, here.fetcher)
    ends = endpoints_of(Urls((publisher.repo.as_uri(),)))
    metadata = await repository.newest(ends, "demo", now=NOW + 120)
    assert metadata.latest("demo").version == 2
    assert (await repository.head((), metadata, metadata.latest("demo"))).size == len(TWO)
    assert (await here.mounts()).image.version == 2
    with pytest.raises(Unreachable, match="expired"):
        await repository.newest(ends, "demo", now=NOW + 400 * DAY)
    with pytest.raises(Unreachable, match="no mirror is known"):
        await repository.newest((), "demo", now=NOW)
