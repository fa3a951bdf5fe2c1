"""One piece of a dump → all it says, counted: the unit of work of one process or two (second.py).

What is plain comes as columns, the rest as facts of the exact reader; rejects come as counts with a few samples, so a
piece of nothing but garbage takes no more room than any other.  Line numbers count from the beginning of the piece,
and source numbers are the piece's own, so a batch does not depend on who read it, when, or what was read before.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from mirrornet.radb.facts import Mend, Reason, Rejected, Said, Unused
from mirrornet.radb.reading.columns import Plain, Scanner, read_padded
from mirrornet.radb.reading.objects import interpret
from mirrornet.radb.reading.rpsl import without_comment_lines
from mirrornet.radb.reading.text import PADDING
from mirrornet.radb.records import Sources
from mirrornet.radb.report import SAMPLES

_CLASSES: Final = 1000  # different pairs of source and class that are counted apart
_OTHERS: Final = ("(others)", "(others)")
_BEGINNING: Final = 200  # bytes of a rejected object that are kept


class Beginning(NamedTuple):
    """Where in the piece a rejected object begins (line from 0), and how."""

    line: int
    text: bytes


@dataclass(slots=True)
class Batch:
    """All that a piece says.  `plain` numbers sources by `names`; its `rest` is in `said` or in the counts."""

    plain: Plain
    names: list[str]
    dropped: set[str]
    said: list[Said] = field(default_factory=list)  # in order; neither Rejected nor Unused
    passed: Counter[tuple[str, str]] = field(default_factory=Counter)  # Rejected and Unused, by source and class
    rejected: Counter[Reason] = field(default_factory=Counter)
    samples: dict[Reason, list[Beginning]] = field(default_factory=dict)
    mended: Counter[Mend] = field(default_factory=Counter)
    objects: int = 0
    exact: int = 0  # how many of them took the exact reader


def understand(padded: bytes | memoryview, size: int, bogons: bool = False, scanner: Scanner | None = None) -> Batch:
    """All that the first `size` bytes of `padded` say; columns.read_padded() tells how they look."""
    sources = Sources()
    plain = read_padded(padded, size, sources, bogons, scanner)
    batch = Batch(plain, sources.names, sources.dropped)
    batch.objects = sum(len(routes.values) for routes in plain.routes.values()) + len(plain.seats.asns)
    for line, (begin, end) in zip(plain.rest_lines, plain.rest, strict=True):
        text = bytes(padded[begin:end])
        said = interpret(text, bogons)
        if said is None:
            continue
        batch.objects += 1
        batch.exact += 1
        if isinstance(said, Rejected | Unused):
            key = (said.source, said.class_name)
            batch.passed[key if key in batch.passed or len(batch.passed) < _CLASSES else _OTHERS] += 1
            if isinstance(said, Rejected):
                _reject(batch, said.reason, text, line)
        else:
            if said.mends:
                batch.mended.update(said.mends)
            batch.said.append(said)
    plain.rest.clear()
    plain.rest_lines.clear()
    return batch


def padded(data: bytes, scanner: Scanner | None = None) -> bytes:
    """`data` as understand() wants it: the compiled pass does without the zeros, beyond the one that bytes have."""
    return data if scanner is not None else data + bytes(PADDING)


def _reject(batch: Batch, reason: Reason, text: bytes, line: int) -> None:
    batch.rejected[reason] += 1
    samples = batch.samples.setdefault(reason, [])
    if len(samples) < SAMPLES:
        body = without_comment_lines(text)
        before = text.count(b"\n", 0, text.find(body.partition(b"\n")[0]))
        samples.append(Beginning(line + before, body[:_BEGINNING]))
