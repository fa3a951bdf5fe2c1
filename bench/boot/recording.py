"""What a boot read and when: out of a log of nbdkit's, as steps that can be done again.  Pure.

A guest asks, computes, asks again.  To replay a boot over another disk, what it computed in between must be kept apart
from what it waited for.  So each read is bound to the read after whose end it came (the last one to end before it
began), and `think` is the time from that end to its own begin: a slow disk then moves all that follows, and reads that
were on their way together stay together.  A recording that only says "at 3.2 s, read this" would let a slow disk's
guest ask in the past.

The log is that of nbdkit's log filter (`nbdkit --filter=log file … logfile=…`), which sees the guest's own reads: no
page cache of the host's is in between, as it would be in front of a file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

_LINE = re.compile(
    r"^(?P<day>\S+ \S+) connection=\d+ (?P<end>\.\.\.)?Read id=(?P<id>\d+)"
    r"(?: offset=0x(?P<offset>[0-9a-f]+) count=0x(?P<count>[0-9a-f]+))? "
)


@dataclass(frozen=True, slots=True)
class Read:
    """One read: bytes, and seconds since 1970 when it began and ended."""

    offset: int
    size: int
    begun: float
    ended: float


@dataclass(frozen=True, slots=True)
class Step:
    """A read `think` seconds after step number `after` has ended, or after the start where that is -1."""

    offset: int
    size: int
    after: int
    think: float


def parse_log(lines: Iterable[str], until: float = float("inf")) -> list[Read]:
    """The reads that began before `until` (seconds since 1970), in order of their beginning; the log's times are UTC.

    Reads that never ended are left out, and so is what qemu reads to learn the disk's format (512 bytes at 0).
    """
    open_: dict[str, tuple[int, int, float]] = {}
    reads = []
    for line in lines:
        found = _LINE.match(line)
        if found is None:
            continue
        at = datetime.strptime(found["day"], "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC).timestamp()
        if not found["end"]:
            open_[found["id"]] = (int(found["offset"], 16), int(found["count"], 16), at)
        elif found["id"] in open_:
            offset, size, begun = open_.pop(found["id"])
            if begun < until and (offset, size) != (0, 512):
                reads.append(Read(offset, size, begun, max(at, begun)))
    return sorted(reads, key=lambda read: read.begun)


def steps(reads: Sequence[Read]) -> list[Step]:
    """The reads as steps; the first one's think time is none."""
    found: list[Step] = []
    ended = sorted(range(len(reads)), key=lambda number: reads[number].ended)
    place, last = 0, -1
    for read in reads:
        while place < len(ended) and reads[ended[place]].ended <= read.begun:
            last = ended[place]
            place += 1
        think = read.begun - reads[last].ended if last >= 0 else read.begun - reads[0].begun
        found.append(Step(read.offset, read.size, last, think))
    return found


def encode(all_steps: Sequence[Step]) -> str:
    """As a file keeps them: JSON, a step a line."""
    return "[\n" + ",\n".join(json.dumps(asdict(step)) for step in all_steps) + "\n]\n"


def decode(text: str) -> list[Step]:
    """The steps of a file.  Raises ValueError where it is no such file."""
    try:
        found = [Step(**fields) for fields in json.loads(text)]
    except TypeError as error:
        raise ValueError(f"no steps of a boot: {error}") from None
    for number, step in enumerate(found):
        if not -1 <= step.after < number or step.think < 0 or step.offset < 0 or step.size <= 0:
            raise ValueError(f"step {number} cannot be: {step}")
    return found


def touched(all_steps: Sequence[Step], block_size: int) -> list[int]:
    """The numbers of the blocks in the order of their first touch, each once."""
    found: dict[int, None] = {}
    for step in all_steps:
        found.update(dict.fromkeys(range(step.offset // block_size, (step.offset + step.size - 1) // block_size + 1)))
    return list(found)
