"""Files of OSV records: one record, a list of them, one a line, or the .zip that osv.dev offers for each ecosystem.

Read one record at a time: a whole ecosystem has tens of thousands, of which an image is concerned with dozens.  Only
those that name a package somebody has are kept.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from mirrornet.image.contents.osv import Vulnerability, parse_record
from mirrornet.model.errors import InputError

RECORD_LIMIT: Final = 16 << 20  # bytes of one record
FILE_LIMIT: Final = 1 << 30  # bytes of a file that is not a .zip


def read_advisories(paths: Sequence[Path], names: Collection[str]) -> list[Vulnerability]:
    """The vulnerabilities in `paths` (files, or folders of .json) of packages called one of `names`; each id once.

    Raises InputError that names the file and the record.
    """
    found: dict[str, Vulnerability] = {}
    for path in paths:
        for where, record in _records(path):
            try:
                vulnerability = parse_record(record)
            except ValueError as error:
                raise InputError(f"{where}: {error}") from None
            if vulnerability is not None and any(each.name in names for each in vulnerability.affected):
                found[vulnerability.id] = vulnerability
    return list(found.values())


def _records(path: Path) -> Iterator[tuple[str, Any]]:
    """(where, record) of all records in `path`."""
    try:
        if path.is_dir():
            for each in sorted(path.glob("*.json")):
                yield from _records(each)
        elif zipfile.is_zipfile(path):
            yield from _zipped(path)
        else:
            yield from _plain(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def _zipped(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if not member.filename.endswith(".json"):
                    continue
                where = f"{path}: {member.filename}"
                with archive.open(member) as file:
                    data = file.read(RECORD_LIMIT + 1)
                if len(data) > RECORD_LIMIT:
                    raise InputError(f"{where}: longer than {RECORD_LIMIT >> 20} MiB; a record has some kilobytes")
                yield where, _json(where, data)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise InputError(f"{path}: the archive cannot be read ({error}); fetch it again") from None


def _plain(path: Path) -> Iterator[tuple[str, Any]]:
    with path.open("rb") as file:
        data = file.read(FILE_LIMIT + 1)
    if len(data) > FILE_LIMIT:
        raise InputError(f"{path}: longer than 1 GiB; give the .zip that it came in")
    lines = [line for line in data.splitlines() if line.strip()]
    if path.suffix in (".jsonl", ".ndjson"):
        for number, line in enumerate(lines, 1):
            yield f"{path}:{number}", _json(f"{path}:{number}", line)
        return
    body = _json(str(path), data)
    listed = body.get("vulns") if isinstance(body, dict) and "vulns" in body else body
    if isinstance(listed, list):
        for number, record in enumerate(listed, 1):
            yield f"{path}: record {number}", record
    else:
        yield str(path), body


def _json(where: str, data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: is not JSON ({error}); records of osv.dev are wanted") from None
