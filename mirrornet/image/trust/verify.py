"""Bytes of signed metadata → what they prove.  Pure: by python-tuf's public API, no clock, no file, no network.

`verify_set` is the whole chain (The Update Framework specification, section 5.3 to 5.6) over bytes that are here
already: roots, each signed by the one before; the timestamp by the root; snapshot, targets and image roles by version,
length and hash.  It does not judge expiry, it tells it: a client without network mounts what was verified once, with a
warning.  The client's walk over an untrusted mirror, where rollback and expiry are refused, is `trust.attempt`.

python-tuf speaks in exceptions of its own; `fault` turns each into one line that says what happened and what to do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from tuf.api import exceptions
from tuf.api.metadata import Metadata as Signed
from tuf.api.metadata import Root, Snapshot, Targets, Timestamp
from tuf.api.serialization import DeserializationError

from mirrornet.image.trust.versions import (
    Attached,
    ImageVersion,
    Metadata,
    attached_from,
    from_target,
    name_of,
    role_of,
)
from mirrornet.model.errors import Expired, Missing, PeerError, Untrusted

T = TypeVar("T", Root, Timestamp, Snapshot, Targets)


def fault(error: Exception, what: str) -> PeerError:
    """`error` of python-tuf, about the file or step `what`, as one of ours."""
    if isinstance(error, PeerError):
        return error
    if isinstance(error, DeserializationError):
        return Untrusted(f"{what}: is not signed metadata (an error page or a captive portal?); ask another mirror")
    if isinstance(error, exceptions.UnsignedMetadataError):
        return Untrusted(f"{what}: not signed by the keys that the trusted root names; is it this repository's mirror?")
    if isinstance(error, exceptions.ExpiredMetadataError):
        return Expired(
            f"{what}: {error}; the mirror is stale or frozen, the publisher must run `mirrornet resign`, or the clock "
            "of this machine is wrong"
        )
    if isinstance(error, exceptions.BadVersionNumberError):
        return Untrusted(f"{what}: {error}; the mirror is stale or replays old metadata, ask another")
    if isinstance(error, exceptions.LengthOrHashMismatchError):
        return Untrusted(f"{what}: is not the file that the metadata names; the mirror is half-copied, ask another")
    if isinstance(error, exceptions.DownloadLengthMismatchError):
        return Untrusted(f"{what}: longer than it may be; ask another mirror")
    if isinstance(error, exceptions.DownloadHTTPError):
        return Missing(f"{what}: this mirror does not have it (half-copied?); ask another")
    return Untrusted(f"{what}: {type(error).__name__}: {error}; ask another mirror")


def open_role(kind: type[T], data: bytes, delegator: Root | Targets | None, role: str, what: str) -> T:
    """The signed part of `data`, which is of `kind` and signed as `delegator` asks for `role` (None: not checked).

    Raises Untrusted.
    """
    try:
        signed: Signed[T] = Signed[T].from_bytes(data)
        if not isinstance(signed.signed, kind):
            raise Untrusted(f"{what}: is a {signed.signed.type}, not a {kind.type}; ask another mirror")
        if delegator is not None:
            delegator.verify_delegate(role, signed.signed_bytes, signed.signatures)
    except Exception as error:  # ValueError, KeyError, RecursionError: whatever hostile bytes provoke
        raise fault(error, what) from None
    return signed.signed


def open_root(data: bytes) -> Root:
    """A root that signs itself.  Raises Untrusted."""
    root = open_role(Root, data, None, "root", "root.json")
    return open_role(Root, data, root, "root", "root.json")


def next_root(root: bytes, data: bytes) -> bytes:
    """`data`, if it is the root that follows `root`: one version on, signed by the old keys and by its own.

    Raises Untrusted (specification 5.3.4, 5.3.5).
    """
    old = open_root(root)
    what = f"{old.version + 1}.root.json"
    new = open_role(Root, data, old, "root", what)
    open_role(Root, data, new, "root", what)
    if new.version != old.version + 1:
        raise Untrusted(f"{what}: is version {new.version}; ask another mirror")
    return data


def check_timestamp(root: bytes, data: bytes, now: float) -> tuple[int, int, float]:
    """(timestamp version, snapshot version, expiry in Unix time) of a timestamp.json signed as `root` asks.

    Raises Untrusted; Expired where `now` is past its expiry (the versions are in the message).
    """
    timestamp = open_role(Timestamp, data, open_root(root), "timestamp", "timestamp.json")
    expires = timestamp.expires.timestamp()
    if now >= expires:
        raise Expired(f"timestamp.json: version {timestamp.version} expired on {timestamp.expires:%Y-%m-%d %H:%M} UTC")
    return timestamp.version, timestamp.snapshot_meta.version, expires


@dataclass(frozen=True, slots=True)
class Verified:
    """A chain that holds together; expiry is not judged.  `roots`: all roots' bytes, the first one first."""

    roots: tuple[bytes, ...]
    root: Root
    timestamp: Timestamp
    snapshot: Snapshot
    targets: Targets
    images: Mapping[str, Targets]

    def metadata(self, now: float) -> Metadata:
        """The same as values.  Raises Untrusted where a role describes its versions wrongly."""
        parts: dict[str, Any] = {
            "root": self.root,
            "timestamp": self.timestamp,
            "snapshot": self.snapshot,
            "targets": self.targets,
            **{f"image-{name}": role for name, role in self.images.items()},
        }
        expiries = {role: part.expires.timestamp() for role, part in parts.items()}
        return Metadata(
            repository_id=hashlib.sha256(self.roots[0]).hexdigest(),
            root=self.roots[-1],
            timestamp_version=self.timestamp.version,
            snapshot_version=self.snapshot.version,
            expires=min(expiries.values()),
            images={name: versions_of(role, name) for name, role in self.images.items()},
            names=image_names(self.targets),
            root_version=self.root.version,
            now=now,
            expiries=expiries,
        )


def versions_of(role: Targets, name: str) -> tuple[ImageVersion, ...]:
    """The versions that the role of image `name` lists, ascending.  Raises Untrusted."""
    found: list[ImageVersion] = []
    beside: dict[int, list[Attached]] = {}
    for path, target in role.targets.items():
        if (other := attached_from(path, target.length, target.hashes, target.custom, name)) is not None:
            beside.setdefault(other[0], []).append(other[1])
        elif (image := from_target(path, target.length, target.hashes, target.custom, name)) is not None:
            found.append(image)
    return tuple(
        replace(image, attached=tuple(sorted(beside.get(image.version, ()), key=lambda each: each.kind)))
        for image in sorted(found, key=lambda image: image.version)
    )


def image_names(targets: Targets) -> tuple[str, ...]:
    """The names of all images that the top-level targets delegates."""
    roles: Iterable[str] = (targets.delegations.roles or {}) if targets.delegations else ()
    return tuple(sorted(name for name in map(name_of, roles) if name))


def verify_set(
    roots: Sequence[bytes], timestamp: bytes, snapshot: bytes, targets: bytes, images: Mapping[str, bytes]
) -> Verified:
    """The chain over bytes at hand; `images` maps image names to their role's metadata.

    The role of an image may be older than the snapshot says (it was verified then, and not asked for since), never
    newer.  Raises Untrusted.
    """
    newest = roots[0]
    root = open_root(newest)
    for data in roots[1:]:
        newest = next_root(newest, data)
        root = open_root(newest)
    stamp = open_role(Timestamp, timestamp, root, "timestamp", "timestamp.json")
    snap = open_role(Snapshot, snapshot, root, "snapshot", "snapshot.json")
    _match(stamp.snapshot_meta, snap.version, snapshot, "snapshot.json")
    top = open_role(Targets, targets, root, "targets", "targets.json")
    _match(snap.meta.get("targets.json"), top.version, targets, "targets.json")
    roles = {}
    for name, data in images.items():
        file = f"{role_of(name)}.json"
        role = open_role(Targets, data, top, role_of(name), file)
        meta = snap.meta.get(file)
        if meta is None or role.version >= meta.version:
            _match(meta, role.version, data, file)
        roles[name] = role
    return Verified(tuple(roots), root, stamp, snap, top, roles)


def _match(meta: Any, version: int, data: bytes, what: str) -> None:
    """Raises Untrusted unless `data`, of `version`, is the file that `meta` (a MetaFile or None) names."""
    try:
        if meta is None:
            raise exceptions.LengthOrHashMismatchError("not in the snapshot")
        meta.verify_length_and_hashes(data)
        if meta.version != version:
            raise exceptions.LengthOrHashMismatchError("another version")
    except exceptions.RepositoryError as error:
        raise fault(error, what) from None


def utc(now: float) -> datetime:
    """Unix time as python-tuf wants it."""
    return datetime.fromtimestamp(now, UTC).replace(microsecond=0)
