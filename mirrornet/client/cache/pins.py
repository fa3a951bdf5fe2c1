"""What must stay in the cache, told by files in it: `pins/`, seen by every process that makes room.

    hand-…      a version, or its profile, that a person pinned; stays until a person removes it
    booted-…    the index and the profile of the last version of an image that booted: it will boot offline
    mounted-…   the same of a version in use; a pull in work pins all it brings.  Its file is locked by its process, so
                what a killed one leaves is known for what it is

A file is a line of JSON and what is pinned: hashes, or the head of an index.  A pinned head means all of the version:
its pages, and of its blocks those that the pages here name.  So a version can be pinned before it was fetched, and the
pin of 1 TB takes 200 KB.

Pins by hand are checked against the quota when they are made.  The others are a courtesy: together they hold half of
the quota at most (a hostile profile could name 16 GiB), the newest first.

A file that is no pin is told and passed over; nothing is removed because of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import re
import tempfile
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from mirrornet.client.cache.ledger import belongs, make_folder
from mirrornet.image.format.block import ZERO_HASH, BlockRef, block_path, open_block
from mirrornet.image.format.index import Head, Page
from mirrornet.model.errors import MirrornetError, Untrusted
from mirrornet.model.names import IMAGE_NAME

log = logging.getLogger(__name__)

MAX_PIN: Final = 1 << 25  # bytes of a file: a head has 16 MiB at most
SOFT_SHARE: Final = 0.5  # of the quota, for pins that no person made


class Kind(StrEnum):
    """Who wants it to stay."""

    HAND = "hand"
    BOOTED = "booted"
    MOUNTED = "mounted"


@dataclass(frozen=True, slots=True)
class Subject:
    """An image version: repository id (hex), name, number."""

    repository: str
    image: str
    version: int

    def __str__(self) -> str:
        return f"{self.image}@{self.version}"


@dataclass(frozen=True, slots=True)
class Pin:
    """One file.  `size`: stored bytes of what it names.  `head`: all of the version; else `hashes`, of 32 octets."""

    subject: Subject
    kind: Kind
    size: int
    since: float  # Unix time
    path: Path
    head: Head | None
    hashes: tuple[bytes, ...]

    @property
    def whole(self) -> bool:
        """Whether all of the version is pinned, not its profile alone."""
        return self.head is not None


Part = Head | Sequence[BlockRef]


def size_of(part: Part) -> int:
    """Stored bytes of a whole version, or of some blocks."""
    if isinstance(part, Head):
        return part.stored + sum({page.hash: page.stored for page in part.pages}.values())
    return sum({ref.hash: ref.stored for ref in part}.values())


class Held:
    """A pin that lasts as long as this process, or until `release`.  Thread-safe."""

    def __init__(self, pins: Pins, subject: Subject) -> None:
        self._pins, self._subject = pins, subject
        self._path: Path | None = None
        self._handle = -1
        self._over = False
        self._lock = threading.Lock()

    def hold(self, part: Part, now: float) -> None:
        """From now on `part` stays, instead of what was held before.  Raises OSError."""
        with self._lock:
            if self._over:  # a thread that was late
                return
            path, handle = self._pins._write(self._subject, Kind.MOUNTED, part, now, live=True)
            self._drop()
            self._path, self._handle = path, handle

    def release(self) -> None:
        """Nothing is held any more, for good."""
        with self._lock:
            self._over = True
            self._drop()

    def _drop(self) -> None:
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()
            os.close(self._handle)
            self._path, self._handle = None, -1


class Pins:
    """The pins of the cache `folder`.  Synchronous; call it from a thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pins = folder / "pins"
        self._told: set[str] = set()

    def stamp(self) -> int:
        """A number that changes whenever a pin comes or goes."""
        try:
            return self._pins.stat().st_mtime_ns
        except OSError:
            return 0

    def keep(self, subject: Subject, kind: Kind, part: Part, now: float) -> None:
        """Pins `part` until somebody removes it; of what booted, the last version of an image.  Raises OSError."""
        self._write(subject, kind, part, now, live=False)

    def held(self, subject: Subject) -> Held:
        """A pin for as long as this process lives; nothing is pinned yet."""
        return Held(self, subject)

    def remove(self, pin: Pin) -> None:
        """Removes it.  Raises OSError."""
        pin.path.unlink(missing_ok=True)

    def _write(self, subject: Subject, kind: Kind, part: Part, now: float, *, live: bool) -> tuple[Path, int]:
        make_folder(self._pins, self.folder)
        whole = isinstance(part, Head)
        fields = {
            "mirrornet-pin": 1,
            "repository": subject.repository,
            "image": subject.image,
            "version": subject.version,
            "kind": str(kind),
            "whole": whole,
            "bytes": size_of(part),
            "since": round(now, 3),
        }
        payload = part.encode() if isinstance(part, Head) else b"".join(dict.fromkeys(ref.hash for ref in part))
        handle, temporary = tempfile.mkstemp(prefix=".", dir=self._pins)
        try:
            belongs(handle, self.folder)
            with os.fdopen(os.dup(handle), "wb") as file:
                file.write(json.dumps(fields).encode() + b"\n" + payload)
            name = f"{kind}-{subject.repository[:16]}-{subject.image}"
            if kind is Kind.HAND:
                name += f"@{subject.version}"
            if live:
                fcntl.flock(handle, fcntl.LOCK_EX)
                name += f"@{subject.version}-{os.getpid()}-{hashlib.sha256(temporary.encode()).hexdigest()[:8]}"
            path = Path(temporary).rename(self._pins / name)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            os.close(handle)
            raise
        if live:
            return path, handle
        os.close(handle)
        return path, -1

    def listed(self) -> list[Pin]:
        """All pins, newest first; what processes left behind that are gone is removed on the way."""
        found = []
        for path in self._files():
            try:
                with path.open("rb") as file:
                    data = file.read(MAX_PIN + 1)
                    pin = _parse(data, path)
                    if pin.kind is Kind.MOUNTED and _abandoned(file.fileno()):
                        with contextlib.suppress(OSError):
                            path.unlink()
                        continue
            except FileNotFoundError:
                continue
            except (OSError, ValueError, MirrornetError) as error:
                self._tell(path, error)
                continue
            found.append(pin)
        return sorted(found, key=lambda pin: pin.since, reverse=True)

    def _files(self) -> Iterator[Path]:
        try:
            yield from sorted(path for path in self._pins.iterdir() if not path.name.startswith("."))
        except FileNotFoundError:
            return
        except OSError as error:
            self._tell(self._pins, error)

    def _tell(self, path: Path, error: Exception) -> None:
        if str(path) not in self._told:
            self._told.add(str(path))
            why = error.strerror if isinstance(error, OSError) else str(error)
            log.warning("%s is no pin and holds nothing (%s): remove it, and pin again", path, why)

    def pinned(self, quota: int) -> set[int]:
        """The first 8 octets of every pinned hash, as numbers (for `leaving.scan`)."""
        found: set[int] = set()
        left = quota * SOFT_SHARE
        for pin in self.listed():
            if pin.kind is not Kind.HAND and not (pin.kind is Kind.MOUNTED and pin.whole):  # a pull was checked, too
                left -= pin.size
                if left < 0:
                    continue
            hashes: Iterable[bytes] = pin.hashes if pin.head is None else self.hashes(pin.head)
            found.update(int.from_bytes(each[:8], "big") for each in hashes)
        return found

    def taken(self, besides: Mapping[bytes, int], subjects: Collection[Subject] = ()) -> int:
        """Stored bytes that pins by hand, and pulls in work, keep from anybody else.

        `besides`: blocks (by hash, with their stored bytes) that are counted elsewhere; `subjects`: versions whose pins
        are.
        """
        seen: dict[bytes, int] = {}
        for pin in self.listed():
            if pin.subject not in subjects and (pin.kind is Kind.HAND or pin.whole):
                seen |= self.lengths(pin.subject, pin.head) if pin.head else {e: self._length(e) for e in pin.hashes}
        return sum(length for each, length in seen.items() if each not in besides)

    def lengths(self, subject: Subject, part: Part) -> dict[bytes, int]:
        """Hashes and stored bytes of what `part` names.

        Of index pages that are not here the blocks are not known; they are one entry, of what is left of the whole.
        """
        if not isinstance(part, Head):
            return {ref.hash: ref.stored for ref in part}
        found = {page.hash: page.stored for page in part.pages}
        whole = True
        for number in range(len(part.pages)):
            page = self.page(part, number)
            whole = whole and page is not None
            found.update((ref.hash, ref.stored) for ref in (page.refs if page else ()) if ref is not None)
        if not whole:
            found[f"the rest of {subject}".encode()] = max(0, size_of(part) - sum(found.values()))
        return found

    def here(self, pin: Pin) -> tuple[int, bool]:
        """Stored bytes of it that are in the cache, and whether that is all."""
        if pin.head is not None:
            return self.present(pin.subject, pin.head)[1:]
        found = [self._length(each) for each in pin.hashes]
        return sum(found), all(found)

    def present(self, subject: Subject, head: Head) -> tuple[int, int, bool]:
        """Stored bytes of a version, of those in the cache, and whether that is all."""
        wanted = self.lengths(subject, head)
        found = [self._length(each) for each in wanted if len(each) == 32]
        return sum(wanted.values()), sum(found), all(found) and len(found) == len(wanted)

    def _length(self, hash: bytes) -> int:
        try:
            return (self.folder / block_path(hash)).stat().st_size
        except OSError:
            return 0

    def hashes(self, head: Head) -> Iterator[bytes]:
        """Of a version's pages and blocks, the hashes that can be known from the pages in the cache."""
        for number, ref in enumerate(head.pages):
            yield ref.hash
            data = self._page(ref)
            if data is not None:
                for at in range(head.entries(number)):  # FORMAT.md: a page begins with its hashes
                    if (each := data[32 * at : 32 * at + 32]) != ZERO_HASH:
                        yield each

    def page(self, head: Head, number: int) -> Page | None:
        """Page `number` of an index, if it is in the cache."""
        data = self._page(head.pages[number])
        try:
            return Page.parse(data, head, number) if data is not None else None
        except Untrusted:
            return None

    def _page(self, ref: BlockRef) -> bytes | None:
        try:
            return open_block((self.folder / block_path(ref.hash)).read_bytes(), ref)
        except (OSError, Untrusted):
            return None


def _abandoned(handle: int) -> bool:
    """Whether the process that made a live pin is gone: its lock is free."""
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _parse(data: bytes, path: Path) -> Pin:
    """Raises ValueError or Untrusted."""
    if len(data) > MAX_PIN:
        raise ValueError("too long")
    line, newline, payload = data.partition(b"\n")
    try:
        fields = json.loads(line) if newline else None
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict) or fields.get("mirrornet-pin") != 1:
        raise ValueError("not what this program writes")
    repository, image, version = fields.get("repository"), fields.get("image"), fields.get("version")
    size, since, whole = fields.get("bytes"), fields.get("since"), fields.get("whole")
    if (
        not (isinstance(repository, str) and re.fullmatch(r"[0-9a-f]{64}", repository))
        or not (isinstance(image, str) and IMAGE_NAME.fullmatch(image))
        or type(version) is not int
        or type(size) is not int
        or not isinstance(since, int | float)
        or type(whole) is not bool
        or fields.get("kind") not in set(Kind)
        or (not whole and len(payload) % 32)
    ):
        raise ValueError("its fields are wrong")
    hashes = () if whole else tuple(payload[at : at + 32] for at in range(0, len(payload), 32))
    head = Head.parse(payload) if whole else None
    return Pin(Subject(repository, image, version), Kind(fields["kind"]), size, float(since), path, head, hashes)
