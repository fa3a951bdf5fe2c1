"""One fault of a text that a person wrote, as a value, so that one run can report all of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """`file`:`line` (1-based; 0 where the whole file is meant), what is wrong, and what to do about it."""

    file: str
    line: int
    what: str
    hint: str = ""
    warning: bool = False

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        kind = "warning: " if self.warning else ""
        return f"{where}: {kind}{self.what}" + (f" ({self.hint})" if self.hint else "")
