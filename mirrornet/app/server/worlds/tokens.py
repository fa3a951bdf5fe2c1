"""Who may send overrides by HTTP: the file of `server: token_file`, a name and a token a line.

The name is the author of what is sent with its token, so each person and each script has a line of its own, and loses
it without the others.  The file is read again when it changes; what is wrong with it then is told once, and the tokens
read before stay.  Tokens are long enough that nobody guesses one: what limits guessing is mathematics, not a counter.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mirrornet.app.server.trouble import Trouble
from mirrornet.model.errors import InputError
from mirrornet.model.problem import Problem
from mirrornet.model.zone import ServerSettings

log = logging.getLogger(__name__)

SHORTEST: Final = 32  # characters of a token
LONGEST: Final = 256
SIZE_LIMIT: Final = 1 << 20  # bytes of the file
_TOKEN: Final = re.compile(rf"[A-Za-z0-9._~+/=-]{{{SHORTEST},{LONGEST}}}")  # RFC 6750, section 2.1
_NAME: Final = re.compile(r"[A-Za-z0-9._@-]{1,64}")
_HINT: Final = "write a name and a token on each line (openssl rand -hex 32 makes one)"


def read_tokens(text: str) -> dict[str, str]:
    """Names by token.  Blank lines and # comments are left out.

    Raises ValueError with the line and what is wrong with it, never with the token.
    """
    tokens: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 2:
            raise ValueError(f"line {number} has {len(words)} words: {_HINT}")
        name, token = words
        if not _NAME.fullmatch(name):
            raise ValueError(f"line {number}: a name has letters, digits and .-_@, 64 at most")
        if not _TOKEN.fullmatch(token):
            raise ValueError(f"line {number}: a token has {SHORTEST} to {LONGEST} letters and digits: {_HINT}")
        if token in tokens:
            raise ValueError(f"line {number}: this token has an owner already: each has his own")
        tokens[token] = name
    if not tokens:
        raise ValueError(f"no token in it: {_HINT}")
    return tokens


def _read(path: Path) -> dict[str, str]:
    """The tokens in a file.  Raises InputError."""
    try:
        with path.open("rb") as file:
            data = file.read(SIZE_LIMIT + 1)
        if len(data) > SIZE_LIMIT:
            raise ValueError(f"longer than {SIZE_LIMIT >> 20} MiB")
        return read_tokens(data.decode("ascii", "replace"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


def faults(settings: ServerSettings, zone_file: Path) -> list[Problem]:
    """What is wrong inside the file that `server: token_file` names in `zone_file`."""
    if settings.token_file is None or not settings.token_file.exists():
        return []  # that it is missing is told with its line
    try:
        _read(settings.token_file)
    except InputError as error:
        return [Problem(str(zone_file), 0, str(error))]
    return []


class TokenFile:
    """The tokens of a file as it is now; without a file, none.  Raises InputError where it is wrong at the start."""

    def __init__(self, path: Path | None) -> None:
        self._path = path.absolute() if path else None
        self._seen: tuple[int, int, int] | None = None
        self._tokens: dict[str, str] = {}
        self._unread = Trouble(log, "the tokens read before stay", "the tokens are read again")
        if self._path:
            self._seen = _state(self._path)
            self._tokens = _read(self._path)

    def current(self) -> Mapping[str, str]:
        """Names by token; the file is looked at, and read again if it has changed."""
        if self._path and (state := _state(self._path)) != self._seen:
            self._seen = state
            try:
                self._tokens = _read(self._path)
            except InputError as error:
                self._unread.met(error)
            else:
                self._unread.over()
        return self._tokens


def _state(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_mtime_ns, found.st_size, found.st_ino
