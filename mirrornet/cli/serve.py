"""`mirrornet serve`: the name server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mirrornet.cli.arguments import LogFormat, LogLevel


def register(app: typer.Typer) -> None:
    """Adds the verb to `app`."""

    @app.command()
    def serve(
        zones: Annotated[list[Path], typer.Argument(metavar="ZONE.yaml", help="Zone files; see zones/example.yaml.")],
        listen: Annotated[
            list[str] | None,
            typer.Option(metavar="ADDR:PORT", help="Answer DNS here, by UDP and TCP.  Default: `server: listen`."),
        ] = None,
        http: Annotated[
            str, typer.Option(metavar="ADDR:PORT", help="Status page, /status.json, /metrics, /healthz.")
        ] = "",
        state: Annotated[
            Path | None,
            typer.Option(metavar="DIR", help="Folder for plans and verdicts.  Default: the system's state folder."),
        ] = None,
        workers: Annotated[
            int, typer.Option(metavar="N", min=0, help="Processes that answer.  Default: one a core.")
        ] = 0,
        engine: Annotated[
            str,
            typer.Option(
                metavar="fast|reference", help="fast, or reference: 150 plain lines, for reading and comparing."
            ),
        ] = "fast",
        share: Annotated[
            str,
            typer.Option(metavar="URL", help="Hear other eyes at this Redis.  Default: `server: share`, else none."),
        ] = "",
        share_key: Annotated[
            Path | None,
            typer.Option(metavar="FILE", help="This server's key among the vantages.  Default: `server: share: key`."),
        ] = None,
        log_level: LogLevel = "info",
        log_format: LogFormat = "plain",
    ) -> None:
        """Answer DNS for the zones: each asker gets the nearest healthy mirrors.  SIGHUP reads the files again."""
        from mirrornet.app.logs import configure
        from mirrornet.app.server.serve import Options, run
        from mirrornet.model.errors import InputError

        if engine not in ("fast", "reference"):
            raise InputError(f"--engine {engine}: write fast or reference")
        configure(log_level, log_format)
        run(Options(tuple(zones), tuple(listen or ()), http, state, workers, engine, share, share_key))
