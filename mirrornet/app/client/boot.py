"""`mirrornet boot`: an image in a virtual machine, until that is switched off.

Order of events: what can be wrong on this machine is found out before the network is asked; a process of its own lends
the image (bootdisk.py); the overlay is made or found, and locked; QEMU runs (qemu.py).  It ends in reverse.  Without
us the others end, too; the image's process is started again where it dies.

What the guest writes lies in `state`/overlays/<repository id>/NAME@VERSION/disk.qcow2.  An overlay is worth something
over that one version only, so another version gets another; with `ephemeral` it is a file without a name.

KVM may be there and not work (nested virtualisation that opens and hangs).  Where the user did not ask for it, a guest
without a sign of life is started again with TCG, and the machine's boot id is kept in `state`/kvm-hangs, so that this
is found out once until the machine is started anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mirrornet.app.client.bootdisk import Disk, Lent, place
from mirrornet.app.client.qemu import Qemu, Signals, Stuck, terminal_kept
from mirrornet.app.client.session import ClientOptions
from mirrornet.app.folders import state_folder
from mirrornet.app.lock import alone
from mirrornet.client import guest
from mirrornet.model.errors import LocalError
from mirrornet.model.units import format_size

INTERRUPTED: Final = 130
WORTH_TELLING: Final = 1 << 20  # bytes of a kernel to be fetched
KVM: Final = Path("/dev/kvm")
_KVM_CREATE_VM: Final = 0xAE01  # linux/kvm.h; gives a descriptor
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class BootOptions:
    """The command line of `boot`.

    `memory`: bytes; `accel` None: what works; `extra`: more words for QEMU; `patience`: seconds without a sign of life.
    """

    client: ClientOptions
    memory: int
    accel: guest.Accel | None
    ephemeral: bool
    extra: tuple[str, ...]
    patience: float = guest.PATIENCE


def boot(options: BootOptions, say: Callable[[str], None], prepare: Callable[[], None]) -> int:
    """Boots the image and returns QEMU's exit code when the guest is switched off.

    `say` gets what a person should know; `prepare` sets up the log of the process that reads the image.  Raises
    MirrornetError where it does not come to a guest.
    """
    program, maker = _program(guest.PROGRAM, "qemu-system-x86"), _program("qemu-img", "qemu-utils")
    state = options.client.state or state_folder()
    accel = options.accel or _usable(state, say)
    with contextlib.ExitStack() as stack:
        disk = Disk(options.client, stack.enter_context(place()), prepare)
        stack.callback(disk.close)
        lent = disk.wait(lambda warning: say(f"warning: {warning}"), lambda size: _fetching(size, say))
        overlay, keep = stack.enter_context(_overlay(options, lent, state, maker, say))
        signals = stack.enter_context(Signals().caught())
        run = functools.partial(_run, options, lent, disk, overlay, keep, program, signals, say)
        try:
            code = run(accel)
            if accel == "kvm":
                _mark(state).unlink(missing_ok=True)
            return code
        except Stuck as error:
            if options.accel is not None or signals.stops or not error.early:
                raise LocalError(f"{error}: try --accel tcg") from None
            say(f"{error}; KVM does not work here, so it is started again with --accel tcg")
            _remember(state)
        return run("tcg")


def _run(
    options: BootOptions,
    lent: Lent,
    disk: Disk,
    overlay: Path | int,
    keep: tuple[int, ...],
    program: str,
    signals: Signals,
    say: Callable[[str], None],
    accel: guest.Accel,
) -> int:
    """One start of QEMU: what we exit with.  Raises Stuck; LocalError where the image's process or QEMU died."""

    def command(qmp: int, heard: int) -> list[str]:
        start = guest.Guest(lent.disk, overlay, options.memory, accel, lent.kernel, qmp, heard, options.extra)
        return guest.command(start, program)

    with terminal_kept(), Qemu(command, keep) as qemu:
        code = qemu.attend(guest.Watch(accel, time.monotonic(), options.patience), signals, disk, say)
    if disk.failure:
        raise LocalError(f"{disk.failure}, so the guest was ended; see its log (--log FILE)")
    if qemu.forced:
        return INTERRUPTED
    if code < 0:
        raise LocalError(f"{guest.PROGRAM} was ended by signal {-code}")
    return code


def _fetching(size: int, say: Callable[[str], None]) -> None:
    """Somebody who looks at a terminal wants to know why nothing happens there."""
    if size > WORTH_TELLING and sys.stderr.isatty():
        say(f"fetching the kernel, {format_size(size)}")


def _program(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise LocalError(f"there is no {name} on this machine: install QEMU (Debian: apt install {package})")
    return found


# -- KVM


def _usable(state: Path, say: Callable[[str], None]) -> guest.Accel:
    """KVM where it can make a machine, and did not hang since this one was started."""
    try:
        with KVM.open("r+b", buffering=0) as device:
            os.close(fcntl.ioctl(device, _KVM_CREATE_VM, 0))
    except OSError:
        return "tcg"
    with contextlib.suppress(OSError):
        if _mark(state).read_text() == _BOOT_ID.read_text():
            say("KVM hung here before, so the guest is emulated (--accel kvm tries again)")
            return "tcg"
    return "kvm"


def _mark(state: Path) -> Path:
    return state / "kvm-hangs"


def _remember(state: Path) -> None:
    with contextlib.suppress(OSError):  # then it is found out again
        _mark(state).write_text(_BOOT_ID.read_text())


# -- files


@contextlib.contextmanager
def _overlay(
    options: BootOptions, lent: Lent, state: Path, maker: str, say: Callable[[str], None]
) -> Iterator[tuple[Path | int, tuple[int, ...]]]:
    """The overlay, and the descriptors that QEMU must inherit.  Raises LocalError."""
    name = options.client.name
    folder = Path(guest.overlay_folder(state, lent.repository, name, lent.version))
    if options.ephemeral:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            file = tempfile.TemporaryFile(dir=folder.parent)  # noqa: SIM115
        except OSError as error:
            raise LocalError(f"{folder.parent}: {error.strerror}: the state folder must be writable") from None
        with file:
            _make(maker, f"/dev/fd/{file.fileno()}", lent.size, file.fileno())
            yield file.fileno(), (file.fileno(),)
        return
    taken = f"{name} version {lent.version} runs already{{who}}: shut that guest down, or boot with --ephemeral"
    with alone(folder, taken=taken, refused="the state folder must be writable (see --state)") as lock:
        path = folder / "disk.qcow2"
        if not path.exists():
            kept = [each.parent.name for each in folder.parent.glob(f"*/{path.name}")]
            others = guest.other_overlays(kept, name, lent.version)
            if warning := guest.fresh_overlay_warning(others, name, lent.version):
                say(f"warning: {warning}")
            new = folder / "disk.qcow2.new"  # a second boot cannot be at it: the folder is ours
            _make(maker, str(new), lent.size)
            new.rename(path)
        yield path, (lock,)


def _make(maker: str, path: str, size: int, *keep: int) -> None:
    command = [maker, "create", "-q", "-f", "qcow2", path, str(guest.disk_size(size))]
    done = subprocess.run(command, capture_output=True, text=True, pass_fds=keep, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise LocalError(f"the overlay cannot be made: {lines[-1]}")
