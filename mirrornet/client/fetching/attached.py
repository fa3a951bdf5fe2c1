"""A file that was signed beside an image (kernel, initrd, …), from the mirrors into a folder, verified.

Such a file is megabytes in one piece and its hash is that of the whole, so nobody can say which piece was wrong.  It is
asked of one mirror; where that one falls silent, the next goes on from the byte it stopped at.  Where the hash is not
the one that was signed, it is asked again of one mirror alone, and who sent all of a wrong file is blamed and not asked
any more.  A file is whole and verified under its name, or not there; what is there is hashed again before it is used,
for it may be a year old, and disks forget.

Rejected: pieces from several mirrors at once (one wrong piece spoils the file, and nobody knows whose it was).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from mirrornet.client.fetching.fetch import Fetcher, Within
from mirrornet.client.mirrors.source import Endpoint
from mirrornet.image.files import replacing, sync_folder, to_disk
from mirrornet.image.trust.versions import Attached
from mirrornet.model.errors import LocalError, Missing, PeerError, Unreachable, Untrusted

SILENCE: Final = 1.5  # seconds without a byte after which the next mirror goes on
PATIENCE: Final = 60.0  # seconds in which no mirror brings a byte, after which it is given up
AGAIN: Final = 4  # times the length may come before it is given up
PAUSE: Final = 0.5  # seconds between rounds when every mirror failed


def kept(target: Attached, folder: Path) -> Path | None:
    """The file, if `folder` has it and it is what was signed.  Reads it whole."""
    path = folder / target.hash.hex()
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size != target.length:
                return None
            digest = hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return None
    return path if digest == target.hash else None


async def obtain(
    target: Attached,
    folder: Path,
    mirrors: Callable[[], Sequence[Endpoint]],
    fetcher: Fetcher,
    blame: Callable[[Endpoint, str], None],
    *,
    silence: float = SILENCE,
    patience: float = PATIENCE,
) -> Path:
    """The file of `target`, from `folder` (made if need be) or into it from a mirror.

    `mirrors` gives those to ask now, best first; none: offline.  `blame` is told who sent a wrong file, and the words.
    Raises Missing (not kept, and nobody has it), Untrusted (only wrong ones are to be had), Unreachable, LocalError.
    """
    found = await asyncio.to_thread(kept, target, folder)
    if found is not None:
        return found
    if not mirrors():
        raise Missing(f"the {target.kind} of this version is not kept here: a mirror has to be reached once")
    path = folder / target.hash.hex()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            await _fill(_Part(target, file), mirrors, fetcher, blame, silence, patience)
            await asyncio.to_thread(to_disk, file)
        await asyncio.to_thread(sync_folder, folder)
    except OSError as error:
        raise LocalError(f"{path}: {error.strerror}: the {target.kind} cannot be kept there") from None
    return path


@dataclass
class _Part:
    """What is here of a file: its first `have` bytes, and who sent them."""

    target: Attached
    file: BinaryIO
    have: int = 0
    came: int = 0  # bytes in all, those forgotten included
    digest: Any = field(default_factory=hashlib.sha256)
    senders: list[str] = field(default_factory=list)
    heard: float = field(default_factory=time.monotonic)  # when the last byte came

    async def add(self, piece: bytes) -> None:
        self.file.write(piece)
        self.digest.update(piece)
        self.have += len(piece)
        self.came += len(piece)
        self.heard = time.monotonic()

    def forget(self) -> None:
        self.file.seek(0)
        self.file.truncate()
        self.have, self.digest = 0, hashlib.sha256()
        self.senders.clear()


async def _fill(
    part: _Part,
    mirrors: Callable[[], Sequence[Endpoint]],
    fetcher: Fetcher,
    blame: Callable[[Endpoint, str], None],
    silence: float,
    patience: float,
) -> None:
    """Brings the whole file, verified.  Raises PeerError."""
    what = f"the {part.target.kind} ({part.target.path})"
    liars: dict[str, str] = {}
    lacking: set[str] = set()
    last: PeerError | None = None
    alone = False  # after a wrong file of several senders: from one mirror only
    while True:
        order = [mirror for mirror in mirrors() if mirror.name not in liars and mirror.name not in lacking]
        if not order and liars:
            raise Untrusted(f"{what}: {', '.join(sorted(liars))} sent another file than was signed, nobody else has it")
        if not order:
            raise Missing(f"{what}: no mirror has it")
        for mirror in order:
            if alone:
                part.forget()
            try:
                await _from(part, mirror, fetcher, silence if len(order) > 1 else patience)
            except Missing as error:
                lacking.add(mirror.name)
                last = error
                continue
            except Untrusted as error:
                blame(mirror, str(error))
                liars[mirror.name] = str(error)
                part.forget()
                last = error
                continue
            except PeerError as error:
                last = error
                continue
            if part.have < part.target.length:
                last = Unreachable(f"{mirror}: {part.target.path}: it ended too early")
                continue
            if part.digest.digest() == part.target.hash:
                return
            senders = set(part.senders)
            part.forget()
            if len(senders) > 1:
                alone = True
                break
            wrong = f"{part.target.path}: is not the {part.target.kind} that was signed"
            blame(mirror, wrong)
            liars[mirror.name] = wrong
        else:
            if time.monotonic() - part.heard > patience:
                raise Unreachable(f"{what}: no mirror sent any of it in {patience:.0f} s; the last: {last}")
            if part.came > AGAIN * part.target.length:
                raise Unreachable(f"{what}: {AGAIN} times its length came, and never all of it; the last: {last}")
            await asyncio.sleep(PAUSE)


async def _from(part: _Part, mirror: Endpoint, fetcher: Fetcher, silence: float) -> None:
    """What is missing, from `mirror`, as far as it comes.  Raises PeerError; Unreachable where it falls silent."""
    target, begun = part.target, time.monotonic()
    if mirror.url.startswith("file:"):  # poured whole, whatever is here
        part.forget()
    part.senders.append(mirror.name)
    within = Within(part.have, target.length) if part.have else None
    left = target.length - part.have
    task = asyncio.create_task(fetcher.fetch(mirror, target.path, left, sink=part.add, within=within))
    try:
        while not task.done():
            quiet = time.monotonic() - max(begun, part.heard)
            if quiet >= silence:
                raise Unreachable(f"{mirror}: {target.path}: silent for {quiet:.1f} s")
            await asyncio.wait((task,), timeout=silence - quiet)
        if rest := task.result().data:  # a server that knows no ranges, passed over up to here
            await part.add(rest)
    finally:
        task.cancel()
        await asyncio.wait((task,))
