"""The control page: a small file that the supervisor and all workers map and share.  One writer for each part.

    header    64 bytes: magic "MNCTRL02", u32 TTL slots, u32 workers, u64 generation, u64 TTL sequence,
              u64 generation of the TTLs, u64 number of TTLs, u64 one answer of so many is a sample (0: none),
              u64 samples a second                                             (written by the supervisor)
    TTLs      u32[slots]: seconds                                              (written by the supervisor)
    then for each worker, written by that worker:
    rows      two of u64[64]: counters.py; of Python, and of the compiled step
    ring      samples.py
    banks     hits.py

The plan is swapped by its generation: its file is complete before the number is raised, and a worker that sees another
number than its own maps the file.  TTLs change without a new plan; the sequence is odd while they are being written
(a seqlock), and they name their generation, so that slots are never read with the meaning of another plan.

All of the file is written when it is made (4 MiB, and 0.6 for each worker): in a sparse one, the first write to a page
on a full disk is a bus error, which no program survives.  Rejected: a pipe per worker (a full one blocks),
multiprocessing.shared_memory (its resource tracker removes the segment when a worker is killed).
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Sequence
from operator import add
from pathlib import Path
from struct import Struct
from typing import Final

from mirrornet.dns.serving import hits, samples
from mirrornet.dns.serving.counters import NAMES
from mirrornet.model.errors import LocalError

MAGIC: Final = b"MNCTRL02"
FILE: Final = "control"
SLOTS: Final = 1 << 20  # TTL slots; a plan has a few thousand
ROW: Final = 64  # counters a row, some to spare
_HEADER = Struct("<8sII")
_SIZE: Final = 64
_GENERATION, _SEQUENCE, _TTL_GENERATION, _TTL_COUNT, _EVERY, _RATE = 2, 3, 4, 5, 6, 7  # u64 numbers in the header
_PART: Final = 2 * 8 * ROW + samples.SIZE + hits.SIZE  # octets of one worker
assert len(NAMES) <= ROW and _PART % 64 == 0


def plan_path(state: Path, generation: int) -> Path:
    """Where the plan of `generation` lies."""
    return state / f"plan.{generation}"


class ControlPage:
    """The page, mapped.  `create` for the supervisor, `open` for a worker."""

    def __init__(self, file: int, name: Path) -> None:
        """Maps the open file descriptor `file`, which may be closed afterwards.  Raises LocalError naming `name`."""
        if os.fstat(file).st_size < _SIZE:
            raise LocalError(f"{name}: this is not a control page: stop all workers and start `mirrornet serve` anew")
        self._map = mmap.mmap(file, 0)
        magic, slots, self.rows = _HEADER.unpack_from(self._map)
        if magic != MAGIC or len(self._map) < _SIZE + 4 * slots + _PART * self.rows:
            self._map.close()
            raise LocalError(f"{name}: this is not a control page: stop all workers and start `mirrornet serve` anew")
        self._view = memoryview(self._map)
        self._header = self._view[:_SIZE].cast("Q")
        self._ttls = self._view[_SIZE : _SIZE + 4 * slots].cast("I")
        self._first = _SIZE + 4 * slots

    @classmethod
    def create(cls, state: Path, workers: int) -> ControlPage:
        """A new page in the folder `state` for so many `workers`, in place of one that may be there."""
        path, temporary = state / FILE, state / f".{FILE}.new"
        temporary.unlink(missing_ok=True)
        with open(temporary, "xb+", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(_HEADER.pack(MAGIC, SLOTS, workers))
            file.write(bytes(_SIZE + 4 * SLOTS - file.tell()))
            for _ in range(workers):
                file.write(bytes(_PART))
            file.flush()
            page = cls(file.fileno(), path)
        temporary.rename(path)
        return page

    @classmethod
    def open(cls, state: Path) -> ControlPage:
        """The page in the folder `state`.  Raises LocalError or OSError."""
        path = state / FILE
        with path.open("rb+") as file:
            return cls(file.fileno(), path)

    def close(self) -> None:
        """Unmaps it; what was handed out must not be used any more."""
        with contextlib.suppress(BufferError):  # somebody still holds a part of it: it ends with him
            for view in (self._header, self._ttls, self._view):
                view.release()
            self._map.close()

    @property
    def generation(self) -> int:
        """The plan to use; 0: there is none yet."""
        return self._header[_GENERATION]

    def raise_generation(self, generation: int) -> None:
        """From now on `plan.<generation>` is the plan.  Its file must be complete, its TTLs set."""
        self._header[_GENERATION] = generation

    @property
    def sequence(self) -> int:
        """Changes whenever the TTLs change; odd while they are being written."""
        return self._header[_SEQUENCE]

    def set_ttls(self, ttls: Sequence[int], generation: int) -> None:
        """Seconds for each TTL slot of the plan of `generation`.  Raises LocalError where there are too many."""
        if len(ttls) > len(self._ttls):
            raise LocalError(f"the plan has {len(ttls)} TTL slots and the control page {len(self._ttls)}")
        header = self._header
        header[_SEQUENCE] += 1
        header[_TTL_GENERATION] = generation
        header[_TTL_COUNT] = len(ttls)
        for number, ttl in enumerate(ttls):
            self._ttls[number] = ttl
        header[_SEQUENCE] += 1

    def ttls(self, generation: int) -> list[int] | None:
        """The TTLs for the plan of `generation`; None: they are being written or belong to another plan."""
        header = self._header
        before = header[_SEQUENCE]
        if before & 1 or header[_TTL_GENERATION] != generation:
            return None
        found = self._ttls[: header[_TTL_COUNT]].tolist()
        return found if header[_SEQUENCE] == before else None

    def sample(self, every: int, rate: int) -> None:
        """From now on one answer of `every` is a sample, at most `rate` a second of a worker; `every` 0: none."""
        self._header[_RATE] = rate
        self._header[_EVERY] = every

    @property
    def sampled(self) -> tuple[int, int]:
        """(every, rate) as said by `sample`."""
        return self._header[_EVERY], self._header[_RATE]

    def row(self, number: int, step: bool = False) -> memoryview:
        """What worker `number` counts, u64 each: in Python, or in the compiled `step`."""
        start = self._first + _PART * number + 8 * ROW * step
        return self._view[start : start + 8 * ROW].cast("Q")

    def ring(self, number: int) -> samples.Ring:
        """The samples of worker `number`."""
        start = self._first + _PART * number + 2 * 8 * ROW
        return samples.Ring(self._view[start : start + samples.SIZE])

    def hits(self, number: int) -> hits.Hits:
        """The answers of worker `number` by class."""
        start = self._first + _PART * number + 2 * 8 * ROW + samples.SIZE
        return hits.Hits(self._view[start : start + hits.SIZE])

    def counters(self, number: int) -> dict[str, int]:
        """Worker `number`'s counters by name."""
        both = map(add, self.row(number), self.row(number, step=True))
        return dict(zip(NAMES, both, strict=False))
