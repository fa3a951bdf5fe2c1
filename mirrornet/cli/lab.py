"""mirrornet lab: an operator's zone, tried on this machine before it is deployed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from mirrornet.cli.arguments import parsed


def register(app: typer.Typer) -> None:
    """Adds the verb to `app`."""
    app.command(name="lab")(lab)


def lab(
    zone_file: Annotated[Path, typer.Argument(metavar="ZONE.yaml", help="The zone file that you would serve.")],
    client: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=WHERE]",
            help="A client, 30 at most; WHERE is LAT,LON or a country, or an address whose place the zone knows.  "
            "Default: a large city on each continent.",
        ),
    ] = None,
    kill: Annotated[
        str, typer.Option(metavar="MIRROR", help="The mirror that is cut off.  Default: the busiest.")
    ] = "",
    select: Annotated[str, typer.Option(metavar="NAME", help="The balanced name.  Default: the first.")] = "",
    rtt: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Measured round trips: a CSV with from,to,ms.")
    ] = None,
    regions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where the places in --rtt are: a CSV with region,latitude,longitude.  Mirrors and clients within "
            "100 km of one have its round trips.",
        ),
    ] = None,
    rate: Annotated[
        float, typer.Option(metavar="MBIT", min=0.1, max=1000, help="Megabits a second between any two.")
    ] = 200.0,
    size: Annotated[str, typer.Option(metavar="SIZE", help="What each client reads before, and again after.")] = "8M",
    wait: Annotated[
        str, typer.Option(metavar="TIME", help="How long to wait for fresh answers, and for reads.")
    ] = "2m",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for a program to read.")] = False,
) -> None:
    """Try a zone file on this machine: its mirrors, name servers and clients with real distances between them.

    Web servers, name servers, resolvers and clients run in network namespaces of their own; nothing leaves this
    machine.  Each client mounts a small test image through the zone and reads it; then a mirror is cut off, and all
    read on.  Needs root, /dev/net/tun, nginx, unbound and dig.

        mirrornet lab zones/example.yaml --client home=48.1,11.6 --client office=198.51.100.7 --kill paris
    """
    from mirrornet.app.lab import LabOptions
    from mirrornet.app.lab import lab as run
    from mirrornet.cli.border import say
    from mirrornet.lab.report import text
    from mirrornet.model.units import parse_duration, parse_size

    options = LabOptions(
        zone_file=zone_file,
        clients=tuple(client or ()),
        select=select,
        kill=kill,
        rtt=rtt,
        regions=regions,
        rate=rate,
        read_bytes=parsed("--size", parse_size, size),
        wait=parsed("--wait", parse_duration, wait),
    )
    report = run(options, say)
    print(json.dumps(report.json(), indent=2, ensure_ascii=False) if as_json else text(report))
