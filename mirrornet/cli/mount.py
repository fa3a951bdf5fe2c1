"""`mirrornet mount`, `umount` and `status`, and the arguments that mount(8) gives for a line of fstab."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mirrornet.cli.behind import leave
from mirrornet.cli.client import LogFile, client_verb
from mirrornet.model.errors import InputError
from mirrornet.model.names import suggest

if TYPE_CHECKING:
    from mirrornet.app.client.session import ClientOptions

# Options of `mirrornet mount` as fstab writes them, and whether they take a value.
_FSTAB = {
    "root": True, "version": True, "cache": True, "cache-size": True, "resolver": True, "state": True, "log": True,
    "read-deadline": True, "offline": False, "require-fresh": False,
    "share-rtt": False, "prefetch": True, "overlay": True,
}  # fmt: skip
# What mount(8) and systemd understand themselves; a mount of ours is read-only, so most of it holds anyway.
_SYSTEM = frozenset(
    {
        "ro", "defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group", "nofail", "_netdev", "sync",
        "suid", "nosuid", "dev", "nodev", "exec", "noexec", "async", "atime", "noatime", "relatime", "norelatime",
        "strictatime", "lazytime", "nolazytime", "diratime", "nodiratime",
    }
)  # fmt: skip


def register(app: typer.Typer) -> None:
    """Adds the three verbs to `app`."""
    app.command(name="mount")(mount)
    app.command(name="umount")(umount)
    app.command(name="status")(status)


@client_verb()
def mount(
    client: ClientOptions,
    mountpoint: Annotated[
        Path, typer.Argument(metavar="MOUNTPOINT", help="An empty folder; the image becomes MOUNTPOINT/NAME.raw.")
    ],
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay in the foreground and log to stderr.")] = False,
    log: LogFile = None,
    overlay: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Show the image's files instead, writable; DIR takes what is written."),
    ] = None,
) -> None:
    """Mount an image, read-only, from the nearest mirrors.

    It returns when the first read works and leaves a process behind that answers reads until `mirrornet umount`.
    MOUNTPOINT/NAME.raw is the whole disk; `mount -o loop,ro` shows the files in it, and so does --overlay, which lets
    them be written, too.  What is written belongs to that version of the image.

        mirrornet mount select.example.net debian /mnt --root sha256:...
    """
    from mirrornet.app.client.mount import MountOptions, run
    from mirrornet.app.client.mounts import socket_path
    from mirrornet.app.client.overlay import Overlay, put_up, standing
    from mirrornet.app.folders import state_folder

    over = None
    if overlay is not None:
        if foreground:
            raise InputError("--overlay: leave --foreground out: what lies over the image is mounted by this command")
        over = Overlay(absolute(mountpoint), overlay.absolute())
    options = MountOptions(client, over.image if over else absolute(mountpoint))
    fallback = (client.state or state_folder()) / "log" / f"{socket_path(options.mountpoint).stem}.log"
    with standing(over, client.name) if over else nullcontext():
        leave(lambda ready: run(options, ready), foreground=foreground, log=log, fallback=fallback)
        if over:
            put_up(over)


def umount(
    mountpoint: Annotated[Path, typer.Argument(metavar="MOUNTPOINT", help="Where the image is mounted.")],
    force: Annotated[
        bool, typer.Option("--force", help="Even if something still holds it, whose reads fail from then on.")
    ] = False,
) -> None:
    """Unmount an image, or say what still holds it."""
    from mirrornet.app.client import overlay

    overlay.umount(absolute(mountpoint), force=force)


def status(
    mountpoint: Annotated[
        Path | None, typer.Argument(metavar="[MOUNTPOINT]", help="One mount; all of this user's when left out.")
    ] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Look for a newer version first, which else happens once an hour.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a list for programs, one object a mount.")] = False,
) -> None:
    """Tell what the mounts of this machine do: their mirrors and what those are blamed for, reads, stalls, cache.

    Also whether a newer version is out and what it would cost, and whether the image would boot without a network.
    """
    import json
    import time

    from mirrornet.app.client.overlay import statuses
    from mirrornet.app.client.telling import text

    found = statuses(absolute(mountpoint) if mountpoint else None, refresh=refresh)
    if as_json:
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        typer.echo("\n\n".join(text(each, time.time()) for each in found) or "no image is mounted")


def absolute(mountpoint: Path) -> Path:
    """The mount point's real path, without looking at the mount point itself: that might wait for its process."""
    if str(mountpoint).startswith("nbd:"):
        return mountpoint  # an export on TCP
    path = mountpoint.absolute()
    return path.parent.resolve() / path.name if path.name not in ("", "..") else path.resolve()


def fstab_arguments(argv: list[str]) -> list[str]:
    """The arguments of `mirrornet` for those of mount.mirrornet: SOURCE#NAME MOUNTPOINT [-sfnv] [-o OPTIONS] [-t TYPE].

    Raises InputError with a hint where an option is not known.
    """
    plain: list[str] = []
    options: list[str] = []
    rest = iter(argv)
    for word in rest:
        if word in ("-o", "-t", "-N"):
            value = next(rest, None)
            if value is None:
                raise InputError(f"mount.mirrornet: {word} needs a value")
            if word == "-o":
                options += value.split(",")
        elif word.startswith("-o") and len(word) > 2:
            options += word[2:].split(",")
        elif word.startswith("-") and set(word[1:]) <= set("sfnvrh"):
            continue
        else:
            plain.append(word)
    if len(plain) != 2:
        raise InputError("mount.mirrornet: expected SOURCE#NAME MOUNTPOINT [-o OPTIONS]")
    source, separator, name = plain[0].rpartition("#")
    if not separator or not source or not name:
        raise InputError(f"mount.mirrornet: {plain[0]!r} is not SOURCE#NAME, such as select.example.net#debian")
    arguments = ["mount", source, name, plain[1]]
    for option in filter(None, options):
        key, equals, value = option.partition("=")
        if key in _FSTAB:
            if bool(equals) != _FSTAB[key]:
                raise InputError(f"mount.mirrornet: the option {key} takes {'a' if _FSTAB[key] else 'no'} value")
            arguments += [f"--{key}", value] if equals else [f"--{key}"]
        elif key == "rw":
            raise InputError("mount.mirrornet: an image is read-only: write ro")
        elif key not in _SYSTEM and not key.startswith(("x-", "comment")):
            hint = suggest(key, [*_FSTAB, "ro"]) or f"there are {', '.join(_FSTAB)}"
            raise InputError(f"mount.mirrornet: the option {option!r} is not known; {hint}")
    if "--root" not in arguments:
        raise InputError("mount.mirrornet: the option root is missing: -o root=sha256:HEX, or the path of a root.json")
    return arguments
