"""An image → its list of packages, at publish time, without mounting it.

Of the image's file systems the largest that has a package manager's list is its root, and is described.  An image
without one (a BSD, a data disk, a root on XFS) is published without: the list is a service, not a condition.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import tempfile
from pathlib import Path
from typing import Final

from mirrornet import __version__
from mirrornet.image.contents.cyclonedx import document
from mirrornet.image.contents.extfs import debugfs, read_file
from mirrornet.image.contents.packages import (
    APK,
    DPKG,
    OS_RELEASE,
    RPM,
    Package,
    System,
    parse_apk,
    parse_dpkg,
    parse_os_release,
    parse_rpm,
)
from mirrornet.image.contents.partitions import Partition, ext_file_systems
from mirrornet.model.errors import LocalError

log = logging.getLogger(__name__)
Contents = tuple[System, list[Package]]
LIST_LIMIT: Final = 256 << 20  # bytes; Debian's with 5,000 packages has 6 MB
_SMALL: Final = 1 << 20


def describe(image: Path, name: str, version: int, now: float) -> bytes | None:
    """The CycloneDX document of `image`, which is to be version `version` of `name`; None where no list was found.

    `now`: Unix time.  What stands in the way is logged, and is no reason not to publish.
    """
    try:
        found = contents(image)
    except (OSError, LocalError) as error:
        log.warning("%s has no list of packages: %s", image, error)
        return None
    return None if found is None else document(name, version, *found, now, __version__)


def contents(image: Path) -> Contents | None:
    """The system in `image` and its packages; None where no list was found.  Raises OSError, LocalError."""
    return next((found for _, found in ranked(image)), None)


def ranked(image: Path) -> list[tuple[Partition, Contents | None]]:
    """The ext file systems of `image`, each with its list, the root first: those with a list, then the larger.

    One that debugfs cannot read is passed over, unless there is no other.  Raises OSError, LocalError.
    """
    systems = file_systems(image)
    if systems and debugfs() is None:
        raise LocalError("debugfs is missing: install e2fsprogs")
    rows: list[tuple[Partition, Contents | None]] = []
    broken: LocalError | None = None
    for partition in systems:
        try:
            rows.append((partition, contents_at(image, partition)))
        except LocalError as error:
            broken = broken or error
    if broken is not None and not rows:
        raise broken
    return sorted(rows, key=lambda row: (row[1] is None, -row[0].size))


def contents_at(image: Path, partition: Partition) -> Contents | None:
    """The same of one file system of `image`."""
    packages = _packages(image, partition.offset)
    if not packages:
        return None
    text = next(filter(None, (read_file(image, partition.offset, path, _SMALL) for path in OS_RELEASE)), b"")
    return parse_os_release(text.decode("utf-8", "replace")), packages


def file_systems(image: Path) -> list[Partition]:
    """The ext file systems in a file or block device.  Raises OSError."""
    handle = os.open(image, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(handle).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
            return []
        size = os.lseek(handle, 0, os.SEEK_END)
        return ext_file_systems(lambda at, count: os.pread(handle, count, at) if at < size else b"", size)
    finally:
        os.close(handle)


def _packages(image: Path, offset: int) -> list[Package]:
    if status := read_file(image, offset, DPKG, LIST_LIMIT):
        return parse_dpkg(status.decode("utf-8", "replace"))
    for path in APK:
        if installed := read_file(image, offset, path, LIST_LIMIT):
            return parse_apk(installed.decode("utf-8", "replace"))
    for path in RPM:
        if database := read_file(image, offset, path, LIST_LIMIT):
            return parse_rpm(_headers(database))
    return []


def _headers(database: bytes) -> list[bytes]:
    """The headers in rpm's SQLite database.  Raises LocalError where it is damaged."""
    with tempfile.NamedTemporaryFile(prefix="mirrornet-rpm-") as file:
        file.write(database)
        file.flush()
        connection = sqlite3.connect(f"file:{file.name}?mode=ro&immutable=1", uri=True)
        try:
            return [bytes(blob) for (blob,) in connection.execute("SELECT blob FROM Packages")]
        except sqlite3.Error as error:
            raise LocalError(f"rpm's database cannot be read: {error}") from None
        finally:
            connection.close()
