"""What the signed metadata says of images, as values: an ImageVersion for each version, a Metadata for a verified set.

Pure.  `custom.mirrornet` of a TUF target is turned into an ImageVersion here and nowhere else, in both directions, with
every field checked: the publisher's key makes a lie the publisher's, not a crash of the client's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mirrornet.image.format.block import Codec
from mirrornet.model.errors import InputError, Untrusted
from mirrornet.model.names import IMAGE_NAME, suggest

_PATH: Final = re.compile(rf"({IMAGE_NAME.pattern})/([1-9][0-9]{{0,8}})/index")
ATTACHED_KIND: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_ATTACHED: Final = re.compile(rf"({IMAGE_NAME.pattern})/([1-9][0-9]{{0,8}})/({ATTACHED_KIND.pattern})")
_ROLE = "image-"  # an image may be called "root": its role may not


@dataclass(frozen=True, slots=True)
class Attached:
    """A target beside an index: its last word (profile, kernel, initrd, sbom …), where it lies, what it must be.

    `path`: relative to the repository.  `hash`: 32 octets of SHA-256.  `length`: bytes.  `inside`: the path in the
    image by which the publisher took it out of there, or "".
    """

    kind: str
    path: str
    hash: bytes
    length: int
    inside: str = ""


@dataclass(frozen=True, slots=True)
class ImageVersion:
    """One published version.

    `size`: true length in bytes.  `stored`: bytes of its distinct blocks.  `codec`: "zlib", "zstd" or "stored".
    `created`: ISO 8601, UTC.  `rollback_of`: the version whose content this one repeats.  `index_path`: relative to the
    repository; `index_hash`: 32 octets of SHA-256; `index_length`: bytes.  `attached`: the version's other targets, by
    kind ascending.  `new`: stored bytes that whoever had the version before has to fetch; None: not told.
    """

    name: str
    version: int
    size: int
    stored: int
    codec: str
    created: str
    rollback_of: int | None
    index_path: str
    index_hash: bytes
    index_length: int
    attached: tuple[Attached, ...] = ()
    new: int | None = None

    @property
    def guest_files(self) -> dict[str, Attached]:
        """What a guest is started with, by kind: kernel, initrd, cmdline; nothing where it has no kernel."""
        found = {each.kind: each for each in self.attached if each.kind in ("kernel", "initrd", "cmdline")}
        return found if "kernel" in found else {}


@dataclass(frozen=True, slots=True)
class Metadata:
    """One verified, consistent set.

    `repository_id`: SHA-256 hex of the first root.json.  `root`: the newest verified root.json.  `expires`: Unix time
    of the earliest expiry in the set.  `images`: of the names asked for, ascending by version.  `names`: of all images
    there are.  `now`: the time it was judged by, max(system clock, last time stored in the trust folder).
    `expiries`: Unix time of expiry by role: root, timestamp, snapshot, targets, image-NAME of the images asked for.
    """

    repository_id: str
    root: bytes
    timestamp_version: int
    snapshot_version: int
    expires: float
    images: Mapping[str, tuple[ImageVersion, ...]]
    names: tuple[str, ...] = field(default=())
    root_version: int = 1
    now: float = 0.0
    expiries: Mapping[str, float] = field(default_factory=dict)

    @property
    def age(self) -> tuple[int, int, int]:
        """What makes one verified set newer than another: the greater root, then timestamp, then snapshot.

        The root decides: whoever stole the online keys numbers his timestamp as he likes, until a root names others.
        """
        return self.root_version, self.timestamp_version, self.snapshot_version

    @property
    def expired(self) -> bool:
        """Whether any part of it was too old to be believed when it was read."""
        return self.now >= self.expires

    def latest(self, name: str) -> ImageVersion:
        """The greatest version of `name`.  Raises InputError, with a "did you mean", where there is none."""
        versions = self.images.get(name)
        if versions:
            return versions[-1]
        if name in self.names:
            raise InputError(f"the image {name} has no version; the publisher retired them all")
        raise InputError(f"the repository has no image {name!r}; {_hint(name, self.names)}")

    def version(self, name: str, number: int) -> ImageVersion:
        """Version `number` of `name`.  Raises InputError, listing what there is."""
        newest = self.latest(name)
        for candidate in self.images[name]:
            if candidate.version == number:
                return candidate
        have = ", ".join(str(candidate.version) for candidate in self.images[name][-10:])
        raise InputError(f"the image {name} has no version {number} (newest {newest.version}; there are {have})")


def _hint(name: str, names: tuple[str, ...]) -> str:
    return suggest(name, names) or (f"it has {', '.join(sorted(names)[:10])}" if names else "it has none")


def check_name(name: str) -> str:
    """`name`, if it may name an image.  Raises InputError."""
    if not IMAGE_NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot name an image: lower-case letters, digits, '.', '_', '-', at most 63 of them"
        )
    return name


def role_of(name: str) -> str:
    """The TUF role that signs the versions of image `name`."""
    return _ROLE + name


def name_of(role: str) -> str | None:
    """The image whose role this is, if it is one's."""
    name = role.removeprefix(_ROLE)
    return name if role.startswith(_ROLE) and IMAGE_NAME.fullmatch(name) else None


def target_path(name: str, version: int, kind: str = "index") -> str:
    """The TUF target path of an index, or of another target of that version."""
    return f"{name}/{version}/{kind}"


def file_path(target: str, digest: str) -> str:
    """Where a target lies in a repository: TUF's consistent snapshots put the hash before the base name."""
    folder, _, base = target.rpartition("/")
    return f"files/{folder}/{digest}.{base}"


def to_custom(image: ImageVersion) -> dict[str, Any]:
    """The `custom` object of the target of an index."""
    fields: dict[str, Any] = {
        "version": image.version,
        "size": image.size,
        "stored": image.stored,
        "codec": image.codec,
        "created": image.created,
        "rollback_of": image.rollback_of,
    }
    if image.new is not None:
        fields["new"] = image.new
    return {"mirrornet": fields}


def from_target(path: str, length: int, hashes: Mapping[str, str], custom: object, name: str) -> ImageVersion | None:
    """The version that a target in the role of `name` describes; None for targets that are no index.

    Raises Untrusted where it is one and any field is missing, of another type, or disagrees with the path.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    fields = custom.get("mirrornet") if isinstance(custom, dict) else None
    digest = hashes.get("sha256", "")
    if match[1] != name or not isinstance(fields, dict) or not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise Untrusted(f"target {path}: not what an index of {name} looks like; a newer mirrornet may be needed")
    numbers = [fields.get(key) for key in ("version", "size", "stored")]
    codec, created, rollback_of = fields.get("codec"), fields.get("created"), fields.get("rollback_of")
    new = fields.get("new")
    if (
        any(type(number) is not int or number < 0 for number in numbers)
        or numbers[0] != int(match[2])
        or codec not in {member.name.lower() for member in Codec}
        or not isinstance(created, str)
        or not (rollback_of is None or type(rollback_of) is int)
        or not (new is None or (type(new) is int and new >= 0))
    ):
        raise Untrusted(f"target {path}: its custom fields are malformed; a newer mirrornet may be needed")
    return ImageVersion(
        name=name,
        version=int(match[2]),
        size=fields["size"],
        stored=fields["stored"],
        codec=codec,
        created=created,
        rollback_of=rollback_of,
        index_path=file_path(path, digest),
        index_hash=bytes.fromhex(digest),
        index_length=length,
        new=new,
    )


def attached_custom(target: Attached) -> dict[str, Any]:
    """The `custom` object of a target beside an index; empty where there is nothing to say."""
    return {"mirrornet": {"inside": target.inside}} if target.inside else {}


def attached_from(
    path: str, length: int, hashes: Mapping[str, str], custom: object, name: str
) -> tuple[int, Attached] | None:
    """(version, target) of a target in the role of `name` that is no index; None where its path is none of ours.

    A kind this program does not know is one that a mirror has to hold all the same.  Raises Untrusted for a hash that
    is none.
    """
    match = _ATTACHED.fullmatch(path)
    if match is None or match[1] != name or match[3] == "index":
        return None
    digest = hashes.get("sha256", "")
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise Untrusted(f"target {path}: it is not named by a SHA-256; a newer mirrornet may be needed")
    fields = custom.get("mirrornet") if isinstance(custom, dict) else None
    inside = fields.get("inside") if isinstance(fields, dict) else None
    known = isinstance(inside, str) and inside.startswith("/")
    return int(match[2]), Attached(
        match[3], file_path(path, digest), bytes.fromhex(digest), length, str(inside) if known else ""
    )
