"""What one mirror holds, against what was signed: its own metadata, and a sample of the files that this names.

The metadata is read as of no time, so that an expired set is told as one instead of ending the look.  What a mirror has
to hold is what its own metadata names: that is what a client who asks it will ask for.  How far that is behind others
is a question for `audit`.  Pages are walked once for all mirrors (`Shelf`): they are named by hash, so whose copy is
read does not matter, and each mirror is asked for its own only if the sample says so.

The sample is by a hash of the name, so a block that occurs a thousand times is looked at once.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mirrornet.image.copying.files import LARGEST, Mirror
from mirrornet.image.copying.names import Names
from mirrornet.image.copying.signed import Signed, bridge_to, kept, prove
from mirrornet.image.fetch import Bridge, to_its_end
from mirrornet.image.files import write_whole
from mirrornet.image.inventory import Seen, Stored, needed, open_head
from mirrornet.image.trust import attempt as trust
from mirrornet.model.errors import Busy, LocalError, Missing, PeerError, Unreachable, Untrusted

FEWEST: Final = 20  # blocks that are looked at, however small the sample
SILENT: Final = 3  # files in a row without an answer, and a mirror is given up
BUSY: Final = 120.0  # seconds for which a mirror that says it is busy is waited for, in all
_AHEAD: Final = 32


@dataclass
class Proof:
    """What was found of a mirror.

    `fault`: why the look ended early, or "".  `signed`: its own set.  `names`: all it has to hold.  `checked`: of how
    many files every byte was read.
    """

    fault: str = ""
    signed: Signed | None = None
    names: Names = field(default_factory=Names)
    checked: int = 0
    bytes: int = 0
    missing: list[str] = field(default_factory=list)
    corrupt: list[str] = field(default_factory=list)


class Shelf:
    """Heads and pages, each fetched from one mirror and verified, for the walks of all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, path: str, limit: int, bridges: Sequence[Bridge]) -> bytes:
        """The file from the shelf, or from the first of `bridges` that has it as it is named.  Raises PeerError."""
        name = path.rpartition("/")[2][:64]
        kept = self._folder / name
        if kept.exists():
            return kept.read_bytes()
        last: PeerError = Missing(f"{path}: no mirror was asked")
        for bridge in bridges:
            try:
                data = bridge(path, limit)
            except PeerError as error:
                last = error
                continue
            if hashlib.sha256(data).hexdigest() == name:
                write_whole(kept, data, sync=False)
                return data
            last = Untrusted(f"{path}: corrupt")
        raise last


@dataclass(frozen=True, slots=True)
class Sample:
    """`share`: of the files to read, 0 to 1.  `salt`: dice, 16 octets.  `jobs`: requests at once."""

    share: float
    salt: bytes
    jobs: int


async def look(
    proof: Proof, mirror: Mirror, others: Sequence[Mirror], root: bytes, shelf: Shelf, sample: Sample, now: float
) -> None:
    """Looks at `mirror`, its metadata and a sample of its files, and fills in `proof`, which holds if it is cut short.

    `others`: who may lend pages that it lacks.  `root`: the first root.json.  `now`: Unix time.  A PeerError ends up in
    `proof.fault`; raises LocalError.
    """
    bridge = bridge_to(mirror)
    try:
        proof.signed = await to_its_end(asyncio.to_thread(_signed, root, bridge, now), bridge.stop)
    except PeerError as error:
        proof.fault = str(error)
        return
    try:
        await _Look(mirror, others, shelf, proof, sample).run(proof.signed)
    except PeerError as error:
        proof.fault = str(error)


def _signed(root: bytes, bridge: Bridge, now: float) -> Signed:
    with tempfile.TemporaryDirectory(prefix="mirrornet-audit-") as place:
        folder = Path(place) / "trust"
        trust.initialise(folder, root)
        scratch = trust.new_scratch(folder)
        prove(folder, scratch, bridge, 1.0)
        trust.commit(folder, scratch / "all")
        return kept(folder, now)


class _Look:
    def __init__(self, mirror: Mirror, others: Sequence[Mirror], shelf: Shelf, proof: Proof, sample: Sample) -> None:
        self._mirror, self._others, self._shelf, self._proof = mirror, others, shelf, proof
        self._sample = sample
        self._queue: asyncio.Queue[Stored | None] = asyncio.Queue(_AHEAD)
        self._loop = asyncio.get_running_loop()
        self._stopped = threading.Event()
        self._putting: Future[None] | None = None
        self._silent = 0
        self._waited = 0.0
        self._chosen: set[bytes] = set()

    async def run(self, signed: Signed) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._sample.jobs):
                    group.create_task(self._work())
                group.create_task(self._walk(signed))
        except BaseExceptionGroup as errors:
            found, _ = errors.split((PeerError, LocalError))
            raise (_leaf(found) if found is not None else errors) from None

    async def _walk(self, signed: Signed) -> None:
        bridges = [bridge_to(each) for each in (self._mirror, *self._others)]

        def stop() -> None:
            self._stopped.set()
            for bridge in bridges:
                bridge.stop()
            if self._putting is not None:
                self._putting.cancel()

        await to_its_end(asyncio.to_thread(self._choose, signed, bridges), stop)
        for _ in range(self._sample.jobs):
            await self._queue.put(None)

    def _choose(self, signed: Signed, bridges: Sequence[Bridge]) -> None:
        def fetch(path: str, limit: int) -> bytes:
            return self._shelf.read(path, limit, bridges)

        blocks = 0
        for versions in signed.metadata.images.values():
            if versions:
                blocks = max(blocks, open_head(versions[-1], fetch).block_count)
        share = min(1.0, max(self._sample.share, FEWEST / max(blocks, 1)))
        bound = int(share * (1 << 64))
        seen: Seen = set()
        for version in signed.versions:
            for stored in needed(version, fetch, seen):
                if self._stopped.is_set():
                    return
                self._proof.names.add(stored.sha256)
                if stored.kind == "head" or self._falls(stored) < bound:
                    self._put(stored)

    def _falls(self, stored: Stored) -> int:
        return int.from_bytes(hashlib.blake2b(stored.sha256, digest_size=8, key=self._sample.salt).digest())

    def _put(self, stored: Stored) -> None:
        name = stored.sha256[:12] + stored.kind[0].encode()  # the same in two versions is one
        if name in self._chosen:
            return
        self._chosen.add(name)
        try:
            self._putting = asyncio.run_coroutine_threadsafe(self._queue.put(stored), self._loop)
            if self._stopped.is_set():  # since the caller looked: `stop` may have seen the one before
                self._putting.cancel()
            self._putting.result()
        except (CancelledError, RuntimeError) as error:  # given up; or the loop was closed
            raise Unreachable("the look was ended") from error

    async def _work(self) -> None:
        while (stored := await self._queue.get()) is not None:
            await self._check(stored)

    async def _check(self, stored: Stored) -> None:
        for _ in range(SILENT):
            try:
                digest, size = await self._read(stored)
            except Missing:
                self._silent = 0
                self._proof.missing.append(stored.path)
                self._proof.checked += 1
                return
            except Untrusted:
                self._silent = 0
                self._proof.corrupt.append(stored.path)
                self._proof.checked += 1
                return
            except Busy as error:
                self._waited += error.after
                if self._waited > BUSY:
                    raise Unreachable(f"{error}; it was waited for, ask it at another time") from None
                await asyncio.sleep(error.after)
            except Unreachable as error:
                self._silent += 1
                if self._silent >= SILENT:
                    raise Unreachable(f"given up: {error}") from None
            else:
                self._silent = 0
                self._proof.checked += 1
                self._proof.bytes += size
                if digest != stored.sha256 or stored.size not in (None, size):
                    self._proof.corrupt.append(stored.path)
                return

    async def _read(self, stored: Stored) -> tuple[bytes, int]:
        digest = hashlib.sha256()
        size = 0

        async def sink(part: bytes) -> None:
            nonlocal size
            size += len(part)
            digest.update(part)

        await self._mirror.get(stored.path, LARGEST if stored.size is None else stored.size, sink)
        return digest.digest(), size


def _leaf(errors: BaseExceptionGroup[Any]) -> BaseException:
    first = errors.exceptions[0]
    return _leaf(first) if isinstance(first, BaseExceptionGroup) else first
