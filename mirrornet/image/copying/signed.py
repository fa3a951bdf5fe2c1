"""The newest signed set that some mirrors have, by the client's own code, and the bytes of its files.

Up to five mirrors are asked side by side, each attempt on a scratch copy of the trust folder (`trust.attempt`); the
newest set that verifies is committed there.  So a copy can be rolled back by nobody, as little as a client can, and the
metadata it writes is what it verified, not what it fetched a moment later.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mirrornet.image.copying.files import Mirror
from mirrornet.image.fetch import Bridge, Fetch, to_its_end
from mirrornet.image.files import locked
from mirrornet.image.trust import attempt as trust
from mirrornet.image.trust.roots import pin_in
from mirrornet.image.trust.verify import Verified, image_names, verify_set
from mirrornet.image.trust.versions import ImageVersion, Metadata, role_of
from mirrornet.model.errors import InputError, LocalError, MirrornetError, Missing, PeerError, Untrusted

SIDE_BY_SIDE: Final = 5
ONE_FILE: Final = 20.0  # seconds for one file of metadata
ALL: Final = 120.0  # seconds for one mirror's whole set


@dataclass(frozen=True, slots=True)
class Signed:
    """A verified set with every image in it.  `files`: path in the repository → bytes, in the order to write them."""

    metadata: Metadata
    files: dict[str, bytes]

    @property
    def versions(self) -> list[ImageVersion]:
        """All versions of all images."""
        return [version for versions in self.metadata.images.values() for version in versions]


class _Memo:
    """A Fetch that asks once for each file: a set is read twice, the first time for the names of the images."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._have: dict[str, bytes] = {}

    def __call__(self, path: str, limit: int) -> bytes:
        if path not in self._have:
            self._have[path] = self._fetch(path, limit)
        return self._have[path]


def prove(folder: Path, scratch: Path, fetch: Fetch, now: float) -> Metadata:
    """`trust.attempt` for all images that the repository has."""
    memo = _Memo(fetch)
    first = trust.attempt(folder, scratch / "names", memo, (), now)
    return trust.attempt(folder, scratch / "all", memo, first.names, now)


async def trust_folder(state: Path, root: str, mirrors: Sequence[Mirror]) -> Path:
    """The trust folder of the repository that `root` (a root.json or its pin) names, made if need be, below `state`.

    Raises InputError, PeerError where no mirror has the root of a pin, LocalError.
    """
    pin = pin_in(root)
    if pin is not None and (kept := state / "trust" / pin.removeprefix("sha256:")).is_dir():
        return kept
    failures = []
    for mirror in mirrors if pin is not None else mirrors[:1]:
        bridge = bridge_to(mirror)
        try:
            data = await asyncio.to_thread(trust.obtain_root, root, bridge)
            break
        except PeerError as error:
            failures.append(named(mirror, error))
        finally:
            bridge.stop()
    else:
        raise Untrusted(f"no mirror has the root.json of this pin: {'; '.join(failures)}")
    folder = state / "trust" / trust.pin_of(data).removeprefix("sha256:")
    await asyncio.to_thread(trust.initialise, folder, data)
    return folder


async def newest(folder: Path, mirrors: Sequence[Mirror], now: float, warnings: list[str]) -> Signed:
    """The newest set that one of `mirrors` proves now, committed to the trust folder `folder`.

    What is wrong with the other mirrors is added to `warnings`.  Raises Untrusted where none proves any, LocalError.
    """
    waiting = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(mirror: Mirror) -> tuple[Metadata, Path] | MirrornetError:
        scratch = await asyncio.to_thread(trust.new_scratch, folder)
        bridge = bridge_to(mirror)
        try:
            async with waiting, asyncio.timeout(ALL):
                return await to_its_end(asyncio.to_thread(prove, folder, scratch, bridge, now), bridge.stop), scratch
        except BaseException as error:
            shutil.rmtree(scratch, ignore_errors=True)
            if isinstance(error, TimeoutError):
                return Untrusted(f"its metadata was not here after {ALL:.0f} s")
            if isinstance(error, MirrornetError):
                return error
            raise

    results = await asyncio.gather(*(one(mirror) for mirror in mirrors))
    proven = [result for result in results if not isinstance(result, MirrornetError)]
    told = [named(m, r) for m, r in zip(mirrors, results, strict=True) if isinstance(r, MirrornetError)]
    fatal = next((result for result in results if isinstance(result, LocalError | InputError)), None)
    if fatal is not None:
        raise fatal
    if not proven:
        raise Untrusted(f"no mirror gave metadata that verifies: {'; '.join(told)}")
    warnings += told
    proven.sort(key=lambda pair: pair[0].age, reverse=True)
    try:
        for _, scratch in proven:
            if await asyncio.to_thread(trust.commit, folder, scratch / "all"):
                break
    finally:
        for _, scratch in proven:
            shutil.rmtree(scratch, ignore_errors=True)
    return await asyncio.to_thread(kept, folder, now)


def kept(folder: Path, now: float) -> Signed:
    """The set that the trust folder holds, whole.  Raises Missing where an image of it was never verified here."""
    with locked(folder, "a refresh is at work here", shared=True):
        current = folder / "current"
        roots = [(folder / "initial.json").read_bytes()]
        while (path := current / "root_history" / f"{len(roots) + 1}.root.json").exists():
            roots.append(path.read_bytes())
        parts = {name: (current / f"{name}.json").read_bytes() for name in ("timestamp", "snapshot", "targets")}
        images = {path.stem: path.read_bytes() for path in sorted(current.glob("image-*.json"))}
    verified = verify_set(
        roots,
        parts["timestamp"],
        parts["snapshot"],
        parts["targets"],
        {role.removeprefix("image-"): data for role, data in images.items()},
    )
    files = {f"metadata/{number}.root.json": data for number, data in enumerate(roots, 1)}
    for name in image_names(verified.targets):
        files[_path_of(verified, name)] = images[role_of(name)]
    files[f"metadata/{verified.targets.version}.targets.json"] = parts["targets"]
    files[f"metadata/{verified.snapshot.version}.snapshot.json"] = parts["snapshot"]
    files["metadata/timestamp.json"] = parts["timestamp"]
    return Signed(verified.metadata(now), files)


def _path_of(verified: Verified, name: str) -> str:
    role, file = verified.images.get(name), f"{role_of(name)}.json"
    if role is None or file not in verified.snapshot.meta or verified.snapshot.meta[file].version != role.version:
        raise Missing(f"the image {name}: its metadata is older than the snapshot's; run it again")
    return f"metadata/{role.version}.{file}"


def bridge_to(mirror: Mirror) -> Bridge:
    """A Fetch, to be called in threads, of a mirror that lives in this event loop."""

    async def get(path: str, limit: int) -> bytes:
        return await mirror.get(path, limit, None)

    return Bridge(get, asyncio.get_running_loop(), ONE_FILE, mirror.name)


def named(mirror: Mirror, error: Exception) -> str:
    """The error, with the mirror's name unless it begins with it."""
    return str(error) if str(error).startswith(mirror.name) else f"{mirror.name}: {error}"
