"""What the client's verbs share: SOURCE, NAME and the options of a session.

They mean the same in each verb, so they stand here once; a verb adds where the bytes go.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, get_type_hints

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
        help="Once an hour, tell the name servers how far each mirror is, and which is out of reach: no image.",
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


# What a verb may leave out, as parameters with their defaults, in the order in which --help tells of them.
_SHARED: Final = {
    "version": (Version, None),
    "cache": (CacheFolder, None),
    "cache_size": (CacheSize, ""),
    "resolver": (ResolverAddress, ""),
    "offline": (Offline, False),
    "require_fresh": (RequireFresh, False),
    "state": (StateFolder, None),
    "share_rtt": (ShareRtt, False),
    "prefetch": (Prefetch, "auto"),
    "read_deadline": (ReadDeadline, "30s"),
}


def client_verb(*without: str, **defaults: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a verb SOURCE, NAME, --root and the session's options; it takes them as one,
    `client: ClientOptions`, its first parameter.

    `without`: shared options that mean nothing to it; `defaults`: those that have another default there.
    """

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(verb, localns={"ClientOptions": object}, include_extras=True)  # app is imported later
        own = [each.replace(annotation=hints[each.name]) for each in inspect.signature(verb).parameters.values()][1:]
        shared = {name: row for name, row in _SHARED.items() if name not in without}

        def parameter(name: str, kind: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
            return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=kind)

        wanted = [each for each in own if each.default is inspect.Parameter.empty]
        parameters = [
            parameter("source", Source),
            parameter("name", Name),
            *wanted,
            parameter("root", Root),
            *(each for each in own if each not in wanted),
            *(parameter(name, kind, defaults.get(name, default)) for name, (kind, default) in shared.items()),
        ]

        @functools.wraps(verb)
        def run(**given: Any) -> None:
            options = {name: given.pop(name) for name in ("source", "name", "root")}
            options |= {name: given.pop(name, default) for name, (_, default) in _SHARED.items()}
            verb(_client_options(**options), **given)

        run.__annotations__ = {each.name: each.annotation for each in parameters}
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return run

    return decorate


def _client_options(
    *,
    source: str,
    name: str,
    root: str,
    version: int | None,
    cache: Path | None,
    cache_size: str,
    resolver: str,
    offline: bool,
    require_fresh: bool,
    state: Path | None,
    read_deadline: str,
    share_rtt: bool,
    prefetch: str,
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
