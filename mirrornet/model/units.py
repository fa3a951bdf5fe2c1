"""Durations, sizes and rates as an operator writes them, and as we print them.

One parser for each, so that `10s` means the same in a zone file, on a command line and in a log.  Everything inside
the program is a plain number in the base unit that the name says: seconds (float), bytes (int), bytes a second (int).
Binary multiples are used for sizes (K = 1,024), because block sizes and caches are powers of two.
"""

from __future__ import annotations

import re

_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SIZE_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)


def parse_duration(text: str) -> float:
    """Seconds in `text`, such as "10s", "1.5h" or "1h30m"; a bare number is seconds.

    Raises ValueError with a sentence for a person.
    """
    cleaned = text.strip()
    if re.fullmatch(r"\d+(?:\.\d+)?", cleaned):
        return float(cleaned)
    total, end = 0.0, 0
    for match in _DURATION.finditer(cleaned):
        if cleaned[end : match.start()].strip():
            break
        total += float(match[1]) * _DURATION_UNITS[match[2]]
        end = match.end()
    if end == 0 or cleaned[end:].strip():
        raise ValueError(f"{text!r} is not a duration: write a number with ms, s, m, h, d or w, such as 10s")
    return total


def parse_size(text: str) -> int:
    """Bytes in `text`, such as "256K", "10G" or "4096".  Raises ValueError with a sentence for a person."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size: write a number with K, M, G or T, such as 256K")
    return int(float(match[1]) * _SIZE_UNITS[match[2].upper()])


def parse_share(text: str) -> float:
    """The share, 0 to 1, in `text`, such as "1%" or "0.5 %".  Raises ValueError with a sentence for a person."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", text.strip())
    if match is None or float(match[1]) > 100:
        raise ValueError(f"{text!r} is not a share: write 0% to 100%, such as 1%")
    return float(match[1]) / 100


def format_duration(seconds: float) -> str:
    """`seconds` to two figures that matter: "85 ms", "2.5 s", "12 min", "3.0 h", "2.0 d"."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 172800:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} d"


def format_size(size: float) -> str:
    """`size` bytes with a binary unit: "512 B", "1.5 KiB", "20.0 MiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def format_overload(ratio: float) -> str:
    """How many times its bound a mirror carries, as "1.7 times"; "" up to 1.05: a place cannot be divided."""
    return f"{ratio:.1f} times" if round(ratio, 1) > 1 else ""
