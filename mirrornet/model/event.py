"""One line of a log: for people, or as JSON for programs.  Pure; the time is an argument.

One event is one line, whatever is in it: a mirror's answer or a file's name may hold line breaks and escape codes, and
a log that they can write lines into, or colours, is no log.  In JSON the message is a string like any other; times are
RFC 3339 in UTC, with milliseconds.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Final

SWITCH: Final = "MIRRORNET_LOG_FORMAT"  # environment: "json", for the processes that a server starts
FORMATS: Final = ("plain", "json")


def line(form: str, at: float, level: str, source: str, message: str, trace: str = "") -> str:
    """`form`: one of FORMATS; `at`: Unix time; `source`: who says it; `trace`: where a bug was met."""
    when = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if form == "json":
        told = {"time": when, "level": level.lower(), "source": source, "message": message}
        return json.dumps(told | ({"trace": trace} if trace else {}))
    text = f"{when} {level.upper()} {source}: {message}"
    return _flat(f"{text} | {trace}" if trace else text)


def _flat(text: str) -> str:
    """`text` without what a terminal or a reader of lines would act upon."""
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
