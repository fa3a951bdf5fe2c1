"""`mirrornet nbd`: one image version as an NBD export, until it is let go.

As `mount`, without the kernel: the sockets are made first (an operator's slip costs no network), the session finds
mirrors and proves one metadata set, the first block is read, and only then is anybody let in.  Nothing of it needs
FUSE, root or a compiler, or imports what does.

A unix socket is its owner's alone (0600, from before it listens).  One that a dead process left is replaced, a live one
is not, and nothing else at that path is touched.

An export is found by `status` and `umount` as a mount is: its place is the socket's path, or nbd://ADDR:PORT.  It ends
as one, too: `umount` ends it if nobody is connected; SIGTERM and Ctrl-C let nobody in any more and leave when the last
client has; a second one does not wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import signal
import socket
import stat
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

from mirrornet.app.client.heap import one_heap
from mirrornet.app.client.mounts import socket_path
from mirrornet.app.client.session import ClientOptions, Session
from mirrornet.app.control import Control, answers
from mirrornet.client.nbd.handshake import Export
from mirrornet.client.nbd.server import BACKLOG, Server
from mirrornet.client.repository import Trusted
from mirrornet.model.address import parse_address
from mirrornet.model.errors import InputError, LocalError, MirrornetError, Unreachable

log = logging.getLogger(__name__)

PORT: Final = 10809  # IANA's for nbd
LONGEST: Final = 107  # bytes of a unix socket's path on Linux; 103 on macOS


@dataclass(frozen=True, slots=True)
class NbdOptions:
    """The command line of `nbd`: `path` (absolute) of a unix socket, or `address`."""

    client: ClientOptions
    path: Path | None = None
    address: tuple[str, int] | None = None

    @property
    def place(self) -> Path:
        """What `status` and `umount` call it."""
        return self.path or place_of(*self.address or ("", 0))

    @property
    def shown(self) -> str:
        """The same, as it is told; a Path takes one of two slashes away."""
        return str(self.path or "") or f"nbd://{_authority(*self.address or ('', 0))}"

    def uri(self, name: str) -> str:
        """Where clients find the export `name` (doc/uri.md of NetworkBlockDevice/nbd)."""
        if self.path is not None:
            return f"nbd+unix:///{quote(name)}?socket={quote(str(self.path))}"
        return f"nbd://{_authority(*self.address or ('', 0))}/{quote(name)}"


def parse_listen(text: str) -> tuple[str, int]:
    """(address, port) of `--listen ADDR[:PORT]`.  Raises InputError."""
    try:
        parts = urlsplit(f"//{text.strip()}")
        host, port = parts.hostname or "", parts.port
        parse_address(host)
        if parts.path or parts.username or port == 0:
            raise ValueError
    except ValueError:
        raise InputError(f"--listen {text!r} is not ADDR:PORT: write 127.0.0.1:{PORT} or [::1]:{PORT}") from None
    return host, PORT if port is None else port


def place_of(host: str, port: int) -> Path:
    """What `status` and `umount` call an export on TCP."""
    return Path(f"nbd://{_authority(host, port)}")


def exposed(address: tuple[str, int]) -> str:
    """What to say of an address that others than this machine reach; or ""."""
    if ipaddress.ip_address(address[0]).is_loopback:
        return ""
    return (
        f"NBD is neither encrypted nor asks who is there: whoever reaches {_authority(*address)} may read this image, "
        "and who is in between may change what they read"
    )


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Exported:
    """One export, from the command line to its end."""

    def __init__(self, options: NbdOptions) -> None:
        """Reads the options.  Raises InputError."""
        self._options = options
        self._session = Session(options.client)
        self._server: Server | None = None
        self._stops = 0
        self._over = asyncio.Event()

    @property
    def session(self) -> Session:
        """The session behind it."""
        return self._session

    async def run(
        self,
        ready: Callable[[list[str]], None],
        listening: socket.socket | None = None,
        *,
        kept: bool = False,
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Exports, calls `ready` with what a person should know, and returns when it has ended.

        `listening`: a socket that somebody else made and keeps.  `kept`: what was verified here before is good enough.
        `before`: what needs the network more than the blocks do, once the version is proven.  Raises MirrornetError
        where it does not come to an export whose first block can be read; nothing is left behind then.
        """
        session, control = self._session, Control(socket_path(self._options.place), self._answer)
        if answers(control.path):
            raise LocalError(f"{self._options.shown} has an export already: mirrornet umount {self._options.shown}")
        try:
            await control.start()
            with contextlib.ExitStack() as stack:
                if listening is None:
                    listening = stack.enter_context(_listening(self._options))
                self._watch_signals()
                await self._serve(listening, ready, self._open(kept, before))
        finally:
            try:
                await session.close()
            finally:
                await control.stop()  # last: until its socket is gone, `umount` waits

    async def _serve(
        self, listening: socket.socket, ready: Callable[[list[str]], None], opening: Coroutine[Any, Any, Server]
    ) -> None:
        reading, over = asyncio.ensure_future(opening), asyncio.ensure_future(self._over.wait())
        await asyncio.wait((reading, over), return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        if not reading.done():
            reading.cancel()
            await asyncio.wait((reading,))
            raise KeyboardInterrupt
        server = self._server = reading.result()
        try:
            await server.start([listening])
            if self._options.address and (warning := exposed(self._options.address)):
                self._session.warnings.append(warning)
            ready(self._session.warnings)
            log.info("%s is exported at %s", server.export.description, self._options.uri(server.export.name))
            await self._over.wait()
        finally:
            await server.close()

    async def _open(self, kept: bool, before: Callable[[], Awaitable[None]] | None) -> Server:
        session = self._session
        trusted = await session.open(kept=kept)
        if before is not None:
            await before()
        reader = session.read()
        try:
            await reader.read(0, 4096)
        except MirrornetError as error:
            if not self._options.client.offline:
                raise Unreachable(f"the first read failed: {error}") from None
            session.warnings.append(f"the first block cannot be read: {error}")
        return Server(reader, export_of(trusted))

    def stop(self) -> None:
        """Ends it when nobody is connected any more; the second time, now."""
        self._stops += 1
        server = self._server
        if server is None or self._stops > 1:
            self._over.set()
        elif self._stops == 1:
            log.info("asked to stop: nobody is let in any more; leaving when the last client has")
            server.refuse()
            self._session.spawn(self._when_free(server))

    async def _when_free(self, server: Server) -> None:
        await server.free()
        self._over.set()

    def _watch_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.stop)

    # -- the control socket

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        session, server = self._session, self._server
        if request.get("do") == "record" and session.profiles is not None:
            path = await session.profiles.save()
            return {"recordings": str(path) if path else None}
        if request.get("do") == "status":
            if request.get("refresh") and session.following is not None:
                await session.following.look()
            await session.survey()
            return self.status()
        if request.get("do") == "leave":
            if server is not None and server.connected and not request.get("force"):
                count = server.connected
                return {"left": False, "held": [f"{count} NBD client{'s' * (count != 1)}"]}
            self._over.set()
            return {"left": True}
        raise InputError(f"{request.get('do')!r} is nothing an export can do")

    def status(self) -> dict[str, Any]:
        """What is known just now: the session's, and the export's own."""
        server = self._server
        if server is None:
            return {"mountpoint": self._options.shown, "pid": os.getpid(), "ready": False}
        return {
            "mountpoint": self._options.shown,
            **self._session.status(),
            "nbd": self._options.uri(server.export.name),
            "leaving": server.refusing,
            "open_handles": server.connected,
            "connections_served": server.served,
        }


def export_of(trusted: Trusted) -> Export:
    """What is told of a version in the handshake."""
    image = trusted.image
    return Export(image.name, f"{image.name} version {image.version}", image.size, trusted.head.block_size)


@contextlib.contextmanager
def _listening(options: NbdOptions) -> Iterator[socket.socket]:
    """The socket that clients connect to; gone at the end.  Raises InputError, LocalError."""
    if options.path is not None:
        sock = unix_socket(options.path)
        mine = options.path.stat().st_ino
        try:
            with sock:
                yield sock
        finally:
            with contextlib.suppress(OSError):  # unless another took its place
                if options.path.stat().st_ino == mine:
                    options.path.unlink()
        return
    host, port = options.address or ("", 0)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
            sock.listen(BACKLOG)
        except OSError as error:
            raise LocalError(f"--listen {_authority(host, port)}: {error.strerror}") from None
        yield sock


def unix_socket(path: Path) -> socket.socket:
    """A listening socket at `path`, of this user alone.  Raises InputError, LocalError."""
    if len(os.fsencode(path)) > LONGEST - 4:
        raise InputError(f"{path}: is longer than a socket's path may be ({LONGEST - 4} bytes)")
    try:
        if stat.S_ISSOCK(path.lstat().st_mode):
            if answers(path):
                raise LocalError(f"{path}: another process listens there")
        else:
            raise InputError(f"{path}: is there already, and no socket")
    except FileNotFoundError:
        pass
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    fresh = path.with_name(f".{path.name}"[:8] + f"{os.getpid() % 1000:03}")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        sock.bind(str(fresh))
        fresh.chmod(0o600)  # nobody connects before it listens
        sock.listen(BACKLOG)
        fresh.rename(path)
    except OSError as error:
        sock.close()
        fresh.unlink(missing_ok=True)
        raise LocalError(f"{path}: {error.strerror or error}: name a socket in a folder that is yours") from None
    return sock


def run(options: NbdOptions, ready: Callable[[list[str]], None]) -> None:
    """Exports and stays until the end.  Raises MirrornetError."""

    async def work() -> None:
        await Exported(options).run(ready)

    one_heap()
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(work())
