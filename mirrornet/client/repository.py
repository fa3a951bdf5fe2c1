"""Which image version is mounted, and why it may be believed: the shell around `image.trust`.

python-tuf's updater is one attempt at one mirror.  A captive portal, a half-copied or a lying mirror spoils that
attempt and nothing else, since each works on a scratch copy of the trust folder.  Up to three mirrors are asked side
by side, in the order given; the newest set that verifies down to the index is committed by one rename.  Once one has
verified, the others get a moment (half a second, or twice what the first took) to show something newer, unless their
timestamp says that they have nothing newer (foresight.py).

Without a mirror, or with nothing but expired metadata, the newest version *already verified here* is mounted, with a
warning; never one seen for the first time now.  `--require-fresh` refuses instead.

An attempt runs in a thread and fetches through the event loop's fetcher, hence by the same addresses and limits.
python-tuf is imported while the first files are on their way.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import re
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from mirrornet.client.fetching.fetch import Fetcher
from mirrornet.client.foresight import Foresight, at_hand
from mirrornet.client.mirrors.source import Endpoint
from mirrornet.image.fetch import Bridge, to_its_end
from mirrornet.image.format.index import Head
from mirrornet.image.trust.versions import ImageVersion, Metadata, check_name
from mirrornet.model.errors import Expired, InputError, MirrornetError, Missing, PeerError, Unreachable, Untrusted
from mirrornet.model.units import format_duration

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

SIDE_BY_SIDE: Final = 3
ATTEMPT: Final = 20.0  # seconds for one mirror's whole set
ONE_FILE: Final = 10.0  # seconds for one file of it
MOMENT: Final = 0.5  # seconds the others get once one has verified
LOOK: Final = 0.02  # seconds between two looks at what they say of themselves
PIN: Final = "sha256:"
TRUST: Final = "mirrornet.image.trust.attempt"  # imported in a thread: it takes 0.1 s, and the event loop goes on


@dataclass(frozen=True, slots=True)
class Trusted:
    """The image version to mount, the head of its index, and what a person should know about it."""

    metadata: Metadata
    image: ImageVersion
    head: Head
    warnings: tuple[str, ...]


class Repository:
    """Trust in one repository, kept under `state`/trust/<repository id>."""

    def __init__(self, state: Path, root: str, fetcher: Fetcher) -> None:
        """`root`: a root.json or its pin, as on the command line."""
        self._trust = state / "trust"
        self._root = root
        self._fetcher = fetcher
        self._ahead: dict[Endpoint, Foresight] = {}

    async def open(
        self, endpoints: Sequence[Endpoint], name: str, version: int | None, *, now: float, require_fresh: bool
    ) -> Trusted:
        """The latest version of `name`, or `version`.  No endpoints: offline.  `now` is Unix time.

        Raises PeerError where nothing can be believed, Expired with `require_fresh`, InputError where the root, the
        image or the version is not there.
        """
        check_name(name)
        pool = ThreadPoolExecutor(2 * SIDE_BY_SIDE, "trust")  # an attempt given up still holds a thread for a while
        async with self._foreseen(endpoints, name):
            return await self._opened(endpoints, name, version, pool, now=now, require_fresh=require_fresh)

    async def _opened(
        self,
        endpoints: Sequence[Endpoint],
        name: str,
        version: int | None,
        pool: ThreadPoolExecutor,
        *,
        now: float,
        require_fresh: bool,
    ) -> Trusted:
        try:
            await _in(pool, import_module, TRUST)
            from mirrornet.image.trust import attempt as trust

            folder = await self._folder(endpoints, pool)
            failures: list[str] = []
            metadata = await self._update(folder, endpoints, name, now, pool, failures)
            warnings: list[str] = []
            if metadata is None:
                try:
                    metadata = await _in(pool, trust.load, folder, [name], now)
                except Missing as error:
                    if failures:
                        raise Untrusted(
                            f"no mirror gave metadata that verifies, name other mirrors: {'; '.join(failures)}"
                        ) from None
                    raise Missing(f"no mirror is known, and {error}") from None
                if endpoints:
                    warnings.append("no mirror gave fresh metadata: " + "; ".join(failures))
            if metadata.expires <= (judged := max(now, metadata.now)):
                age = format_duration(judged - metadata.expires)
                if require_fresh:
                    raise Expired(f"the metadata expired {age} ago, and --require-fresh refuses that")
                warnings.append(f"the metadata expired {age} ago: this may not be the newest version")
            image, head = await self._index(folder, metadata, endpoints, name, version, pool)
            return Trusted(metadata, image, head, tuple(warnings))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    async def newest(self, endpoints: Sequence[Endpoint], name: str, *, now: float) -> Metadata:
        """The newest set that one of the mirrors proves now; it is kept here for later mounts.

        Raises Unreachable where none does, and says why of each; LocalError.
        """
        failures: list[str] = []
        pool = ThreadPoolExecutor(2 * SIDE_BY_SIDE, "trust")
        try:
            await _in(pool, import_module, TRUST)
            folder = await self._folder(endpoints, pool)
            metadata = await self._update(folder, endpoints, name, now, pool, failures)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        if metadata is None:
            raise Unreachable("; ".join(failures) or "no mirror is known")
        return metadata

    async def head(self, endpoints: Sequence[Endpoint], metadata: Metadata, image: ImageVersion) -> Head:
        """The head of the index of `image`, kept here or from a mirror.  Raises Missing, LocalError."""
        pool = ThreadPoolExecutor(SIDE_BY_SIDE, "trust")
        try:
            await _in(pool, import_module, TRUST)
            folder = self._trust / metadata.repository_id
            return (await self._index(folder, metadata, endpoints, image.name, image.version, pool))[1]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _known(self) -> Path | None:
        """The trust folder of the pin, if it is there."""
        pin = re.fullmatch(PIN + r"([0-9a-fA-F]{64})", self._root)
        folder = self._trust / pin[1].lower() if pin is not None else None
        return folder if folder is not None and folder.is_dir() else None

    @asynccontextmanager
    async def _foreseen(self, endpoints: Sequence[Endpoint], name: str) -> AsyncIterator[None]:
        """Meanwhile the first mirrors are asked for what their attempts will need."""
        try:
            kept, roots = await asyncio.to_thread(at_hand, self._known(), self._root)
            self._ahead = {
                endpoint: Foresight(functools.partial(self._get, endpoint), name, roots, kept)
                for endpoint in endpoints[:SIDE_BY_SIDE]
            }
            yield
        finally:
            ahead, self._ahead = self._ahead, {}
            for foresight in ahead.values():
                await foresight.close()

    async def _folder(self, endpoints: Sequence[Endpoint], pool: ThreadPoolExecutor) -> Path:
        """The trust folder of this repository, made from the root where it is new."""
        from mirrornet.image.trust import attempt as trust

        if (known := self._known()) is not None:
            return known
        if not self._root.startswith(PIN):
            root = await _in(pool, trust.obtain_root, self._root, _nowhere)
        else:
            root = await self._root_by_pin(endpoints, pool)
        folder = self._trust / trust.pin_of(root).removeprefix("sha256:")
        await _in(pool, trust.initialise, folder, root)
        return folder

    async def _root_by_pin(self, endpoints: Sequence[Endpoint], pool: ThreadPoolExecutor) -> bytes:
        """The root.json that the pin names, from the first mirror that has it."""
        failures: list[str] = []
        from mirrornet.image.trust import attempt as trust

        root = await self._first_of(endpoints, pool, functools.partial(trust.obtain_root, self._root), failures)
        if root is not None:
            return root
        if not failures:
            raise Unreachable(
                f"nothing of this repository is kept here ({self._trust}), and there is no mirror to fetch it from: "
                "mount or pull it once with a network"
            )
        raise Untrusted("no mirror has the root.json of this pin: " + "; ".join(failures))

    async def _first_of(
        self,
        endpoints: Sequence[Endpoint],
        pool: ThreadPoolExecutor,
        work: Callable[[Bridge], T],
        failures: list[str],
    ) -> T | None:
        """What `work` makes of the first mirror that serves it; None where none does, and `failures` says why.

        A mirror that does not answer within a MOMENT has a second asked beside it: one that hangs costs half a second.
        """
        waiting = list(endpoints)
        running: dict[asyncio.Task[T], tuple[Endpoint, Bridge]] = {}
        try:
            while waiting or running:
                if waiting and len(running) < SIDE_BY_SIDE:
                    endpoint = waiting.pop(0)
                    bridge = self._bridge(endpoint)
                    running[asyncio.create_task(_in(pool, work, bridge))] = (endpoint, bridge)
                patience = MOMENT if waiting and len(running) < SIDE_BY_SIDE else None
                done, _ = await asyncio.wait(running, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    endpoint, _ = running.pop(task)
                    error = task.exception()
                    if error is None:
                        return task.result()
                    if not isinstance(error, PeerError):
                        raise error
                    failures.append(_named(endpoint, error))
            return None
        finally:
            for task, (_, bridge) in running.items():
                bridge.stop()
                task.cancel()
            if running:
                await asyncio.wait(running)

    async def _update(
        self,
        folder: Path,
        endpoints: Sequence[Endpoint],
        name: str,
        now: float,
        pool: ThreadPoolExecutor,
        failures: list[str],
    ) -> Metadata | None:
        """The newest set that a mirror proved just now, committed; None where none did."""
        from mirrornet.image.trust import attempt as trust

        with tempfile.TemporaryDirectory(
            dir=_made(folder.parent), prefix=".attempt-", ignore_cleanup_errors=True
        ) as base:
            proven = await self._prove(folder, Path(base), endpoints, name, now, pool, failures)
            proven.sort(key=lambda pair: pair[0].age, reverse=True)
            for metadata, scratch in proven:
                if await _in(pool, trust.commit, folder, scratch):
                    return metadata
        # Where none could be committed though some were proven, another mount was faster, with something newer.
        return await _in(pool, trust.load, folder, [name], now) if proven else None

    async def _prove(
        self,
        folder: Path,
        base: Path,
        endpoints: Sequence[Endpoint],
        name: str,
        now: float,
        pool: ThreadPoolExecutor,
        failures: list[str],
    ) -> list[tuple[Metadata, Path]]:
        """Attempts side by side, each in a scratch folder below `base`, until one has verified and a moment longer."""
        waiting = list(enumerate(endpoints))
        running: dict[asyncio.Task[Metadata], tuple[Endpoint, Path]] = {}
        proven: list[tuple[Metadata, Path]] = []
        begun = time.monotonic()
        until: float | None = None
        while running or (waiting and until is None):
            while waiting and until is None and len(running) < SIDE_BY_SIDE:
                number, endpoint = waiting.pop(0)
                scratch = base / str(number)
                task = asyncio.create_task(self._attempt(folder, scratch, endpoint, name, now, pool))
                running[task] = (endpoint, scratch)
            left = None if until is None else min(until - time.monotonic(), LOOK)
            done, _ = await asyncio.wait(running, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if until is not None and not done:
                others = [endpoint for endpoint, _ in running.values()]
                if time.monotonic() >= until or not self._newer(others, proven):
                    break
            for task in done:
                endpoint, scratch = running.pop(task)
                error = task.exception()
                if error is None:
                    proven.append((task.result(), scratch))
                    until = until or time.monotonic() + max(MOMENT, 2 * (time.monotonic() - begun))
                elif isinstance(error, MirrornetError):
                    failures.append(_named(endpoint, error))
                    log.info("metadata of %s: %s", endpoint, error)
                else:
                    raise error
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        return proven

    def _newer(self, endpoints: Sequence[Endpoint], proven: Sequence[tuple[Metadata, Path]]) -> bool:
        """Whether one of those mirrors may have something newer than what is proven."""
        newest = max((metadata for metadata, _ in proven), key=lambda metadata: metadata.age)
        ahead = [self._ahead.get(endpoint) for endpoint in endpoints]
        return any(foresight is None or foresight.may_be_newer(newest) for foresight in ahead)

    async def _attempt(
        self, folder: Path, scratch: Path, endpoint: Endpoint, name: str, now: float, pool: ThreadPoolExecutor
    ) -> Metadata:
        from mirrornet.image.trust import attempt as trust

        bridge = self._bridge(endpoint)
        work = _in(pool, trust.attempt, folder, scratch, bridge, [name], now)
        try:
            async with asyncio.timeout(ATTEMPT):
                return await to_its_end(work, bridge.stop)
        except TimeoutError:
            raise Unreachable(f"its metadata was not here after {ATTEMPT:.0f} s") from None

    async def _index(
        self,
        folder: Path,
        metadata: Metadata,
        endpoints: Sequence[Endpoint],
        name: str,
        version: int | None,
        pool: ThreadPoolExecutor,
    ) -> tuple[ImageVersion, Head]:
        """The version asked for, or the newest whose index is to be had, with its head."""
        from mirrornet.image.trust import attempt as trust

        newest = metadata.latest(name)
        wanted = [newest] if version is None else [metadata.version(name, version)]
        if version is None and not endpoints:
            wanted = list(reversed(metadata.images[name]))
        failures: list[str] = []
        for image in wanted:
            with contextlib.suppress(PeerError):  # kept here, and what it should be
                return image, Head.parse(await _in(pool, trust.index_head, folder, image, None))

            def fetched(bridge: Bridge, image: ImageVersion = image) -> Head:
                return Head.parse(trust.index_head(folder, image, bridge))

            head = await self._first_of(endpoints, pool, fetched, failures)
            if head is not None:
                return image, head
        raise Missing(f"the index of {name} is not kept here" + "".join(f"; {line}" for line in failures))

    async def _get(self, endpoint: Endpoint, path: str, limit: int) -> bytes:
        return (await self._fetcher.fetch(endpoint, path, limit)).data

    def _bridge(self, endpoint: Endpoint) -> Bridge:
        foresight = self._ahead.get(endpoint)
        get = foresight.get if foresight is not None else functools.partial(self._get, endpoint)
        return Bridge(get, asyncio.get_running_loop(), ONE_FILE, str(endpoint))


def _nowhere(path: str, limit: int) -> bytes:
    raise InputError(f"{path} is not to be fetched: the root is a file")


def _named(endpoint: Endpoint, error: MirrornetError) -> str:
    """The error, with the mirror's name unless it begins with it."""
    return str(error) if str(error).startswith(str(endpoint)) else f"{endpoint}: {error}"


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


async def _in(pool: ThreadPoolExecutor, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    return await asyncio.get_running_loop().run_in_executor(pool, functools.partial(function, *arguments, **named))


def forget_scratch(state: Path) -> None:
    """Removes what attempts of killed mounts left behind."""
    for folder in (state / "trust").glob(".attempt-*"):
        if time.time() - folder.stat().st_mtime > 3600:
            shutil.rmtree(folder, ignore_errors=True)
