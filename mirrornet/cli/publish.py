"""The publisher's verb `publish`: an image becomes blocks, an index and signed metadata."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from mirrornet.cli.arguments import parsed
from mirrornet.cli.publisher import Keys, Repo, passphrase, progress


def register(app: typer.Typer) -> None:
    """Adds the verb to `app`."""
    app.command(name="publish")(publish)


def publish(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A raw disk image or a block device.")],
    name: Annotated[str, typer.Option(metavar="NAME", help="What clients call the image, such as debian.")],
    repo: Repo,
    keys: Keys,
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

    from mirrornet.image.format.block import Codec
    from mirrornet.image.publishing.publish import publish as work
    from mirrornet.model.errors import InputError
    from mirrornet.model.units import format_duration, format_size, parse_size

    if codec.upper() not in Codec.__members__:
        raise InputError(f"--codec {codec}: there are zlib, zstd and stored")
    size = parsed("--block-size", parse_size, block_size)
    with progress(f"publishing {name}") as tell:
        report = work(
            image,
            name,
            repo,
            keys,
            codec=Codec[codec.upper()],
            level=level,
            block_size=size,
            now=time.time(),
            passphrase=passphrase(keys),
            progress=tell,
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
