"""The tables before this one: world.table.1 is the last, .3 the oldest, and any of them can be brought back.

A new table is written whole beside the old one first (a full disk changes nothing), then the old ones move up by a
rename each, the present one gets a second name, and the new one is renamed over it: at every moment, and after a kill
at any moment, the table's own name is a whole table.  No byte is copied where the file system has hard links.

`mirrornet import-radb --rollback --out world.table` brings the youngest sound one back; the one that it replaces stays
as world.table.undone until the next rollback, since a slip of the hand should cost nothing.

Rejected: names with dates (a reader would have to list the folder, and a clock set back would reorder them).
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mirrornet.image.files import sync_folder
from mirrornet.model.errors import InputError, LocalError
from mirrornet.model.table import WorldTable

KEPT: Final = 3


@dataclass(frozen=True, slots=True)
class RolledBack:
    """`created`: Unix time at which the table that is back was made; `passed`: younger ones that are damaged."""

    created: float
    was: Path
    passed: tuple[str, ...]


def generation(out: Path, number: int) -> Path:
    """Where the table `number` imports ago is kept; 0 is the present one."""
    return out.with_name(f"{out.name}.{number}") if number else out


def keep(out: Path) -> None:
    """Moves the kept tables up and gives the present one a second name; `out` itself stays.  Raises OSError."""
    if not out.is_file() or not out.stat().st_size:
        return
    for number in range(KEPT - 1, 0, -1):
        with suppress(FileNotFoundError):
            generation(out, number).replace(generation(out, number + 1))
    _second_name(out, generation(out, 1))


def roll_back(out: Path) -> RolledBack:
    """Puts the youngest sound kept table in the place of `out`.  Raises InputError where there is none, LocalError."""
    passed: list[str] = []
    for number in range(1, KEPT + 1):
        kept = generation(out, number)
        try:
            created = WorldTable(kept.read_bytes(), str(kept)).created
        except FileNotFoundError:
            continue
        except InputError as error:
            passed.append(str(error))
            continue
        except OSError as error:
            raise LocalError(f"{kept}: {error.strerror}") from None
        try:
            if out.exists():
                _second_name(out, out.with_name(f"{out.name}.undone"))
            kept.replace(out)
            for older in range(number + 1, KEPT + 1):
                with suppress(FileNotFoundError):
                    generation(out, older).replace(generation(out, older - number))
            sync_folder(out.absolute().parent)
        except OSError as error:
            raise LocalError(f"{out}: cannot be rolled back: {error.strerror}") from None
        return RolledBack(created, kept, tuple(passed))
    damaged = f" ({passed[0]})" if passed else ""
    raise InputError(f"{out}: there is no table before this one, so nothing was changed{damaged}")


def _second_name(path: Path, name: Path) -> None:
    """`name` is the same file as `path`, or a copy where the file system has no links; whole or absent."""
    temporary = name.with_name(f".{name.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)  # of a killed process of this number: to write into it is to write into a table
    try:
        try:
            os.link(path, temporary)
        except OSError:
            shutil.copy2(path, temporary)
        temporary.replace(name)
        with suppress(FileNotFoundError):
            temporary.unlink()  # a rename onto the same file leaves both names
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
