"""The publisher's verb `vulnerabilities`: which versions hold what is known to be vulnerable, and which replaced it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mirrornet.cli.border import say
from mirrornet.cli.publisher import Repo

if TYPE_CHECKING:
    from mirrornet.image.contents.exposure import Exposure, Fate


def register(app: typer.Typer) -> None:
    """Adds the verb to `app`."""
    app.command(name="vulnerabilities")(vulnerabilities)


def vulnerabilities(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The image.")],
    repo: Repo,
    osv: Annotated[
        list[Path],
        typer.Option(
            metavar="FILE", help="OSV records: .json, .jsonl, a folder, or osv.dev's .zip of an ecosystem.  Repeatable."
        ),
    ],
    more: Annotated[list[Path] | None, typer.Argument(metavar="[FILE]...", help="More files of records.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings for programs.")] = False,
) -> None:
    """Tell which retained versions hold known-vulnerable packages, and which version replaced them.

    By the signed list of packages of each version.  Exit code 1 if the newest version holds any, or has no list.

        mirrornet vulnerabilities debian --repo repo --osv all.zip
    """
    import dataclasses

    from mirrornet.image.contents.advisories import read_advisories
    from mirrornet.image.contents.exposure import exposures, fates
    from mirrornet.image.contents.lists import listed_versions, names_in
    from mirrornet.image.fetch import file_fetch
    from mirrornet.image.publishing.listing import listed

    versions = listed_versions(listed(repo, time.time()), name, file_fetch(repo))
    exposed = exposures(versions, read_advisories([*osv, *(more or ())], names_in(versions)))
    became = fates(exposed)
    if as_json:
        rows = [
            {
                "version": each.listed.number,
                "created": each.listed.created,
                "sbom": each.listed.sbom or None,
                "packages": None if each.listed.contents is None else len(each.listed.contents[1]),
                "findings": None if each.findings is None else [dataclasses.asdict(f) for f in each.findings],
            }
            for each in exposed
        ]
        print(json.dumps({"image": name, "versions": rows, "fates": [dataclasses.asdict(f) for f in became]}, indent=1))
    else:
        _print(name, exposed, became)
    newest = exposed[-1]
    if newest.findings is None:
        say(f"{name} version {newest.listed.number}: it has no list of packages, so nothing is known of it")
        raise typer.Exit(1)
    if newest.findings:
        say(f"{name} version {newest.listed.number}, the newest, holds {len(newest.findings)} known vulnerabilities")
        raise typer.Exit(1)


def _print(name: str, exposed: list[Exposure], became: list[Fate]) -> None:
    for each in exposed:
        head = f"{name} version {each.listed.number} of {each.listed.created}"
        if each.findings is None or each.listed.contents is None:
            print(f"{head}: no list of packages")
            continue
        of = f"of {len(each.listed.contents[1])} packages (signed list sha256:{each.listed.sbom[:16]}…)"
        sources = len({finding.source for finding in each.findings})
        print(f"{head}: {sources or 'none'} {of}{' vulnerable' if sources else ' known to be vulnerable'}")
        for finding in each.findings:
            fixed = f", fixed in {finding.fixed}" if finding.fixed else ", no fix named"
            print(f"    {finding.source} {finding.version}: {_called(finding.id, finding.aliases)}{fixed}")
    for fate in became:
        held = ", ".join(map(str, fate.held_by))
        what = f"{_called(fate.id, fate.aliases)} in {fate.source}: held by version {held}"
        if fate.replaced_by is None:
            print(f"{what}; NOT replaced")
        else:
            print(f"{what}; replaced in version {fate.replaced_by} by {fate.now or 'nothing, the package is gone'}")


def _called(id_: str, aliases: tuple[str, ...]) -> str:
    others = [alias for alias in aliases if alias.startswith("CVE-")]
    return f"{id_} ({', '.join(others[:3])}{', …' if len(others) > 3 else ''})" if others else id_
