"""Where the log goes, and in which form: stderr, a line for each event (model/event.py).

`--log-format json` is for who feeds logs to a program.  The processes that a server starts hear of it by the
environment, since their lines come by the same stderr.  Rejected: structlog (a dependency for one function), a file of
our own with rotation (the service manager keeps logs, or a shell does).
"""

from __future__ import annotations

import logging
import os
import sys
import traceback

from mirrornet.model.errors import InputError
from mirrornet.model.event import FORMATS, SWITCH, line

LEVELS = ("debug", "info", "warning", "error")


class Lines(logging.Formatter):
    """A record as one line."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        trace = "".join(traceback.format_exception(*record.exc_info)).strip() if record.exc_info else ""
        return line(self._form, record.created, record.levelname, record.name, record.getMessage(), trace)


def configure(level: str, form: str) -> None:
    """The log of this process and of those it starts.  Raises InputError for a word that means nothing."""
    if level not in LEVELS:
        raise InputError(f"--log-level {level}: write debug, info, warning or error")
    if form not in FORMATS:
        raise InputError(f"--log-format {form}: write plain or json")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines(form))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    quieten_libraries()
    logging.captureWarnings(True)
    os.environ[SWITCH] = form


def quieten_libraries() -> None:
    """What tuf says at INFO is no event of ours: after a rotation, each key that an older root did not name yet."""
    root = logging.getLogger().level
    logging.getLogger("tuf").setLevel(max(root, logging.WARNING) if root > logging.DEBUG else logging.DEBUG)
