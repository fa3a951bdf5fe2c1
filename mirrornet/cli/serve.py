"""`mirrornet serve`: the name server."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Adds the verb."""

    @app.command()
    def serve(
        zones: list[Path] = typer.Argument(..., metavar="ZONE.yaml...", help="Zone files; see zones/example.yaml."),
        listen: list[str] = typer.Option(
            [], metavar="ADDR:PORT", help="Where to answer DNS over UDP and TCP; default: the file's `server: listen`."
        ),
        http: str = typer.Option("", metavar="ADDR:PORT", help="Where /status.json, /metrics and /healthz are."),
        state: Path = typer.Option(None, help="Folder for the plan and verdicts.  Default: the system's state folder."),
        workers: int = typer.Option(0, min=0, help="Processes that answer; default: the file's, or one a core."),
        engine: str = typer.Option("fast", help="fast, or reference: 150 plain lines, for reading and comparing."),
        log_level: str = typer.Option("info", help="debug, info, warning or error; the log goes to stderr."),
    ) -> None:
        """Answer DNS for the zones: each asker gets the nearest healthy mirrors."""
        import logging

        from mirrornet.app.serve import Options, run
        from mirrornet.model.errors import InputError

        if engine not in ("fast", "reference"):
            raise InputError(f"--engine {engine}: write fast or reference")
        level = logging.getLevelName(log_level.upper())
        if not isinstance(level, int):
            raise InputError(f"--log-level {log_level}: write debug, info, warning or error")
        logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        run(Options(tuple(zones), tuple(listen), http, state, workers, engine))
