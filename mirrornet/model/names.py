"""Names that people give and mistype: what may name an image, and which known name was probably meant."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

IMAGE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")  # fits a file's name, a URL and a DNS label's length
_COMPARED: Final = 60  # characters of a word: comparing takes the square of its length, and a file may hold anything


def closest(word: str, known: Iterable[str]) -> str:
    """The one of `known` that is close to `word`, whatever its case, or ""."""
    choices = {item.lower(): item for item in known}
    found = get_close_matches(word[:_COMPARED].lower(), choices, 1, 0.6)
    return choices[found[0]] if found else ""


def suggest(word: str, known: Iterable[str]) -> str:
    """ "did you mean X?" where one of `known` is close to `word`, else ""."""
    found = closest(word, known)
    return f"did you mean {found}?" if found else ""
