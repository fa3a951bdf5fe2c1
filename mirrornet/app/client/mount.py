"""`mirrornet mount`: one image version in the kernel's tree, until it is let go.

Order of events: the mount point is made ready (so that an operator's slip costs no network), the session finds mirrors
and proves one metadata set, the image is mounted, the first block is read through the kernel, and only then is the
mount "ready".

The end: `umount` (ours or the system's) ends the mount if nobody holds it; SIGTERM and Ctrl-C refuse new opens and
leave as soon as nobody does; a second one does not wait.  However it ends, the socket, the threads and the
connections are closed before the process leaves.

What takes long to import (pyfuse3, and python-tuf in repository.py) is imported by a thread while the first answers are
on their way; all of it at once is half a second, as long as a mount takes otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirrornet.app.client.heap import one_heap
from mirrornet.app.client.mounts import socket_path
from mirrornet.app.client.session import ClientOptions, Session
from mirrornet.app.control import Control
from mirrornet.client.fuse import mountpoint as points
from mirrornet.client.reading.reader import Reader
from mirrornet.client.repository import Trusted
from mirrornet.model.errors import InputError, LocalError, MirrornetError, Unreachable

if TYPE_CHECKING:
    from mirrornet.client.fuse.mount import Mount
elif find_spec("pyfuse3") is None:  # to be told before a process is left behind
    raise ModuleNotFoundError("No module named 'pyfuse3'", name="pyfuse3")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MountOptions:
    """The command line of `mount`; `mountpoint` is absolute."""

    client: ClientOptions
    mountpoint: Path


class Mounted:
    """One mount, from the command line to its end."""

    def __init__(self, options: MountOptions) -> None:
        """Reads the options.  Raises InputError."""
        self._options = options
        self._session = Session(options.client)
        self._stops = 0
        self._mount: Mount | None = None

    @property
    def session(self) -> Session:
        """The session behind it."""
        return self._session

    async def run(self, ready: Callable[[list[str]], None]) -> None:
        """Mounts, calls `ready` with what a person should know, and returns when the mount has ended.

        Raises MirrornetError where it does not come to a mount whose first read works; nothing is left behind then.
        """
        session, mountpoint = self._session, self._options.mountpoint
        control = Control(socket_path(mountpoint), self._answer)
        try:
            await asyncio.to_thread(points.prepare, mountpoint)
            importing = asyncio.create_task(asyncio.to_thread(import_module, "mirrornet.client.fuse.mount"))
            try:
                trusted = await session.open()
            finally:
                await importing
            reader = session.read()
            mount = self._make(trusted, reader)
            await control.start()
            mount.start()
            serving = asyncio.create_task(mount.run())
            try:
                self._watch_signals(mount)
                # The kernel sets its own limits in answer to its first request, so that comes before ours.
                await asyncio.to_thread(os.stat, mountpoint)
                booting = session.profiles is not None and session.profiles.at_once
                await asyncio.gather(mount.tune(booting=booting), self._first_read(mount, reader))
                session.spawn(self._tune(mount))
                await session.held.wait()  # who is told that it is mounted finds it pinned
                ready(session.warnings)
                log.info("%s is mounted on %s", mount.operations.file_name, mountpoint)
            except BaseException as error:
                await mount.leave(force=True)
                if self._stops and isinstance(error, MirrornetError):  # it failed because it was told to stop
                    raise KeyboardInterrupt from None
                raise
            finally:
                await serving
        finally:
            try:
                await session.close()
            finally:
                await control.stop()  # last: until the socket is gone, `umount` waits for what is written down

    def _make(self, trusted: Trusted, reader: Reader) -> Mount:
        from mirrornet.client.fuse.mount import Mount, Operations

        client = self._options.client
        created = int(datetime.fromisoformat(trusted.image.created).timestamp()) * 1_000_000_000
        operations = Operations(client.name, reader, created)
        self._mount = Mount(self._options.mountpoint, f"{client.source}#{client.name}", operations)
        return self._mount

    async def _tune(self, mount: Mount) -> None:
        """Tunes the mount again when no boot by a profile goes on any more."""
        if (profiles := self._session.profiles) is not None and profiles.at_once:
            await profiles.settled.wait()
            await mount.tune()

    async def _first_read(self, mount: Mount, reader: Reader) -> None:
        """Reads the first bytes as any program would.  Raises Unreachable where that fails."""

        def read() -> None:
            with (mount.mountpoint / mount.operations.file_name).open("rb") as file:
                file.read(4096)

        try:
            await asyncio.to_thread(read)
        except OSError as error:
            why = reader.figures.last_error or error.strerror
            if not self._options.client.offline:
                raise Unreachable(f"the first read failed: {why}") from None
            self._session.warnings.append(f"the first block cannot be read: {why}")

    def _watch_signals(self, mount: Mount) -> None:
        loop = asyncio.get_running_loop()

        def stop() -> None:
            self._stops += 1
            if self._stops == 1:
                log.info("asked to stop: no new opens; leaving %s when nobody holds it", mount.mountpoint)
                self._session.spawn(mount.leave_when_free())
            elif self._stops == 2:
                log.warning("asked to stop again: leaving %s now", mount.mountpoint)
                self._session.spawn(mount.leave(force=True))

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)

    # -- the control socket

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if request.get("do") == "record" and self._session.profiles is not None:
            path = await self._session.profiles.save()
            return {"recordings": str(path) if path else None}
        if request.get("do") == "status":
            if request.get("refresh") and self._session.following is not None:
                await self._session.following.look()
            await self._session.survey()
            return self.status()
        if request.get("do") == "leave" and self._mount is not None:
            try:
                return {"left": await self._mount.leave(force=bool(request.get("force")))}
            except LocalError as error:
                return {"error": str(error), "code": error.exit_code}
        raise InputError(f"{request.get('do')!r} is nothing a mount can do")

    def status(self) -> dict[str, Any]:
        """What is known just now: the session's, and the mount's own."""
        mount = self._mount
        if mount is None:
            return {"mountpoint": str(self._options.mountpoint), "pid": os.getpid(), "ready": False}
        return {
            "mountpoint": str(self._options.mountpoint),
            **self._session.status(),
            "files": mount.operations.file_names,
            "no_cloop": mount.operations.no_cloop,
            "leaving": mount.operations.refusing,
            "open_handles": len(mount.operations.handles),
            "reads_waiting": mount.operations.waiting,
        }


def run(options: MountOptions, ready: Callable[[list[str]], None]) -> None:
    """Mounts and stays until the end.  Raises MirrornetError."""
    one_heap()
    mounted = Mounted(options)
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(mounted.run(ready))
