"""When the files of a server are worth reading again: they have changed, and have come to rest.

Looking at size, time and inode of a dozen files once a second costs microseconds, works on every file system (inotify
is blind on NFS, and to what is renamed over a file it watches), and needs no library.  An edit is not taken while it
is being written: two looks in a row have to agree, and the files have to be the same after reading as before it.

The files are those that the zone files name just now, even where these are faulty: the operator who is told that
records.zone does not exist will make it, and not touch the zone file again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from mirrornet.app.server.worlds.world import World, load_world
from mirrornet.config.load import examine
from mirrornet.model.errors import InputError, LocalError
from mirrornet.model.zone import Zone

log = logging.getLogger(__name__)
LOOK_EVERY: Final = 1.0  # seconds
_ATTEMPTS: Final = 3  # readings of files that change while they are read

Look = Mapping[Path, tuple[int, ...] | None]  # time of change in ns, size in octets, inode; None: no such file


class Moving(LocalError):
    """The files were changed while they were read: wait until they come to rest."""


def named_by(zones: Sequence[Zone]) -> set[Path]:
    """All files that `zones` name."""
    named = [path for zone in zones for path in (zone.records, zone.world, zone.round_trips_file)]
    named += [zone.repository.root for zone in zones if zone.repository is not None]
    return {path for path in named if path is not None and path != Path()}


def look(paths: Sequence[Path]) -> Look:
    """The files as they are now."""
    seen: dict[Path, tuple[int, ...] | None] = {}
    for path in paths:
        try:
            status = path.stat()
        except (OSError, ValueError):
            seen[path] = None
        else:
            seen[path] = (status.st_mtime_ns, status.st_size, status.st_ino)
    return seen


class Rest:
    """Whether files differ from what was read, and have come to rest."""

    def __init__(self) -> None:
        self._read: Look = {}  # as they were when they were read last
        self._last: Look = {}  # as they were at the last look

    def read(self, paths: Sequence[Path]) -> Look:
        """They are being read, as they are now."""
        self._read = self._last = look(paths)
        return self._read

    def forget(self) -> None:
        """What was read is of no use: they are to be read again though they have not changed."""
        self._read = {}

    def come(self) -> bool:
        """One look: whether they differ from what was read and are as they were at the last look."""
        now = look(list(self._last))
        rested = now == self._last and now != self._read
        self._last = now
        return rested


async def worth_reading(reload: asyncio.Event, rested: Callable[[], bool]) -> bool:
    """Waits until somebody sets `reload` (True), or one of the looks, a second apart, says that files have `rested`."""
    while True:
        try:
            async with asyncio.timeout(LOOK_EVERY):
                await reload.wait()
        except TimeoutError:
            if await asyncio.to_thread(rested):
                return False
        else:
            reload.clear()
            return True


class Files:
    """The zone files of a server and all that they name."""

    def __init__(self, zones: Sequence[Path]) -> None:
        self.zones = tuple(zones)
        self._rest = Rest()

    def load(self, before: World | None = None) -> World:
        """Reads and proves everything.  Raises InputError with every fault, or Moving; what was seen is remembered.

        A server that starts may go without a table that is still to be made.  One that has a world (`before`) with a
        table does not give it up because somebody moves files about.
        """
        for _ in range(_ATTEMPTS):
            paths = sorted({*self.zones, *named_by(examine(self.zones)[0])})
            seen = look(paths)
            try:
                world = load_world(self.zones)
            finally:
                read = self._rest.read(paths)
            if read == seen:
                if before is not None and before.table is not None and world.table is None:
                    gone = next((zone.world for zone in world.zones if zone.world is not None), None)
                    if gone is not None:
                        raise InputError(
                            f"{gone}: there is no such file any more: make it with `mirrornet import-radb`"
                        )
                return world
        self._rest.forget()  # whatever it is when it rests, it has not been read
        raise Moving("the files change while they are read; they are read again when they have come to rest")

    def forget(self) -> None:
        """What was read could not be used for another reason: it is to be read again though it has not changed."""
        self._rest.forget()

    def rested(self) -> bool:
        """One look: whether the files differ from what was read and are as they were at the last look."""
        return self._rest.come()
