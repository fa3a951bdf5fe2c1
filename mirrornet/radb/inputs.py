"""All that one import is made of: what was named for what, read into one pile of records.

Whether anything of it is new since a table was made can be asked before a byte is read (fetching/freshness.py): a table
is made of all of its inputs, so it stands only when none of them changed.  Tables of files alone do not remember their
inputs, because reading a disk is cheap and the same files shall make the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mirrornet.image.small import read_small
from mirrornet.model.address import Prefix, parse_prefix
from mirrornet.model.errors import InputError
from mirrornet.model.links import SECTION as LINKS
from mirrornet.model.table import VERSION
from mirrornet.radb.fetch import DEFAULT_LIMITS, Limits, public_name, remote
from mirrornet.radb.fetching import freshness
from mirrornet.radb.fetching.limits import Version
from mirrornet.radb.reading.dumps import read_dump, read_statistics
from mirrornet.radb.reading.further import read_geofeed, read_mmdb, read_relations, read_vrps
from mirrornet.radb.reading.opening import Progress
from mirrornet.radb.records import Records
from mirrornet.radb.report import ImportReport
from mirrornet.radb.sources import DEFAULT, Weights, parse_weights

ANYCAST_LIMIT: Final = 8 << 20  # bytes; the known anycast prefixes are some 300 KB
SOURCES_LIMIT: Final = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Inputs:
    """What an import is made of: paths or URLs, and the small files' content.  `bogons`: for a laboratory."""

    dumps: Sequence[str]
    delegated: Sequence[str] = ()
    vrps: str | None = None
    geofeeds: Sequence[str] = ()
    mmdbs: Sequence[str] = ()
    relations: str | None = None
    anycast: Sequence[Prefix] = ()
    weights: Weights = DEFAULT
    bogons: bool = False
    limits: Limits = DEFAULT_LIMITS

    def read(self, tell: Progress) -> tuple[Records, ImportReport, dict[str, bytes]]:
        """Everything read, and further sections of the table.  Raises InputError, PeerError, LimitError, LocalError."""
        report, records = ImportReport(), Records(self.weights)
        bogons, limits = self.bogons, self.limits
        for name in self.dumps:
            read_dump(name, records, report, tell, bogons, limits)
        for name in self.delegated:
            read_statistics(name, records, report, tell, bogons, limits)
        if self.vrps:
            read_vrps(self.vrps, records, report, tell, limits)
        for name in self.geofeeds:
            read_geofeed(name, records, report, tell, bogons, limits)
        for name in self.mmdbs:
            read_mmdb(name, records, report, tell, bogons)
        sections = {}
        if self.relations:
            sections[LINKS] = read_relations(self.relations, report, tell, bogons, limits)
        return records, report, sections

    @property
    def names(self) -> list[str]:
        """All files, once each."""
        one = [name for name in (self.vrps, self.relations) if name]
        return list(dict.fromkeys([*self.dumps, *self.delegated, *self.geofeeds, *self.mmdbs, *one]))

    @property
    def fetched(self) -> bool:
        """Whether a server is asked for any of it."""
        return any(remote(name, self.limits) for name in self.names)

    def on_disk(self) -> dict[str, Version | None]:
        """The editions of the files on our disk, to be taken before they are read."""
        return {name: freshness.on_disk(name) for name in self.names if remote(name, self.limits) is None}

    def nothing_new(self, section: bytes) -> bool:
        """Whether the table whose section "inputs" this is was made of all this, and nothing has changed since."""
        files = [(public_name(name), file) for name in self.names if (file := remote(name, self.limits))]
        if not section:
            return False
        return freshness.nothing_new(section, self._options(), self.on_disk(), files)

    def remember(self, local: Mapping[str, Version | None], report: ImportReport) -> bytes:
        """The section "inputs" for a table made of all this; empty where no server was asked for any of it."""
        fetched = {file.name: file.version for file in report.files if file.version is not None}
        if not self.fetched:
            return b""
        usable = {name: version if version.etag or version.modified else None for name, version in fetched.items()}
        return freshness.remember(self._options(), {**local, **usable})

    def _options(self) -> str:
        roles = [self.dumps, self.delegated, self.geofeeds, self.mmdbs, [self.vrps or ""], [self.relations or ""]]
        return freshness.digest(
            VERSION,
            [[public_name(name) for name in names] for names in roles],
            [str(prefix) for prefix in self.anycast],
            dict(self.weights.ranks),
            self.bogons,
        )


def read_weights(path: Path) -> Weights:
    """The operator's own table of sources.  Raises InputError that names the line."""
    try:
        return parse_weights(read_small(path, SOURCES_LIMIT).decode("utf-8", "replace"), str(path))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}: the ranks of sources are read from a file") from None


def read_anycast(path: Path) -> list[Prefix]:
    """One prefix a line, "#" comments.  Raises InputError that names the line."""
    found: dict[Prefix, None] = {}
    try:
        data = read_small(path, ANYCAST_LIMIT)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}: anycast prefixes are read from a file") from None
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            prefix = parse_prefix(text)
        except ValueError:
            raise InputError(f"{path}:{number}: {text[:40]!r} is not a prefix, such as 192.0.2.0/24") from None
        if not prefix.length:
            raise InputError(f"{path}:{number}: {text} is the whole Internet: name the anycast prefixes")
        found[prefix] = None
    return list(found)
