"""mirrornet simulate: who would be sent elsewhere?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Adds the verb to `app`."""

    @app.command()
    def simulate(
        zone_file: Annotated[Path, typer.Argument(metavar="ZONE.yaml", help="The zone file as it is now.")],
        against: Annotated[
            Path | None, typer.Option(metavar="OTHER.yaml", help="The zone file as it would be.")
        ] = None,
        down: Annotated[
            list[str] | None, typer.Option(metavar="MIRROR,...", help="These mirrors would be down.")
        ] = None,
        table: Annotated[Path | None, typer.Option(metavar="OTHER", help="The world.table as it would be.")] = None,
        clients: Annotated[
            Path | None,
            typer.Option(
                metavar="FILE",
                help="Count these addresses, one a line or a CSV with a column of them, instead of all that is "
                "announced.",
            ),
        ] = None,
        limit: Annotated[
            float | None,
            typer.Option(
                metavar="PERCENT", min=0, max=100, help="Exit with 3 if more than this would move, of either family."
            ),
        ] = None,
        state: Annotated[
            Path | None,
            typer.Option(
                metavar="DIR",
                help="Take verdicts and reports from this state folder of `serve`.  Default: all mirrors are up.",
            ),
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for a program to read.")] = False,
    ) -> None:
        """Say who would be sent elsewhere if the zone file, the mirrors or the world.table changed.

        Which share of addresses moves from which mirror to which; the change in estimated milliseconds; each mirror's
        load beside its weight; the number of different answers; the scopes that resolvers have to keep; what
        dual-stack clients lose.  Without --against, --down and --table it describes the zone as it is.

            mirrornet simulate zone.yaml --down tokyo,paris
            mirrornet simulate zone.yaml --table new.table --limit 5 && mv new.table world.table
        """
        from mirrornet.app.server.showing.simulating import Questions, answer
        from mirrornet.dns.simulate.text import percent, text
        from mirrornet.model.errors import InputError, LimitError

        names = [name.strip() for part in down or () for name in part.split(",")]
        if not all(names):
            raise InputError("--down: a mirror's name is empty: write --down tokyo,paris")
        questions = Questions(zone_file, against, tuple(dict.fromkeys(names)), table, clients, state)
        if limit is not None and not questions.changes:
            raise InputError("--limit: nothing changes: give --against, --down or --table")
        found = answer(questions)
        if as_json:
            print(json.dumps({"simulations": [one.json() for one in found]}, indent=2, ensure_ascii=False))
        else:
            print("\n\n".join(text(one) for one in found))
        for one in found:
            if limit is not None and one.moved * 100 > limit:
                raise LimitError(f"{one.select}: {percent(one.moved)} move, and --limit is {limit:g} %")
