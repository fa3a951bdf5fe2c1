"""`mirrornet pin`: what a person wants to stay in the cache, found in the metadata kept here; no network is used.

A version is named as NAME or NAME@VERSION.  Which repository that is, and what its index says, is known from the trust
folder, so a version can be pinned before it was pulled, and while there is no network.  What a pin would need beside
the other pins is held against the quota when it is made.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mirrornet.app.client.holding import opened_cache
from mirrornet.app.client.profiles import folder_of, recorded_versions, recordings_at
from mirrornet.app.folders import state_folder
from mirrornet.client.cache.pins import Kind, Part, Pin, Pins, Subject
from mirrornet.client.fetching.attached import kept
from mirrornet.image.format.block import BlockRef
from mirrornet.image.format.index import Head, Page
from mirrornet.image.format.profile import MAX_PROFILE, Profile
from mirrornet.image.small import read_small
from mirrornet.image.trust import attempt as trust
from mirrornet.image.trust.versions import ImageVersion, check_name
from mirrornet.model.errors import InputError, LimitError, LocalError, Missing, PeerError
from mirrornet.model.names import suggest
from mirrornet.model.units import format_size


@dataclass(frozen=True, slots=True)
class Pinned:
    """A pin, and how much of it is in the cache: `here` of `size` stored bytes; `complete`: nothing is missing."""

    subject: Subject
    kind: Kind
    whole: bool
    size: int
    here: int
    complete: bool
    since: float

    def fields(self) -> dict[str, Any]:
        """For programs."""
        return {
            "repository": self.subject.repository,
            "image": self.subject.image,
            "version": self.subject.version,
            "kind": str(self.kind),
            "whole": self.whole,
            "bytes": self.size,
            "here": self.here,
            "complete": self.complete,
            "since": self.since,
        }


class Pinning:
    """The pins of one cache folder, by hand.  `now` is Unix time."""

    def __init__(self, cache: Path | None, size: int | None, state: Path | None) -> None:
        """`size`: the cache's quota from now on, in bytes; None: as it is.  Folders: None for the system's.

        Raises InputError.
        """
        self._cache = opened_cache(cache, size)
        self._state = state or state_folder()

    @property
    def _pins(self) -> Pins:
        return self._cache.pins

    def pin(self, names: list[str], root: str, *, profile_only: bool, now: float) -> list[Pinned]:
        """Pins each of `names`, or none of them.  `root`: a pin or root.json, where several repositories have the name.

        Raises InputError where one is not known here, LimitError where they take more than the quota, LocalError.
        """
        self._cache.measure(now)
        parts: list[tuple[Subject, Part]] = []
        for name in names:
            subject, image, head = self._found(name, root, now)
            parts.append((subject, self._profile(subject, image, head, now) if profile_only else head))
        self._check_room(parts)
        for subject, part in parts:
            try:
                self._pins.keep(subject, Kind.HAND, part, now)
            except OSError as error:
                raise LocalError(f"{self._cache.folder}: {error.strerror}: the cache must be writable") from None
        made = {subject for subject, _ in parts}
        return [self._told(pin) for pin in self._pins.listed() if pin.kind is Kind.HAND and pin.subject in made]

    def remove(self, names: list[str]) -> list[Subject]:
        """Removes pins that were made by hand or by a boot; a name without a version means all of that image.

        Raises InputError where one of `names` is not pinned, LocalError.
        """
        there = [pin for pin in self._pins.listed() if pin.kind is not Kind.MOUNTED]
        going: list[Pin] = []
        for name in names:
            image, version = _split(name)
            found = [pin for pin in there if pin.subject.image == image and version in (None, pin.subject.version)]
            if not found:
                have = ", ".join(sorted({str(pin.subject) for pin in there})) or "nothing"
                raise InputError(f"{name} is not pinned (what is: {have})")
            going += found
        for pin in going:
            try:
                self._pins.remove(pin)
            except OSError as error:
                raise LocalError(f"{pin.path}: {error.strerror}: the cache must be writable") from None
        return list(dict.fromkeys(pin.subject for pin in going))

    def listed(self) -> list[Pinned]:
        """All pins, those of mounts included, the newest first."""
        return [self._told(pin) for pin in self._pins.listed()]

    # -- what a name means

    def _found(self, name: str, root: str, now: float) -> tuple[Subject, ImageVersion, Head]:
        """The version, by what was verified here.  Raises InputError."""
        image, version = _split(name)
        check_name(image)
        known: set[str] = set()
        found: list[tuple[str, trust.Metadata, Path]] = []
        for folder in self._repositories(root):
            known |= {path.stem.removeprefix("image-") for path in folder.glob("current/image-*.json")}
            try:
                metadata = trust.load(folder, [image], now)
            except PeerError:
                continue
            if metadata.images.get(image):
                found.append((folder.name, metadata, folder))
        if not found:
            hint = suggest(image, known) or (
                f"known are {', '.join(sorted(known))}" if known else "nothing is known yet"
            )
            raise InputError(f"no image {image!r} was mounted or pulled here; {hint}")
        if len(found) > 1:
            pins = ", ".join(f"sha256:{each[0][:12]}…" for each in found)
            raise InputError(f"{len(found)} repositories have an image {image} ({pins}): say which by --root")
        repository, metadata, folder = found[0]
        versions = metadata.images[image] if version is None else (metadata.version(image, version),)
        for candidate in reversed(versions):
            try:
                head = Head.parse(trust.index_head(folder, candidate, None))
            except Missing:
                continue
            return Subject(repository, image, candidate.version), candidate, head
        raise InputError(f"the index of {name} is not here yet: mount or pull it once")

    def _repositories(self, root: str) -> list[Path]:
        folder = self._state / "trust"
        if root:
            pin = root if root.startswith("sha256:") else trust.pin_of(_read(Path(root)))
            return [folder / pin.removeprefix("sha256:")]
        try:
            return sorted(path for path in folder.iterdir() if re.fullmatch(r"[0-9a-f]{64}", path.name))
        except OSError:
            return []

    def _profile(self, subject: Subject, image: ImageVersion, head: Head, now: float) -> list[BlockRef]:
        """The index and the blocks of the version's profile.  Raises InputError where that is not known here."""
        folder = folder_of(self._state, subject.repository, subject.image)
        profile: Profile | None = None
        signed = next((each for each in image.attached if each.kind == "profile"), None)
        if signed is not None and (path := kept(signed, folder)) is not None:
            try:
                profile = Profile.parse(read_small(path, MAX_PROFILE))
            except (OSError, ValueError):
                profile = None
        for version in recorded_versions(folder):
            if profile is None and version <= subject.version and (known := recordings_at(folder, version)) is not None:
                profile = known.profile()
        if profile is None:
            raise InputError(
                f"no profile of {subject} is known here: mount or pull it once, or leave --profile-only out"
            )
        numbers = profile.resized(head.block_size, head.block_count).blocks
        pages: dict[int, Page] = {}
        for page in {head.locate(number)[0] for number in numbers}:
            if (rows := self._pins.page(head, page)) is None:
                raise InputError(f"the index of {subject} is not all here: mirrornet pull --profile-only brings it")
            pages[page] = rows
        refs = [pages[page].block(position) for page, position in map(head.locate, numbers)]
        return [*head.pages, *(ref for ref in refs if ref is not None)]

    # -- room

    def _check_room(self, parts: list[tuple[Subject, Part]]) -> None:
        quota, mine = self._cache.figures.quota, dict[bytes, int]()
        for subject, part in parts:
            mine |= self._pins.lengths(subject, part)
        need = sum(mine.values())
        taken = self._pins.taken(mine, {subject for subject, _ in parts})
        if need + taken > quota:
            what = ", ".join(str(subject) for subject, _ in parts)
            others = f" beside {format_size(taken)} that are pinned" if taken else ""
            raise LimitError(
                f"{what}: {format_size(need)}{others} are more than the {format_size(quota)} that "
                f"{self._cache.folder} may hold: give it more with --cache-size"
            )

    def _told(self, pin: Pin) -> Pinned:
        here, complete = self._pins.here(pin)
        return Pinned(pin.subject, pin.kind, pin.whole, pin.size, here, complete, pin.since)


def _split(name: str) -> tuple[str, int | None]:
    """NAME or NAME@VERSION.  Raises InputError."""
    image, at, number = name.partition("@")
    if at and not re.fullmatch(r"[1-9][0-9]{0,8}", number):
        raise InputError(f"{name!r}: write NAME or NAME@VERSION, such as {image or 'debian'}@3")
    return image, int(number) if at else None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"--root {path}: {error.strerror}") from None
