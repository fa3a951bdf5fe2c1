"""A boot's profile for the next version, made of that of the version before.

A profile names blocks by number, and an update moves files.  So each block of the old profile is looked for by its
content: at its old place first, where nearly all are, then anywhere in the new image.  One whose content is gone keeps
its number: a boot reads the file system's tables, logs and lists where they always were, whatever is in them.

Looking everywhere costs one read of 4 KiB in the middle of each block that is not a hole (0.1 s for 2 GB); blocks whose
middles are equal are read and hashed.  A .cloop is not searched: its streams would all have to be inflated.

Carried profiles age: what a new version reads and the old one did not is not in them.  Who publishes a fresh recording
now and then (`publish --profile`) has fresh ones.
"""

from __future__ import annotations

import hashlib
from typing import Final

from mirrornet.image.fetch import Fetch
from mirrornet.image.format.profile import MAX_PROFILE, Profile
from mirrornet.image.publishing.previous import Previous
from mirrornet.image.publishing.source import RawSource, Source
from mirrornet.image.trust.versions import ImageVersion
from mirrornet.model.errors import PeerError

SAMPLE: Final = 4096  # bytes


def profile_of(version: ImageVersion, fetch: Fetch) -> Profile | None:
    """The profile published with `version`; None where it has none, or one that is damaged."""
    for each in version.attached:
        if each.kind != "profile":
            continue
        try:
            data = fetch(each.path, min(each.length, MAX_PROFILE))
            return Profile.parse(data) if hashlib.sha256(data).digest() == each.hash else None
        except (PeerError, ValueError):
            return None
    return None


def carried(profile: Profile, previous: Previous, source: Source) -> Profile | None:
    """`profile`, which is of `previous`, for the image in `source`; None where nothing of it is left.

    Raises InputError where the image cannot be read.
    """
    if profile.block_size == source.block_size == previous.head.block_size and isinstance(source, RawSource):
        profile = Profile(profile.block_size, _followed(profile, previous, source))
    resized = profile.resized(source.block_size, source.block_count)
    return resized if resized.blocks else None


def _followed(profile: Profile, previous: Previous, source: RawSource) -> tuple[int, ...]:
    """The numbers at which the blocks of `profile` are now, in its order."""
    half = source.block_size // 2
    moved: dict[bytes, dict[bytes, int]] = {}  # sample → hash → old number
    for number in profile.blocks:
        raw = previous.raw(number)
        if raw is not None and (number >= source.block_count or source.block(number) != raw):
            moved.setdefault(raw[half : half + SAMPLE], {})[hashlib.sha256(raw).digest()] = number
    now: dict[int, int] = {}
    if moved:
        for span in source.spans():
            for number in range(span.first, span.first + span.count) if not span.hole else ():
                alike = moved.get(source.middle(number, SAMPLE).ljust(SAMPLE, b"\0"))
                if alike and (old := alike.get(hashlib.sha256(source.block(number)).digest())) is not None:
                    now.setdefault(old, number)
    return tuple(dict.fromkeys(now.get(number, number) for number in profile.blocks))
