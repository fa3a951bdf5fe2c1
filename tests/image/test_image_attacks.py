"""Every attack of FORMAT.md's table, on real metadata through the client's real code.

Each is refused with a line that says what happened and what to do, the trust folder is as it was, and a good mirror
works right after.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root, Timestamp

import mirrornet.image
from mirrornet.image.format.index import Head
from mirrornet.image.publishing import publish as publish_module
from mirrornet.image.publishing.publish import publish
from mirrornet.image.publishing.rotate import rotate
from mirrornet.image.trust import attempt as trust
from mirrornet.image.trust.attempt import attempt, index_head, initialise, load, new_scratch, obtain_root
from mirrornet.image.trust.keyfiles import key_path, new_key, open_key
from mirrornet.image.trust.keys import keygen, pin_of
from mirrornet.image.trust.ring import Ring
from mirrornet.image.trust.shelf import Shelf
from mirrornet.image.trust.verify import utc
from mirrornet.model.errors import Expired, InputError, Missing, PeerError, Unreachable, Untrusted

NOW, DAY = 1_800_000_000.0, 86400


def snapshot_of(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and "scratch" not in str(p)
    }


def refused(client: Any, mirror: Any, kind: type[PeerError], line: str, now: float = NOW, name: str = "demo") -> None:
    """The attempt fails with `kind` and a one-line text that matches `line`; the folder is untouched."""
    before = snapshot_of(client.folder)
    scratch = new_scratch(client.folder)
    with pytest.raises(kind, match=line) as caught:
        attempt(client.folder, scratch, mirror, [name], now)
    assert not scratch.exists()
    assert "\n" not in str(caught.value)
    assert snapshot_of(client.folder) == before


def load_key(keys: Path, role: str, passphrase: bytes | None) -> Any:
    return open_key(key_path(keys, role), role, passphrase)


def sign(role: Any, signer: CryptoSigner) -> bytes:
    signed: Metadata[Any] = Metadata(role)
    signed.sign(signer)
    return signed.to_bytes()


@pytest.fixture
def two_versions(publisher: Any) -> tuple[Any, Path, Path]:
    """(publisher, a copy of the repository with version 1, one with versions 1 and 2)."""
    publisher.publish(b"one")
    old = publisher.copy("old")
    publisher.publish(b"two", now=NOW + 60)
    return publisher, old, publisher.repo


ATTACKS = (
    "half-copied mirror", "captive portal", "stale mirror that answers first", "two repositories on one client",
    "freeze", "rollback", "mix and match", "wrong root", "expired", "endless data", "fast-forward", "key compromise",
    "a client without a clock", "swapped or forged index", "swapped, truncated", "decompression bomb",
    "index that lies about its length",
)  # fmt: skip


def test_the_table_of_attacks_names_tests_that_exist() -> None:
    """Each attack has a row, and each row names tests that are there."""
    text = Path(mirrornet.image.__file__).with_name("FORMAT.md").read_text()
    rows = text.partition("| attack or accident |")[2].partition("\n\n")[0].split("\n")[2:]
    assert [attack for attack in ATTACKS if not any(row.startswith(f"| {attack}") for row in rows)] == []
    for row in rows:
        named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", row)
        assert named, row
        for file, test in named:
            assert f"def {test}(" in Path(__file__).with_name(file).read_text(), (file, test)


def test_good_mirror(two_versions: Any, client: Any, mirror: Any) -> None:
    publisher, _, new = two_versions
    here = client(publisher.root)
    metadata = here.refresh(mirror(new))
    assert metadata.latest("demo").version == 2
    assert metadata.repository_id == hashlib.sha256(publisher.root).hexdigest() == publisher.pin.removeprefix("sha256:")
    assert metadata.expires == NOW + 60 + 3 * DAY and not metadata.expired
    assert (metadata.timestamp_version, metadata.snapshot_version, metadata.root) == (2, 2, publisher.root)
    assert here.load() == metadata
    assert Head.parse(index_head(here.folder, metadata.latest("demo"), None)).size == 3


def test_half_copied_mirror(two_versions: Any, client: Any, mirror: Any) -> None:
    publisher, old, new = two_versions
    half = mirror(old)
    half.instead["metadata/timestamp.json"] = (new / "metadata/timestamp.json").read_bytes()
    here = client(publisher.root)
    refused(here, half, Missing, r"2\.snapshot\.json")
    here.refresh(mirror(old))
    refused(here, half, Missing, r"2\.snapshot\.json")
    assert here.load().latest("demo").version == 1
    half.instead["metadata/2.snapshot.json"] = (new / "metadata/2.snapshot.json").read_bytes()
    refused(here, half, Missing, r"2\.image-demo\.json")
    half.instead["metadata/2.image-demo.json"] = (new / "metadata/2.image-demo.json").read_bytes()
    refused(here, half, Missing, r"files/demo/2/")  # all of it signed, and still nothing to mount
    assert here.refresh(mirror(new)).latest("demo").version == 2


@pytest.mark.parametrize(
    "page", [b"<html>Please log in</html>", b"", b"{}", b"[" * 100_000, b'{"signed": {}}', b"\xff"]
)
def test_captive_portal(two_versions: Any, client: Any, mirror: Any, page: bytes) -> None:
    publisher, old, new = two_versions
    portal = mirror(old)
    portal.always = page
    here = client(publisher.root)
    refused(here, portal, Untrusted, "not signed metadata")
    here.refresh(mirror(new))
    refused(here, portal, Untrusted, "not signed metadata")
    with pytest.raises(Untrusted, match="the pin says"):
        obtain_root(publisher.pin, portal)


def test_rollback_and_stale_mirror(two_versions: Any, client: Any, mirror: Any) -> None:
    publisher, old, new = two_versions
    here = client(publisher.root)
    here.refresh(mirror(old))
    here.refresh(mirror(new))
    refused(here, mirror(old), Untrusted, "stale or replays")
    assert here.load().latest("demo").version == 2


def test_a_stale_attempt_does_not_replace_a_newer_commit(two_versions: Any, client: Any, mirror: Any) -> None:
    """Two attempts side by side: the one that saw less is not committed, whichever ends first."""
    publisher, old, new = two_versions
    here = client(publisher.root)
    slow, quick = new_scratch(here.folder), new_scratch(here.folder)
    attempt(here.folder, slow, mirror(old), ["demo"], NOW)
    attempt(here.folder, quick, mirror(new), ["demo"], NOW)
    assert trust.commit(here.folder, quick)
    assert not trust.commit(here.folder, slow)
    assert not slow.exists() and here.load().latest("demo").version == 2


def test_wrong_pin(two_versions: Any, make_publisher: Callable[[str], Any], client: Any, mirror: Any) -> None:
    publisher, _, new = two_versions
    other = make_publisher("other")
    other.publish(b"other")
    assert obtain_root(publisher.pin, mirror(new)) == publisher.root
    assert obtain_root(publisher.pin.upper().replace("SHA256", "sha256"), mirror(new)) == publisher.root
    with pytest.raises(Untrusted, match="serves another repository, or the pin is wrong"):
        obtain_root(other.pin, mirror(new))
    with pytest.raises(Missing, match=r"1\.root\.json.*; is that the URL of a repository\?"):
        obtain_root(other.pin, mirror(new / "blocks"))
    refused(client(other.root), mirror(new), Untrusted, "not signed by the keys that the trusted root names")
    for text in ("sha256:", "sha256:xyz", publisher.pin + "0"):
        with pytest.raises(InputError, match="64 hexadecimal digits"):
            obtain_root(text, mirror(new))


def test_root_from_a_file(two_versions: Any, mirror: Any, tmp_path: Path) -> None:
    publisher, _, new = two_versions
    silent = mirror(tmp_path / "nowhere")
    assert obtain_root(str(publisher.keys / "root.json"), silent) == publisher.root
    assert not silent.asked
    for path, line in ((tmp_path / "none.json", "give a root.json"), (new / "metadata/timestamp.json", "signs itself")):
        with pytest.raises(InputError, match=line):
            obtain_root(str(path), silent)


def test_two_repositories(two_versions: Any, make_publisher: Callable[[str], Any], client: Any, mirror: Any) -> None:
    """Each has its folder; one cannot take the other's place."""
    publisher, _, new = two_versions
    other = make_publisher("other")
    other.publish(b"other")
    first, second = client(publisher.root, "first"), client(other.root, "second")
    first.refresh(mirror(new))
    second.refresh(mirror(other.repo))
    refused(first, mirror(other.repo), Untrusted, "not signed by the keys")
    with pytest.raises(InputError, match="each repository has a folder of its own"):
        initialise(first.folder, other.root)
    assert (first.load().latest("demo").version, second.load().latest("demo").version) == (2, 1)


def test_frozen_mirror_expires(two_versions: Any, client: Any, mirror: Any) -> None:
    publisher, old, _ = two_versions
    here = client(publisher.root)
    here.refresh(mirror(old), now=NOW + 3 * DAY - 1)
    refused(here, mirror(old), Expired, "mirrornet resign", now=NOW + 3 * DAY)
    kept = here.load(now=NOW + 3 * DAY)
    assert kept.expired and kept.latest("demo").version == 1  # known before: usable, with a warning


def test_expired_when_first_seen(two_versions: Any, client: Any, mirror: Any) -> None:
    publisher, old, _ = two_versions
    here = client(publisher.root)
    refused(here, mirror(old), Expired, "expired", now=NOW + 400 * DAY)
    with pytest.raises(Missing, match="nothing was verified here yet"):
        here.load()


def test_clock_that_fell_back(two_versions: Any, client: Any, mirror: Any) -> None:
    """A dead clock battery: the stored time judges."""
    publisher, old, _ = two_versions
    publisher.resign(NOW + 10 * DAY)
    here = client(publisher.root)
    here.refresh(mirror(publisher.repo), now=NOW + 10 * DAY)
    before = here.load(now=0.0)
    assert before.now == NOW + 10 * DAY and not before.expired
    refused(here, mirror(old), PeerError, "stale|expired", now=0.0)
    publisher.resign(NOW)  # newer by number, over by the time that this client has seen
    refused(here, mirror(publisher.repo), Expired, "expired", now=0.0)
    late = client(publisher.root, "late")
    late.refresh(mirror(publisher.repo), now=0.0)  # a clock that never ran is believed until a set was taken
    assert not late.load(now=0.0).expired


def test_the_updater_runs_on_our_clock(two_versions: Any, client: Any, mirror: Any) -> None:
    """Metadata that expired decades before the system clock of this machine is fine when `now` is decades back."""
    publisher, _, _ = two_versions
    then = 1_000_000.0  # 1970
    keygen(publisher.folder / "oldkeys", passphrase=None, now=then)
    publish(publisher.image(b"x"), "demo", publisher.folder / "oldrepo", publisher.folder / "oldkeys", now=then)
    here = client((publisher.folder / "oldkeys/root.json").read_bytes())
    assert here.refresh(mirror(publisher.folder / "oldrepo"), now=then + DAY).expires == then + 3 * DAY
    refused(here, mirror(publisher.folder / "oldrepo"), Expired, "expired", now=then + 3 * DAY)


@pytest.mark.parametrize(
    "path", ["2.root.json", "timestamp.json", "2.snapshot.json", "1.targets.json", "2.image-demo.json"]
)
def test_endless_data(two_versions: Any, client: Any, mirror: Any, path: str) -> None:
    publisher, _, new = two_versions
    here = client(publisher.root)
    endless = mirror(new)
    endless.instead["metadata/" + path] = b" " * 6_000_000
    refused(here, endless, Untrusted, "longer than the")
    endless.instead["metadata/" + path] = Untrusted("tokyo: more than was asked for")  # as a careful fetcher says it
    refused(here, endless, Untrusted, "tokyo: more than was asked for")


def test_limits_are_handed_to_the_fetcher(two_versions: Any, client: Any, mirror: Any) -> None:
    publisher, _, new = two_versions
    limits: dict[str, int] = {}
    good = mirror(new)

    def fetch(path: str, limit: int) -> bytes:
        limits[path.rpartition("/")[2]] = limit
        return bytes(good(path, limit))

    client(publisher.root).refresh(fetch)
    sizes = {name: (new / "metadata" / name).stat().st_size for name in limits if (new / "metadata" / name).exists()}
    assert limits["timestamp.json"] == 16_384 and limits["2.root.json"] == 512_000
    assert all(limits[name] == sizes[name] for name in ("2.snapshot.json", "1.targets.json", "2.image-demo.json"))


@pytest.mark.parametrize(
    "error", [ConnectionResetError(104, "reset"), TimeoutError(), ValueError("odd"), Unreachable("gone")]
)
@pytest.mark.parametrize(
    "at", ["metadata/2.root.json", "metadata/timestamp.json", "metadata/2.image-demo.json", "index"]
)
def test_reset_in_mid_body(two_versions: Any, client: Any, mirror: Any, error: Exception, at: str) -> None:
    publisher, _, new = two_versions
    here, broken = client(publisher.root), mirror(new)
    if at == "index":
        at = here.refresh(mirror(new)).latest("demo").index_path
        (path,) = (here.folder / "heads").iterdir()
        path.unlink()
    broken.instead[at] = error
    refused(here, broken, Unreachable, "gone|ask another mirror")


def test_a_root_that_is_forbidden_is_a_root_that_is_not_there(two_versions: Any, client: Any, mirror: Any) -> None:
    publisher, _, new = two_versions
    bucket = mirror(new)
    bucket.instead["metadata/2.root.json"] = Missing("403")
    assert client(publisher.root).refresh(bucket).latest("demo").version == 2


def test_swapped_index(two_versions: Any, client: Any, mirror: Any) -> None:
    publisher, old, new = two_versions
    here, swapped = client(publisher.root), mirror(new)
    one = here.refresh(mirror(old)).latest("demo")
    two = client(publisher.root, "other").refresh(mirror(new)).latest("demo")
    swapped.instead[two.index_path] = (old / one.index_path).read_bytes()
    assert one.index_length == two.index_length
    refused(here, swapped, Untrusted, "not the index that was signed")
    with pytest.raises(Untrusted, match="not the index that was signed"):
        index_head(here.folder, two, swapped)
    with pytest.raises(Missing, match="not kept here"):
        index_head(here.folder, two, None)
    assert index_head(here.folder, two, mirror(new)) == index_head(here.folder, two, None)


def test_a_kept_index_that_rotted(two_versions: Any, client: Any, mirror: Any) -> None:
    publisher, _, new = two_versions
    here = client(publisher.root)
    image = here.refresh(mirror(new)).latest("demo")
    (path,) = (here.folder / "heads").iterdir()
    good = path.read_bytes()
    path.write_bytes(b"rot")
    with pytest.raises(Missing):
        index_head(here.folder, image, None)
    assert index_head(here.folder, image, mirror(new)) == good == path.read_bytes()


def test_signed_index_that_lies(publisher: Any, client: Any, mirror: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signed by the right keys: metadata says 2 bytes, the head says 1."""
    write = publish_module._write_index
    monkeypatch.setattr(publish_module, "_write_index", lambda *arguments: replace(write(*arguments), size=2))
    publisher.publish(b"x")
    refused(client(publisher.root), mirror(publisher.repo), Untrusted, "not what the signed metadata says")


def test_mix_and_match(two_versions: Any, client: Any, mirror: Any) -> None:
    """The old role under the new one's name, and the new snapshot's role with an old targets."""
    publisher, _, new = two_versions
    mixed = mirror(new)
    mixed.instead["metadata/2.image-demo.json"] = (new / "metadata/1.image-demo.json").read_bytes()
    refused(client(publisher.root), mixed, Untrusted, "not the file that the metadata names")
    mixed.instead = {"metadata/2.snapshot.json": (new / "metadata/1.snapshot.json").read_bytes()}
    refused(client(publisher.root), mixed, Untrusted, "not the file that the metadata names")
    mixed.instead = {"metadata/2.image-demo.json": (new / "metadata/1.targets.json").read_bytes()}
    refused(client(publisher.root), mixed, Untrusted, "not the file that the metadata names")


def test_signed_by_a_stranger(two_versions: Any, client: Any, mirror: Any) -> None:
    publisher, _, new = two_versions
    here, forged = client(publisher.root), mirror(new)
    stranger = CryptoSigner.generate_ed25519()
    timestamp = Metadata[Timestamp].from_bytes((new / "metadata/timestamp.json").read_bytes()).signed
    timestamp.version += 1
    forged.instead["metadata/timestamp.json"] = sign(timestamp, stranger)
    refused(here, forged, Untrusted, "not signed by the keys")
    root = Root(version=2, expires=utc(NOW + DAY))
    for role in ("root", "targets", "snapshot", "timestamp"):
        root.add_key(stranger.public_key, role)
    forged.instead = {"metadata/2.root.json": sign(root, stranger)}
    refused(here, forged, Untrusted, "not signed by the keys")


def test_changed_bytes(two_versions: Any, client: Any, mirror: Any) -> None:
    """One digit changed anywhere in any signed file."""
    publisher, _, new = two_versions
    here = client(publisher.root)
    for name in ("timestamp.json", "2.snapshot.json", "1.targets.json", "2.image-demo.json"):
        bad = mirror(new)
        text = (new / "metadata" / name).read_bytes()
        bad.instead["metadata/" + name] = text.replace(b'"version":', b'"version":1', 1)
        refused(here, bad, Untrusted, "ask another|not signed by|not the file")


def rotated(publisher: Any, version: int = 2) -> Any:
    """The next root, with new timestamp and snapshot keys, in the repository; the old keys replaced on disk."""
    signer = load_key(publisher.keys, "root", None)
    root = Metadata[Root].from_bytes((publisher.repo / f"metadata/{version - 1}.root.json").read_bytes()).signed
    for role in ("timestamp", "snapshot"):
        (keyid,) = root.roles[role].keyids
        root.revoke_key(keyid, role)
        (publisher.keys / f"{role}.pem").unlink()
        root.add_key(new_key(publisher.keys / f"{role}.pem", None).public_key, role)
    root.version = version
    (publisher.repo / f"metadata/{version}.root.json").write_bytes(sign(root, signer))
    return root


def test_fast_forward_recovery(publisher: Any, client: Any, mirror: Any) -> None:
    """A thief of the online keys signs version 2³¹−1; a root with new keys makes small versions good again."""
    publisher.publish(b"one")
    here = client(publisher.root)
    thief = mirror(publisher.repo)
    timestamp = Metadata[Timestamp].from_bytes((publisher.repo / "metadata/timestamp.json").read_bytes()).signed
    timestamp.version = 2**31 - 1
    thief.instead["metadata/timestamp.json"] = sign(timestamp, load_key(publisher.keys, "timestamp", None))
    here.refresh(thief)
    refused(here, mirror(publisher.repo), Untrusted, "stale or replays")
    root = rotated(publisher)
    timestamp.version = 2
    snapshot = Metadata.from_bytes((publisher.repo / "metadata/1.snapshot.json").read_bytes()).signed
    snapshot.version = 2
    signed = sign(snapshot, load_key(publisher.keys, "snapshot", None))
    (publisher.repo / "metadata/2.snapshot.json").write_bytes(signed)
    timestamp.snapshot_meta = type(timestamp.snapshot_meta).from_data(2, signed, ["sha256"])
    (publisher.repo / "metadata/timestamp.json").write_bytes(
        sign(timestamp, load_key(publisher.keys, "timestamp", None))
    )
    metadata = here.refresh(mirror(publisher.repo))
    assert (metadata.timestamp_version, metadata.root_version) == (2, root.version)
    assert metadata.repository_id == publisher.pin.removeprefix("sha256:")  # the first root names the repository
    assert here.load() == metadata
    refused(here, thief, Untrusted, "not signed by the keys")


def test_a_new_root_does_not_excuse_an_attempt_that_was_passed_by(publisher: Any, client: Any, mirror: Any) -> None:
    """A newer root with an older timestamp, begun before the newer timestamp was taken: asked again, not committed."""
    publisher.publish(b"one")
    here = client(publisher.root)
    here.refresh(mirror(publisher.repo))
    for number in range(3):
        publisher.resign(NOW + number)
    newest = mirror(publisher.copy("newest"))
    root = Metadata[Root].from_bytes(publisher.root).signed
    root.version = 2
    other = mirror(publisher.copy("other"))
    other.instead["metadata/2.root.json"] = sign(root, load_key(publisher.keys, "root", None))
    publisher_at_2 = Metadata[Timestamp].from_bytes((publisher.repo / "metadata/timestamp.json").read_bytes()).signed
    publisher_at_2.version = 2
    other.instead["metadata/timestamp.json"] = sign(publisher_at_2, load_key(publisher.keys, "timestamp", None))
    slow = new_scratch(here.folder)
    assert attempt(here.folder, slow, other, ["demo"], NOW).root_version == 2
    assert here.refresh(newest).timestamp_version == 4
    assert not trust.commit(here.folder, slow)
    assert here.load().timestamp_version == 4


def test_the_whole_set_is_judged_by_our_time(
    two_versions: Any, client: Any, mirror: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where python-tuf's clock stood still."""
    publisher, _, new = two_versions
    monkeypatch.setattr(trust, "utc", lambda _: utc(NOW))
    refused(client(publisher.root), mirror(new), Expired, "metadata: expired", now=NOW + 4 * DAY)


def test_a_revoked_image_key(publisher: Any, client: Any, mirror: Any) -> None:
    """What a revoked key signed is forgotten, also by a client that asks for another image just now."""
    publisher.publish(b"a", name="a")
    publisher.publish(b"b", name="b")
    here = client(publisher.root)
    here.refresh(mirror(publisher.repo), "a", "b")
    shelf, ring = Shelf(publisher.repo, publisher.root, NOW), Ring(publisher.keys, None)
    (keyid,) = shelf.targets.delegations.roles["image-a"].keyids
    shelf.targets.revoke_key(keyid, "image-a")
    (publisher.keys / "images/a.pem").unlink()
    shelf.targets.add_key(ring.sign_or_make("image-a")[0].public_key, "image-a")
    shelf.stage_role("targets", ring.sign)
    shelf.stage_role("image-a", ring.sign)
    shelf.stage_snapshot(ring.sign)
    shelf.write(publisher.folder)
    here.refresh(mirror(publisher.repo), "b")
    with pytest.raises(Missing, match="the image a was not verified here yet"):
        here.load("a", "b")
    assert here.refresh(mirror(publisher.repo), "a").latest("a").version == 1


def test_a_revoked_image_key_that_counted_far(publisher: Any, client: Any, mirror: Any) -> None:
    """A thief's role of an image has the greater version: it does not displace the good one that follows it."""
    publisher.publish(b"one")
    loot = Path(shutil.copytree(publisher.keys, publisher.folder / "loot"))
    evil = publisher.copy("evil")
    for content in (b"evil", b"more evil", b"most evil"):
        publish(publisher.image(content), "demo", evil, loot, now=NOW)
    here = client(publisher.root)
    assert here.refresh(mirror(evil)).latest("demo").version == 4
    rotate(publisher.repo, publisher.keys, ["snapshot", "timestamp", "image-demo"], now=NOW)
    assert here.refresh(mirror(publisher.repo)).latest("demo").version == 1
    assert here.load().latest("demo").version == 1  # offline, too


def test_scratch_folders_of_the_dead_are_swept(two_versions: Any, client: Any, mirror: Any) -> None:
    publisher, _, new = two_versions
    here = client(publisher.root)
    dead, alive = new_scratch(here.folder), new_scratch(here.folder)
    os.utime(dead, (NOW - 10 * DAY, 0.0))
    here.refresh(mirror(new))
    here.refresh(mirror(new))
    assert not dead.exists() and alive.exists()
    assert [path.name for path in (here.folder / "sets").iterdir()] == ["2"]


def test_publisher_goes_on_after_a_rotation(publisher: Any, client: Any, mirror: Any) -> None:
    publisher.publish(b"one")
    here = client(publisher.root)
    here.refresh(mirror(publisher.repo))
    rotated(publisher)  # and was killed there: the timestamp is signed by the old key alone
    refused(here, mirror(publisher.repo), Untrusted, "not signed by the keys")
    assert publisher.publish(b"two").version == 2
    assert here.refresh(mirror(publisher.repo)).latest("demo").version == 2


def test_offline_knows_only_what_was_verified(publisher: Any, client: Any, mirror: Any) -> None:
    publisher.publish(b"a", name="a")
    publisher.publish(b"b", name="b")
    here = client(publisher.root)
    here.refresh(mirror(publisher.repo), "a")
    assert here.load("a").names == ("a", "b")
    with pytest.raises(Missing, match="the image b was not verified here yet"):
        here.load("b")
    with pytest.raises(InputError, match="no image 'c'"):
        here.load("a").latest("c")
    with pytest.raises(Missing):
        load(here.folder.parent / "nothing", ["a"], NOW)


def test_two_images_share_a_folder(publisher: Any, client: Any, mirror: Any) -> None:
    """Side by side, each process refreshes its image: neither loses what the other verified."""
    publisher.publish(b"a", name="a")
    publisher.publish(b"b", name="b")
    here = client(publisher.root)
    here.refresh(mirror(publisher.repo), "a", "b")
    publisher.publish(b"aa", name="a")
    one, two = new_scratch(here.folder), new_scratch(here.folder)
    attempt(here.folder, one, mirror(publisher.repo), ["a"], NOW)
    attempt(here.folder, two, mirror(publisher.repo), ["b"], NOW)
    assert trust.commit(here.folder, one) and trust.commit(here.folder, two)
    both = here.load("a", "b")
    assert (both.latest("a").version, both.latest("b").version) == (2, 1)
    for name in "ab":
        assert index_head(here.folder, both.latest(name), None)


def test_an_unknown_image_is_no_fault_of_the_mirror(publisher: Any, client: Any, mirror: Any) -> None:
    publisher.publish(b"x", name="debian")
    metadata = client(publisher.root).refresh(mirror(publisher.repo), "debain")
    with pytest.raises(InputError, match="did you mean debian"):
        metadata.latest("debain")


def test_custom_fields_that_lie(publisher: Any, client: Any, mirror: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signed by the right key, malformed all the same: an error, no crash."""
    lies = [("version", 9), ("size", "1"), ("stored", -1), ("codec", "lzma"), ("created", 0), ("size", True)]
    for number, (field, value) in enumerate(lies):
        monkeypatch.setattr(
            "mirrornet.image.trust.shelf.to_custom",
            lambda image, field=field, value=value: {
                "mirrornet": {"version": image.version, "size": image.size, "stored": 1, "codec": "zlib",
                              "created": "x", "rollback_of": None, field: value}
            },
        )  # fmt: skip
        name = f"image{number}"
        publisher.publish(b"x", name=name)
        refused(client(publisher.root), mirror(publisher.repo), Untrusted, "custom fields are malformed", name=name)


def test_a_folder_that_was_tampered_with(two_versions: Any, client: Any, mirror: Any) -> None:
    publisher, _, new = two_versions
    here = client(publisher.root)
    here.refresh(mirror(new))
    path = here.folder / "current" / "image-demo.json"
    data = json.loads(path.read_bytes())
    data["signed"]["version"] = 1
    path.write_text(json.dumps(data))
    with pytest.raises(Untrusted):
        here.load()
    assert here.refresh(mirror(new)).latest("demo").version == 2  # and heals


def test_check_timestamp(two_versions: Any, make_publisher: Callable[[str], Any]) -> None:
    publisher, old, new = two_versions
    data = (new / "metadata/timestamp.json").read_bytes()
    assert trust.check_timestamp(publisher.root, data, NOW) == (2, 2, NOW + 60 + 3 * DAY)
    assert trust.check_timestamp(publisher.root, (old / "metadata/timestamp.json").read_bytes(), NOW)[0] == 1
    with pytest.raises(Expired, match="version 2 expired"):
        trust.check_timestamp(publisher.root, data, NOW + 4 * DAY)
    for bad in (b"", b"<html>", data[:-9], data.replace(b'"version":2', b'"version":3'), publisher.root):
        with pytest.raises(Untrusted):
            trust.check_timestamp(publisher.root, bad, NOW)
    with pytest.raises(Untrusted, match="not signed by the keys"):
        trust.check_timestamp(make_publisher("other").root, data, NOW)
    assert pin_of(publisher.root) == publisher.pin
