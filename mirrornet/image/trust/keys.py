"""The publisher's keys: Ed25519, one PKCS #8 PEM file a role, and the root that names them.

    KEYS/root.pem         signs the list of keys: offline, used once a year and to replace a lost key
    KEYS/targets.pem      signs which image belongs to which key: offline, used when an image is new
    KEYS/images/NAME.pem  signs the versions of one image: where that image is published
    KEYS/snapshot.pem, KEYS/timestamp.pem   online, used by every publish and by the timer that runs `resign`
    KEYS/root.json        the first root, signed; its SHA-256 is the repository id and the pin that clients are given

An image has a key of its own, made when it is first published, so that targets.pem can be put away and a stolen image
key can publish lies about that image only.  Files are mode 0600 and encrypted when there is a passphrase;
securesystemslib reads encrypted files by no URI, hence `load_pem_private_key` here.  Nothing of it ever lies inside a
repository.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.metadata import Metadata, Root
from tuf.api.serialization.json import JSONSerializer

from mirrornet.image.files import locked, write_whole
from mirrornet.image.small import KEY_LIMIT, METADATA_LIMIT, read_small
from mirrornet.image.trust.verify import open_root, utc
from mirrornet.model.errors import InputError, LocalError, Untrusted

ROLES: Final = ("root", "targets", "snapshot", "timestamp")
_FILES: Final = ("root.json", *(f"{role}.pem" for role in ROLES))
ROOT_LIFE: Final = 365 * 86400  # seconds


def pin_of(root: bytes) -> str:
    """ "sha256:HEX" of a repository's first root.json."""
    return "sha256:" + hashlib.sha256(root).hexdigest()


def keygen(keys: Path, *, passphrase: bytes | None, now: float | None = None) -> str:
    """Makes the keys of the four top-level roles and the first root.json in the folder `keys`; returns the pin.

    Raises InputError where keys are there already, or the folder lies in a repository; LocalError where the disk
    refuses, and then there are none.
    """
    refuse_inside_repository(keys)
    if keys.exists() and not keys.is_dir():
        raise InputError(f"{keys}: is not a folder; name a new one")
    made = not keys.exists()
    try:
        keys.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(keys, "another keygen is at work here"):
            if any(os.path.lexists(keys / name) for name in _FILES):
                raise InputError(f"{keys}: holds keys already; name a new folder (lost keys cannot be made again)")
            try:
                return _make_all(keys, passphrase, time.time() if now is None else now)
            except BaseException:  # half a set of keys is of no use, and the next try would be refused
                for name in _FILES:
                    (keys / name).unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    (keys / "images").rmdir()
                    if made:
                        keys.rmdir()
                raise
    except OSError as error:
        raise LocalError(f"{error.filename or keys}: {error.strerror}; no keys were made") from None


def _make_all(keys: Path, passphrase: bytes | None, now: float) -> str:
    (keys / "images").mkdir(mode=0o700, exist_ok=True)
    signers = {role: new_key(keys / f"{role}.pem", passphrase) for role in ROLES}
    expires = utc(now + ROOT_LIFE)
    root = Root(version=1, expires=expires, consistent_snapshot=True)
    for role, signer in signers.items():
        root.add_key(signer.public_key, role)
    signed = Metadata(root)
    signed.sign(signers["root"])
    data = signed.to_bytes(JSONSerializer(compact=True))
    write_whole(keys / "root.json", data)
    return pin_of(data)


def new_key(path: Path, passphrase: bytes | None) -> CryptoSigner:
    """A new Ed25519 key in the file `path`, mode 0600, encrypted where there is a passphrase."""
    private = Ed25519PrivateKey.generate()
    how: KeySerializationEncryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    write_whole(path, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how), mode=0o600)
    return CryptoSigner(private)


def key_path(keys: Path, role: str) -> Path:
    """The file of a role's key; the role of an image is "image-NAME"."""
    return keys / "images" / f"{role.removeprefix('image-')}.pem" if role.startswith("image-") else keys / f"{role}.pem"


def load_key(keys: Path, role: str, passphrase: bytes | None) -> CryptoSigner:
    """The signer of `role`.  Raises InputError: its file is missing, unreadable, or asks for another passphrase."""
    path = key_path(keys, role)
    try:
        pem = read_small(path, KEY_LIMIT)
    except FileNotFoundError:
        raise InputError(f"{path}: the key of the role {role} is not here; bring it from where `keygen` ran") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    encrypted = b"ENCRYPTED" in pem
    if encrypted and not passphrase:
        raise InputError(f"{path}: is encrypted; set MIRRORNET_PASSPHRASE, or run on a terminal to be asked")
    try:
        private = load_pem_private_key(pem, passphrase if encrypted else None)
    except (ValueError, TypeError):
        hint = "the passphrase is wrong, or the file is damaged" if encrypted else "not a PKCS #8 PEM key"
        raise InputError(f"{path}: {hint}") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise InputError(f"{path}: not an Ed25519 key; `mirrornet keygen` makes them")
    return CryptoSigner(private, SSlibKey.from_crypto(private.public_key()))


def is_encrypted(keys: Path) -> bool:
    """Whether a passphrase will be needed."""
    path = keys / "timestamp.pem"
    try:
        return b"ENCRYPTED" in read_small(path, KEY_LIMIT)
    except OSError:  # `load_key` says what is wrong with it
        return False


def first_root(keys: Path) -> bytes:
    """KEYS/root.json.  Raises InputError where there are no keys, or it is not a root that signs itself."""
    if not keys.is_dir():
        raise InputError(f"{keys}: no such folder of keys; make one with `mirrornet keygen {keys}`")
    path = keys / "root.json"
    if not path.is_file():
        raise InputError(f"{keys}: holds no root.json, so it is no folder of keys; see `mirrornet keygen --help`")
    return read_root(path)


def read_root(path: Path) -> bytes:
    """The first root.json of a repository, in the file `path`.  Raises InputError where it is none."""
    try:
        data = read_small(path, METADATA_LIMIT)
        root = open_root(data)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give a root.json, or its sha256: pin") from None
    except Untrusted:
        raise InputError(
            f"{path}: is no root.json that signs itself; copy metadata/1.root.json of the repository there"
        ) from None
    if root.version != 1:
        raise InputError(f"{path}: is root version {root.version}; the first is asked for (metadata/1.root.json)")
    return data


def refuse_inside_repository(keys: Path) -> None:
    """Raises InputError where `keys` lies in a repository: what lies there is copied to strangers."""
    for folder in (keys.resolve(), *keys.resolve().parents):
        if (folder / "metadata" / "1.root.json").exists() or (folder / "metadata" / "timestamp.json").exists():
            raise InputError(f"{keys}: lies inside the repository {folder}; keep keys where no mirror copies them")
