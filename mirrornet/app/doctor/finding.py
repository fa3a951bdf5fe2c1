"""What the doctor says: one line a check, whether all is well, and what to do where it is not."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """A fault keeps somebody from being served, or soon will; a warning is worth a look."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """`check`: its kind, for programs.  `about`: of what.  `mend`: what to do; "" where all is well."""

    level: Level
    check: str
    about: str
    what: str
    mend: str = ""

    def __str__(self) -> str:
        line = f"{self.level:<8} {self.about}: {self.what}"
        return f"{line}; {self.mend}" if self.mend else line


def ok(check: str, about: str, what: str) -> Finding:
    """All is well."""
    return Finding(Level.OK, check, about, what)


def warning(check: str, about: str, what: str, mend: str) -> Finding:
    """Worth a look."""
    return Finding(Level.WARNING, check, about, what, mend)


def fault(check: str, about: str, what: str, mend: str) -> Finding:
    """Somebody is not served."""
    return Finding(Level.FAULT, check, about, what, mend)
