"""`mirrornet audit`: what a repository or each of many mirrors really holds."""

from __future__ import annotations

import dataclasses
import json
import random
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mirrornet.cli.arguments import parsed, root_argument
from mirrornet.cli.border import say
from mirrornet.cli.client import ResolverAddress, Root

if TYPE_CHECKING:
    from mirrornet.image.copying.audit import MirrorReport


def register(app: typer.Typer) -> None:
    """Adds the verb to `app`."""
    app.command(name="audit")(audit)


def audit(
    root: Root,
    urls: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[DIR|URL]...", help="Repositories: folders, URLs, or select names, which are all their mirrors."
        ),
    ] = None,
    repo: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="One more folder.  Of folders it is also told what nothing needs."),
    ] = None,
    sample: Annotated[
        str, typer.Option(metavar="SHARE", help="How many of the files to read, such as 1% or 100%; 20 at least.")
    ] = "1%",
    lag: Annotated[
        str, typer.Option(metavar="TIME", help="A mirror further behind the newest of them is wrong.")
    ] = "1d",
    jobs: Annotated[int, typer.Option(metavar="N", min=1, max=32, help="Requests at once to one mirror.")] = 4,
    patience: Annotated[str, typer.Option(metavar="TIME", help="For one mirror at most.")] = "1h",
    resolver: ResolverAddress = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print a list for programs, one object a mirror.")] = False,
) -> None:
    """Prove what a repository, or each of many mirrors, holds: versions, lag, missing, corrupt, extra.

    Every mirror has to hold what its own signed metadata names.  Exit code 1 if anything is wrong.

        mirrornet audit https://one.example/os https://two.example/os --root sha256:... --sample 5%
    """
    from mirrornet.app.copying import run_audit
    from mirrornet.image.copying.audit import AuditOptions
    from mirrornet.model.units import parse_duration, parse_share

    options = AuditOptions(
        sample=parsed("--sample", parse_share, sample),
        jobs=jobs,
        lag=parsed("--lag", parse_duration, lag),
        patience=parsed("--patience", parse_duration, patience),
    )
    reports = run_audit(
        urls or [],
        repo,
        root_argument(root),
        options,
        resolver=resolver,
        now=time.time(),
        dice=random.Random(),
        done=lambda name: None if as_json else say(f"{name}: looked at"),
    )
    if as_json:
        print(json.dumps([dataclasses.asdict(report) for report in reports], indent=1, ensure_ascii=False))
    else:
        _print(reports)
    wrong = [report for report in reports if report.wrong]
    if wrong:
        say(f"{len(wrong)} of {len(reports)} mirrors are not well")
        raise typer.Exit(1)


def _print(reports: list[MirrorReport]) -> None:
    from mirrornet.model.units import format_duration, format_size

    rows = [("mirror", "snapshot", "timestamp", "expires", "lag", "read", "missing", "corrupt", "extra")]
    for report in reports:
        known = report.timestamp is not None and report.expires is not None
        extra = "-" if report.extra is None else f"{report.extra} ({format_size(report.extra_bytes or 0)})"
        rows.append(
            (
                report.name,
                str(report.snapshot) if known else "?",
                str(report.timestamp) if known else "?",
                f"{datetime.fromtimestamp(report.expires or 0, UTC):%Y-%m-%d %H:%M}" if known else "?",
                ("none" if not report.lag else format_duration(report.lag)) if known else "?",
                f"{report.checked} of {report.needed}" if known else "?",
                str(len(report.missing)),
                str(len(report.corrupt)),
                extra,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for report in reports:
        for line in report.wrong:
            print(f"{report.name}: {line}")
