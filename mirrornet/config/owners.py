"""Which names a records file (RFC 1035 section 5) owns, and with which types: just enough to see collisions.

dns/ builds the records and judges them; here only the owner, the type and the line of each record are wanted, so that
`check` can say that the file's CNAME stands where a balanced name does.  What this reader does not understand it skips.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_QUOTED_OR_COMMENT = re.compile(r'"(?:[^"\\]|\\.)*"|;.*')
_CLASS_OR_TTL = re.compile(r"IN|CH|HS|[0-9]+[0-9SMHDW]*", re.IGNORECASE)


class Owner(NamedTuple):
    """A record: its line, its owner (lower case, no final dot) and its type in capitals."""

    line: int
    name: str
    type: str


def read_owners(text: str, zone: str) -> Iterator[Owner]:
    """The owner of each record in `text`, whose origin is `zone` until $ORIGIN says otherwise."""
    origin, last, depth = zone, zone, 0
    for number, line in enumerate(text.splitlines(), 1):
        bare = _QUOTED_OR_COMMENT.sub(lambda found: '""' if found[0].startswith('"') else "", line)
        inside = depth > 0
        depth = max(0, depth + bare.count("(") - bare.count(")"))
        words = bare.replace("(", " ").replace(")", " ").split()
        if inside or not words:
            continue
        if words[0].startswith("$"):
            if words[0].upper() == "$ORIGIN" and len(words) > 1:
                origin = _absolute(words[1], origin)
            continue
        if not bare[0].isspace():
            last = _absolute(words.pop(0), origin)
        while words and _CLASS_OR_TTL.fullmatch(words[0]):
            words.pop(0)
        if words:
            yield Owner(number, last, words[0].upper())


def _absolute(name: str, origin: str) -> str:
    name = name.lower()
    if name == "@":
        return origin
    return name[:-1] if name.endswith(".") else f"{name}.{origin}" if origin else name
