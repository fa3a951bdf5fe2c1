"""The image as files: pyfuse3 operations over a Reader.  MOUNTPOINT/NAME.raw, read-only, at its true length, and, of an
image of zlib, NAME.cloop (cloop.py).

What pyfuse3 does under asyncio, and what follows from it here:
- An exception other than FUSEError is logged and the process that reads hangs for ever.  So every handler goes through
  `_guarded`: whatever happens becomes EIO.  Only a read can wait, and the reader's deadline ends that.
- `terminate()` waits for outstanding requests.  So a forced end first makes them fail, then terminates, then closes;
  `terminate` after `close` crashes, so it is called once and never after.
- One task per request, and the kernel sends up to max_background of them: `max_tasks` is greater, or `stat` would wait
  behind reads.
- A short read is filled with zeroes: Reader checks the length.
- There is one session per process: one process per mount, which is what we want anyway (one fault, one mount).

A read whose blocks are here is answered at once, without a task or a timer.

Attributes, names and statfs are known at the start and never wait for the network.  The kernel may keep them, and
the pages of the image, for as long as it likes (an image version never changes): a second reader costs nothing.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import logging
import os
import stat
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final, ParamSpec, Protocol, TypeVar

import pyfuse3

from mirrornet.client.fuse import kernel
from mirrornet.client.fuse import mountpoint as points
from mirrornet.client.fuse.cloop import Cloop, absent
from mirrornet.client.reading.reader import Reader
from mirrornet.model.errors import LocalError, MirrornetError

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

FOREVER: Final = 86400.0  # seconds that the kernel may keep names and attributes
AGAIN: Final = 0.5  # seconds between two looks whether somebody still holds the mount
TASKS: Final = points.MAX_BACKGROUND + 64
_FIRST: Final = 2  # the inode of the first file; the root's is 1


class View(Protocol):
    """A file: its bytes, at once or to be awaited.  `size` in bytes."""

    size: int

    def answer(self, offset: int, size: int, handle: int) -> bytes | Coroutine[Any, Any, bytes]:
        """`size` bytes from `offset`, fewer only where it ends.  Raises MirrornetError, then or when awaited."""


def _guarded(handler: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    @functools.wraps(handler)
    async def wrapped(*arguments: P.args, **named: P.kwargs) -> T:
        try:
            return await handler(*arguments, **named)
        except pyfuse3.FUSEError:
            raise
        except TimeoutError:
            log.error("%s did not end in time: EIO", handler.__name__)
        except MirrornetError as error:
            log.error("%s: EIO: %s", handler.__name__, error)
        except asyncio.CancelledError:
            log.info("%s was ended: EIO", handler.__name__)
        except Exception:
            log.exception("%s failed: EIO; this is a bug in mirrornet", handler.__name__)
        raise pyfuse3.FUSEError(errno.EIO)

    return wrapped


class Operations(pyfuse3.Operations):
    """What the kernel may ask.  `created` is the version's time, in nanoseconds."""

    supports_dot_lookup = False
    enable_writeback_cache = False

    def __init__(self, name: str, reader: Reader, created: int) -> None:
        super().__init__()
        self.refusing = False
        self.waiting = 0  # reads that wait for a block
        self.handles: dict[int, View] = {}
        self.file_name = f"{name}.raw"
        self.no_cloop = absent(reader.head)
        self._files: dict[bytes, tuple[int, View]] = {self.file_name.encode(): (_FIRST, reader)}
        if not self.no_cloop:
            self._files[f"{name}.cloop".encode()] = (_FIRST + 1, Cloop(reader))
        self._views = dict(self._files.values())
        self._reader = reader
        self._created = created
        self._serial = 0
        self._owner = (os.getuid(), os.getgid())

    @property
    def file_names(self) -> list[str]:
        """What is in the folder."""
        return [name.decode() for name in self._files]

    def _attributes(self, inode: int) -> pyfuse3.EntryAttributes:
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = pyfuse3.InodeT(inode)
        if inode == pyfuse3.ROOT_INODE:
            entry.st_mode = pyfuse3.ModeT(stat.S_IFDIR | 0o555)
            entry.st_nlink = 2
        elif (view := self._views.get(inode)) is not None:
            entry.st_mode = pyfuse3.ModeT(stat.S_IFREG | 0o444)
            entry.st_nlink = 1
            entry.st_size = view.size
            entry.st_blocks = -(-view.size // 512)
            entry.st_blksize = self._reader.head.block_size
        else:
            raise pyfuse3.FUSEError(errno.ENOENT)
        entry.st_uid, entry.st_gid = self._owner
        entry.st_atime_ns = entry.st_ctime_ns = entry.st_mtime_ns = self._created
        entry.entry_timeout = entry.attr_timeout = FOREVER
        return entry

    @_guarded
    async def getattr(self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        return self._attributes(inode)

    @_guarded
    async def lookup(
        self, parent_inode: pyfuse3.InodeT, name: pyfuse3.FileNameT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        if parent_inode == pyfuse3.ROOT_INODE and name in self._files:
            return self._attributes(self._files[name][0])
        raise pyfuse3.FUSEError(errno.ENOENT)

    @_guarded
    async def opendir(self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext) -> pyfuse3.FileHandleT:
        return pyfuse3.FileHandleT(0)

    @_guarded
    async def readdir(self, fh: pyfuse3.FileHandleT, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        for number, (name, (inode, _)) in enumerate(self._files.items(), 1):
            if number > start_id and not pyfuse3.readdir_reply(  # type: ignore[attr-defined,unused-ignore]
                token, name, self._attributes(inode), number
            ):
                break

    @_guarded
    async def releasedir(self, fh: pyfuse3.FileHandleT) -> None:
        return None

    @_guarded
    async def open(self, inode: pyfuse3.InodeT, flags: pyfuse3.FlagT, ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        view = self._views.get(inode)
        if view is None:
            raise pyfuse3.FUSEError(errno.EISDIR)
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise pyfuse3.FUSEError(errno.EROFS)
        if self.refusing:
            raise pyfuse3.FUSEError(errno.ESHUTDOWN)
        self._serial += 1
        self.handles[self._serial] = view
        return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(self._serial), keep_cache=True)

    @_guarded
    async def read(self, fh: pyfuse3.FileHandleT, off: int, size: int) -> bytes:
        found = self.handles[fh].answer(off, size, fh)
        if isinstance(found, bytes):
            return found
        self.waiting += 1
        try:
            return await found
        finally:
            self.waiting -= 1

    @_guarded
    async def release(self, fh: pyfuse3.FileHandleT) -> None:
        self.handles.pop(fh, None)

    @_guarded
    async def flush(self, fh: pyfuse3.FileHandleT) -> None:
        return None

    @_guarded
    async def forget(self, inode_list: Sequence[tuple[pyfuse3.InodeT, int]]) -> None:
        return None

    @_guarded
    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        data = pyfuse3.StatvfsData()
        data.f_bsize = data.f_frsize = 4096
        data.f_blocks = -(-self._reader.head.size // 4096)
        data.f_bfree = data.f_bavail = 0
        data.f_files, data.f_ffree, data.f_favail = 1 + len(self._files), 0, 0
        data.f_namemax = 255
        return data

    def served_by(self, requests: kernel.Requests) -> None:
        """Who brings the kernel's requests knows whether more of them wait."""
        self._reader.blocks.crowded = requests.more

    def end_reads(self) -> None:
        """Makes every outstanding read fail with EIO."""
        self._reader.blocks.give_up()


class Mount:
    """One FUSE mount: `start`, then `run` until it ends, by `leave` or by umount(8)."""

    def __init__(self, mountpoint: Path, source: str, operations: Operations) -> None:
        """`mountpoint` absolute and prepared; `source` is what the list of mounts shows."""
        self.mountpoint = mountpoint
        self.operations = operations
        self._source = source
        self._ended = asyncio.Event()
        self._terminated = False
        self._detached = False

    def start(self) -> None:
        """Mounts.  Raises LocalError where the system refuses."""
        self.operations.served_by(kernel.enable())
        options = set(pyfuse3.default_options)
        options |= {f"fsname={self._source.replace(',', ';')}", "subtype=mirrornet", "ro"}
        if os.geteuid() == 0 or _others_allowed():
            options.add("allow_other")
        try:
            pyfuse3.init(self.operations, str(self.mountpoint), options)
        except RuntimeError as error:
            raise LocalError(f"{self.mountpoint}: the kernel refuses to mount ({error})") from None

    async def run(self) -> None:
        """Answers the kernel until the mount has ended, then unmounts what is left of it."""
        try:
            await pyfuse3.main(min_tasks=1, max_tasks=TASKS)
        finally:
            self._terminated = True
            # In a thread: where somebody looks at the mount just now, the kernel waits, and so must not we.
            await asyncio.to_thread(pyfuse3.close, not self._detached)
            self._ended.set()

    async def tune(self, *, booting: bool = False) -> None:
        """Sets the kernel's limits, where we may.  `booting`: a profile tells what will be read."""
        await asyncio.to_thread(points.tune, self.mountpoint, points.BOOTING if booting else points.READ_AHEAD)

    async def leave(self, *, force: bool) -> bool:
        """Unmounts; False where somebody holds the mount and `force` is not set.

        Forced: outstanding reads end with EIO, and who holds the image gets errors from then on.
        """
        if self._terminated:
            return True
        if not await asyncio.to_thread(points.detach, self.mountpoint, lazy=force):
            return False
        self._detached = True
        self.operations.refusing = True
        self.operations.end_reads()  # unforced too: those of readers who were killed, which `terminate` waits for
        if not self._terminated:
            self._terminated = True
            pyfuse3.terminate()
        await self._ended.wait()
        return True

    async def leave_when_free(self) -> None:
        """Refuses new opens, and unmounts as soon as nobody holds the mount."""
        self.operations.refusing = True
        while not await self.leave(force=False):
            try:
                async with asyncio.timeout(AGAIN):
                    await self._ended.wait()
                    return
            except TimeoutError:
                continue


def _others_allowed() -> bool:
    try:
        return any(line.strip() == "user_allow_other" for line in Path("/etc/fuse.conf").read_text().splitlines())
    except OSError:
        return False
