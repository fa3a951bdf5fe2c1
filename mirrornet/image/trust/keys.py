"""The publisher's keys: which there are, and the first root, which names them.

    KEYS/root.pem         signs the list of keys: offline, used once a year and to replace a lost key
    KEYS/targets.pem      signs which image belongs to which key: offline, used when an image is new
    KEYS/images/NAME.pem  signs the versions of one image: where that image is published
    KEYS/snapshot.pem, KEYS/timestamp.pem   online, used by every publish and by the timer that runs `resign`
    KEYS/root.json        the first root, signed; its SHA-256 is the repository id and the pin that clients are given

An image has a key of its own, made when it is first published, so that targets.pem can be put away and a stolen image
key can publish lies about that image only.  A role may have several keys of which so many must sign (a threshold):
root.pem, root+2.pem, root+3.pem.  Nothing of it ever lies inside a repository.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from securesystemslib.signer import Signer
from tuf.api.metadata import Metadata, Root
from tuf.api.serialization.json import JSONSerializer

from mirrornet.image.files import locked, write_whole
from mirrornet.image.small import METADATA_LIMIT, read_small
from mirrornet.image.trust.keyfiles import import_key, new_key, unused_path
from mirrornet.image.trust.verify import open_root, utc
from mirrornet.model.errors import InputError, LocalError, Untrusted

ROLES: Final = ("root", "targets", "snapshot", "timestamp")
_FILE: Final = re.compile(rf"root\.json|({'|'.join(ROLES)})(\+[0-9]+)?\.(pem|uri)")
Thresholds = Mapping[str, tuple[int, int]]  # role → (signatures that are needed, keys that there are)
_MAX_KEYS: Final = 20  # of one role; more are a typing error
ROOT_LIFE: Final = 365 * 86400  # seconds


def pin_of(root: bytes) -> str:
    """ "sha256:HEX" of a repository's first root.json."""
    return "sha256:" + hashlib.sha256(root).hexdigest()


def keygen(
    keys: Path,
    *,
    passphrase: bytes | None,
    now: float | None = None,
    thresholds: Thresholds | None = None,
    uris: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """Makes the keys of the four top-level roles and the first root.json in the folder `keys`; returns the pin.

    `thresholds`: of roles that have more than one key.  `uris`: keys that are elsewhere already, by role; the rest are
    made.  Raises InputError where keys are there already, the folder lies in a repository or numbers make no sense;
    LocalError where the disk or a token refuses, and then there are none.
    """
    refuse_inside_repository(keys)
    if keys.exists() and not keys.is_dir():
        raise InputError(f"{keys}: is not a folder; name a new one")
    counts = _counts(thresholds or {}, uris or {})
    for given in (uris or {}).values():
        refuse_uris(given)
    made = not keys.exists()
    try:
        keys.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(keys, "another keygen is at work here"):
            if _key_names(keys):
                raise InputError(f"{keys}: holds keys already; name a new folder (lost keys cannot be made again)")
            try:
                return _make_all(keys, passphrase, time.time() if now is None else now, counts, uris or {})
            except BaseException:  # half a set of keys is of no use, and the next try would be refused
                for path in _key_names(keys):
                    path.unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    (keys / "images").rmdir()
                    if made:
                        keys.rmdir()
                raise
    except OSError as error:
        raise LocalError(f"{error.filename or keys}: {error.strerror}; no keys were made") from None


def _key_names(keys: Path) -> list[Path]:
    return [keys / name for name in os.listdir(keys) if _FILE.fullmatch(name)]  # noqa: PTH208  (a broken link counts)


def check_threshold(role: str, needed: int, there_are: int) -> tuple[int, int]:
    """(signatures needed, keys) of `role`.  Raises InputError where they make no sense."""
    if not 1 <= needed <= there_are <= _MAX_KEYS:
        raise InputError(
            f"{role}={needed}:{there_are}: so many signatures of so many keys cannot be; write {role}=2:3 for two of "
            f"three ({_MAX_KEYS} at most)"
        )
    return needed, there_are


def _counts(thresholds: Thresholds, uris: Mapping[str, Sequence[str]]) -> dict[str, tuple[int, int]]:
    for role in (*thresholds, *uris):
        if role not in ROLES:
            raise InputError(f"{role}: is no role with a key made here ({', '.join(ROLES)})")
    counts = {}
    for role in ROLES:
        given = len(uris.get(role, ()))
        needed, there_are = check_threshold(role, *thresholds.get(role, (1, max(1, given))))
        if given > there_are:
            raise InputError(f"{role}: {given} keys are given, and there are to be {there_are}; raise --threshold")
        counts[role] = (needed, there_are)
    return counts


def _make_all(
    keys: Path,
    passphrase: bytes | None,
    now: float,
    counts: Thresholds,
    uris: Mapping[str, Sequence[str]],
) -> str:
    (keys / "images").mkdir(mode=0o700, exist_ok=True)
    root = Root(version=1, expires=utc(now + ROOT_LIFE), consistent_snapshot=True)
    signers: dict[str, list[Signer]] = {role: [] for role in ROLES}
    for role, (needed, there_are) in counts.items():
        for number in range(there_are):
            given = uris.get(role, ())
            if number < len(given):
                signer: Signer = import_key(unused_path(keys, role, ".uri"), given[number], passphrase)
            else:
                signer = new_key(unused_path(keys, role), passphrase)
            root.add_key(signer.public_key, role)
            signers[role].append(signer)
        if len(root.roles[role].keyids) < there_are:
            raise InputError(f"{role}: one key is given twice; a threshold counts different keys")
        root.roles[role].threshold = needed
    signed = Metadata(root)
    for signer in signers["root"]:
        signed.sign(signer, append=True)
    data = signed.to_bytes(JSONSerializer(compact=True))
    write_whole(keys / "root.json", data)
    return pin_of(data)


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


def refuse_uris(uris: Sequence[str]) -> None:
    """Raises InputError where one of `uris` names a file that lies in a repository."""
    for uri in uris:
        if uri.startswith("file:"):
            refuse_inside_repository(Path(urlsplit(uri).path))
