"""`mirrornet boot`: an image in a virtual machine."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from mirrornet.cli.arguments import parsed
from mirrornet.cli.border import say
from mirrornet.cli.client import LogFile, client_verb
from mirrornet.model.errors import InputError

if TYPE_CHECKING:
    from mirrornet.app.client.session import ClientOptions


def register(app: typer.Typer) -> None:
    """Adds the verb to `app`."""
    app.command(name="boot")(boot)


@client_verb(read_deadline="never")
def boot(
    client: ClientOptions,
    memory: Annotated[str, typer.Option(metavar="SIZE", help="The guest's memory.")] = "1G",
    accel: Annotated[
        str,
        typer.Option(metavar="kvm|tcg", help="Run the guest on the processor, or emulate one.  Default: what works."),
    ] = "",
    ephemeral: Annotated[
        bool, typer.Option("--ephemeral", help="Forget what the guest writes when it is switched off.")
    ] = False,
    qemu: Annotated[
        list[str] | None,
        typer.Option("--qemu", metavar="ARGUMENTS", help="More for QEMU, such as '-smp 2'.  May be repeated."),
    ] = None,
    log: LogFile = None,
) -> None:
    """Boot an image in a virtual machine (QEMU), from the nearest mirrors.

    The guest's console is this terminal; Ctrl-A x switches it off, Ctrl-A h tells of more keys.  It starts the kernel
    that was published with the image, or else the image's own boot loader.  What it writes is kept on this machine, for
    the next boot of the same version.  The exit code is QEMU's.

        mirrornet boot select.example.net debian --root sha256:...
    """
    from mirrornet.app import daemon
    from mirrornet.app.client.boot import BootOptions
    from mirrornet.app.client.boot import boot as run
    from mirrornet.app.folders import state_folder
    from mirrornet.client.guest import check_memory, extra_arguments
    from mirrornet.model.units import parse_size

    if accel not in ("", "kvm", "tcg"):
        raise InputError(f"--accel {accel}: there are kvm and tcg")
    options = BootOptions(
        replace(client, boots=True),
        memory=check_memory(parsed("--memory", parse_size, memory)),
        accel="kvm" if accel == "kvm" else "tcg" if accel == "tcg" else None,
        ephemeral=ephemeral,
        extra=extra_arguments(qemu or ()),
    )
    logfile = log.absolute() if log else None
    fallback = (client.state or state_folder()) / "log" / "boot.log"
    code = run(options, say, lambda: daemon.log_to(logfile, fallback, foreground=False))
    if code:
        raise typer.Exit(code)
