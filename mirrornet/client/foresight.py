"""Metadata asked for before python-tuf asks: what one file names is on its way while that one is being verified.

The Updater goes step by step, a round trip each: the next root, timestamp, snapshot, targets, the image's role; then
the head of the index.  The timestamp has the same name always, and each file names the next ones by version, so all of
it takes four round trips instead of seven:

    next root | timestamp → snapshot → targets | image-NAME → index

What is read here is not verified and is believed by nobody: it says which small files to fetch from the same mirror,
and the Updater gets them, or their failure, when it asks.  A mirror that lies here has some files fetched in vain, of
bounded size.  Where the timestamp names the snapshot that is kept already, nothing more is asked for.

It also tells what a mirror claims to have (`may_be_newer`), so that nobody waits for a mirror with nothing newer.

Rejected: one file with all of it, beside TUF's (a second format, and every mirror would have to copy it).
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

from mirrornet.image.format.index import MAX_HEAD
from mirrornet.image.small import read_small
from mirrornet.image.trust.versions import Metadata, file_path, role_of
from mirrornet.model.errors import Missing, Untrusted

TIMESTAMP: Final = "metadata/timestamp.json"
# Bytes, as in image/trust/attempt.py.
LIMITS: Final = {"root": 512_000, "timestamp": 16_384, "snapshot": 2_000_000, "targets": 5_000_000}
LOOKED_AT: Final = 262_144  # bytes of a file that is read here; a larger one is left to the Updater
_ROOT: Final = re.compile(r"metadata/(\d{1,9})\.root\.json")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class Foresight:
    """The metadata of one mirror for one image.  Use inside one event loop; `close` at the end."""

    def __init__(
        self, fetch: Callable[[str, int], Awaitable[bytes]], name: str, roots: Sequence[int], kept: bytes = b""
    ) -> None:
        """`fetch`: a file of that mirror by path and limit.  `kept`: the timestamp.json that was verified here before.

        The timestamp and the versions `roots` of the root are asked for at once.
        """
        self._fetch = fetch
        self._name = name
        self._kept = _version(_signed(kept).get("meta"), "snapshot.json")
        self._coming: dict[str, asyncio.Task[bytes]] = {}
        self._timestamp: int | None = None  # its version, as the mirror says
        self._root: int | None = None  # the newest version it has, as far as it was asked
        for number in roots:
            self._foresee(f"metadata/{number}.root.json", LIMITS["root"])
        self._foresee(TIMESTAMP, LIMITS["timestamp"])

    async def get(self, path: str, limit: int) -> bytes:
        """The file `path`, at most `limit` bytes, each time anew.  Raises as Fetcher.fetch does."""
        task = self._coming.pop(path, None)
        if task is None:
            return await self._got(path, limit)
        data = await task
        if len(data) > limit:
            raise Untrusted(f"{path}: {len(data)} bytes where at most {limit} are allowed")
        return data

    def may_be_newer(self, metadata: Metadata) -> bool:
        """Whether this mirror may show something newer than `metadata`, as far as it has told yet."""
        if self._timestamp is None or self._root is None:
            return True
        return self._timestamp > metadata.timestamp_version or self._root > metadata.root_version

    async def close(self) -> None:
        """Ends what nobody asked for."""
        tasks = tuple(self._coming.values())
        self._coming.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _foresee(self, path: str, limit: int) -> None:
        if path not in self._coming:
            task = asyncio.create_task(self._got(path, limit))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())  # whoever asks has it
            self._coming[path] = task

    async def _got(self, path: str, limit: int) -> bytes:
        root = _ROOT.fullmatch(path)
        try:
            data = await self._fetch(path, limit)
        except Missing:
            if root:
                self._root = max(int(root[1]) - 1, self._root or 0)
            raise
        if root:
            self._root = max(int(root[1]), self._root or 0)
        elif len(data) <= LOOKED_AT:
            self._look(path.removeprefix("metadata/"), _signed(data))
        return data

    def _look(self, file: str, signed: dict[str, Any]) -> None:
        """Asks for what a file names."""
        meta, role = signed.get("meta"), f"{role_of(self._name)}.json"
        if file == "timestamp.json":
            version = signed.get("version")
            self._timestamp = version if isinstance(version, int) else 0
            snapshot = _version(meta, "snapshot.json")
            if snapshot and snapshot != self._kept:
                self._foresee(f"metadata/{snapshot}.snapshot.json", LIMITS["snapshot"])
        elif file.endswith(".snapshot.json"):
            for each in ("targets.json", role):
                if version := _version(meta, each):
                    self._foresee(f"metadata/{version}.{each}", LIMITS["targets"])
        elif file.endswith(f".{role}") and (index := _newest(signed.get("targets"), self._name)):
            self._foresee(index, MAX_HEAD)


def _signed(data: bytes) -> dict[str, Any]:
    """What a file of metadata says, by whomever; nothing where it is none."""
    try:
        signed = json.loads(data)["signed"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return signed if isinstance(signed, dict) else {}


def at_hand(folder: Path | None, root: str) -> tuple[bytes, tuple[int, ...]]:
    """The timestamp.json in the trust folder, and which versions of the root will be asked for; guesses are enough.

    `folder` None: there is none yet.  `root`: ROOT as on the command line.
    """
    try:
        if folder is not None:
            current = folder / "current"
            kept = read_small(current / "timestamp.json", LIMITS["timestamp"])
            return kept, (1 + _own(read_small(current / "root.json", LIMITS["root"])),)
        if not root.startswith("sha256:"):
            return b"", (1 + _own(read_small(Path(root), LIMITS["root"])),)
    except OSError:
        return b"", ()
    return b"", (1, 2)


def _own(data: bytes) -> int:
    version = _signed(data).get("version")
    return version if isinstance(version, int) else 0


def _version(meta: object, file: str) -> int:
    """The version of `file` that `meta` names; 0 for none."""
    row = meta.get(file) if isinstance(meta, dict) else None
    version = row.get("version") if isinstance(row, dict) else None
    return version if isinstance(version, int) and 0 < version < 10**12 else 0


def _newest(targets: object, name: str) -> str:
    """Where the index of the greatest version of `name` lies; "" where none is named."""
    found: dict[int, str] = {}
    for target, row in targets.items() if isinstance(targets, dict) else ():
        number = target.removeprefix(f"{name}/").removesuffix("/index")
        hashes = row.get("hashes") if isinstance(row, dict) else None
        digest = hashes.get("sha256") if isinstance(hashes, dict) else None
        if target == f"{name}/{number}/index" and number.isdecimal() and len(number) < 13 and isinstance(digest, str):
            found[int(number)] = file_path(target, digest) if _DIGEST.fullmatch(digest) else ""
    return found[max(found)] if found else ""
