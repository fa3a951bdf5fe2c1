"""A table that another server of ours made: fetched whole, proven, and held against the one that it replaces.

Building world.table takes hundreds of megabytes of dumps from registries that lend their bandwidth; ten name servers of
one operator need it once.  One builds and puts `world.table` and `world.table.sha256` (as sha256sum writes it) on any
web server; the others ask for the sum first, which is 80 bytes, and for the table only where it is not theirs already.

The sum says that the file is whole and the one that was meant; it does not say who made it, since it comes by the same
way.  That is https's part, or `checksum` names a file that came by a way of your own.  Whoever can replace both decides
who is sent where (never what is read there: clients verify blocks), within what the guard lets pass: a table that
shrank is refused as at an import, and so is one that is older than ours, which is what a stale cache serves.

Rejected: rsync (one more service to run); a signature of our own (a key to keep for what https already does).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from mirrornet.model.errors import InputError, LimitError, LocalError, PeerError
from mirrornet.model.table import WorldTable
from mirrornet.radb.compiling.tally import tally_of
from mirrornet.radb.fetch import DEFAULT_LIMITS, Limits, ahead, opened, public_name
from mirrornet.radb.guard import compare, refuse_stranger
from mirrornet.radb.importer import write_table
from mirrornet.radb.reading.opening import Progress

LARGEST: Final = 1 << 30  # bytes of a table; one of the whole Internet has 30 MB
_SUM: Final = re.compile(r"([0-9a-fA-F]{64})(?:\s|$)")
_SUM_LIMIT: Final = 64 << 10  # bytes; a line has 80, and a page that says "log in" has thousands


@dataclass(frozen=True, slots=True)
class Fetched:
    """`created`: Unix time at which the table was made.  `nothing_new`: ours is that very table."""

    created: float
    bytes_written: int = 0
    nothing_new: bool = False
    warnings: tuple[str, ...] = ()


def fetch_table(
    name: str,
    out: Path,
    *,
    checksum: str = "",
    force: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    progress: Progress | None = None,
) -> Fetched:
    """Brings the table `name` (a URL or path, plain, .gz or .bz2) to `out`; the former ones are kept beside it.

    `checksum`: the URL or path of its SHA-256 (of the unpacked table), by default `name` with `.sha256` behind it.
    `force`: though it is older or much smaller than ours.  Raises InputError, PeerError, LimitError, LocalError; then
    the old table stands.
    """
    tell = progress or (lambda what, done, total: None)
    if not out.absolute().parent.is_dir():
        raise InputError(f"{out}: there is no folder {out.absolute().parent}: make it first")
    if not force:
        refuse_stranger(out)
    wanted = _wanted(checksum or _beside(name), limits)
    try:
        ours = out.read_bytes()
    except FileNotFoundError:
        ours = b""
    except OSError as error:
        raise LocalError(f"{out}: cannot be read: {error.strerror}") from None
    if hashlib.sha256(ours).hexdigest() == wanted:
        return Fetched(WorldTable(ours, str(out)).created, nothing_new=True)
    data = _read(name, replace(limits, unpacked=min(limits.unpacked, LARGEST)), tell)
    shown = public_name(name)
    if hashlib.sha256(data).hexdigest() != wanted:
        raise PeerError(
            f"{shown}: is not the table whose SHA-256 was given ({wanted[:16]}…), so the old one stays: it may be "
            "replaced at this moment, so try again; after a rollback the sum has to be written anew"
        )
    try:
        table = WorldTable(data, shown)
        tally = tally_of(table)
    except (InputError, IndexError, ValueError) as error:
        raise PeerError(f"{shown}: is no table that this version reads, so the old one stays: {error}") from None
    if not force and (before := _created(ours, out)) > table.created:
        raise LimitError(
            f"{shown}: was made {before - table.created:.0f} s before the table that is here, so that one stays: a "
            "stale cache? --force takes it, if it was rolled back there"
        )
    warnings = compare(out, tally, force)
    tell("writing", 0, None)
    try:
        size = write_table(out, [data])
    except OSError as error:
        raise LocalError(f"{out}: cannot be written: {error.strerror}; what was there before stands") from None
    return Fetched(table.created, size, warnings=tuple(warnings))


def _beside(name: str) -> str:
    """Where the sum of `name` lies: before a query, behind the name of the unpacked table."""
    bare, mark, query = name.partition("?") if "://" in name else (name, "", "")
    return f"{bare.removesuffix('.gz').removesuffix('.bz2')}.sha256{mark}{query}"


def _wanted(name: str, limits: Limits) -> str:
    """The sum that the file `name` begins with, in lower case."""
    shown = public_name(name)
    try:
        data = _read(name, replace(limits, unpacked=_SUM_LIMIT, wire=_SUM_LIMIT), lambda *_: None)
    except LimitError:
        data = b""
    found = _SUM.match(data.decode("ascii", "replace"))
    if not found:
        raise PeerError(f"{shown}: does not begin with a SHA-256 of 64 hexadecimal digits: make it with sha256sum")
    return found[1].lower()


def _read(name: str, limits: Limits, tell: Progress) -> bytes:
    with opened(name, limits) as stream:
        return b"".join(ahead(stream, lambda: tell(stream.name, stream.bytes_read, stream.total)))


def _created(data: bytes, out: Path) -> float:
    try:
        return WorldTable(data, str(out)).created
    except InputError:  # there is none, or it is damaged: whatever is whole is better
        return 0.0
