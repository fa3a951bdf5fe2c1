"""The signed files that a guest is started with: kernel, initrd and command line of an image version, kept here.

They lie in `state`/boot/<repository id>/NAME/<hash>, so that they are there when no network is; of versions that are no
longer published they are removed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from mirrornet.app.client.session import Session
from mirrornet.client.fetching.attached import obtain
from mirrornet.client.guest import cmdline_of
from mirrornet.client.mirrors.choice import Blame
from mirrornet.client.mirrors.source import Endpoint
from mirrornet.image.trust.versions import Attached
from mirrornet.model.errors import Untrusted

log = logging.getLogger(__name__)

CMDLINE: Final = 1 << 16  # bytes of a published command line, read before it is judged


async def kernel_files(
    session: Session, fetching: Callable[[int], None] = lambda size: None
) -> dict[str, str | None] | None:
    """The version's kernel, with its initrd and command line; None where it has none.

    `fetching` hears how many bytes have to be fetched, before that begins.  Raises MirrornetError.
    """
    trusted = session.trusted
    assert trusted is not None
    image = trusted.image
    wanted = image.guest_files
    if not wanted:
        return None
    if "cmdline" in wanted and wanted["cmdline"].length > CMDLINE:
        raise Untrusted(f"{wanted['cmdline'].path}: is too long for a kernel's command line: tell the publisher")
    folder = session.boot_folder
    published = {each.hash.hex() for version in trusted.metadata.images[image.name] for each in version.attached}
    _forget_others(folder, published)
    if absent := [target.length for target in wanted.values() if not (folder / target.hash.hex()).exists()]:
        fetching(sum(absent))
    paths = await asyncio.gather(*(_obtain(session, target, folder) for target in wanted.values()))
    found = dict(zip(wanted, paths, strict=True))
    cmdline = found["cmdline"].read_bytes() if "cmdline" in found else None
    return {
        "kernel": str(found["kernel"]),
        "initrd": str(found["initrd"]) if "initrd" in found else None,
        "cmdline": cmdline_of(cmdline),
    }


async def _obtain(session: Session, target: Attached, folder: Path) -> Path:
    def mirrors() -> list[Endpoint]:
        return [] if session.options.offline else session.choice.order(None, target.length, time.monotonic())

    def blame(mirror: Endpoint, why: str) -> None:
        log.warning("%s gave a corrupt %s and is left out: %s", mirror, target.kind, why)
        session.choice.failed(mirror.name, Blame.CORRUPT, why, time.monotonic())

    return await obtain(target, folder, mirrors, session.fetcher, blame)


def _forget_others(folder: Path, published: set[str]) -> None:
    """Removes what no published version names any more."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.name not in published and not path.name.startswith("."):
                path.unlink()
