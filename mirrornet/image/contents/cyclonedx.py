"""Packages as a CycloneDX 1.5 document (ECMA-424), and a document as packages.  Pure.

One component a package, named by its purl; the system it belongs to is a component of type operating-system.  Same
packages, same bytes: components are sorted, and the only time in it is the one given.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from packageurl import PackageURL

from mirrornet.image.contents.packages import Package, System
from mirrornet.model.errors import Untrusted

SPEC: Final = "1.5"
MAX_SBOM: Final = 64 << 20  # bytes; 2,000 packages take 0.7 MB


def document(name: str, version: int, system: System, packages: Sequence[Package], now: float, tool: str) -> bytes:
    """The document of version `version` of the image `name`.  `now`: Unix time; `tool`: our own version."""
    components: list[dict[str, Any]] = [
        {
            "type": "operating-system",
            "bom-ref": f"os:{system.id}@{system.version}",
            "name": system.id,
            **({"version": system.version} if system.version else {}),
            **({"description": system.name} if system.name else {}),
        }
    ]
    for package in sorted(set(packages)):
        purl = purl_of(package, system)
        components.append(
            {"type": "library", "bom-ref": purl, "name": package.name, "version": package.version, "purl": purl}
        )
    body = {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPEC}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPEC,
        "version": 1,
        "metadata": {
            "timestamp": f"{datetime.fromtimestamp(now, UTC):%Y-%m-%dT%H:%M:%SZ}",
            "tools": {"components": [{"type": "application", "name": "mirrornet", "version": tool}]},
            "component": {"type": "container", "bom-ref": f"{name}@{version}", "name": name, "version": str(version)},
        },
        "components": components,
    }
    return json.dumps(body, indent=1, ensure_ascii=False).encode() + b"\n"


def purl_of(package: Package, system: System) -> str:
    """The package URL (purl specification, types deb, apk and rpm)."""
    qualifiers = {"arch": package.arch}
    if system.version:
        qualifiers["distro"] = f"{system.id}-{system.version}"
    if (package.source, package.source_version) != (package.name, package.version):
        same = package.source_version == package.version
        qualifiers["upstream"] = package.source if same else f"{package.source}@{package.source_version}"
    version = package.version
    if package.kind == "rpm" and ":" in version:
        qualifiers["epoch"], _, version = version.partition(":")
    kept = {key: value for key, value in qualifiers.items() if value}
    return PackageURL(package.kind, system.id, package.name, version, qualifiers=kept).to_string()


def read_document(data: bytes) -> tuple[System, list[Package]]:
    """(system, packages) of a document of ours.  Raises Untrusted where it is none."""
    try:
        body = json.loads(data)
        if body["bomFormat"] != "CycloneDX":
            raise ValueError("it is no CycloneDX document")
        system = System("linux", "", "")
        packages = []
        for component in body["components"]:
            if component["type"] == "operating-system":
                system = System(component["name"], component.get("version", ""), component.get("description", ""))
            elif component.get("purl"):
                packages.append(_package(component["purl"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Untrusted(f"the list of packages is malformed: {error}; the publisher made it so") from None
    return system, packages


def _package(text: str) -> Package:
    purl = PackageURL.from_string(text)
    qualifiers = purl.qualifiers if isinstance(purl.qualifiers, dict) else {}
    version = purl.version or ""
    if "epoch" in qualifiers:
        version = f"{qualifiers['epoch']}:{version}"
    source, _, source_version = qualifiers.get("upstream", purl.name).partition("@")
    return Package(purl.type, purl.name, version, qualifiers.get("arch", ""), source, source_version or version)
