"""A process's control socket: one JSON object a line, one answer a line, over a unix socket in the run folder.

The file's mode (0660) is all the access control there is; who may open it may ask.  A request names what it wants in
`do`, and its `uid` is the asker's, by the kernel's word; an answer is an object, with `error` where it could not be
done.  The socket never waits for the network: what it tells is what the process knows at that moment.

The path may be longer than the 107 bytes that an address of a socket holds: then it is named through its folder.

Rejected: HTTP on loopback (every user of the machine could ask), signals (they carry no answer).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

from mirrornet.model.errors import LocalError, MirrornetError

log = logging.getLogger(__name__)

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
LINE: Final = 1 << 20  # bytes of one request or answer
LAST_WORDS: Final = 2.0  # seconds for requests under way when the process ends
LONGEST_ADDRESS: Final = 107  # bytes of sun_path without its final zero (unix(7))
_PEER: Final = struct.Struct("3i")  # struct ucred: process, user, group


class Ended(LocalError):
    """The process ended instead of answering."""


class Control:
    """The listening end.  `handler` gets each request; its MirrornetError becomes the answer's `error`."""

    def __init__(self, path: Path, handler: Handler) -> None:
        self.path = path
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._busy: set[asyncio.Task[Any]] = set()
        self._links: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}

    async def start(self) -> None:
        """Listens.  Raises LocalError where the folder refuses, or another process answers there."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.exists():
                if answers(self.path):
                    raise LocalError(f"{self.path}: another process listens there")
                if not self.path.is_socket():
                    raise LocalError(f"{self.path}: is there and no socket: move it away")
                self.path.unlink()
            with _short(self.path) as name:
                self._server = await asyncio.start_unix_server(self._talk, name, limit=LINE)
            self.path.chmod(0o660)
        except OSError as error:
            raise LocalError(f"{self.path}: {error.strerror or error}") from None

    async def stop(self) -> None:
        """Closes and removes the socket, after the requests under way have had their answers."""
        if self._server is not None:
            self._server.close()
            if self._busy:
                await asyncio.wait(tuple(self._busy), timeout=LAST_WORDS)
            for writer in self._links.values():
                writer.close()
            if self._links:
                await asyncio.wait(tuple(self._links), timeout=LAST_WORDS)
            self.path.unlink(missing_ok=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.current_task()
        assert link is not None
        self._links[link] = writer
        link.add_done_callback(self._links.pop)
        with contextlib.suppress(ConnectionError, ValueError):
            while line := await reader.readline():
                task = asyncio.create_task(self._reply(line, writer))
                self._busy.add(task)
                task.add_done_callback(self._busy.discard)
                await task
        writer.close()

    async def _reply(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        answer: dict[str, Any]
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise ValueError("not an object")
            request["uid"] = _uid(writer)
            answer = await self._handler(request)
        except MirrornetError as error:
            answer = {"error": str(error), "code": error.exit_code}
        except (ValueError, RecursionError) as error:
            answer = {"error": f"not a request: {error}", "code": 2}
        except Exception as error:  # one bad request must not end the process it is about
            log.exception("control request failed")
            answer = {"error": f"a bug in mirrornet: {type(error).__name__}: {error}", "code": 1}
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()


def answers(path: Path) -> bool:
    """Whether a process listens at `path`; one that is too busy to take the call, or another user's, does."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            with _short(path) as name:
                probe.connect(name)
        except (TimeoutError, BlockingIOError, PermissionError):
            return True
        except OSError:
            return False
    return True


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """A name for the socket at `path` that fits into its address.  Raises OSError."""
    if len(os.fsencode(path)) <= LONGEST_ADDRESS:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _uid(writer: asyncio.StreamWriter) -> int:
    """The user at the other end (SO_PEERCRED, unix(7))."""
    return _peer(writer.get_extra_info("socket"))[1]


def _peer(link: socket.socket) -> tuple[int, int]:
    """The process and the user at the other end."""
    process, user, _ = _PEER.unpack(link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return process, user


def ask(path: Path, request: dict[str, Any], timeout: float = 10.0) -> dict[str, Any]:
    """One request to the process at `path`.

    Raises LocalError where nobody answers within `timeout` seconds; Ended, where the process ended meanwhile.
    """
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(timeout)
        who = ""
        try:
            with _short(path) as name:
                link.connect(name)
            who = f" from process {_peer(link)[0]}"
            link.sendall(json.dumps(request).encode() + b"\n")
            with link.makefile("rb") as lines:
                line = lines.readline(LINE)
            if not line:
                raise Ended(f"{path}: no answer: its process has just ended")
            answer = json.loads(line)
        except (ConnectionError, FileNotFoundError) as error:
            raise Ended(f"{path}: no answer: its process has ended ({error.strerror})") from None
        except OSError as error:
            raise LocalError(f"{path}: no answer{who} ({error.strerror or error})") from None
        except ValueError:
            raise LocalError(f"{path}: the answer is not ours") from None
    if not isinstance(answer, dict):
        raise LocalError(f"{path}: the answer is not ours")
    return answer
