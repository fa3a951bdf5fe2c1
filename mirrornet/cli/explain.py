"""mirrornet explain: why does this client get these mirrors?"""

from __future__ import annotations

import json
import shutil
import sys
import time
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
        from mirrornet.app.server.measuring import as_served
        from mirrornet.app.server.verdicts import read
        from mirrornet.app.server.world import load_world
        from mirrornet.dns.explain import Scopes
        from mirrornet.dns.explain import explain as reason
        from mirrornet.dns.explain_text import WIDEST, text
        from mirrornet.dns.message.rrset import name_to_text
        from mirrornet.dns.planning.hops import graph_of, terms_of
        from mirrornet.dns.planning.plan import Planner
        from mirrornet.dns.ranking.policy import policy_of
        from mirrornet.dns.ranking.whereabouts import NOWHERE, placed_mirrors, whereabouts
        from mirrornet.model.address import Address, key, parse_address
        from mirrornet.model.sets import SECTION, Sets
        from mirrornet.model.table import Match
        from mirrornet.model.verdict import State, Verdict

        client = parsed("ADDRESS", parse_address, address)
        world = load_world([zone_file])
        (zone,), table = world.zones, world.table
        folder = state or state_folder()
        known, measured = read(folder), as_served(folder, world, time.time())
        verdicts = None if known is None else known.get(zone.name)
        assumed = verdicts is None
        if verdicts is None:
            verdicts = {m.name: Verdict(State.UP, float("inf"), reason="taken as up") for m in zone.mirrors}

        def find(where: Address) -> Match:
            return NOWHERE if table is None else table.match(where)

        plan = Planner([zone], table, {}, measured).plan({zone.name: verdicts}, 0)
        family, value = key(client)
        scopes: Scopes = {
            (name_to_text(name), rtype): plan.partitions[entry.partition].family(family).find(value)[1]
            for name, node in plan.nodes.items()
            for rtype, entry in node.entries.items()
            if entry.partition >= 0
        }
        match, mirrors = whereabouts(zone, find, client), placed_mirrors(zone, find)
        terms = terms_of(zone, mirrors, graph_of(table), measured.get(zone.name))
        policy = policy_of(zone, None if table is None else Sets.read(table.section(SECTION)))
        found = [reason(zone, s, client, match, mirrors, verdicts, scopes, assumed, terms, policy) for s in zone.select]
        if as_json:
            print(json.dumps({"explanations": [one.json() for one in found]}, indent=2, ensure_ascii=False))
        else:
            width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDEST
            print("\n\n".join(text(one, width) for one in found))
