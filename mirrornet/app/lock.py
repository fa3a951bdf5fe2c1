"""One server a state folder: a lock that the kernel holds for us and drops when we are gone, however we went.

Two servers with one folder would each swap the plan under the other's workers.  The lock is on a file of its own, since
all others are replaced by rename; it stays behind, empty of meaning, and names the process that has it.  Rejected: a
pid file alone (after a crash somebody must decide whether it is stale, and pids come round again).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mirrornet.model.errors import LocalError

FILE: Final = "lock"


@contextlib.contextmanager
def only_server(state: Path) -> Iterator[None]:
    """Holds the folder `state`, which is made if need be.  Raises LocalError where another process does, and why."""
    with alone(
        state,
        taken="another mirrornet serve uses it{who}: give each server its own --state",
        refused="the state folder must be writable (see --state)",
    ):
        yield


@contextlib.contextmanager
def alone(folder: Path, *, taken: str, refused: str) -> Iterator[int]:
    """Holds `folder`, which is made if need be, and gives the lock's descriptor: who inherits it holds it, too.

    Raises LocalError: with `taken` where another process has it ("{who}" becomes " (process N)"), with `refused`, after
    what the system says, where the folder can not be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / FILE).open("a+", encoding="ascii")
    except OSError as error:
        raise LocalError(f"{folder}: {error.strerror}: {refused}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read(20).strip()
            who = f" (process {holder})" if holder.isdigit() else ""
            raise LocalError(f"{folder}: {taken.format(who=who)}") from None
        except OSError as error:
            raise LocalError(
                f"{folder / FILE}: {error.strerror}: the state folder needs a file system with locks"
            ) from None
        with contextlib.suppress(OSError):  # a full disk may leave it nameless; locked it is
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
        yield file.fileno()
