"""Nothing secret ever lands in a repository: by mistake of place, or by any verb."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from contents import some_bytes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mirrornet.image.copying.garbage import gc
from mirrornet.image.publishing.publish import publish
from mirrornet.image.publishing.resign import resign
from mirrornet.image.publishing.retire import retire
from mirrornet.image.publishing.rollback import rollback
from mirrornet.image.publishing.rotate import rotate
from mirrornet.image.trust.keyfiles import new_key
from mirrornet.image.trust.keys import keygen
from mirrornet.model.errors import InputError

NOW, SMALL = 1_800_000_000.0, 65536


def secrets(keys: Path, passphrase: bytes | None) -> list[bytes]:
    """Each private key as raw octets, in hexadecimal and in base64, and each line of its file."""
    found = [b"PRIVATE KEY"] + ([passphrase] if passphrase else [])
    for path in keys.rglob("*.pem"):
        pem = path.read_bytes()
        found += [line for line in pem.splitlines() if line[:1] != b"-"]
        raw = load_pem_private_key(pem, passphrase).private_bytes_raw()  # type: ignore[union-attr]
        found += [raw, raw.hex().encode(), base64.b64encode(raw)]
    return found


@pytest.mark.parametrize("passphrase", [None, b"a passphrase of the publisher"])
def test_no_verb_writes_a_secret(tmp_path: Path, passphrase: bytes | None) -> None:
    keys, repo, image = tmp_path / "keys", tmp_path / "repo", tmp_path / "image"
    keygen(keys, passphrase=passphrase, now=NOW, thresholds={"root": (1, 2)})
    options: dict[str, Any] = {"now": NOW, "passphrase": passphrase}
    for seed in (1, 2):
        image.write_bytes(some_bytes(3 * SMALL, seed))
        publish(image, "demo", repo, keys, block_size=SMALL, attached={"kernel": b"kernel"}, **options)
    rotate(repo, keys, ["root", "targets", "snapshot", "timestamp", "image-demo"], **options)
    rollback(repo, keys, "demo", 1, **options)
    retire(repo, keys, "demo", versions=[2], **options)
    resign(repo, keys, offline=True, **options)
    gc(repo, now=NOW, grace=0.0, force=True)
    everything = b"".join(path.name.encode() + path.read_bytes() for path in repo.rglob("*") if path.is_file())
    assert len(list(keys.rglob("*.pem"))) == 12  # new ones and old ones
    assert [secret for secret in secrets(keys, passphrase) if secret in everything] == []


def test_keys_in_the_repository(publisher: Any, tmp_path: Path) -> None:
    publisher.publish(b"x")
    for where in (publisher.repo / "keys", publisher.repo / "blocks" / "ab"):
        with pytest.raises(InputError, match="lies inside the repository"):
            keygen(where, passphrase=None)
    link = tmp_path / "link"
    link.symlink_to(publisher.repo)
    with pytest.raises(InputError, match="lies inside the repository"):
        keygen(link / "keys", passphrase=None)
    new_key(publisher.repo / "key.pem", None)
    with pytest.raises(InputError, match="lies inside the repository"):
        keygen(tmp_path / "more", passphrase=None, uris={"root": [f"file:{publisher.repo / 'key.pem'}"]})
    (publisher.repo / "key.pem").unlink()
    with pytest.raises(InputError, match="lies inside the repository"):
        rotate(publisher.repo, publisher.keys, ["root"], now=NOW, uris=[f"file:{publisher.repo / 'key.pem'}"])


def test_a_repository_among_keys(publisher: Any) -> None:
    """A server that is told to serve the folder above it would serve the keys."""
    with pytest.raises(InputError, match="lies inside the folder of keys"):
        publish(publisher.image(b"x"), "demo", publisher.keys / "repo", publisher.keys, now=NOW)
    assert not (publisher.keys / "repo").exists()


def test_a_repository_where_keys_lie_already(publisher: Any, tmp_path: Path) -> None:
    """Keys beside blocks/, moved there by hand: the folder is no repository then."""
    publisher.publish(b"x")
    for name in ("root.pem", "keys"):
        stray = publisher.repo / name
        stray.write_bytes(b"PRIVATE") if "." in name else stray.mkdir()
        with pytest.raises(InputError, match=rf"holds {name}, so it is no repository"):
            publisher.publish(b"y")
        stray.unlink() if "." in name else stray.rmdir()
    assert publisher.publish(b"y").version == 2
