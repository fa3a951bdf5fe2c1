"""The mirror operator's verb `sync`: a verified copy of a repository, run from cron."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from mirrornet.cli.arguments import parsed, root_argument
from mirrornet.cli.border import say
from mirrornet.cli.client import ResolverAddress, Root, StateFolder
from mirrornet.cli.publisher import progress


def register(app: typer.Typer) -> None:
    """Adds the verb to `app`."""
    app.command(name="sync")(sync)


def sync(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="A select name (select.example.net), repository URLs joined by commas, or a folder."
        ),
    ],
    into: Annotated[Path, typer.Argument(metavar="DIR", help="The folder that your web server serves; made if new.")],
    root: Root,
    jobs: Annotated[int, typer.Option(metavar="N", min=1, max=64, help="Files fetched at once.")] = 8,
    limit_rate: Annotated[
        str, typer.Option(metavar="RATE", help="Bytes a second at most, such as 2M.  [default: no limit]")
    ] = "",
    grace: Annotated[str, typer.Option(metavar="TIME", help="Keep what is not needed any more for so long.")] = "30d",
    verify: Annotated[
        bool, typer.Option("--verify", help="Read what is here already, and fetch again what is damaged.")
    ] = False,
    state: StateFolder = None,
    resolver: ResolverAddress = "",
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Say nothing unless something is wrong, as cron likes it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report for programs.")] = False,
) -> None:
    """Make DIR a verified copy of a repository: fetch what is missing, then its metadata.

    It may be stopped at any moment and run again; until it is done DIR is what it was before.  From cron:

        mirrornet sync https://mirror.example/os /srv/www/os --root sha256:... --quiet
    """
    import contextlib
    import dataclasses

    from mirrornet.app.copying import run_sync
    from mirrornet.image.copying.sync import SyncOptions
    from mirrornet.model.errors import InputError
    from mirrornet.model.units import format_duration, format_size, parse_duration, parse_size

    rate = parsed("--limit-rate", parse_size, limit_rate.removesuffix("/s")) if limit_rate else None
    if rate is not None and rate < 1024:
        raise InputError(f"--limit-rate {limit_rate}: that is less than 1 KiB a second; write 2M for 2 MiB a second")
    options = SyncOptions(jobs, rate, parsed("--grace", parse_duration, grace), verify)
    with contextlib.nullcontext() if quiet else progress("copying") as tell:
        report = run_sync(
            source,
            into,
            root_argument(root),
            options,
            state=state,
            resolver=resolver,
            now=time.time(),
            progress=tell,
        )
    if as_json:
        print(json.dumps(dataclasses.asdict(report)))
        return
    for warning in report.warnings:
        say(f"warning: {warning}")
    if quiet:
        return
    news = "now" if report.new else "still"
    removed = f", {report.removed} files removed" if report.removed else ""
    print(
        f"{into}: {news} at snapshot {report.snapshot}, timestamp {report.timestamp}: {report.files} files, "
        f"{format_size(report.bytes)} fetched, {report.there} here before{removed}, {format_duration(report.seconds)}"
    )
