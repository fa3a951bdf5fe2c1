"""A virtual machine on an image, as QEMU's command line: what the guest gets, and when it makes no progress.

Pure: from what is known (the disk, the overlay, the kernel, the options) to the arguments of qemu, and from what was
seen to whether anything happens in there.

The disk is two nodes on the command line: the image by NBD, read-only, and over it a qcow2 overlay that takes what the
guest writes.  The overlay's header names no backing file; the command line does.  (Else the overlay would name a
socket of a process that is long gone, and whoever wrote to it could have the host's files read.)  Nodes are written as
JSON, where a comma in a file name is a comma.  Files that must not be found by others, or must go with us, are handed
over as descriptors: the console's second stream, QMP, an overlay that has no name any more.

The machine: q35 with virtio disk, network and random numbers, no display, the serial console on stdin and stdout, with
QEMU's own keys (Ctrl-A x ends it, Ctrl-A c is the monitor).  TCG keeps QEMU's default CPU: with `-cpu max` the guest
needs a third longer to come up (22.4 against 16.7 s).

Rejected: libvirt (a daemon and an XML file for one command), `-drive` (a comma needs doubling, and the backing can not
be named), `-snapshot` (leaves no choice where the temporary file lies), microvm (no boot loader of the image's own).
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final, Literal

from mirrornet.model.errors import InputError

Accel = Literal["kvm", "tcg"]
PROGRAM: Final = "qemu-system-x86_64"
UP: Final = 1024, 65536  # bytes on the console, bytes of blocks read: more than firmware has to say or to look for
PATIENCE: Final = 15.0  # seconds without a byte on the console and a block read, after which KVM does not work
MEMORY: Final = 16 << 20, 1 << 44  # bytes: the least and the most that is no slip of the pen
CMDLINE: Final = 2047  # bytes that a kernel for x86 reads of its command line (COMMAND_LINE_SIZE less the final zero)
DEFAULT_CMDLINE: Final = "root=/dev/vda ro console=ttyS0"  # for a kernel that was published without a command line
SECTOR: Final = 512  # bytes; the unit of a virtio disk
_OVERLAY: Final = re.compile(r"(?P<name>.+)@(?P<version>[1-9][0-9]{0,8})")


@dataclass(frozen=True, slots=True)
class NbdDisk:
    """The image as an NBD export on a unix socket.  `reconnect`: seconds for which a guest waits for a new server."""

    socket: PurePath
    export: str
    reconnect: int

    def node(self) -> dict[str, Any]:
        """The block node that reads it."""
        server = {"type": "unix", "path": str(self.socket)}
        return {"driver": "nbd", "server": server, "export": self.export, "reconnect-delay": self.reconnect}


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel to start without the image's boot loader.  `cmdline`: as `cmdline_of` gives it."""

    kernel: PurePath
    initrd: PurePath | None
    cmdline: str


@dataclass(frozen=True, slots=True)
class Guest:
    """One start of a guest.

    `overlay`: the qcow2 file, or the descriptor of one (open for reading and writing).  `memory`: bytes.  `qmp`: a
    connected stream socket; `heard`: the writing end of a pipe, which gets whatever the console gets.  `extra`: what
    the user has for QEMU.
    """

    disk: NbdDisk
    overlay: PurePath | int
    memory: int
    accel: Accel
    kernel: Kernel | None
    qmp: int
    heard: int
    extra: tuple[str, ...] = ()


def command(guest: Guest, program: str = PROGRAM) -> list[str]:
    """The command line that starts `guest`.  Its descriptors must stay open in the new process."""
    base = {"driver": "raw", "node-name": "image", "read-only": True, "file": guest.disk.node()}
    files = [f"fd={guest.heard},set=1,opaque=console"]
    if isinstance(guest.overlay, int):
        files.append(f"fd={guest.overlay},set=2,opaque=overlay")
    overlay = "/dev/fdset/2" if isinstance(guest.overlay, int) else str(guest.overlay)
    disk = {
        "driver": "qcow2",
        "node-name": "disk",
        "discard": "unmap",  # what the guest trims shrinks the overlay
        "file": {"driver": "file", "filename": overlay, "discard": "unmap"},
        "backing": "image",
    }
    words = [
        program, "-nodefaults", "-no-user-config", "-display", "none",
        # Without graphics the firmware speaks on the console, which is of use where it has to find a boot loader.
        "-machine", "q35" if guest.kernel else "q35,graphics=off", "-accel", guest.accel,
        *(["-cpu", "host"] if guest.accel == "kvm" else []),
        "-m", f"{guest.memory >> 20}M",
        *(word for file in files for word in ("-add-fd", file)),
        "-blockdev", json.dumps(base), "-blockdev", json.dumps(disk),
        "-device", "virtio-blk-pci,drive=disk,bootindex=1",
        "-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile=",  # no ROM: nothing boots from there
        "-device", "virtio-rng-pci",
        "-chardev", "stdio,id=console,mux=on,signal=off,logfile=/dev/fdset/1,logappend=on",
        "-serial", "chardev:console", "-mon", "chardev=console,mode=readline",
        "-chardev", f"socket,id=qmp,fd={guest.qmp}", "-mon", "chardev=qmp,mode=control",
    ]  # fmt: skip
    if guest.kernel is not None:
        words += ["-kernel", str(guest.kernel.kernel), "-append", guest.kernel.cmdline]
        if guest.kernel.initrd is not None:
            # QEMU takes a list of files there, at least for a multiboot kernel.
            words += ["-initrd", doubled(str(guest.kernel.initrd))]
    return [*words, *guest.extra]


def doubled(text: str) -> str:
    """`text` as a value in one of QEMU's option strings, where a comma is written twice."""
    return text.replace(",", ",,")


def extra_arguments(texts: Iterable[str]) -> tuple[str, ...]:
    """The words of all --qemu options, split as a shell would.  Raises InputError."""
    words: list[str] = []
    for text in texts:
        try:
            words += shlex.split(text)
        except ValueError as error:
            raise InputError(f"--qemu {text!r}: {str(error).lower()}: quote it as for a shell") from None
    return tuple(words)


def check_memory(size: int) -> int:
    """`size`, bytes, rounded down to whole MiB.  Raises InputError where no guest comes up in that."""
    if not MEMORY[0] <= size <= MEMORY[1]:
        raise InputError(f"--memory: {size >> 20} MiB is no memory for a guest: write it with a unit, such as 1G")
    return size >> 20 << 20


def cmdline_of(data: bytes | None) -> str:
    """The kernel's command line in a `cmdline` target, or a plain one where there is none.  Raises InputError."""
    if data is None:
        return DEFAULT_CMDLINE
    try:
        text = " ".join(data.decode("utf-8").split())
    except UnicodeDecodeError:
        raise InputError("the published kernel command line is no UTF-8: tell the publisher") from None
    if len(text.encode()) > CMDLINE or not text.isprintable():
        raise InputError(f"the published kernel command line is no line of at most {CMDLINE} bytes: tell the publisher")
    return text


def disk_size(size: int) -> int:
    """The length of an overlay for an image of `size` bytes: whole sectors."""
    return -(-size // SECTOR) * SECTOR


class Watch:
    """Whether a guest is stuck under KVM.  Seconds are of whatever clock the caller uses.

    A sign is a byte on its console or of a block read.  It is stuck when no sign came for `patience`, until it is up:
    from then on nobody can tell one that hangs from one that idles.  A guest that is emulated is never stuck: there is
    nothing else to start it with, and it waits for a slow disk as long as that takes.

    One sign is not enough: a KVM that gets nowhere with a kernel was seen to run the firmware, which reads a sector.
    """

    def __init__(self, accel: Accel, started: float, patience: float = PATIENCE) -> None:
        self.patience = patience
        self.up = accel == "tcg"
        self._last = started
        self._signs = 0, 0

    def seen(self, console: int, read: int, now: float) -> None:
        """So many bytes were on its console, and so many bytes of blocks were read, since it was started."""
        signs = max(console, self._signs[0]), max(read, self._signs[1])
        if signs != self._signs:
            self._signs, self._last = signs, now
        self.up = self.up or signs[0] >= UP[0] or signs[1] >= UP[1]

    def left(self, now: float) -> float | None:
        """Seconds until it is stuck, 0 where it is; None where it is up."""
        return None if self.up else max(0.0, self._last + self.patience - now)

    def stuck(self, now: float) -> bool:
        """Whether its time is up without a sign."""
        return self.left(now) == 0.0


def bytes_read(answer: object) -> int:
    """The bytes read that QMP's query-blockstats tells of, over all disks; 0 where it is of another shape."""
    rows = answer if isinstance(answer, list) else []
    total = 0
    for row in rows:
        stats = row.get("stats") if isinstance(row, dict) else None
        read = stats.get("rd_bytes") if isinstance(stats, dict) else None
        total += read if isinstance(read, int) else 0
    return total


def overlay_folder(state: PurePath, repository: str, name: str, version: int) -> PurePath:
    """Where what a guest wrote to that version lies; `repository` is its id."""
    return state / "overlays" / repository / f"{name}@{version}"


def other_overlays(folders: Sequence[str], name: str, version: int) -> list[int]:
    """The other versions of `name` for which `folders` (names of overlay folders) has one, ascending."""
    matches = (_OVERLAY.fullmatch(folder) for folder in folders)
    found = {int(match["version"]) for match in matches if match and match["name"] == name}
    return sorted(found - {version})


def fresh_overlay_warning(others: Sequence[int], name: str, version: int) -> str:
    """What to tell when version `version` starts with nothing written, though `others` (ascending) have; or ""."""
    if not others:
        return ""
    last = others[-1]
    older = f" (and versions {', '.join(map(str, others[:-1]))})" if others[:-1] else ""
    return (
        f"{name} version {version} starts as it was published: what was written here belongs to version {last}{older}; "
        f"to go back to it: --version {last}"
    )
