"""The image as a guest's disk: a process that serves it over NBD, looked after by the one that started it.

The guest's disk must not hang on the process that holds the terminal, nor the other way round: the client is Python
with threads and an event loop, the other one waits for QEMU and forks.  A socket pair joins the two.  The client tells
over it, one JSON object a line, what it found (`Lent`) or why it failed; its end, however it comes, is the end of the
client.  So a boot that is killed by -9 leaves nothing behind; where both are, the next boot removes two names in the
run folder.

The socket at which QEMU finds the disk is opened here and handed on.  Where the client dies, QEMU connects again at
once, its connection waits in the socket's queue, and the next client, which is forked from this process and asks
nobody what is already verified, answers it: the guest waits for a fraction of a second and sees no error.

Rejected: the image through FUSE (needs root or a setuid program, and a mount whose process died cannot be revived); a
client that opens the socket (between two clients there is none, and QEMU waits 1, 2, 4 … s between its attempts).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from mirrornet.app.client import bootclient
from mirrornet.app.client.nbd import unix_socket
from mirrornet.app.client.session import ClientOptions
from mirrornet.app.daemon import Failed
from mirrornet.app.folders import run_folder
from mirrornet.app.lock import alone
from mirrornet.client.guest import Kernel, NbdDisk
from mirrornet.model.errors import LocalError

LEAVE: Final = 10.0  # seconds for the client to end
RECONNECT: Final = 600  # seconds for which a guest's reads wait for the next client
AGAIN: Final = 5, 60.0  # so often may the client die in so many seconds
_SOCKET: Final = "disk"


@dataclass(frozen=True, slots=True)
class Lent:
    """What a guest can be started with.  `repository`: its id; `size`: of the image, in bytes."""

    repository: str
    version: int
    size: int
    disk: NbdDisk
    kernel: Kernel | None


class Disk:
    """The client's process, as its parent sees it.  `close` ends it."""

    def __init__(self, options: ClientOptions, place: Path, prepare: Callable[[], None]) -> None:
        """Starts it; `place`: a folder of its own; `prepare` sets up its log.  Raises LocalError.

        Call from a process without threads: it forks.
        """
        self._options, self._place, self._prepare = options, place, prepare
        self._deaths: list[float] = []
        self._rest = b""
        self.failure = ""
        self._listening = unix_socket(place / _SOCKET)
        self._start(again=False)

    def _start(self, *, again: bool) -> None:
        self.link, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            serving = bootclient.Serving(self._options, self._place / _SOCKET, theirs, self._listening, again)
            bootclient.become(serving, self._prepare)
        theirs.close()

    def wait(self, warn: Callable[[str], None], fetching: Callable[[int], None]) -> Lent:
        """What it lends, once it does; `fetching` hears how many bytes of a kernel have to come before that.

        Raises Failed with its reason, LocalError where it died without one.
        """
        while message := self._message():
            if "warning" in message:
                warn(message["warning"])
            if "fetching" in message:
                fetching(message["fetching"])
            if "error" in message:
                raise Failed(message["error"], message["code"])
            if "lent" in message:
                lent = self._lent(message["lent"])
                # Whoever comes after it serves the same version.
                self._options = replace(self._options, version=lent.version)
                return lent
        raise LocalError("the process that reads the image died before it was ready; see its log (--log FILE)")

    def wake(self) -> bool:
        """To be called when `link` is readable: takes what it says, and starts another one if it has died.

        False where that is of no use: it said why it cannot go on, or dies again and again; `failure` says so.
        """
        message = self._message()
        if message is not None:
            self.failure = message.get("error", "")
            return not self.failure
        self.link.close()
        os.waitpid(self.pid, 0)
        now = time.monotonic()
        self._deaths = [*(death for death in self._deaths if now - death < AGAIN[1]), now]
        if len(self._deaths) > AGAIN[0]:
            self.failure = f"the process that reads the image died {len(self._deaths)} times in a minute"
            return False
        self._start(again=True)
        return True

    def close(self) -> None:
        """Ends it."""
        self.link.close()
        self._listening.close()
        with contextlib.suppress(ChildProcessError):
            if not _gone(self.pid, LEAVE):
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)

    def _message(self) -> dict[str, Any] | None:
        """The next line of it; None where it is gone.  Waits."""
        while b"\n" not in self._rest:
            piece = self.link.recv(1 << 16)
            if not piece:
                self._rest = b""
                return None
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def _lent(self, message: dict[str, Any]) -> Lent:
        kernel = message["kernel"]
        return Lent(
            message["repository"],
            message["version"],
            message["size"],
            NbdDisk(self._place / _SOCKET, message["export"], RECONNECT),
            kernel and Kernel(Path(kernel["kernel"]), kernel["initrd"] and Path(kernel["initrd"]), kernel["cmdline"]),
        )


def _gone(pid: int, seconds: float) -> bool:
    """Whether the child `pid` ends within that time."""
    until = time.monotonic() + seconds
    while True:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return True
        if time.monotonic() >= until:
            return False
        time.sleep(0.01)


@contextlib.contextmanager
def place() -> Iterator[Path]:
    """A folder of our own for one boot, gone at the end; those of boots that were killed go, too.

    Raises LocalError.
    """
    folder = run_folder()
    refused = "the run folder must be writable"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        made = Path(tempfile.mkdtemp(prefix="boot-", dir=folder))
    except OSError as error:
        raise LocalError(f"{folder}: {error.strerror}: {refused}") from None
    try:
        with alone(made, taken="another boot uses it{who}", refused=refused):
            yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Removes the places of boots that are no more: nobody holds their lock."""
    for left in folder.glob("boot-*"):
        with contextlib.suppress(LocalError, OSError):
            if time.time() - left.stat().st_mtime > 1.0:  # a new one is locked in this moment
                with alone(left, taken="", refused=""):
                    shutil.rmtree(left, ignore_errors=True)
