"""`mirrornet profile`: what boots read, as recorded here; shown, merged, written for `publish --profile` to sign."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mirrornet.cli.client import StateFolder


def register(app: typer.Typer) -> None:
    """Adds the verb to `app`."""
    app.command(name="profile")(profile)


def profile(
    what: Annotated[
        str, typer.Argument(metavar="MOUNTPOINT|NAME[@VERSION]", help="A mount, or an image that was used here.")
    ],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the profile there.")] = None,
    merge: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A profile or recordings from another machine.  May be repeated."),
    ] = None,
    state: StateFolder = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what there is as JSON.")] = False,
) -> None:
    """Tell what the boots of an image read first, and write that down for the publisher.

    A mount records which blocks are read first, for two minutes.  What most boots have in common is the profile: the
    publisher signs it with the next version, and clients fetch it ahead of the guest.

        mirrornet profile /mnt --out boot.profile
        mirrornet publish debian.img --name debian --repo repo --keys keys --profile boot.profile
    """
    import json

    from mirrornet.app.client.recorded import known, report, written
    from mirrornet.app.folders import state_folder
    from mirrornet.cli.mount import absolute

    found = known(what, absolute(Path(what)), state.absolute() if state else state_folder())
    made = written(found, merge or [], out)
    if as_json:
        typer.echo(json.dumps(report(found, made), indent=1))
        return
    told = report(found, made)
    for run in told["recordings"]:
        kind = "boot" if run["boot"] else "mount"
        typer.echo(f"{run['at']}  {kind}: {run['blocks']} blocks in {run['seconds']:.1f} s")
    if made is None:
        typer.echo("nothing that most of them have in common" if told["recordings"] else "nothing was recorded yet")
        return
    typer.echo(f"profile: {len(made.blocks)} blocks, {told['size']}, of {found.path}")
    if out is not None:
        typer.echo(f"written to {out}")
