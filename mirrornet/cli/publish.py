"""The publisher's verbs: keygen, publish, resign, versions.

Passphrases come from MIRRORNET_PASSPHRASE or from a terminal, never from an argument, which other users of the machine
could read.  On a terminal publish shows a bar; elsewhere a line at the start of each tenth.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from mirrornet.cli.arguments import parsed
from mirrornet.cli.border import say

_KEYS = typer.Option(help="The folder of keys, as `mirrornet keygen` made it.", metavar="DIR")
_REPO = typer.Option(help="The repository: the folder that mirrors serve.", metavar="DIR")


def register(app: typer.Typer) -> None:
    """Adds the four verbs to `app`."""
    app.command(name="keygen")(keygen)
    app.command(name="publish")(publish)
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
    from mirrornet.image import keys

    passphrase = _new_passphrase()
    pin = keys.keygen(folder, passphrase=passphrase)
    if not passphrase:
        say(f"{folder}: the keys are NOT encrypted (no terminal, no MIRRORNET_PASSPHRASE); only mode 0600 guards them")
    say(f"{folder}/root.pem and targets.pem belong offline after the first publish of each image")
    print(pin)


def publish(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A raw disk image or a block device.")],
    name: Annotated[str, typer.Option(metavar="NAME", help="What clients call the image, such as debian.")],
    repo: Annotated[Path, _REPO],
    keys: Annotated[Path, _KEYS],
    codec: Annotated[
        str, typer.Option(metavar="CODEC", help="How blocks are compressed: zlib, zstd, or stored (not at all).")
    ] = "zlib",
    level: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="zlib: 1-3 fast (ISA-L), 4-9 small; zstd: 1-19.  [default: zlib 4, zstd 9]",
            show_default=False,
        ),
    ] = None,
    block_size: Annotated[str, typer.Option(metavar="SIZE", help="64K to 4M, a power of two.")] = "256K",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Publish IMAGE as the next version of NAME: new blocks, an index, signed metadata.

    The first publish makes the repository.  What was published before stays until the new version is whole.  Nobody
    may write to IMAGE meanwhile: publish a snapshot or a copy of a disk in use.

        mirrornet publish debian.img --name debian --repo repo --keys keys
    """
    import dataclasses

    from mirrornet.image.block import Codec
    from mirrornet.image.publish import publish as work
    from mirrornet.model.errors import InputError
    from mirrornet.model.units import format_duration, format_size, parse_size

    if codec.upper() not in Codec.__members__:
        raise InputError(f"--codec {codec}: there are zlib, zstd and stored")
    size = parsed("--block-size", parse_size, block_size)
    passphrase = _passphrase(keys)
    with _progress(f"publishing {name}") as progress:
        report = work(
            image,
            name,
            repo,
            keys,
            codec=Codec[codec.upper()],
            level=level,
            block_size=size,
            now=time.time(),
            passphrase=passphrase,
            progress=progress,
        )
    if as_json:
        print(json.dumps(dataclasses.asdict(report)))
        return
    print(
        f"{report.name} version {report.version}: {format_size(report.size)} in {report.blocks} blocks, "
        f"{format_size(report.stored)} stored, {format_duration(report.seconds)}"
    )
    print(f"new: {report.new_blocks} blocks, {format_size(report.new_bytes)} (what an up-to-date mirror has to fetch)")
    print(f"clients trust it by: --root {report.pin}")


def resign(repo: Annotated[Path, _REPO], keys: Annotated[Path, _KEYS]) -> None:
    """Renew the signatures that expire: run it daily from a timer.

    The timestamp is good for 3 days and is renewed each time, the snapshot for 30 days and is renewed past half of
    them.  Copy metadata/ to the mirrors afterwards; clients warn of, or refuse, what has expired.
    """
    from mirrornet.image.publish import resign as work

    report = work(repo, keys, now=time.time(), passphrase=_passphrase(keys))
    for warning in report.warnings:
        say(f"warning: {warning}")
    expires = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(report.expires))
    print(f"timestamp version {report.timestamp}, snapshot version {report.snapshot}; valid until {expires}")


def versions(
    repo: Annotated[Path, _REPO],
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One image; all of them when left out.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a list of objects.")] = False,
) -> None:
    """List the versions in a repository: number, date, size, stored bytes, codec."""
    from mirrornet.image.publish import listed
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


def _new_passphrase() -> bytes | None:
    given = os.environ.get("MIRRORNET_PASSPHRASE")
    if given is None and sys.stdin.isatty():
        given = typer.prompt("Passphrase for the new keys (empty: none)", "", True, True, show_default=False, err=True)
    return given.encode() if given else None


def _passphrase(folder: Path) -> bytes | None:
    from mirrornet.image.keys import is_encrypted

    given = os.environ.get("MIRRORNET_PASSPHRASE")
    if given is None and is_encrypted(folder) and sys.stdin.isatty():
        given = typer.prompt(f"Passphrase of the keys in {folder}", hide_input=True, err=True)
    return given.encode() if given else None


@contextmanager
def _progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """A callback for (bytes done, bytes in all): a bar on a terminal, a line for each tenth elsewhere."""
    if not sys.stderr.isatty():
        tenths = 0

        def line(done: int, total: int) -> None:
            nonlocal tenths
            if done * 10 // total > tenths:
                tenths = done * 10 // total
                say(f"{title}: {tenths * 10} %")

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn(title), BarColumn(), DownloadColumn(True), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title)
        yield lambda done, total: bar.update(task, completed=done, total=total)
