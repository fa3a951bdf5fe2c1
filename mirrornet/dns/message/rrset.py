"""Record sets in wire form, ready to be copied into an answer.

Every record of a set is stored with the compression pointer 0xC00C as its owner, for in all our answers the owner is
the question's name, which starts at offset 12 (RFC 1035 section 4.1.4).  Names inside rdata are never compressed
(RFC 3597 section 4).  An owner elsewhere (the SOA in the authority section, NS of a delegation, glue) is written out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

OWNER: Final = b"\xc0\x0c"  # a pointer to the question's name
CLASS_IN: Final = 1

A: Final = 1
NS: Final = 2
CNAME: Final = 5
SOA: Final = 6
TXT: Final = 16
AAAA: Final = 28
SRV: Final = 33
OPT: Final = 41
DS: Final = 43
ANY: Final = 255
URI: Final = 256

_FIXED = struct.Struct("!HHIH")  # type, class, ttl, rdlength


@dataclass(frozen=True, slots=True)
class RRset:
    """`rtype`; `ttl` in seconds; the rdata of each record, uncompressed wire form (no two alike, RFC 2181 5)."""

    rtype: int
    ttl: int
    rdatas: tuple[bytes, ...]

    def wire(self, ttl: int | None = None, owner: bytes = OWNER) -> bytes:
        """All records, one after the other, with `ttl` in place of the set's own where it is given."""
        time = self.ttl if ttl is None else ttl
        return b"".join(owner + _FIXED.pack(self.rtype, CLASS_IN, time, len(rdata)) + rdata for rdata in self.rdatas)


def name_to_wire(name: str) -> bytes:
    """`name` (ASCII, with or without the final dot; "" or "." the root) in wire form, lower case.

    Raises ValueError where a label is empty or over 63 octets, or the name over 255 (RFC 1035 section 2.3.4).
    """
    labels = [label.encode("ascii").lower() for label in name.rstrip(".").split(".")] if name.strip(".") else []
    if any(not 0 < len(label) < 64 for label in labels):
        raise ValueError(f"{name!r} is not a domain name: every label has 1 to 63 characters")
    wire = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    if len(wire) > 255:
        raise ValueError(f"{name!r} is not a domain name: it is longer than 255 octets")
    return wire


def labels_of(wire: bytes) -> list[bytes]:
    """The labels of an uncompressed wire name, without the root."""
    labels, at = [], 0
    while wire[at]:
        labels.append(wire[at + 1 : at + 1 + wire[at]])
        at += 1 + wire[at]
    return labels


def name_to_text(wire: bytes) -> str:
    """A wire name as RFC 1035 section 5.1 writes it, without the final dot; "." for the root."""
    return ".".join(_escaped(label) for label in labels_of(wire)) or "."


def _escaped(label: Iterable[int]) -> str:
    return "".join(
        f"\\{chr(octet)}" if octet in b'."\\;()@$' else chr(octet) if 32 < octet < 127 else f"\\{octet:03d}"
        for octet in label
    )


def ancestors(wire: bytes) -> Sequence[bytes]:
    """`wire` and every name above it, nearest first, the root last."""
    found, at = [wire], 0
    while wire[at]:
        at += 1 + wire[at]
        found.append(wire[at:])
    return found
