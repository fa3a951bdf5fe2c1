"""What `publish --boot KERNEL,INITRD,CMDLINE` says: which files beside an image start it.  Pure.

    --boot 'image:/vmlinuz,image:/initrd.img,root=/dev/vda console=ttyS0'
    --boot vmlinuz,,root=/dev/vda1

A command line may hold commas (`console=ttyS0,115200`), so the text is split twice at most, and a kernel's path cannot
hold one.  `image:` before a path means the image's own root file system.

A version without a kernel beside it is started by its own boot loader.  What one version had is not taken over by the
next: a kernel beside an image that has other modules does not boot, and nobody would see it before the clients do.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mirrornet.model.errors import InputError

INSIDE: Final = "image:"
KINDS: Final = ("kernel", "initrd", "cmdline")
MAX_CMDLINE: Final = 2047  # octets: COMMAND_LINE_SIZE of Linux on x86 and arm64, less the zero at its end


@dataclass(frozen=True, slots=True)
class Inside:
    """A file of the image's own: `path` in its root file system, absolute."""

    path: str


Content = bytes | Path | Inside


def parse_boot(text: str) -> dict[str, Content]:
    """What is to be published as kernel, initrd (where there is one) and cmdline (where one is given).

    Raises InputError.
    """
    kernel, initrd, cmdline, *_ = [*text.split(",", 2), "", ""]
    if not kernel:
        raise InputError(f"--boot {text}: names no kernel; write KERNEL,INITRD,CMDLINE, of which the first is needed")
    found: dict[str, Content] = {"kernel": _file(kernel)}
    if initrd:
        found["initrd"] = _file(initrd)
    if cmdline:
        found["cmdline"] = cmdline_of(cmdline)
    return found


def cmdline_of(text: str) -> bytes:
    """The target `cmdline`.  Raises InputError for what a kernel cannot be given."""
    if not text.isascii() or not text.isprintable():
        raise InputError("--boot: the kernel's command line has to be one line of printable ASCII")
    if len(text) > MAX_CMDLINE:
        raise InputError(f"--boot: the kernel's command line has {len(text)} characters; Linux takes {MAX_CMDLINE}")
    return text.encode()


def _file(name: str) -> Path | Inside:
    if not name.startswith(INSIDE):
        return Path(name)
    path = name.removeprefix(INSIDE)
    if not path.startswith("/") or not path.isprintable():
        raise InputError(f"--boot {name!r}: after `image:` a path from the image's root is wanted, such as /vmlinuz")
    return Inside(path)
