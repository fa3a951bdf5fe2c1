"""Arguments whose text means something: read by the one parser of their kind, and blamed by their own name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from mirrornet.model.errors import InputError

T = TypeVar("T")


def parsed(argument: str, parse: Callable[[str], T], text: str) -> T:
    """What `text` means to `parse`.  Raises InputError that begins with `argument`, such as "--cache-size"."""
    try:
        return parse(text)
    except ValueError as error:
        raise InputError(f"{argument}: {error}") from None
