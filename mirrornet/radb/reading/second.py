"""A second process that reads pieces beside the first.

Pieces go over through shared memory, two at a time, and what they say comes back through it: the pipes carry sixteen
bytes a piece.  The second process is a fresh interpreter that knows only the readers, so nothing is forked under
running threads.  It is handed a piece only once it has said that it is ready, so the first does not wait for its start.

Whatever happens to it costs time and nothing else.  It cannot be started, or dies, or says nothing for SILENCE seconds:
the first process still has every piece that it handed over, and reads it itself.  The first process dies: the pipe
ends, and so does the second.  Ctrl-C is for the first process alone.  What comes back is a batch (batch.py), which is
the same whoever made it, and the first process takes batches in the order of the pieces.

Rejected: multiprocessing (forks under threads or needs an importable __main__, a pool outlives a killed parent), two
threads (the exact reader holds the interpreter), pieces through a pipe (64 KiB at a time), mapping the file in both
(no gzip, no URL).
"""

from __future__ import annotations

import contextlib
import mmap
import os
import pickle
import select
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import mirrornet
from mirrornet.radb.reading import scan
from mirrornet.radb.reading.batch import Batch, padded, understand
from mirrornet.radb.reading.rpsl import Piece, TooLong
from mirrornet.radb.reading.text import PADDING

ALONE: Final = 2  # pieces that one process reads before it has the pass compiled or asks for another process
MANY: Final = 4000  # objects that the exact reader has had: a tenth of a second, and more will come
SLOTS: Final = 2
SLOT: Final = 6 << 20  # bytes; the usual piece has two MiB, a larger one is read by the first process
SILENCE: Final = 60.0  # seconds for one piece; the usual one takes 20 ms
_ROOT: Final = str(Path(mirrornet.__file__).parents[1])  # where the second process finds this very package
_TASK = struct.Struct("<QQ")  # slot, bytes; back: slot, bytes of the pickled batch, 0 where it has no room
_READY: Final = _TASK.pack(SLOTS, 0)


def understood(
    found: Iterator[Piece | TooLong], bogons: bool, processes: int | None = None
) -> Iterator[tuple[Piece | TooLong, Batch | None]]:
    """What each piece of a dump says, in order; None where it is too long.

    `processes`: 1, or 2 from the first piece on (and the second is waited for), or None: two where there are two
    processors and it pays: once the exact reader has had MANY objects, or at once where there is no compiled pass.
    """
    early: dict[int, tuple[Piece | TooLong, Batch | None]] = {}
    following = 0
    for number, piece, batch in _by_anyone(found, bogons, processes):
        early[number] = (piece, batch)
        while following in early:  # in the order of the file, so that nothing depends on who was quicker
            yield early.pop(following)
            following += 1


def _by_anyone(
    found: Iterator[Piece | TooLong], bogons: bool, processes: int | None
) -> Iterator[tuple[int, Piece | TooLong, Batch | None]]:
    """The same in any order, numbered."""
    numbered: Iterator[tuple[int, Piece | TooLong]] = enumerate(found)
    library = scan.ready(scan.folder())
    scanner = scan.load(library)
    single = processes == 1 or (processes is None and len(os.sched_getaffinity(0)) < 2)
    exact = pieces_read = 0
    while processes != 2:
        if pieces_read == ALONE and scanner is None:
            library = scan.build(scan.folder())
            scanner = scan.load(library)
        if not single and (exact >= MANY or (pieces_read >= ALONE and scanner is None)):
            break
        following = next(numbered, None)
        if following is None:
            return
        number, piece = following
        batch = _here(piece, bogons, scanner)
        pieces_read += 1
        exact += batch.exact if batch else 0
        yield number, piece, batch
    with second(bogons, library if scanner else None) as other:
        if other is None:
            for number, piece in numbered:
                yield number, piece, _here(piece, bogons, scanner)
            return
        if processes == 2:
            other.wait()
        away: dict[int, Piece] = {}

        def back(all_of_them: bool) -> Iterator[tuple[int, Piece, Batch | None]]:
            for number, batch in other.collect(all_of_them):
                piece = away.pop(number)
                yield number, piece, _here(piece, bogons, scanner) if batch is None else batch

        for number, piece in numbered:
            yield from back(False)
            if isinstance(piece, Piece) and other.offer(number, piece.data):
                away[number] = piece
            else:
                yield number, piece, _here(piece, bogons, scanner)
        yield from back(True)


def _here(piece: Piece | TooLong, bogons: bool, scanner: scan.Scanner | None) -> Batch | None:
    return (
        understand(padded(piece.data, scanner), len(piece.data), bogons, scanner) if isinstance(piece, Piece) else None
    )


class Second:
    """The first process's side of the second.  Once it is lost, nothing is taken any more."""

    def __init__(self, process: subprocess.Popen[bytes], memory: mmap.mmap) -> None:
        self._process, self._memory = process, memory
        assert process.stdin is not None and process.stdout is not None
        self._in, self._out = process.stdin.fileno(), process.stdout.fileno()
        os.set_blocking(self._out, False)
        self._free: list[int] = []
        self._busy: deque[tuple[int, int]] = deque()  # slot and number of each piece that is out
        self._heard = time.monotonic()
        self._received = b""
        self._lost = False

    @property
    def process_id(self) -> int:
        return self._process.pid

    def wait(self) -> None:
        """Returns when the second process can take a piece, or never will."""
        while not self._lost and not self._free and not self._silent():
            for _ in self._answers(0.2):
                pass

    def offer(self, number: int, data: bytes) -> bool:
        """Whether the piece `data` was taken."""
        if self._lost or not self._free or len(data) + PADDING > SLOT:
            return False
        slot = self._free.pop()
        at = slot * SLOT
        self._memory[at : at + len(data)] = data
        self._memory[at + len(data) : at + len(data) + PADDING] = bytes(PADDING)
        if not self._busy:
            self._heard = time.monotonic()
        self._busy.append((slot, number))
        try:
            os.write(self._in, _TASK.pack(slot, len(data)))
        except OSError:
            self._lost = True  # collect() gives it back
        return True

    def collect(self, all_of_them: bool = False) -> Iterator[tuple[int, Batch | None]]:
        """The number and batch of pieces that are done; None where the first process has to read it itself.

        `all_of_them`: waits for those that are still out.
        """
        while True:
            yield from self._answers(0.2 if all_of_them and self._busy else 0.0)
            if self._lost or (self._busy and self._silent()):
                self._lost = True
                while self._busy:
                    yield self._busy.popleft()[1], None
            if not all_of_them or not self._busy:
                return

    def _silent(self) -> bool:
        return time.monotonic() - self._heard > SILENCE

    def _answers(self, timeout: float) -> Iterator[tuple[int, Batch | None]]:
        if self._lost or not select.select([self._out], [], [], timeout)[0]:
            return
        received = os.read(self._out, 4096)
        if not received:
            self._lost = True
        self._received += received
        self._heard = time.monotonic()
        while len(self._received) >= _TASK.size:
            slot, size = _TASK.unpack_from(self._received)
            self._received = self._received[_TASK.size :]
            if slot == SLOTS:
                self._free = list(range(SLOTS))
                continue
            _, number = self._busy.popleft()
            at = slot * SLOT
            batch = pickle.loads(self._memory[at : at + size]) if size else None
            self._free.append(slot)
            yield number, batch


@contextmanager
def second(bogons: bool, library: Path | None = None) -> Iterator[Second | None]:
    """A second process while the block runs; None where there can be none.  `library`: the compiled pass (scan.py)."""
    with contextlib.ExitStack() as stack:
        try:
            file = os.memfd_create("mirrornet-pieces")
            stack.callback(os.close, file)
            os.truncate(file, SLOTS * SLOT)
            memory = mmap.mmap(file, SLOTS * SLOT)
            paths = os.pathsep.join(filter(None, (_ROOT, os.environ.get("PYTHONPATH"))))
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "mirrornet.radb.reading.second",
                    str(file),
                    str(int(bogons)),
                    str(library or ""),
                ],
                env={**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # what it cannot do the first process does, and says
                bufsize=0,
                pass_fds=(file,),
                process_group=0,
            )
        except (OSError, AttributeError, ValueError):
            yield None
            return
        stack.callback(memory.close)
        stack.callback(_end, process)
        yield Second(process, memory)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()  # it writes nothing that anybody would miss
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    process.wait()


def work(tasks: IO[bytes], answers: IO[bytes], file: int, bogons: bool, library: Path | None) -> None:
    """The second process: reads pieces until the first is gone."""
    scanner = scan.load(library)
    memory = mmap.mmap(file, SLOTS * SLOT)
    answers.write(_READY)
    while len(task := tasks.read(_TASK.size)) == _TASK.size:
        slot, size = _TASK.unpack(task)
        at = slot * SLOT
        with memoryview(memory)[at : at + size + PADDING] as view:
            batch = understand(view, size, bogons, scanner)
        said = pickle.dumps(batch, pickle.HIGHEST_PROTOCOL)
        room = len(said) <= SLOT
        if room:
            memory[at : at + len(said)] = said
        answers.write(_TASK.pack(slot, len(said) if room else 0))


if __name__ == "__main__":
    _file, _bogons, _library = sys.argv[1:]
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        work(
            os.fdopen(0, "rb", buffering=0),
            os.fdopen(1, "wb", buffering=0),
            int(_file),
            _bogons == "1",
            Path(_library) if _library else None,
        )
