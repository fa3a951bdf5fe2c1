"""What an import takes besides dumps and statistics: geofeeds, VRPs, AS relationships, geolocation databases.

Each is optional and costs nothing where it is not named.  All are opened as dumps are (paths or URLs, plain or packed;
an mmdb is read in place and must be a file), bounded as they are, and a bad line costs that line and a line in the
report.  Only a file that is something else altogether ends the import, before anything is replaced.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from mirrornet.model.errors import InputError, LimitError
from mirrornet.model.links import encode
from mirrornet.model.place import Evidence
from mirrornet.radb.facts import Reason
from mirrornet.radb.fetch import Limits
from mirrornet.radb.reading.geofeed import feed
from mirrornet.radb.reading.mmdb import read_mmdb as take_in
from mirrornet.radb.reading.opening import Progress, reading
from mirrornet.radb.reading.relations import links
from mirrornet.radb.reading.vrps import NoVrps, entries
from mirrornet.radb.records import Records, VrpColumns
from mirrornet.radb.report import FileReport, ImportReport

UNPACKED_LIMIT: Final = 1 << 30  # bytes; the largest VRP export has some 100 MB
FEED_LIMIT: Final = 8_000_000  # lines; the largest known egress list has 300,000
VRP_LIMIT: Final = 8_000_000  # 700,000 exist
LINK_LIMIT: Final = 4_000_000  # 600,000 are known


def read_geofeed(
    name: str, records: Records, report: ImportReport, tell: Progress, bogons: bool, limits: Limits
) -> None:
    """Takes in all lines of the geofeed `name` (path or URL).  Raises InputError, PeerError, LimitError."""
    taken = 0
    with reading(name, report, tell, _bounded(limits), _reject_binary) as file:
        for line in feed(file.portions, bogons):
            _count(file.entry, FEED_LIMIT)
            report.count("geofeed", "line")
            if isinstance(line.said, Reason):
                report.reject(line.said, file.name, line.number, line.text)
                continue
            taken += 1
            report.mended.update(line.said.mends)
            records.add_block(line.said, Evidence.GEOFEED)
        if not taken:
            raise InputError(f"{file.name}: no usable line of a geofeed in it (RFC 8805: prefix,country,region,city,)")


def read_vrps(name: str, records: Records, report: ImportReport, tell: Progress, limits: Limits) -> None:
    """Takes in the VRPs that a validator exported as the JSON file `name` (path or URL).  Raises as read_geofeed()."""
    records.vrps = columns = records.vrps or VrpColumns()
    taken = 0
    with reading(name, report, tell, _bounded(limits), _reject_non_json) as file:
        try:
            for entry in entries(file.portions):
                _count(file.entry, VRP_LIMIT)
                report.count("RPKI", "vrp")
                if isinstance(entry.said, Reason):
                    report.reject(entry.said, file.name, entry.line, entry.text)
                elif entry.said is not None:
                    columns.add(entry.said)
                    taken += 1
        except NoVrps as fault:
            raise InputError(f"{file.name}: not the JSON that an RPKI validator exports: {fault}") from None
        if not taken:
            raise InputError(f"{file.name}: no VRP in it: has the validator finished its first run?")


def read_relations(name: str, report: ImportReport, tell: Progress, bogons: bool, limits: Limits) -> bytes:
    """The section "links" of world.table, out of the AS relationships `name` (path or URL).  Raises as above."""
    found: list[tuple[int, int, int]] = []
    with reading(name, report, tell, _bounded(limits), _reject_binary) as file:
        for link in links(file.portions, bogons):
            _count(file.entry, LINK_LIMIT)
            report.count("as-rel", "link")
            if isinstance(link.said, Reason):
                report.reject(link.said, file.name, link.number, link.text)
            else:
                found.append(link.said)
        if not found:
            raise InputError(f"{file.name}: no AS relationship in it (CAIDA's form: provider|customer|-1, peer|peer|0)")
    return encode(found)


def read_mmdb(name: str, records: Records, report: ImportReport, tell: Progress, bogons: bool) -> None:
    """Takes in the geolocation database `name` (a file).  Raises InputError, LocalError."""
    began = time.monotonic()
    entry = FileReport(name)
    report.files.append(entry)
    tell(name, 0, None)
    entry.objects = take_in(Path(name), records, bogons)
    entry.bytes_read = entry.bytes_unpacked = Path(name).stat().st_size
    entry.seconds = time.monotonic() - began
    report.count("mmdb", "network", entry.objects)


def _bounded(limits: Limits) -> Limits:
    return replace(limits, unpacked=min(limits.unpacked, UNPACKED_LIMIT))


def _count(entry: FileReport, limit: int) -> None:
    entry.objects += 1
    if entry.objects > limit:
        raise LimitError(f"{entry.name}: more than {limit:,} entries, so it was given up: is it the right file?")


def _reject_binary(name: str, text: bytes) -> None:
    if b"\0" in text:
        raise InputError(f"{name}: this is a binary file: expected lines of text")


def _reject_non_json(name: str, text: bytes) -> None:
    if text.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] != b"{":
        raise InputError(f'{name}: this is no JSON object: expected what an RPKI validator exports, {{"roas": [...]}}')
