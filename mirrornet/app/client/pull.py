"""`mirrornet pull`: an image version, or its profile, into the cache before anybody reads it.

What a boot needs comes first (the profile), then the rest in the order of the disk, over all mirrors that make it
faster.  What is here already is hashed and kept, so a pull that was stopped goes on where it was.  While it works all
of the version is pinned, and it does not begin where the quota cannot hold it.

`--next` is for a machine that runs: of the newest version it fetches the profile and what the version in use does not
have, which is what the next mount or boot will miss.  The mount in use stays what it is; only its `status` tells.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from mirrornet.app.client.bootfiles import kernel_files
from mirrornet.app.client.mounts import statuses
from mirrornet.app.client.session import ClientOptions, Session
from mirrornet.client.cache.pins import Subject, size_of
from mirrornet.client.reading.forecast import Row, rows
from mirrornet.client.reading.gather import Gather
from mirrornet.client.repository import Trusted
from mirrornet.model.errors import InputError, LimitError, LocalError, PeerError
from mirrornet.model.units import format_size

AWAKE: Final = 10.0  # seconds between two signs that mirrors are worth measuring


@dataclass(frozen=True, slots=True)
class PullOptions:
    """The command line of `pull`.  `profile_only`: what a boot touches.  `next`: what a mount of this machine lacks."""

    client: ClientOptions
    profile_only: bool = False
    next: bool = False


@dataclass(frozen=True, slots=True)
class Pulled:
    """What was done.  Sizes in stored bytes; `mirrors`: blocks by who gave them; `beside`: the version mounted here."""

    image: str
    version: int
    profile: int  # blocks of the profile among those wanted
    fetched: int
    fetched_bytes: int
    here: int
    here_bytes: int
    seconds: float
    mirrors: dict[str, int]
    warnings: tuple[str, ...]
    beside: int | None = None
    files: tuple[str, ...] = ()  # kinds of signed files that were brought, too


def run_pull(options: PullOptions, tell: Callable[[int, int], None]) -> Pulled:
    """Pulls; `tell` gets (stored bytes here, stored bytes in all) of what had to be fetched.

    Raises LimitError where the quota cannot hold it, InputError, PeerError and LocalError with how far it came.
    """
    return asyncio.run(_Pull(options, tell).run())


class _Pull:
    def __init__(self, options: PullOptions, tell: Callable[[int, int], None]) -> None:
        if options.client.offline:
            raise InputError("--offline: a pull needs mirrors; leave it out")
        if options.next and options.client.version is not None:
            raise InputError("--next is about the newest version: leave --version out")
        self._options = options
        self._tell = tell
        self._session = Session(options.client)

    async def run(self) -> Pulled:
        session = self._session
        try:
            trusted = await session.open()
            session.read(follow=False)
            session.spawn(self._awake())
            return await self._pull(trusted, session.gather())
        finally:
            await session.close()

    async def _pull(self, trusted: Trusted, gather: Gather) -> Pulled:
        session, begun = self._session, time.monotonic()
        mounted = await self._mounted(trusted) if self._options.next else None
        await asyncio.to_thread(session.cache.measure, time.time())
        if not self._options.profile_only and mounted is None:  # before the index's pages are fetched for nothing
            self._refuse(size_of(trusted.head), 0)
        pin = session.cache.pins.held(session.subject)
        try:
            await asyncio.to_thread(self._pin, pin.hold, trusted)
            profile = await self._profile(trusted, gather)
            if self._options.profile_only and not profile:
                raise InputError(
                    f"version {trusted.image.version} of {trusted.image.name} has no profile, published or learnt "
                    "here: leave --profile-only out"
                )
            wanted = {row.ref.hash: row for row in profile}
            if not self._options.profile_only:
                for row in await self._rest(trusted, gather, mounted):
                    wanted.setdefault(row.ref.hash, row)
            order = list(wanted.values())
            await asyncio.to_thread(self._check_room, trusted, order)
            missing = await gather.missing(order)
            gather.gave.clear()  # of the index's pages
            await self._bring(trusted, gather, missing, len(order))
            files = await self._files()
        finally:
            pin.release()
        fetched = sum(row.ref.stored for row in missing)
        return Pulled(
            trusted.image.name,
            trusted.image.version,
            len(profile),
            len(missing),
            fetched,
            len(order) - len(missing),
            sum(row.ref.stored for row in order) - fetched,
            time.monotonic() - begun,
            dict(gather.gave.most_common()),
            tuple(session.warnings),
            mounted,
            files,
        )

    async def _profile(self, trusted: Trusted, gather: Gather) -> list[Row]:
        """The blocks of the version's profile, in its order; none where there is none."""
        if self._options.profile_only:
            await gather.index(trusted.head)  # so that whatever else a boot reads can be asked for
        profiles = self._session.profiles
        profile = await profiles.find() if profiles is not None else None
        if profile is None:
            return []
        head = trusted.head
        numbers = [number for number in profile.blocks if number < head.block_count]
        needed = list(dict.fromkeys(head.locate(number)[0] for number in numbers))
        pages = dict(zip(needed, await gather.pages(head, needed), strict=True))
        found: dict[bytes, Row] = {}
        for number in numbers:
            page, position = head.locate(number)
            ref = pages[page].block(position)
            if ref is not None:
                found.setdefault(ref.hash, Row(ref, pages[page].place(position)))
        return list(found.values())

    async def _files(self) -> tuple[str, ...]:
        """Brings what a boot is started with: kernel, initrd, command line."""
        found = await kernel_files(self._session)
        return tuple(kind for kind, value in (found or {}).items() if value)

    async def _rest(self, trusted: Trusted, gather: Gather, mounted: int | None) -> list[Row]:
        """All blocks of the version; with `mounted`, those that version does not have."""
        head = trusted.head
        if mounted is not None:
            before = trusted.metadata.version(trusted.image.name, mounted)
            old = await self._session.repository.head(self._session.offered(), trusted.metadata, before)
            news = await gather.news(old, head)
            if news is not None:
                return news
        return rows(await gather.index(head))

    async def _bring(self, trusted: Trusted, gather: Gather, missing: list[Row], wanted: int) -> None:
        total, done, came = sum(row.ref.stored for row in missing), 0, 0

        def one(stored: int) -> None:
            nonlocal done, came
            done += stored
            came += 1
            self._tell(done, total)

        if not missing:
            return
        self._tell(0, total)
        try:
            await gather.bring(trusted.head, missing, one)
        except (PeerError, LocalError) as error:
            here = wanted - len(missing) + came
            raise type(error)(f"{error} ({here} of {wanted} blocks are here; pull again to go on)") from None

    def _pin(self, hold: Callable[..., None], trusted: Trusted) -> None:
        """While it works nothing of the version leaves.  Raises LocalError where the cache refuses."""
        try:
            hold(trusted.head, time.time())
        except OSError as error:
            cache = self._session.cache.folder
            raise LocalError(f"the cache {cache}: {error.strerror}: it must be writable, see --cache") from None

    def _check_room(self, trusted: Trusted, order: list[Row]) -> None:
        """Raises LimitError where what is wanted, beside what is pinned, is more than the cache may hold."""
        session = self._session
        mine = {page.hash: page.stored for page in trusted.head.pages} | {row.ref.hash: row.ref.stored for row in order}
        self._refuse(sum(mine.values()), session.cache.pins.taken(mine, {session.subject}))

    def _refuse(self, need: int, taken: int) -> None:
        """Raises LimitError where `need` bytes beside `taken` that are pinned are more than the quota."""
        session = self._session
        if need + taken > (quota := session.cache.figures.quota):
            pinned = f", of which {format_size(taken)} are pinned" if taken else ""
            raise LimitError(
                f"{session.subject} takes {format_size(need)}, and the cache {session.cache.folder} may hold "
                f"{format_size(quota)}{pinned}: give it more with --cache-size"
                + (", or pull with --profile-only" if not self._options.profile_only else "")
            )

    async def _mounted(self, trusted: Trusted) -> int:
        """The newest version of this image that is mounted on this machine."""
        subject = self._session.subject
        found = [version for version in await asyncio.to_thread(_versions, subject) if version <= subject.version]
        if not found:
            raise InputError(
                f"no version of {trusted.image.name} is mounted here that --next could follow: leave it out"
            )
        return max(found)

    async def _awake(self) -> None:
        """Mirrors are measured while somebody reads; a pull is a reader, too."""
        while self._session.reader is not None:
            self._session.reader.last_read = time.monotonic()
            await asyncio.sleep(AWAKE)


def _versions(subject: Subject) -> list[int]:
    """The versions of that image which processes of this user have mounted."""
    found: list[dict[str, Any]] = statuses(None)
    return [
        each["version"]
        for each in found
        if each.get("ready") and (each["repository"], each["image"]) == (subject.repository, subject.image)
    ]
