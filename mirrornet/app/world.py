"""Opening a world.table: the one place where the file is mapped."""

from __future__ import annotations

import mmap
from pathlib import Path

from mirrornet.model.errors import InputError
from mirrornet.model.table import WorldTable


def open_table(path: Path) -> WorldTable:
    """The table in `path`, mapped and verified.  Raises InputError naming the file and what to do.

    A later import replaces the file by rename, so the mapping stays what it was.
    """
    try:
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file: make it with `mirrornet import-radb DUMP --out {path}`") from None
    except ValueError:
        raise InputError(f"{path}: the file is empty: make it anew with `mirrornet import-radb`") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    return WorldTable(memoryview(data), str(path))
