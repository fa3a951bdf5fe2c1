"""The signed lists of packages in a repository, each verified by the metadata that names it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from mirrornet.image.contents.cyclonedx import MAX_SBOM, read_document
from mirrornet.image.contents.exposure import Listed
from mirrornet.image.contents.osv import names_of
from mirrornet.image.contents.packages import Package, System
from mirrornet.image.fetch import Fetch
from mirrornet.image.trust.versions import ImageVersion, Metadata
from mirrornet.model.errors import Untrusted


def listed_versions(metadata: Metadata, name: str, fetch: Fetch) -> list[Listed]:
    """The retained versions of `name`, ascending, with their lists.

    Raises InputError (no such image), PeerError (a list that is not what was signed).
    """
    metadata.latest(name)
    return [_listed(version, fetch) for version in metadata.images[name]]


def _listed(version: ImageVersion, fetch: Fetch) -> Listed:
    digest = next((each.hash.hex() for each in version.attached if each.kind == "sbom"), "")
    return Listed(version.version, version.created, read_list(version, fetch), digest)


def read_list(version: ImageVersion, fetch: Fetch) -> tuple[System, list[Package]] | None:
    """The system and the packages of a version; None where it has no list.  Raises PeerError."""
    target = next((each for each in version.attached if each.kind == "sbom"), None)
    if target is None:
        return None
    if target.length > MAX_SBOM:
        raise Untrusted(f"{target.path}: longer than a list of packages may be")
    data = fetch(target.path, target.length)
    if hashlib.sha256(data).digest() != target.hash:
        raise Untrusted(f"{target.path}: is not the list that was signed; sync the repository from a mirror")
    return read_document(data)


def names_in(versions: Iterable[Listed]) -> set[str]:
    """All names by which advisories may speak of the packages of `versions`."""
    found: Sequence[Package]
    names: set[str] = set()
    for version in versions:
        found = version.contents[1] if version.contents else ()
        names.update(name for package in found for name, _ in names_of(package))
    return names
