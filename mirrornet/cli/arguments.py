"""Arguments whose text means something: read by the one parser of their kind, and blamed by their own name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from mirrornet.model.errors import InputError

T = TypeVar("T")

# Of the verbs that log as long as they run; app/logs.py reads them.
LogLevel = Annotated[str, typer.Option(metavar="LEVEL", help="debug, info, warning or error; the log goes to stderr.")]
LogFormat = Annotated[
    str, typer.Option(metavar="plain|json", help="A line for each event: for people, or for programs.")
]


def parsed(argument: str, parse: Callable[[str], T], text: str) -> T:
    """What `text` means to `parse`.  Raises InputError that begins with `argument`, such as "--cache-size"."""
    try:
        return parse(text)
    except ValueError as error:
        raise InputError(f"{argument}: {error}") from None


def root_argument(text: str) -> str:
    """ROOT in one form: "sha256:hex", or the absolute path of a file.  Raises InputError."""
    word = text.strip()
    if word.lower().startswith("sha256:"):
        return word.lower()
    if len(word) == 64 and not set(word.lower()) - set("0123456789abcdef") and not Path(word).exists():
        raise InputError(f"--root {word}: a pin is written with its kind: --root sha256:{word.lower()}")
    return str(Path(text).absolute())
