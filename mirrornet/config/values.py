"""Scalars of a zone file: numbers, words, durations, countries.  Text in; a value, or Wrong with what to write, out.

All are strict: one spelling for one value, so that what is in the file can be found with grep, and so that a slip is a
fault and not another meaning.  `010` is refused because half of all programs read it as eight.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from mirrornet.config.faults import Wrong, quote
from mirrornet.data.countries import COUNTRIES
from mirrornet.model.names import IMAGE_NAME, suggest
from mirrornet.model.units import parse_duration

_WHOLE = re.compile(r"0|[1-9][0-9]{0,18}")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,8})(?:\.[0-9]{1,20})?")
_ELSEWHERE = {"UK": "GB", "EL": "GR", "EU": "continent:EU is for only, prefer and never; a place needs a country"}


def whole(low: int, high: int) -> Callable[[str], int]:
    """A whole number from `low` to `high`, in decimal digits without leading zeros."""

    def parse(text: str) -> int:
        if not _WHOLE.fullmatch(text):
            if re.fullmatch(r"0[0-9]+", text):
                raise Wrong(f"{quote(text)} begins with a zero", "some programs read that as octal: write it without")
            raise Wrong(f"{quote(text)} is not a whole number", f"write digits, {low} to {high}")
        value = int(text)
        if not low <= value <= high:
            raise Wrong(f"{value} is out of range", f"from {low} to {high}")
        return value

    return parse


def degrees(limit: int) -> Callable[[str], float]:
    """Decimal degrees from -`limit` to `limit`."""

    def parse(text: str) -> float:
        if not _NUMBER.fullmatch(text):
            hint = "write decimal degrees such as -33.87; south and west are negative"
            raise Wrong(f"{quote(text)} is not a number of degrees", hint)
        value = float(text)
        if not -limit <= value <= limit:
            raise Wrong(f"{text} is out of range", f"degrees from -{limit} to {limit}")
        return value

    return parse


def times(high: int) -> Callable[[str], float]:
    """A factor from 1 to `high`, or 0 for none."""

    def parse(text: str) -> float:
        if not _NUMBER.fullmatch(text):
            raise Wrong(f"{quote(text)} is not a number", f"write a number such as 2 or 1.5, up to {high}, or 0")
        value = float(text)
        if value != 0 and not 1 <= value <= high:
            raise Wrong(f"{text} is out of range", f"from 1 to {high}, or 0")
        return value

    return parse


def duration(low: float, high: float) -> Callable[[str], float]:
    """Seconds from `low` to `high`; a bare number is seconds (model/units.py)."""

    def parse(text: str) -> float:
        try:
            value = parse_duration(text)
        except ValueError:
            hint = "write a number with ms, s, m, h, d or w, such as 10s"
            raise Wrong(f"{quote(text)} is not a duration", hint) from None
        if not low <= value <= high:
            raise Wrong(f"{quote(text)} is out of range", f"from {low:g} s to {high:g} s")
        return value

    return parse


def seconds(low: int, high: int) -> Callable[[str], int]:
    """A duration of whole seconds, as a DNS TTL is."""
    inner = duration(low, high)

    def parse(text: str) -> int:
        value = inner(text)
        if value != int(value):
            raise Wrong(f"{quote(text)} is not a whole number of seconds", "a TTL is counted in seconds")
        return int(value)

    return parse


def choice(*words: str) -> Callable[[str], str]:
    """One of `words`."""

    def parse(text: str) -> str:
        if text not in words:
            listed = ", ".join(words[:-1]) + " or " + words[-1]
            close = suggest(text, words)
            raise Wrong(f"{quote(text)} is none of {listed}", close)
        return text

    return parse


def boolean(text: str) -> bool:
    """true or false, and none of YAML's other eighteen spellings."""
    if text not in ("true", "false"):
        meant = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(text.lower(), text.lower())
        hint = f"did you mean {meant}?" if meant in ("true", "false") else ""
        raise Wrong(f"{quote(text)} is neither true nor false", hint)
    return text == "true"


def image_name(text: str) -> str:
    """The name of an image."""
    if not IMAGE_NAME.fullmatch(text):
        hint = "small letters, digits, dots, hyphens and underscores, 63 at most, the first a letter or digit"
        raise Wrong(f"{quote(text)} cannot be the name of an image", hint)
    return text


def country(text: str) -> str:
    """ISO 3166-1 alpha-2 in capitals, of a country that mirrornet.data.countries knows."""
    if text in COUNTRIES:
        return text
    if text.upper() in COUNTRIES:
        raise Wrong(f"{quote(text)} is not a country code", f"did you mean {text.upper()}? capitals, please")
    hint = _ELSEWHERE.get(text.upper(), "")
    if hint in COUNTRIES:
        hint = f"did you mean {hint}?"
    for code, entry in COUNTRIES.items():
        if entry.name.strip().lower() == text.lower():
            hint = f"did you mean {code}?"
    hint = hint or "two capital letters of ISO 3166-1, such as JP"
    raise Wrong(f"{quote(text)} is not a country code", hint)


def asn(text: str) -> int:
    """An AS number, 1 to 4294967295 (RFC 6793), with or without AS before it."""
    digits = text.removeprefix("AS")
    if re.fullmatch(r"[0-9]+\.[0-9]+", digits):
        raise Wrong(f"{quote(text)} is an AS number with a dot", "write it as one number (RFC 5396, asplain)")
    if not _WHOLE.fullmatch(digits) or not 0 < int(digits) <= 0xFFFFFFFF:
        raise Wrong(f"{quote(text)} is not an AS number", "write 2500 or AS2500; from 1 to 4294967295")
    return int(digits)
