"""`mirrornet pull`: an image, or what its boot touches, into the cache while the network is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mirrornet.cli.border import say
from mirrornet.cli.client import client_verb
from mirrornet.cli.publisher import progress

if TYPE_CHECKING:
    from mirrornet.app.client.pull import Pulled
    from mirrornet.app.client.session import ClientOptions


def register(app: typer.Typer) -> None:
    """Adds the verb to `app`."""
    app.command(name="pull")(pull)


@client_verb("offline", "share_rtt", "prefetch", "read_deadline")
def pull(
    client: ClientOptions,
    profile_only: Annotated[
        bool, typer.Option("--profile-only", help="Only the blocks that a boot touches, as the profile says.")
    ] = False,
    next: Annotated[
        bool,
        typer.Option(
            "--next", help="Of the newest version: its profile, and what the version mounted here does not have."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report for programs.")] = False,
) -> None:
    """Fetch an image into the cache, so that it mounts and boots without a network.

    What a boot touches comes first.  It may be stopped at any moment and goes on where it was; what is there already
    is checked, not fetched.  A mount of the image may be in use meanwhile.

        mirrornet pull select.example.net debian --root sha256:...
    """
    import dataclasses
    import json

    from mirrornet.app.client.pull import PullOptions, run_pull

    with progress("fetching") as tell:
        pulled = run_pull(PullOptions(client, profile_only, next), tell)
    for warning in pulled.warnings:
        say(f"warning: {warning}")
    print(json.dumps(dataclasses.asdict(pulled)) if as_json else _told(pulled, profile_only))


def _told(pulled: Pulled, profile_only: bool) -> str:
    """The report as a person reads it."""
    from mirrornet.model.units import format_duration, format_size

    what = f"{pulled.image} version {pulled.version}"
    if profile_only:
        what += ", its profile"
    elif pulled.beside not in (None, pulled.version):
        what += f", beside version {pulled.beside}"
    if pulled.beside == pulled.version and not pulled.fetched:
        return f"{what} is the newest, and mounted: there is nothing to stage"
    if not pulled.fetched:
        return f"{what}: all {pulled.here} blocks were here, {format_size(pulled.here_bytes)}"
    rate = format_size(pulled.fetched_bytes / max(pulled.seconds, 1e-3))
    came = ", ".join(
        f"{count} from {name}" for name, count in sorted(pulled.mirrors.items(), key=lambda pair: -pair[1])
    )
    return (
        f"{what}: {pulled.fetched} blocks fetched, {format_size(pulled.fetched_bytes)} in "
        f"{format_duration(pulled.seconds)} ({rate}/s), {pulled.here} were here\n{came}"
    )
