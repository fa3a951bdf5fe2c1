"""Validated ROA payloads as validators export them: routinator's, rpki-client's and rpki-validator's JSON.

    {"metadata": {...}, "roas": [{"asn": "AS64500" or 64500, "prefix": "192.0.2.0/24", "maxLength": 24, "ta": ...}]}

All three agree on the list "roas" and its first three keys; whatever else there is (ta, expires, source, aspas) is
passed over.  The list has half a million entries, so it is decoded entry by entry out of a window of text: json.loads
of the whole takes four times the file in memory.  An entry that is no VRP is counted; text that is no JSON, or ends
before the list does, is a fault of the file, since half a list would turn valid routes into unknown ones in silence.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Any, Final, NamedTuple

from mirrornet.radb.bogons import SHORTEST
from mirrornet.radb.facts import Reason, Vrp

ENTRY_LIMIT: Final = 1 << 16  # characters; routinator's extended form names every source of a VRP
_LIST = re.compile(r'"roas"\s*:\s*\[')
_BETWEEN = re.compile(r"[\s,]*")
_ASN = re.compile(r"(?:AS)?(\d{1,10})", re.IGNORECASE)
_DECODE: Final = json.JSONDecoder().raw_decode


class Entry(NamedTuple):
    """One entry of the list.  `said` None: a prefix longer than /64, which covers nothing that we keep."""

    line: int
    said: Vrp | Reason | None
    text: bytes


class NoVrps(ValueError):
    """The file is not what a validator exports; the text says why."""


def entries(stream: Iterable[bytes]) -> Iterator[Entry]:
    """The entries of the list.  Raises NoVrps."""
    texts = _texts(stream)
    window, line = "", 1
    for text in texts:
        window += text
        match = _LIST.search(window)
        if match:
            line += window.count("\n", 0, match.end())
            window = window[match.end() :]
            break
        line += window.count("\n", 0, max(0, len(window) - 64))
        window = window[-64:]
    else:
        raise NoVrps('there is no list "roas" in it')
    at = 0
    while True:
        begin = _skip(window, at)
        line += window.count("\n", at, begin)
        at = begin
        if at < len(window) and window[at] == "]":
            break
        try:
            said, end = _DECODE(window, at)
        except (ValueError, RecursionError):
            if len(window) - at >= ENTRY_LIMIT:
                raise NoVrps(f"it has an entry that is no JSON (line {line})") from None
            more = next(texts, None)
            if more is None:
                raise NoVrps(f"it ends in the middle of the list, or its JSON is broken (line {line})") from None
            window, at = window[at:] + more, 0
            continue
        yield Entry(line, _vrp(said), window[at : min(end, at + 100)].encode("utf-8", "replace"))
        line += window.count("\n", at, end)
        at = end
    last = window[at:][-64:]
    for text in texts:
        last = (last + text)[-64:]
    if not last.rstrip().endswith("}"):
        raise NoVrps("it ends before its JSON does")


def _texts(stream: Iterable[bytes]) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for portion in stream:
        text = decoder.decode(portion)
        if text:
            yield text


def _skip(window: str, at: int) -> int:
    match = _BETWEEN.match(window, at)
    return match.end() if match else at


def _vrp(said: Any) -> Vrp | Reason | None:
    if not isinstance(said, dict):
        return Reason.BAD_VRP
    asn, prefix, limit = said.get("asn"), said.get("prefix"), said.get("maxLength")
    if isinstance(asn, str) and (match := _ASN.fullmatch(asn)):
        asn = int(match[1])
    if type(asn) is not int or not 0 <= asn <= 0xFFFFFFFF or not isinstance(prefix, str):
        return Reason.BAD_VRP
    address, _, length_text = prefix.partition("/")
    if not (length_text.isascii() and length_text.isdigit() and len(length_text) < 4):
        return Reason.BAD_VRP
    length = int(length_text)
    try:
        if ":" in address:
            return _vrp6(int(IPv6Address(address)), length, limit, asn)
        value = int(IPv4Address(address))
    except AddressValueError:
        return Reason.BAD_VRP
    limit = length if limit is None else limit
    if type(limit) is not int or not length <= limit <= 32 or value & (0xFFFFFFFF >> length):
        return Reason.BAD_VRP
    return Vrp(4, value, length, limit, asn) if length >= SHORTEST[4] else Reason.TOO_SHORT


def _vrp6(value: int, length: int, limit: Any, asn: int) -> Vrp | Reason | None:
    limit = length if limit is None else limit
    if type(limit) is not int or not length <= limit <= 128 or value & ((1 << 128) - 1 >> length):
        return Reason.BAD_VRP
    if length > 64:
        return None
    return Vrp(6, value >> 64, length, min(limit, 64), asn) if length >= SHORTEST[6] else Reason.TOO_SHORT
