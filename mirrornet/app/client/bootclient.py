"""The process that serves an image to one guest: an NBD export at a socket that somebody else opened.

Order of events: the version is proven; the kernel comes first, since a guest cannot begin without it, and only then the
boot's profile, which it needs a second later; the first block is read; then the other process hears what there is.  One
that comes after another that died has none of that to do: it opens what is verified here and answers.

It ends when the link to its parent does, however the parent ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from mirrornet.app.client.bootfiles import kernel_files
from mirrornet.app.client.nbd import Exported, NbdOptions
from mirrornet.app.client.session import ClientOptions
from mirrornet.model.errors import MirrornetError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Serving:
    """What the process is given.

    `path`: of the socket, in a folder of its own; `again`: another one served the same version before.
    """

    options: ClientOptions
    path: Path
    link: socket.socket
    listening: socket.socket
    again: bool


def become(serving: Serving, prepare: Callable[[], None]) -> NoReturn:
    """Makes a forked process the one that serves.  `prepare` sets up its log."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()  # Ctrl-C on the terminal is the guest's
        os.chdir("/")
        _close_others(serving.link.fileno(), serving.listening.fileno())
        prepare()
        asyncio.run(_serve(serving))
        code = 0
    except MirrornetError as error:
        log.error("%s", error)
        _tell(serving.link, error=str(error), code=error.exit_code)
        code = error.exit_code
    except (KeyboardInterrupt, asyncio.CancelledError):
        code = 130
    except BaseException as error:  # the last border: the other process must hear of it
        log.exception("the client ends")
        _tell(serving.link, error=f"this is a bug in mirrornet: {type(error).__name__}: {error}", code=1)
    finally:
        logging.shutdown()
        os._exit(code)


def _close_others(*keep: int) -> None:
    """Closes all that the other process has open: its locks, its ends of QEMU's pipes, the terminal."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    for descriptor in [int(path.name) for path in Path("/dev/fd").iterdir()]:
        if descriptor > 2 and descriptor not in keep:
            with contextlib.suppress(OSError):  # the folder's own
                os.close(descriptor)


def _tell(link: socket.socket, **message: object) -> None:
    with contextlib.suppress(OSError):  # the other one is gone
        link.sendall(json.dumps(message).encode() + b"\n")


async def _serve(given: Serving) -> None:
    """Serves until the other end of the link is gone.  Raises MirrornetError where it does not come to that."""
    exported = Exported(NbdOptions(given.options, given.path))
    session = exported.session
    kernel: dict[str, str | None] | None = None

    async def before() -> None:
        nonlocal kernel
        if not given.again:
            kernel = await kernel_files(session, lambda size: _tell(given.link, fetching=size))

    def ready(warnings: list[str]) -> None:
        if given.again or (trusted := session.trusted) is None:
            return
        for warning in warnings:
            _tell(given.link, warning=warning)
        lent = {
            "repository": trusted.metadata.repository_id,
            "version": trusted.image.version,
            "size": trusted.image.size,
            "export": trusted.image.name,
            "kernel": kernel,
        }
        _tell(given.link, lent=lent)

    loop = asyncio.get_running_loop()

    def gone() -> None:
        loop.remove_reader(given.link)
        shutil.rmtree(given.path.parent, ignore_errors=True)  # if the other process was killed, nobody else does it
        for _ in range(2):  # the second one does not wait for who is connected
            exported.stop()

    loop.add_reader(given.link, gone)
    await exported.run(ready, given.listening, kept=given.again, before=before)
