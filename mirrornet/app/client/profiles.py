"""Boot profiles at a client: the one to replay, and what this machine's boots add to it.

The profile is the published one, signed with the version; where none is, what the boots of this machine taught; where
this version never booted here, what an older one did, block by block at the same places.  It is replayed at once where
a guest is about to boot (`boots`) or the user asks for it, and else as soon as what is read looks like it: whoever
mounts an image for one file must not fetch 20 MB unasked.

Each mount records what it touches first, and writes it down after two minutes or at its end:

    state/profiles/<repository id>/NAME/VERSION.json    the recordings of that version's last eight boots here
    state/profiles/<repository id>/NAME/<hash>          a published profile, as it was signed

Nothing here may fail a mount.  A profile that cannot be had or read is a warning in the log, and then there is none.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from mirrornet.client.cache.store import Cache
from mirrornet.client.fetching.attached import obtain
from mirrornet.client.fetching.failover import Failover
from mirrornet.client.fetching.fetch import Fetcher
from mirrornet.client.mirrors.choice import Blame
from mirrornet.client.mirrors.source import Endpoint
from mirrornet.client.reading.reader import Reader
from mirrornet.client.reading.recording import LONGEST, Recorder, Recordings
from mirrornet.client.reading.replay import Likeness, Replay
from mirrornet.client.repository import Trusted
from mirrornet.image.files import locked, replacing
from mirrornet.image.format.block import BlockRef
from mirrornet.image.format.profile import MAX_PROFILE, Profile
from mirrornet.image.small import read_small
from mirrornet.image.trust.versions import Attached
from mirrornet.model.errors import MirrornetError

log = logging.getLogger(__name__)

MODES: Final = ("auto", "profile", "none")
VERSIONS: Final = 4  # of an image, whose recordings are kept
SURVEY: Final = 0.3  # seconds that `status` waits for the rows of the profile's blocks
SAVE: Final = 5.0  # seconds for the last of it, at the end
_SIGNED: Final = re.compile(r"[0-9a-f]{64}")


def folder_of(state: Path, repository_id: str, name: str) -> Path:
    """Where what was learnt of the image `name` lies."""
    return state / "profiles" / repository_id / name


def recordings_at(folder: Path, version: int) -> Recordings | None:
    """What was recorded of boots of `version`; None where there is nothing, or nothing that can be read."""
    path = folder / f"{version}.json"
    try:
        return Recordings.parse(read_small(path, MAX_PROFILE))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("%s: %s: it is passed over", path, getattr(error, "strerror", None) or error)
        return None


def recorded_versions(folder: Path) -> list[int]:
    """The versions of which there are recordings, the newest first."""
    with contextlib.suppress(OSError):
        return sorted((int(path.stem) for path in folder.glob("*.json") if path.stem.isdecimal()), reverse=True)
    return []


class Profiles:
    """The profile of one session's image version.  Use inside one event loop; `run` beside it, `close` at the end."""

    def __init__(
        self,
        state: Path,
        trusted: Trusted,
        reader: Reader,
        failover: Failover | None,
        fetcher: Fetcher,
        cache: Cache,
        *,
        mode: str,
        boots: bool,
        hold: Callable[[Sequence[BlockRef]], Awaitable[None]],
        booted: Callable[[], Awaitable[None]],
    ) -> None:
        """`mode`: one of MODES.  `boots`: what is read here is a guest's boot.  `failover` None: offline.

        `hold` is told the profile's blocks, which should stay in the cache; `booted`, that a boot went through.
        """
        image = trusted.image
        self._image = image
        self._folder = folder_of(state, trusted.metadata.repository_id, image.name)
        self._signed = {
            each.hash.hex()
            for version in trusted.metadata.images.get(image.name, ())
            for each in version.attached
            if each.kind == "profile"
        }
        self._reader, self._failover, self._fetcher, self._cache = reader, failover, fetcher, cache
        self._mode = mode
        self._hold, self._booted = hold, booted
        self._recorder = Recorder(boots, reader.head.block_count)
        self._likeness: Likeness | None = None
        self._at = 0.0
        self._saved = False
        self._over = asyncio.Event()  # the two minutes of the recording
        self._timer: asyncio.TimerHandle | None = None
        self._origin = "none"
        self._surveying: asyncio.Task[None] | None = None
        self._cached: int | None = None
        self.replay: Replay | None = None
        self.at_once = mode == "profile" or (mode == "auto" and boots)  # nobody waits for a likeness
        self.settled = asyncio.Event()  # the two minutes are over, or nothing is replayed
        reader.touched = self._touched

    async def run(self) -> None:
        """Finds the profile, replays it when it is time to, and writes the recording down after its two minutes."""
        replaying = asyncio.create_task(self._replay())
        try:
            await self._over.wait()
            self.settled.set()
            await self._learn()
            await replaying
        finally:
            replaying.cancel()
            await asyncio.wait((replaying,))

    async def _replay(self) -> None:
        profile = await self.find()
        if profile is None:
            self.settled.set()
            return
        self.replay = Replay(profile, self._reader, self._failover, self._cache)
        if self._mode == "none":
            self.replay.figures.state = "off"
            return
        if self._mode == "auto" and not self._recorder.boot:
            begin = asyncio.Event()
            self._likeness = Likeness(profile, begin.set)
            for number in self._recorder.blocks:
                self._likeness.touched(number)
            await begin.wait()
        await self.replay.run()
        if self.replay.figures.state == "given up":
            self.settled.set()
        await self._hold(self.replay.refs or ())

    async def find(self) -> Profile | None:
        """The profile to replay, for this image's blocks."""
        head = self._reader.head
        signed = next((each for each in self._image.attached if each.kind == "profile"), None)
        found: Profile | None = None
        if signed is not None and (found := await self._published(signed)) is not None:
            self._origin = "published"
        elif (found := await asyncio.to_thread(self._learnt)) is not None:
            self._origin = "learnt"
        if found is not None and (found := found.resized(head.block_size, head.block_count)) and not found.blocks:
            log.warning("the %s profile names no block of this image: it is passed over", self._origin)
            found, self._origin = None, "none"
        return found

    async def _published(self, signed: Attached) -> Profile | None:
        if signed.length > MAX_PROFILE:
            log.warning("the published profile has %d bytes, more than any may have: it is passed over", signed.length)
            return None
        choice = self._failover.choice if self._failover else None

        def mirrors() -> Sequence[Endpoint]:
            return choice.order(None, signed.length, time.monotonic()) if choice else ()

        def blame(endpoint: Endpoint, why: str) -> None:
            if choice:
                choice.failed(endpoint.name, Blame.CORRUPT, why, time.monotonic())

        try:
            path = await obtain(signed, self._folder, mirrors, self._fetcher, blame)
            return Profile.parse(await asyncio.to_thread(read_small, path, MAX_PROFILE))
        except ValueError as error:
            log.warning("the published profile cannot be read (%s): it is passed over", error)
        except (MirrornetError, OSError) as error:
            log.info("there is no published profile: %s", error)
        return None

    def _learnt(self) -> Profile | None:
        """What this version's boots taught; else those of the nearest older one, else of the nearest newer one."""
        mine = self._image.version
        for version in sorted(recorded_versions(self._folder), key=lambda each: (each > mine, abs(each - mine))):
            if (found := recordings_at(self._folder, version)) and (profile := found.profile()):
                return profile
        return None

    def _touched(self, number: int) -> None:
        if not self._at:
            self._at = time.time()
        self._recorder.touched(number, time.monotonic())
        if self._timer is None and len(self._recorder.blocks) > 1:
            self._timer = asyncio.get_running_loop().call_later(LONGEST + 1, self._over.set)
        if self._likeness is not None:
            self._likeness.touched(number)
        if self._recorder.full and (self._likeness is None or self._likeness.over):
            self._reader.touched = None  # nobody listens any more

    async def _learn(self) -> None:
        """Writes down what was recorded; if it was a boot, the blocks of the next one's profile are to stay here."""
        if await self.save() is None or not self._recorder.boot:
            return
        profile = None if self._origin == "published" else await asyncio.to_thread(self._learnt)
        if profile is not None:
            replay = Replay(profile, self._reader, None, self._cache)
            with contextlib.suppress(MirrornetError):
                await replay.needed()
                await self._hold(replay.refs or ())
        await self._booted()

    async def save(self) -> Path | None:
        """Writes down what was recorded until now; where that is, or None where it is too little for a boot."""
        recording = self._recorder.recording(self._at)
        path = self._folder / f"{self._image.version}.json"
        if recording is None:
            return None
        unit = self._reader.head.block_size

        def write() -> None:
            self._folder.mkdir(parents=True, exist_ok=True)
            with locked(self._folder, "another mount writes down what it recorded"):
                known = recordings_at(self._folder, self._image.version)
                if known is None or known.block_size != unit:
                    known = Recordings(unit, ())
                with replacing(path) as file:
                    file.write(known.added(recording).encode())
                self._tidy()

        if not self._saved:
            try:
                await asyncio.to_thread(write)
            except (OSError, MirrornetError) as error:
                log.warning("what was recorded is not kept: %s", error)
                return None
            self._saved = self._recorder.over(time.monotonic())
        return path

    def _tidy(self) -> None:
        """Removes recordings of old versions, and profiles that are not published any more."""
        for version in recorded_versions(self._folder)[VERSIONS:]:
            (self._folder / f"{version}.json").unlink(missing_ok=True)
        for path in self._folder.iterdir():
            if _SIGNED.fullmatch(path.name) and path.name not in self._signed:
                path.unlink(missing_ok=True)

    async def close(self) -> None:
        """Writes down what was recorded; `run` has ended."""
        self._reader.touched = None
        if self._timer is not None:
            self._timer.cancel()
        if self._surveying is not None:
            self._surveying.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SAVE):
                await self._learn()

    # -- what is told

    async def survey(self) -> None:
        """Looks how much of the profile is in the disk cache, for `status`; never for long."""
        if self._surveying is None or self._surveying.done():
            self._surveying = asyncio.create_task(self._survey())
        await asyncio.wait((self._surveying,), timeout=SURVEY)

    async def _survey(self) -> None:
        if self.replay is None:
            return
        with contextlib.suppress(MirrornetError):
            needed = await self.replay.needed()
            self._cached = await asyncio.to_thread(lambda: sum(self._cache.has(block.ref) for block in needed))

    def status(self) -> dict[str, Any]:
        """What is known just now.

        `from`: "published", "learnt" or "none".  `cached`: blocks of it in the disk cache when `survey` last looked,
        None before.  `recorded`: blocks touched first in this mount.  The rest are the figures of the replay.
        """
        told: dict[str, Any] = {"from": self._origin, "cached": self._cached, "recorded": len(self._recorder.blocks)}
        return told | (asdict(self.replay.figures) if self.replay else {"state": "none", "blocks": None})
