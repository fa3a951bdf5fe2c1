"""What the client's verbs share: SOURCE, NAME and the options of a session.

They mean the same in each verb, so they stand here once; a verb adds where the bytes go.
"""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mirrornet.cli.arguments import parsed, root_argument

if TYPE_CHECKING:
    from mirrornet.app.client.session import ClientOptions

Source = Annotated[
    str,
    typer.Argument(metavar="SOURCE", help="A select name (select.example.net), or repository URLs joined by commas."),
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The image's name, as it was published.")]
Root = Annotated[
    str,
    typer.Option(
        metavar="ROOT",
        help="Whom to believe: the pin that the publisher's `mirrornet keygen` printed (sha256:HEX), or the file "
        "root.json that it belongs to.",
    ),
]
Version = Annotated[int | None, typer.Option(metavar="N", min=1, help="An older version.  Default: the latest.")]
CacheFolder = Annotated[
    Path | None,
    typer.Option("--cache", metavar="DIR", help="Keep blocks there.  Default: the system's cache folder."),
]
CacheSize = Annotated[
    str,
    typer.Option(
        metavar="SIZE",
        help="How large that folder may grow, for all who use it.  Default: as it was set there, or 10G.",
    ),
]
ResolverAddress = Annotated[
    str, typer.Option("--resolver", metavar="ADDR[:PORT]", help="Ask this name server instead of the system's.")
]
Offline = Annotated[
    bool, typer.Option("--offline", help="Use no network: only what was verified and kept here before.")
]
RequireFresh = Annotated[bool, typer.Option("--require-fresh", help="Refuse metadata that has expired.")]
StateFolder = Annotated[
    Path | None,
    typer.Option("--state", metavar="DIR", help="Keep what was verified there.  Default: the system's state folder."),
]
LogFile = Annotated[
    Path | None,
    typer.Option(
        "--log", metavar="FILE", help="Write the log there.  Default: the journal, or stderr in the foreground."
    ),
]
ShareRtt = Annotated[
    bool,
    typer.Option(
        "--share-rtt",
        help="Once an hour, tell the name servers how far each mirror is, if they ask: milliseconds, no image.",
    ),
]
Prefetch = Annotated[
    str,
    typer.Option(
        metavar="auto|profile|none",
        help="Fetch what a boot reads before it is read: as soon as what is read looks like one, at once, or never.",
    ),
]
ReadDeadline = Annotated[
    str,
    typer.Option(
        metavar="TIME|never",
        help="A read that takes longer fails with an input/output error; never: it waits, which is logged each minute.",
    ),
]


def client_options(
    source: str,
    name: str,
    root: str,
    *,
    version: int | None = None,
    cache: Path | None = None,
    cache_size: str = "",
    resolver: str = "",
    offline: bool = False,
    require_fresh: bool = False,
    state: Path | None = None,
    read_deadline: str = "30s",
    share_rtt: bool = False,
    prefetch: str = "auto",
) -> ClientOptions:
    """The options as the session wants them.  Raises InputError."""
    from mirrornet.app.client.profiles import MODES
    from mirrornet.app.client.session import ClientOptions
    from mirrornet.model.errors import InputError
    from mirrornet.model.units import parse_duration, parse_size

    if prefetch not in MODES:
        raise InputError(f"--prefetch {prefetch}: there are {', '.join(MODES)}")
    return ClientOptions(
        source=source,
        name=name,
        root=root_argument(root),
        version=version,
        cache=cache.absolute() if cache else None,
        cache_size=parsed("--cache-size", parse_size, cache_size) if cache_size else None,
        resolver=resolver,
        offline=offline,
        require_fresh=require_fresh,
        state=state.absolute() if state else None,
        read_deadline=inf if read_deadline == "never" else parsed("--read-deadline", parse_duration, read_deadline),
        share_rtt=share_rtt,
        prefetch=prefetch,
    )
