"""mirrornet explain: why does this client get these mirrors?"""

from __future__ import annotations

import json
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from mirrornet.cli.arguments import parsed


def register(app: typer.Typer) -> None:
    """Adds the verb to `app`."""

    @app.command()
    def explain(
        zone_file: Annotated[Path, typer.Argument(metavar="ZONE.yaml", help="The zone file that is served.")],
        address: Annotated[str, typer.Argument(metavar="ADDRESS", help="The client's IPv4 or IPv6 address.")],
        state: Annotated[
            Path | None,
            typer.Option(
                metavar="DIR", help="The state folder of `serve`, for the mirrors' verdicts (default: the usual one)."
            ),
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for a program to read.")] = False,
    ) -> None:
        """Say why a client gets the mirrors it gets.

        Its place and how we know; each mirror with its estimate, its verdict and why it is in or out; the answers,
        their TTLs and scopes.  Mirrors are taken as up where the state folder holds no verdicts.
        """
        from mirrornet.app.folders import state_folder
        from mirrornet.app.server.showing.explaining import SEVERAL, Reasons
        from mirrornet.app.server.verdicts import read
        from mirrornet.app.server.voices.measuring import as_served
        from mirrornet.app.server.worlds.world import load_world
        from mirrornet.dns.explain_text import WIDEST, text
        from mirrornet.dns.planning.plan import Planner
        from mirrornet.model.address import parse_address
        from mirrornet.model.verdict import State, Verdict

        client = parsed("ADDRESS", parse_address, address)
        world = load_world([zone_file])
        (zone,) = world.zones
        folder = state or state_folder()
        known = read(folder)
        world = replace(world, measured=as_served(folder, world, time.time()))
        verdicts = None if known is None else known.get(zone.name)
        assumed = verdicts is None
        if verdicts is None:
            verdicts = {m.name: Verdict(State.UP, float("inf"), reason="taken as up") for m in zone.mirrors}
        plan = Planner([zone], world.table, {}, world.measured).plan({zone.name: verdicts}, 0)
        found = Reasons(world, zone).explain(client, plan, verdicts, assumed)
        if as_json:
            print(json.dumps({"explanations": [one.json() for one in found]}, indent=2, ensure_ascii=False))
        else:
            width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDEST
            print(SEVERAL.join(text(one, width) for one in found))
