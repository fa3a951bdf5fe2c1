"""The publisher's verbs about keys and signatures: keygen, resign, versions."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from mirrornet.cli.border import say
from mirrornet.cli.publisher import Keys, Repo, new_passphrase, passphrase


def register(app: typer.Typer) -> None:
    """Adds the verbs to `app`."""
    app.command(name="keygen")(keygen)
    app.command(name="resign")(resign)
    app.command(name="versions")(versions)


def keygen(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder, outside of any repository.")],
) -> None:
    """Make the keys of a new repository and print the pin, which clients give as --root.

    The pin is the SHA-256 of DIR/root.json, should you lose it.  Keys are encrypted with a passphrase from
    MIRRORNET_PASSPHRASE, or asked for on a terminal.  Put root.pem and targets.pem away after the first publish: daily
    work needs snapshot.pem, timestamp.pem and images/ only.
    """
    from mirrornet.image.trust import keys

    secret = new_passphrase()
    pin = keys.keygen(folder, passphrase=secret)
    if not secret:
        say(f"{folder}: the keys are NOT encrypted (no terminal, no MIRRORNET_PASSPHRASE); only mode 0600 guards them")
    say(f"{folder}/root.pem and targets.pem belong offline after the first publish of each image")
    print(pin)


def resign(repo: Repo, keys: Keys) -> None:
    """Renew the signatures that expire: run it daily from a timer.

    The timestamp is good for 3 days and is renewed each time, the snapshot for 30 days and is renewed past half of
    them.  Copy metadata/ to the mirrors afterwards; clients warn of, or refuse, what has expired.
    """
    from mirrornet.image.publishing.resign import resign as work

    report = work(repo, keys, now=time.time(), passphrase=passphrase(keys))
    for warning in report.warnings:
        say(f"warning: {warning}")
    expires = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(report.expires))
    print(f"timestamp version {report.timestamp}, snapshot version {report.snapshot}; valid until {expires}")


def versions(
    repo: Repo,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One image; all of them when left out.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a list of objects.")] = False,
) -> None:
    """List the versions in a repository: number, date, size, stored bytes, codec."""
    from mirrornet.image.publishing.listing import listed
    from mirrornet.model.units import format_size

    metadata = listed(repo, time.time())
    chosen = [name] if name is not None else list(metadata.names)
    if name is not None:
        metadata.latest(name)
    found = [version for each in chosen for version in metadata.images.get(each, ())]
    if as_json:
        keep = ("name", "version", "created", "size", "stored", "codec", "rollback_of")
        print(json.dumps([{key: getattr(version, key) for key in keep} for version in found]))
        return
    if metadata.expired:
        say(f"warning: {repo}: the signed metadata has expired; clients refuse it until `mirrornet resign`")
    print(f"{'NAME':<20} {'VERSION':>7} {'CREATED':<20} {'SIZE':>10} {'STORED':>10} CODEC")
    for version in found:
        note = f" (again version {version.rollback_of})" if version.rollback_of else ""
        print(
            f"{version.name:<20} {version.version:>7} {version.created:<20} {format_size(version.size):>10} "
            f"{format_size(version.stored):>10} {version.codec}{note}"
        )
