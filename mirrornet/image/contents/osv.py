"""Known vulnerabilities in the Open Source Vulnerability format (OSV schema 1.6), and whom they concern.  Pure.

A record says for each ecosystem and package which versions are affected: by a list, or by events along the order of
versions (introduced, fixed, last_affected, limit).  Evaluated as the schema's section "evaluation" has it.  What is
withdrawn concerns nobody; ranges of commits (GIT) and of semantic versions are not about distributions' packages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cmp_to_key
from typing import Any, Final

from mirrornet.image.contents.ordering import compare
from mirrornet.image.contents.packages import Package, System

_EVENTS: Final = ("introduced", "last_affected", "fixed", "limit")
# os-release's ID → the ecosystem's name, and how many numbers of the version it has (0: it has no releases).
_ECOSYSTEMS: Final = {
    "debian": ("Debian", 1), "ubuntu": ("Ubuntu", 2), "alpine": ("Alpine", 2), "rocky": ("Rocky Linux", 1),
    "almalinux": ("AlmaLinux", 1), "rhel": ("Red Hat:enterprise_linux", 1), "mageia": ("Mageia", 1),
    "opensuse-leap": ("openSUSE", 2), "wolfi": ("Wolfi", 0), "chainguard": ("Chainguard", 0),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Affected:
    """`ranges`: each a list of (event, version)."""

    ecosystem: str
    name: str
    versions: frozenset[str]
    ranges: tuple[tuple[tuple[str, str], ...], ...]


@dataclass(frozen=True, slots=True)
class Vulnerability:
    """`aliases`: other names, such as CVE numbers; `summary`: one line."""

    id: str
    aliases: tuple[str, ...]
    summary: str
    affected: tuple[Affected, ...]


def parse_record(record: Any) -> Vulnerability | None:
    """The vulnerability that a JSON object describes; None where it was withdrawn.  Raises ValueError."""
    try:
        if not isinstance(record["id"], str) or not record["id"]:
            raise ValueError("its id is no text")
        if record.get("withdrawn"):
            return None
        names = [*(record.get("aliases") or ()), *(record.get("upstream") or ()), *(record.get("related") or ())]
        return Vulnerability(
            id=record["id"],
            aliases=tuple(dict.fromkeys(str(name) for name in names if str(name) != record["id"])),
            summary=" ".join(str(record.get("summary") or record.get("details") or "").split())[:200],
            affected=tuple(_affected(each) for each in record.get("affected") or () if each.get("package")),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is no OSV record ({type(error).__name__}: {error})") from None


def _affected(each: Mapping[str, Any]) -> Affected:
    ranges = []
    for one in each.get("ranges") or ():
        if one["type"] == "ECOSYSTEM":
            events = one["events"]
            ranges.append(tuple((kind, str(event[kind])) for event in events for kind in _EVENTS if kind in event))
    package = each["package"]
    return Affected(
        ecosystem=str(package["ecosystem"]),
        name=str(package["name"]),
        versions=frozenset(str(version) for version in each.get("versions") or ()),
        ranges=tuple(ranges),
    )


def concerns(ecosystem: str, system: System) -> bool:
    """Whether an ecosystem such as "Debian:12" is that of `system`; without a release it is that of all releases."""
    name, numbers = _ECOSYSTEMS.get(system.id, ("", 0))
    if not name or not numbers or ecosystem == name:
        return bool(name) and ecosystem == name
    release = ".".join(system.version.split(".")[:numbers])
    if name in ("Alpine", "openSUSE"):
        release = f"{'v' if name == 'Alpine' else 'Leap '}{release}"
    return bool(system.version) and (ecosystem == f"{name}:{release}" or ecosystem.startswith(f"{name}:{release}:"))


def names_of(package: Package) -> tuple[tuple[str, str], ...]:
    """(name, version) by which advisories may speak of `package`: sources for deb and apk, either for rpm."""
    source = (package.source, package.source_version)
    return (source,) if package.kind != "rpm" else tuple(dict.fromkeys((source, (package.name, package.version))))


def fixed_in(vulnerability: Vulnerability, package: Package, system: System) -> str | None:
    """The version that fixes it, "" where none is named, if `package` is affected; None if it is not.

    Raises ValueError where a version makes no sense.
    """
    for affected in vulnerability.affected:
        if not concerns(affected.ecosystem, system):
            continue
        for name, version in names_of(package):
            if name == affected.name and _is_affected(package.kind, version, affected):
                fixes = [at for events in affected.ranges for kind, at in events if kind == "fixed"]
                later = [fix for fix in fixes if compare(package.kind, fix, version) > 0]
                return min(later, key=_key(package.kind), default="")
    return None


def _is_affected(kind: str, version: str, affected: Affected) -> bool:
    return version in affected.versions or any(_in_range(kind, version, events) for events in affected.ranges)


def _in_range(kind: str, version: str, events: tuple[tuple[str, str], ...]) -> bool:
    limits = [at for event, at in events if event == "limit" and at != "*"]
    if limits and not any(compare(kind, version, at) < 0 for at in limits):
        return False
    key = _key(kind)
    inside = False
    turns = [(event, at) for event, at in events if event != "limit"]
    for event, at in sorted(turns, key=lambda turn: (turn[1] != "0", key(turn[1]))):  # "0" is before all versions
        beyond = at == "0" or compare(kind, version, at) >= 0
        if event == "introduced" and beyond:
            inside = True
        elif (event == "fixed" and beyond) or (event == "last_affected" and compare(kind, version, at) > 0):
            inside = False
    return inside


def _key(kind: str) -> Any:
    return cmp_to_key(lambda one, other: compare(kind, str(one), str(other)))
