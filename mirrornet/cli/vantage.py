"""`mirrornet vantage`: eyes elsewhere for the name servers of a zone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mirrornet.cli.arguments import LogFormat, LogLevel


def register(app: typer.Typer) -> None:
    """Adds the verb to `app`."""

    @app.command()
    def vantage(
        zones: Annotated[list[Path], typer.Argument(metavar="ZONE.yaml", help="The zone files of the name servers.")],
        name: Annotated[str, typer.Option(metavar="NAME", help="Who this is, under `server: vantages`.")],
        key: Annotated[Path, typer.Option(metavar="FILE", help="Its key, as `keygen --vantage FILE` made it.")],
        share: Annotated[
            str, typer.Option(metavar="URL", help="Redis or Valkey.  Default: `server: share` of the zone file.")
        ] = "",
        password: Annotated[
            Path | None, typer.Option(metavar="FILE", help="A file with the password of Redis.  Default: as --share.")
        ] = None,
        state: Annotated[
            Path | None,
            typer.Option(metavar="DIR", help="Folder for what it remembers.  Default: in the system's state folder."),
        ] = None,
        log_level: LogLevel = "info",
        log_format: LogFormat = "plain",
    ) -> None:
        """Probe the mirrors from here and tell the zone's name servers, signed, by Redis.

        SIGHUP reads the files again.  An encrypted key is opened with MIRRORNET_PASSPHRASE.
        """
        from mirrornet.app.logs import configure
        from mirrornet.app.vantage import VantageOptions, run

        configure(log_level, log_format)
        run(VantageOptions(tuple(zones), name, key, share, password, state))
