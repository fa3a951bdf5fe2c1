"""`mirrornet drain`, `force-up`, `force-down`, `auto` and `overrides`: an operator's word about mirrors.

The four share their arguments, and one reads them all: health/words/asking.py, whose form of a request is also that of
the control socket and of POST /v1/override.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mirrornet.model.override import Override

_Mirrors = Annotated[
    list[str], typer.Argument(metavar="MIRROR", help="Names as in the zone file, or patterns such as 'fra*'.")
]
_Zone = Annotated[str, typer.Option(metavar="ZONE", help="Only in this zone.  Default: in all that the server serves.")]
_For = Annotated[str, typer.Option("--for", metavar="TIME", help="How long it holds, such as 2h, or forever.")]
_Why = Annotated[str, typer.Option(metavar="TEXT", help="The reason, for whoever reads the status page.")]
_State = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The state folder of `serve`.  Default: the system's state folder."),
]


def register(app: typer.Typer) -> None:
    """Adds the verbs to `app`."""
    app.command()(drain)
    app.command(name="force-up")(force_up)
    app.command(name="force-down")(force_down)
    app.command()(auto)
    app.command()(overrides)


def drain(
    mirrors: _Mirrors,
    rate: Annotated[
        float | None,
        typer.Option(
            metavar="PERCENT", help="Part of its weight to take each minute; 0: all of it at once.  Default: 10."
        ),
    ] = None,
    time: _For = "",
    why: _Why = "",
    zone: _Zone = "",
    state: _State = None,
) -> None:
    """Send fewer and fewer clients to mirrors, then none, until `auto` or the end of --for.

    Answers that resolvers keep still name a mirror for the TTL they were given.  Where no server runs, the next one
    begins with it.
    """
    _order(state, action="drain", mirrors=mirrors, rate=rate, why=why, zone=zone, **{"for": time})


def force_up(mirrors: _Mirrors, time: _For = "", why: _Why = "", zone: _Zone = "", state: _State = None) -> None:
    """Send clients to mirrors whatever probes say of them, for a day or the time of --for.

    A client checks every block it reads, so a bad mirror costs it time, never a wrong byte.
    """
    _order(state, action="force-up", mirrors=mirrors, why=why, zone=zone, **{"for": time})


def force_down(mirrors: _Mirrors, time: _For = "", why: _Why = "", zone: _Zone = "", state: _State = None) -> None:
    """Send nobody to mirrors, at once, whatever probes say of them, for a day or the time of --for."""
    _order(state, action="force-down", mirrors=mirrors, why=why, zone=zone, **{"for": time})


def auto(mirrors: _Mirrors, why: _Why = "", zone: _Zone = "", state: _State = None) -> None:
    """Let probes decide again: the end of drain, force-up and force-down.

    A mirror that is named in full is pardoned, too: whether it lied or went up and down, its next probe decides.
    """
    _order(state, action="auto", mirrors=mirrors, why=why, zone=zone)


def overrides(
    state: _State = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a list for programs, one object a mirror.")] = False,
) -> None:
    """List what holds by hand: which mirror, by whom, since when, until when, why."""
    import json

    from mirrornet.app.server.voices.ordering import holding
    from mirrornet.model.override import told

    held, unheeded = holding(state)
    found = [override for _, override in sorted(held.items())]
    if as_json:
        typer.echo(json.dumps([told(override) for override in found], indent=1, ensure_ascii=False))
    else:
        typer.echo("\n".join((*map(_line, found), *unheeded)) or "no mirror has an override")


def _line(override: Override) -> str:
    import time

    from mirrornet.health.words.overrides import described, moment, share

    left = share(override, time.time())
    part = f", {left:.0%} of its weight left" if left < 1 else ""
    return f"{override.zone}: {override.mirror}: {described(override)}, since {moment(override.at)}{part}"


def _order(state: Path | None, **document: Any) -> None:
    from mirrornet.app.server.voices.ordering import order
    from mirrornet.cli.border import say
    from mirrornet.health.words.asking import parse

    document = {key: value for key, value in document.items() if value not in ("", None)}
    parse(document, dash="--")  # so that what is wrong is told in the words of the command line
    lines, warnings = order(document, state)
    typer.echo("\n".join(lines))
    for warning in warnings:
        say(f"warning: {warning}")
