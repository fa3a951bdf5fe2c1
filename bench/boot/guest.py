"""The guest of the comparison: where it is, how qemu boots it, and its reads recorded once.

    python bench/boot/guest.py        builds and records it, where that is not done; says what the boot touches

scripts/guest/build makes it (a Debian of 560 MB in 2 GB; root and the network), in a cache of the bench's own.  qemu
runs without KVM (tcg), with 1 GB and one virtio disk: a throw-away overlay over what a contestant serves.  The clock
runs from qemu's start to the line that the guest writes on its serial console when multi-user.target is reached.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOUSE = HERE.parents[1]
sys.path[:0] = [str(HERE), str(HOUSE)]

from recording import decode, encode, parse_log, steps, touched  # noqa: E402

BLOCK = 256 << 10
MARKER = b"GUEST-READY"
PATIENCE = 600.0  # seconds for one boot on a busy machine


def folder() -> Path:
    """Where the guest is kept: guest.img, vmlinuz, initrd.img, and our recording."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "mirrornet-bench" / "guest"


def image() -> Path:
    """The guest's disk, built where it is not.  Raises RuntimeError with the script's last words."""
    if not (folder() / "guest.img").exists():
        done = subprocess.run([HOUSE / "scripts/guest/build", folder()], check=False, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise RuntimeError(f"no guest: {done.stderr.strip().splitlines()[-1]}")
    return folder() / "guest.img"


@dataclass(frozen=True, slots=True)
class Boot:
    """`seconds` from qemu's start to the marker, `marker` the time of day then; `cpu` seconds that qemu took."""

    seconds: float
    marker: float
    cpu: float


def boot(drive: Sequence[str], overlay: Path, prefix: Sequence[str] = ()) -> Boot:
    """Boots over the block device of qemu's that `drive` makes under the name "base"; `prefix` comes before qemu.

    The overlay file is made anew.  Raises RuntimeError where the guest does not reach its marker.
    """
    overlay.unlink(missing_ok=True)
    create = ["qemu-img", "create", "-q", "-f", "qcow2", str(overlay), str(image().stat().st_size)]
    subprocess.run(create, check=True)
    command = [*prefix, "qemu-system-x86_64", "-accel", "tcg", "-m", "1G", "-nodefaults", "-display", "none"]
    command += ["-serial", "stdio", "-no-reboot", "-kernel", str(folder() / "vmlinuz")]
    command += ["-initrd", str(folder() / "initrd.img"), "-append", "root=/dev/vda console=ttyS0 quiet", *drive]
    command += ["-blockdev", f"driver=file,filename={overlay},node-name=top-file"]
    command += ["-blockdev", "driver=qcow2,file=top-file,backing=base,node-name=top"]
    command += ["-device", "virtio-blk-pci,drive=top"]
    begun = time.monotonic()
    with (overlay.with_suffix(".console")).open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
    assert process.stdout is not None
    said = b""
    try:
        while MARKER not in said:
            left = begun + PATIENCE - time.monotonic()
            ready = select.select([process.stdout], [], [], max(0.0, left))[0]
            piece = os.read(process.stdout.fileno(), 65536) if ready else b""
            if not piece:
                error = overlay.with_suffix(".console").read_text(errors="replace")
                last = (said.decode(errors="replace") + error).strip().splitlines() or ["silence"]
                raise RuntimeError(f"the guest did not come up in {time.monotonic() - begun:.0f} s: {last[-1]}")
            said += piece
        return Boot(time.monotonic() - begun, time.time(), cpu(process.pid))
    finally:
        process.kill()
        process.stdout.close()
        process.wait()
        overlay.unlink(missing_ok=True)


def file_drive(path: Path) -> list[str]:
    """A raw file as qemu's "base"."""
    first = f"driver=file,filename={path},node-name=base-file,read-only=on"
    return ["-blockdev", first, "-blockdev", "driver=raw,file=base-file,node-name=base,read-only=on"]


def cpu(pid: int) -> float:
    """Seconds of user and system time of one process, all its threads; 0 where it has gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def recorded() -> Path:
    """The file of the boot's steps, recorded where that has not been done for this guest.  Raises RuntimeError."""
    disk = image()
    file = folder() / "boot.steps.json"
    if file.exists() and file.stat().st_mtime > disk.stat().st_mtime:
        return file
    if shutil.which("nbdkit") is None:
        raise RuntimeError("nothing to replay: a boot is recorded by nbdkit (Debian: nbdkit)")
    with tempfile.TemporaryDirectory(prefix="bench-boot-") as name:
        socket, log = Path(name) / "socket", Path(name) / "log"
        command = ["nbdkit", "--foreground", "--readonly", "--unix", str(socket), "--filter=log", "file", str(disk)]
        with subprocess.Popen([*command, f"logfile={log}"], env={**os.environ, "TZ": "UTC"}) as server:
            try:
                wait(socket.exists, server)
                drive = f"driver=nbd,server.type=unix,server.path={socket},node-name=base,read-only=on"
                marker = boot(["-blockdev", drive], Path(name) / "overlay").marker
            finally:
                server.terminate()
        found = steps(parse_log(log.read_text().splitlines(), marker))
    if not found:
        raise RuntimeError("nbdkit's log has no reads of the guest's")
    beside = file.with_suffix(".new")
    beside.write_text(encode(found))
    beside.rename(file)
    return file


def wait(holds: Callable[[], object], process: subprocess.Popen[bytes], seconds: float = 60.0) -> None:
    """Returns when `holds()`.  Raises RuntimeError where the process ends, or after `seconds`."""
    end = time.monotonic() + seconds
    while not holds():
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"{process.args!r} is not ready (exit code {process.returncode})")
        time.sleep(0.01)


def main() -> int:
    """The command."""
    all_steps = decode(recorded().read_text())
    blocks = touched(all_steps, BLOCK)
    think = sum(step.think for step in all_steps)
    size = sum(step.size for step in all_steps)
    print(f"{recorded()}: {len(all_steps)} reads of {size / 1e6:.1f} MB, in {len(blocks)} blocks", end=" ")
    print(f"({len(blocks) * BLOCK / 1e6:.0f} MB); think time {think:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
