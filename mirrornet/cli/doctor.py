"""mirrornet doctor: is this deployment well, from end to end?"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Adds the verb to `app`."""

    @app.command()
    def doctor(
        zone_file: Annotated[Path, typer.Argument(metavar="ZONE.yaml", help="The zone file that is served.")],
        resolver: Annotated[
            str | None,
            typer.Option(metavar="ADDR:PORT", help="The resolver that clients ask (default: this system's)."),
        ] = None,
        port: Annotated[
            int, typer.Option(metavar="PORT", min=1, max=65535, help="Where the zone's name servers listen.")
        ] = 53,
        state: Annotated[
            Path | None, typer.Option(metavar="DIR", help="The state folder of `serve` (default: the usual one).")
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for a program to read.")] = False,
    ) -> None:
        """Check a deployment from end to end, and say what to mend.

        Delegation or stub; every name server by UDP and TCP, the same serial and answers from all, client subnets
        (ECS), also through the resolver; every mirror at each address, under the select url, its metadata and
        certificate; the clock; world.table, disk, open files, FUSE and the systemd unit here.  It changes nothing.
        Exit code 1 where there is a fault.
        """
        from mirrornet.app.doctor.examination import Options, examine
        from mirrornet.app.doctor.finding import Level
        from mirrornet.app.doctor.resolver import system_resolver
        from mirrornet.app.folders import state_folder
        from mirrornet.config.addresses import endpoint
        from mirrornet.config.faults import Wrong
        from mirrornet.model.errors import InputError

        try:
            whom = endpoint(resolver) if resolver else system_resolver()
        except Wrong as wrong:
            raise InputError(f"--resolver: {wrong.what}" + (f" ({wrong.hint})" if wrong.hint else "")) from None
        found = asyncio.run(examine(Options(zone_file, whom, port, state or state_folder())))
        counts = {level: sum(one.level is level for one in found) for level in Level}
        if as_json:
            lines = [
                {"level": one.level, "check": one.check, "about": one.about, "what": one.what, "mend": one.mend}
                for one in found
            ]
            report = {"faults": counts[Level.FAULT], "warnings": counts[Level.WARNING], "findings": lines}
            print(json.dumps(report, indent=2, ensure_ascii=False))
        else:
            for one in found:
                print(one)
            print(_counted(counts[Level.FAULT], counts[Level.WARNING], counts[Level.OK]))
        if counts[Level.FAULT]:
            raise typer.Exit(1)


def _counted(faults: int, warnings: int, ok: int) -> str:
    """The last line: how many of each."""
    first = f"{faults} fault{'s' * (faults != 1)}, {warnings} warning{'s' * (warnings != 1)}"
    return f"{first}, {ok} check{'s are' if ok != 1 else ' is'} ok"
