"""Rotation of keys: clients follow it, thieves do not, and a kill at any moment leaves a repository that works."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from mirrornet.image.publishing.held import held
from mirrornet.image.publishing.publish import publish
from mirrornet.image.publishing.resign import resign
from mirrornet.image.publishing.rotate import rotate
from mirrornet.image.trust import shelf as shelf_module
from mirrornet.image.trust.keyfiles import key_files, open_key
from mirrornet.image.trust.keys import first_root, keygen
from mirrornet.image.trust.shelf import Shelf
from mirrornet.model.errors import InputError, LocalError, PeerError, Untrusted

NOW, DAY = 1_800_000_000.0, 86400
ONLINE = ("snapshot", "timestamp")
EVERY = [("root",), ("targets",), ("snapshot",), ("timestamp",), ("image-demo",), ONLINE,
         ("root", "targets", *ONLINE, "image-demo")]  # fmt: skip


def keyids(publisher: Any, role: str) -> list[str]:
    """The keys that count for `role`, by the repository's newest metadata."""
    shelf = Shelf(publisher.repo, publisher.root, NOW)
    names = shelf.root if role in shelf.root.roles else shelf.targets
    return list(names.get_delegated_role(role).keyids)


def on_disk(keys: Path, role: str) -> list[str]:
    return [open_key(path, role, None).public_key.keyid for path in key_files(keys, role)]


@pytest.mark.parametrize("roles", EVERY, ids=" ".join)
def test_a_client_follows(publisher: Any, client: Any, mirror: Any, roles: tuple[str, ...]) -> None:
    publisher.publish(b"one")
    here = client(publisher.root)
    here.refresh(mirror(publisher.repo))
    before = {role: keyids(publisher, role) for role in roles}
    report = rotate(publisher.repo, publisher.keys, roles, now=NOW + 60)
    for role in roles:
        assert keyids(publisher, role) == on_disk(publisher.keys, role) != before[role]
        assert [path.name for path in key_files(publisher.keys, role)] == [role.removeprefix("image-") + ".pem"]
    assert len(report.replaced) == len(roles) and all(path.parent.name == "replaced" for path in report.replaced)
    assert report.pin == publisher.pin and first_root(publisher.keys) == publisher.root
    for known in (here, client(publisher.root, "new")):
        metadata = known.refresh(mirror(publisher.repo), now=NOW + 60)
        assert metadata.latest("demo").version == 1 and metadata.repository_id == publisher.pin.removeprefix("sha256:")
    assert publisher.publish(b"two", now=NOW + 120).version == 2  # by the new keys
    assert here.refresh(mirror(publisher.repo), now=NOW + 120).latest("demo").version == 2
    assert here.load(now=NOW + 120).latest("demo").version == 2


def test_several_rotations_in_one_go(publisher: Any, client: Any, mirror: Any) -> None:
    """A client that slept through seven new roots, five of them of root itself."""
    publisher.publish(b"one")
    asleep = client(publisher.root)
    asleep.refresh(mirror(publisher.repo))
    for number, roles in enumerate([("root",), ONLINE, ("root",), ("root", "targets"), ("root",), ("root",), ONLINE]):
        assert rotate(publisher.repo, publisher.keys, roles, now=NOW + number).root == number + 2
    publisher.publish(b"two", now=NOW + DAY)
    for known in (asleep, client(publisher.root, "new")):
        metadata = known.refresh(mirror(publisher.repo), now=NOW + DAY)
        assert (metadata.root_version, metadata.latest("demo").version) == (8, 2)


@pytest.mark.parametrize("role", ["targets", "snapshot", "timestamp", "image-demo"])
def test_a_lost_key_is_replaced(publisher: Any, client: Any, mirror: Any, role: str) -> None:
    publisher.publish(b"one")
    here = client(publisher.root)
    here.refresh(mirror(publisher.repo))
    (path,) = key_files(publisher.keys, role)
    path.unlink()
    report = rotate(publisher.repo, publisher.keys, [role], now=NOW)
    assert report.made == (path,) and report.replaced == ()
    assert here.refresh(mirror(publisher.repo)).latest("demo").version == 1
    assert publisher.publish(b"two").version == 2


@pytest.mark.parametrize(
    ("roles", "lost"),
    [(roles, lost) for lost in (False, True) for roles in EVERY if not (lost and "root" in roles)],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "lost" if value else "replaced",
)
def test_killed_at_any_moment(
    publisher: Any, client: Any, mirror: Any, roles: tuple[str, ...], lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before each file that a rotation writes: clients go on, and whatever the publisher does next completes it.

    (`lost`: the old keys are, too.  Root's may not be: without them a root has no successor.)
    """
    publisher.publish(b"one")
    known = client(publisher.root)
    known.refresh(mirror(publisher.repo))
    if lost:
        for role in roles:
            key_files(publisher.keys, role)[0].unlink()
    moments: list[tuple[str, Path, Path]] = []
    write = shelf_module.write_whole

    def watched(path: Path, data: bytes, **options: Any) -> None:
        place = publisher.folder / f"moment{len(moments)}"
        shutil.copytree(publisher.keys, place / "keys")
        shutil.copytree(publisher.repo, place / "repo")
        moments.append((path.name, place / "repo", place / "keys"))
        write(path, data, **options)

    monkeypatch.setattr(shelf_module, "write_whole", watched)
    rotate(publisher.repo, publisher.keys, roles, now=NOW)
    monkeypatch.undo()
    assert moments
    previous = ""
    for number, (name, repo, keys) in enumerate(moments):
        fresh = client(publisher.root, f"fresh{number}")
        between = lost and previous.endswith(".root.json")  # the one moment in which clients have to look elsewhere
        if between:
            with pytest.raises(PeerError):
                fresh.refresh(mirror(repo))
        else:
            assert fresh.refresh(mirror(repo)).latest("demo").version == 1
        if not lost or between:
            (publisher.folder / "next.raw").write_bytes(b"next")
            assert publish(publisher.folder / "next.raw", "demo", repo, keys, block_size=65536, now=NOW).version == 2
            assert fresh.refresh(mirror(repo)).latest("demo").version == 2
            again = client(publisher.root, f"again{number}")
            assert again.refresh(mirror(repo)).latest("demo").version == 2
        else:  # the rotation is done again
            rotate(repo, keys, roles, now=NOW)
            assert fresh.refresh(mirror(repo)).latest("demo").version == 1
        previous = name


def test_resign_completes_a_rotation_that_was_killed(
    publisher: Any, client: Any, mirror: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.publish(b"one")
    key_files(publisher.keys, "timestamp")[0].unlink()
    write = shelf_module.write_whole

    def killed(path: Path, data: bytes, **options: Any) -> None:
        if path.name == "timestamp.json":
            raise KeyboardInterrupt
        write(path, data, **options)

    monkeypatch.setattr(shelf_module, "write_whole", killed)
    with pytest.raises(KeyboardInterrupt):
        rotate(publisher.repo, publisher.keys, ["timestamp"], now=NOW)
    monkeypatch.undo()
    assert on_disk(publisher.keys, "timestamp") != []  # clients may have seen the root that names it
    assert resign(publisher.repo, publisher.keys, now=NOW).renewed == ("snapshot", "timestamp")
    assert client(publisher.root).refresh(mirror(publisher.repo)).root_version == 2


def test_a_rotation_that_fails_leaves_nothing(publisher: Any) -> None:
    publisher.publish(b"one")
    key_files(publisher.keys, "snapshot")[0].unlink()
    files = {path: path.read_bytes() for folder in (publisher.repo, publisher.keys) for path in folder.rglob("*.*")
             if path.is_file()}  # fmt: skip
    with pytest.raises(InputError, match=r"snapshot\.pem: the key of the role snapshot is not here"):
        rotate(publisher.repo, publisher.keys, ["timestamp"], now=NOW)
    assert files == {path: path.read_bytes() for folder in (publisher.repo, publisher.keys)
                     for path in folder.rglob("*.*") if path.is_file()}  # fmt: skip


@pytest.mark.parametrize(
    ("roles", "line"),
    [
        ((), "name the roles"),
        (("demo",), "did you mean image-demo"),
        (("timestam",), "did you mean timestamp"),
        (("image-other",), "no role 'image-other'"),
    ],
)
def test_roles_that_are_none(publisher: Any, roles: tuple[str, ...], line: str) -> None:
    publisher.publish(b"one")
    with pytest.raises(InputError, match=line):
        rotate(publisher.repo, publisher.keys, roles, now=NOW)


def test_keys_that_were_replaced_do_not_sign(publisher: Any, client: Any, mirror: Any) -> None:
    """A copy of the folder of keys from before the rotation: found out before anything is written."""
    publisher.publish(b"one")
    old = Path(shutil.copytree(publisher.keys, publisher.folder / "old"))
    rotate(publisher.repo, publisher.keys, ["snapshot", "timestamp", "image-demo"], now=NOW)
    stamp = (publisher.repo / "metadata/timestamp.json").read_bytes()
    for work in (
        lambda: publish(publisher.image(b"two"), "demo", publisher.repo, old, now=NOW),
        lambda: resign(publisher.repo, old, now=NOW),
    ):
        with pytest.raises(InputError, match="is not the one in use"):
            work()
    assert (publisher.repo / "metadata/timestamp.json").read_bytes() == stamp


def test_thresholds(tmp_path: Path, client: Any, mirror: Any) -> None:
    """Two of three root keys, each in a folder of its own; one is lost, the two others replace all."""
    keys, repo, image = tmp_path / "keys", tmp_path / "repo", tmp_path / "image"
    image.write_bytes(b"one")
    keygen(keys, passphrase=None, now=NOW, thresholds={"root": (2, 3), "timestamp": (2, 2)})
    publish(image, "demo", repo, keys, now=NOW)
    here = client(first_root(keys))
    here.refresh(mirror(repo))
    sticks = [tmp_path / "stick1", tmp_path / "stick2", tmp_path / "lost"]
    for stick, path in zip(sticks, key_files(keys, "root"), strict=True):
        stick.mkdir()
        shutil.move(path, stick)
    also = [(stick, None) for stick in sticks]
    with pytest.raises(InputError, match="root needs 2 signatures and 1 of its keys are here"):
        rotate(repo, keys, ["root"], now=NOW, also=also[:1])
    report = rotate(repo, keys, ["root"], now=NOW, also=also[:2])
    assert [path.name for path in report.made] == ["root.pem", "root+2.pem", "root+3.pem"]
    assert here.refresh(mirror(repo)).root_version == 2
    key_files(keys, "timestamp")[1].rename(tmp_path / "away.pem")
    with pytest.raises(InputError, match="timestamp needs 2 signatures and 1 of its keys are here"):
        resign(repo, keys, now=NOW)
    rotate(repo, keys, ["timestamp"], now=NOW, threshold=(1, 1))
    resign(repo, keys, now=NOW)
    assert here.refresh(mirror(repo)).root_version == 3


def test_one_signature_of_two_is_refused_by_clients(tmp_path: Path, client: Any, mirror: Any) -> None:
    from tuf.api.metadata import Metadata, Timestamp

    keys, repo, image = tmp_path / "keys", tmp_path / "repo", tmp_path / "image"
    image.write_bytes(b"one")
    keygen(keys, passphrase=None, now=NOW, thresholds={"timestamp": (2, 3)})
    publish(image, "demo", repo, keys, now=NOW)
    thief = mirror(repo)
    stamp = Metadata[Timestamp].from_bytes((repo / "metadata/timestamp.json").read_bytes())
    stamp.signed.version += 1
    stamp.sign(open_key(key_files(keys, "timestamp")[0], "timestamp", None))
    thief.instead["metadata/timestamp.json"] = stamp.to_bytes()
    with pytest.raises(Untrusted, match="not signed by the keys"):
        client(first_root(keys)).refresh(thief)


@pytest.mark.parametrize("counts", [(0, 1), (2, 1), (1, 21)])
def test_thresholds_that_make_no_sense(tmp_path: Path, counts: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="cannot be; write root=2:3"):
        keygen(tmp_path / "keys", passphrase=None, thresholds={"root": counts})
    assert not (tmp_path / "keys").exists()


def test_offline_keys_renew_what_they_sign(publisher: Any, client: Any, mirror: Any) -> None:
    publisher.publish(b"one")
    early = resign(publisher.repo, publisher.keys, now=NOW + DAY, offline=True)
    assert early.renewed == ("timestamp",)
    late = NOW + 300 * DAY
    assert len(resign(publisher.repo, publisher.keys, now=late).warnings) == 3
    report = resign(publisher.repo, publisher.keys, now=late, offline=True)
    assert set(report.renewed) == {"root", "targets", "image-demo", "snapshot", "timestamp"} and not report.warnings
    metadata = client(publisher.root).refresh(mirror(publisher.repo), now=late)
    assert metadata.root_version == 2 and metadata.latest("demo").version == 1


def test_a_new_image_with_targets_on_a_stick(publisher: Any, tmp_path: Path, client: Any, mirror: Any) -> None:
    publisher.publish(b"one")
    stick = tmp_path / "stick"
    stick.mkdir()
    shutil.move(publisher.keys / "targets.pem", stick)
    with pytest.raises(InputError, match=r"targets\.pem: the key of the role targets is not here"):
        publisher.publish(b"two", name="other")
    assert publisher.publish(b"two", name="other", also=[(stick, None)]).version == 1
    assert [path.name for path in stick.iterdir()] == ["targets.pem"]  # the image's key is made in the first folder
    assert client(publisher.root).refresh(mirror(publisher.repo), "other").latest("other").size == 3


def test_who_is_at_work_is_told(publisher: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher.publish(b"one")
    monkeypatch.setattr("mirrornet.image.files.LOCK_WAIT", 0.0)
    with held(publisher.repo, None, "a publish"), pytest.raises(LocalError) as caught:
        rotate(publisher.repo, publisher.keys, ["timestamp"], now=NOW)
    assert f"a publish (process {os.getpid()}) is at work here; try again when that is done" in str(caught.value)
