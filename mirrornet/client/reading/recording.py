"""What a boot touches first: recorded at the reader, merged over several boots into a profile.  Pure.

A `Recorder` is told of every block that a read needs and keeps the first touch of each, with its time.  It stops after
two minutes (a boot is over by then; what a machine does later is its own business) or at 16,384 blocks, so it costs
the same whoever reads.  What the kernel reads ahead counts as touched: the next boot's kernel will ask for it, too.

Several recordings become one profile by majority: a block stays if most boots touched it, so that one boot that read
the whole disk (a check of the file system, say) adds nothing as soon as there is a second.  They are ordered by the
median of their places in the recordings.  Places, not times: a boot over a slow network is the same boot, later.

Recordings of boots that `mirrornet boot` made count; those of other mounts, of which nobody knows what they were for,
only where there are no boots.  A mount of which most was read, or that was read in order, is nobody's boot: whoever
copies an image would teach the next mount to fetch all of it.

A recording may be kept, sent and merged elsewhere, so it is a small JSON object of the profile's kind.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Final

from mirrornet.image.format.profile import Profile, opened

LONGEST: Final = 120.0  # seconds from the first touch
MOST: Final = 16384  # blocks in a recording: 4 GiB in blocks of 256 KiB
FEWEST: Final = 32  # blocks: whoever touches fewer has not booted
COPY: Final = 0.8  # of a mount's steps from touch to touch that go on at the next blocks: then it was copied
NEXT: Final = 16  # blocks forward that are still "next": the kernel reads ahead, and several reads pass each other
LATEST: Final = 253_402_300_799  # Unix time of the last second of the year 9999, the last that calendars here know
KEPT: Final = 8  # recordings of one image version; the oldest goes
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Recording:
    """`touches`: (block, milliseconds since the first touch), each block once, in order.  `boot`: of a guest's boot.

    `at`: Unix time of the first touch.
    """

    at: float
    boot: bool
    touches: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Recordings:
    """All recordings of one image version, the oldest first.  `block_size`: bytes."""

    block_size: int
    runs: tuple[Recording, ...]

    def added(self, recording: Recording) -> Recordings:
        """With one more, without the oldest beyond KEPT; one of the same start takes the place of the former."""
        others = [run for run in self.runs if run.at != recording.at]
        return Recordings(self.block_size, (*others, recording)[-KEPT:])

    def encode(self) -> bytes:
        """The file's bytes."""
        runs = [
            {
                "at": run.at,
                "boot": run.boot,
                "blocks": [number for number, _ in run.touches],
                "ms": [ms for _, ms in run.touches],
            }
            for run in self.runs
        ]
        fields = {"mirrornet-recordings": _VERSION, "block_size": self.block_size, "runs": runs}
        return json.dumps(fields, separators=(",", ":")).encode()

    @classmethod
    def parse(cls, data: bytes) -> Recordings:
        """The recordings in `data`.  Raises ValueError with what is wrong."""
        size, fields = opened(data, "mirrornet-recordings")
        runs = fields.get("runs")
        if not isinstance(runs, list) or len(runs) > KEPT:
            raise ValueError(f"its runs are no list of at most {KEPT}")
        return cls(size, tuple(_run(run) for run in runs))

    def profile(self) -> Profile | None:
        """The blocks that most runs touched, in the order of the median place of their first touch.

        None where nothing was recorded, or no two runs agree on anything.
        """
        return merged(self.block_size, [[number for number, _ in run.touches] for run in self.counted])

    @property
    def counted(self) -> tuple[Recording, ...]:
        """The runs that count: the boots; where there are none, all."""
        return tuple(run for run in self.runs if run.boot) or self.runs


def merged(block_size: int, orders: Sequence[Iterable[int]]) -> Profile | None:
    """One profile of several orders of blocks: what more than half of them have, by the median of its places."""
    places: dict[int, list[int]] = {}
    for order in orders:
        for place, number in enumerate(dict.fromkeys(order)):
            places.setdefault(number, []).append(place)
    need = len(orders) // 2 + 1
    kept = sorted((median(found), number) for number, found in places.items() if len(found) >= need)
    return Profile(block_size, tuple(number for _, number in kept)) if kept else None


def combined(known: Sequence[Recordings | Profile], block_size: int, count: int) -> Profile | None:
    """One profile of recordings and profiles of several machines, for an image of `count` blocks of `block_size` bytes.

    Each recording counts as one boot, and so does each profile.  None where they have nothing in common.
    """
    orders: list[Sequence[int]] = []
    for each in known:
        if isinstance(each, Profile):
            orders.append(each.resized(block_size, count).blocks)
            continue
        for run in each.counted:
            numbers = tuple(number for number, _ in run.touches)
            orders.append(Profile(each.block_size, numbers).resized(block_size, count).blocks)
    return merged(block_size, orders)


class Recorder:
    """The first touches of one mount.  `now` is any clock that does not jump, in seconds."""

    def __init__(self, boot: bool, count: int) -> None:
        """`boot`: of a guest that boots; `count`: blocks of the image."""
        self.boot = boot
        self._count = count
        self.full = False  # nothing is recorded any more
        self._first: float | None = None
        self._touches: dict[int, int] = {}

    def touched(self, number: int, now: float) -> None:
        """Block `number` is needed."""
        if self.full or number in self._touches:
            return
        if self._first is None or len(self._touches) == 1:
            self._first = now  # a mount reads its first block itself; the boot begins with the second
        if now - self._first > LONGEST or len(self._touches) >= MOST:
            self.full = True
            return
        self._touches[number] = round(1000 * (now - self._first))

    def over(self, now: float) -> bool:
        """Whether nothing will be recorded any more."""
        return self.full or (len(self._touches) > 1 and self._first is not None and now - self._first > LONGEST)

    @property
    def blocks(self) -> tuple[int, ...]:
        """What was touched until now, in order."""
        return tuple(self._touches)

    def recording(self, at: float) -> Recording | None:
        """What was touched until now, in a mount whose first touch was `at` in Unix time.

        None where that is little, or a copy.
        """
        if len(self._touches) < FEWEST or (not self.boot and self._copied()):
            return None
        return Recording(at, self.boot, tuple(self._touches.items()))

    def _copied(self) -> bool:
        forward = sum(0 < after - before <= NEXT for before, after in pairwise(self._touches))
        return 2 * len(self._touches) > self._count or forward > COPY * len(self._touches)


def _run(fields: object) -> Recording:
    if not isinstance(fields, dict):
        raise ValueError("one of its runs is no object")
    at, boot, blocks, times = (fields.get(key) for key in ("at", "boot", "blocks", "ms"))
    if type(boot) is not bool or not isinstance(at, int | float) or isinstance(at, bool):
        raise ValueError("one of its runs has no time or kind")
    if not 0 <= at <= LATEST:
        raise ValueError("one of its runs was at no time")
    if not isinstance(blocks, list) or not isinstance(times, list) or len(blocks) != len(times) or len(blocks) > MOST:
        raise ValueError("the blocks and times of one of its runs do not match, or are too many")
    if not all(type(each) is int and 0 <= each < 1 << 48 for each in (*blocks, *times)):
        raise ValueError("the blocks and times of one of its runs are no lists of numbers")
    return Recording(float(at), boot, tuple(dict(zip(blocks, times, strict=True)).items()))
