"""Which fault strikes whom, when and for how long.  Pure: the same dice give the same day.

Every STEP seconds one fault begins.  At any moment GOOD mirrors and one name server are in no trouble, nobody is in
two troubles at once, and whoever was struck gets RECOVERY seconds before the next blow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

T = TypeVar("T")
Dice = Callable[[], float]  # numbers from 0 to less than 1

STEP: Final = 5.0  # seconds between two faults
GOOD: Final = 2  # mirrors in no trouble, at any moment
LENGTH: Final = (4.0, 15.0)  # seconds a fault lasts
RECOVERY: Final = 6.0  # seconds in which whoever was struck is left alone
LIARS: Final = 2  # mirrors that may be corrupted in a run: clients leave one for ten minutes


class Kind(StrEnum):
    """What is done, and to whom."""

    STOP = "mirror: ended, and started again"
    FREEZE = "mirror: frozen"
    CUT = "mirror: cut off"
    SLOW = "mirror: slow"
    LOSE = "mirror: packets lost"
    CORRUPT = "mirror: blocks corrupted"
    HOLD = "mirror: stays at an old version"
    FILL = "mirror: its disk is full"
    DRAIN = "mirror: drained by hand"
    SERVER_CUT = "name server: cut off"
    SERVER_KILL = "name server: killed, and started again"
    SERVER_RESTART = "name server: restarted"
    RESOLVER_RESTART = "resolver: restarted"
    PUBLISH = "publisher: a new version"
    RETIRE = "publisher: an old version retired, garbage collected"


OF_MIRRORS: Final = frozenset(kind for kind in Kind if kind.value.startswith("mirror"))
OF_SERVERS: Final = frozenset(kind for kind in Kind if kind.value.startswith("name server"))
HARMLESS: Final = frozenset({Kind.HOLD, Kind.FILL, Kind.DRAIN})  # reads from such a mirror are as good as any
# How often each is drawn: what happens to mirrors most, what rests on the publisher rarely.
WEIGHTS: Final = {
    Kind.STOP: 3, Kind.FREEZE: 3, Kind.CUT: 3, Kind.SLOW: 3, Kind.LOSE: 3, Kind.CORRUPT: 1, Kind.HOLD: 1, Kind.FILL: 1,
    Kind.DRAIN: 2, Kind.SERVER_CUT: 2, Kind.SERVER_KILL: 2, Kind.SERVER_RESTART: 1, Kind.RESOLVER_RESTART: 1,
    Kind.PUBLISH: 2, Kind.RETIRE: 1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """`kind` strikes `target` (a site's name, "" for the publisher) from `at` to `until`, seconds from the start.

    `amount`: kilobytes a second (SLOW), percent (LOSE), a share of the blocks (CORRUPT); else 0.
    """

    at: float
    until: float
    kind: Kind
    target: str = ""
    amount: float = 0.0

    def __str__(self) -> str:
        much = {Kind.SLOW: " to {:.0f} KB/s", Kind.LOSE: ", {:.0f} %", Kind.CORRUPT: ", {:.0%} of them"}
        return f"{self.at:6.1f} to {self.until:6.1f} s  {self.target:10} {self.kind}" + much.get(self.kind, "").format(
            self.amount
        )


def schedule(
    dice: Dice, seconds: float, mirrors: Sequence[str], servers: Sequence[str], full: Sequence[str] = ()
) -> tuple[Fault, ...]:
    """The faults of a run of `seconds`, in order.  `full`: mirrors whose disk can be filled.

    The last faults end before the run does.  Raises ValueError where there are too few mirrors or servers to hurt any.
    """
    if len(mirrors) <= GOOD + LIARS or len(servers) < 2:
        raise ValueError("a soak needs more mirrors and name servers than it leaves in peace")
    faults: list[Fault] = []
    at = STEP
    while at + LENGTH[0] + RECOVERY < seconds:
        until = int(10 * min(at + LENGTH[0] + dice() * (LENGTH[1] - LENGTH[0]), seconds - RECOVERY)) / 10
        kinds = list(WEIGHTS)
        while kinds:
            kind = _one([one for one in kinds for _ in range(WEIGHTS[one])], dice)
            targets = _targets(kind, at, faults, mirrors, servers, full)
            if targets:
                faults.append(Fault(round(at, 1), until, kind, _one(targets, dice), _amount(kind, dice)))
                break
            kinds.remove(kind)
        at += STEP
    return tuple(faults)


def good(at: float, faults: Sequence[Fault], mirrors: Sequence[str]) -> list[str]:
    """The mirrors from which a reader may expect everything at the second `at`."""
    bad = {
        fault.target
        for fault in faults
        if fault.kind in OF_MIRRORS - HARMLESS and fault.at <= at and (fault.kind is Kind.CORRUPT or at <= fault.until)
    }
    return [mirror for mirror in mirrors if mirror not in bad]


def _one(things: Sequence[T], dice: Dice) -> T:
    return things[int(dice() * len(things))]


def _amount(kind: Kind, dice: Dice) -> float:
    match kind:
        case Kind.SLOW:
            return _one((20.0, 100.0, 400.0), dice)
        case Kind.LOSE:
            return _one((2.0, 10.0, 40.0), dice)
        case Kind.CORRUPT:
            return _one((0.1, 1.0), dice)
        case _:
            return 0.0


def _targets(
    kind: Kind,
    at: float,
    faults: Sequence[Fault],
    mirrors: Sequence[str],
    servers: Sequence[str],
    full: Sequence[str],
) -> list[str]:
    """Whom `kind` may strike now.  Faults before this one have all begun, so only the ends matter."""
    busy = {fault.target for fault in faults if fault.until + RECOVERY > at}
    if kind in OF_SERVERS:
        return [] if any(fault.kind in OF_SERVERS and fault.target in busy for fault in faults) else list(servers)
    if kind not in OF_MIRRORS:
        return [] if any(fault.kind is kind and fault.until + RECOVERY > at for fault in faults) else [""]
    liars = {fault.target for fault in faults if fault.kind is Kind.CORRUPT}
    if kind is Kind.CORRUPT and len(liars) >= LIARS:
        return []
    free = [mirror for mirror in (full if kind is Kind.FILL else mirrors) if mirror not in busy | liars]
    if kind in HARMLESS:
        return free
    hurt = liars | {fault.target for fault in faults if fault.target in busy and fault.kind in OF_MIRRORS - HARMLESS}
    # Whoever else falls must leave GOOD standing, of which none is this one.
    return free if len(set(mirrors) - hurt) > GOOD else []
