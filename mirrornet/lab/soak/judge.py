"""What was seen in a soak, held against what is promised.  Pure.

Promised: no byte is wrong; no read fails or takes longer than its deadline, as long as a good mirror stands (and the
schedule sees to it that one does); no answer is lost by a name server that is in nobody's hands, but for LOST of what
it was asked; memory stays where it is once a process is warm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from mirrornet.lab.soak.schedule import Fault

Hands = Mapping[str, Sequence[tuple[float, float]]]  # name server → seconds from when to when something was done to it

LOST: Final = 1e-4  # of the answers: a datagram may be dropped where a machine is busy (RFC 1035 4.2.1)
FEET: Final = 4.0  # seconds that a name server may need after a fault, and that a fault's first losses may precede it
WARM: Final = 0.4  # the part of its life in which a process may grow
GROWTH: Final = (0.05, 4 << 20)  # of what it had when warm, and bytes, that it may have gained at the end
WATCHED: Final = 120.0  # seconds: who lived shorter is not judged by growth


@dataclass(frozen=True, slots=True)
class Reads:
    """What one reader did.  `troubled`: (second, what) of each read that was wrong or failed; `slowest` in seconds."""

    name: str
    count: int
    bytes: int
    slowest: float
    p99: float
    deadline: float
    troubled: Sequence[tuple[float, str]] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """Queries to one name server in one second: how many, how many without an answer, how many with a wrong one."""

    server: str
    at: float
    sent: int
    lost: int
    wrong: int


@dataclass(slots=True)
class Memory:
    """One process: (second, bytes) as it was looked at; bytes are its proportional set size."""

    name: str
    samples: list[tuple[float, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Finding:
    """One promise: whether it was kept, and by which figures."""

    kept: bool
    text: str


def judge(reads: Sequence[Reads], asked: Sequence[Asked], memory: Sequence[Memory], hands: Hands) -> list[Finding]:
    """All promises, each with its figures."""
    return [*map(_reads, reads), *_answers(asked, hands), *(found for one in memory if (found := _memory(one)))]


def _reads(seen: Reads) -> Finding:
    kept = not seen.troubled and seen.slowest <= seen.deadline and seen.count > 0
    text = (
        f"{seen.name}: {seen.count:,} reads, {seen.bytes / 1e6:,.0f} MB, 99 % within {seen.p99:.2f} s, "
        f"slowest {seen.slowest:.2f} s of {seen.deadline:.0f}"
    )
    for at, what in seen.troubled[:5]:
        text += f"; at {at:.1f} s {what}"
    return Finding(kept, text)


def _answers(asked: Sequence[Asked], hands: Hands) -> list[Finding]:
    found = []
    for server in sorted({one.server for one in asked}):
        known = [(begin - FEET, end + FEET) for begin, end in hands.get(server, ())]
        own = [one for one in asked if one.server == server]
        free = [one for one in own if not any(begin <= one.at <= end for begin, end in known)]
        sent, lost, wrong = (sum(getattr(one, name) for one in free) for name in ("sent", "lost", "wrong"))
        kept = sent > 0 and not wrong and lost <= max(1.0, LOST * sent)
        at = next((one.at for one in free if one.lost or one.wrong), None)
        text = (
            f"{server}: {sent:,} queries while in nobody's hands, {lost} lost, {wrong} answered wrongly; "
            f"{sum(one.sent for one in own) - sent:,} more while it was, {sum(one.lost for one in own) - lost:,} lost"
        )
        found.append(Finding(kept, text if at is None else f"{text}; the first at {at:.0f} s"))
    return found


def _memory(seen: Memory) -> Finding | None:
    if not seen.samples or seen.samples[-1][0] - seen.samples[0][0] < WATCHED:
        return None
    first, last = seen.samples[0][0], seen.samples[-1][0]
    warm = [size for at, size in seen.samples if WARM <= (at - first) / (last - first) < WARM + 0.2]
    end = [size for at, size in seen.samples if (at - first) / (last - first) >= 0.8]
    if not warm or not end:
        return None
    before, after = median(warm), median(end)
    kept = after - before <= GROWTH[0] * before + GROWTH[1]
    text = f"{seen.name}: {before / 1e6:.1f} MB when warm, {after / 1e6:.1f} MB at the end, over {last - first:.0f} s"
    return Finding(kept, text)


def told(findings: Sequence[Finding], faults: Sequence[Fault], counts: Mapping[str, int]) -> str:
    """The report, for a person.  `counts`: what else was counted, by name."""
    lines = [f"{'kept ' if one.kept else 'BROKEN'} {one.text}" for one in findings]
    kinds: dict[str, int] = {}
    for fault in faults:
        kinds[fault.kind] = kinds.get(fault.kind, 0) + 1
    lines.append(f"{len(faults)} faults: " + ", ".join(f"{count} x {kind}" for kind, count in sorted(kinds.items())))
    lines += [f"{name}: {count:,}" for name, count in counts.items()]
    if not all(one.kept for one in findings):
        lines += ["what was done:", *map(str, faults)]
    return "\n".join(lines)
