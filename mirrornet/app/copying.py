"""`mirrornet sync`, `audit`, `versions`: the client's way to mirrors (SOURCE, DNS, one HTTP GET with every limit) lent
to the image's room, which knows what a copy is and no HTTP."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from mirrornet.app.folders import state_folder
from mirrornet.client.fetching.fetch import Fetcher
from mirrornet.client.finding.resolve import Resolver
from mirrornet.client.mirrors.source import Endpoint, Urls, endpoints_of, parse_resolver, parse_source
from mirrornet.image.copying.audit import AuditOptions, MirrorReport, audit
from mirrornet.image.copying.files import Mirror, Sink
from mirrornet.image.copying.signed import newest, trust_folder
from mirrornet.image.copying.sync import Progress, SyncOptions, SyncReport, sync
from mirrornet.image.trust.versions import Metadata
from mirrornet.model.errors import InputError

CONNECT: Final = 10.0  # seconds; a copy can wait longer for a connection than a reader
PROGRESS: Final = 30.0  # seconds between two pieces of a body
AUDIT_PROGRESS: Final = 10.0  # the same, where a mirror's slowness is a finding


def mirror_of(endpoint: Endpoint, fetcher: Fetcher) -> Mirror:
    """The mirror as the image's room sees it."""

    async def get(path: str, limit: int, sink: Sink | None) -> bytes:
        return (await fetcher.fetch(endpoint, path, limit, sink=sink)).data

    return Mirror(str(endpoint), get)


async def endpoints(source: str, resolver: str) -> tuple[Endpoint, ...]:
    """The mirrors that SOURCE means now; a repository in a folder, too.

    A word with a slash, or without a dot, can be no select name; any other is one, even where a folder is called so.
    Raises InputError, Unreachable where DNS names none.
    """
    folder = Path(source)
    if "://" not in source and ("/" in source or "." not in source.strip(".")) and (folder / "metadata").is_dir():
        return (Endpoint(source, folder.resolve().as_uri(), allow_local=True),)
    parsed = parse_source(source)
    if isinstance(parsed, Urls):
        return endpoints_of(parsed)
    server = parse_resolver(resolver) if resolver else None
    return (await Resolver(server).mirrors(parsed)).endpoints


def run_sync(
    source: str,
    into: Path,
    root: str,
    options: SyncOptions,
    *,
    state: Path | None,
    resolver: str,
    now: float,
    progress: Progress | None,
) -> SyncReport:
    """Runs `sync` from SOURCE into the folder `into`.  Raises MirrornetError."""

    async def work() -> SyncReport:
        found = await endpoints(source, resolver)
        _refuse_itself(found, into)
        fetcher = Fetcher(connect=CONNECT, progress=PROGRESS)
        try:
            mirrors = [mirror_of(endpoint, fetcher) for endpoint in found]
            return await sync(mirrors, into, root, state or state_folder(), options, now=now, progress=progress)
        finally:
            await fetcher.close()

    return asyncio.run(work())


def newest_metadata(
    source: str, root: str, *, state: Path | None, resolver: str, now: float
) -> tuple[Metadata, list[str]]:
    """What the newest metadata of SOURCE says of all images, and what was wrong with some mirrors.

    Raises MirrornetError where no mirror proves any.
    """

    async def work() -> tuple[Metadata, list[str]]:
        warnings: list[str] = []
        fetcher = Fetcher(connect=CONNECT, progress=PROGRESS)
        try:
            mirrors = [mirror_of(endpoint, fetcher) for endpoint in await endpoints(source, resolver)]
            folder = await trust_folder(state or state_folder(), root, mirrors)
            return (await newest(folder, mirrors, now, warnings)).metadata, warnings
        finally:
            await fetcher.close()

    return asyncio.run(work())


def _refuse_itself(found: Sequence[Endpoint], into: Path) -> None:
    for endpoint in found:
        if endpoint.url in (into.absolute().as_uri(), into.resolve().as_uri()):
            raise InputError(f"{into}: is the source itself; name another folder")


def run_audit(
    sources: Sequence[str],
    repo: Path | None,
    root: str,
    options: AuditOptions,
    *,
    resolver: str,
    now: float,
    dice: random.Random,
    done: Callable[[str], None],
) -> list[MirrorReport]:
    """Runs `audit` over the mirrors that `sources` mean and the folder `repo`.  Raises MirrornetError."""

    async def work() -> list[MirrorReport]:
        found = [endpoint for source in sources for endpoint in await endpoints(source, resolver)]
        if repo is not None:
            if not (repo / "metadata").is_dir():
                raise InputError(f"{repo}: no repository (it has no folder metadata)")
            found.insert(0, Endpoint(str(repo), repo.absolute().as_uri(), allow_local=True))
        if not found:
            raise InputError("name what to look at: folders, URLs or select names")
        fetcher = Fetcher(connect=CONNECT, progress=AUDIT_PROGRESS)
        try:
            unique = {endpoint.dialled: endpoint for endpoint in found}.values()
            pairs = [(mirror_of(endpoint, fetcher), _folder(endpoint)) for endpoint in unique]
            return await audit(pairs, root, options, now=now, dice=dice, done=done)
        finally:
            await fetcher.close()

    return asyncio.run(work())


def _folder(endpoint: Endpoint) -> Path | None:
    """The folder that a file: URL names."""
    parts = urlsplit(endpoint.url)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None
