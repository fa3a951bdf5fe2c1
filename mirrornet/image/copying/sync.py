"""A folder becomes a verified copy of a repository, and is a good mirror whenever that is stopped.

    the newest signed set of all mirrors → the walk over what its versions need → what is missing here, fetched
    → sync(2) → metadata, timestamp.json last → what has not been needed for long enough goes

Nothing that is served is ever replaced except timestamp.json, whose rename is the moment at which the copy is a newer
one.  Killed before it, the copy is what it was, and the next run finds the files that were fetched.  What no mirror has
as it was signed is told at the end, after everything else was fetched; the metadata is left as it was then.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mirrornet.image.copying import remains
from mirrornet.image.copying.files import Mirror, Receiver, full, is_there
from mirrornet.image.copying.names import Names
from mirrornet.image.copying.pace import Pace
from mirrornet.image.copying.signed import Signed, newest, trust_folder
from mirrornet.image.files import write_whole
from mirrornet.image.inventory import Stored, needed_by
from mirrornet.image.publishing.held import held
from mirrornet.image.small import METADATA_LIMIT, read_small
from mirrornet.image.trust.verify import check_timestamp
from mirrornet.model.errors import InputError, LocalError, Missing, PeerError, Untrusted

Progress = Callable[[int, int], None]  # bytes done, bytes known of so far
_AHEAD: Final = 64  # files the walk may be ahead of the workers, a worker
_TOLD: Final = 5  # files that are named in a message


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """`jobs`: files at once.  `rate`: bytes a second, None: no limit.  `grace`: seconds for which a file stays that is
    not needed any more.  `verify`: read what is here, too."""

    jobs: int = 8
    rate: int | None = None
    grace: float = 30 * 86400.0
    verify: bool = False


@dataclass(frozen=True, slots=True)
class SyncReport:
    """`files`, `bytes`: fetched.  `there`: files that were here already.  `timestamp`, `snapshot`: versions now.

    `new`: whether the metadata is newer than what was here.  `by`: files by mirror.  `warnings`: lines about mirrors.
    """

    files: int
    bytes: int
    there: int
    timestamp: int
    snapshot: int
    new: bool
    removed: int
    removed_bytes: int
    unneeded: int
    by: dict[str, int]
    warnings: tuple[str, ...]
    seconds: float


async def sync(
    mirrors: Sequence[Mirror],
    into: Path,
    root: str,
    state: Path,
    options: SyncOptions,
    *,
    now: float,
    progress: Progress | None = None,
) -> SyncReport:
    """Makes the folder `into` a copy of the repository that `root` names, from `mirrors`, the preferred one first.

    `state`: what was verified is kept below it.  `now`: Unix time.  Raises PeerError (nothing that verifies, files that
    no mirror has), LocalError (a full disk, another process at work here), InputError (`into` is something else).
    """
    begun = time.monotonic()
    warnings: list[str] = []
    with held(into, None, "a sync") as staging:
        folder = await trust_folder(state, root, mirrors)
        signed = await newest(folder, mirrors, now, warnings)
        _check_older(into, signed)
        receiver = Receiver(mirrors, into, staging, Pace(options.rate))
        names, lost = await _Filling(receiver, into, options, progress).fill(signed)
        warnings += [f"{each}; asked others" for each in receiver.blames.values()]
        if lost:
            more = f" and {len(lost) - _TOLD} more" if len(lost) > _TOLD else ""
            raise type(lost[0])(
                f"{len(lost)} files could not be had, so the copy stays at its old version: "
                f"{'; '.join(str(error) for error in lost[:_TOLD])}{more}"
            )
        os.sync()
        new = _write(into, staging, signed)
        gone = await asyncio.to_thread(remains.clear, into, staging, names, signed.files, options.grace, now)
    return SyncReport(
        files=receiver.files,
        bytes=receiver.bytes,
        there=len(names) - receiver.files,
        timestamp=signed.metadata.timestamp_version,
        snapshot=signed.metadata.snapshot_version,
        new=new,
        removed=gone.removed,
        removed_bytes=gone.removed_bytes,
        unneeded=gone.files - gone.removed,
        by=receiver.by,
        warnings=tuple(warnings),
        seconds=time.monotonic() - begun,
    )


def _check_older(into: Path, signed: Signed) -> None:
    """Raises InputError where `into` is a copy of another repository, or Untrusted where it is a newer one of this."""
    metadata = into / "metadata"
    first = signed.files["metadata/1.root.json"]
    if (metadata / "1.root.json").exists() and read_small(metadata / "1.root.json", METADATA_LIMIT) != first:
        raise InputError(f"{into}: is a copy of another repository; name another folder")
    if not (metadata / "timestamp.json").exists():
        return
    data = read_small(metadata / "timestamp.json", METADATA_LIMIT)
    try:
        version, snapshot, _ = check_timestamp(signed.metadata.root, data, 0.0)
    except Untrusted:
        return  # damaged, or signed by a key that was replaced
    if (snapshot, version) > (signed.metadata.snapshot_version, signed.metadata.timestamp_version):
        raise Untrusted(
            f"{into}: holds snapshot {snapshot}, timestamp {version}, newer than what the mirrors have (snapshot "
            f"{signed.metadata.snapshot_version}, timestamp {signed.metadata.timestamp_version}); name a fresher mirror"
        )


def _write(into: Path, staging: Path, signed: Signed) -> bool:
    """Writes the metadata that is not here yet; whether the timestamp is another now."""
    new = False
    for name, data in signed.files.items():  # timestamp.json is the last of them
        path = into / name
        if path.exists() and path.stat().st_size == len(data) and path.read_bytes() == data:
            continue
        write_whole(path, data, staging=staging)
        new = name == "metadata/timestamp.json"
    return new


class _Filling:
    """The walk, in a thread of its own, and the workers that fetch what it finds missing."""

    def __init__(self, receiver: Receiver, into: Path, options: SyncOptions, progress: Progress | None) -> None:
        self._receiver, self._into, self._options = receiver, into, options
        self._progress = progress
        self._queue: asyncio.Queue[Stored | None] = asyncio.Queue(_AHEAD * options.jobs)
        self._loop = asyncio.get_running_loop()
        self._stopped = threading.Event()
        self._flying: set[str] = set()
        self._names = Names()
        self._known = 0
        self._lost: list[PeerError] = []

    async def fill(self, signed: Signed) -> tuple[Names, list[PeerError]]:
        """(the names of all files needed, why some could not be had)."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._options.jobs):
                    group.create_task(self._work())
                group.create_task(self._walk(signed))
        except BaseExceptionGroup as errors:
            raise _first(errors) from None
        finally:
            self._stopped.set()
        return self._names, self._lost

    async def _walk(self, signed: Signed) -> None:
        await asyncio.to_thread(self._compare, signed)
        for _ in range(self._options.jobs):
            await self._queue.put(None)

    def _compare(self, signed: Signed) -> None:
        """Puts what is missing into the queue."""
        try:
            for stored in needed_by(signed.versions, self._read):
                if self._stopped.is_set():
                    return
                self._names.add(stored.sha256)
                if stored.kind in ("head", "page") or stored.path in self._flying:
                    continue  # the walk itself reads heads and pages
                if is_there(self._into / stored.path, stored, verify=self._options.verify):
                    continue
                self._flying.add(stored.path)
                self._known += stored.size or 0
                self._call(self._queue.put(stored))
        except OSError as error:
            raise full(error, self._into) from error

    def _read(self, path: str, limit: int) -> bytes:
        """A head or a page: of the copy where it is good, else of the mirrors, into the copy."""
        sha256 = bytes.fromhex(path.rpartition("/")[2][:64])
        stored = Stored(path, sha256, limit, "page")
        if not is_there(self._into / path, stored, verify=True):
            self._known += limit
            self._call(self._receiver.obtain(stored))
        return (self._into / path).read_bytes()

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Runs it in the event loop and waits for its end."""
        try:
            asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()
        except (CancelledError, RuntimeError):
            coroutine.close()
            raise LocalError(f"{self._into}: the copy was stopped; it is as good as before") from None

    async def _work(self) -> None:
        while (stored := await self._queue.get()) is not None:
            try:
                await self._receiver.obtain(stored)
            except (Missing, Untrusted) as error:
                self._lost.append(error)
            finally:
                self._flying.discard(stored.path)
            if self._progress is not None:
                self._progress(self._receiver.bytes, max(self._known, self._receiver.bytes))


def _first(errors: BaseExceptionGroup[Any]) -> BaseException:
    """One of a group of errors: this machine's before the peers', since that one explains the others."""
    found: list[BaseException] = []
    for error in errors.exceptions:
        found.append(_first(error) if isinstance(error, BaseExceptionGroup) else error)
    return min(found, key=lambda error: not isinstance(error, LocalError))
