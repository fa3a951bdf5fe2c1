"""The image as a disk for a guest: a process of its own, which ends with the one that started it.

The guest's disk must not hang on the process that holds the terminal, nor the other way round: the client is Python
with threads and an event loop, the other one waits for QEMU.  A socket pair joins the two.  The client tells over it,
one JSON object a line, what it found (`Lent`) or why it failed; its end, however it comes, is the end of the client:
it unmounts and leaves.  So a boot that is killed by -9 leaves no mount.

The client finds the mirrors, proves the version, mounts it at a folder that it is given, and keeps the signed files
that a guest is started with: `state`/boot/<repository id>/NAME/<hash>, so that they are there when no network is.  Of
versions that are no longer published they are removed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from mirrornet.app.daemon import Failed
from mirrornet.app.session import ClientOptions, Session
from mirrornet.client.attached import obtain
from mirrornet.client.choice import Blame
from mirrornet.client.guest import FileDisk, Kernel, NbdDisk, cmdline_of
from mirrornet.client.source import Endpoint
from mirrornet.image.trust.versions import Attached
from mirrornet.model.errors import LocalError, MirrornetError, Untrusted

log = logging.getLogger(__name__)

LEAVE: Final = 10.0  # seconds for the client to end once nobody reads any more
CMDLINE: Final = 1 << 16  # bytes of a published command line, read before it is judged


@dataclass(frozen=True, slots=True)
class Lent:
    """What a guest can be started with.  `repository`: its id; `size`: of the image, in bytes."""

    repository: str
    version: int
    size: int
    disk: FileDisk | NbdDisk
    kernel: Kernel | None


class Disk:
    """The client's process, as its parent sees it.  `close` ends it."""

    def __init__(self, options: ClientOptions, point: Path, prepare: Callable[[], None]) -> None:
        """Starts it; `point`: an empty folder of its own; `prepare` sets up its log.

        Call from a process without threads: it forks.
        """
        self._point = point
        self.link, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self.link.close()
            _become_client(theirs, options, point, prepare)
        theirs.close()

    def wait(self, warn: Callable[[str], None]) -> Lent:
        """What it lends, once it does.  Raises Failed with its reason, LocalError where it died without one."""
        with self.link.makefile("r", encoding="utf-8") as lines:
            for line in lines:
                message = json.loads(line)
                if "warning" in message:
                    warn(message["warning"])
                if "error" in message:
                    raise Failed(message["error"], message["code"])
                if "lent" in message:
                    return _lent(message["lent"])
        raise LocalError("the process that reads the image died before it was ready; see its log (--log FILE)")

    def close(self) -> None:
        """Ends it, and whatever it leaves mounted."""
        from mirrornet.client import mountpoint as points

        self.link.close()
        if not _gone(self.pid, LEAVE):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        if points.mounted_at(self._point) is not None:
            points.detach(self._point, lazy=True)


def _gone(pid: int, seconds: float) -> bool:
    """Whether the child `pid` ends within that time."""
    until = time.monotonic() + seconds
    while True:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return True
        if time.monotonic() >= until:
            return False
        time.sleep(0.01)


def _lent(message: dict[str, Any]) -> Lent:
    kernel = message["kernel"]
    return Lent(
        message["repository"],
        message["version"],
        message["size"],
        FileDisk(Path(message["file"])),
        kernel and Kernel(Path(kernel["kernel"]), kernel["initrd"] and Path(kernel["initrd"]), kernel["cmdline"]),
    )


# -- the client's process


def _become_client(link: socket.socket, options: ClientOptions, point: Path, prepare: Callable[[], None]) -> NoReturn:
    code = 1
    try:
        os.setsid()  # Ctrl-C on the terminal is the guest's
        os.chdir("/")
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        prepare()
        try:
            asyncio.run(_Lender(link, options, point).run())
        finally:
            with contextlib.suppress(OSError):  # the other one may not be there to do it
                point.rmdir()
        code = 0
    except MirrornetError as error:
        log.error("%s", error)
        _tell(link, error=str(error), code=error.exit_code)
        code = error.exit_code
    except (KeyboardInterrupt, asyncio.CancelledError):
        code = 130
    except BaseException as error:  # the last border: the other process must hear of it
        log.exception("the client ends")
        _tell(link, error=f"this is a bug in mirrornet: {type(error).__name__}: {error}", code=1)
    finally:
        logging.shutdown()
        os._exit(code)


def _tell(link: socket.socket, **message: object) -> None:
    with contextlib.suppress(OSError):  # the other one is gone
        link.sendall(json.dumps(message).encode() + b"\n")


class _Lender:
    def __init__(self, link: socket.socket, options: ClientOptions, point: Path) -> None:
        self._link, self._options, self._point = link, options, point
        self._ready = False

    async def run(self) -> None:
        """Mounts, tells what there is, and stays until the other end of the link is gone."""
        from mirrornet.app.mount import Mounted, MountOptions

        mounted = Mounted(MountOptions(self._options, self._point))
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def gone() -> None:
            loop.remove_reader(self._link)
            if not self._ready:
                task.cancel()
                return
            for _ in range(2):  # the second one does not wait for who holds it
                os.kill(os.getpid(), signal.SIGTERM)

        def ready(warnings: list[str]) -> None:
            self._ready = True
            for warning in warnings:
                _tell(self._link, warning=warning)
            mounted.session.spawn(self._lend(mounted.session))

        loop.add_reader(self._link, gone)
        await mounted.run(ready)

    async def _lend(self, session: Session) -> None:
        trusted = session.trusted
        assert trusted is not None
        try:
            kernel = await kernel_files(session)
        except MirrornetError as error:
            log.error("%s", error)
            _tell(self._link, error=str(error), code=error.exit_code)
            return
        lent = {
            "repository": trusted.metadata.repository_id,
            "version": trusted.image.version,
            "size": trusted.image.size,
            "file": str(self._point / f"{trusted.image.name}.raw"),
            "kernel": kernel,
        }
        _tell(self._link, lent=lent)


async def kernel_files(session: Session) -> dict[str, str | None] | None:
    """The version's kernel, with its initrd and command line; None where it has none.  Raises MirrornetError."""
    trusted = session.trusted
    assert trusted is not None
    image = trusted.image
    wanted = {each.kind: each for each in image.attached if each.kind in ("kernel", "initrd", "cmdline")}
    if "kernel" not in wanted:
        return None
    if "cmdline" in wanted and wanted["cmdline"].length > CMDLINE:
        raise Untrusted(f"{wanted['cmdline'].path}: is too long for a kernel's command line: tell the publisher")
    folder = session.state / "boot" / trusted.metadata.repository_id / image.name
    published = {each.hash.hex() for version in trusted.metadata.images[image.name] for each in version.attached}
    _forget_others(folder, published)
    paths = await asyncio.gather(*(_obtain(session, target, folder) for target in wanted.values()))
    found = dict(zip(wanted, paths, strict=True))
    cmdline = found["cmdline"].read_bytes() if "cmdline" in found else None
    return {
        "kernel": str(found["kernel"]),
        "initrd": str(found["initrd"]) if "initrd" in found else None,
        "cmdline": cmdline_of(cmdline),
    }


async def _obtain(session: Session, target: Attached, folder: Path) -> Path:
    def mirrors() -> list[Endpoint]:
        return [] if session.options.offline else session.choice.order(None, target.length, time.monotonic())

    def blame(mirror: Endpoint, why: str) -> None:
        log.warning("%s gave a corrupt %s and is left out: %s", mirror, target.kind, why)
        session.choice.failed(mirror.name, Blame.CORRUPT, why, time.monotonic())

    return await obtain(target, folder, mirrors, session.fetcher, blame)


def _forget_others(folder: Path, published: set[str]) -> None:
    """Removes what no published version names any more."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.name not in published and not path.name.startswith("."):
                path.unlink()
