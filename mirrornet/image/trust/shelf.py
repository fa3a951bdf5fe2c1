"""The publisher's half of the signed metadata: read a repository's newest set, change it, sign it, write it.

    root ── timestamp (3 days) ── snapshot (30 days) ── targets (365 days) ── image-NAME (365 days), one an image

One terminating delegated role an image, for the paths NAME/*/*, so that publishing one image does not make every
client fetch every image's list (one list of 1,000 versions is 722 KB).  Consistent snapshots: each file but the
timestamp is named by version and never changes, so a mirror that is being copied to is merely old.  Lengths and hashes
stand in timestamp and snapshot, so that a stolen online key cannot mix old and new files of one version.

The publisher checks its own repository like anybody's: it may lie on a share that others write to.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.metadata import Metadata as Signed

from mirrornet.image.files import write_whole
from mirrornet.image.small import METADATA_LIMIT, read_small
from mirrornet.image.trust.keys import ROOT_LIFE
from mirrornet.image.trust.verify import Verified, open_role, open_root, utc, verify_set, versions_of
from mirrornet.image.trust.versions import (
    ImageVersion,
    file_path,
    name_of,
    role_of,
    target_path,
    to_custom,
)
from mirrornet.model.errors import InputError, PeerError

DAY: Final = 86400  # seconds
LIFE: Final = {"timestamp": 3 * DAY, "snapshot": 30 * DAY, "targets": 365 * DAY, "root": ROOT_LIFE}
_NEWEST: Final = "mirrornet-newest"  # in the role of an image: its greatest version ever, retired ones included
Sign = Callable[[str], CryptoSigner]  # the signer of a role; raises InputError


class Shelf:
    """The metadata folder of one repository, under its lock.  `now` is Unix time."""

    def __init__(self, repository: Path, first_root: bytes, now: float) -> None:
        """Reads and checks what is there.  Raises InputError: it belongs to other keys, or does not hold together."""
        self.repository = repository
        self.folder = repository / "metadata"
        self.now = now
        self.first_root = first_root
        self._pending: dict[str, bytes] = {}
        self.verified = self._read() if (self.folder / "timestamp.json").exists() else None
        if self.verified is None and (lost := self._lost()):
            raise InputError(f"{self.folder}: holds {lost}, but no timestamp.json; copy that from a mirror")
        if self.verified is None:
            self.root = open_root(first_root)
            self.targets = Targets(expires=utc(now + LIFE["targets"]))
            self.snapshot = Snapshot(expires=utc(now + LIFE["snapshot"]))
            self.snapshot.version = 0  # never written as such: every change adds one
            self.targets.version = 0
            self.timestamp = Timestamp(expires=utc(now + LIFE["timestamp"]))
            self.timestamp.version = 0
            self.images: dict[str, Targets] = {}
        else:
            self.root, self.targets = self.verified.root, self.verified.targets
            self.snapshot, self.timestamp = self.verified.snapshot, self.verified.timestamp
            self.images = dict(self.verified.images)

    def _lost(self) -> str:
        """A file that proves that there was a timestamp.json.  To start again would use versions twice.

        A first publish that was killed leaves first versions only, and may be tried again.
        """
        names = (path.name for path in self.folder.glob("*.snapshot.json"))
        return max((name for name in names if name != "1.snapshot.json"), default="")

    def _read(self) -> Verified:
        roots: list[bytes] = []
        while (path := self.folder / f"{len(roots) + 1}.root.json").exists():
            roots.append(self._bytes(path.name))
        if not roots or roots[0] != self.first_root:
            raise InputError(
                f"{self.repository}: was published with other keys, or its 1.root.json is damaged; name the keys it "
                "was made with"
            )
        try:
            root = open_root(roots[-1])
            timestamp = self._bytes("timestamp.json")
            stamp = open_role(Timestamp, timestamp, root, "timestamp", "timestamp.json")
            snapshot = self._bytes(f"{stamp.snapshot_meta.version}.snapshot.json")
            meta = open_role(Snapshot, snapshot, root, "snapshot", "snapshot.json").meta
            files = {name: self._bytes(f"{m.version}.{name}") for name, m in meta.items()}
            images = {name: data for file, data in files.items() if (name := name_of(file.removesuffix(".json")))}
            return verify_set(roots, timestamp, snapshot, files["targets.json"], images)
        except (PeerError, OSError, KeyError) as error:
            if isinstance(error, OSError):
                reason = f"{Path(error.filename or self.folder).name}: {error.strerror}"
            else:  # the advice after the semicolon is for clients, who have other mirrors
                reason = str(error).partition(";")[0]
            raise InputError(f"{self.folder}: does not hold together ({reason}); restore it from a mirror") from None

    def _bytes(self, name: str) -> bytes:
        return read_small(self.folder / name, METADATA_LIMIT)

    def next_version(self, name: str) -> int:
        """The version that the next publish of `name` makes: never one that was ever used, retired ones included."""
        role = self.images.get(name)
        if role is None:
            return 1
        newest: int = role.unrecognized_fields.get(_NEWEST, 0)
        return 1 + max([newest, *(image.version for image in versions_of(role, name))])

    def add(self, image: ImageVersion, sign: Sign, new_key: Sign) -> None:
        """Lists `image`, delegating its name first where it is new (`sign` must then have the targets key).

        Nothing is written before `write`.
        """
        role = role_of(image.name)
        targets = self.images.get(image.name)
        if targets is None:
            targets = Targets(expires=utc(self.now))
            targets.version = 0
            self._delegate(image.name, new_key(role), sign)
            self.images[image.name] = targets
        targets.unrecognized_fields[_NEWEST] = max(image.version, targets.unrecognized_fields.get(_NEWEST, 0))
        path = target_path(image.name, image.version)
        targets.targets[path] = TargetFile(
            image.index_length,
            {"sha256": image.index_hash.hex()},
            path,
            {"custom": to_custom(image)},
        )
        self._stage_targets(role, targets, sign)

    def _delegate(self, name: str, signer: CryptoSigner, sign: Sign) -> None:
        if self.targets.delegations is None:
            self.targets.delegations = Delegations(keys={}, roles={})
        roles = self.targets.delegations.roles
        assert roles is not None
        roles[role_of(name)] = DelegatedRole(role_of(name), [], 1, terminating=True, paths=[f"{name}/*/*"])
        self.targets.add_key(signer.public_key, role_of(name))
        self._stage_targets("targets", self.targets, sign)

    def _stage_targets(self, role: str, targets: Targets, sign: Sign) -> None:
        targets.version += 1
        targets.expires = utc(self.now + LIFE["targets"])
        data = _signed(targets, sign(role))
        self._pending[f"{targets.version}.{role}.json"] = data
        self.snapshot.meta[f"{role}.json"] = MetaFile.from_data(targets.version, data, ["sha256"])

    def stage_snapshot(self, sign: Sign) -> None:
        """The next snapshot and timestamp, over all that was staged before."""
        self.snapshot.version += 1
        self.snapshot.expires = utc(self.now + LIFE["snapshot"])
        data = _signed(self.snapshot, sign("snapshot"))
        self._pending[f"{self.snapshot.version}.snapshot.json"] = data
        self.timestamp.snapshot_meta = MetaFile.from_data(self.snapshot.version, data, ["sha256"])
        self.stage_timestamp(sign)

    def stage_timestamp(self, sign: Sign) -> None:
        """The next timestamp."""
        self.timestamp.version += 1
        self.timestamp.expires = utc(self.now + LIFE["timestamp"])
        self._pending["timestamp.json"] = _signed(self.timestamp, sign("timestamp"))

    def write(self, staging: Path) -> None:
        """Writes what was staged: the first root, then all that is named by version, the timestamp last."""
        timestamp = self._pending.pop("timestamp.json")
        if not (self.folder / "1.root.json").exists():
            write_whole(self.folder / "1.root.json", self.first_root, staging=staging)
        for name, data in self._pending.items():
            write_whole(self.folder / name, data, staging=staging)
        write_whole(self.folder / "timestamp.json", timestamp, staging=staging)
        self._pending.clear()


def _signed(part: Any, signer: CryptoSigner) -> bytes:
    signed: Signed[Any] = Signed(part)
    signed.sign(signer)
    return signed.to_bytes()


def expiries(shelf: Shelf) -> dict[str, float]:
    """Unix time of expiry by role: root, targets, snapshot, timestamp, image-NAME."""
    parts: dict[str, Root | Targets | Snapshot | Timestamp] = {
        "root": shelf.root,
        "targets": shelf.targets,
        "snapshot": shelf.snapshot,
        "timestamp": shelf.timestamp,
        **{role_of(name): role for name, role in shelf.images.items()},
    }
    return {role: part.expires.timestamp() for role, part in parts.items()}


def index_path(name: str, version: int, digest: bytes) -> str:
    """Where the head of an index lies, relative to the repository."""
    return file_path(target_path(name, version), digest.hex())
