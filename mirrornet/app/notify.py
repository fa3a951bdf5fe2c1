"""What we tell the service manager, and what it keeps for us: systemd's protocol of sd_notify(3) and sd_listen_fds(3).

A service of `Type=notify` says when it is ready, and every few seconds that it is alive: one datagram of NAME=VALUE
lines to the socket in NOTIFY_SOCKET.  With FDSTORE=1 it hands descriptors to the manager, which gives them back, by
name, to the next process of the same unit: so sockets outlive whoever listens on them, and with them what has queued.
Descriptors that a .socket unit opened come the same way.  Where the variables are absent every call does nothing.

The variables are taken out of the environment at once: children must not believe that they are meant.

Rejected: python-systemd (a compiler and libsystemd's headers, for six lines of protocol), sdnotify (it can neither
hand over descriptors nor take them).
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Final

log = logging.getLogger(__name__)

_FIRST: Final = 3  # SD_LISTEN_FDS_START
_PATIENCE: Final = 1.0  # seconds: a manager that does not read must not hold us up


@dataclass(frozen=True, slots=True)
class Given:
    """A socket that the manager kept or opened for us, close-on-exec; `name` as in FileDescriptorName= or FDNAME=."""

    name: str
    socket: socket.socket


@dataclass(slots=True)
class Manager:
    """Whoever started us.  `watchdog`: seconds within which it wants to hear from us; None: it does not."""

    address: str = ""
    watchdog: float | None = None
    given: list[Given] = field(default_factory=list)

    @classmethod
    def of(cls, environment: MutableMapping[str, str]) -> Manager:
        """Reads `environment` and takes out of it what is meant for this process alone."""
        found = {
            name: environment.pop(name, "")
            for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
        }
        own = str(os.getpid())
        watchdog = None
        if found["WATCHDOG_USEC"].isdecimal() and found["WATCHDOG_PID"] in ("", own):
            watchdog = int(found["WATCHDOG_USEC"]) / 1e6 or None
        given = []
        if found["LISTEN_PID"] == own and found["LISTEN_FDS"].isdecimal():
            given = _given(int(found["LISTEN_FDS"]), found["LISTEN_FDNAMES"].split(":"))
        return cls(found["NOTIFY_SOCKET"], watchdog, given)

    def ready(self, status: str) -> None:
        """The start is over; `status` is what `systemctl status` shows."""
        self._tell(("READY=1", _status(status)))

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._tell((_status(text),))

    def alive(self) -> None:
        """To be said well within every `watchdog` seconds."""
        self._tell(("WATCHDOG=1",))

    def stopping(self) -> None:
        self._tell(("STOPPING=1",))

    def keep(self, name: str, sock: socket.socket) -> None:
        """Hands a copy of `sock` to the manager, for who comes after us.

        FDPOLL=0: the manager would drop a socket on which an error is reported, which any host on the net can cause.
        """
        self._tell(("FDSTORE=1", f"FDNAME={name}", "FDPOLL=0"), (sock.fileno(),))

    def drop(self, name: str) -> None:
        """The manager forgets what it keeps under `name`; a socket that nobody reads would swallow its queries."""
        self._tell(("FDSTOREREMOVE=1", f"FDNAME={name}"))

    def _tell(self, lines: Iterable[str], descriptors: tuple[int, ...] = ()) -> None:
        if not self.address:
            return
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address  # an abstract one
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(_PATIENCE)
                sock.connect(address)
                message = "\n".join(lines).encode()
                if descriptors:
                    socket.send_fds(sock, [message], descriptors)
                else:
                    sock.send(message)
        except (OSError, ValueError) as error:
            log.warning("the service manager (%s) does not listen: %s", self.address, error)


async def attend(manager: Manager) -> None:
    """Says that this event loop is alive, three times as often as the manager wants to hear it; until cancelled."""
    while manager.watchdog:
        manager.alive()
        await asyncio.sleep(manager.watchdog / 3)


def _status(text: str) -> str:
    return "STATUS=" + " ".join(text.split())


def _given(count: int, names: list[str]) -> list[Given]:
    found = []
    for number in range(count):
        descriptor = _FIRST + number
        try:
            os.set_inheritable(descriptor, False)
            sock = socket.socket(fileno=descriptor)
        except OSError as error:
            log.warning("descriptor %d of the service manager is no socket: %s", descriptor, error)
            continue
        found.append(Given(names[number] if number < len(names) else "", sock))
    return found
