"""`mirrornet nbd`: an image for QEMU, containers and systems without FUSE."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mirrornet.cli.behind import Ready, leave
from mirrornet.cli.client import LogFile, client_verb
from mirrornet.cli.mount import absolute
from mirrornet.model.errors import InputError

if TYPE_CHECKING:
    from mirrornet.app.client.session import ClientOptions


def register(app: typer.Typer) -> None:
    """Adds the verb to `app`."""
    app.command(name="nbd")(nbd)


@client_verb()
def nbd(
    client: ClientOptions,
    socket: Annotated[
        Path | None, typer.Option("--socket", metavar="PATH", help="Export on a unix socket, which is yours alone.")
    ] = None,
    listen: Annotated[
        str,
        typer.Option(metavar="ADDR:PORT", help="Export on TCP instead; whoever reaches that may read the image."),
    ] = "",
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay in the foreground and log to stderr.")] = False,
    log: LogFile = None,
) -> None:
    """Export an image, read-only, by NBD (network block device), from the nearest mirrors.

    It needs neither FUSE nor root.  It prints the export's URI and leaves a process behind that answers reads until
    `mirrornet umount PATH` (or nbd://ADDR:PORT); `mirrornet status` tells of it.

        mirrornet nbd select.example.net debian --root sha256:... --socket /tmp/debian.sock
    """
    from mirrornet.app.client.mounts import socket_path
    from mirrornet.app.client.nbd import NbdOptions, parse_listen, run
    from mirrornet.app.folders import state_folder

    if (socket is None) == (not listen):
        raise InputError("name one place to export at: --socket PATH, or --listen ADDR:PORT")
    options = NbdOptions(client, absolute(socket) if socket else None, parse_listen(listen) if listen else None)
    fallback = (client.state or state_folder()) / "log" / f"{socket_path(options.place).stem}.log"

    def work(ready: Ready) -> None:
        def told(warnings: list[str]) -> None:
            ready(warnings)
            if foreground:
                typer.echo(options.uri(client.name))

        run(options, told)

    leave(work, foreground=foreground, log=log, fallback=fallback)
    if not foreground:
        typer.echo(options.uri(client.name))
