"""One file from the mirrors into its place, verified on the way.

It is written under another name, hashed as it comes, and renamed only when length and hash are what was signed; what a
lying or a breaking mirror sent is gone with its temporary name.  Then the next mirror is asked, by `standing`'s rules.
Many files may be under way at once; they share the standing of the mirrors and the pace.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mirrornet.image.copying.pace import Pace
from mirrornet.image.copying.standing import Standing
from mirrornet.image.files import replacing
from mirrornet.image.inventory import Stored
from mirrornet.image.small import Irregular, open_regular
from mirrornet.model.errors import Busy, LocalError, Missing, PeerError, Unreachable, Untrusted

Sink = Callable[[bytes], Awaitable[None]]
Get = Callable[[str, int, Sink | None], Awaitable[bytes]]  # path, most bytes; with a sink the bytes go there

PATIENCE: Final = 120.0  # seconds in which no mirror gave anything, and some might have: then we give up
SLOWEST: Final = 1024  # bytes a second; a mirror that is slower than that over a whole file is as good as silent
LARGEST: Final = 1 << 32  # bytes of a file of which only the hash is known
_PIECE: Final = 1 << 20  # bytes read at once


@dataclass(frozen=True, slots=True)
class Mirror:
    """A mirror to copy from or to look at.

    `name`: how it is called in messages.  `get` raises Missing, Unreachable, Untrusted, Busy.
    """

    name: str
    get: Get


class Receiver:
    """Files of `mirrors` into the folder `into`, by way of the folder `staging` of the same file system."""

    def __init__(self, mirrors: Sequence[Mirror], into: Path, staging: Path, pace: Pace) -> None:
        self._mirrors, self._into, self._staging, self._pace = mirrors, into, staging, pace
        self._standing = Standing(len(mirrors))
        self._last = time.monotonic()  # when anybody gave anything
        self.files = 0
        self.bytes = 0
        self.by: dict[str, int] = {}  # files of each mirror
        self.blames: dict[str, str] = {}  # the last failure of each mirror

    async def obtain(self, stored: Stored) -> None:
        """Puts `stored` into its place.

        Raises Missing where no mirror has it, Unreachable or Untrusted where nobody gives it as it was signed,
        LocalError (a full disk).
        """
        refused: dict[int, PeerError] = {}
        silent: PeerError | None = None
        while True:
            number = self._standing.pick(time.monotonic(), refused)
            if number is None:
                wait = self._standing.wait(time.monotonic(), refused)
                if wait is None:
                    raise _nobody(stored, list(refused.values()))
                if time.monotonic() + wait - self._last > PATIENCE:
                    raise silent or Unreachable(
                        f"no mirror answers: {'; '.join(self.blames.values())[:500]}; what is here stays, run it again"
                    )
                await asyncio.sleep(min(wait, 5.0) + 0.01)
                continue
            try:
                await self._receive(self._mirrors[number], stored)
            except Missing as error:
                refused[number] = error
            except Untrusted as error:
                refused[number] = error
                self._blame(number, error)
            except Unreachable as error:
                silent = error
                self._blame(number, error)
            else:
                self._standing.worked(number)
                name = self._mirrors[number].name
                self.by[name] = self.by.get(name, 0) + 1
                return

    def _blame(self, number: int, error: PeerError) -> None:
        self.blames[self._mirrors[number].name] = str(error)
        self._standing.failed(number, time.monotonic(), error.after if isinstance(error, Busy) else 0.0)

    async def _receive(self, mirror: Mirror, stored: Stored) -> None:
        path = self._into / stored.path
        digest = hashlib.sha256()
        limit = LARGEST if stored.size is None else stored.size
        have = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path, staging=self._staging) as file:

                async def sink(part: bytes) -> None:
                    nonlocal have
                    have += len(part)
                    self._last = time.monotonic()
                    digest.update(part)
                    try:
                        file.write(part)
                    except OSError as error:  # in here it would look like the mirror's
                        raise full(error, path) from error
                    await asyncio.sleep(self._pace.take(len(part), time.monotonic()))

                try:
                    async with asyncio.timeout(30.0 + limit / SLOWEST):
                        await mirror.get(stored.path, limit, sink)
                except TimeoutError:
                    raise Unreachable(f"{mirror.name}: {stored.path}: not here in time") from None
                if digest.digest() != stored.sha256 or (stored.size is not None and have != stored.size):
                    what = "truncated" if have < limit and stored.size is not None else "corrupt or swapped"
                    raise Untrusted(f"{mirror.name}: {stored.path}: {what}")
        except OSError as error:
            raise full(error, path) from error
        self.files += 1
        self.bytes += have


def full(error: OSError, path: Path) -> LocalError:
    """An error of this machine's disk, in words."""
    return LocalError(f"{error.filename or path}: {error.strerror}; the copy is as good as before, run it again")


def _nobody(stored: Stored, errors: Sequence[PeerError]) -> PeerError:
    text = f"{stored.path}: no mirror has it as it was signed: {'; '.join(map(str, errors))[:500]}"
    return Missing(text) if all(isinstance(error, Missing) for error in errors) else Untrusted(text)


def hash_file(path: Path) -> tuple[bytes, int]:
    """(SHA-256, bytes) of a file on this machine.  Raises OSError."""
    digest = hashlib.sha256()
    size = 0
    with open_regular(path) as file:
        while part := file.read(_PIECE):
            digest.update(part)
            size += len(part)
    return digest.digest(), size


def is_there(path: Path, stored: Stored, *, verify: bool) -> bool:
    """Whether the file `path` is `stored`: by its length, or, with `verify`, by every byte.  Raises OSError."""
    try:
        status = path.stat()
        if stored.size is not None and status.st_size != stored.size:
            return False
        return not verify or hash_file(path)[0] == stored.sha256
    except (FileNotFoundError, Irregular):
        return False
