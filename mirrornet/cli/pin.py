"""`mirrornet pin`: what must stay in the cache, whatever else wants room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mirrornet.cli.arguments import parsed, root_argument
from mirrornet.cli.client import CacheFolder, CacheSize, StateFolder
from mirrornet.model.errors import InputError

if TYPE_CHECKING:
    from mirrornet.app.client.pinning import Pinned


def register(app: typer.Typer) -> None:
    """Adds the verb to `app`."""
    app.command(name="pin")(pin)


def pin(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME[@VERSION]]...", help="Images mounted or pulled here before; the latest version unless said."
        ),
    ] = None,
    show: Annotated[
        bool, typer.Option("--list", help="Show what is pinned, by whom, and how much of it is here.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Unpin them.")] = False,
    profile_only: Annotated[
        bool, typer.Option("--profile-only", help="Only the index and the blocks that a boot touches.")
    ] = False,
    root: Annotated[str, typer.Option(metavar="ROOT", help="Which repository, where several have such an image.")] = "",
    cache: CacheFolder = None,
    cache_size: CacheSize = "",
    state: StateFolder = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a list for programs.")] = False,
) -> None:
    """Keep images in the cache: what is pinned never leaves it for lack of room.

    It fetches nothing and needs no network; `mirrornet pull` fetches.  A pin stays until it is removed.

        mirrornet pin debian
    """
    import json
    import time

    from mirrornet.app.client.pinning import Pinning
    from mirrornet.model.units import parse_size

    if show == bool(names):
        raise InputError("pin: name images to pin (or with --remove to unpin), or say --list")
    if show and (remove or profile_only):
        raise InputError("pin: --list stands alone")
    size = parsed("--cache-size", parse_size, cache_size) if cache_size else None
    pinning = Pinning(cache and cache.absolute(), size, state and state.absolute())
    if remove:
        for subject in pinning.remove(names or []):
            print(f"{subject} is not pinned any more")
        return
    found = (
        pinning.listed()
        if show
        else pinning.pin(names or [], root_argument(root) if root else "", profile_only=profile_only, now=time.time())
    )
    if as_json:
        print(json.dumps([each.fields() for each in found], indent=1))
    elif show:
        print("\n".join(_rows(found)) or "nothing is pinned")
    else:
        print("\n".join(_told(each) for each in found))


def _told(pinned: Pinned) -> str:
    from mirrornet.model.units import format_size

    line = f"{pinned.subject} is pinned{'' if pinned.whole else ' (its profile)'}: {format_size(pinned.size)}"
    if pinned.complete:
        return f"{line}, all of it here"
    more = "" if pinned.whole else " --profile-only"
    return f"{line}, of which {format_size(pinned.here)} are here; mirrornet pull{more} brings the rest"


def _rows(found: list[Pinned]) -> list[str]:
    from datetime import UTC, datetime

    from mirrornet.model.units import format_size

    who = {"hand": "by hand", "booted": "booted last", "mounted": "mounted"}
    rows = [
        (
            str(each.subject),
            "all of it" if each.whole else "profile" if each.kind == "hand" else "index and profile",
            format_size(each.size),
            "all here" if each.complete else f"{format_size(each.here)} here",
            f"{who[each.kind]} since {datetime.fromtimestamp(each.since, UTC):%Y-%m-%d %H:%M}",
        )
        for each in found
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(5)]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
