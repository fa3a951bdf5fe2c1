"""mirrornet check: are these zone files sound?"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from mirrornet.cli.border import one_line


def register(app: typer.Typer) -> None:
    """Adds the verb to `app`."""

    @app.command()
    def check(
        zones: Annotated[
            list[Path], typer.Argument(metavar="ZONE.yaml", help="Zone files that will be served together.")
        ],
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for a program to read.")] = False,
    ) -> None:
        """Say whether zone files are sound: every fault of all of them, with its line and what to write instead.

        Exit code 0 where they can be served (warnings are printed), 2 where they cannot.  The file zones/example.yaml
        explains every key.
        """
        from mirrornet.app.server.worlds.world import examine_all

        found, _, problems = examine_all(zones)
        faults = [problem for problem in problems if not problem.warning]
        lines = [] if faults else [_praise(zone.file, len(zone.mirrors), len(zone.select)) for zone in found]
        if as_json:
            report = {
                "sound": not faults,
                "zones": [
                    {
                        "file": str(zone.file),
                        "zone": zone.name,
                        "serial": zone.serial,
                        "mirrors": [mirror.name for mirror in zone.mirrors],
                        "select": [zone.select_fqdn(select) for select in zone.select],
                    }
                    for zone in (() if faults else found)
                ],
                "problems": [
                    {
                        "file": problem.file,
                        "line": problem.line,
                        "what": problem.what,
                        "hint": problem.hint,
                        "warning": problem.warning,
                    }
                    for problem in problems
                ],
            }
            print(json.dumps(report, indent=2))
        else:
            for problem in problems:
                with contextlib.suppress(OSError):  # the exit code tells it, too
                    print(one_line(str(problem)), file=sys.stderr)
            for line in lines:
                print(line)
        if faults:
            raise typer.Exit(2)


def _praise(file: Path, mirrors: int, names: int) -> str:
    return f"{file}: sound: 1 zone, {_count(mirrors, 'mirror')}, {_count(names, 'select name')}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
