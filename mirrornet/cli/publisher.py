"""What the publisher's verbs share: options, passphrases, a progress bar.

Passphrases come from MIRRORNET_PASSPHRASE or from a terminal, never from an argument, which other users of the machine
could read.  On a terminal long work shows a bar; elsewhere a line at the start of each tenth.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from mirrornet.cli.border import say
from mirrornet.model.errors import InputError

Keys = Annotated[Path, typer.Option(help="The folder of keys, as `mirrornet keygen` made it.", metavar="DIR")]
Also = Annotated[
    list[Path] | None,
    typer.Option("--also", metavar="DIR", help="One more folder of keys, such as the stick of the offline ones."),
]
Repo = Annotated[Path, typer.Option(help="The repository: the folder that mirrors serve.", metavar="DIR")]


def new_passphrase() -> bytes | None:
    """The passphrase for keys that are about to be made; None: none is wanted."""
    given = os.environ.get("MIRRORNET_PASSPHRASE")
    if given is None and sys.stdin.isatty():
        given = typer.prompt("Passphrase for the new keys (empty: none)", "", True, True, show_default=False, err=True)
    return given.encode() if given else None


def passphrase(folder: Path) -> bytes | None:
    """The passphrase of the keys in `folder`; None where there is none, or nobody to ask.  Asks for a PIN, too."""
    from mirrornet.image.trust.keyfiles import is_encrypted, wants_pin

    if wants_pin(folder) and "MIRRORNET_PIN" not in os.environ and sys.stdin.isatty():
        # To the token's library it goes as a variable, as it would from a service's file of secrets.
        os.environ["MIRRORNET_PIN"] = typer.prompt(f"PIN of the token named in {folder}", hide_input=True, err=True)
    given = os.environ.get("MIRRORNET_PASSPHRASE")
    if given is None and is_encrypted(folder) and sys.stdin.isatty():
        given = typer.prompt(f"Passphrase of the keys in {folder}", hide_input=True, err=True)
    return given.encode() if given else None


def folders_of(also: list[Path] | None) -> list[tuple[Path, bytes | None]]:
    """The folders of --also, each with its passphrase.  Raises InputError."""
    for folder in also or ():
        if not folder.is_dir():
            raise InputError(f"--also {folder}: is no folder of keys; is the stick mounted?")
    return [(folder, passphrase(folder)) for folder in also or ()]


@contextmanager
def progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """A callback for (bytes done, bytes in all): a bar on a terminal, a line for each tenth elsewhere."""
    if not sys.stderr.isatty():
        from mirrornet.model.units import format_duration, format_size

        tenths, begun = 0, time.monotonic()

        def line(done: int, total: int) -> None:
            nonlocal tenths
            if done * 10 // total > tenths:
                tenths = done * 10 // total
                spent = max(time.monotonic() - begun, 1e-3)
                left = f", {format_duration(spent * (total - done) / done)} left" if done < total else ""
                say(f"{title}: {tenths * 10} %, {format_size(done / spent)}/s{left}")

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn(title), BarColumn(), DownloadColumn(True), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title)
        yield lambda done, total: bar.update(task, completed=done, total=total)
