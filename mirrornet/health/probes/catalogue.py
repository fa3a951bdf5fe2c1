"""What blocks exist: the newest set of metadata that was verified, and some blocks of it to ask mirrors for.

A probe must name a block before it asks for it, and the name has to come from the publisher, not from the mirror under
test.  So a trust folder is kept under the state folder, as every client keeps one, and whenever some mirror shows a
newer timestamp one attempt is made there (image/trust/attempt.py), in a thread, with files fetched over the prober's
own connection.  Of each image one page of the index is enough to have a thousand names; it is picked by a number that
the caller draws, and drawn anew with every version and from time to time.

Rejected: reading the whole index (37 MB for an image of 1 TB, of which probes would use a few names a minute), and
trusting the mirror's own page without the head (the page's hash is in the head, the head's in signed metadata).
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from mirrornet.health.rule.outcome import Sample
from mirrornet.image.fetch import Bridge
from mirrornet.image.format.block import open_block
from mirrornet.image.format.index import Head, Page
from mirrornet.image.trust import attempt as trust
from mirrornet.model.errors import LocalError, PeerError

Get = Callable[[str, int], Awaitable[bytes]]  # (path below the repository, limit in bytes) → body
PATIENCE: Final = 60.0  # seconds a thread waits for one file at most, should the event loop be gone


class Catalogue:
    """One repository as its publisher signed it.  All attributes are replaced whole, never changed in place.

    `root`: newest verified root.json.  `version`: timestamp version of the verified set, None before there is one.
    `samples`: by image, blocks that a mirror with that timestamp must have.  `expiries`: Unix time by role, of the
    newest set that was verified.
    """

    def __init__(self, state: Path, root: bytes, images: Sequence[str]) -> None:
        self.root = root
        self.version: int | None = None
        self.samples: Mapping[str, tuple[Sample, ...]] = {}
        self.expiries: Mapping[str, float] = {}
        self._first_root = root
        self._images = tuple(images)
        self._folder = state / "trust" / trust.pin_of(root).removeprefix("sha256:")

    def wants(self, version: int | None) -> bool:
        """Whether a mirror that shows this timestamp version could teach us something."""
        return version is not None and (self.version is None or version > self.version)

    async def load(self, now: float) -> None:
        """Takes up the root that was verified here before.  Raises MirrornetError where the folder cannot be used.

        The version is left unknown: blocks are needed, and the first mirror seen brings version and blocks at once.
        """
        await asyncio.to_thread(trust.initialise, self._folder, self._first_root)
        try:
            kept = await asyncio.to_thread(trust.load, self._folder, (), now)
        except PeerError:
            return  # nothing was verified here yet
        self.root, self.expiries = kept.root, kept.expiries

    async def learn(self, get: Get, number: float, now: float) -> bool:
        """One attempt at one mirror.  True where it brought a set at least as new as the one we had.

        `number` (0 to below 1) picks the page.  Raises PeerError where the mirror does not hold a good set, LocalError
        where our own folder cannot be written.  One at a time.
        """
        fetch = Bridge(get, asyncio.get_running_loop(), PATIENCE)
        metadata = await asyncio.to_thread(self._attempt, fetch, now)
        if self.version is not None and metadata.timestamp_version < self.version:
            return False
        samples: dict[str, tuple[Sample, ...]] = {}
        for name in metadata.images:
            if metadata.images[name]:
                head = await asyncio.to_thread(trust.index_head, self._folder, metadata.latest(name), fetch)
                samples[name] = await _samples(get, name, Head.parse(head), number)
        self.root, self.version, self.samples = metadata.root, metadata.timestamp_version, samples
        self.expiries = metadata.expiries
        return True

    def _attempt(self, fetch: trust.Fetch, now: float) -> trust.Metadata:
        """In a thread: attempts, commits, cleans up.  A zone that names no images is asked about all there are."""
        try:
            scratch = trust.new_scratch(self._folder)
        except OSError as error:
            raise LocalError(f"{self._folder}: cannot be written: {error.strerror}") from None
        try:
            metadata = trust.attempt(self._folder, scratch, fetch, self._images, now)
            trust.commit(self._folder, scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        if self._images or not metadata.names:
            return metadata
        self._images = metadata.names
        return self._attempt(fetch, now)


async def _samples(get: Get, image: str, head: Head, number: float) -> tuple[Sample, ...]:
    """The blocks that one page of `head` lists; where it lists none, the index pages themselves."""
    chosen = min(int(number * len(head.pages)), len(head.pages) - 1)
    ref = head.pages[chosen]
    page = Page.parse(open_block(await get(ref.path, ref.stored), ref), head, chosen)
    found: dict[Sample, None] = {}  # in the order in which they lie in the image
    for position in range(len(page)):
        block, place = page.block(position), page.place(position)
        if block is None:
            continue
        if place is None or (pack := head.packs[place.pack]).single:
            found[Sample(image, block.hash, block.stored)] = None
        else:
            found[Sample(image, block.hash, block.stored, pack.hash, place.offset)] = None
    if not found:
        found = {Sample(image, each.hash, each.stored): None for each in head.pages[:1024]}
    return tuple(found)
