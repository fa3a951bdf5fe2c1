"""The publisher's verb `publish`: an image becomes blocks, an index and signed metadata."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from mirrornet.cli.arguments import parsed
from mirrornet.cli.border import say
from mirrornet.cli.publisher import Also, Keys, Repo, folders_of, passphrase, progress


def register(app: typer.Typer) -> None:
    """Adds the verb to `app`."""
    app.command(name="publish")(publish)


def publish(
    image: Annotated[
        Path, typer.Argument(metavar="IMAGE", help="A raw disk image, a block device, or a .cloop (V2.0).")
    ],
    name: Annotated[str, typer.Option(metavar="NAME", help="What clients call the image, such as debian.")],
    repo: Repo,
    keys: Keys,
    also: Also = None,
    codec: Annotated[
        str | None,
        typer.Option(
            metavar="CODEC",
            help="How blocks are compressed: zlib, zstd, or stored (not at all).  [default: as before, else zlib]",
            show_default=False,
        ),
    ] = None,
    level: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="zlib: 1-3 fast, 4-8 small, 9 as cloop-utils write it; zstd: 1-19.  [default: as before, else zlib 5, "
            "zstd 3]",
            show_default=False,
        ),
    ] = None,
    block_size: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="64K to 4M, a power of two.  [default: as before, else 256K]", show_default=False
        ),
    ] = None,
    profile: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|none",
            help="What a boot reads, by `mirrornet profile`: its blocks become one file, in its order.  [default: that "
            "of the version before, by where its blocks are now]",
            show_default=False,
        ),
    ] = None,
    boot: Annotated[
        str,
        typer.Option(
            metavar="KERNEL,INITRD,CMDLINE",
            help="What starts it, signed with it.  `image:/vmlinuz` is the image's own; INITRD may be empty.",
        ),
    ] = "",
    packs: Annotated[
        bool | None,
        typer.Option(
            "--packs/--no-packs",
            help="Blocks in packs of 16 MiB instead of single files: for hosts that count.  [default: as before]",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Publish IMAGE as the next version of NAME: new blocks, an index, signed metadata.

    The first publish makes the repository.  The next ones cut and compress as the version before, unless told
    otherwise: then every block is new.  What was published before stays until the new version is whole.  Nobody
    may write to IMAGE meanwhile: publish a snapshot or a copy of a disk in use.

        mirrornet publish debian.img --name debian --repo repo --keys keys
        mirrornet publish debian.img --name debian --repo repo --keys keys \\
            --boot 'image:/vmlinuz,image:/initrd.img,root=/dev/vda console=ttyS0'
    """
    import dataclasses

    from mirrornet.image.format.block import Codec
    from mirrornet.image.format.profile import MAX_PROFILE, Profile
    from mirrornet.image.publishing.boot import parse_boot
    from mirrornet.image.publishing.publish import publish as work
    from mirrornet.image.small import read_small
    from mirrornet.model.errors import InputError
    from mirrornet.model.units import format_duration, format_size, parse_size

    if codec is not None and codec.upper() not in Codec.__members__:
        raise InputError(f"--codec {codec}: there are zlib, zstd and stored")
    started_by = parse_boot(boot) if boot else {}
    order = None
    carry = str(profile) != "none"
    if profile is not None and carry:
        try:
            order = Profile.parse(read_small(profile, MAX_PROFILE))
        except OSError as error:
            raise InputError(f"--profile {profile}: {error.strerror}") from None
        except ValueError as error:
            raise InputError(f"--profile {profile}: {error}; FORMAT.md says what a profile is") from None
    folders = folders_of(also)
    with progress(f"publishing {name}") as tell:
        report = work(
            image,
            name,
            repo,
            keys,
            codec=None if codec is None else Codec[codec.upper()],
            level=level,
            block_size=None if block_size is None else parsed("--block-size", parse_size, block_size),
            packs=packs,
            profile=order,
            carry=carry,
            attached=started_by,
            now=time.time(),
            passphrase=passphrase(keys),
            also=folders,
            progress=tell,
        )
    for warning in report.warnings:
        say(f"warning: {warning}")
    if report.lost:
        say(f"note: the version before has {', '.join(report.lost)} beside it, and this one has not")
    if as_json:
        print(json.dumps(dataclasses.asdict(report)))
        return
    print(
        f"{report.name} version {report.version}: {format_size(report.size)} in {report.blocks} blocks, "
        f"{format_size(report.stored)} stored, {format_duration(report.seconds)}"
    )
    print(
        f"new: {report.new_blocks} blocks, {format_size(report.new_bytes)} for an up-to-date client; "
        f"{report.new_files} files, {format_size(report.new_file_bytes)} for an up-to-date mirror"
    )
    print(f"files: {report.files} of this version, {report.repository_files} in the repository")
    if report.attached:
        print(f"signed with it: {', '.join(report.attached)}")
    print(f"clients trust it by: --root {report.pin}")
