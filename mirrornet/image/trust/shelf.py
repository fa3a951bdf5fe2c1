"""The publisher's half of the signed metadata: read a repository's newest set, change it, sign it, write it.

    root ── timestamp (3 days) ── snapshot (30 days) ── targets (365 days) ── image-NAME (365 days), one an image

One terminating delegated role an image, for the paths NAME/*/*, so that publishing one image does not make every
client fetch every image's list (one list of 1,000 versions is 722 KB).  Consistent snapshots: each file but the
timestamp is named by version and never changes, so a mirror that is being copied to is merely old.  Lengths and hashes
stand in timestamp and snapshot, so that a stolen online key cannot mix old and new files of one version.

The publisher checks its own repository like anybody's: it may lie on a share that others write to.  And what it signs
is checked before it is written: keys that are not those the metadata names are the operator's slip, not the clients'.

A new root takes effect for a client before the rest of a set does, and the timestamp is the one file that is not named
by version.  So what a changed role signs is signed by its old keys as well, where they are here, and the new root is
written last: the set is whole for clients at each moment.  Where old keys are lost the root goes first, and clients
pass the repository over for the moment between two renames; if the publisher is killed in that moment, the next
publish, resign or rotation signs what the new root's keys have not yet signed (`unfinished`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from securesystemslib.signer import Key, Signer
from tuf.api.exceptions import RepositoryError
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
from mirrornet.image.trust.verify import Verified, next_root, open_role, open_root, utc, verify_set, versions_of
from mirrornet.image.trust.versions import (
    ImageVersion,
    attached_custom,
    file_path,
    name_of,
    role_of,
    target_path,
    to_custom,
)
from mirrornet.model.errors import InputError, MirrornetError, PeerError

DAY: Final = 86400  # seconds
LIFE: Final = {"timestamp": 3 * DAY, "snapshot": 30 * DAY, "targets": 365 * DAY, "root": ROOT_LIFE}
_NEWEST: Final = "mirrornet-newest"  # in the role of an image: its greatest version ever, retired ones included
Sign = Callable[[str], Sequence[Signer]]  # the signers of a role that are here; raises InputError


class Shelf:
    """The metadata folder of one repository, under its lock.  `now` is Unix time."""

    def __init__(self, repository: Path, first_root: bytes, now: float) -> None:
        """Reads and checks what is there.  Raises InputError: it belongs to other keys, or does not hold together."""
        self.repository = repository
        self.folder = repository / "metadata"
        self.now = now
        self.first_root = first_root
        self.roots: tuple[bytes, ...] = (first_root,)
        self.former: Root | None = None  # the root before the one that is being made
        self.unfinished: frozenset[str] = frozenset()  # roles that the newest root's keys have not signed yet
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
            self.targets = self.verified.targets
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
        self.roots = tuple(roots)
        try:
            self.root = open_root(roots[-1])
            try:
                return self._chain(roots)
            except PeerError:
                if len(roots) == 1:
                    raise
                before = open_root(roots[-2])
                verified = self._chain(roots[:-1])
                next_root(roots[-2], roots[-1])
                self.unfinished = frozenset(
                    role for role in self.root.roles if self.root.roles[role] != before.roles[role] and role != "root"
                )
                return verified
        except (PeerError, OSError, KeyError) as error:
            if isinstance(error, OSError):
                reason = f"{Path(error.filename or self.folder).name}: {error.strerror}"
            else:  # the advice after the semicolon is for clients, who have other mirrors
                reason = str(error).partition(";")[0]
            raise InputError(f"{self.folder}: does not hold together ({reason}); restore it from a mirror") from None

    def _chain(self, roots: Sequence[bytes]) -> Verified:
        """The set in the folder under the last of `roots`.  Raises PeerError, OSError, KeyError."""
        root = open_root(roots[-1])
        timestamp = self._bytes("timestamp.json")
        stamp = open_role(Timestamp, timestamp, root, "timestamp", "timestamp.json")
        snapshot = self._bytes(f"{stamp.snapshot_meta.version}.snapshot.json")
        meta = open_role(Snapshot, snapshot, root, "snapshot", "snapshot.json").meta
        files = {name: self._bytes(f"{m.version}.{name}") for name, m in meta.items()}
        images = {name: data for file, data in files.items() if (name := name_of(file.removesuffix(".json")))}
        return verify_set(roots, timestamp, snapshot, files["targets.json"], images)

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
        """Lists `image` and its other targets; delegates its name first where it is new (`sign` has the targets key).

        Nothing is written before `write`.
        """
        role = role_of(image.name)
        targets = self.images.get(image.name)
        if targets is None:
            targets = Targets(expires=utc(self.now))
            targets.version = 0
            self.images[image.name] = targets
            self._delegate(image.name, new_key(role), sign)
        targets.unrecognized_fields[_NEWEST] = max(image.version, targets.unrecognized_fields.get(_NEWEST, 0))
        path = target_path(image.name, image.version)
        targets.targets[path] = TargetFile(
            image.index_length,
            {"sha256": image.index_hash.hex()},
            path,
            {"custom": to_custom(image)},
        )
        for other in image.attached:
            path = target_path(image.name, image.version, other.kind)
            fields = {"custom": custom} if (custom := attached_custom(other)) else {}
            targets.targets[path] = TargetFile(other.length, {"sha256": other.hash.hex()}, path, fields)
        self.stage_role(role, sign)

    def retire(self, name: str, versions: Sequence[int], sign: Sign) -> None:
        """Takes `versions` of the image `name`, with all their targets, out of the metadata."""
        role = self.images[name]
        role.unrecognized_fields[_NEWEST] = self.next_version(name) - 1
        gone = {str(version) for version in versions}
        role.targets = {path: target for path, target in role.targets.items() if path.split("/")[1] not in gone}
        self.stage_role(role_of(name), sign)

    def _delegate(self, name: str, signers: Sequence[Signer], sign: Sign) -> None:
        if self.targets.delegations is None:
            self.targets.delegations = Delegations(keys={}, roles={})
        roles = self.targets.delegations.roles
        assert roles is not None
        roles[role_of(name)] = DelegatedRole(role_of(name), [], 1, terminating=True, paths=[f"{name}/*/*"])
        for signer in signers:
            self.targets.add_key(signer.public_key, role_of(name))
        self.stage_role("targets", sign)

    def rekey(self, role: str, keys: Sequence[Key], threshold: int) -> None:
        """`keys` in place of all that `role` has; who names them has to be staged afterwards."""
        if role in self.root.roles:
            self._next_root()
        names: Root | Targets = self.root if role in self.root.roles else self.targets
        entry = names.get_delegated_role(role)
        for keyid in tuple(entry.keyids):
            names.revoke_key(keyid, role)
        for key in keys:
            names.add_key(key, role)
        entry.threshold = threshold

    def _next_root(self) -> None:
        if self.former is None:
            self.former, self.root = self.root, copy.deepcopy(self.root)
            self.root.version += 1

    def stage_root(self, sign: Sign) -> None:
        """The next root, signed by the keys of the one before and its own."""
        self._next_root()
        self.root.expires = utc(self.now + LIFE["root"])
        self._pending[f"{self.root.version}.root.json"] = self._signed(self.root, "root", sign)

    def stage_role(self, role: str, sign: Sign) -> None:
        """The next version of targets or of an image's role; the snapshot has to follow."""
        part = self.targets if role == "targets" else self.images[name_of(role) or ""]
        part.version = self._next(part.version, role)
        part.expires = utc(self.now + LIFE["targets"])
        data = self._signed(part, role, sign)
        self._pending[f"{part.version}.{role}.json"] = data
        self.snapshot.meta[f"{role}.json"] = MetaFile.from_data(part.version, data, ["sha256"])
        self.unfinished -= {role}

    def stage_snapshot(self, sign: Sign) -> None:
        """The next snapshot and timestamp, over all that was staged before."""
        if "targets" in self.unfinished:
            self.stage_role("targets", sign)
        self.snapshot.version = self._next(self.snapshot.version, "snapshot")
        self.snapshot.expires = utc(self.now + LIFE["snapshot"])
        data = self._signed(self.snapshot, "snapshot", sign)
        self._pending[f"{self.snapshot.version}.snapshot.json"] = data
        self.timestamp.snapshot_meta = MetaFile.from_data(self.snapshot.version, data, ["sha256"])
        self.stage_timestamp(sign)

    def _next(self, version: int, role: str) -> int:
        """The version after `version` that no file has: a change that was killed may have left one, and mirrors it."""
        version += 1
        while self.verified is not None and (self.folder / f"{version}.{role}.json").exists():
            version += 1
        return version

    def stage_timestamp(self, sign: Sign) -> None:
        """The next timestamp."""
        self.timestamp.version += 1
        self.timestamp.expires = utc(self.now + LIFE["timestamp"])
        self._pending["timestamp.json"] = self._signed(self.timestamp, "timestamp", sign)
        self.unfinished = frozenset()

    def check_keys(self, roles: Sequence[str], sign: Sign) -> None:
        """Raises InputError where what is here cannot sign for one of `roles`: found out before the work."""
        for role in roles:
            self._signers(role, sign)

    def _signers(self, role: str, sign: Sign) -> list[Signer]:
        """Those keys of `role` that count, old ones of a role that is being changed included."""
        names: Root | Targets = self.root if role in self.root.roles else self.targets
        entry = names.get_delegated_role(role)
        here = {signer.public_key.keyid: signer for signer in sign(role)}
        count = sum(keyid in here for keyid in entry.keyids)
        if count < entry.threshold:
            if not count:
                raise InputError(
                    f"the key of the role {role} that is here is not the one in use: bring that (rotated?)"
                )
            raise InputError(
                f"the role {role} needs {entry.threshold} signatures and {count} of its keys are here: bring the "
                "others, or name their folders by --also"
            )
        wanted = list(entry.keyids)
        if self.former is not None and role in self.former.roles:
            before = self.former.roles[role]
            if role == "root" and sum(keyid in here for keyid in before.keyids) < before.threshold:
                raise InputError("the keys of the old root have to sign the new one, and are not here: bring them")
            wanted += before.keyids
        return [here[keyid] for keyid in dict.fromkeys(wanted) if keyid in here]

    def _signed(self, part: Any, role: str, sign: Sign) -> bytes:
        """`part` signed for `role`, and found good.  Raises InputError."""
        signed: Signed[Any] = Signed(part)
        for signer in self._signers(role, sign):
            try:
                signed.sign(signer, append=True)
            except RepositoryError as error:
                if isinstance(error.__cause__, MirrornetError):  # a token without its PIN
                    raise error.__cause__ from None
                raise
        names: Root | Targets = self.root if role in self.root.roles else self.targets
        try:
            names.verify_delegate(role, signed.signed_bytes, signed.signatures)
        except RepositoryError as error:  # a token that holds another key by now
            raise InputError(f"{role}: what was signed does not verify ({error}); nothing was written") from None
        return signed.to_bytes()

    def write(self, staging: Path) -> None:
        """Writes what was staged: the first root, what is named by version, then timestamp and new root (see above)."""
        if not (self.folder / "1.root.json").exists():
            write_whole(self.folder / "1.root.json", self.first_root, staging=staging)
        root = f"{self.root.version}.root.json"
        last = [name for name in ("timestamp.json", root) if name in self._pending]
        if len(last) == 2 and not self._good_before():
            last.reverse()
        for name in [*(name for name in self._pending if name not in last), *last]:
            write_whole(self.folder / name, self._pending[name], staging=staging)
        self._pending.clear()

    def _good_before(self) -> bool:
        """Whether what was staged is good under the former root, too."""
        assert self.former is not None
        for name, data in self._pending.items():
            role = name.removesuffix(".json").partition(".")[2] or "timestamp"
            if role in ("targets", "snapshot", "timestamp"):
                signed: Signed[Any] = Signed.from_bytes(data)
                try:
                    self.former.verify_delegate(role, signed.signed_bytes, signed.signatures)
                except RepositoryError:
                    return False
        return True


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
