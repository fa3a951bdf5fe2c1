"""The attacks of FORMAT.md's table against all of the client: mirrors in, bytes of the image out.

Folders serve as mirrors (file: URLs, the client's own fetcher), so nothing stands between an attack and the code that a
mount runs.  An attacker alone is refused, in one line that says what happened and what to do; beside a good mirror he
costs nothing but being asked; and never does a reader get a byte that was not published.
"""

from __future__ import annotations

import shutil
import zlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from contents import some_bytes
from tuf.api.metadata import Metadata, Timestamp

from mirrornet.client.cache.store import Cache
from mirrornet.client.fetching.failover import Failover
from mirrornet.client.fetching.fetch import Fetcher
from mirrornet.client.mirrors.choice import Choice
from mirrornet.client.mirrors.source import Urls, endpoints_of
from mirrornet.client.reading.reader import Reader
from mirrornet.client.repository import Repository, Trusted
from mirrornet.image.fetch import file_fetch
from mirrornet.image.inventory import needed
from mirrornet.image.publishing.listing import listed
from mirrornet.image.publishing.publish import publish
from mirrornet.image.publishing.resign import resign
from mirrornet.image.publishing.retire import retire
from mirrornet.image.publishing.rollback import rollback
from mirrornet.image.publishing.rotate import rotate
from mirrornet.image.trust.keyfiles import key_path, open_key
from mirrornet.image.trust.keys import keygen
from mirrornet.model.errors import Expired, InputError, PeerError, Untrusted

NOW, DAY, SMALL = 1_800_000_000.0, 86400, 65536
ONE, TWO = some_bytes(3 * SMALL + 77, 1), some_bytes(3 * SMALL + 77, 2)


class Machine:
    """A client's machine: a state folder, and no cache that outlives a read."""

    def __init__(self, folder: Path, fetcher: Fetcher, root: str) -> None:
        self.folder, self.fetcher, self.root = folder, fetcher, root

    async def open(self, *mirrors: Path, now: float = NOW, version: int | None = None, fresh: bool = False) -> Trusted:
        """What a mount would mount."""
        endpoints = endpoints_of(Urls(tuple(mirror.as_uri() for mirror in mirrors)))
        repository = Repository(self.folder / "state", self.root, self.fetcher)
        return await repository.open(endpoints, "demo", version, now=now, require_fresh=fresh)

    async def read(self, trusted: Trusted, *mirrors: Path) -> bytes:
        """The whole image, from `mirrors`, the first one preferred."""
        shutil.rmtree(self.folder / "cache", ignore_errors=True)
        pool, choice = ThreadPoolExecutor(2), Choice()
        choice.update(endpoints_of(Urls(tuple(mirror.as_uri() for mirror in mirrors))))
        failover = Failover(self.fetcher, choice, pool)
        reader = Reader(trusted.head, Cache(self.folder / "cache"), failover, pool, deadline=20.0)
        try:
            return await reader.read(0, trusted.head.size)
        finally:
            await reader.close()
            pool.shutdown()

    async def refuses(self, line: str, *mirrors: Path, now: float = NOW) -> None:
        """Nothing can be mounted from `mirrors` alone, and the reason is told with advice."""
        with pytest.raises(PeerError, match=line) as caught:
            await self.open(*mirrors, now=now)
        assert "\n" not in str(caught.value)
        assert "name other mirrors" in str(caught.value) or "the pin is wrong" in str(caught.value)


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    fetcher = Fetcher()
    yield fetcher
    await fetcher.close()


@pytest.fixture
def machine(tmp_path: Path, fetcher: Fetcher) -> Callable[..., Machine]:
    """machine(root): a new client."""
    count = iter(range(100))
    return lambda root: Machine(tmp_path / f"machine{next(count)}", fetcher, root)


@pytest.fixture
def world(publisher: Any) -> tuple[Any, Path, Path]:
    """(publisher, a mirror that still has version 1, a mirror that has versions 1 and 2)."""
    publisher.publish(ONE)
    old = publisher.copy("old")
    publisher.publish(TWO, now=NOW + 60)
    return publisher, old, publisher.copy("new")


def changed(new: Path, name: str, **files: bytes) -> Path:
    """A copy of the mirror `new` beside it, with other bytes in some files of metadata ("_" for ".")."""
    copy = Path(shutil.copytree(new, new.with_name(name)))
    for path, data in files.items():
        (copy / "metadata" / path.replace("__", ".")).write_bytes(data)
    return copy


def half_copied(old: Path, new: Path) -> Path:
    return changed(old, "half", timestamp__json=(new / "metadata/timestamp.json").read_bytes())


def portal(old: Path, new: Path) -> Path:
    copy = changed(new, "portal")
    for path in copy.rglob("*"):
        if path.is_file():
            path.write_bytes(b"<html>Please log in</html>")
    return copy


def stranger(old: Path, new: Path) -> Path:
    """The mirror of another repository, which has an image of the same name."""
    folder = new.with_name("stranger")
    folder.mkdir()
    (folder / "image.raw").write_bytes(b"another repository's demo")
    keygen(folder / "keys", passphrase=None, now=NOW)
    publish(folder / "image.raw", "demo", folder / "repo", folder / "keys", now=NOW)
    return folder / "repo"


def mixed(old: Path, new: Path) -> Path:
    return changed(new, "mixed", **{"2__image-demo__json": (new / "metadata/1.image-demo.json").read_bytes()})


def endless(old: Path, new: Path) -> Path:
    return changed(new, "endless", timestamp__json=b" " * 20_000)


def no_index(old: Path, new: Path) -> Path:
    copy = changed(new, "noindex")
    for path in (copy / "files/demo/2").iterdir():
        path.unlink()
    return copy


def swapped_index(old: Path, new: Path) -> Path:
    copy = changed(new, "swapped")
    (one,), (two,) = ((copy / f"files/demo/{number}").iterdir() for number in (1, 2))
    two.write_bytes(one.read_bytes())
    return copy


def lying_index(old: Path, new: Path) -> Path:
    """An index whose header says that it is longer than it is."""
    copy = changed(new, "lying")
    (path,) = (copy / "files/demo/2").iterdir()
    data = bytearray(path.read_bytes())
    data[8:12] = (2**32 - 1).to_bytes(4, "little")
    path.write_bytes(data)
    return copy


MIRRORS = {
    half_copied: r"does not have metadata/2\.snapshot\.json .*; the mirror is half-copied, ask another",
    portal: "is not signed metadata|not this|the pin says",
    stranger: "another repository",
    mixed: "is not the file that the metadata names",
    endless: "more than the 16384 bytes",
    no_index: "does not have files/demo/2/",
    swapped_index: "is not the index that was signed",
    lying_index: "is not the index that was signed",
}
KNOWN = (half_copied, mixed, no_index, swapped_index, lying_index)  # what is wrong there, this machine has already


@pytest.mark.parametrize("make", MIRRORS, ids=lambda make: make.__name__)
async def test_a_bad_mirror_beside_a_good_one(world: Any, machine: Callable[..., Machine], make: Any) -> None:
    """Alone it is refused; asked first, it costs nothing; to a machine that has seen the image it changes nothing."""
    publisher, old, new = world
    bad = make(old, new)
    await machine(publisher.pin).refuses(MIRRORS[make], bad)
    here = machine(publisher.pin)
    trusted = await here.open(bad, new)
    assert trusted.image.version == 2 and await here.read(trusted, new) == TWO
    again = await here.open(bad)  # it keeps what it has verified
    assert again.image.version == 2 and (make in KNOWN or "no mirror gave fresh metadata" in again.warnings[0])
    assert await here.read(again, new) == TWO


async def test_a_stale_mirror_answers_first(world: Any, machine: Callable[..., Machine]) -> None:
    """To who has never seen better it shows version 1, for three days at most; to all others it is of no use."""
    publisher, old, new = world
    here = machine(publisher.pin)
    assert (await here.open(old)).image.version == 1
    assert (await here.open(old, new)).image.version == 2
    stale = await here.open(old)
    assert stale.image.version == 2 and "stale or replays old metadata" in stale.warnings[0]
    await machine(publisher.pin).refuses("mirrornet resign", old, now=NOW + 3 * DAY)


async def test_a_frozen_mirror(world: Any, machine: Callable[..., Machine]) -> None:
    publisher, _, new = world
    here = machine(publisher.pin)
    await here.open(new)
    late = await here.open(new, now=NOW + 40 * DAY)  # what was verified is mounted all the same, and that is said
    assert late.image.version == 2 and any("the metadata expired" in warning for warning in late.warnings)
    with pytest.raises(Expired, match="--require-fresh refuses"):
        await here.open(new, now=NOW + 40 * DAY, fresh=True)
    await machine(publisher.pin).refuses("expired", new, now=NOW + 40 * DAY)


async def test_a_client_without_a_clock(world: Any, machine: Callable[..., Machine]) -> None:
    """1970 by its clock: judged by the time of the last set it took."""
    publisher, old, _ = world
    resign(publisher.repo, publisher.keys, now=NOW + 10 * DAY)
    here = machine(publisher.pin)
    assert (await here.open(publisher.repo, now=NOW + 10 * DAY)).warnings == ()
    back = await here.open(old, now=0.0)
    assert back.image.version == 2 and "no mirror gave fresh metadata" in back.warnings[0]
    assert (await here.open(publisher.repo, now=0.0)).warnings == ()


async def test_a_wrong_pin(world: Any, machine: Callable[..., Machine]) -> None:
    _, _, new = world
    await machine("sha256:" + "0" * 64).refuses("another repository, or the pin is wrong", new)


async def test_two_repositories_on_one_client(world: Any, machine: Callable[..., Machine]) -> None:
    publisher, old, new = world
    foreign = stranger(old, new)
    here = machine(publisher.pin)
    there = Machine(here.folder, here.fetcher, str(foreign / "metadata/1.root.json"))
    for _ in range(2):
        assert await here.read(await here.open(new), new) == TWO
        assert await there.read(await there.open(foreign), foreign) == b"another repository's demo"
    assert "not signed by the keys" in (await here.open(foreign)).warnings[0]


def blocks(repo: Path, version: int) -> list[Path]:
    image = listed(repo, NOW).version("demo", version)
    return [repo / each.path for each in needed(image, file_fetch(repo)) if each.kind == "block"]


def swap(paths: list[Path]) -> None:
    first, second = paths[0].read_bytes(), paths[1].read_bytes()
    paths[0].write_bytes(second)
    paths[1].write_bytes(first)


def bomb(paths: list[Path]) -> None:
    """A gibibyte in a megabyte, in the place of 64 KiB."""
    packer = zlib.compressobj(9)
    part = bytes(1 << 24)
    data = b"".join(packer.compress(part) for _ in range(64)) + packer.flush()
    for path in paths:
        path.write_bytes(data)


BLOCKS: dict[str, Callable[[list[Path]], object]] = {
    "swapped": swap,
    "truncated": lambda paths: [path.write_bytes(path.read_bytes()[:-1]) for path in paths],
    "empty": lambda paths: [path.write_bytes(b"") for path in paths],
    "one bit": lambda paths: [path.write_bytes(path.read_bytes()[:-1] + b"\x00") for path in paths],
    "bomb": bomb,
    "endless": lambda paths: [path.write_bytes(path.read_bytes() + bytes(1 << 20)) for path in paths],
}


@pytest.mark.parametrize("attack", BLOCKS)
async def test_blocks_that_are_not_what_was_signed(
    world: Any, machine: Callable[..., Machine], attack: str, expected_warnings: list[str]
) -> None:
    expected_warnings.append("gave a corrupt block")
    publisher, _, new = world
    bad = changed(new, "bad")
    BLOCKS[attack](blocks(bad, 2))
    here = machine(publisher.pin)
    trusted = await here.open(bad)
    assert await here.read(trusted, bad, new) == TWO
    with pytest.raises(Untrusted, match="gave wrong bytes, and nobody else has it") as caught:
        await here.read(trusted, bad)
    assert "\n" not in str(caught.value)


async def test_any_retained_version_by_its_number(world: Any, machine: Callable[..., Machine]) -> None:
    publisher, _, _ = world
    rollback(publisher.repo, publisher.keys, "demo", 1, now=NOW + 120)
    here = machine(publisher.pin)
    for version, content in ((None, ONE), (1, ONE), (2, TWO), (3, ONE)):
        trusted = await here.open(publisher.repo, version=version)
        assert trusted.image.version == (version or 3)
        assert await here.read(trusted, publisher.repo) == content
    retire(publisher.repo, publisher.keys, "demo", versions=[1], now=NOW + 180)
    with pytest.raises(InputError, match=r"has no version 1 \(newest 3; there are 2, 3\)"):
        await here.open(publisher.repo, version=1)
    assert await here.read(await here.open(publisher.repo, version=3), publisher.repo) == ONE


async def test_key_compromise_with_rotation(world: Any, machine: Callable[..., Machine], tmp_path: Path) -> None:
    """Everything on the publishing machine is stolen: the thief publishes, and goes on doing so after the rotation."""
    publisher, _, new = world
    loot, thief = tmp_path / "loot", tmp_path / "thief"
    shutil.copytree(publisher.keys, loot)
    for name in ("root.pem", "targets.pem"):  # these were offline
        (loot / name).unlink()
    shutil.copytree(new, thief)
    (tmp_path / "evil.raw").write_bytes(b"evil")
    publish(tmp_path / "evil.raw", "demo", thief, loot, block_size=SMALL, now=NOW)
    for _ in range(20):
        resign(thief, loot, now=NOW)
    fooled = machine(publisher.pin)
    assert await fooled.read(await fooled.open(thief, new), thief) == b"evil"  # as FORMAT.md says it would

    rotate(publisher.repo, publisher.keys, ["snapshot", "timestamp", "image-demo"], now=NOW)
    await machine(publisher.pin).refuses("not signed by the keys", changed_root(thief, publisher.repo))
    for here in (fooled, machine(publisher.pin)):
        trusted = await here.open(publisher.repo, thief)  # who has seen the new root is lost to the thief
        assert (trusted.image.version, trusted.metadata.root_version) == (2, 2)
        assert await here.read(trusted, publisher.repo) == TWO
        later = await here.open(thief)
        assert later.image.version == 2 and "not signed by the keys" in later.warnings[0]
        assert (await here.open()).image.version == 2
    publisher.publish(ONE, now=NOW)
    assert await fooled.read(await fooled.open(thief, publisher.repo), publisher.repo) == ONE


def changed_root(thief: Path, repo: Path) -> Path:
    """The thief's mirror with the new root in it, such as a proxy in front of both would show."""
    copy = Path(shutil.copytree(thief, thief.with_name("proxy")))
    shutil.copy(repo / "metadata/2.root.json", copy / "metadata")
    return copy


async def test_fast_forward_recovery_by_rotate(world: Any, machine: Callable[..., Machine]) -> None:
    """A thief of the online keys signs timestamp 2³¹−1; `rotate` makes the next small number good again."""
    publisher, _, new = world
    stamp = Metadata[Timestamp].from_bytes((new / "metadata/timestamp.json").read_bytes()).signed
    stamp.version = 2**31 - 1
    forged: Metadata[Timestamp] = Metadata(stamp)
    forged.sign(open_key(key_path(publisher.keys, "timestamp"), "timestamp", None))
    thief = changed(new, "thief", timestamp__json=forged.to_bytes())
    here = machine(publisher.pin)
    await here.open(thief)
    publisher.publish(ONE, now=NOW + 120)
    stuck = await here.open(publisher.repo)
    assert stuck.image.version == 2 and "stale or replays" in stuck.warnings[0]
    rotate(publisher.repo, publisher.keys, ["timestamp"], now=NOW + 120)
    trusted = await here.open(thief, publisher.repo)
    assert (trusted.image.version, trusted.metadata.timestamp_version) == (3, 4)
    assert await here.read(trusted, publisher.repo) == ONE
