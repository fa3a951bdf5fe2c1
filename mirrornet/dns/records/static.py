"""The records file: what is the same for everybody, from an RFC 1035 master file to record sets in wire form.

The text is taken apart by masterfile.py and judged here; dnslib turns the words of one record into rdata.  It believes
nearly anything (`A 1.2.3`, `A 1.2.3.4 5.6.7.8`, an SRV target without its origin), so number and kind of the words are
proven first, and names are made absolute.  Every fault of a file is reported, with its line.

SOA, NS at the apex and their addresses come from the zone's YAML file; those of this file are passed over with a
warning, so that an existing zone file can be taken as it is.  Not taken: DNAME, $INCLUDE, $GENERATE, and the records of
a signed zone, for we do not sign.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final

import dnslib
from dnslib.label import DNSBuffer, DNSLabelError

from mirrornet.dns.message import rrset
from mirrornet.dns.message.rrset import RRset, ancestors, name_to_text, name_to_wire
from mirrornet.dns.records.coherence import Line, judge
from mirrornet.dns.records.masterfile import Entry, Word, entries
from mirrornet.model.problem import Problem
from mirrornet.model.units import parse_duration

DEFAULT_TTL: Final = 3600  # seconds, where neither $TTL nor an earlier record says anything
_MAX_TTL: Final = 2**31 - 1  # RFC 2181 section 8

# Type: its number, how many words its rdata has (least, most), which of them are names.
_TYPES: Final[dict[str, tuple[int, int, int, tuple[int, ...]]]] = {
    "A": (1, 1, 1, ()),
    "NS": (2, 1, 1, (0,)),
    "CNAME": (5, 1, 1, (0,)),
    "SOA": (6, 0, 99, ()),
    "PTR": (12, 1, 1, (0,)),
    "MX": (15, 2, 2, (1,)),
    "TXT": (16, 1, 999, ()),
    "RP": (17, 2, 2, (0, 1)),
    "AAAA": (28, 1, 1, ()),
    "LOC": (29, 5, 12, ()),
    "SRV": (33, 4, 4, (3,)),
    "NAPTR": (35, 6, 6, (5,)),
    "DS": (43, 4, 99, ()),
    "SSHFP": (44, 3, 99, ()),
    "TLSA": (52, 4, 99, ()),
    "SVCB": (64, 2, 99, (1,)),
    "HTTPS": (65, 2, 99, (1,)),
    "URI": (256, 3, 3, ()),
    "CAA": (257, 3, 3, ()),
}
_REFUSED: Final = {
    "DNAME": "write a CNAME for each name",
    "DNSKEY": "mirrornet does not sign; delegate a signed zone, or leave it out",
    "RRSIG": "mirrornet does not sign; leave it out",
    "NSEC": "mirrornet does not sign; leave it out",
    "NSEC3": "mirrornet does not sign; leave it out",
    "NSEC3PARAM": "mirrornet does not sign; leave it out",
    "SPF": "RFC 7208 wants it as TXT",
}


class _Plain(DNSBuffer):  # type: ignore[misc]  # dnslib is untyped
    """Rdata without compression (RFC 3597 section 4)."""

    def encode_name(self, name: Any) -> None:
        self.encode_name_nocompress(name)


class _Reader:
    def __init__(self, origin: str, file: str) -> None:
        self.file = file
        self.apex = name_to_wire(origin)
        self.origin = origin.rstrip(".") + "."
        self.ttl: int | None = None
        self.last_ttl: int | None = None
        self.owner: bytes | None = None
        self.problems: list[Problem] = []
        self.lines: list[Line] = []

    def fault(self, line: int, what: str, hint: str = "", warning: bool = False) -> None:
        self.problems.append(Problem(self.file, line, what, hint, warning))

    def read(self, entry: Entry) -> None:
        first = entry.words[0]
        if first.value.startswith(b"$") and not first.quoted and not entry.inherits:
            self.directive(entry)
            return
        words = list(entry.words)
        if not entry.inherits:
            try:
                self.owner = name_to_wire(self.absolute(words.pop(0)))
            except ValueError as error:
                self.owner = None
                self.fault(entry.line, str(error))
                return
            if self.apex not in ancestors(self.owner):
                where, self.owner = name_to_text(self.owner), None
                self.fault(entry.line, f"{where} is not inside {self.origin}", "a final dot too many or too few?")
                return
        if self.owner is None:
            self.fault(entry.line, "a record without an owner name: the one before it has none that could be taken")
            return
        ttl = self.before_type(entry.line, words)
        if not words:
            self.fault(entry.line, "a record without a type", "write NAME [TTL] [IN] TYPE DATA")
            return
        kind = words.pop(0).text.upper()
        try:
            found = self.rdata(kind, words)
        except (ValueError, LookupError, struct.error, dnslib.DNSError, DNSLabelError) as error:
            self.fault(entry.line, f"{kind}: {error}", _HINTS.get(kind, ""))
            return
        self.lines.append(Line(entry.line, self.owner, found[0], ttl, found[1]))

    def directive(self, entry: Entry) -> None:
        name, arguments = entry.words[0].text.upper(), entry.words[1:]
        try:
            if name == "$TTL" and len(arguments) == 1:
                self.ttl = _ttl(arguments[0].text)
            elif name == "$ORIGIN" and len(arguments) == 1:
                origin = self.absolute(arguments[0])
                name_to_wire(origin)
                self.origin = origin
            elif name in ("$INCLUDE", "$GENERATE"):
                self.fault(entry.line, f"{name} is not taken", "write the records out in this file")
            else:
                self.fault(entry.line, f"{name}: not a directive with its one argument", "$TTL TIME or $ORIGIN NAME.")
        except ValueError as error:
            self.fault(entry.line, f"{name}: {error}")

    def before_type(self, line: int, words: list[Word]) -> int:
        """Takes TTL and class, in either order, off `words`."""
        ttl: int | None = None
        for _ in range(2):
            if not words:
                break
            text = words[0].text.upper()
            if text in ("CH", "HS", "CS", "ANY"):
                self.fault(line, f"class {text}: only IN is served")
            if text in ("IN", "CH", "HS", "CS", "ANY"):
                words.pop(0)
            elif text[:1].isdigit():
                try:
                    ttl = _ttl(words.pop(0).text)
                except ValueError as error:
                    self.fault(line, str(error))
                    ttl = 0
        if ttl is None:
            ttl = self.ttl if self.ttl is not None else self.last_ttl
        self.last_ttl = ttl
        return DEFAULT_TTL if ttl is None else ttl

    def rdata(self, kind: str, words: list[Word]) -> tuple[int, bytes]:
        """(type, rdata).  Raises ValueError or one of dnslib's errors."""
        if words and words[0].value == b"#" and words[0].escaped:
            return _generic(kind, words[1:])
        if kind in _REFUSED:
            raise ValueError(f"not taken: {_REFUSED[kind]}")
        if kind not in _TYPES:
            raise ValueError("not a type we know; write TYPEnnn \\# LENGTH HEX (RFC 3597)")
        rtype, least, most, names = _TYPES[kind]
        if not least <= len(words) <= most:
            raise ValueError(f"{len(words)} words of data, expected {least if least == most else f'at least {least}'}")
        if rtype == rrset.SOA:
            return rtype, b""
        if rtype == rrset.TXT:
            return rtype, _packed(dnslib.TXT([word.value for word in words]))
        if rtype == rrset.URI:  # dnslib has no such class; RFC 7553 section 4.5
            if not words[2].value:
                raise ValueError("the target is empty")
            return rtype, struct.pack("!HH", int(words[0].text), int(words[1].text)) + words[2].value
        texts = [self.absolute(word) if number in names else _ascii(word) for number, word in enumerate(words)]
        for number in names:
            name_to_wire(texts[number])
        if rtype == rrset.A:
            return rtype, IPv4Address(texts[0]).packed
        if rtype == rrset.AAAA:
            return rtype, IPv6Address(texts[0]).packed
        parser = dnslib.RDMAP["HTTPS" if kind == "SVCB" else kind]
        return rtype, _packed(parser.fromZone(texts, dnslib.DNSLabel(".")))

    def absolute(self, word: Word) -> str:
        """The name in `word` with its final dot."""
        if word.escaped:
            raise ValueError(f"{word.text!r}: escapes in names are not taken")
        text = _ascii(word)
        if text == "@":
            return self.origin
        if text.endswith(".."):
            raise ValueError(f"{text!r} is not a domain name: it ends in two dots")
        if text.endswith("."):
            return text
        return f"{text}." if self.origin == "." else f"{text}.{self.origin}"


_HINTS: Final = {
    "TXT": "a text has at most 255 octets: split it into several quoted ones",
    "CAA": 'such as 0 issue "ca.example.net"',
    "MX": "such as 10 mail",
    "SRV": "priority weight port target",
    "URI": 'priority weight "target"',
}


def _ttl(text: str) -> int:
    seconds = int(parse_duration(text.lower()))
    if seconds > _MAX_TTL:
        raise ValueError(f"a TTL of {text}: at most {_MAX_TTL} seconds")
    return seconds


def _ascii(word: Word) -> str:
    try:
        return word.value.decode("ascii")
    except UnicodeDecodeError:
        raise ValueError(f"{word.text!r} is not ASCII; write names in their xn-- form") from None


def _packed(rdata: Any) -> bytes:
    buffer = _Plain()
    rdata.pack(buffer)
    return bytes(buffer.data)


def _generic(kind: str, words: list[Word]) -> tuple[int, bytes]:
    """RFC 3597 section 5: TYPEnnn \\# LENGTH HEX."""
    digits = kind[4:] if kind.startswith("TYPE") else ""
    rtype = _TYPES[kind][0] if kind in _TYPES else int(digits) if digits.isdigit() else 0
    if not 0 < rtype < 65536 or 128 <= rtype <= 255 or rtype == rrset.OPT or not words:
        raise ValueError("not a type that may have data in a zone (RFC 6895 section 3.1)")
    octets = bytes.fromhex("".join(_ascii(word) for word in words[1:]))
    if len(octets) != int(_ascii(words[0])):
        raise ValueError(f"{len(octets)} octets of data, and the length says {_ascii(words[0])}")
    return rtype, octets


def read_records(text: str, origin: str, file: str) -> tuple[dict[bytes, dict[int, RRset]], list[Problem]]:
    """Name → type → record set of the master file `text` for the zone `origin`, and every fault, in order of lines.

    `file` names it in the faults.  A record that is at fault is left out; warnings (Problem.warning) are not faults.
    """
    reader = _Reader(origin, file)
    for entry in entries(text, file, reader.problems):
        reader.read(entry)
    records = judge(reader.lines, reader.apex, file, reader.problems)
    return records, sorted(reader.problems)
