"""A file of an image's own root file system, taken out without mounting: its kernel, its initrd.

A kernel that was published beside an image must find its modules in it.  So it is taken from there, at the moment of
the publish, and the signed metadata says by which path; the next version's comes by the same path, and the two cannot
part.  `/vmlinuz` and `/initrd.img` are links that Debian and its kin keep for just that.

An image may have several file systems.  The root is the one with a package manager's list, else the largest; the others
are asked after it, so a /boot of its own is found as well, by the path it has there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mirrornet.image.contents.extfs import copy_file, resolve
from mirrornet.image.contents.sbom import ranked
from mirrornet.model.errors import InputError


def take_out(image: Path, path: str, write: Callable[[bytes], object], limit: int) -> None:
    """Gives `write` the file at the absolute `path` in `image`, in pieces; links are followed in its file system only.

    `limit`: bytes.  Raises InputError (no file system that can be read, no such file, too long), LocalError (debugfs).
    """
    systems = ranked(image)
    if not systems:
        raise InputError(
            f"image:{path}: {image} has no ext2, 3 or 4 file system to take it from; name a file of this machine"
        )
    reasons = []
    for partition, _ in systems:
        try:
            where = resolve(image, partition.offset, path)
        except ValueError as error:
            reasons.append(str(error))
            continue
        if not copy_file(image, partition.offset, where, write, limit):
            raise InputError(f"image:{path}: {where} in {image} is damaged, or longer than {limit >> 20} MiB")
        return
    raise InputError(f"image:{path}: {reasons[0]}, in {image}; `debugfs -R 'ls -l /' IMAGE` shows what is")
