"""The versions of an image and the vulnerabilities in them: who has what, and which version replaced it.  Pure.

A vulnerability counts as replaced since version N when N and every later version is known not to have it; a version
without a list of packages proves nothing, and neither does one after which it came back (a rollback).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mirrornet.image.contents.osv import Vulnerability, fixed_in, names_of
from mirrornet.image.contents.packages import Package, System


@dataclass(frozen=True, slots=True)
class Listed:
    """A version and its signed list; `contents` None: it has none.  `sbom`: SHA-256 hex of the list, or ""."""

    number: int
    created: str
    contents: tuple[System, Sequence[Package]] | None
    sbom: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A vulnerable package.

    `source`, `version`: of the source package; `packages`: the binary ones.  `fixed`: the first good version, or "".
    """

    id: str
    aliases: tuple[str, ...]
    summary: str
    source: str
    version: str
    fixed: str
    packages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Exposure:
    """What is known of one version; `findings` None: nothing, it has no list."""

    listed: Listed
    findings: tuple[Finding, ...] | None


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one vulnerability in one source package.

    `held_by`: the versions that have it.  `replaced_by`: the first version since which none has it; None: the newest
    has it, or nothing is known of it.  `now`: the source's version there, "" where the package is gone.
    """

    id: str
    aliases: tuple[str, ...]
    source: str
    held_by: tuple[int, ...]
    replaced_by: int | None
    now: str


def exposures(versions: Sequence[Listed], vulnerabilities: Sequence[Vulnerability]) -> list[Exposure]:
    """The findings of each of `versions`.  What cannot be judged is a finding."""
    by_name: dict[str, list[Vulnerability]] = {}
    for vulnerability in vulnerabilities:
        for name in {each.name for each in vulnerability.affected}:
            by_name.setdefault(name, []).append(vulnerability)
    return [Exposure(each, _findings(each, by_name)) for each in versions]


def _findings(listed: Listed, by_name: dict[str, list[Vulnerability]]) -> tuple[Finding, ...] | None:
    if listed.contents is None:
        return None
    system, packages = listed.contents
    found: dict[tuple[str, str, str], tuple[Vulnerability, str, list[str]]] = {}
    for package in packages:
        concerned = {v.id: v for name, _ in names_of(package) for v in by_name.get(name, ())}
        for vulnerability in concerned.values():
            try:
                fixed = fixed_in(vulnerability, package, system)
            except ValueError as error:  # nobody knows, so somebody has to look
                fixed, vulnerability = "", replace(vulnerability, summary=f"cannot be judged: {error}")
            if fixed is not None:
                key = (package.source, vulnerability.id, package.source_version)
                found.setdefault(key, (vulnerability, fixed, []))[2].append(package.name)
    return tuple(
        Finding(v.id, v.aliases, v.summary, source, version, fixed, tuple(sorted(set(names))))
        for (source, _, version), (v, fixed, names) in sorted(found.items(), key=lambda item: item[0])
    )


def fates(exposed: Sequence[Exposure]) -> list[Fate]:
    """What became of everything that was found, by source package and id.  `exposed` ascends by version."""
    found: dict[tuple[str, str], Finding] = {}
    held: dict[tuple[str, str], list[int]] = {}
    for exposure in exposed:
        for finding in exposure.findings or ():
            key = (finding.source, finding.id)
            found[key] = finding
            if exposure.listed.number not in held.setdefault(key, []):
                held[key].append(exposure.listed.number)
    result = []
    for key, finding in sorted(found.items()):
        after = [each for each in exposed if each.listed.number > held[key][-1]]
        proven = after if after and all(each.findings is not None for each in after) else []
        replaced = proven[0].listed if proven else None
        now = ""
        if replaced is not None and replaced.contents is not None:
            now = next((p.source_version for p in replaced.contents[1] if p.source == finding.source), "")
        since = replaced.number if replaced else None
        result.append(Fate(finding.id, finding.aliases, finding.source, tuple(held[key]), since, now))
    return result
