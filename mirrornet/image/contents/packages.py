"""The lists that package managers keep of what is installed: dpkg's, apk's, rpm's; and which system it is.  Pure.

A record that makes no sense is left out, as the package managers do themselves; a list in which there is none at all
is no list.  The source package is told beside each binary one, since advisories are about sources.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

DPKG: Final = "/var/lib/dpkg/status"
APK: Final = ("/usr/lib/apk/db/installed", "/lib/apk/db/installed")
RPM: Final = ("/usr/lib/sysimage/rpm/rpmdb.sqlite", "/var/lib/rpm/rpmdb.sqlite")
OS_RELEASE: Final = ("/usr/lib/os-release", "/etc/os-release")
_SOURCE: Final = re.compile(r"(\S+)(?: \((\S+)\))?")
_RPM_TAGS: Final = {1000: "name", 1001: "version", 1002: "release", 1003: "epoch", 1022: "arch", 1044: "source"}


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """An installed package.  `kind`: deb, apk or rpm.  `source`, `source_version`: of the source it was built from."""

    kind: str
    name: str
    version: str
    arch: str
    source: str
    source_version: str


@dataclass(frozen=True, slots=True)
class System:
    """From os-release(5): `id` such as "debian", `version` such as "12" or "", `name` for people."""

    id: str
    version: str
    name: str


def parse_os_release(text: str) -> System:
    """The system that os-release describes; an empty id is "linux", as the manual says."""
    fields = {}
    for line in text.splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and not key.startswith("#"):
            fields[key] = re.sub(r"\\(.)", r"\1", value[1:-1] if value[:1] in "'\"" and len(value) > 1 else value)
    return System(fields.get("ID") or "linux", fields.get("VERSION_ID", ""), fields.get("PRETTY_NAME", ""))


def parse_dpkg(text: str) -> list[Package]:
    """The installed packages of /var/lib/dpkg/status (deb822, dpkg(1)), sorted."""
    found = []
    for fields in _stanzas(text, ": "):
        name, version = fields.get("Package", ""), fields.get("Version", "")
        if not name or not version or fields.get("Status", "").split()[2:] != ["installed"]:
            continue
        match = _SOURCE.fullmatch(fields.get("Source", ""))
        source, source_version = (match[1], match[2] or version) if match else (name, version)
        found.append(Package("deb", name, version, fields.get("Architecture", ""), source, source_version))
    return sorted(set(found))


def parse_apk(text: str) -> list[Package]:
    """The packages of apk's `installed` (P, V, A, o: name, version, architecture, origin), sorted."""
    found = []
    for fields in _stanzas(text, ":"):
        name, version = fields.get("P", ""), fields.get("V", "")
        if name and version:
            found.append(Package("apk", name, version, fields.get("A", ""), fields.get("o", name), version))
    return sorted(set(found))


def _stanzas(text: str, separator: str) -> Iterator[dict[str, str]]:
    """Paragraphs of "Key: value" lines; continued lines are not needed by anyone here."""
    fields: dict[str, str] = {}
    for line in text.split("\n"):
        if not line.strip():
            if fields:
                yield fields
            fields = {}
        elif line[0] not in " \t":
            key, found, value = line.partition(separator)
            if found:
                fields.setdefault(key, value.strip())
    if fields:
        yield fields


def parse_rpm(headers: Iterable[bytes]) -> list[Package]:
    """The packages of the headers in rpm's database (table Packages of rpmdb.sqlite), sorted."""
    found = []
    for blob in headers:
        try:
            fields = _rpm_header(blob)
        except (struct.error, ValueError):
            continue
        name, version, release = fields.get("name", ""), fields.get("version", ""), fields.get("release", "")
        if not name or not version or name == "gpg-pubkey":
            continue
        full = f"{version}-{release}" if release else version
        if fields.get("epoch", "0") != "0":
            full = f"{fields['epoch']}:{full}"
        source = fields.get("source", "").removesuffix(".src.rpm").rsplit("-", 2)[0] or name
        found.append(Package("rpm", name, full, fields.get("arch", ""), source, full))
    return sorted(set(found))


def _rpm_header(blob: bytes) -> dict[str, str]:
    """The fields we need: entries of (tag, type, offset, count), big-endian, then the data they point into."""
    count, length = struct.unpack_from(">II", blob)
    data = blob[8 + 16 * count : 8 + 16 * count + length]
    fields = {}
    for number in range(min(count, len(blob) // 16)):
        tag, kind, offset, _ = struct.unpack_from(">IIII", blob, 8 + 16 * number)
        name = _RPM_TAGS.get(tag)
        if name and kind == 4:
            fields[name] = str(struct.unpack_from(">I", data, offset)[0])
        elif name and kind in (6, 8, 9):
            fields[name] = data[offset : data.index(b"\0", offset)].decode("utf-8", "replace")
    return fields
