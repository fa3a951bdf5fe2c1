"""The verb `export`: a published version as a raw image or a .cloop again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from mirrornet.cli.publisher import Repo, progress


def register(app: typer.Typer) -> None:
    """Adds the verb to `app`."""
    app.command(name="export")(export)


def export(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The image.")],
    repo: Repo,
    raw: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the disk image, to a file or a block device.")
    ] = None,
    cloop: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a .cloop (V2.0), for cloop-utils and qemu.")
    ] = None,
    version: Annotated[
        int | None, typer.Option(metavar="N", help="Which version.  [default: the newest]", show_default=False)
    ] = None,
) -> None:
    """Write a version of NAME as one file, every byte verified.  Give --raw or --cloop.

    An image of zlib gives its .cloop with the streams of the repository: published with --level 9, or from a .cloop, it
    is the file that create_compressed_fs writes.

        mirrornet export debian --repo repo --raw debian.img
    """
    from mirrornet.image.publishing.export import export as work
    from mirrornet.model.errors import InputError
    from mirrornet.model.units import format_size

    if (raw is None) == (cloop is None):
        raise InputError("give --raw FILE or --cloop FILE, one of them")
    out = raw or cloop
    assert out is not None
    with progress(f"exporting {name}") as tell:
        report = work(repo, name, out, "raw" if raw else "cloop", version=version, now=time.time(), progress=tell)
    print(f"{report.name} version {report.version}: {format_size(report.length)} in {out}")
