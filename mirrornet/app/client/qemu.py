"""One QEMU process: started with what it needs, watched, told to power off, ended.

No threads and no event loop, since whoever waits here also forks: a selector over QMP, the console's second stream
and a socket that signals wake.  QEMU ends when this process does, also by kill -9 (PR_SET_PDEATHSIG: the kernel kills
it; there is nothing to save, since a guest's disk survives a power cut or is not worth the name).

A guest whose disk is full is stopped by QEMU, and continued here every few seconds until its writes fit.

The console goes from QEMU straight to stdin and stdout.  Its second stream is a pipe that only tells whether a byte
came, and is closed once the guest is up, so that no byte of a busy console comes by here.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any, Final, Protocol

from mirrornet.client.guest import Watch, bytes_read
from mirrornet.model.errors import LocalError

ASK: Final = 0.5  # seconds between two questions whether a block was read
POWER_OFF: Final = 60.0  # seconds that a guest has to power off when it is asked to
END: Final = 2.0  # seconds that QEMU has to end when it is told to
RETRY: Final = 5.0  # seconds between two looks whether a full disk has space again
EARLY: Final = 60.0  # seconds in which a guest whose KVM gives up may be started again
LINE: Final = 1 << 20  # bytes of one QMP message
_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class Stuck(LocalError):
    """The guest does not run, and KVM is why.  `early`: it has hardly begun, so it may as well be started again."""

    def __init__(self, message: str, early: bool) -> None:
        super().__init__(message)
        self.early = early


class Companion(Protocol):
    """A process that QEMU cannot do without.  `wake` is called when `link` is readable, which may change it.

    It says whether to go on.
    """

    link: socket.socket

    def wake(self) -> bool: ...


class Signals:
    """How often we were told to stop, and a descriptor that wakes whoever waits."""

    def __init__(self) -> None:
        self.stops = 0
        self.wake, self._written = socket.socketpair()

    @contextlib.contextmanager
    def caught(self) -> Iterator[Signals]:
        """Counts SIGTERM, SIGHUP and SIGINT instead of ending; a signal that was ignored before stays ignored."""
        before: dict[int, Any] = {}

        def stop(number: int, frame: FrameType | None) -> None:
            self.stops += number in _SIGNALS

        self._written.setblocking(False)
        self.wake.setblocking(False)
        woken = signal.set_wakeup_fd(self._written.fileno(), warn_on_full_buffer=False)
        try:
            for number in (*_SIGNALS, signal.SIGCHLD):
                if number == signal.SIGCHLD or signal.getsignal(number) is not signal.SIG_IGN:
                    before[number] = signal.signal(number, stop)
            yield self
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)
            signal.set_wakeup_fd(woken)
            self.wake.close()
            self._written.close()

    def drain(self) -> None:
        """Takes what woke us."""
        with contextlib.suppress(BlockingIOError):
            while self.wake.recv(4096):
                pass


class Qemu:
    """A running QEMU.  Use as a context manager: it is gone at the end."""

    def __init__(self, command: Callable[[int, int], list[str]], keep: Sequence[int] = ()) -> None:
        """`command` gets the descriptors for QMP and for the console's second stream; `keep`: more that it needs.

        Raises LocalError where it cannot be started.
        """
        self._qmp, theirs = socket.socketpair()
        self._qmp.setblocking(False)
        self._heard, written = os.pipe()
        self._line = bytearray()
        self._greeted = False
        self._ask_at = self._retry_at = 0.0
        self._full_told = False
        self._begun = time.monotonic()
        self.console = self.read = 0
        self.status = "running"
        self.forced = False  # ended by us, before the guest had powered off
        words = command(theirs.fileno(), written)
        try:
            self._process = subprocess.Popen(
                words,
                pass_fds=(theirs.fileno(), written, *keep),
                preexec_fn=_die_with_parent(os.getpid()),  # noqa: PLW1509, there are no threads here
            )
        except OSError as error:
            self._close()
            raise LocalError(f"{words[0]}: cannot be started: {error.strerror}") from None
        finally:
            theirs.close()
            os.close(written)

    def __enter__(self) -> Qemu:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._close()

    def attend(self, watch: Watch, signals: Signals, other: Companion, say: Callable[[str], None]) -> int:
        """Waits for its end: the exit code (negative: the signal that ended it).

        `say` gets what a person who ends us should know.  Raises Stuck.
        """
        asked_off: float | None = None
        with selectors.DefaultSelector() as selector:
            for file in (self._qmp, self._heard, signals.wake, other.link):
                selector.register(file, selectors.EVENT_READ)
            while (code := self._process.poll()) is None:
                now = time.monotonic()
                watch.seen(self.console, self.read, now)
                self._judge(watch, now)
                if signals.stops and asked_off is None:
                    asked_off = now
                    self._say("system_powerdown")
                    say(f"the guest is asked to power off within {POWER_OFF:.0f} s; a second signal ends it at once")
                if signals.stops > 1 or (asked_off is not None and now - asked_off > POWER_OFF):
                    self.forced = True
                    return self.end()
                waits = [] if asked_off is None else [asked_off + POWER_OFF - now]
                if self.status == "io-error":
                    waits.append(self._retry(now, say))
                if (left := watch.left(now)) is not None:
                    waits += [left, self._ask(now)]
                elif self._heard >= 0:
                    selector.unregister(self._heard)
                    self._hush()
                for key, _ in selector.select(max(0.01, min(waits)) if waits else None):
                    if key.fileobj is signals.wake:
                        signals.drain()
                    elif key.fileobj is other.link:
                        selector.unregister(other.link)
                        if not other.wake():
                            return self.end()
                        selector.register(other.link, selectors.EVENT_READ)
                    elif key.fileobj is self._qmp:
                        if not self._listen():
                            selector.unregister(self._qmp)
                    elif not self._hear():
                        selector.unregister(self._heard)
                        self._hush()
        return code

    def _judge(self, watch: Watch, now: float) -> None:
        early = now - self._begun < EARLY
        if watch.stuck(now):
            raise Stuck(
                f"the guest made no progress: no byte on its console and no block read in {watch.patience:g} s", early
            )
        if self.status == "internal-error":
            raise Stuck("the guest was stopped by an internal error of KVM", early)

    def end(self) -> int:
        """Ends it, if it still runs: the exit code."""
        self._say("quit")  # goes without a message of QEMU's
        self._ended(END)
        if self._process.poll() is None:
            self._process.terminate()
            self._ended(END)
        if self._process.poll() is None:  # under a KVM that hangs it hears nothing
            self._process.kill()
        return self._process.wait()

    def _retry(self, now: float, say: Callable[[str], None]) -> float:
        """QEMU stopped the guest, whose writes have no space on this machine: seconds until they are tried again."""
        if not self._full_told:
            self._full_told = True
            say("this machine's disk is full: the guest waits until what it writes has space")
        if now >= self._retry_at:
            self._retry_at = now + RETRY
            self.status = "running"  # until QEMU says otherwise
            self._say("cont")
        return self._retry_at - now

    def _ended(self, seconds: float) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)

    def _hear(self) -> bool:
        """Counts what came on the console; whether more may."""
        piece = os.read(self._heard, 1 << 16)
        self.console += len(piece)
        return bool(piece)

    def _hush(self) -> None:
        """Listens to the console no more."""
        if self._heard >= 0:
            os.close(self._heard)
            self._heard = -1

    def _listen(self) -> bool:
        """Takes what QMP says; whether it will say more."""
        try:
            piece = self._qmp.recv(1 << 16)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._line += piece
        *lines, rest = self._line.split(b"\n")
        self._line = rest
        for line in lines:
            with contextlib.suppress(ValueError):
                self._take(json.loads(line))
        return bool(piece) and len(self._line) <= LINE

    def _take(self, message: Any) -> None:
        if not isinstance(message, dict):
            return
        if "QMP" in message:
            self._greeted = True
            self._say("qmp_capabilities")
        elif message.get("event") == "STOP":
            self._say("query-status")
        elif isinstance(answer := message.get("return"), dict) and "status" in answer:
            self.status = str(answer["status"])
        elif "return" in message:
            self.read = max(self.read, bytes_read(message["return"]))

    def _ask(self, now: float) -> float:
        """Asks what was read, if it is time to; seconds until it is again."""
        if self._greeted and now >= self._ask_at:
            self._ask_at = now + ASK
            self._say("query-blockstats")
        return max(ASK / 2, self._ask_at - now)

    def _say(self, command: str) -> None:
        with contextlib.suppress(OSError):
            self._qmp.send(json.dumps({"execute": command}).encode() + b"\n")

    def _close(self) -> None:
        self._qmp.close()
        self._hush()


@contextlib.contextmanager
def terminal_kept() -> Iterator[None]:
    """Puts the terminal back as it was: a QEMU that was killed leaves it raw, and reads from it unwaiting."""
    flags = {number: fcntl.fcntl(number, fcntl.F_GETFL) for number in (0, 1, 2)}
    modes = termios.tcgetattr(0) if sys.stdin.isatty() else None
    try:
        yield
    finally:
        for number, flag in flags.items():
            fcntl.fcntl(number, fcntl.F_SETFL, flag)
        if modes is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(0, termios.TCSADRAIN, modes)


def _die_with_parent(parent: int) -> Callable[[], None]:
    """What the new process does before it becomes QEMU."""
    libc = ctypes.CDLL(None)

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died in this moment
            os._exit(1)

    return prepare
