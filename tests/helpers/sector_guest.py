"""A guest of one sector: it counts its boots on its own disk, tells the number on its console, and waits to be let go.

Its code is a boot sector for SeaBIOS: read the second sector by INT 13h, add one to its first byte, write it back,
print "BOOTED n" to the first serial port, wait for a byte there.  For an "r" it reads a sector far from there, of which
no overlay has a copy, and prints "READ"; for any other byte it powers off by ACPI's port as q35 has it.  All of it
takes a second or two under emulation, so that what `mirrornet boot` promises can be tried in real virtual machines.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path

PROGRAM = "from mirrornet.cli import main; main()"
_TEXT = b"BOOTED "
_ORIGIN = 0x7C00  # where a BIOS puts a boot sector


_SHOW = "show: ac 84c0 74 >shown baf803 ee eb >show shown: c3"  # prints what ds:si points to
_OFF = "off: ba0406 b80020 ef halt: f4 eb >halt"


def boot_sector(zero: str = "0") -> bytes:
    """512 bytes; the number printed is the count of boots, added to the character `zero`."""
    code = _assembled(
        _ORIGIN,
        "31c0 8ed8 8ec0 8ed0 bc007c "  # ds = es = ss = 0, stack below
        "b80102 bb0080 b90200 b600 cd13 "  # read sector 2 to 8000h
        "fe060080 "  # one more
        "b80103 bb0080 b90200 b600 cd13 "  # write it
        f"a00080 04{ord(zero):02x} a2 =digit be =booted "
        "shown_next: fa "  # no timer from here on: the firmware would write between, and take what comes on the port
        "e8 >>show "
        "wait: bafd03 ec a801 74 >wait baf803 ec 3c72 75 >off "
        "b80102 bb0082 b90100 b604 b280 cd13 be =read eb >shown_next "
        f"{_OFF} {_SHOW} booted: {_TEXT.hex()} digit: 300a00 read: {b'READ'.hex()}0a00",
    )
    return code.ljust(510, b"\0") + b"\x55\xaa"


def small_kernel() -> bytes:
    """A bzImage that prints "KERNEL " and its command line, waits for a byte and powers off.

    It is setup code alone (Linux/x86 boot protocol 2.02): QEMU puts it at 10000h, the command line at 20000h, and jumps
    to the file's byte 200h.
    """
    entry = 0x268
    code = _assembled(
        entry - 0x200,
        "fa 8cc8 8ed8 be =kernel e8 >>show "
        "b80020 8ed8 31f6 e8 >>show "  # ds:si = the command line
        f"wait: bafd03 ec a801 74 >wait {_OFF} {_SHOW} kernel: {b'KERNEL '.hex()}00",
    )
    image = bytearray(0x400)
    image[0x1F1] = 1  # sectors of setup code
    image[0x1FE:0x200] = b"\x55\xaa"
    image[0x200:0x206] = b"\xeb\x66HdrS"
    image[0x206:0x208] = (0x202).to_bytes(2, "little")
    image[0x211] = 1  # the rest is loaded high
    image[entry : entry + len(code)] = code
    return bytes(image) + bytes(512)


def _assembled(origin: int, text: str) -> bytes:
    """Bytes in hex, with places (name:) and ways to them: =name is its address, >name and >>name the distance to it."""
    places: dict[str, int] = {}
    code = bytearray()
    for _ in range(2):  # in the first round the places are not known yet
        code.clear()
        for word in text.split():
            name = word.lstrip("=>")
            if word.endswith(":"):
                places[word[:-1]] = len(code)
            elif word.startswith(">>"):
                code += (places.get(name, 0) - len(code) - 2).to_bytes(2, "little", signed=True)
            elif word.startswith(">"):
                code += ((places.get(name, len(code)) - len(code) - 1) & 255).to_bytes(1, "little")
            elif word.startswith("="):
                code += (origin + places.get(name, 0)).to_bytes(2, "little")
            else:
                code += bytes.fromhex(word)
    return bytes(code)


def sector_image(path: Path, zero: str = "0", size: int = 1 << 20) -> Path:
    """A disk of `size` bytes that boots."""
    path.write_bytes(boot_sector(zero).ljust(size, b"\0"))
    return path


class Boot:
    """`mirrornet boot` with `words`, its console in `seen`, what it says in `errors`."""

    def __init__(
        self, folder: Path, *words: str, path: str = "", program: str = PROGRAM, terminal: bool = False
    ) -> None:
        """`path`: where programs are looked for; `terminal`: its console is one (`tty`)."""
        command = [sys.executable, "-c", program, "boot", *words]
        self._errors = folder / f"errors-{time.monotonic_ns()}"
        if terminal:
            self._ours, self.tty = os.openpty()
            self._keys = os.dup(self._ours)
            inward = outward = self.tty
        else:
            inward, self._keys = os.pipe()
            self._ours, outward = os.pipe()
            self.tty = -1
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                command,
                stdin=inward,
                stdout=outward,
                stderr=errors,
                env={**os.environ, "PATH": path or os.environ["PATH"]},
            )
        if not terminal:
            os.close(inward)
            os.close(outward)
        self.seen = b""

    @property
    def errors(self) -> str:
        """What it wrote to stderr until now."""
        return self._errors.read_text(errors="replace")

    def until(self, text: str, patience: float = 60.0) -> None:
        """Waits until its console shows `text`."""
        deadline = time.monotonic() + patience
        while text.encode() not in self.seen:
            assert self._more(deadline - time.monotonic()), f"no {text!r} in {self.seen[-2000:]!r}; {self.errors}"

    def type(self, key: bytes) -> None:
        """Types on its console."""
        os.write(self._keys, key)

    def off(self) -> int:
        """Lets the guest power off: the exit code."""
        self.type(b"x")
        return self.ended()

    def ended(self, patience: float = 60.0) -> int:
        """Waits for its end: the exit code."""
        deadline = time.monotonic() + patience
        while self._more(deadline - time.monotonic()):
            pass
        return self.process.wait(max(0.1, deadline - time.monotonic()))

    def children(self) -> dict[str, int]:
        """Its processes by program: "qemu" and "client"."""
        found = {}
        for child in _children(self.process.pid):
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
                found["qemu" if b"qemu-system" in words[0] else "client"] = child
        return found

    def end(self) -> None:
        """Ends what is left of it."""
        for pid in (*self.children().values(), self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        for descriptor in (self._keys, self._ours, self.tty):
            if descriptor >= 0:
                os.close(descriptor)
        self._keys = self._ours = self.tty = -1

    def _more(self, seconds: float) -> bool:
        """Reads what is on its console, waiting for it at most so long; whether there was any."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._ours, selectors.EVENT_READ)
            if not selector.select(max(0.0, seconds)):
                return False
        piece = os.read(self._ours, 1 << 16)
        self.seen += piece
        return bool(piece)


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def is_gone(pid: int) -> bool:
    """Whether that process has ended; its parent may not have noticed yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
