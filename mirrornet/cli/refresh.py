"""The publisher's verb `refresh`: an image's own upgrade, checked, then published."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from mirrornet.cli.border import say
from mirrornet.cli.publisher import Keys, Repo, passphrase, progress

_LISTED = 20  # packages of each kind that are printed


def register(app: typer.Typer) -> None:
    """Adds the verb to `app`."""
    app.command(name="refresh")(refresh)


def refresh(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The image, as it was published.")],
    repo: Repo,
    keys: Keys,
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- COMMAND]...", help="What to run in it.  Default: its package manager's upgrade."),
    ] = None,
    check: Annotated[
        str,
        typer.Option(
            metavar="CMD",
            help="A shell command; publish only if it succeeds.  $IMAGE is the disk; see deploy/check-boots.",
        ),
    ] = "",
    state: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Work there; the image has to fit.  Default: the system's state folder."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Upgrade the newest version of NAME by its own package manager, and publish the result.

    Needs root, works on a copy, and touches nothing else of this machine.  Where no package changed, nothing is
    published.

        mirrornet refresh debian --repo repo --keys keys
        mirrornet refresh debian --repo repo --keys keys -- apt-get install -y htop
    """
    import dataclasses

    from mirrornet.app.folders import state_folder
    from mirrornet.app.refresh import Order
    from mirrornet.app.refresh import refresh as work
    from mirrornet.model.units import format_size

    with progress(f"refreshing {name}") as tell:
        order = Order(name, repo, keys, tuple(command or ()), check, time.time, passphrase(keys), tell)
        report = work(order, (state or state_folder()).absolute())
    for warning in report.warnings:
        say(f"warning: {warning}")
    if as_json:
        print(json.dumps(dataclasses.asdict(report)))
        return
    changes = report.changes
    for sign, rows in (
        ("+", [f"{package} {version}" for package, version in changes.added]),
        ("-", [f"{package} {version}" for package, version in changes.removed]),
        ("^", [f"{package} {old} -> {new}" for package, old, new in changes.changed]),
    ):
        for row in rows[:_LISTED]:
            print(f"{sign} {row}")
        if len(rows) > _LISTED:
            print(f"{sign} and {len(rows) - _LISTED} more")
    done = report.published
    if done is None:
        print(f"{name} version {report.before}: no package changed, nothing to publish")
        return
    print(
        f"{name} version {done.version}: {len(changes.changed)} packages changed, {len(changes.added)} came, "
        f"{len(changes.removed)} went; an up-to-date client fetches {done.new_blocks} blocks, "
        f"{format_size(done.new_bytes)}, a mirror {done.new_files} files, {format_size(done.new_file_bytes)}"
    )
